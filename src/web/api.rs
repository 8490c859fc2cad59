//! `/api/v1/`: what was last committed, as JSON.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;

use super::{SeriesRow, Shared, Status};
use crate::action::Incident;
use crate::adoption::Funnel;
use crate::clock;
use crate::event::Org;

#[derive(Serialize)]
struct StatusReply<'a> {
    #[serde(flatten)]
    status: &'a Status,
    uptime_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Incidents<'a> {
    incidents: &'a [Incident],
}

#[derive(Serialize)]
struct Series<'a> {
    series: &'a [SeriesRow],
}

#[derive(Serialize)]
struct Adoption<'a> {
    adoption: &'a BTreeMap<Org, Funnel>,
}

/// `/api/v1/status`.
pub(super) async fn status(State(shared): State<Shared>) -> Json<serde_json::Value> {
    let view = shared.view();
    let uptime_seconds = view.status.started.map(|started| (clock::now() - started).as_seconds());
    json(&StatusReply { status: &view.status, uptime_seconds })
}

/// `/api/v1/incidents`.
pub(super) async fn incidents(State(shared): State<Shared>) -> Json<serde_json::Value> {
    json(&Incidents { incidents: &shared.view().incidents })
}

/// `/api/v1/series`.
pub(super) async fn series(State(shared): State<Shared>) -> Json<serde_json::Value> {
    json(&Series { series: &shared.view().series })
}

/// `/api/v1/adoption`: the funnel of every org; `?cohort=` leaves out all other cohorts.
pub(super) async fn adoption(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Json<serde_json::Value> {
    let view = shared.view();
    let query = query.unwrap_or_default();
    let cohort = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "cohort");
    let Some((_, cohort)) = cohort else { return json(&Adoption { adoption: &view.adoption }) };
    let one = view.adoption.iter().map(|(org, funnel)| (org.clone(), funnel.clone().only(&cohort)));
    json(&Adoption { adoption: &one.collect() })
}

/// The view lives behind a lock-free read; the reply must own what it sends.
fn json(reply: &impl Serialize) -> Json<serde_json::Value> {
    Json(serde_json::to_value(reply).unwrap_or_default())
}
