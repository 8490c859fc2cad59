//! The web server: metrics, probes, the API and the status page.
//!
//! It reads what the pump publishes after each commit, or asks it between two of them, and changes nothing: every route
//! is `GET`, and `/api/v1/whatif` takes its question as `POST` too. `/metrics` and the probes are open; the rest is open on loopback and needs `http.token` elsewhere ([`access`](Access)). There is no
//! CORS: no other site's script may read it.
//!
//! Bounds: 256 connections, 30 s for the headers of a request, 16 KiB of headers, no request body but that of a question
//! (256 KiB), 10 minutes a connection.

mod access;
mod api;
mod health;
mod page;
mod serve;
mod view;
mod whatif;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::telemetry::condition::Conditions;

pub use access::{Access, Config};
pub use serve::serve;
pub use view::{AlarmRow, DecisionRow, SeriesRow, SourceStatus, Status, View};
pub use whatif::{AskFacts, Asker, OrgFacts};

/// What every request reads; a clone costs a few reference counts.
#[derive(Clone)]
pub struct Shared {
    /// What was last committed.
    pub view: watch::Receiver<Arc<View>>,
    /// What `/readyz` reports.
    pub conditions: Conditions,
    /// The text of `/metrics`; may take milliseconds, so it is called where blocking is allowed.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// What `/api/v1/whatif` is asked of.
    pub asker: Asker,
}

impl Shared {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }
}

/// All routes, with access control and security headers around them.
pub fn router(shared: Shared, access: Access) -> Router {
    Router::new()
        .route("/metrics", get(health::metrics))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/startupz", get(health::startupz))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/incidents", get(api::incidents))
        .route("/api/v1/series", get(api::series))
        .route("/api/v1/decisions", get(api::decisions))
        .route("/api/v1/slos", get(api::slos))
        .route(whatif::PATH, get(whatif::baseline).post(whatif::whatif))
        .route("/api/v1/adoption", get(api::adoption))
        .route("/", get(page::page))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(shared)
        .layer(middleware::from_fn_with_state(Arc::new(access), access::guard))
        .layer(middleware::from_fn(secure))
}

/// A refusal as JSON below `/api/`, as text elsewhere.
fn refusal(path: &str, status: StatusCode, why: &str) -> Response {
    if path.starts_with("/api/") {
        return (status, axum::Json(serde_json::json!({ "error": why }))).into_response();
    }
    (status, format!("{why}\n")).into_response()
}

async fn not_found(request: Request) -> Response {
    refusal(request.uri().path(), StatusCode::NOT_FOUND, "there is nothing here")
}

async fn not_allowed(request: Request) -> Response {
    let path = request.uri().path();
    let (allowed, why) = match path {
        whatif::PATH => ("GET, HEAD, POST", "only GET, HEAD and POST are served here"),
        _ => ("GET, HEAD", "only GET and HEAD are served here"),
    };
    let mut response = refusal(path, StatusCode::METHOD_NOT_ALLOWED, why);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Headers of every response: nothing may be framed, sniffed, cached or loaded from elsewhere.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

async fn secure(request: Request, next: Next) -> Response {
    let mut response = if has_body(&request) {
        let mut response = refusal(request.uri().path(), StatusCode::PAYLOAD_TOO_LARGE, "no request here takes a body");
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    } else {
        next.run(request).await
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a body is announced on a method that this server answers; the others are refused for their method.
fn has_body(request: &Request) -> bool {
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    let length = request.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    read && (length || request.headers().contains_key(header::TRANSFER_ENCODING))
}
