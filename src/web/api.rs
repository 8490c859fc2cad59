//! `/api/v1/`: what was last committed, as JSON.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::{SeriesRow, Shared, Status};
use crate::action::{Incident, WouldHaveTold};
use crate::clock;

#[derive(Serialize)]
struct StatusReply<'a> {
    #[serde(flatten)]
    status: &'a Status,
    uptime_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Incidents<'a> {
    incidents: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    incident: &'a Incident,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    would_have_told: &'a [WouldHaveTold],
}

#[derive(Serialize)]
struct Series<'a> {
    series: &'a [SeriesRow],
}

/// `/api/v1/status`.
pub(super) async fn status(State(shared): State<Shared>) -> Json<serde_json::Value> {
    let view = shared.view();
    let uptime_seconds = view.status.started.map(|started| (clock::now() - started).as_seconds());
    json(&StatusReply { status: &view.status, uptime_seconds })
}

/// `/api/v1/incidents`.
pub(super) async fn incidents(State(shared): State<Shared>) -> Json<serde_json::Value> {
    let view = shared.view();
    let rows = view.incidents.iter().map(|incident| Row { incident, would_have_told: view.told(&incident.key) });
    json(&Incidents { incidents: rows.collect() })
}

/// `/api/v1/series`.
pub(super) async fn series(State(shared): State<Shared>) -> Json<serde_json::Value> {
    json(&Series { series: &shared.view().series })
}

/// The view lives behind a lock-free read; the reply must own what it sends.
fn json(reply: &impl Serialize) -> Json<serde_json::Value> {
    Json(serde_json::to_value(reply).unwrap_or_default())
}
