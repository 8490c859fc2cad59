//! How sign-in is, in one sentence: the state, how many people, since when.
//!
//! Precedence: starting, blind, lagging, degraded, learning, healthy again, healthy. Blind and lagging carry the last known
//! state in their second line. "Healthy" is said with fresh data only (invariant 4).

use crate::action::Incident;
use crate::duration;
use crate::event::{Span, Timestamp};
use crate::web::view::{SeriesRow, View};

/// Data that is older than this is not called fresh.
const LAGGING: f64 = 120.0;
/// How long a resolved incident stays in the sentence.
const HEALTHY_AGAIN: Span = Span::hours(2);

/// The colour of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    /// All is well.
    Good,
    /// People are refused.
    Bad,
    /// Something needs patience.
    Warn,
    /// Nothing is known.
    Blind,
}

impl Tone {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Blind => "blind",
        }
    }
}

/// The sentence with its second line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sentence {
    pub tone: Tone,
    pub text: String,
    pub why: String,
}

impl Sentence {
    pub(super) fn of(view: &View) -> Self {
        let status = &view.status;
        if status.started.is_none() {
            return Self::new(Tone::Blind, "Starting: the state is being restored", "Nothing is lost while this runs.");
        }
        let known = Self::known(view);
        let silent: Vec<&str> =
            status.sources.iter().filter(|source| !source.ready).map(|source| source.name.as_str()).collect();
        if status.sources.is_empty() {
            return Self::new(Tone::Blind, "Sign-in is unknown: no source is configured", "");
        }
        if !silent.is_empty() {
            let text = format!("Sign-in is unknown: nothing arrives from {}", silent.join(", "));
            return Self::new(Tone::Blind, text, last_known(&known));
        }
        let lag = status.sources.iter().filter_map(|source| source.lag_seconds).fold(0.0, f64::max);
        if lag > LAGGING {
            let until = status.data_until.map_or_else(String::new, |until| format!(" at {}", clock(until, until)));
            let text = format!("Sign-in was {}{until}, but data is {} late", known.state(), duration(lag));
            let why = format!("{} Tickets wait until the data has caught up.", last_known(&known));
            return Self::new(Tone::Warn, text, why);
        }
        known
    }

    /// The state that the data says, whatever its age.
    fn known(view: &View) -> Self {
        let data = newest(view);
        let open: Vec<&Incident> = view.incidents.iter().filter(|incident| incident.resolved_at.is_none()).collect();
        if let Some(worst) = open.iter().max_by_key(|incident| incident.people) {
            let more = match open.len() - 1 {
                0 => String::new(),
                1 => " There is 1 more open incident.".to_owned(),
                more => format!(" There are {more} more open incidents."),
            };
            let text =
                format!("Sign-in is degraded: {} refused since {}", people(worst.people), clock(worst.onset, data));
            return Self::new(Tone::Bad, text, format!("{}.{more}", worst.title.trim_end_matches('.')));
        }
        if view.status.events == 0 {
            return Self::new(Tone::Blind, "Learning what is usual: no event has arrived yet", "");
        }
        let over = view.incidents.iter().filter_map(|incident| Some((incident.resolved_at?, incident)));
        if let Some((at, incident)) = over.max_by_key(|(at, _)| *at).filter(|(at, _)| data - *at < HEALTHY_AGAIN) {
            let (from, to) = (clock(incident.onset, data), clock(at, data));
            let were = if incident.people == 1 { "was" } else { "were" };
            let text =
                format!("Sign-in is healthy again: {} {were} refused from {from} to {to}", people(incident.people));
            return Self::new(Tone::Good, text, rates(view));
        }
        Self::new(Tone::Good, "Sign-in is healthy: no group of people is refused more than usual", rates(view))
    }

    /// The state in a word, for a sentence in the past.
    const fn state(&self) -> &'static str {
        match self.tone {
            Tone::Good => "healthy",
            Tone::Bad => "degraded",
            Tone::Warn | Tone::Blind => "unknown",
        }
    }

    fn new(tone: Tone, text: impl Into<String>, why: impl Into<String>) -> Self {
        Self { tone, text: text.into(), why: why.into() }
    }
}

fn last_known(known: &Sentence) -> String {
    format!("Last known: {}.", known.text)
}

/// How far the data goes: the host's clock says nothing of a log that is replayed.
fn newest(view: &View) -> Timestamp {
    let times = view.incidents.iter().flat_map(|incident| [Some(incident.opened_at), incident.resolved_at]);
    let newest = times.flatten().max().unwrap_or(Timestamp(0));
    view.status.data_until.unwrap_or(newest).max(newest)
}

/// Success over the shortest window that has attempts, one part per org.
fn rates(view: &View) -> String {
    let parts: Vec<String> = view
        .status
        .orgs
        .iter()
        .filter_map(|org| {
            let rows =
                view.series.iter().filter(|row| row.org == org.as_str() && row.is_whole_org() && row.attempts > 0);
            rows.min_by_key(|row| window(&row.window)).map(|row| (org, row))
        })
        .map(|(org, row)| format!("{org}: {}.", rate(row)))
        .collect();
    if parts.is_empty() { "No attempt ended in the newest window.".to_owned() } else { parts.join(" ") }
}

fn rate(row: &SeriesRow) -> String {
    let share = row.success_ratio.map_or("–".to_owned(), |ratio| format!("{:.1}\u{a0}%", ratio * 100.0));
    format!("{} of {} attempts succeeded in {}, {share}", number(row.succeeded), number(row.attempts), row.window)
}

fn window(text: &str) -> Span {
    duration::parse(text).unwrap_or(Span(i64::MAX))
}

fn people(count: u64) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{} people", number(count)) }
}

/// `1,204`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `14 min`, `1 h 4 min`, with spaces that do not break.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3_600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds}\u{a0}s"),
        (0, minutes) => format!("{minutes}\u{a0}min"),
        (hours, 0) => format!("{hours}\u{a0}h"),
        (hours, minutes) => format!("{hours}\u{a0}h {minutes}\u{a0}min"),
    }
}

/// `15:05` on the day of `now`, else `17 Nov 09:12`; UTC.
pub(super) fn clock(at: Timestamp, now: Timestamp) -> String {
    let (at, now) = (at.to_utc(), now.to_utc());
    let form = if at.date_naive() == now.date_naive() { "%H:%M" } else { "%-d %b %H:%M" };
    at.format(form).to_string()
}
