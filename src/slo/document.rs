//! The documents of OpenSLO v1 as serde sees them: every key of the specification that is read or refused by name.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) display_name: Option<String>,
    #[serde(rename = "labels")]
    _labels: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ServiceDoc {
    pub(super) api_version: String,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: Metadata,
    #[serde(rename = "spec")]
    _spec: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SliDoc {
    pub(super) api_version: String,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: Metadata,
    pub(super) spec: IndicatorSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SloDoc {
    pub(super) api_version: String,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: Metadata,
    pub(super) spec: SloSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SloSpec {
    #[serde(default)]
    pub(super) description: String,
    pub(super) service: String,
    pub(super) indicator: Option<Inline>,
    pub(super) indicator_ref: Option<String>,
    pub(super) time_window: Vec<TimeWindow>,
    pub(super) budgeting_method: String,
    pub(super) objectives: Vec<Objective>,
    /// Refused from its node, with its place.
    #[serde(rename = "alertPolicies")]
    _alert_policies: Option<IgnoredAny>,
}

/// An indicator inside an SLO.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Inline {
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    pub(super) spec: IndicatorSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TimeWindow {
    pub(super) duration: String,
    #[serde(default)]
    pub(super) is_rolling: bool,
    pub(super) calendar: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Objective {
    #[serde(rename = "displayName")]
    _display_name: Option<String>,
    pub(super) op: Option<String>,
    pub(super) value: Option<f64>,
    pub(super) target: Option<f64>,
    pub(super) target_percent: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct IndicatorSpec {
    #[serde(default, rename = "description")]
    _description: Option<String>,
    pub(super) ratio_metric: Option<RatioMetric>,
    pub(super) threshold_metric: Option<Metric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RatioMetric {
    #[serde(rename = "counter")]
    _counter: Option<bool>,
    pub(super) bad: Option<Metric>,
    pub(super) good: Option<IgnoredAny>,
    pub(super) total: Option<Metric>,
    pub(super) raw: Option<IgnoredAny>,
    pub(super) raw_type: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Metric {
    pub(super) metric_source: MetricSource,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct MetricSource {
    pub(super) metric_source_ref: Option<IgnoredAny>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) spec: Query,
}

/// What `type: authwatch` measures; ours, in snake case as all of our words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    pub(super) of: Of,
    #[serde(default)]
    pub(super) verdicts: Vec<Bad>,
    #[serde(default)]
    pub(super) credentials: Vec<crate::event::Credential>,
    #[serde(default)]
    pub(super) platforms: Vec<crate::event::Platform>,
    #[serde(default)]
    pub(super) apps: Vec<smol_str::SmolStr>,
    #[serde(default)]
    pub(super) cohorts: Vec<smol_str::SmolStr>,
    #[serde(default)]
    pub(super) except_reasons: Vec<crate::event::Reason>,
}

/// What there is to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Of {
    Attempts,
    Events,
    Duration,
    Lag,
}

/// Verdicts that can be bad.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bad {
    Denied,
    Failed,
    Abandoned,
}
