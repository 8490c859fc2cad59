//! Where the source stands in the log, and what may be missing. Pure: it is handed the server's clock.

use url::Url;

use super::config::{Config, RETENTION};
use super::request::same_origin;
use crate::event::{Span, Timestamp};
use crate::input::Input;
use crate::source::Position;

/// Events that claim to be later than the server's clock by more than this do not become the newest one seen.
pub(super) const FUTURE: Span = Span::minutes(5);

/// Why events may be missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gap {
    /// The stored link belongs to another origin.
    OtherOrigin,
    /// The stored position is no address, or another kind of source stored it.
    BadPosition,
    /// The server no longer accepts the link.
    CursorRefused,
    /// Nothing was read for longer than the log is kept.
    Retention,
}

impl Gap {
    /// The label in `authwatch_source_gaps_total`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::OtherOrigin => "other_origin",
            Self::BadPosition => "bad_position",
            Self::CursorRefused => "cursor_refused",
            Self::Retention => "retention",
        }
    }

    /// What happened, for a log line.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::OtherOrigin => "the stored position belongs to another address than `url`",
            Self::BadPosition => "the stored position is not one in an Okta log",
            Self::CursorRefused => "the stored position is no longer accepted; reading again from the newest event",
            Self::Retention => "nothing was read for longer than Okta keeps its log (90 days)",
        }
    }
}

/// The place of the source in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    cursor: Cursor,
    /// The newest `published` seen, for a restart without a usable link.
    newest: Option<Timestamp>,
    /// The last time that is known to be read: the newest stored event, then the server's clock.
    spoken: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Cursor {
    /// From a point in time; `None` until it is worked out.
    Since(Option<Timestamp>),
    /// The server's own link.
    Link(Url),
}

impl Place {
    /// The stored place, or the beginning; with the reason where a stored one cannot be used.
    pub(super) fn resume(position: Option<Position>, home: &Url) -> (Self, Option<Gap>) {
        let mut place = Self { cursor: Cursor::Since(None), newest: None, spoken: None };
        let gap = match position {
            None => None,
            Some(Position::File { .. } | Position::Kafka { .. }) => Some(Gap::BadPosition),
            Some(Position::Okta { next, newest }) => {
                place.newest = newest;
                place.spoken = newest;
                match Url::parse(&next) {
                    Ok(next) if same_origin(&next, home) => {
                        place.cursor = Cursor::Link(next);
                        None
                    }
                    Ok(_) => Some(Gap::OtherOrigin),
                    Err(_) => Some(Gap::BadPosition),
                }
            }
        };
        (place, gap)
    }

    /// The address to ask next. A point in time is worked out once and kept over repeated tries.
    pub(super) fn url(&mut self, config: &Config, now: Timestamp) -> Url {
        let since = match &self.cursor {
            Cursor::Link(link) => return link.clone(),
            Cursor::Since(Some(since)) => *since,
            Cursor::Since(None) => {
                let wanted = self.newest.map_or(now - config.start, |newest| newest - config.overlap);
                wanted.max(now - Config::reach())
            }
        };
        self.cursor = Cursor::Since(Some(since));
        let mut url = config.url.clone();
        url.set_path(&format!("{}/api/v1/logs", config.url.path().trim_end_matches('/')));
        url.query_pairs_mut()
            .append_pair("since", &since.to_string())
            .append_pair("sortOrder", "ASCENDING")
            .append_pair("limit", &config.limit.to_string());
        url
    }

    /// Whether the next address is known already.
    pub(super) fn is_worked_out(&self) -> bool {
        self.cursor != Cursor::Since(None)
    }

    /// Whether the next address is the server's own link.
    pub(super) fn is_link(&self) -> bool {
        matches!(self.cursor, Cursor::Link(_))
    }

    /// The page size that the next address asks for: a link keeps the one that it was made with.
    pub(super) fn page_size(&self, config: &Config) -> usize {
        let in_link = match &self.cursor {
            Cursor::Link(link) => link.query_pairs().find(|(key, _)| key == "limit"),
            Cursor::Since(_) => None,
        };
        let in_link = in_link.and_then(|(_, value)| value.parse().ok()).filter(|limit| *limit > 0);
        in_link.unwrap_or(config.limit as usize)
    }

    /// Moves on behind a page. A silence longer than Okta keeps its log is a gap, whatever the link still gave.
    pub(super) fn advance(&mut self, next: Url, inputs: &[Input], now: Timestamp) -> Option<Gap> {
        let gap = self.spoken.is_some_and(|spoken| now - spoken > RETENTION).then_some(Gap::Retention);
        self.spoken = Some(now);
        self.newest = self.newest.max(newest(inputs, now + FUTURE));
        self.cursor = Cursor::Link(next);
        gap
    }

    /// Gives the link up: the next address is a point in time, worked out anew.
    pub(super) fn give_up_link(&mut self) {
        self.cursor = Cursor::Since(None);
    }

    /// The place to store; `None` while there is no link yet.
    pub(super) fn position(&self) -> Option<Position> {
        match &self.cursor {
            Cursor::Link(next) => Some(Position::Okta { next: next.to_string(), newest: self.newest }),
            Cursor::Since(_) => None,
        }
    }
}

/// The newest `published` that is not after `most`.
fn newest(inputs: &[Input], most: Timestamp) -> Option<Timestamp> {
    let published = inputs.iter().filter_map(|input| match input {
        Input::Event { event, .. } => event.published,
        Input::Configure(_)
        | Input::Reject { .. }
        | Input::Progress { .. }
        | Input::Policies { .. }
        | Input::Members { .. }
        | Input::Unheard { .. } => None,
    });
    published.filter(|published| *published <= most).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_785_225_600_000);

    fn config(url: &str) -> Config {
        let json = format!(r#"{{"url": "{url}", "auth": {{"ssws": {{"env": "T"}}}}}}"#);
        serde_json::from_str(&json).expect("valid")
    }

    #[test]
    fn a_prefix_in_the_address_is_kept() {
        for (url, expect) in [
            ("https://acme.okta.com", "https://acme.okta.com/api/v1/logs"),
            ("https://acme.okta.com/", "https://acme.okta.com/api/v1/logs"),
            ("http://127.0.0.1:8080/okta/", "http://127.0.0.1:8080/okta/api/v1/logs"),
        ] {
            let config = config(url);
            let (mut place, gap) = Place::resume(None, &config.url);
            let query = "since=2026-07-27T08%3A00%3A00.000Z&sortOrder=ASCENDING&limit=1000";
            assert_eq!(place.url(&config, NOW).as_str(), format!("{expect}?{query}"));
            assert_eq!((gap, place.position()), (None, None));
        }
    }

    #[test]
    fn a_first_start_that_has_to_wait_does_not_lose_its_beginning() {
        let config = config("https://acme.okta.com");
        let (mut place, _) = Place::resume(None, &config.url);
        let first = place.url(&config, NOW);
        assert_eq!(place.url(&config, NOW + Span::hours(30)), first);
        place.give_up_link();
        assert_ne!(place.url(&config, NOW + Span::hours(30)), first);
    }

    #[test]
    fn the_page_size_is_the_links_own_where_it_says_so() {
        let config = config("https://acme.okta.com");
        for (query, expect) in [("limit=100&after=1", 100), ("after=1", 1_000), ("limit=0", 1_000), ("limit=x", 1_000)]
        {
            let next = format!("https://acme.okta.com/api/v1/logs?{query}");
            let (place, gap) = Place::resume(Some(Position::Okta { next, newest: None }), &config.url);
            assert_eq!((place.page_size(&config), gap), (expect, None), "{query}");
        }
    }
}
