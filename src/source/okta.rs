//! The Okta System Log, tailed over `GET /api/v1/logs`.
//!
//! Needs a service app with the scope `okta.logs.read` and an admin role, or an API token whose owner may read the
//! System Log (a read-only administrator is enough): [`Authorizer`]. The first request asks from a point in time, ascending and without `until`, which makes it a polling query: Okta then returns every
//! event in the order of its storage. After that only the opaque `rel="next"` link is followed, one request in flight.
//! The link is the position; it is stored by the pump together with what the page caused, never by this file.
//!
//! Beside it, [`PolicyReader`] reads the policies and [`GroupReader`] the people of groups, each with budgets of its own:
//! whatever befalls them, the log is read on.
//!
//! Every `look_back` the recent past is asked for once more within bounds: what polling had not delivered is counted
//! (`authwatch_source_gap_events_total`) and handed on once (`look_back.rs`).
//!
//! **How it fails.** A page that is cut off, no JSON, or without a next link is discarded whole and asked for again:
//! asking twice is harmless. A refused token or missing right is reported once and retried slowly, at once with a new
//! token. A stored link that Okta no longer accepts, or that belongs to another origin, is replaced by a query from the
//! newest event minus `overlap`, and counted as a gap: events stored late could be missing. The token goes to the
//! configured origin only. Every wait is bounded, and none is shorter than a second after a trouble.
//!
//! **It refuses** to filter on the server (a new event type would never be seen, and the filter is frozen into the
//! link), to follow redirects, and to split a time range into windows of its own and rely on them (Okta: "may lead to
//! skipped or duplicated events").
//!
//! Metrics: `authwatch_source_{requests_total, records_total, gaps_total, wait_seconds_total, poll_interval_seconds,
//! rate_limit, rate_remaining, last_success_timestamp_seconds}`.

use std::time::Duration;

use reqwest::Client;
use tokio::sync::{mpsc, watch};
use url::Url;

use self::budget::Budget;
use self::look_back::LookBack;
use self::page::{Asker, Page};
use self::place::{FUTURE, Gap, Place};
use self::request::{Head, Request};
use self::trouble::Patience;
use self::waits::Waits;
use super::{Batch, Position, ReadPage, Texts, until_stopped};
use crate::event::{AuthEvent, Kind, SourceName, Span, Timestamp};
use crate::input::Input;
use crate::secret::Secrets;
use crate::telemetry::condition::Condition;
use crate::telemetry::metric::Metric;
use crate::{clock, duration};

mod auth;
mod budget;
mod check;
mod config;
mod groups;
mod link;
mod lists;
mod look_back;
mod page;
mod place;
mod policies;
mod request;
mod trouble;
mod waits;

pub use self::auth::{AuthError as AuthorizationError, Authorizer, KeyError, Oauth, Reads};
pub use self::check::check;
pub use self::config::{Auth, Config};
pub use self::groups::GroupReader;
pub use self::lists::Beside;
pub use self::policies::PolicyReader;
pub use self::trouble::{Timing, Trouble};

/// After how many troubles in a row a passing one is reported, where the source delivered before.
const WORTH_REPORTING: u32 = 3;

/// The poller of one org.
pub struct Okta {
    config: Config,
    name: SourceName,
    read: ReadPage,
    condition: Condition,
    authorizer: Authorizer,
    timing: Timing,
    client: Client,
    budget: Budget,
    place: Place,
    /// The server's clock minus the host's, once a reply had a `Date`.
    clock_ahead: Span,
    /// The same, as it was assumed when the point in time to begin at was worked out.
    began_ahead: Span,
    /// Whether a cold start has compared the clocks.
    clock_compared: bool,
    /// Troubles since the last page.
    troubles: u32,
    /// Restarts since a link was last followed: a server that accepts no link of its own must not be asked in a loop.
    restarts: u32,
    delivered: bool,
    poll_interval: Duration,
    waits: Waits,
    look_back: LookBack,
    /// Who reads the policies again after a change, and the newest change that is still to be told.
    changes: Option<watch::Sender<Option<Timestamp>>>,
    changed: Option<Timestamp>,
}

/// A pause and its cause.
struct Wait {
    cause: &'static str,
    length: Duration,
}

impl Okta {
    /// A poller that goes on at `position`, or begins `config.start` ago.
    ///
    /// `secrets` is asked for the token or key before each use; `condition` says how it fares.
    ///
    /// # Errors
    /// Where the HTTP client cannot be built.
    pub fn new(
        config: Config,
        name: SourceName,
        position: Option<Position>,
        read: ReadPage,
        condition: Condition,
        secrets: Secrets,
    ) -> Result<Self, reqwest::Error> {
        let client = crate::http::client(duration::to_std(config.timeout))?;
        let poll_interval = duration::to_std(config.poll_interval);
        let budget = Budget::new(config.rate_share, poll_interval, clock::monotonic());
        let (place, gap) = Place::resume(position, &config.url);
        let authorizer = Authorizer::new(&config, Reads::Log, secrets)?;
        let look_back = LookBack::new(&config);
        let okta = Self {
            config,
            name,
            read,
            condition,
            authorizer,
            timing: Timing::default(),
            client,
            budget,
            place,
            clock_ahead: Span(0),
            began_ahead: Span(0),
            clock_compared: false,
            troubles: 0,
            restarts: 0,
            delivered: false,
            poll_interval,
            waits: Waits::default(),
            look_back,
            changes: None,
            changed: None,
        };
        if let Some(gap) = gap {
            okta.report_gap(gap);
        }
        Metric::SourcePollInterval.gauge(&[okta.name.as_str()]).set(poll_interval);
        Ok(okta)
    }

    /// The same poller with other waits.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// The same poller, which tells `changes` the `published` of the newest change to policies or device assurance
    /// policies, once it has delivered everything that the log holds: what is read from then on has that change.
    #[must_use]
    pub fn telling(mut self, changes: watch::Sender<Option<Timestamp>>) -> Self {
        self.changes = Some(changes);
        self
    }

    /// Polls until `shutdown` turns true (or its sender is gone) or nobody takes batches any more.
    ///
    /// A batch is sent for every page, an empty one too. Every wait, request and send ends at once on shutdown; what
    /// was not sent is asked for again after the restart.
    pub async fn run(mut self, out: mpsc::Sender<Batch>, shutdown: watch::Receiver<bool>) {
        until_stopped(shutdown, self.poll(&out)).await;
    }

    async fn poll(&mut self, out: &mpsc::Sender<Batch>) {
        loop {
            while let Err(length) = self.budget.take(clock::monotonic()) {
                self.pause(Wait { cause: "budget", length }).await;
            }
            let wait = match self.ask().await {
                Ok(_) if self.began_by_another_clock() => continue,
                Ok((page, next)) => {
                    let (batch, wait) = self.accept(page, next);
                    let is_caught_up = !batch.backlog;
                    if out.send(batch).await.is_err() {
                        return;
                    }
                    if is_caught_up {
                        self.tell_change();
                        if let Some(missed) = self.look_back().await
                            && out.send(missed).await.is_err()
                        {
                            return;
                        }
                    }
                    wait
                }
                Err(trouble) => {
                    let wait = self.meet(&trouble);
                    match trouble.patience() {
                        Patience::Token => self.pause_for_token(wait).await,
                        Patience::Operator | Patience::RateLimit | Patience::Passing => self.pause(wait).await,
                    }
                    continue;
                }
            };
            self.pause(wait).await;
        }
    }

    /// Whether a cold start asked for a point in time worked out by a clock that the server's reply shows to be wrong.
    /// Such a page is dropped and the point worked out again, once: `start` is meant by the server's clock.
    fn began_by_another_clock(&mut self) -> bool {
        let differs = (self.clock_ahead.0 - self.began_ahead.0).abs() > self.timing.clocks_differ.0;
        if self.clock_compared || self.place.is_link() || !differs {
            return false;
        }
        self.clock_compared = true;
        tracing::warn!(source = %self.name, "the host's clock differs from the server's; beginning by the server's");
        self.place.give_up_link();
        true
    }

    /// The next page, and where to go on after it.
    async fn ask(&mut self) -> Result<(Page, Url), Trouble> {
        if !self.place.is_worked_out() {
            self.began_ahead = self.clock_ahead;
        }
        let url = self.place.url(&self.config, self.server_now());
        let mut page = self.ask_for(url, self.place.is_link()).await?;
        let next = page.next.take().ok_or(Trouble::NoNextLink)?;
        Ok((page, next))
    }

    /// A page at an address, which the server itself gave where it is `from_link`.
    async fn ask_for(&mut self, url: Url, from_link: bool) -> Result<Page, Trouble> {
        let request = Request {
            client: &self.client,
            authorizer: &self.authorizer,
            source: &self.name,
            clock_ahead: self.clock_ahead,
        };
        let asker = Asker { request, read: &self.read, home: &self.config.url, from_link };
        // Counted, and not waited for: a rotated secret is no trouble.
        let budget = &mut self.budget;
        let again = || _ = budget.take(clock::monotonic());
        let (head, page) = asker.ask(url, again).await;
        self.learn(head);
        page
    }

    /// Learns from any reply: the server's clock and its limit.
    fn learn(&mut self, head: Head) {
        if let Some(date) = head.date {
            self.clock_ahead = date - clock::now();
        }
        let name = [self.name.as_str()];
        if let Some(limit) = head.rate.limit.filter(|limit| *limit > 0) {
            Metric::SourceRateLimit.gauge(&name).set(limit);
        }
        if let Some(remaining) = head.rate.remaining {
            Metric::SourceRateRemaining.gauge(&name).set(remaining);
        }
        self.budget.observe(head.rate, self.server_now(), clock::monotonic());
        self.set_poll_interval();
    }

    /// The poll interval in force: the configured one, or what the budget allows where that is slower.
    fn set_poll_interval(&mut self) {
        let configured = duration::to_std(self.config.poll_interval);
        let interval = configured.max(self.budget.spacing());
        if interval == self.poll_interval {
            return;
        }
        self.poll_interval = interval;
        Metric::SourcePollInterval.gauge(&[self.name.as_str()]).set(interval);
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        if interval > configured {
            tracing::warn!(source = %self.name, interval_ms, "poll interval raised to stay within `rate_share`");
        } else {
            tracing::info!(source = %self.name, interval_ms, "poll interval as configured");
        }
    }

    /// Turns a page into a batch, moves on, and says how long to pause.
    fn accept(&mut self, page: Page, next: Url) -> (Batch, Wait) {
        let now = page.date.unwrap_or_else(|| self.server_now());
        let backlog = page.records >= self.place.page_size(&self.config);
        if self.place.is_link() {
            self.restarts = 0;
        }
        if let Some(gap) = self.place.advance(next, &page.inputs, now) {
            self.report_gap(gap);
        }
        self.report_page(page.records);
        self.changed = self.changed.max(newest_change(&page.inputs, now));
        self.look_back.delivered(events(&page.inputs), now);

        let source = &self.name;
        let mut inputs = Vec::with_capacity(page.inputs.len() + 2);
        inputs.push(Input::Progress { source: source.clone(), now: Some(now), caught_up: false });
        let texts = page.texts.into_iter().map(|(at, text)| (inputs.len() + at, text)).collect();
        inputs.extend(page.inputs);
        if !backlog {
            inputs.push(Input::Progress { source: source.clone(), now: Some(now), caught_up: true });
        }
        let position = self.place.position();
        let received = page.received;
        let batch = Batch { source: source.clone(), inputs, texts, position, received, backlog, receipt: None };
        let length = if backlog { Duration::ZERO } else { self.poll_interval };
        (batch, Wait { cause: "poll", length })
    }

    /// Asks for one page of the recent past, where that is due and costs polling nothing; what of it polling had not
    /// delivered, as a batch that moves no position.
    async fn look_back(&mut self) -> Option<Batch> {
        let url = self.look_back.page(&self.config, self.server_now())?;
        self.budget.take(clock::monotonic()).ok()?;
        let page = self.ask_for(url, false).await;
        let result = page.as_ref().map_or_else(Trouble::label, |_| "ok");
        Metric::SourceRequests.counter(&[self.name.as_str(), result]).increment(1);
        let Ok(page) = page else {
            tracing::debug!(source = %self.name, result, "a look back ends early");
            self.look_back.give_up();
            return None;
        };
        let seen: Vec<&AuthEvent> = events(&page.inputs).collect();
        let mut missed = self.look_back.advance(page.next, &seen).into_iter();
        if !self.look_back.is_under_way() && self.look_back.found() > 0 {
            let events = self.look_back.found();
            tracing::warn!(source = %self.name, events, "a look back found events that polling had not delivered");
        }
        let mut page_texts = page.texts.into_iter().peekable();
        let (mut inputs, mut texts) = (Vec::new(), Texts::new());
        for (at, input) in page.inputs.into_iter().enumerate() {
            let text = page_texts.next_if(|(of, _)| *of == at);
            if matches!(input, Input::Event { .. }) && missed.next() == Some(true) {
                texts.extend(text.map(|(_, text)| (inputs.len(), text)));
                inputs.push(input);
            }
        }
        Metric::SourceGapEvents.counter(&[self.name.as_str()]).increment(inputs.len() as u64);
        self.changed = self.changed.max(newest_change(&inputs, self.server_now()));
        let (source, received) = (self.name.clone(), page.received);
        let batch = Batch { source, inputs, texts, position: None, received, backlog: false, receipt: None };
        (!batch.inputs.is_empty()).then_some(batch)
    }

    fn report_page(&mut self, records: usize) {
        let name = self.name.as_str();
        Metric::SourceRequests.counter(&[name, "ok"]).increment(1);
        Metric::SourceRecords.counter(&[name]).increment(records as u64);
        Metric::SourceLastSuccess.gauge(&[name]).set(clock::now().0 as f64 / 1_000.0);
        self.troubles = 0;
        self.delivered = true;
        if self.condition.ok() {
            tracing::info!(source = %self.name, "source delivers");
        }
    }

    /// Counts and reports a trouble, prepares the next try, and says how long to wait for it.
    fn meet(&mut self, trouble: &Trouble) -> Wait {
        self.troubles = self.troubles.saturating_add(1);
        Metric::SourceRequests.counter(&[self.name.as_str(), trouble.label()]).increment(1);
        if matches!(trouble, Trouble::RateLimited { room_left: true, .. }) {
            self.budget.refused_with_room(clock::monotonic());
            self.set_poll_interval();
        }
        if matches!(trouble, Trouble::CursorRefused(_)) {
            self.restarts = self.restarts.saturating_add(1);
            self.report_gap(Gap::CursorRefused);
        }
        if matches!(trouble, Trouble::CursorRefused(_) | Trouble::BadRequest(_)) {
            // Worked out anew, since the server's clock is known by now.
            self.place.give_up_link();
        }
        let nth = self.troubles.max(self.restarts);
        let length = self.timing.wait(trouble, nth, rand::random());
        self.report_trouble(trouble, length);
        Wait { cause: trouble.patience().label(), length }
    }

    fn report_trouble(&self, trouble: &Trouble, length: Duration) {
        let (source, reason) = (&self.name, trouble.label());
        let wait_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let passing = match trouble.patience() {
            Patience::Token | Patience::Operator => false,
            Patience::RateLimit | Patience::Passing => self.delivered && self.troubles < WORTH_REPORTING,
        };
        if passing {
            tracing::info!(%source, reason, wait_ms, "asking again: {trouble}");
        } else if self.condition.failing(&trouble.to_string()) {
            match trouble.patience() {
                Patience::Token | Patience::Operator => {
                    tracing::error!(%source, reason, wait_ms, "source cannot read: {trouble}");
                }
                Patience::RateLimit | Patience::Passing => {
                    tracing::warn!(%source, reason, wait_ms, "source cannot read: {trouble}");
                }
            }
        }
    }

    fn report_gap(&self, gap: Gap) {
        Metric::SourceGaps.counter(&[self.name.as_str(), gap.label()]).increment(1);
        tracing::warn!(source = %self.name, cause = gap.label(), "events may be missing: {}", gap.message());
    }

    fn tell_change(&mut self) {
        if let (Some(changes), Some(at)) = (&self.changes, self.changed.take()) {
            changes.send_modify(|newest| *newest = (*newest).max(Some(at)));
        }
    }

    async fn pause(&mut self, wait: Wait) {
        if !wait.length.is_zero() {
            tokio::time::sleep(wait.length).await;
            self.waits.count(&self.name, wait.cause, wait.length);
        }
    }

    async fn pause_for_token(&mut self, wait: Wait) {
        let waited = self.authorizer.wait_for_another(wait.length, self.timing.token_check).await;
        self.waits.count(&self.name, wait.cause, waited);
    }

    /// The server's clock as last heard, or the host's.
    fn server_now(&self) -> Timestamp {
        clock::now() + self.clock_ahead
    }
}

fn events(inputs: &[Input]) -> impl Iterator<Item = &AuthEvent> {
    inputs.iter().filter_map(|input| match input {
        Input::Event { event, .. } => Some(&**event),
        Input::Configure(_)
        | Input::Reject { .. }
        | Input::Progress { .. }
        | Input::Policies { .. }
        | Input::Members { .. } => None,
    })
}

/// When the newest change to policies or device assurance policies was published; a change without a time is as old as
/// the reply, and one from the future is none, as for the core.
fn newest_change(inputs: &[Input], now: Timestamp) -> Option<Timestamp> {
    let changes = events(inputs).filter(|event| matches!(event.kind, Kind::PolicyChange | Kind::AssuranceChange));
    changes.map(|event| event.published.unwrap_or(now)).filter(|published| *published <= now + FUTURE).max()
}
