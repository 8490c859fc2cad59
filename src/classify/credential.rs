//! With what a person signed in.
//!
//! The order of evidence is the fact sheet's section 5.3: what was verified, the factor, the enrolment used, the
//! session's methods, the event type, the provider. The first three say what happened now, so a word among them that
//! the tables do not list makes the credential `other` rather than letting weaker evidence speak. The session's methods
//! can be hours old and count only where nothing newer is there.

use super::tables::{Tables, TypeRow};
use crate::decode::okta::{LogEvent, Target};
use crate::event::{Credential, Kind};

const METHOD: &str = "AuthenticatorMethod";
const ENROLLMENT: &str = "AuthenticatorEnrollment";
const RESISTANT: &str = "PHISHING_RESISTANT";

/// The credential of an event; `None` for kinds that are not about one.
pub(super) fn read(tables: &Tables, row: &TypeRow, event: &LogEvent<'_>) -> Credential {
    let Some(scope) = scope(row.kind) else { return Credential::None };
    let mut now = Choice::new(tables);
    used_now(tables, event, &mut now);
    let found = now.decided().or_else(|| match scope {
        Scope::SignIn => session_methods(tables, event).or(row.credential).or_else(|| provider(tables, event)),
        Scope::Authenticator => row.credential,
    });
    match found {
        None | Some(Credential::Idp) if event.target.iter().any(|target| target.detail.certificate.get()) => {
            Credential::SmartCard
        }
        Some(credential) => credential,
        None => Credential::None,
    }
}

/// Whether the sign-in was phishing-resistant: what was verified says so first, the credential second.
pub(super) fn phishing_resistant(tables: &Tables, event: &LogEvent<'_>, credential: Credential) -> Option<bool> {
    let properties = event.target.iter().filter_map(|target| target.detail.verified_properties.named());
    let mut verified = properties.map(|text| text.trim_matches(['[', ']'])).filter(|text| !text.is_empty()).peekable();
    if credential != Credential::None && verified.peek().is_some() {
        return Some(verified.any(|text| text.split(',').any(|word| word.trim() == RESISTANT)));
    }
    if tables.phishing_resistant.contains(&credential) {
        Some(true)
    } else if tables.phishable.contains(&credential) {
        Some(false)
    } else {
        None
    }
}

/// How far the evidence of a credential goes.
enum Scope {
    /// The event is about a person who signs in.
    SignIn,
    /// The event is about one authenticator; the session of whoever acted says nothing of it.
    Authenticator,
}

fn scope(kind: Kind) -> Option<Scope> {
    match kind {
        Kind::PolicyEvaluation
        | Kind::Authentication
        | Kind::Verification
        | Kind::Session
        | Kind::Sso
        | Kind::AccessDenied => Some(Scope::SignIn),
        Kind::Enrollment | Kind::Delivery => Some(Scope::Authenticator),
        Kind::PolicyChange
        | Kind::AssuranceChange
        | Kind::AuthenticatorChange
        | Kind::IntegrationChange
        | Kind::MembershipChange
        | Kind::AdminChange
        | Kind::Device
        | Kind::Threat
        | Kind::RateLimit
        | Kind::Other => None,
    }
}

/// Evidence of one tier: the best known credential, and whether there was any word at all.
struct Choice<'t> {
    tables: &'t Tables,
    best: Option<Credential>,
    spoken: bool,
}

impl<'t> Choice<'t> {
    fn new(tables: &'t Tables) -> Self {
        Self { tables, best: None, spoken: false }
    }

    fn hear(&mut self, read: Option<Credential>) {
        self.spoken = true;
        let Some(credential) = read else { return };
        let rank = |wanted| self.tables.precedence.iter().position(|listed| *listed == wanted);
        if self.best.is_none_or(|best| rank(credential) < rank(best)) {
            self.best = Some(credential);
        }
    }

    fn decided(&self) -> Option<Credential> {
        self.best.or(self.spoken.then_some(Credential::Other))
    }
}

/// What was verified, else the factor, else the enrolment used.
fn used_now(tables: &Tables, event: &LogEvent<'_>, choice: &mut Choice<'_>) {
    for target in event.target.iter().filter(|target| target.is(METHOD)) {
        hear_method(tables, target, choice);
    }
    if choice.best.is_some() {
        return;
    }
    if let Some(factor) = event.debug_context.debug_data.factor.named() {
        let provider = event.authentication_context.credential_provider.get();
        let row = tables.factors.iter().find(|row| {
            row.factor.eq_ignore_ascii_case(factor)
                && row
                    .provider
                    .as_ref()
                    .is_none_or(|wanted| provider.is_some_and(|have| have.eq_ignore_ascii_case(wanted)))
        });
        choice.hear(row.map(|row| row.credential));
    }
    if choice.best.is_some() {
        return;
    }
    for target in event.target.iter().filter(|target| target.is(ENROLLMENT)) {
        hear_method(tables, target, choice);
        if target.detail.method.named().is_none() {
            let by_name = target.display_name.named().and_then(|name| tables.enrollments.get(name));
            if by_name.is_some() {
                choice.hear(by_name);
            }
        }
    }
}

fn hear_method(tables: &Tables, target: &Target<'_>, choice: &mut Choice<'_>) {
    let Some(method) = target.detail.method.named() else { return };
    let qualified = target.detail.authenticator_key.named().map(|key| format!("{key}:{method}"));
    let read = qualified.and_then(|pair| tables.methods.get(&pair)).or_else(|| tables.methods.get(method));
    choice.hear(read);
}

/// `authMethod*Type`: `authenticator:method:id`, at times shorter.
fn session_methods(tables: &Tables, event: &LogEvent<'_>) -> Option<Credential> {
    let data = &event.debug_context.debug_data;
    let methods =
        [&data.first_method, &data.second_method, &data.third_method, &data.fourth_method, &data.fifth_method];
    let mut choice = Choice::new(tables);
    for text in methods.into_iter().filter_map(|method| method.named()) {
        let pair = text.match_indices(':').nth(1).map_or(text, |(end, _)| &text[..end]);
        let method = pair.split_once(':').map_or(pair, |(_, method)| method);
        choice.hear(tables.methods.get(pair).or_else(|| tables.methods.get(method)));
    }
    choice.decided()
}

fn provider(tables: &Tables, event: &LogEvent<'_>) -> Option<Credential> {
    let context = &event.authentication_context;
    let by_credential = context.credential_provider.get().and_then(|word| tables.credential_providers.get(word));
    let by_type = || context.credential_type.get().and_then(|word| tables.credential_types.get(word));
    let by_provider =
        || context.authentication_provider.get().and_then(|word| tables.authentication_providers.get(word));
    by_credential.or_else(by_type).or_else(by_provider)
}
