//! Requests to the Table API, with every answer classified once.
//!
//! A failure says beside its class whether the request may have been carried out all the same: that is what a create
//! must know.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header};
use serde_json::Value;
use url::Url;

use super::Config;
use super::auth::{Signed, Signer};
use super::row::{FIELDS, OURS, Row};
use crate::act::retry::{Failure, Reason};
use crate::secret::Secrets;
use crate::telemetry::metric::Metric;

/// The largest answer that is read; a page of rows is a few kilobytes each.
const BODY: usize = 1 << 20;

/// Rows asked for in a look-up: one is usual, more are doubles.
const LIMIT: usize = 20;

/// The table of tickets.
const INCIDENT: &str = "incident";

/// Characters of the server's own message that go into a detail.
const MESSAGE: usize = 200;

/// A failed request.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// The server may have done what was asked.
    pub(super) perhaps_done: bool,
}

impl Failed {
    pub(super) fn not_done(failure: Failure) -> Self {
        Self { failure, perhaps_done: false }
    }

    fn perhaps(failure: Failure) -> Self {
        Self { failure, perhaps_done: true }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        failed.failure
    }
}

/// The answer to a look-up.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    /// Things in the answer that are no rows.
    pub(super) unreadable: usize,
    /// `X-Total-Count`, where sent.
    pub(super) total: Option<u64>,
}

#[derive(Debug)]
struct Answer {
    body: Value,
    total: Option<u64>,
}

/// The connection to one instance.
pub(super) struct Client {
    http: reqwest::Client,
    sink: String,
    table: Url,
    signer: Signer,
}

/// What is asked, for messages.
#[derive(Clone, Copy)]
struct Asked<'a> {
    method: &'a Method,
    table: &'a str,
    /// What to look at when it is refused for its credentials.
    hint: &'static str,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("table", &self.table.as_str()).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(config: &Config, secrets: Secrets) -> Result<Self, reqwest::Error> {
        let mut table = config.url.clone();
        let path = format!("{}/api/now/v2/table/incident", table.path().trim_end_matches('/'));
        table.set_path(&path);
        let http = crate::http::client(config.timeout)?;
        let signer = Signer::new(config.auth.clone(), &config.url, secrets, config.name.clone());
        Ok(Self { http, sink: config.name.clone(), table, signer })
    }

    /// Where a person sees the row.
    pub(super) fn page_of(&self, sys_id: &str) -> String {
        let mut url = self.table.clone();
        let path = self.table.path().replace("/api/now/v2/table/incident", "/incident.do");
        url.set_path(&path);
        url.query_pairs_mut().append_pair("sys_id", sys_id);
        url.into()
    }

    /// The rows that the instance returns for a correlation id, oldest first; the caller must not believe it.
    pub(super) async fn find(&mut self, correlation: &str) -> Result<Page, Failed> {
        let mut url = self.table.clone();
        let query = format!("correlation_id={correlation}^correlation_display={OURS}^ORDERBYsys_created_on");
        url.query_pairs_mut()
            .append_pair("sysparm_query", &query)
            .append_pair("sysparm_fields", FIELDS)
            .append_pair("sysparm_limit", &LIMIT.to_string())
            .append_pair("sysparm_exclude_reference_link", "true");
        let answer = self.send(&Method::GET, &url, None).await?;
        let Some(rows) = answer.body.get("result").and_then(Value::as_array) else {
            return Err(Failed::perhaps(bad_body("a look-up without a list of rows")));
        };
        let read: Vec<Row> = rows.iter().filter_map(Row::read).collect();
        Ok(Page { unreadable: rows.len() - read.len(), rows: read, total: answer.total })
    }

    /// The rows that the instance returns for a query on another table; the caller must not believe it.
    pub(super) async fn list(
        &mut self,
        table: &str,
        query: &str,
        fields: &str,
        limit: usize,
    ) -> Result<Vec<Value>, Failed> {
        let mut url = self.table.clone();
        let path = self.table.path().strip_suffix(INCIDENT).unwrap_or_default();
        url.set_path(&format!("{path}{table}"));
        url.query_pairs_mut()
            .append_pair("sysparm_query", query)
            .append_pair("sysparm_fields", fields)
            .append_pair("sysparm_limit", &limit.to_string())
            .append_pair("sysparm_exclude_reference_link", "true");
        let answer = self.send_to(table, &Method::GET, &url, None).await?;
        let rows = answer.body.get("result").and_then(Value::as_array);
        rows.cloned().ok_or_else(|| Failed::perhaps(bad_body("a look-up without a list of rows")))
    }

    /// One row by id; `None` where there is none, or none that we may see.
    pub(super) async fn row(&mut self, sys_id: &str) -> Result<Option<Row>, Failed> {
        match self.send(&Method::GET, &self.row_url(sys_id), None).await {
            Ok(answer) => one(&answer.body).map(Some),
            Err(failed) if failed.failure.reason == Reason::NotFound => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Creates a row.
    pub(super) async fn create(&mut self, body: &Value) -> Result<Row, Failed> {
        let mut url = self.table.clone();
        append_fields(&mut url);
        one(&self.send(&Method::POST, &url, Some(body)).await?.body)
    }

    /// Changes a row. Its answer is not used: the next look-up is what counts.
    pub(super) async fn change(&mut self, sys_id: &str, body: &Value) -> Result<(), Failed> {
        match self.send(&Method::PATCH, &self.row_url(sys_id), Some(body)).await {
            Ok(_) => Ok(()),
            // Deleted since the look-up: the next look-up decides what that means.
            Err(failed) if failed.failure.reason == Reason::NotFound => {
                let failure = Failure::retry(Reason::NotFound, "a ticket went away while it was written to");
                Err(Failed::not_done(failure.of_incident()))
            }
            Err(failed) => Err(failed),
        }
    }

    fn row_url(&self, sys_id: &str) -> Url {
        let mut url = self.table.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(sys_id);
        }
        append_fields(&mut url);
        url
    }

    async fn send(&mut self, method: &Method, url: &Url, body: Option<&Value>) -> Result<Answer, Failed> {
        self.send_to(INCIDENT, method, url, body).await
    }

    /// Sends a request; on 401 the secrets are read again, and it is sent once more if they changed.
    async fn send_to(
        &mut self,
        table: &str,
        method: &Method,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<Answer, Failed> {
        let asked = Asked { method, table, hint: self.signer.hint() };
        let used = self.signer.signed(&self.http).await?;
        let first = self.attempt(asked, url, body, &used).await;
        let Err(failed) = &first else { return first };
        if failed.failure.reason != Reason::Unauthorized {
            return first;
        }
        self.signer.forget();
        let read = self.signer.signed(&self.http).await?;
        if read == used { first } else { self.attempt(asked, url, body, &read).await }
    }

    async fn attempt(
        &self,
        asked: Asked<'_>,
        url: &Url,
        body: Option<&Value>,
        signed: &Signed,
    ) -> Result<Answer, Failed> {
        let request = self.http.request(asked.method.clone(), url.clone()).header(header::ACCEPT, "application/json");
        let mut request = signed.apply(request);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = match request.send().await {
            Ok(response) => read(response, asked).await,
            Err(error) => Err(transport(&error)),
        };
        let result = answer.as_ref().map_or_else(|failed| failed.failure.reason.as_str(), |_| "ok");
        Metric::SinkRequests.counter(&[&self.sink, result]).increment(1);
        answer
    }
}

fn append_fields(url: &mut Url) {
    url.query_pairs_mut().append_pair("sysparm_fields", FIELDS).append_pair("sysparm_exclude_reference_link", "true");
}

fn one(body: &Value) -> Result<Row, Failed> {
    let row = body.get("result").and_then(Row::read);
    row.ok_or_else(|| Failed::perhaps(bad_body("an answer without a row")))
}

fn bad_body(what: &str) -> Failure {
    Failure::retry(Reason::BadBody, format!("ServiceNow sent {what}"))
}

/// A request that got no answer.
pub(super) fn transport(error: &reqwest::Error) -> Failed {
    // A connection that was never made carried nothing; every other failure may hide a request that was done.
    if error.is_connect() || error.is_builder() {
        return Failed::not_done(Failure::retry(Reason::Unreachable, "ServiceNow cannot be reached (is `url` right?)"));
    }
    let failure = if error.is_timeout() {
        Failure::retry(Reason::Timeout, "ServiceNow did not answer in time")
    } else {
        Failure::retry(Reason::ConnectionLost, "the connection to ServiceNow broke")
    };
    Failed::perhaps(failure)
}

async fn read(response: Response, asked: Asked<'_>) -> Result<Answer, Failed> {
    let status = response.status();
    let headers = response.headers();
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let wait = number("retry-after").map(Duration::from_secs);
    let total = number("x-total-count");
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_json = kind.to_ascii_lowercase().contains("json");
    let body = body(response).await;
    if !status.is_success() {
        let message = body.ok().as_deref().filter(|_| is_json).and_then(message).unwrap_or_default();
        return Err(refused(status, asked, wait, &message));
    }
    let body = body.map_err(Failed::perhaps)?;
    if !is_json {
        let detail =
            "ServiceNow answers with a page instead of data (a developer instance that hibernates: wake it up)";
        return Err(Failed::perhaps(Failure::retry(Reason::Hibernating, detail)));
    }
    let body = serde_json::from_slice(&body).map_err(|_| Failed::perhaps(bad_body("something that is no JSON")))?;
    Ok(Answer { body, total })
}

pub(super) async fn body(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= BODY => bytes.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                return Err(Failure::retry(Reason::BodyTooLarge, format!("ServiceNow sent more than {BODY} bytes")));
            }
            Ok(None) => return Ok(bytes),
            Err(error) => return Err(transport(&error).failure),
        }
    }
}

/// The server's own words, shortened.
pub(super) fn message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error")?;
    let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let words = match error {
        // The endpoint for tokens has a form of its own (RFC 6749, section 5.2).
        Value::String(code) => format!("{code} {}", text(&body, "error_description")),
        error => format!("{} {}", text(error, "message"), text(error, "detail")),
    };
    let words: String = words.trim().chars().filter(|c| !c.is_control()).take(MESSAGE).collect();
    (!words.is_empty()).then(|| format!(": {words}"))
}

/// What a status says.
fn refused(status: StatusCode, asked: Asked<'_>, wait: Option<Duration>, message: &str) -> Failed {
    let code = status.as_u16();
    let Asked { method, table, hint } = asked;
    let what = format!("ServiceNow answered {code} to {method} on `{table}`{message}");
    match code {
        300..=399 => {
            Failed::perhaps(Failure::fix(Reason::Redirected, format!("{what} (is `url` the instance itself?)")))
        }
        401 => Failed::not_done(Failure::fix(Reason::Unauthorized, format!("{what} {hint}"))),
        403 => {
            let fix = "(an ACL, business rule or data policy forbids it; the user needs `itil`)";
            Failed::not_done(Failure::fix(Reason::Forbidden, format!("{what} {fix}")).of_incident())
        }
        404 => Failed::not_done(Failure::fix(Reason::NotFound, format!("{what} (is `url` right?)"))),
        405..=407 | 415 => {
            Failed::not_done(Failure::fix(Reason::Invalid, format!("{what} (is `url` the instance itself?)")))
        }
        408 => Failed::perhaps(Failure::retry(Reason::Timeout, what).after(wait)),
        429 => {
            let detail = "ServiceNow asks for fewer requests (429; see its inbound rate limit rules)";
            Failed::not_done(Failure::retry(Reason::RateLimited, detail).after(wait))
        }
        400..=499 => Failed::not_done(Failure::give_up(Reason::Invalid, what)),
        _ => Failed::perhaps(Failure::retry(Reason::ServerError, what).after(wait)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::retry::Class;

    #[test]
    fn every_status_has_a_class_a_reason_and_says_whether_it_may_be_done() {
        let table = [
            (302, Class::FixConfiguration, Reason::Redirected, true),
            (400, Class::GiveUp, Reason::Invalid, false),
            (401, Class::FixConfiguration, Reason::Unauthorized, false),
            (403, Class::FixConfiguration, Reason::Forbidden, false),
            (404, Class::FixConfiguration, Reason::NotFound, false),
            (405, Class::FixConfiguration, Reason::Invalid, false),
            (422, Class::GiveUp, Reason::Invalid, false),
            (408, Class::Retry, Reason::Timeout, true),
            (429, Class::Retry, Reason::RateLimited, false),
            (500, Class::Retry, Reason::ServerError, true),
            (502, Class::Retry, Reason::ServerError, true),
            (503, Class::Retry, Reason::ServerError, true),
        ];
        for (code, class, reason, perhaps) in table {
            let status = StatusCode::from_u16(code).expect("a status");
            let asked = Asked { method: &Method::POST, table: INCIDENT, hint: "" };
            let failed = refused(status, asked, None, "");
            let got = (failed.failure.class, failed.failure.reason, failed.perhaps_done);
            assert_eq!(got, (class, reason, perhaps), "{code}");
        }
    }

    #[test]
    fn the_servers_words_are_shortened_and_hold_no_control_characters() {
        let body = format!(r#"{{"error":{{"message":"No\nway","detail":"{}"}},"status":"failure"}}"#, "x".repeat(500));
        let words = message(body.as_bytes()).expect("words");
        assert!(words.starts_with(": Noway x") && words.chars().count() == MESSAGE + 2, "{words}");
        assert_eq!(message(b"<html>"), None);
    }
}
