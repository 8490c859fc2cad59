//! `/api/v1/`: what was last committed, as JSON.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, RawQuery, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{AlarmRow, DecisionRow, SeriesRow, Shared, Status};
use crate::action::{Incident, WouldHaveTold};
use crate::adoption::Funnel;
use crate::clock;
use crate::event::{Org, Timestamp};
use crate::judge::burn::Standing;

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
struct Decisions<'a> {
    decisions: Vec<&'a DecisionRow>,
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
    let view = shared.view();
    let rows = view.incidents.iter().map(|incident| Row { incident, would_have_told: view.told(&incident.key) });
    json(&Incidents { incidents: rows.collect() })
}

/// `/api/v1/series`.
pub(super) async fn series(State(shared): State<Shared>) -> Json<serde_json::Value> {
    json(&Series { series: &shared.view().series })
}

#[derive(Serialize)]
struct Slos<'a> {
    slos: &'a [Standing],
    alarms: &'a [AlarmRow],
}

/// `/api/v1/slos`: how every objective stands, and the alarms of the burn and the blind judge, oldest first.
pub(super) async fn slos(State(shared): State<Shared>) -> Json<serde_json::Value> {
    let view = shared.view();
    json(&Slos { slos: &view.slos, alarms: &view.alarms })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    since: Option<String>,
}

/// `/api/v1/decisions?since=TIME`: what sign-on policies decided lately, oldest first: refusals and, where policies are
/// known, grants. Bounded: the newest 1,000 refusals and 300 grants of each org.
pub(super) async fn decisions(
    State(shared): State<Shared>,
    query: Result<Query<Since>, QueryRejection>,
) -> Result<Json<serde_json::Value>, (StatusCode, Json<serde_json::Value>)> {
    let refuse = |why: String| (StatusCode::BAD_REQUEST, Json(serde_json::json!({ "error": why })));
    let Query(query) = query.map_err(|error| refuse(error.body_text()))?;
    let since = match &query.since {
        None => Timestamp::MIN,
        Some(text) => Timestamp::parse(text)
            .ok_or_else(|| refuse(format!("`since` must be a time such as 2026-03-02T14:00:00Z, not `{text}`")))?,
    };
    let view = shared.view();
    let decisions = view.decisions.iter().filter(|decision| decision.at >= since).collect();
    Ok(json(&Decisions { decisions }))
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
