//! `/metrics` and the probes, as Prometheus and Kubernetes ask for them.
//!
//! `/livez` fails never while the process answers: a restart mends no outage of a source. `/readyz` fails while a
//! condition that decides is not met, and names every condition. `/startupz` fails until the state is restored.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::Shared;
use crate::telemetry::condition::Status;

/// The version of the text format (Prometheus, "Exposition formats").
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/metrics`.
pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    match tokio::task::spawn_blocking(move || (shared.metrics)()).await {
        Ok(text) => ([(header::CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT))], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n").into_response(),
    }
}

/// `/livez`.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// `/startupz`.
pub(super) async fn startupz(State(shared): State<Shared>) -> Response {
    match shared.view().status.started {
        Some(_) => "ok\n".into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the state is not restored yet\n").into_response(),
    }
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    conditions: BTreeMap<String, Status>,
}

/// `/readyz`: JSON where it is asked for, else text; `?verbose` lists the conditions that hold too.
pub(super) async fn readyz(State(shared): State<Shared>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let conditions = shared.conditions.read();
    // From the copy, so that the code and the list cannot differ.
    let ready = conditions.values().all(|status| status.ok || !status.gates_readiness);
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let json = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(wants_json);
    if json {
        return (code, axum::Json(Ready { ready, conditions })).into_response();
    }
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    (code, text(ready, &conditions, verbose)).into_response()
}

fn wants_json(accept: &str) -> bool {
    accept.split(',').any(|part| part.split(';').next().is_some_and(|kind| kind.trim() == "application/json"))
}

fn text(ready: bool, conditions: &BTreeMap<String, Status>, verbose: bool) -> String {
    let mut text = String::new();
    for (name, status) in conditions {
        let informs = if status.gates_readiness { "" } else { " (informs only)" };
        let written = match (status.ok, verbose) {
            (true, false) => Ok(()),
            (true, true) => writeln!(text, "[+] {name}: ok{informs}"),
            (false, true | false) => writeln!(text, "[-] {name}: {}{informs}", status.detail),
        };
        debug_assert!(written.is_ok(), "a string takes every text");
    }
    text.push_str(if ready { "ok\n" } else { "not ready\n" });
    text
}
