//! Creating a row once: intent, `POST`, and what to do when the answer does not say what happened.

use std::time::Duration;

use super::row::{self, Row};
use super::{REMEMBERED, Servicenow, Settling};
use crate::act::ledger::Ledger;
use crate::act::retry::{Failure, Reason};
use crate::act::{Done, Told};
use crate::action::IncidentAction;
use crate::clock;
use crate::store::LedgerEntry;
use crate::telemetry::metric::Metric;

impl Servicenow {
    /// Creates the row of an incident that a look-up has just not found.
    ///
    /// With an intent of an earlier attempt on record, the row may exist and only not show yet: it is created once
    /// more only after enough look-ups in a row, far enough apart, found nothing.
    pub(super) async fn create(
        &mut self,
        action: &IncidentAction,
        mut entry: LedgerEntry,
        trusted: bool,
        ledger: &Ledger,
    ) -> Result<Done, Failure> {
        let key = action.incident.key.as_str();
        let correlation = entry.remote_key.clone().unwrap_or_else(|| key.to_owned());
        let mut told = if entry.previous.is_some() { Told::FollowedUp } else { Told::Created };
        if entry.post_intent.is_some() {
            self.settle(&correlation, entry.reposts, trusted)?;
            Metric::SinkRetries.counter(&[&self.config.name, Reason::PostLost.as_str()]).increment(1);
            tracing::warn!(sink = self.config.name, incident = key, "a create left no trace and is sent once more");
            entry.reposts += 1;
            told = Told::CreatedAgain;
        }
        let changes = self.changes_at(action.incident.onset).await;
        entry.post_intent = Some(clock::now());
        ledger.put(key, &entry).await?;
        let body = row::create(&self.config, action, &correlation, entry.previous.as_deref(), changes.as_ref());
        match self.client.create(&body).await {
            Ok(row) => {
                self.settling.remove(&correlation);
                Ok(Done { entry: self.own(entry, &row, action), result: told })
            }
            Err(failed) if failed.perhaps_done => {
                self.settling.remove(&correlation);
                let wait = failed.failure.wait.unwrap_or_default().max(self.gap(0, entry.reposts));
                Err(failed.failure.of_incident().after(Some(wait)))
            }
            Err(failed) => {
                entry.post_intent = None;
                ledger.put(key, &entry).await?;
                Err(failed.failure)
            }
        }
    }

    /// Counts one more empty look-up after a create of unknown outcome; an error until it is deemed lost.
    fn settle(&mut self, correlation: &str, reposts: u32, trusted: bool) -> Result<(), Failure> {
        if !trusted {
            let detail = "the outcome of a create is unknown and look-ups cannot be trusted, so it is not repeated (may \
                          the user read `correlation_id` and `correlation_display`?)";
            return Err(Failure::fix(Reason::LookupUntrusted, detail).of_incident());
        }
        if self.settling.len() >= REMEMBERED && !self.settling.contains_key(correlation) {
            self.settling.clear();
        }
        let now = clock::monotonic();
        let settling = self.settling.entry(correlation.to_owned()).or_insert(Settling { reads: 0, first: now });
        settling.reads = settling.reads.saturating_add(1);
        let Settling { reads, first } = *settling;
        let enough = reads >= self.config.settle.reads.get();
        if enough && now.saturating_duration_since(first) >= self.spread(reposts) {
            self.settling.remove(correlation);
            return Ok(());
        }
        let detail = "a create got no clear answer; looking for its ticket before it is sent again";
        let wait = self.gap(reads - 1, reposts);
        Err(Failure::retry(Reason::Settling, detail).of_incident().after(Some(wait)))
    }

    /// How long the empty look-ups must be spread: doubles with each create that was deemed lost.
    fn spread(&self, reposts: u32) -> Duration {
        self.config.settle.spread.saturating_mul(1 << reposts.min(6))
    }

    /// The wait after the n-th empty look-up: doubling, so that a row that shows soon is found soon, and such that the
    /// last look-up comes when the spread is over.
    fn gap(&self, n: u32, reposts: u32) -> Duration {
        let gaps = self.config.settle.reads.get().saturating_sub(1).clamp(1, 16);
        let unit = self.spread(reposts) / ((1 << gaps) - 1);
        // A little more than the share, so that the sum is not a rounding error short.
        unit.saturating_mul(1 << n.min(gaps - 1)) + Duration::from_millis(1)
    }

    /// The ledger entry of a row that we just wrote for the first time.
    pub(super) fn own(&self, entry: LedgerEntry, row: &Row, action: &IncidentAction) -> LedgerEntry {
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        LedgerEntry {
            remote_id: Some(row.sys_id.clone()),
            number: filled(&row.number),
            url: Some(self.client.page_of(&row.sys_id)),
            priority: filled(&row.priority),
            title: row::title(action),
            severity: Some(action.incident.severity),
            remote_state: filled(&row.state),
            remote_owner: Some(row.owner()),
            post_intent: None,
            human: false,
            ..entry
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::act::notify::servicenow::Config;

    fn sink(reads: u32, spread: &str) -> Servicenow {
        let config: Config = serde_json::from_value(serde_json::json!({
            "url": "https://acme.service-now.com",
            "auth": { "basic": { "user": { "env": "U" }, "password": { "env": "P" } } },
            "settle": { "reads": reads, "spread": spread },
        }))
        .expect("a configuration");
        Servicenow::new(&config, Arc::new(|_: &str| None).into()).expect("a sink")
    }

    /// How each of the first empty reads ends: whether the create is deemed lost.
    fn verdicts(sink: &mut Servicenow, reads: u32) -> Vec<bool> {
        (0..reads).map(|_| sink.settle("aw-1", 0, true).is_ok()).collect()
    }

    #[test]
    fn enough_reads_in_too_short_a_time_prove_nothing() {
        assert_eq!(verdicts(&mut sink(3, "1h"), 20), [false; 20]);
    }

    #[test]
    fn enough_time_with_too_few_reads_proves_nothing() {
        assert_eq!(verdicts(&mut sink(4, "0s"), 4), [false, false, false, true]);
        // The next create of unknown outcome starts over.
        let mut sink = sink(2, "0s");
        assert_eq!(verdicts(&mut sink, 4), [false, true, false, true]);
    }

    #[test]
    fn an_untrusted_read_does_not_count() {
        let mut sink = sink(2, "0s");
        assert_eq!(verdicts(&mut sink, 1), [false]);
        assert_eq!(sink.settle("aw-1", 0, false).map_err(|failure| failure.reason), Err(Reason::LookupUntrusted));
        assert_eq!(verdicts(&mut sink, 1), [true]);
    }

    #[test]
    fn the_waits_double_and_add_up_to_the_spread() {
        let sink = sink(6, "60s");
        let waits: Vec<u64> = (0..5).map(|n| sink.gap(n, 0).as_secs()).collect();
        assert_eq!(waits, [1, 3, 7, 15, 30]);
        let sum: Duration = (0..5).map(|n| sink.gap(n, 0)).sum();
        assert!((Duration::from_secs(60)..Duration::from_secs(61)).contains(&sum), "{sum:?}");
        let second: Duration = (0..5).map(|n| sink.gap(n, 1)).sum();
        assert!(second >= Duration::from_secs(120), "{second:?}");
    }

    #[test]
    fn creates_of_unknown_outcome_are_remembered_up_to_a_bound() {
        let mut sink = sink(5, "1h");
        for n in 0..=REMEMBERED {
            sink.settle(&format!("aw-{n}"), 0, true).expect_err("not yet");
        }
        assert_eq!(sink.settling.len(), 1, "beyond the bound they start over, which only waits longer");
    }
}
