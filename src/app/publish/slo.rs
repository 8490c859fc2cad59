//! Objectives and alarms as metrics. What cannot be told is absent, never 1 (invariant 4).

use super::Publisher;
use crate::event::Timestamp;
use crate::judge::alarm::Rule;
use crate::telemetry::metric::Metric;
use crate::watch::OrgView;

/// The gauges of an objective.
const GAUGES: [Metric; 5] =
    [Metric::SloObjective, Metric::SloSli, Metric::SloBurnRate, Metric::SloBudgetRemaining, Metric::SloExhaustion];

impl Publisher {
    /// Sets the gauges of every objective and counts what it counted; objectives that are gone become absent.
    pub(super) fn slos_of(&mut self, org: &OrgView<'_>, now: Timestamp) {
        let name = org.name().as_str();
        let standings = org.slos(now);
        let is_gone = |metric: &Metric, labels: &[String]| {
            GAUGES.contains(metric)
                && labels.first().is_some_and(|org| org == name)
                && !standings.iter().any(|standing| labels.get(1) == Some(&standing.name))
        };
        for (_, gauge) in self.gauges.iter().filter(|((metric, labels), _)| is_gone(metric, labels)) {
            gauge.set(f64::NAN);
        }
        for standing in &standings {
            let labels = [name, standing.name.as_str()];
            let [org, slo] = labels;
            self.count(Metric::SloEvents, &[org, slo, "good"], standing.good_total);
            self.count(Metric::SloEvents, &[org, slo, "bad"], standing.bad_total);
            self.set(Metric::SloObjective, &labels, standing.target);
            let budget = standing.budget.as_ref();
            self.set(Metric::SloSli, &labels, budget.map_or(f64::NAN, |budget| budget.sli));
            self.set(Metric::SloBudgetRemaining, &labels, budget.map_or(f64::NAN, |budget| budget.remaining));
            let exhausted_in = budget.and_then(|budget| budget.exhausted_in_seconds);
            self.set(Metric::SloExhaustion, &labels, exhausted_in.unwrap_or(f64::NAN));
            for (window, rate) in &standing.burn_rates {
                self.set(Metric::SloBurnRate, &[org, slo, window], rate.unwrap_or(f64::NAN));
            }
        }
        let alarms = org.alarms();
        for rule in [Rule::BurnRate, Rule::SourceBlind] {
            let open = alarms.iter().filter(|alarm| alarm.rule == rule && alarm.resolved_at.is_none()).count();
            self.set(Metric::AlarmsOpen, &[name, rule.as_str()], open as f64);
        }
        for ((rule, step), n) in &org.counts().alarms {
            self.count(Metric::AlarmSteps, &[name, rule.as_str(), step.as_str()], *n);
        }
    }
}
