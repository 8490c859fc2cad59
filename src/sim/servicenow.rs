//! ServiceNow over HTTP, simulated: the Table API v2 on `incident`, and `sys_choice` to read.
//!
//! `GET`, `POST` and `PATCH` under `/api/now/v2/table/incident` with basic authentication, strings for every value, the
//! invalid-query trap, the state machine and the error bodies of the sinks fact sheet's section 1. A few foreign
//! incidents are there from the start, so that a client that trusts a dropped condition is caught. It fails on request
//! only ([`ServiceNowFault`]) and emits no metrics.

mod query;
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use axum::routing::{get, patch};
use serde_json::{Map, Value, json};

use self::query::{Encoded, Fields};
pub use self::store::{FieldChange, MAX_ROWS, Note, Row};
use self::store::{Refusal, Table};
use super::clock::Clock;
use super::faults::{FaultPlan, Faults};
use super::wire::{Reply, Wire, base_url, http_date};
use crate::event::Span;

type Params = BTreeMap<String, String>;

/// What can go wrong with one request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ServiceNowFault {
    /// 429 with `Retry-After` and the rate-limit headers.
    TooManyWithRetryAfter,
    /// 429 without a header (transaction quota or semaphore).
    TooManyBare,
    /// 500.
    ServerError,
    /// 503.
    Unavailable,
    /// The connection is reset before the request is acted on.
    ResetBefore,
    /// The row is written, then the connection is reset before any reply; strikes writes only.
    ResetAfterCommit,
    /// 200 with the HTML page of a hibernating instance; the request is not acted on.
    Hibernating,
    /// The reply comes after [`ServiceNowConfig::slow`].
    Slow,
}

/// How the simulated ServiceNow answers.
#[derive(Clone, Debug)]
pub struct ServiceNowConfig {
    /// The user of basic authentication.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The seed of `sys_id`s.
    pub seed: u64,
    /// How late a slow reply is, in real time.
    pub slow: Duration,
    /// What `Retry-After` says, in seconds.
    pub retry_after: u32,
    /// How long after its creation a row shows in reads, in simulated time.
    pub visible_after: Span,
    /// The choices of `incident.close_code`.
    pub close_codes: Vec<String>,
    /// The most rows kept; at most [`MAX_ROWS`].
    pub max_rows: usize,
    /// Faults by chance.
    pub faults: FaultPlan<ServiceNowFault>,
}

impl Default for ServiceNowConfig {
    /// User `authwatch`, password `sim-servicenow-password`, rows visible at once, no faults.
    fn default() -> Self {
        Self {
            user: "authwatch".into(),
            password: "sim-servicenow-password".into(),
            seed: 0,
            slow: Duration::from_secs(3),
            retry_after: 2,
            visible_after: Span(0),
            close_codes: ["Duplicate", "Known error", "Resolved by change", "Solution provided", "Workaround provided"]
                .map(String::from)
                .into(),
            max_rows: MAX_ROWS,
            faults: FaultPlan::default(),
        }
    }
}

/// The handle to a running simulated ServiceNow; clones are the same server.
#[derive(Clone)]
pub struct ServiceNow(Arc<Shared>);

struct Shared {
    user: String,
    authorization: String,
    slow: Duration,
    retry_after: u32,
    max_rows: usize,
    close_codes: Vec<String>,
    clock: Clock,
    address: SocketAddr,
    faults: Faults<ServiceNowFault>,
    state: Mutex<Tables>,
}

struct Tables {
    incidents: Table,
    visible_after: Span,
}

/// A human's action that the state machine refuses, or on a row that is not there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a person cannot do that to row `{sys_id}`: {detail}")]
pub struct HumanError {
    sys_id: String,
    detail: &'static str,
}

impl ServiceNow {
    pub(super) fn new(config: ServiceNowConfig, clock: Clock, address: SocketAddr) -> Self {
        let mut incidents = Table::new(config.seed);
        let foreign = [
            ("Printer on floor 3 is out of toner", "printer-3", "facilities-bridge"),
            ("Disk 91 % full on build-7", "host-build-7", "monitoring-bridge"),
            ("New laptop for a starter", "", ""),
        ];
        for (title, correlation, display) in foreign {
            let body =
                [("short_description", title), ("correlation_id", correlation), ("correlation_display", display)]
                    .map(|(field, value)| (field.to_owned(), value.to_owned()));
            // A row with no state in its body is never refused.
            let _ = incidents.create(clock.now(), "desk.agent", &body.into(), Span(0));
        }
        let credentials = base64(format!("{}:{}", config.user, config.password).as_bytes());
        Self(Arc::new(Shared {
            authorization: format!("Basic {credentials}"),
            user: config.user,
            slow: config.slow,
            retry_after: config.retry_after,
            max_rows: config.max_rows.min(MAX_ROWS),
            close_codes: config.close_codes,
            clock,
            address,
            faults: Faults::new(config.faults),
            state: Mutex::new(Tables { incidents, visible_after: config.visible_after }),
        }))
    }

    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/api/now/v2/table/{table}", get(list).post(create))
            .route("/api/now/v2/table/{table}/{sys_id}", patch(update).get(read))
            .with_state(self.clone())
    }

    /// The faults, to queue some or to see which have struck.
    pub fn faults(&self) -> &Faults<ServiceNowFault> {
        &self.0.faults
    }

    /// Every incident, the foreign ones too, in order of number.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.tables().incidents.rows.values().cloned().collect();
        rows.sort_by(|a, b| a.get("number").cmp(b.get("number")));
        rows
    }

    /// The incidents that the API user created, in order of number.
    pub fn created(&self) -> Vec<Row> {
        let mut rows = self.rows();
        rows.retain(|row| row.get("sys_created_by") == self.0.user);
        rows
    }

    /// Rows created from now on show in reads that much later, in simulated time.
    pub fn set_visible_after(&self, span: Span) {
        self.tables().visible_after = span;
    }

    /// A human moves an incident to another state.
    ///
    /// # Errors
    /// Where the state machine refuses, or the row is not there.
    pub fn set_state(&self, sys_id: &str, state: &str) -> Result<(), HumanError> {
        self.human(sys_id, &[("state", state)])
    }

    /// A human takes an incident, or gives it to somebody.
    ///
    /// # Errors
    /// Where the row is not there.
    pub fn assign(&self, sys_id: &str, assigned_to: &str) -> Result<(), HumanError> {
        self.human(sys_id, &[("assigned_to", assigned_to)])
    }

    /// A human closes an incident for good.
    ///
    /// # Errors
    /// Where it is closed or canceled already, or not there.
    pub fn close(&self, sys_id: &str) -> Result<(), HumanError> {
        let notes = ("close_notes", "Closed by the desk.");
        self.human(sys_id, &[("state", "7"), ("close_code", "Solution provided"), notes])
    }

    /// A human resolves an incident.
    ///
    /// # Errors
    /// Where it is closed or canceled, or not there.
    pub fn resolve(&self, sys_id: &str) -> Result<(), HumanError> {
        let notes = ("close_notes", "Resolved by the desk.");
        self.human(sys_id, &[("state", "6"), ("close_code", "Solution provided"), notes])
    }

    fn human(&self, sys_id: &str, changes: &[(&str, &str)]) -> Result<(), HumanError> {
        let body = changes.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
        let failed = |detail| HumanError { sys_id: sys_id.to_owned(), detail };
        match self.tables().incidents.update(self.0.clock.now(), "desk.agent", sys_id, &body) {
            Some(Ok(_)) => Ok(()),
            Some(Err(refusal)) => Err(failed(refusal.detail())),
            None => Err(failed("there is no such row")),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request: authentication, the fault, then `act`.
    async fn serve(
        &self,
        method: &Method,
        wire: &Wire,
        headers: &HeaderMap,
        act: impl FnOnce() -> Reply,
    ) -> Response<Body> {
        let date = |reply: Reply| reply.with("date", http_date(self.0.clock.now())).into_response();
        if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(&self.0.authorization) {
            let detail = "Required to provide Auth information";
            return date(error(StatusCode::UNAUTHORIZED, "User Not Authenticated", detail));
        }
        let writes = *method != Method::GET;
        let fault = self.0.faults.strike(|fault| fault != ServiceNowFault::ResetAfterCommit || writes);
        let too_many = || error(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded", "Rate limit exceeded");
        date(match fault {
            Some(ServiceNowFault::TooManyWithRetryAfter) => {
                let reset = self.0.clock.now().index(Span::seconds(1)) + i64::from(self.0.retry_after);
                too_many()
                    .with("retry-after", self.0.retry_after.to_string())
                    .with("x-ratelimit-limit", "1000")
                    .with("x-ratelimit-reset", reset.to_string())
                    .with("x-ratelimit-rule", "Incident table")
            }
            Some(ServiceNowFault::TooManyBare) => too_many(),
            Some(ServiceNowFault::ServerError) => {
                error(StatusCode::INTERNAL_SERVER_ERROR, "Transaction failed", "simulated")
            }
            Some(ServiceNowFault::Unavailable) => error(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", "simulated"),
            Some(ServiceNowFault::Hibernating) => {
                let page = "<!DOCTYPE html><html><body>Your instance is hibernating.</body></html>";
                Reply::html(StatusCode::OK, page)
            }
            Some(ServiceNowFault::ResetBefore) => {
                wire.cut_after(0);
                Reply::json(StatusCode::OK, &json!({}))
            }
            Some(ServiceNowFault::ResetAfterCommit) => {
                wire.cut_after(0);
                act()
            }
            Some(ServiceNowFault::Slow) => {
                tokio::time::sleep(self.0.slow).await;
                act()
            }
            None => act(),
        })
    }

    fn list(&self, table: &str, params: &Params) -> Reply {
        let pairs = params.iter().filter(|(key, _)| !key.starts_with("sysparm_"));
        let pairs: Vec<String> = pairs.map(|(field, value)| format!("{field}={value}")).collect();
        let text = params.get("sysparm_query").cloned().unwrap_or_else(|| pairs.join("^"));
        let (columns, mut rows): (&[&str], Vec<Fields>) = match table {
            "incident" => {
                let now = self.0.clock.now();
                let tables = self.tables();
                let rows = tables.incidents.rows.values().filter(|row| row.visible_at <= now).map(shown);
                (&store::COLUMNS, rows.collect())
            }
            "sys_choice" => (&CHOICE_COLUMNS, self.choices()),
            _ => return error(StatusCode::BAD_REQUEST, &format!("Invalid table {table}"), ""),
        };
        let query = Encoded::parse(&text, |field| columns.contains(&field));
        rows.retain(|row| query.matches(row));
        query.sort(&mut rows);
        let number = |key: &str, default| params.get(key).and_then(|text| text.parse().ok()).unwrap_or(default);
        let total = rows.len();
        let page = rows.into_iter().skip(number("sysparm_offset", 0)).take(number("sysparm_limit", 10_000));
        let result: Vec<Value> = page.map(|row| self.display(&row, params)).collect();
        Reply::json(StatusCode::OK, &json!({"result": result})).with("x-total-count", total.to_string())
    }

    fn choices(&self) -> Vec<Fields> {
        let choice = |code: &String| {
            let code = code.as_str();
            [("name", "incident"), ("element", "close_code"), ("value", code), ("label", code), ("inactive", "false")]
                .map(|(field, value)| (field.to_owned(), value.to_owned()))
                .into()
        };
        self.0.close_codes.iter().map(choice).collect()
    }

    fn display(&self, row: &Fields, params: &Params) -> Value {
        let plain = params.get("sysparm_exclude_reference_link").is_some_and(|value| value == "true");
        let wanted: Option<Vec<&str>> = params.get("sysparm_fields").map(|fields| fields.split(',').collect());
        let wanted = |field: &str| wanted.as_ref().is_none_or(|fields| fields.iter().any(|name| name.trim() == field));
        let show = |(field, value): (&String, &String)| {
            let reference = !plain && !value.is_empty() && store::REFERENCES.contains(&field.as_str());
            let link = || format!("http://{}/api/now/v2/table/{field}/{value}", self.0.address);
            (field.clone(), if reference { json!({"link": link(), "value": value}) } else { json!(value) })
        };
        Value::Object(row.iter().filter(|(field, _)| wanted(field)).map(show).collect())
    }

    fn create(&self, body: &Fields, params: &Params, base: &str) -> Reply {
        let mut tables = self.tables();
        if tables.incidents.rows.len() >= self.0.max_rows {
            return error(StatusCode::INTERNAL_SERVER_ERROR, "Transaction failed", "the simulated table is full");
        }
        let visible_after = tables.visible_after;
        match tables.incidents.create(self.0.clock.now(), &self.0.user, body, visible_after) {
            Ok(sys_id) => {
                let row = tables.incidents.rows.get(&sys_id).map(shown).unwrap_or_default();
                Reply::json(StatusCode::CREATED, &json!({"result": self.display(&row, params)}))
                    .with("location", format!("{base}/api/now/v2/table/incident/{sys_id}"))
            }
            Err(refusal) => refused(refusal),
        }
    }

    fn update(&self, sys_id: &str, body: &Fields, params: &Params) -> Reply {
        match self.tables().incidents.update(self.0.clock.now(), &self.0.user, sys_id, body) {
            Some(Ok(row)) => Reply::json(StatusCode::OK, &json!({"result": self.display(&shown(&row), params)})),
            Some(Err(refusal)) => refused(refusal),
            None => missing(),
        }
    }

    fn read(&self, sys_id: &str, params: &Params) -> Reply {
        let now = self.0.clock.now();
        match self.tables().incidents.rows.get(sys_id).filter(|row| row.visible_at <= now) {
            Some(row) => Reply::json(StatusCode::OK, &json!({"result": self.display(&shown(row), params)})),
            None => missing(),
        }
    }
}

const CHOICE_COLUMNS: [&str; 5] = ["name", "element", "value", "label", "inactive"];

/// Every column of a row; those not set are empty strings, journals always are.
fn shown(row: &Row) -> Fields {
    store::COLUMNS.iter().map(|column| ((*column).to_owned(), row.get(column).to_owned())).collect()
}

fn error(status: StatusCode, message: &str, detail: &str) -> Reply {
    Reply::json(status, &json!({"error": {"message": message, "detail": detail}, "status": "failure"}))
}

fn refused(refusal: Refusal) -> Reply {
    error(StatusCode::FORBIDDEN, "Operation Failed", refusal.detail())
}

fn missing() -> Reply {
    error(StatusCode::NOT_FOUND, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
}

/// The body of a write as strings; the error is the reply.
fn fields(headers: &HeaderMap, table: &str, body: &[u8]) -> Result<Fields, Reply> {
    let json = headers.get("content-type").and_then(|value| value.to_str().ok());
    if table != "incident" || !json.is_some_and(|json| json.starts_with("application/json")) {
        return Err(error(StatusCode::BAD_REQUEST, "Exception while reading request", "table or content type"));
    }
    let object: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|failure| error(StatusCode::BAD_REQUEST, "Exception while reading request", &failure.to_string()))?;
    let text = |value: Value| match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    Ok(object.into_iter().map(|(field, value)| (field, text(value))).collect())
}

async fn list(
    State(server): State<ServiceNow>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    headers: HeaderMap,
    Path(table): Path<String>,
    Query(params): Query<Params>,
) -> Response<Body> {
    server.serve(&Method::GET, &wire, &headers, || server.list(&table, &params)).await
}

async fn read(
    State(server): State<ServiceNow>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    headers: HeaderMap,
    Path((_, sys_id)): Path<(String, String)>,
    Query(params): Query<Params>,
) -> Response<Body> {
    server.serve(&Method::GET, &wire, &headers, || server.read(&sys_id, &params)).await
}

async fn create(
    State(server): State<ServiceNow>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    headers: HeaderMap,
    Path(table): Path<String>,
    Query(params): Query<Params>,
    body: Bytes,
) -> Response<Body> {
    let base = base_url(&headers, server.0.address);
    let act = || match fields(&headers, &table, &body) {
        Ok(fields) => server.create(&fields, &params, &base),
        Err(refusal) => refusal,
    };
    server.serve(&Method::POST, &wire, &headers, act).await
}

async fn update(
    State(server): State<ServiceNow>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    headers: HeaderMap,
    Path((table, sys_id)): Path<(String, String)>,
    Query(params): Query<Params>,
    body: Bytes,
) -> Response<Body> {
    let act = || match fields(&headers, &table, &body) {
        Ok(fields) => server.update(&sys_id, &fields, &params),
        Err(refusal) => refusal,
    };
    server.serve(&Method::PATCH, &wire, &headers, act).await
}

/// Standard base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_matches_the_vectors_of_rfc_4648() {
        for (text, expect) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), expect);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
