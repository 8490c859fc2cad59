//! Okta over HTTP, simulated: the System Log by polling, the policies in force, and the people of groups.
//!
//! Serves `GET /api/v1/logs` (no `filter`, no `q`: those are refused by name; a query with `until` is by `published`
//! and has an end), `GET /api/v1/policies`,
//! `GET /api/v1/policies/{id}/rules`, `GET /api/v1/device-assurances` and `GET /api/v1/groups/{id}/users`, with
//! `Authorization: SSWS`, `link` headers, cursors, a rate limit for each, and Okta's error bodies as the fact sheet's
//! sections 1 to 3 have them. `Date` shows simulated
//! time; rate-limit windows last 60 real seconds, and `X-Rate-Limit-Reset` is `Date` plus the real seconds left, so a
//! client that subtracts `Date` waits the right time. It fails on request only ([`OktaFault`], [`Okta::withhold`]) and
//! emits no metrics.

mod lists;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use axum::routing::get;
use serde_json::json;

pub use self::store::MAX_ELEMENTS;
use self::store::Store;
use super::clock::Clock;
use super::faults::{FaultPlan, Faults};
use super::log::Log;
use super::org::Org;
use super::push::Push;
use super::truth::Truth;
use super::wire::{Reply, Wire, base_url, http_date};
use crate::clock::monotonic;
use crate::event::{Span, Timestamp};

const WINDOW: Duration = Duration::from_secs(60);

type Params = BTreeMap<String, String>;

/// What can be asked for; each has a rate limit of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Endpoint {
    /// The System Log.
    Logs,
    /// Access policies.
    Policies,
    /// The rules of one policy.
    Rules,
    /// Device assurance policies.
    DeviceAssurances,
    /// The people of one group.
    Groups,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 5] = [Self::Logs, Self::Policies, Self::Rules, Self::DeviceAssurances, Self::Groups];
}

/// What can go wrong with one request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum OktaFault {
    /// 429 with nothing remaining.
    TooManyRequests,
    /// 429 although requests remain (another client of the org used them up).
    TooManyWithRemaining,
    /// 500 with Okta's generic error body.
    ServerError,
    /// 502 with a gateway's HTML page and no rate-limit headers.
    BadGateway,
    /// The connection is reset before any reply.
    ResetBefore,
    /// The connection is reset in the middle of the body.
    ResetMidBody,
    /// 200 with half of the JSON and a `content-length` to match.
    Truncated,
    /// The reply comes after [`OktaConfig::slow`].
    Slow,
    /// 400 for a cursor that has expired; strikes only requests with `after`.
    CursorExpired,
    /// A page that lacks its last element, although the next link leads on behind it; strikes only polling.
    LeavesOut,
}

/// How the simulated Okta answers.
#[derive(Clone, Debug)]
pub struct OktaConfig {
    /// The API token that is accepted.
    pub token: String,
    /// Requests per window, for each endpoint.
    pub rate_limit: u32,
    /// How late a slow reply is, in real time.
    pub slow: Duration,
    /// Faults by chance.
    pub faults: FaultPlan<OktaFault>,
    /// The most items on a page of a list beside the log.
    pub list_page: usize,
    /// The most elements kept; at most [`MAX_ELEMENTS`].
    pub max_elements: usize,
}

impl Default for OktaConfig {
    /// Token `sim-okta-token`, 60 requests a minute, no faults.
    fn default() -> Self {
        Self {
            token: "sim-okta-token".into(),
            rate_limit: 60,
            slow: Duration::from_secs(3),
            faults: FaultPlan::default(),
            list_page: 200,
            max_elements: MAX_ELEMENTS,
        }
    }
}

/// The handle to a running simulated Okta; clones are the same server.
#[derive(Clone)]
pub struct Okta(Arc<Shared>);

struct Shared {
    org: Arc<Org>,
    pushes: Vec<Push>,
    clock: Clock,
    address: SocketAddr,
    slow: Duration,
    faults: Faults<OktaFault>,
    /// Those of one endpoint alone; they strike before the others.
    own_faults: BTreeMap<Endpoint, Faults<OktaFault>>,
    list_page: usize,
    started: Instant,
    rate_limit: u32,
    store: Mutex<Store>,
    access: Mutex<Access>,
}

struct Access {
    token: Option<String>,
    /// By endpoint, the window and the requests in it.
    buckets: BTreeMap<Endpoint, (u64, u32)>,
    /// Requests with a valid token, refused ones too.
    asked: BTreeMap<Endpoint, u64>,
    /// Of these, those for the log with an end.
    bounded: u64,
    withheld: BTreeSet<Endpoint>,
}

/// What a request may do, and what its reply must say.
struct Pass {
    fault: Option<OktaFault>,
    limits: [(&'static str, String); 3],
}

impl Okta {
    pub(super) fn new(config: OktaConfig, log: Log, pushes: Vec<Push>, clock: Clock, address: SocketAddr) -> Self {
        Self(Arc::new(Shared {
            org: Arc::clone(log.org()),
            pushes,
            clock,
            address,
            slow: config.slow,
            faults: Faults::new(config.faults),
            own_faults: Endpoint::ALL.map(|endpoint| (endpoint, Faults::new(FaultPlan::default()))).into(),
            list_page: config.list_page.max(1),
            started: monotonic(),
            rate_limit: config.rate_limit,
            store: Mutex::new(Store::new(log, config.max_elements.min(MAX_ELEMENTS))),
            access: Mutex::new(Access {
                token: Some(config.token),
                buckets: BTreeMap::new(),
                asked: BTreeMap::new(),
                bounded: 0,
                withheld: BTreeSet::new(),
            }),
        }))
    }

    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/api/v1/logs", get(logs))
            .route("/api/v1/policies", get(lists::policies))
            .route("/api/v1/policies/{id}/rules", get(lists::rules))
            .route("/api/v1/device-assurances", get(lists::assurances))
            .route("/api/v1/groups/{id}/users", get(lists::members))
            .with_state(self.clone())
    }

    /// The faults of every endpoint, to queue some or to see which have struck.
    pub fn faults(&self) -> &Faults<OktaFault> {
        &self.0.faults
    }

    /// The faults of one endpoint alone.
    pub fn faults_of(&self, endpoint: Endpoint) -> &Faults<OktaFault> {
        self.0.own_faults.get(&endpoint).unwrap_or(&self.0.faults)
    }

    /// Refuses an endpoint with 403, as for a token whose owner has no right to it, until [`Okta::grant`].
    pub fn withhold(&self, endpoint: Endpoint) {
        self.access().withheld.insert(endpoint);
    }

    /// Ends [`Okta::withhold`].
    pub fn grant(&self, endpoint: Endpoint) {
        self.access().withheld.remove(&endpoint);
    }

    /// How many requests with a valid token came to an endpoint.
    pub fn asked(&self, endpoint: Endpoint) -> u64 {
        self.access().asked.get(&endpoint).copied().unwrap_or(0)
    }

    /// How often the log was asked for with an end, as a look back does.
    pub fn looks(&self) -> u64 {
        self.access().bounded
    }

    /// Refuses every token until [`Okta::set_token`].
    pub fn revoke_token(&self) {
        self.access().token = None;
    }

    /// Accepts this token and no other.
    pub fn set_token(&self, token: impl Into<String>) {
        self.access().token = Some(token.into());
    }

    /// How many elements the log shows now.
    ///
    /// # Errors
    /// Where an element cannot be packed.
    pub fn committed(&self) -> std::io::Result<usize> {
        let mut store = self.store();
        store.advance(self.0.clock.now())?;
        Ok(store.len())
    }

    /// Whether the log has reached its bound and shows nothing new.
    pub fn is_full(&self) -> bool {
        self.store().is_full()
    }

    /// The truth of what has been drawn so far; a little ahead of what is committed.
    pub fn truth(&self) -> Truth {
        self.store().truth()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn access(&self) -> MutexGuard<'_, Access> {
        self.0.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the token, counts the request, and draws its fault; the error is the reply.
    fn admit(&self, endpoint: Endpoint, headers: &HeaderMap, params: &Params) -> Result<Pass, Reply> {
        let elapsed = self.0.started.elapsed();
        let window = elapsed.as_secs() / WINDOW.as_secs();
        let left = WINDOW.as_secs() - elapsed.as_secs() % WINDOW.as_secs();
        let reset = self.0.clock.now().index(Span::seconds(1)) + left as i64;
        let mut access = self.access();
        let expected = access.token.as_ref().map(|token| format!("SSWS {token}"));
        let sent = headers.get("authorization").and_then(|value| value.to_str().ok());
        if expected.is_none() || expected.as_deref() != sent {
            return Err(error(StatusCode::UNAUTHORIZED, "E0000011", "Invalid token provided"));
        }
        *access.asked.entry(endpoint).or_default() += 1;
        access.bounded += u64::from(params.contains_key("until"));
        let withheld = access.withheld.contains(&endpoint);
        let used = access.buckets.entry(endpoint).or_default();
        if used.0 != window {
            *used = (window, 0);
        }
        used.1 = used.1.saturating_add(1);
        let remaining = self.0.rate_limit.saturating_sub(used.1);
        let over = used.1 > self.0.rate_limit;
        drop(access);
        let limits = |remaining: u32| {
            [
                ("x-rate-limit-limit", self.0.rate_limit.to_string()),
                ("x-rate-limit-remaining", remaining.to_string()),
                ("x-rate-limit-reset", reset.to_string()),
            ]
        };
        let has_cursor = params.contains_key("after");
        let is_polling = endpoint == Endpoint::Logs && !params.contains_key("until");
        let applies = |fault| match fault {
            OktaFault::CursorExpired => has_cursor,
            OktaFault::LeavesOut => is_polling,
            _ => true,
        };
        let own = self.faults_of(endpoint).strike(applies);
        let fault = own.or_else(|| self.0.faults.strike(applies));
        let limited = |reply: Reply, remaining| {
            limits(remaining).into_iter().fold(reply, |reply, (name, value)| reply.with(name, value))
        };
        let too_many = |remaining| {
            let text = "API call exceeded rate limit due to too many requests.";
            limited(error(StatusCode::TOO_MANY_REQUESTS, "E0000047", text), remaining)
        };
        if withheld {
            let text = "You do not have permission to perform the requested action";
            return Err(limited(error(StatusCode::FORBIDDEN, "E0000006", text), remaining));
        }
        match fault {
            Some(OktaFault::TooManyRequests) => Err(too_many(0)),
            Some(OktaFault::TooManyWithRemaining) => Err(too_many(remaining.max(1))),
            _ if over => Err(too_many(0)),
            fault => Ok(Pass { fault, limits: limits(remaining) }),
        }
    }

    /// Answers one request: admission, the fault, then `answer`.
    async fn serve(
        &self,
        endpoint: Endpoint,
        wire: &Wire,
        headers: &HeaderMap,
        params: &Params,
        answer: impl FnOnce(Timestamp) -> Reply,
    ) -> Response<Body> {
        let dated = |reply: Reply, at| reply.with("date", http_date(at)).into_response();
        let pass = match self.admit(endpoint, headers, params) {
            Ok(pass) => pass,
            Err(refusal) => return dated(refusal, self.0.clock.now()),
        };
        if pass.fault == Some(OktaFault::Slow) {
            tokio::time::sleep(self.0.slow).await;
        }
        // What is shown is as of the `Date`: a later one, with a fast clock, would vouch for events not shown.
        let now = self.0.clock.now();
        let with_limits =
            |reply: Reply| pass.limits.iter().fold(reply, |reply, (name, value)| reply.with(name, value.as_str()));
        let reply = match pass.fault {
            Some(OktaFault::ServerError) => {
                let text = "Sorry, there's been an error. The team has been alerted.";
                with_limits(error(StatusCode::INTERNAL_SERVER_ERROR, "E0000053", text))
            }
            Some(OktaFault::BadGateway) => {
                let page = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>";
                Reply::html(StatusCode::BAD_GATEWAY, page)
            }
            Some(OktaFault::CursorExpired) => {
                with_limits(error(StatusCode::BAD_REQUEST, "E0000031", "Invalid search criteria."))
            }
            Some(OktaFault::ResetBefore) => {
                wire.cut_after(0);
                answer(now)
            }
            Some(OktaFault::ResetMidBody) => {
                let reply = with_limits(answer(now));
                wire.cut_after(reply.middle());
                reply
            }
            Some(OktaFault::Truncated) => {
                let mut reply = with_limits(answer(now));
                reply.body.truncate(reply.body.len() / 2);
                reply
            }
            Some(OktaFault::LeavesOut) => {
                self.store().leave_out_the_last();
                with_limits(answer(now))
            }
            Some(OktaFault::Slow | OktaFault::TooManyRequests | OktaFault::TooManyWithRemaining) | None => {
                with_limits(answer(now))
            }
        };
        dated(reply, now)
    }

    fn page(&self, now: Timestamp, params: &Params, uri: &Uri, base: &str) -> Result<Reply, Reply> {
        let limit = check(params, now)?;
        let mut store = self.store();
        store.advance(now).map_err(|failure| internal(&failure))?;
        if let Some(until) = params.get("until") {
            return bounded(&store, (since(params, now)?, time(until, "until")?), limit, params, (uri, base));
        }
        let place = match params.get("after") {
            Some(cursor) => store.place_at(cursor).map_err(|store::InvalidCursor| {
                error(StatusCode::BAD_REQUEST, "E0000031", "Invalid search criteria.")
            })?,
            None => store.place_of(since(params, now)?),
        };
        let (body, count) = store.page(place, limit).map_err(|failure| internal(&failure))?;
        let next = store.cursor(place + count);
        let reply = Reply { status: StatusCode::OK, content_type: "application/json", headers: Vec::new(), body };
        let next = format!("<{base}/api/v1/logs?sortOrder=ASCENDING&limit={limit}&after={next}>; rel=\"next\"");
        Ok(reply.with("link", format!("<{base}{uri}>; rel=\"self\"")).with("link", next))
    }
}

/// Refuses what polling may not ask, and reads `limit`.
fn check(params: &Params, now: Timestamp) -> Result<usize, Reply> {
    let bad = |code, summary: &str| Err(error(StatusCode::BAD_REQUEST, code, summary));
    for unsupported in ["filter", "q"] {
        if params.contains_key(unsupported) {
            return bad("E0000053", &format!("The {unsupported} parameter is not simulated."));
        }
    }
    if params.contains_key("since") && params.contains_key("after") && !params.contains_key("until") {
        return bad("E0000053", "The since and after parameters are mutually exclusive.");
    }
    if params.get("sortOrder").is_some_and(|order| order != "ASCENDING") {
        return bad("E0000053", "The sortOrder parameter must be ASCENDING when until is absent.");
    }
    since(params, now)?;
    match params.get("limit").map_or(Ok(100), |limit| limit.parse::<usize>()) {
        Ok(limit) if limit <= 1_000 => Ok(limit),
        Ok(_) | Err(_) => bad("E0000053", "The limit parameter must be between 0 and 1000."),
    }
}

fn since(params: &Params, now: Timestamp) -> Result<Timestamp, Reply> {
    let Some(text) = params.get("since") else { return Ok(now - Span::hours(7 * 24)) };
    let since = time(text, "since")?;
    if since < now - Span::hours(180 * 24) {
        let text = "The since parameter is over 180 days prior to the current day.";
        return Err(error(StatusCode::BAD_REQUEST, "E0000053", text));
    }
    Ok(since.max(now - Span::hours(90 * 24)))
}

fn time(text: &str, name: &str) -> Result<Timestamp, Reply> {
    let time = chrono::DateTime::parse_from_rfc3339(text);
    let wrong = |_| error(StatusCode::BAD_REQUEST, "E0000001", &format!("Api validation failed: {name}"));
    time.map(|time| Timestamp(time.timestamp_millis())).map_err(wrong)
}

/// A page of a query with an end: by `published`, and the last one without a next link.
fn bounded(
    store: &Store,
    (from, until): (Timestamp, Timestamp),
    limit: usize,
    params: &Params,
    (uri, base): (&Uri, &str),
) -> Result<Reply, Reply> {
    let place = params.get("after").map_or(Ok(0), |after| after.parse::<usize>());
    let place = place.map_err(|_| error(StatusCode::BAD_REQUEST, "E0000031", "Invalid search criteria."))?;
    let all = store.between(from, until).map_err(|failure| internal(&failure))?;
    let page: Vec<&str> = all.iter().skip(place).take(limit).map(String::as_str).collect();
    let body = format!("[{}]", page.join(",")).into_bytes();
    let reply = Reply { status: StatusCode::OK, content_type: "application/json", headers: Vec::new(), body };
    let reply = reply.with("link", format!("<{base}{uri}>; rel=\"self\""));
    if place + page.len() >= all.len() {
        return Ok(reply);
    }
    let query = format!("since={from}&until={until}&limit={limit}&after={}", place + page.len());
    Ok(reply.with("link", format!("<{base}/api/v1/logs?{query}>; rel=\"next\"")))
}

fn error(status: StatusCode, code: &str, summary: &str) -> Reply {
    let body = json!({"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oaeSimulated",
                      "errorCauses": []});
    Reply::json(status, &body)
}

fn internal(failure: &std::io::Error) -> Reply {
    error(StatusCode::INTERNAL_SERVER_ERROR, "E0000009", &failure.to_string())
}

async fn logs(
    State(okta): State<Okta>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    headers: HeaderMap,
    uri: Uri,
    Query(params): Query<Params>,
) -> Response<Body> {
    let base = base_url(&headers, okta.0.address);
    let page = |now| okta.page(now, &params, &uri, &base).unwrap_or_else(|refusal| refusal);
    okta.serve(Endpoint::Logs, &wire, &headers, &params, page).await
}
