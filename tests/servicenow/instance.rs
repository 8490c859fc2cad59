//! A stand-in for a ServiceNow instance, with the awkwardness of the real one on request.
//!
//! It follows the documented Table API: a condition on a column that does not exist is dropped, `X-Total-Count` is
//! sent, closed rows take no writes, references read as objects, `POST` makes a row each time. It signs in by password, by
//! API key and by tokens that it gives itself, and has change requests to read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

pub type Row = BTreeMap<String, String>;

/// How one request is answered instead of well.
#[derive(Clone, Debug)]
pub enum Awkward {
    /// Well after all.
    Not,
    /// This status, with `Retry-After` seconds; nothing is done.
    Refuse(u16, Option<u32>),
    /// It is done, and then this status.
    DoneThen(u16),
    /// It is done, and the answer is a page for people.
    DoneThenPage,
    /// It is done, and the answer is broken JSON.
    DoneThenGarbage,
    /// It is done, and the answer ends in the middle.
    DoneThenCut,
    /// It is done, and no answer ever comes.
    DoneThenSilence,
    /// Nothing is done, and the answer is a page for people with 200.
    Page,
    /// Nothing is done, and the answer is endless.
    Endless,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub id: Option<String>,
    pub query: String,
    pub body: Value,
    pub at: Instant,
}

#[derive(Default)]
pub struct Inner {
    pub rows: Vec<Row>,
    pub notes: BTreeMap<String, Vec<String>>,
    pub seen: Vec<Seen>,
    pub awkward: Vec<(Method, VecDeque<Awkward>)>,
    /// Columns that conditions cannot name; such conditions are dropped.
    pub unknown: Vec<&'static str>,
    /// Look-ups that do not show rows made from here on.
    pub hide_new_rows_for: u32,
    pub hidden: BTreeMap<String, u32>,
    pub forbidden_states: Vec<&'static str>,
    pub password: String,
    pub total: Option<u64>,
    pub api_key: String,
    /// The token in force; a request for one gives `token-<n>`, or the same again.
    pub token: String,
    pub tokens_given: u32,
    pub expires_in: u64,
    /// Bodies of the requests for tokens, and how the next ones are refused.
    pub token_requests: Vec<String>,
    pub refuse_tokens: VecDeque<u16>,
    pub changes: Vec<Value>,
    /// The queries on change requests, and how they are answered instead.
    pub change_queries: Vec<String>,
    pub changes_fault: Option<ChangesFault>,
}

/// How a question for change requests is answered badly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangesFault {
    Status(u16),
    Silence,
}

#[derive(Clone)]
pub struct Instance {
    inner: Arc<Mutex<Inner>>,
    pub url: String,
}

#[expect(clippy::disallowed_methods, reason = "the stand-in has a clock of its own")]
fn now() -> Instant {
    Instant::now()
}

impl Instance {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let inner = Inner { password: "secret".to_owned(), expires_in: 1_800, ..Inner::default() };
        let instance = Self { inner: Arc::new(Mutex::new(inner)), url };
        let table = "/api/now/v2/table/incident";
        let router = Router::new()
            .route(table, get(handle).post(handle))
            .route(&format!("{table}/{{id}}"), get(handle).patch(handle))
            .route("/oauth_token.do", post(token))
            .route("/api/now/v2/table/change_request", get(changes))
            .with_state(instance.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        instance
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("not poisoned")
    }

    /// Answers the next requests of a method awkwardly, in this order.
    pub fn script(&self, method: Method, awkward: impl IntoIterator<Item = Awkward>) {
        self.lock().awkward.push((method, awkward.into_iter().collect()));
    }

    /// Puts a row there as if it had always been.
    pub fn put(&self, columns: &[(&str, &str)]) -> String {
        let mut inner = self.lock();
        inner.insert(columns.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned())).collect())
    }

    /// The rows of a key.
    pub fn rows(&self, key: &str) -> Vec<Row> {
        self.lock().rows.iter().filter(|row| row["correlation_id"] == key).cloned().collect()
    }

    /// The only row of a key.
    #[track_caller]
    pub fn row(&self, key: &str) -> Row {
        let rows = self.rows(key);
        assert_eq!(rows.len(), 1, "rows of {key}: {rows:#?}");
        rows[0].clone()
    }

    /// Changes a row as a person would.
    pub fn edit(&self, key: &str, column: &str, value: &str) {
        let mut inner = self.lock();
        let row = inner.rows.iter_mut().find(|row| row["correlation_id"] == key).expect("a row");
        row.insert(column.to_owned(), value.to_owned());
    }

    pub fn notes(&self, sys_id: &str) -> Vec<String> {
        self.lock().notes.get(sys_id).cloned().unwrap_or_default()
    }

    /// The bodies sent with a method.
    pub fn sent(&self, method: &Method) -> Vec<Value> {
        self.lock().seen.iter().filter(|seen| seen.method == *method).map(|seen| seen.body.clone()).collect()
    }
}

impl Inner {
    /// Whether the request is signed with what is in force.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let basic = format!("Basic {}", base64(format!("user:{}", self.password).as_bytes()));
        let token = !self.token.is_empty() && text("authorization") == format!("Bearer {}", self.token);
        let key = !self.api_key.is_empty() && text("x-sn-apikey") == self.api_key;
        text("authorization") == basic || token || key
    }

    fn insert(&mut self, mut row: Row) -> String {
        let n = self.rows.len() + 1;
        let sys_id = format!("{n:032x}");
        let defaults = [
            ("sys_id", sys_id.clone()),
            ("number", format!("INC{:07}", 10_000 + n)),
            ("state", "1".to_owned()),
            ("priority", "2".to_owned()),
            ("sys_created_on", format!("2026-03-02 10:{:02}:{:02}", n / 60, n % 60)),
            ("correlation_id", String::new()),
            ("correlation_display", String::new()),
            ("assigned_to", String::new()),
            ("assignment_group", String::new()),
            ("description", String::new()),
        ];
        for (column, value) in defaults {
            row.entry(column.to_owned()).or_insert(value);
        }
        if let Some(note) = row.remove("work_notes") {
            self.notes.entry(sys_id.clone()).or_default().push(note);
        }
        if self.hide_new_rows_for > 0 {
            self.hidden.insert(sys_id.clone(), self.hide_new_rows_for);
        }
        self.rows.push(row);
        sys_id
    }

    fn list(&mut self, query: &BTreeMap<String, String>) -> Response {
        let encoded = query.get("sysparm_query").cloned().unwrap_or_default();
        let conditions: Vec<(&str, &str)> = encoded
            .split('^')
            .filter_map(|part| part.split_once('='))
            .filter(|(column, _)| !self.unknown.contains(column))
            .collect();
        let mut found: Vec<Row> = self.rows.clone();
        found.retain(|row| conditions.iter().all(|(column, value)| row.get(*column).is_some_and(|has| has == value)));
        found.retain(|row| match self.hidden.get_mut(&row["sys_id"]) {
            Some(0) | None => true,
            Some(left) => {
                *left -= 1;
                false
            }
        });
        if encoded.contains("ORDERBYsys_created_on") {
            found.sort_by(|a, b| a["sys_created_on"].cmp(&b["sys_created_on"]));
        }
        let total = self.total.unwrap_or(found.len() as u64);
        let limit = query.get("sysparm_limit").and_then(|limit| limit.parse().ok()).unwrap_or(10_000);
        found.truncate(limit);
        let mut response = answer(StatusCode::OK, &json!({ "result": found }));
        response.headers_mut().insert("X-Total-Count", total.into());
        response
    }

    fn patch(&mut self, id: &str, body: &Value) -> Response {
        let Some(row) = self.rows.iter_mut().find(|row| row["sys_id"] == id) else {
            return refuse(StatusCode::NOT_FOUND, "No Record found");
        };
        let wanted = body.get("state").and_then(Value::as_str).unwrap_or_default();
        if self.forbidden_states.contains(&wanted) || matches!(row["state"].as_str(), "7" | "8") {
            return refuse(StatusCode::FORBIDDEN, "Operation Failed");
        }
        if wanted == "6" && (body.get("close_code").is_none() || body.get("close_notes").is_none()) {
            return refuse(StatusCode::FORBIDDEN, "Data Policy Exception");
        }
        for (column, value) in body.as_object().expect("an object") {
            let value = value.as_str().expect("every value is a text").to_owned();
            if column == "work_notes" {
                self.notes.entry(id.to_owned()).or_default().push(value);
            } else {
                row.insert(column.clone(), value);
            }
        }
        answer(StatusCode::OK, &json!({ "result": row }))
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json;charset=UTF-8")], body.to_string()).into_response()
}

fn refuse(status: StatusCode, message: &str) -> Response {
    answer(status, &json!({ "error": { "message": message, "detail": "ACL" }, "status": "failure" }))
}

fn page() -> Response {
    let html = "<html><body>Your instance is hibernating</body></html>";
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/html")], html).into_response()
}

/// Tokens by client credentials; a form only, as documented.
async fn token(State(instance): State<Instance>, headers: HeaderMap, body: String) -> Response {
    let mut inner = instance.lock();
    inner.token_requests.push(body.clone());
    if let Some(status) = inner.refuse_tokens.pop_front() {
        let body = json!({ "error": "access_denied", "error_description": "awkward" });
        return answer(StatusCode::from_u16(status).expect("a status"), &body);
    }
    let is_form = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    if !is_form || body != "grant_type=client_credentials&client_id=client&client_secret=s+%26+c" {
        return answer(StatusCode::UNAUTHORIZED, &json!({ "error": "access_denied" }));
    }
    if inner.token.is_empty() {
        inner.tokens_given += 1;
        inner.token = format!("token-{}", inner.tokens_given);
    }
    let body = json!({
        "access_token": inner.token, "token_type": "Bearer", "scope": "useraccount", "expires_in": inner.expires_in,
    });
    answer(StatusCode::OK, &body)
}

async fn changes(
    State(instance): State<Instance>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let fault = {
        let mut inner = instance.lock();
        if !inner.knows(&headers) {
            return refuse(StatusCode::UNAUTHORIZED, "User Not Authenticated");
        }
        inner.change_queries.push(query.get("sysparm_query").cloned().unwrap_or_default());
        inner.changes_fault
    };
    match fault {
        None => answer(StatusCode::OK, &json!({ "result": instance.lock().changes })),
        Some(ChangesFault::Status(status)) => refuse(StatusCode::from_u16(status).expect("a status"), "awkward"),
        Some(ChangesFault::Silence) => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            page()
        }
    }
}

async fn handle(
    State(instance): State<Instance>,
    id: Option<Path<String>>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
    let id = id.map(|Path(id)| id);
    let awkward = {
        let mut inner = instance.lock();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        inner.seen.push(Seen { method: parts.method.clone(), id: id.clone(), query, body: body.clone(), at: now() });
        if !inner.knows(&parts.headers) {
            return refuse(StatusCode::UNAUTHORIZED, "User Not Authenticated");
        }
        let script = inner.awkward.iter_mut().find(|(method, script)| *method == parts.method && !script.is_empty());
        script.and_then(|(_, script)| script.pop_front())
    };
    match &awkward {
        Some(Awkward::Refuse(status, retry_after)) => {
            let mut response = refuse(StatusCode::from_u16(*status).expect("a status"), "awkward");
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, (*seconds).into());
            }
            return response;
        }
        Some(Awkward::Page) => return page(),
        Some(Awkward::Endless) => {
            let big = vec![b' '; 3 << 20];
            return (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], big).into_response();
        }
        Some(_) | None => {}
    }
    let done = {
        let mut inner = instance.lock();
        match (parts.method.as_str(), &id) {
            ("GET", None) => inner.list(&query),
            ("GET", Some(id)) => match inner.rows.iter().find(|row| row["sys_id"] == *id) {
                Some(row) => answer(StatusCode::OK, &json!({ "result": row })),
                None => refuse(StatusCode::NOT_FOUND, "No Record found"),
            },
            ("POST", None) => {
                let row = body.as_object().expect("an object").iter();
                let text = |value: &Value| value.as_str().expect("every value is a text").to_owned();
                let sys_id = inner.insert(row.map(|(column, value)| (column.clone(), text(value))).collect());
                let row = inner.rows.iter().find(|row| row["sys_id"] == sys_id).expect("just made");
                answer(StatusCode::CREATED, &json!({ "result": row }))
            }
            ("PATCH", Some(id)) => inner.patch(id, &body),
            (method, id) => panic!("{method} {id:?}"),
        }
    };
    match awkward {
        None | Some(Awkward::Not) => done,
        Some(Awkward::DoneThen(status)) => refuse(StatusCode::from_u16(status).expect("a status"), "awkward"),
        Some(Awkward::DoneThenPage) => page(),
        Some(Awkward::DoneThenGarbage) => {
            (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], "{\"result\":{").into_response()
        }
        Some(Awkward::DoneThenCut) => {
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::CONTENT_LENGTH, "9999")];
            (StatusCode::CREATED, headers, Body::from("{")).into_response()
        }
        Some(Awkward::DoneThenSilence) => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            done
        }
        Some(Awkward::Refuse(..) | Awkward::Page | Awkward::Endless) => unreachable!("answered above"),
    }
}

/// Standard base64 with padding, spelled out so that the client's encoding is checked against something else.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0_usize, |group, i| group << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let sextet = ALPHABET[group >> (18 - 6 * i) & 63] as char;
            text.push(if i <= chunk.len() { sextet } else { '=' });
        }
    }
    text
}
