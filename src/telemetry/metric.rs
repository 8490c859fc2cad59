//! Every metric that authwatch exposes, as one closed enum: name, type, labels and help stand here and nowhere else.
//!
//! `docs/metrics.md` is generated from this list; a test fails where the two differ. The macros of the `metrics` crate
//! are used in this file only.

use metrics::{Counter, Gauge, Histogram, Label};

/// The Prometheus type of a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// Only rises.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Counts by bucket.
    Histogram,
}

impl Type {
    /// The word in docs and in the exposition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! metrics_enum {
    ($($variant:ident => ($name:literal, $type:ident, [$($label:literal),*], $help:literal),)+) => {
        /// A metric by its meaning.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Metric {
            $(#[doc = $help] $variant,)+
        }

        impl Metric {
            /// Every metric, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the exposition.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Its type.
            pub const fn kind(self) -> Type {
                match self { $(Self::$variant => Type::$type,)+ }
            }

            /// Its labels, in order.
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)+ }
            }

            /// What it says.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }
        }
    };
}

metrics_enum! {
    // Meaning: what the log said. Committed counts; they survive restarts.
    Events => ("authwatch_events_total", Counter, ["org", "kind", "credential", "outcome", "reason"],
        "Distinct events accepted, by what they mean."),
    Duplicates => ("authwatch_duplicates_total", Counter, ["org"], "Records that were seen before."),
    UuidConflicts => ("authwatch_uuid_conflicts_total", Counter, ["org"],
        "Records whose uuid was seen before with another time or type; both are kept."),
    Late => ("authwatch_late_events_total", Counter, ["org"],
        "Events that came after the watermark had passed them; part of events, never judged again."),
    Undated => ("authwatch_undated_events_total", Counter, ["org"],
        "Events without a time that can be read; part of events, never judged."),
    Rejected => ("authwatch_rejected_records_total", Counter, ["org", "reason"],
        "Records that could not become an event."),
    Attempts => ("authwatch_attempts_total", Counter, ["org", "verdict", "entry"],
        "Closed sign-in attempts by verdict, and by whether a session began, a credential was asked for again, or neither."),
    Reevaluations => ("authwatch_reevaluations_total", Counter, ["org", "outcome"],
        "Re-evaluations of running sessions by how they came out; no sign-ins, and in no rate of them."),
    SignalTimeouts => ("authwatch_device_signal_timeouts_total", Counter, ["org"],
        "Registered devices that stopped reporting their signals."),
    UnlistedEvents => ("authwatch_unlisted_events_total", Counter, ["org", "event_type"],
        "Events of types that no table lists, by type; beyond 100 types together under `other`."),
    DeniedChecks => ("authwatch_denied_checks_total", Counter, ["org", "check", "source", "platform", "cohort"],
        "Refusals by a sign-on policy, by each device check that fails; `source` is what the reading rests on."),
    DeniedReasons => ("authwatch_denied_reasons_total", Counter, ["org", "reason", "source"],
        "Refusals by a sign-on policy, by the reason that the policies in force give."),
    Grants => ("authwatch_grants_total", Counter, ["org", "app", "cohort", "assurance"],
        "Sign-ins that a known policy let pass, by how the device checks of its rule came out."),
    LooseGrants => ("authwatch_loose_grants_total", Counter, ["org", "app", "cohort", "why"],
        "Sign-ins that a known policy let pass and should not have, or only for a grace period, by why."),
    PolicyAgreement => ("authwatch_policy_agreement_total", Counter, ["org", "result"],
        "Answers of a policy by whether the rule that Okta named is the one that our policies give."),
    PolicyWaitedInVain => ("authwatch_policy_waited_in_vain_total", Counter, ["org"],
        "Answers of a policy whose version did not become known in time; they were read from the signals alone."),
    AttemptRatio => ("authwatch_attempt_success_ratio", Gauge,
        ["org", "app", "rule", "platform", "cohort", "credential", "window"],
        "Attempts that succeeded, of those that succeeded, failed or were denied, in the window; absent without attempts."),
    DeniedRatio => ("authwatch_attempt_denied_ratio", Gauge,
        ["org", "app", "rule", "platform", "cohort", "credential", "window"],
        "Attempts that a policy denied, of those that succeeded, failed or were denied, in the window; absent without attempts."),
    EventRatio => ("authwatch_event_success_ratio", Gauge, ["org", "window"],
        "Sign-in events that are good, of the good and the bad ones, in the window; absent without events."),
    WindowAttempts => ("authwatch_window_attempts", Gauge,
        ["org", "app", "rule", "platform", "cohort", "credential", "window"],
        "Attempts with a verdict in the window."),
    RefusedPeople => ("authwatch_refused_people", Gauge, ["org", "app", "rule", "platform", "cohort", "window"],
        "Distinct people whose attempt a policy denied in the window."),
    SigninDuration => ("authwatch_signin_duration_seconds", Gauge, ["org", "credential", "q"],
        "Time from the first event of a successful attempt to its verdict, over the last hour; `q` is the quantile."),
    IngestLag => ("authwatch_ingest_lag_seconds", Gauge, ["org", "q"],
        "How much older an event was than the server's clock when it arrived, over the last hour; `q` is the quantile."),
    WatermarkLag => ("authwatch_watermark_lag_seconds", Gauge, ["org"],
        "How far the org's watermark is behind its sources' clock."),
    IncidentsOpen => ("authwatch_incidents_open", Gauge, ["org"], "Incidents that are not resolved."),
    IncidentSteps => ("authwatch_incident_steps_total", Counter, ["org", "step"],
        "Incidents opened, updated, resolved and reopened."),
    IncidentPeople => ("authwatch_incident_people", Gauge, ["org"],
        "Distinct people refused in the open incidents, those of several counted in each."),
    AdoptionPeople => ("authwatch_adoption_people", Gauge, ["org", "cohort", "stage"],
        "People seen in the last 90 days, and of them: with FastPass, phishing-resistant at the last sign-in, and only so lately."),
    AdoptionFallback => ("authwatch_adoption_fallback_people", Gauge, ["org", "cohort", "credential"],
        "People who lately signed in without any phishing-resistant method, by the credential used last."),
    SloEvents => ("authwatch_slo_events_total", Counter, ["org", "slo", "result"],
        "What an objective counted, good and bad; what a later event of its flow takes back holds the counter up until as much came."),
    SloObjective => ("authwatch_slo_objective_ratio", Gauge, ["org", "slo"], "The share that is to be good."),
    SloSli => ("authwatch_slo_sli_ratio", Gauge, ["org", "slo"],
        "The share of good ones in the objective's period; absent without any, and while a source is blind."),
    SloBurnRate => ("authwatch_slo_burn_rate", Gauge, ["org", "slo", "window"],
        "Share of bad ones over the share that may be bad, in the window; absent without any, and while a source is blind."),
    SloBudgetRemaining => ("authwatch_slo_error_budget_remaining_ratio", Gauge, ["org", "slo"],
        "What is left of the period's error budget, below 0 where more was used; absent where the SLI is."),
    SloExhaustion => ("authwatch_slo_budget_exhaustion_seconds", Gauge, ["org", "slo"],
        "When the budget is used up at the burn rate of the last six hours; absent where nothing is burning."),
    AlarmsOpen => ("authwatch_alarms_open", Gauge, ["org", "rule"],
        "Alarms of the burn and the blind judge that are not over."),
    AlarmSteps => ("authwatch_alarm_steps_total", Counter, ["org", "rule", "step"],
        "Alarms of the burn and the blind judge opened, made worse, over and back."),
    SeriesLive => ("authwatch_series", Gauge, ["org"], "Series with state."),
    LimitReached => ("authwatch_limit_reached_total", Counter, ["org", "limit"],
        "Times that a bound was reached, by the bound."),

    // Sources.
    SourceRequests => ("authwatch_source_requests_total", Counter, ["source", "result"],
        "Requests to a source by result."),
    SourceRecords => ("authwatch_source_records_total", Counter, ["source"], "Records that a source delivered."),
    SourceGapEvents => ("authwatch_source_gap_events_total", Counter, ["source"],
        "Events that polling had not delivered and a look back found; handed on once."),
    SourceGaps => ("authwatch_source_gaps_total", Counter, ["source", "cause"],
        "Times that a source could not go on where it stood, so that events may be missing."),
    SourceWait => ("authwatch_source_wait_seconds_total", Counter, ["source", "cause"],
        "Time that a source waited, by cause."),
    SourcePollInterval => ("authwatch_source_poll_interval_seconds", Gauge, ["source"],
        "Poll interval in force; above the configured one where the rate budget does not allow it."),
    SourceRateLimit => ("authwatch_source_rate_limit", Gauge, ["source"],
        "Requests a window that the server allows, as it last said."),
    SourceRateRemaining => ("authwatch_source_rate_remaining", Gauge, ["source"],
        "Requests left in the server's window, as it last said."),
    SourceLastSuccess => ("authwatch_source_last_success_timestamp_seconds", Gauge, ["source"],
        "When a source last delivered a page, host clock."),
    KafkaLag => ("authwatch_source_kafka_lag", Gauge, ["source", "topic", "partition"],
        "Records of a partition after the position, a second ago."),
    KafkaPosition => ("authwatch_source_kafka_position", Gauge, ["source", "topic", "partition"],
        "The next offset of a partition."),
    KafkaRebalances => ("authwatch_source_kafka_rebalances_total", Counter, ["source"],
        "Times that the group assigned or revoked partitions."),
    KafkaTombstones => ("authwatch_source_kafka_tombstones_total", Counter, ["source"],
        "Records without a value; they are passed over."),
    KafkaRejectCopies => ("authwatch_source_kafka_reject_copies_total", Counter, ["source", "result"],
        "Rejected records copied to the reject topic, by result."),
    KafkaGroupCommits => ("authwatch_source_kafka_group_commits_total", Counter, ["source", "result"],
        "Times that the group was told what is durable, by result."),

    // Sinks.
    SinkRequests => ("authwatch_sink_requests_total", Counter, ["sink", "result"], "Requests to a sink by result."),
    SinkActions => ("authwatch_sink_actions_total", Counter, ["sink", "step", "result"],
        "Actions carried out by a sink, by step and result."),
    SinkRetries => ("authwatch_sink_retries_total", Counter, ["sink", "reason"], "Retries of a sink by reason."),
    SinkLookupMismatches => ("authwatch_sink_lookup_mismatches_total", Counter, ["sink"],
        "Rows that a look-up returned although they are not ours; they are never written to."),
    OutboxRows => ("authwatch_outbox_rows", Gauge, ["sink"], "Actions that are durable and not yet done."),

    // The daemon.
    Commits => ("authwatch_store_commits_total", Counter, [], "Transactions committed."),
    CommitDuration => ("authwatch_store_commit_duration_seconds", Histogram, [], "Time that a commit took."),
    Snapshots => ("authwatch_store_snapshots_total", Counter, [], "Snapshots written."),
    SnapshotBytes => ("authwatch_store_snapshot_bytes", Gauge, [], "Size of the newest snapshot."),
    VisibleDelay => ("authwatch_visible_delay_seconds", Histogram, [],
        "Time from a reply received to its numbers on /metrics."),
    ConfigReloads => ("authwatch_config_reloads_total", Counter, ["result"], "Reloads of the configuration."),
    ConditionOk => ("authwatch_condition_ok", Gauge, ["condition"], "1 where a readiness condition holds, else 0."),
    BuildInfo => ("authwatch_build_info", Gauge, ["version"], "Always 1; the version is in the label."),
}

/// Label values for one series, in the order of [`Metric::labels`]; an empty value is left out.
fn labels(metric: Metric, values: &[&str]) -> Vec<Label> {
    debug_assert_eq!(metric.labels().len(), values.len(), "labels of {}", metric.name());
    let pairs = metric.labels().iter().zip(values);
    pairs.filter(|(_, value)| !value.is_empty()).map(|(name, value)| Label::new(*name, (*value).to_owned())).collect()
}

impl Metric {
    /// The handle of a counter with these label values; keep it, looking it up costs more than using it.
    pub fn counter(self, values: &[&str]) -> Counter {
        debug_assert_eq!(self.kind(), Type::Counter);
        metrics::counter!(self.name(), labels(self, values))
    }

    /// The handle of a gauge with these label values.
    pub fn gauge(self, values: &[&str]) -> Gauge {
        debug_assert_eq!(self.kind(), Type::Gauge);
        metrics::gauge!(self.name(), labels(self, values))
    }

    /// The handle of a histogram with these label values.
    pub fn histogram(self, values: &[&str]) -> Histogram {
        debug_assert_eq!(self.kind(), Type::Histogram);
        metrics::histogram!(self.name(), labels(self, values))
    }

    /// Registers type and help of every metric with the recorder in force.
    pub fn describe_all() {
        for metric in Self::ALL {
            match metric.kind() {
                Type::Counter => metrics::describe_counter!(metric.name(), metric.help()),
                Type::Gauge => metrics::describe_gauge!(metric.name(), metric.help()),
                Type::Histogram => metrics::describe_histogram!(metric.name(), metric.help()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for metric in Metric::ALL {
            let name = metric.name();
            assert!(name.starts_with("authwatch_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind() == Type::Counter, "{name}");
            assert!(metric.help().ends_with('.'), "{name}");
        }
    }
}
