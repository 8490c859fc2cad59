//! With what a person signed in.
//!
//! The order of evidence is the fact sheet's section 5.3: what was verified, the factor, the enrolment used, the
//! session's methods, the event type, the provider. The first three say what happened now, so a word among them that
//! the tables do not list makes the credential `other` rather than letting weaker evidence speak. The session's methods
//! can be hours old and count only where nothing newer is there.

use super::evidence::{Ground, Source};
use super::tables::{Row, Tables};
use crate::decode::okta::{LogEvent, Target};
use crate::event::{Credential, Kind};

const METHOD: &str = "AuthenticatorMethod";
const ENROLLMENT: &str = "AuthenticatorEnrollment";
const RESISTANT: &str = "PHISHING_RESISTANT";

/// The credential of an event; `None` for kinds that are not about one.
pub(super) fn read<'t>(tables: &'t Tables, row: Row<'t>, event: &LogEvent<'_>) -> Found<'t> {
    let Some(scope) = scope(row.kind) else { return (Credential::None, Ground::NOTHING) };
    let mut now = Choice::new(tables);
    used_now(tables, event, &mut now);
    let by_type = || Some((row.credential?, row.ground));
    let found = now.decided().or_else(|| match scope {
        Scope::SignIn => session_methods(tables, event).or_else(by_type).or_else(|| provider(tables, event)),
        Scope::Authenticator => by_type(),
    });
    match found {
        None | Some((Credential::Idp, _)) if event.target.iter().any(|target| target.detail.certificate.get()) => {
            (Credential::SmartCard, Source::Certificate.into())
        }
        Some(found) => found,
        None => (Credential::None, Ground::NOTHING),
    }
}

/// A credential, and what it rests on.
type Found<'t> = (Credential, Ground<'t>);

/// Whether the sign-in was phishing-resistant: what was verified says so first, the credential second.
pub(super) fn phishing_resistant(
    tables: &Tables,
    event: &LogEvent<'_>,
    credential: Credential,
) -> (Option<bool>, Ground<'static>) {
    let properties = event.target.iter().filter_map(|target| target.detail.verified_properties.named());
    let mut verified = properties.map(|text| text.trim_matches(['[', ']'])).filter(|text| !text.is_empty()).peekable();
    if credential != Credential::None && verified.peek().is_some() {
        let is_among = verified.any(|text| text.split(',').any(|word| word.trim() == RESISTANT));
        return (Some(is_among), Source::VerifiedProperties.into());
    }
    if tables.phishing_resistant.contains(&credential) {
        (Some(true), Source::Credential.into())
    } else if tables.phishable.contains(&credential) {
        (Some(false), Source::Credential.into())
    } else {
        (None, Ground::NOTHING)
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
    best: Option<Found<'t>>,
    spoken: Option<Source>,
}

impl<'t> Choice<'t> {
    fn new(tables: &'t Tables) -> Self {
        Self { tables, best: None, spoken: None }
    }

    fn hear(&mut self, source: Source, read: Option<Found<'t>>) {
        self.spoken = self.spoken.or(Some(source));
        let Some(found) = read else { return };
        let rank = |wanted| self.tables.precedence.iter().position(|listed| *listed == wanted);
        if self.best.is_none_or(|(best, _)| rank(found.0) < rank(best)) {
            self.best = Some(found);
        }
    }

    fn decided(&self) -> Option<Found<'t>> {
        self.best.or_else(|| Some((Credential::Other, self.spoken?.into())))
    }
}

/// What was verified, else the factor, else the enrolment used.
fn used_now<'t>(tables: &'t Tables, event: &LogEvent<'_>, choice: &mut Choice<'t>) {
    for target in event.target.iter().filter(|target| target.is(METHOD)) {
        hear_method(tables, target, Source::VerifiedMethod, choice);
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
        choice.hear(Source::Factor, row.map(|row| (row.credential, Ground::word(Source::Factor, &row.factor))));
    }
    if choice.best.is_some() {
        return;
    }
    for target in event.target.iter().filter(|target| target.is(ENROLLMENT)) {
        hear_method(tables, target, Source::EnrolledMethod, choice);
        if target.detail.method.named().is_none() {
            let name = target.display_name.named();
            let by_name = name.and_then(|name| tables.enrollments.at(Source::EnrollmentName, name));
            if by_name.is_some() {
                choice.hear(Source::EnrollmentName, by_name);
            }
        }
    }
}

fn hear_method<'t>(tables: &'t Tables, target: &Target<'_>, source: Source, choice: &mut Choice<'t>) {
    let Some(method) = target.detail.method.named() else { return };
    let qualified = target.detail.authenticator_key.named().map(|key| format!("{key}:{method}"));
    let by_pair = qualified.and_then(|pair| tables.methods.at(source, &pair));
    choice.hear(source, by_pair.or_else(|| tables.methods.at(source, method)));
}

/// `authMethod*Type`: `authenticator:method:id`, at times shorter.
fn session_methods<'t>(tables: &'t Tables, event: &LogEvent<'_>) -> Option<Found<'t>> {
    const SOURCE: Source = Source::SessionMethods;
    let data = &event.debug_context.debug_data;
    let methods =
        [&data.first_method, &data.second_method, &data.third_method, &data.fourth_method, &data.fifth_method];
    let mut choice = Choice::new(tables);
    for text in methods.into_iter().filter_map(|method| method.named()) {
        let pair = text.match_indices(':').nth(1).map_or(text, |(end, _)| &text[..end]);
        let method = pair.split_once(':').map_or(pair, |(_, method)| method);
        choice.hear(SOURCE, tables.methods.at(SOURCE, pair).or_else(|| tables.methods.at(SOURCE, method)));
    }
    choice.decided()
}

fn provider<'t>(tables: &'t Tables, event: &LogEvent<'_>) -> Option<Found<'t>> {
    let context = &event.authentication_context;
    let by_credential = context.credential_provider.get();
    let by_credential = by_credential.and_then(|word| tables.credential_providers.at(Source::CredentialProvider, word));
    let by_type = || tables.credential_types.at(Source::CredentialType, context.credential_type.get()?);
    let by_provider =
        || tables.authentication_providers.at(Source::AuthenticationProvider, context.authentication_provider.get()?);
    by_credential.or_else(by_type).or_else(by_provider)
}
