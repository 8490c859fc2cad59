//! Okta's lists, page by page: policies, their rules, device assurance policies, the people of a group.
//!
//! A list comes back whole or not at all. Each kind of address has a rate bucket of its own at Okta, so each has a
//! [`Budget`] of its own here, learnt from its own headers, and counts under a name of its own
//! (`okta:acme/policies`). A trouble that passes is met by asking the same page again, a few times; any other ends the
//! list.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::auth::{Authorizer, Reads};
use super::budget::Budget;
use super::config::Config;
use super::request::{self, Head, Request, next_link};
use super::trouble::{Patience, Timing, Trouble};
use super::waits::Waits;
use crate::event::{Org, SourceName, Span, Timestamp};
use crate::http::{self, BodyError};
use crate::input::Input;
use crate::secret::Secrets;
use crate::source::Batch;
use crate::telemetry::condition::Condition;
use crate::telemetry::metric::Metric;
use crate::{clock, duration};

/// The longest page of a list, after decompression.
const LONGEST_PAGE: usize = 16 << 20;

/// The most pages of a list: a `next` link that leads back would be followed for ever.
const MOST_PAGES: usize = 2_000;

/// How often one page is asked for again before the list is given up.
const MOST_RETRIES: u32 = 5;

/// The kinds of list, one for each rate bucket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum List {
    /// `GET /api/v1/policies`
    Policies,
    /// `GET /api/v1/policies/{id}/rules`
    Rules,
    /// `GET /api/v1/device-assurances`
    Assurances,
    /// `GET /api/v1/groups/{id}/users`
    Groups,
}

impl List {
    /// What follows the source's name in metrics.
    const fn label(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Rules => "rules",
            Self::Assurances => "device-assurances",
            Self::Groups => "groups",
        }
    }

    /// What it lists, for people.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Rules => "rules of policies",
            Self::Assurances => "device assurance policies",
            Self::Groups => "people of groups",
        }
    }

    /// The scope that allows it (the fact sheet's section 6.4).
    const fn scope(self) -> &'static str {
        match self {
            Self::Policies | Self::Rules => "`okta.policies.read`",
            Self::Assurances => "`okta.deviceAssurance.read`",
            Self::Groups => "`okta.groups.read`",
        }
    }

    pub(super) fn refused(self, status: StatusCode, code: Option<String>) -> Trouble {
        match status {
            StatusCode::FORBIDDEN => Trouble::Withheld { what: self.what(), grant: self.scope(), error_code: code },
            StatusCode::NOT_FOUND => Trouble::Missing(self.what()),
            status => Trouble::Status(status.as_u16()),
        }
    }
}

/// Reads lists of one org, one request in flight.
pub(super) struct Lists {
    config: Config,
    name: SourceName,
    client: Client,
    authorizer: Authorizer,
    timing: Timing,
    lanes: BTreeMap<List, Lane>,
    /// The server's clock minus the host's, once a reply had a `Date`.
    clock_ahead: Span,
}

/// What is kept for one kind of list.
struct Lane {
    name: SourceName,
    budget: Budget,
    waits: Waits,
}

/// What every reader beside the log is made of.
pub struct Beside {
    pub(super) lists: Lists,
    pub(super) org: Org,
    pub(super) name: SourceName,
    pub(super) condition: Condition,
    /// It ends after one pass.
    pub(super) once: bool,
}

impl Beside {
    /// For the source `name` with its section, to read what `reads` says; `condition` says how it fares.
    ///
    /// # Errors
    /// Where the HTTP client cannot be built.
    pub fn new(
        config: Config,
        (org, name): (Org, SourceName),
        condition: Condition,
        reads: Reads,
        secrets: Secrets,
    ) -> Result<Self, reqwest::Error> {
        let lists = Lists::new(config, &name, reads, secrets)?;
        Ok(Self { lists, org, name, condition, once: false })
    }

    /// The same with other waits.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.lists.set_timing(timing);
        self
    }

    /// The same, which ends after one pass, whether it succeeds or not.
    #[must_use]
    pub fn once(mut self, once: bool) -> Self {
        self.once = once;
        self
    }

    /// What was read, as a batch: no position moves with it.
    pub(super) fn batch(&self, input: Input) -> Batch {
        let received = clock::monotonic();
        Batch {
            source: self.name.clone(),
            inputs: vec![input],
            texts: Vec::new(),
            position: None,
            received,
            backlog: false,
            receipt: None,
        }
    }
}

impl Lists {
    /// Reads with the address, token and share of a source's section.
    pub(super) fn new(
        config: Config,
        name: &SourceName,
        reads: Reads,
        secrets: Secrets,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: http::client(duration::to_std(config.timeout))?,
            authorizer: Authorizer::new(&config, reads, secrets)?,
            name: name.clone(),
            timing: Timing::default(),
            lanes: BTreeMap::new(),
            clock_ahead: Span(0),
            config,
        })
    }

    pub(super) fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The address below `/api/v1` with these steps, each written as one whatever it holds.
    pub(super) fn url(&self, steps: &[&str], query: &[(&str, &str)]) -> Url {
        request::api(&self.config.url, steps, query)
    }

    /// Reads a whole list of at most `most` items.
    pub(super) async fn read<T: DeserializeOwned>(
        &mut self,
        list: List,
        first: Url,
        most: usize,
    ) -> Result<Vec<T>, Trouble> {
        let too_many = || Trouble::TooMany { what: list.what(), most };
        let mut items = Vec::new();
        let (mut next, mut pages, mut retries) = (Some(first), 0, 0);
        while let Some(url) = next.take() {
            match self.page(list, url.clone()).await {
                Ok((page, link)) => {
                    items.extend::<Vec<T>>(page);
                    (pages, retries) = (pages + 1, 0);
                    if items.len() > most || (pages == MOST_PAGES && link.is_some()) {
                        return Err(too_many());
                    }
                    next = link;
                }
                Err(trouble) if retries < MOST_RETRIES && is_worth_asking_again(&trouble) => {
                    retries += 1;
                    self.pause(list, &trouble, retries).await;
                    next = Some(url);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(items)
    }

    /// How long to wait after the `nth` failure in a row, and waits.
    pub(super) async fn pause_after(&mut self, list: List, trouble: &Trouble, length: Duration) {
        let waited = match trouble.patience() {
            Patience::Token => self.authorizer.wait_for_another(length, self.timing.token_check).await,
            Patience::Operator | Patience::RateLimit | Patience::Passing => {
                tokio::time::sleep(length).await;
                length
            }
        };
        let lane = self.lane(list);
        lane.waits.count(&lane.name, trouble.patience().label(), waited);
    }

    async fn pause(&mut self, list: List, trouble: &Trouble, nth: u32) {
        let length = self.timing.wait(trouble, nth, rand::random());
        let wait_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let source = &self.lane(list).name;
        tracing::info!(%source, reason = trouble.label(), wait_ms, "asking again: {trouble}");
        self.pause_after(list, trouble, length).await;
    }

    async fn page<T: DeserializeOwned>(&mut self, list: List, url: Url) -> Result<(Vec<T>, Option<Url>), Trouble> {
        while let Err(length) = self.lane(list).budget.take(clock::monotonic()) {
            tokio::time::sleep(length).await;
            let lane = self.lane(list);
            lane.waits.count(&lane.name, "budget", length);
        }
        let page = self.ask(list, url).await;
        let result = page.as_ref().map_or_else(Trouble::label, |_| "ok");
        let lane = self.lane(list);
        Metric::SourceRequests.counter(&[lane.name.as_str(), result]).increment(1);
        if matches!(page, Err(Trouble::RateLimited { room_left: true, .. })) {
            lane.budget.refused_with_room(clock::monotonic());
        }
        page
    }

    async fn ask<T: DeserializeOwned>(&mut self, list: List, url: Url) -> Result<(Vec<T>, Option<Url>), Trouble> {
        let (client, authorizer) = (self.client.clone(), self.authorizer.clone());
        let (name, clock_ahead) = (self.name.clone(), self.clock_ahead);
        let request = Request { client: &client, authorizer: &authorizer, source: &name, clock_ahead };
        let refused = |status, code| list.refused(status, code);
        let again = || _ = self.lane(list).budget.take(clock::monotonic());
        let (head, reply) = request.send(url.clone(), refused, again).await;
        self.learn(list, head);
        let reply = reply?;
        let next = next_link(&url, reply.headers(), &self.config.url)?;
        let body = http::body(reply, LONGEST_PAGE).await.map_err(|error| match error {
            BodyError::TooLong(_) => Trouble::TooLarge,
            BodyError::Broken(error) => Trouble::transport(&error),
        })?;
        let items = serde_json::from_slice(&body).map_err(|error| {
            tracing::debug!(source = %self.name, %error, bytes = body.len(), "list discarded");
            Trouble::BadList(list.what())
        })?;
        Ok((items, next))
    }

    /// Learns from any reply: the server's clock, and the limit of this bucket.
    fn learn(&mut self, list: List, head: Head) {
        if let Some(date) = head.date {
            self.clock_ahead = date - clock::now();
        }
        let now = self.server_now();
        let lane = self.lane(list);
        let name = [lane.name.as_str()];
        if let Some(limit) = head.rate.limit.filter(|limit| *limit > 0) {
            Metric::SourceRateLimit.gauge(&name).set(limit);
        }
        if let Some(remaining) = head.rate.remaining {
            Metric::SourceRateRemaining.gauge(&name).set(remaining);
        }
        lane.budget.observe(head.rate, now, clock::monotonic());
    }

    fn lane(&mut self, list: List) -> &mut Lane {
        let (name, config) = (&self.name, &self.config);
        self.lanes.entry(list).or_insert_with(|| Lane {
            name: SourceName::new(format!("{name}/{}", list.label())),
            budget: Budget::new(config.rate_share, duration::to_std(config.poll_interval), clock::monotonic()),
            waits: Waits::default(),
        })
    }

    /// The server's clock as last heard, or the host's.
    fn server_now(&self) -> Timestamp {
        clock::now() + self.clock_ahead
    }
}

/// Whether the same page may well come the next time. An id that is gone will not come back.
fn is_worth_asking_again(trouble: &Trouble) -> bool {
    matches!(trouble.patience(), Patience::RateLimit | Patience::Passing)
        && !matches!(trouble, Trouble::Missing(_) | Trouble::Status(_))
}
