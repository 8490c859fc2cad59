//! From an indicator's metric sources to what the core counts.

use super::document::{Bad, IndicatorSpec, Metric, Objective, Of, Query, RatioMetric};
use super::invalid;
use super::place::place;
use crate::event::Span;
use crate::input::{Endings, Indicator, Scope};
use crate::yaml::{Error, Node, Origin};

/// The longest duration or lag that a threshold can name: what the attempts and the rings know.
const LONGEST_SECONDS: f64 = 7_200.0;

/// The indicator that stands in `node` (whose `spec` it is), under an objective.
pub(super) fn indicator(
    spec: &IndicatorSpec,
    node: &Node,
    objective: &Objective,
    at_objective: &Origin,
) -> Result<Indicator, Error> {
    match (&spec.ratio_metric, &spec.threshold_metric) {
        (Some(ratio), None) => {
            if objective.op.is_some() || objective.value.is_some() {
                return Err(invalid(at_objective, "`op` and `value` belong to a `thresholdMetric`"));
            }
            ratio_of(ratio, node)
        }
        (None, Some(metric)) => threshold_of(metric, node, objective, at_objective),
        _ => Err(invalid(place(node, &["spec"]), "one of `ratioMetric` and `thresholdMetric` is needed")),
    }
}

fn ratio_of(ratio: &RatioMetric, node: &Node) -> Result<Indicator, Error> {
    let at = |key: &str| place(node, &["spec", "ratioMetric", key]);
    if ratio.good.is_some() {
        return Err(invalid(at("good"), "`good` is not supported: what is not bad is good (write `bad` and `total`)"));
    }
    if ratio.raw.is_some() || ratio.raw_type.is_some() {
        return Err(invalid(at("raw"), "`raw` is not supported (write `bad` and `total`)"));
    }
    let (Some(bad), Some(total)) = (&ratio.bad, &ratio.total) else {
        return Err(invalid(at(""), "`bad` and `total` are needed"));
    };
    let query = |metric, key| self::query(metric, node, &["spec", "ratioMetric", key, "metricSource"]);
    let ((bad, at_bad), (total, at_total)) = (query(bad, "bad")?, query(total, "total")?);
    if bad.of != total.of {
        return Err(invalid(at_bad, "`bad` and `total` must be of the same"));
    }
    if !total.verdicts.is_empty() {
        return Err(invalid(at_total, "`verdicts` belongs to `bad`: the total is what succeeded and what is bad"));
    }
    if !(bad.credentials.is_empty() && bad.platforms.is_empty() && bad.apps.is_empty() && bad.cohorts.is_empty()) {
        return Err(invalid(
            at_bad,
            "`bad` takes only `verdicts` and `except_reasons`; what counts is said in `total`",
        ));
    }
    if !total.except_reasons.is_empty() {
        return Err(invalid(at_total, "`except_reasons` belongs to `bad`"));
    }
    if bad.verdicts.is_empty() {
        return Err(invalid(at_bad, "`verdicts` is needed: some of `denied`, `failed`, `abandoned`"));
    }
    let has = |verdict| bad.verdicts.contains(&verdict);
    let endings = Endings { denied: has(Bad::Denied), failed: has(Bad::Failed), abandoned: has(Bad::Abandoned) };
    let scope = Scope { except_reasons: bad.except_reasons.clone(), ..scope(total) };
    match total.of {
        Of::Attempts => Ok(Indicator::Attempts { scope, bad: endings }),
        Of::Events if !scope.cohorts.is_empty() => {
            Err(invalid(at_total, "events are not counted by cohort (measure `attempts`)"))
        }
        Of::Events => Ok(Indicator::Events { scope, bad: endings }),
        Of::Duration | Of::Lag => Err(invalid(at_total, "`duration` and `lag` need a `thresholdMetric`")),
    }
}

fn threshold_of(
    metric: &Metric,
    node: &Node,
    objective: &Objective,
    at_objective: &Origin,
) -> Result<Indicator, Error> {
    let (query, at) = query(metric, node, &["spec", "thresholdMetric", "metricSource"])?;
    if objective.op.as_deref() != Some("lte") {
        return Err(invalid(at_objective, "a `thresholdMetric` needs `op: lte`: up to `value` seconds is good"));
    }
    let seconds = objective.value.filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST_SECONDS);
    let Some(seconds) = seconds else {
        return Err(invalid(at_objective, "`value` is needed: seconds, above 0 and at most 7200"));
    };
    if !query.verdicts.is_empty() || !query.except_reasons.is_empty() {
        return Err(invalid(at, "`verdicts` and `except_reasons` belong to a `ratioMetric`"));
    }
    let within = Span((seconds * 1_000.0).round() as i64);
    let scope = scope(query);
    match query.of {
        Of::Duration => Ok(Indicator::Duration { scope, within }),
        Of::Lag if scope != Scope::default() => Err(invalid(at, "`lag` is the source's: nothing narrows it")),
        Of::Lag => Ok(Indicator::Lag { within }),
        Of::Attempts | Of::Events => Err(invalid(at, "`attempts` and `events` need a `ratioMetric`")),
    }
}

/// The query of a metric with its place.
fn query<'a>(metric: &'a Metric, node: &'a Node, path: &[&str]) -> Result<(&'a Query, &'a Origin), Error> {
    let source = &metric.metric_source;
    let at = place(node, path);
    if source.metric_source_ref.is_some() || source.kind.as_deref() != Some("authwatch") {
        return Err(invalid(at, "only `type: authwatch` is supported: authwatch measures itself"));
    }
    let mut path = path.to_vec();
    path.push("spec");
    Ok((&source.spec, place(node, &path)))
}

fn scope(query: &Query) -> Scope {
    Scope {
        credentials: query.credentials.clone(),
        platforms: query.platforms.clone(),
        apps: query.apps.clone(),
        cohorts: query.cohorts.clone(),
        except_reasons: Vec::new(),
    }
}
