//! The tables from Okta's words to ours: data in YAML, shipped in the binary and replaceable.
//!
//! A replacement is whole: every section must be there, in any number of files, each section once. It refuses unknown
//! sections and words with file, line, column and the nearest word; it never falls back to a shipped row.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use smol_str::SmolStr;

use super::RulesError;
use super::evidence::{Ground, Source};
use crate::event::{Credential, Kind, Outcome, Part, Platform, Reason, vocabulary};
use crate::yaml;

/// The tables inside the binary: file name and text.
const EMBEDDED: [(&str, &str); 4] = [
    ("event-types.yaml", include_str!("../../rules/classify/event-types.yaml")),
    ("credentials.yaml", include_str!("../../rules/classify/credentials.yaml")),
    ("outcomes.yaml", include_str!("../../rules/classify/outcomes.yaml")),
    ("platforms.yaml", include_str!("../../rules/classify/platforms.yaml")),
];

/// How Okta's words read. See `docs/classification.md` for what is in them.
#[derive(Debug)]
pub struct Tables {
    pub(super) types: BTreeMap<SmolStr, TypeRow>,
    /// The same rows by name, for the hot path.
    by_name: HashMap<SmolStr, TypeRow>,
    /// Longest first.
    pub(super) prefixes: Vec<(SmolStr, TypeRow)>,
    pub(super) methods: Words<Listed<Credential>>,
    pub(super) factors: Vec<FactorRow>,
    pub(super) enrollments: Words<Credential>,
    pub(super) credential_providers: Words<Credential>,
    pub(super) credential_types: Words<Credential>,
    pub(super) authentication_providers: Words<Credential>,
    pub(super) precedence: Vec<Credential>,
    pub(super) phishing_resistant: Vec<Credential>,
    pub(super) phishable: Vec<Credential>,
    pub(super) outcomes: Words<Outcome>,
    pub(super) push_responses: Words<Reason>,
    pub(super) number_responses: Words<Reason>,
    pub(super) sign_on_evaluations: Words<Reason>,
    pub(super) reasons: Words<Listed<Reason>>,
    /// Longest first.
    pub(super) reason_prefixes: Vec<(SmolStr, Listed<Reason>)>,
    pub(super) device_platforms: Words<Platform>,
    pub(super) agent_systems: Vec<AgentRow>,
    pub(super) agent_texts: Vec<AgentRow>,
}

vocabulary! {
    /// What a row rests on.
    Rests {
        /// Okta documents the word: its event-type catalog, API, help pages or rule files.
        Confirmed => "confirmed",
        /// A public event that looks like a real one shows it; Okta does not document it.
        Seen => "seen",
        /// Others say so, or it follows from how Okta writes its kin.
        Unconfirmed => "unconfirmed",
    }
}

/// A word's meaning, and what that rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed<T> {
    pub is: T,
    pub rests: Rests,
}

/// What an event type says.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypeRow {
    /// What the event is about.
    pub kind: Kind,
    /// What the row rests on.
    pub rests: Rests,
    /// `false` where events of the type are no step of a sign-in, though others of their kind are.
    pub sign_in: Option<bool>,
    /// The credential, where nothing better is in the event.
    pub credential: Option<Credential>,
    /// The outcome, whatever was written.
    pub outcome: Option<Outcome>,
    /// Why not, where nothing else says more.
    pub reason: Option<Reason>,
    /// Why the row is as it is.
    pub note: Option<String>,
}

/// The row of every type that the tables do not list.
static UNLISTED: TypeRow = TypeRow {
    kind: Kind::Other,
    rests: Rests::Unconfirmed,
    sign_in: None,
    credential: None,
    outcome: None,
    reason: None,
    note: None,
};

/// The row of one event's type.
#[derive(Clone, Copy)]
pub(super) struct Row<'t> {
    /// The type, where the row is its own.
    pub name: Option<&'t SmolStr>,
    /// Which row it is.
    pub ground: Ground<'t>,
    row: &'t TypeRow,
}

impl std::ops::Deref for Row<'_> {
    type Target = TypeRow;

    fn deref(&self) -> &TypeRow {
        self.row
    }
}

impl Row<'_> {
    /// What part the event has in sign-ins.
    pub(super) fn part(&self) -> Part {
        match (self.ground.source, self.sign_in) {
            (Source::Nothing, _) => Part::Unlisted,
            (_, Some(false)) => Part::Aside,
            _ => self.kind_part(),
        }
    }

    fn kind_part(&self) -> Part {
        match self.kind {
            Kind::PolicyEvaluation
            | Kind::Authentication
            | Kind::Verification
            | Kind::Session
            | Kind::Sso
            | Kind::AccessDenied
            | Kind::Delivery => Part::SignIn,
            Kind::Enrollment
            | Kind::PolicyChange
            | Kind::AssuranceChange
            | Kind::AuthenticatorChange
            | Kind::IntegrationChange
            | Kind::MembershipChange
            | Kind::AdminChange
            | Kind::Device
            | Kind::Threat
            | Kind::RateLimit
            | Kind::Other => Part::Aside,
        }
    }
}

/// What `debugData.factor` says.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FactorRow {
    pub factor: SmolStr,
    pub provider: Option<SmolStr>,
    pub credential: Credential,
    pub rests: Rests,
}

/// What a part of a user agent says.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentRow {
    pub text: SmolStr,
    pub platform: Platform,
}

/// A few words and what they stand for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Words<T>(pub(super) Vec<(SmolStr, T)>);

impl<T: Copy> Words<T> {
    /// What a word stands for, in any case.
    pub(super) fn get(&self, word: &str) -> Option<T> {
        self.find(word).map(|(_, value)| *value)
    }

    fn find(&self, word: &str) -> Option<&(SmolStr, T)> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(word))
    }
}

/// A row's reading, with or without what it rests on.
pub(super) trait Reads {
    /// What is read.
    type As: Copy;

    /// The reading.
    fn reading(&self) -> Self::As;
}

impl<T: Copy> Reads for Listed<T> {
    type As = T;

    fn reading(&self) -> T {
        self.is
    }
}

macro_rules! plain {
    ($($type:ty),+) => {
        $(impl Reads for $type {
            type As = Self;

            fn reading(&self) -> Self {
                *self
            }
        })+
    };
}
plain!(Credential, Outcome, Reason, Platform);

impl<T: Reads + Copy> Words<T> {
    /// What a word that stands at `source` is read as, in any case.
    pub(super) fn at(&self, source: Source, word: &str) -> Option<(T::As, Ground<'_>)> {
        self.find(word).map(|(known, row)| (row.reading(), Ground::word(source, known)))
    }

    /// What a text stands for, letter by letter.
    pub(super) fn exact(&self, text: &str) -> Option<(&str, T::As)> {
        self.0.iter().find(|(known, _)| known == text).map(|(known, row)| (known.as_str(), row.reading()))
    }
}

type Map<T> = BTreeMap<SmolStr, T>;

/// One file: some of the sections.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sections {
    event_types: Option<Map<TypeRow>>,
    event_prefixes: Option<Map<TypeRow>>,
    methods: Option<Map<Listed<Credential>>>,
    factors: Option<Vec<FactorRow>>,
    enrollments: Option<Map<Credential>>,
    credential_providers: Option<Map<Credential>>,
    credential_types: Option<Map<Credential>>,
    authentication_providers: Option<Map<Credential>>,
    precedence: Option<Vec<Credential>>,
    phishing_resistant: Option<Vec<Credential>>,
    phishable: Option<Vec<Credential>>,
    outcomes: Option<Map<Outcome>>,
    push_responses: Option<Map<Reason>>,
    number_responses: Option<Map<Reason>>,
    sign_on_evaluations: Option<Map<Reason>>,
    reasons: Option<Map<Listed<Reason>>>,
    reason_prefixes: Option<Map<Listed<Reason>>>,
    device_platforms: Option<Map<Platform>>,
    agent_systems: Option<Vec<AgentRow>>,
    agent_texts: Option<Vec<AgentRow>>,
}

impl Sections {
    /// Takes the sections of another file.
    fn join(&mut self, file: &str, other: Self) -> Result<(), RulesError> {
        macro_rules! take {
            ($($section:ident),+ $(,)?) => {
                $(if other.$section.is_some() {
                    if self.$section.is_some() {
                        return Err(RulesError::twice(file, stringify!($section)));
                    }
                    self.$section = other.$section;
                })+
            };
        }
        take!(event_types, event_prefixes, methods, factors, enrollments);
        take!(credential_providers, credential_types, authentication_providers);
        take!(precedence, phishing_resistant, phishable);
        take!(outcomes, push_responses, number_responses, sign_on_evaluations, reasons, reason_prefixes);
        take!(device_platforms, agent_systems, agent_texts);
        Ok(())
    }

    fn build(self) -> Result<Tables, RulesError> {
        let event_types = need(self.event_types, "event_types")?;
        let precedence = need(self.precedence, "precedence")?;
        if let Some(left_out) = left_out(&precedence) {
            return Err(RulesError::precedence(left_out));
        }
        Ok(Tables {
            by_name: event_types.iter().map(|(name, row)| (name.clone(), row.clone())).collect(),
            types: event_types,
            prefixes: longest_first(need(self.event_prefixes, "event_prefixes")?),
            methods: words(need(self.methods, "methods")?),
            factors: providers_first(need(self.factors, "factors")?),
            enrollments: words(need(self.enrollments, "enrollments")?),
            credential_providers: words(need(self.credential_providers, "credential_providers")?),
            credential_types: words(need(self.credential_types, "credential_types")?),
            authentication_providers: words(need(self.authentication_providers, "authentication_providers")?),
            precedence,
            phishing_resistant: need(self.phishing_resistant, "phishing_resistant")?,
            phishable: need(self.phishable, "phishable")?,
            outcomes: words(need(self.outcomes, "outcomes")?),
            push_responses: words(need(self.push_responses, "push_responses")?),
            number_responses: words(need(self.number_responses, "number_responses")?),
            sign_on_evaluations: words(need(self.sign_on_evaluations, "sign_on_evaluations")?),
            reasons: words(need(self.reasons, "reasons")?),
            reason_prefixes: longest_first(need(self.reason_prefixes, "reason_prefixes")?),
            device_platforms: words(need(self.device_platforms, "device_platforms")?),
            agent_systems: need(self.agent_systems, "agent_systems")?,
            agent_texts: need(self.agent_texts, "agent_texts")?,
        })
    }
}

fn need<T>(section: Option<T>, name: &'static str) -> Result<T, RulesError> {
    section.ok_or_else(|| RulesError::absent(name))
}

fn words<T>(map: Map<T>) -> Words<T> {
    Words(map.into_iter().collect())
}

fn longest_first<T>(map: Map<T>) -> Vec<(SmolStr, T)> {
    let mut rows: Vec<_> = map.into_iter().collect();
    rows.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    rows
}

fn providers_first(mut rows: Vec<FactorRow>) -> Vec<FactorRow> {
    rows.sort_by_key(|row| row.provider.is_none());
    rows
}

/// A credential that has no place in the precedence, which could then never be chosen.
fn left_out(precedence: &[Credential]) -> Option<Credential> {
    Credential::ALL.iter().copied().find(|credential| match credential {
        Credential::None => false,
        named => !precedence.contains(named),
    })
}

impl Tables {
    /// The tables inside the binary.
    #[expect(clippy::expect_used, reason = "the texts are part of the build, and a test reads them")]
    pub fn embedded() -> Self {
        let files = EMBEDDED.map(|(name, text)| (name.to_owned(), text.to_owned()));
        Self::from_yaml(&files).expect("the tables inside the binary are valid")
    }

    /// Reads tables from files, given as name and text; together they must hold every section, each once.
    ///
    /// # Errors
    /// A file is no YAML, holds an unknown section or word, or a section is missing or there twice.
    pub fn from_yaml(files: &[(String, String)]) -> Result<Self, RulesError> {
        let mut all = Sections::default();
        for (name, text) in files {
            all.join(name, yaml::read(text, Path::new(name))?)?;
        }
        all.build()
    }

    /// Whether an event type is listed, by name or by prefix.
    pub fn lists(&self, event_type: &str) -> bool {
        self.row(event_type).ground.source != Source::Nothing
    }

    /// The row of an event type: by name, else the longest prefix, else that of no type.
    pub(super) fn row(&self, event_type: &str) -> Row<'_> {
        if let Some((name, row)) = self.by_name.get_key_value(event_type) {
            return Row { name: Some(name), ground: Ground::word(Source::EventType, name), row };
        }
        match self.prefixes.iter().find(|(prefix, _)| event_type.starts_with(prefix.as_str())) {
            Some((prefix, row)) => Row { name: None, ground: Ground::word(Source::EventPrefix, prefix), row },
            None => Row { name: None, ground: Ground::NOTHING, row: &UNLISTED },
        }
    }
}
