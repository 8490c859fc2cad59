//! Classification: what an event means, in our closed vocabularies.
//!
//! The words come from tables in `rules/classify/*.yaml`; this module only knows where in an event to look and which
//! evidence counts before which. It refuses to guess: a word that the tables do not list is `other` or `unknown`, never
//! a success, and absent evidence stays absent. No name, address or token of a person is kept.
//!
//! Pure: no I/O, no clock, no logging. [`Reader`] joins it with decoding for sources and commands.

mod address;
mod change;
mod context;
mod credential;
mod device;
mod document;
mod error;
mod evidence;
mod outcome;
mod subject;
mod tables;
mod words;

use std::sync::Arc;

use smol_str::SmolStr;

pub use address::client_address;
pub use document::document;
pub use error::{PageError, RulesError};
pub use evidence::{Evidence, Explained, Ground, Source};

pub use tables::{Rests, Tables};

use crate::decode;
use crate::decode::okta::LogEvent;
use crate::event::{AuthEvent, EventId, Network, Org, Reject, Timestamp};

/// Bytes kept of any text of an event but its integrators' signals; ids and names are far shorter.
const TEXT_BYTES: usize = 256;

/// Reads records of one org: decodes and classifies, event by event.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The org that the records belong to.
    pub org: Org,
    /// How Okta's words read.
    pub tables: Arc<Tables>,
}

impl Reader {
    /// A reader for an org's records.
    pub fn new(org: Org, tables: Arc<Tables>) -> Self {
        Self { org, tables }
    }

    /// Reads one record: an event, or a known envelope of events. At least one call per record, except that an empty
    /// list of events (`[]`, an event hook without events) gives none.
    pub fn read_record(&self, bytes: &[u8], each: &mut dyn FnMut(Result<AuthEvent, Reject>)) {
        decode::record(bytes, &mut |found| each(self.classify(&found)));
    }

    /// Reads one record as [`Reader::read_record`] does, with the JSON text of each event; that of a reject is empty.
    pub fn read_record_with_text(&self, bytes: &[u8], each: &mut dyn FnMut(Result<AuthEvent, Reject>, &str)) {
        decode::record(bytes, &mut |found| each(self.classify(&found), content(&found)));
    }

    /// Reads one record as [`Reader::read_record`] does, and says what each reading rests on and where the request came
    /// from: the first hop outside `proxies`.
    pub fn explain_record(
        &self,
        bytes: &[u8],
        proxies: &[Network],
        each: &mut dyn FnMut(Result<Explained<'_>, Reject>),
    ) {
        decode::record(bytes, &mut |found| {
            each(found.and_then(|found| {
                let (event, evidence) =
                    self.tables.read(&self.org, found.event, found.content.as_bytes(), found.sent)?;
                Ok(Explained { event, evidence, address: client_address(found.event, proxies) })
            }));
        });
    }

    /// Reads one page of the System Log API; returns the number of elements in it.
    ///
    /// An element that is no event is a reject and no error.
    ///
    /// # Errors
    /// The body is no complete JSON array. Calls made before the error was found must be discarded by the caller.
    pub fn read_page(&self, body: &[u8], each: &mut dyn FnMut(Result<AuthEvent, Reject>)) -> Result<usize, PageError> {
        Ok(decode::page(body, &mut |found| each(self.classify(&found)))?)
    }

    /// Reads one page as [`Reader::read_page`] does, with the JSON text of each event; that of a reject is empty.
    ///
    /// # Errors
    /// As there.
    pub fn read_page_with_text(
        &self,
        body: &[u8],
        each: &mut dyn FnMut(Result<AuthEvent, Reject>, &str),
    ) -> Result<usize, PageError> {
        Ok(decode::page(body, &mut |found| each(self.classify(&found), content(&found)))?)
    }

    fn classify(&self, found: &Result<decode::Found<'_>, Reject>) -> Result<AuthEvent, Reject> {
        let found = found.as_ref().map_err(|reject| *reject)?;
        self.tables.classify(&self.org, found.event, found.content.as_bytes(), found.sent)
    }
}

/// The text that an event was read from.
fn content<'a>(found: &Result<decode::Found<'a>, Reject>) -> &'a str {
    found.as_ref().map_or("", |found| found.content)
}

impl Tables {
    /// What an event means. `content` is the JSON that it was read from: it makes the id of an event without `uuid`.
    /// `sent`, its envelope's time, stands for a `published` that is absent or cannot be read.
    ///
    /// # Errors
    /// The event has no type.
    pub fn classify(
        &self,
        org: &Org,
        event: &LogEvent<'_>,
        content: &[u8],
        sent: Option<Timestamp>,
    ) -> Result<AuthEvent, Reject> {
        self.read(org, event, content, sent).map(|(event, _)| event)
    }

    /// What an event means, and what each reading rests on.
    #[inline]
    fn read(
        &self,
        org: &Org,
        event: &LogEvent<'_>,
        content: &[u8],
        sent: Option<Timestamp>,
    ) -> Result<(AuthEvent, Evidence<'_>), Reject> {
        let event_type = event.event_type.get().filter(|text| !text.is_empty()).ok_or(Reject::NoEventType)?;
        let published = event.published.get().and_then(Timestamp::parse);
        let uuid = event.uuid.get().unwrap_or_default();
        let id = if uuid.is_empty() {
            EventId::from_content(org, content)
        } else {
            EventId::from_uuid(org, uuid, published, event_type)
        };
        let row = self.row(event_type);
        let (credential, credential_ground) = credential::read(self, row, event);
        let (phishing_resistant, resistant_ground) = credential::phishing_resistant(self, event, credential);
        let (outcome, outcome_ground) = outcome::read(self, row, event);
        let (reason, reason_ground) = outcome::reason(self, row, event, outcome);
        let (person, person_ground) = subject::person(event);
        let (flow, flow_ground) = subject::flow(event);
        let (app, app_ground) = subject::app(event);
        let (rule, rule_ground) = subject::rule(event);
        let (platform, platform_ground) = device::platform(self, event);
        let (device, device_ground) = device::signals(self, event);
        let (change, change_ground) = change::read(row.kind, event_type, event);
        let context::Read { context, zone, risk } = context::read(event);
        let evidence = Evidence {
            published: match (published, sent) {
                (Some(_), _) => Source::Published.into(),
                (None, Some(_)) => Source::Envelope.into(),
                (None, None) => Ground::NOTHING,
            },
            kind: row.ground,
            credential: credential_ground,
            phishing_resistant: resistant_ground,
            outcome: outcome_ground,
            reason: reason_ground,
            person: person_ground,
            flow: flow_ground,
            app: app_ground,
            rule: rule_ground,
            platform: platform_ground,
            device: device_ground,
            zone,
            risk,
            change: change_ground,
        };
        let event = AuthEvent {
            org: org.clone(),
            id,
            uuid: kept(uuid),
            published: published.or(sent),
            event_type: row.name.cloned().unwrap_or_else(|| kept(event_type)),
            kind: row.kind,
            part: row.part(),
            credential,
            phishing_resistant,
            outcome,
            okta_outcome: kept(event.outcome.result.get().unwrap_or_default()),
            reason,
            person,
            flow,
            app,
            rule,
            platform,
            device,
            context,
            change,
        };
        Ok((event, evidence))
    }
}

/// A text of an event, cut at [`TEXT_BYTES`].
fn kept(text: &str) -> SmolStr {
    SmolStr::new(&text[..text.floor_char_boundary(TEXT_BYTES)])
}
