//! What the shell may read of an org, for metrics, the API and reports.

use crate::action::Incident;
use crate::adoption::Funnel;
use crate::event::{Credential, Org, SourceName, Span, Timestamp};
use crate::input::Policies;
use crate::judge::alarm::Alarm;
use crate::judge::burn::Standing;
use crate::policy::Groups;
use crate::policy::fleet::Fleet;
use crate::watch::counts::Counts;
use crate::watch::org::OrgWatch;
use crate::watch::posture::{PolicyDecision, PostureCounts};
use crate::watch::series::Series;
use crate::watch::setting::Setting;
use crate::window::{Latency, Level, Merge, Ring, SeriesKey};

/// An org as the shell sees it.
#[derive(Clone, Copy)]
pub struct OrgView<'a> {
    name: &'a Org,
    org: &'a OrgWatch,
    setting: Setting<'a>,
}

/// One series with its values as people name them.
pub struct SeriesView<'a> {
    /// The key.
    pub key: &'a SeriesKey,
    /// Dimension and label, in the key's order.
    pub labels: Vec<(&'static str, String)>,
    /// The windows.
    pub series: &'a Series,
}

impl<'a> OrgView<'a> {
    pub(super) fn new(name: &'a Org, org: &'a OrgWatch, setting: Setting<'a>) -> Self {
        Self { name, org, setting }
    }

    /// The org.
    pub fn name(&self) -> &'a Org {
        self.name
    }

    /// Its counters.
    pub fn counts(&self) -> &'a Counts {
        &self.org.counts
    }

    /// What the answers of its policies add up to.
    pub fn postures(&self) -> &'a PostureCounts {
        &self.org.postures.counts
    }

    /// The newest refusals (or grants) at or after `since`, oldest first.
    pub fn decisions(&self, granted: bool, since: Timestamp) -> impl Iterator<Item = &'a PolicyDecision> + use<'a> {
        self.org.postures.decisions(granted, since)
    }

    /// Its policies in force, where they are known.
    pub fn policies(&self) -> Option<&'a Policies> {
        self.org.postures.policies(self.now())
    }

    /// Who is in which group.
    pub fn groups(&self) -> &'a Groups {
        &self.org.postures.groups
    }

    /// Its devices, as last seen.
    pub fn fleet(&self) -> &'a Fleet {
        &self.org.fleet
    }

    /// Its sources' clock.
    pub fn now(&self) -> Timestamp {
        self.org.clocks.now()
    }

    /// The event time up to which it is judged.
    pub fn watermark(&self) -> Timestamp {
        self.org.clocks.watermark()
    }

    /// How far each source's watermark is behind the clock; `None` before its first word.
    pub fn lags(&self) -> Vec<(&'a SourceName, Option<Span>)> {
        self.org.clocks.lags().collect()
    }

    /// Every incident known, oldest first.
    pub fn incidents(&self) -> Vec<Incident> {
        self.org.known_incidents()
    }

    /// How every objective stands.
    pub fn slos(&self, now: Timestamp) -> Vec<Standing> {
        self.org.slos.standings(self.name, &self.setting.core.slos, now)
    }

    /// Every alarm of the burn and the blind judge, oldest first.
    pub fn alarms(&self) -> Vec<&'a Alarm> {
        self.org.slos.alarms()
    }

    /// Whether any source is blind: no SLI can be told then.
    pub fn is_blind(&self) -> bool {
        self.org.slos.is_blind()
    }

    /// Whether a source has delivered all that it will ever have.
    pub fn has_ended(&self, source: &SourceName) -> bool {
        self.org.clocks.has_ended(source)
    }

    /// The incidents that are not resolved.
    pub fn open_incidents(&self) -> impl Iterator<Item = &'a Incident> {
        self.org.incidents.open()
    }

    /// Every series.
    pub fn series(&self) -> impl Iterator<Item = SeriesView<'a>> {
        let org = self.org;
        org.table.iter().map(move |(key, series)| {
            let label = |name: &&'static str, value: &smol_str::SmolStr| {
                let level = match *name {
                    "app" => Level::App,
                    "rule" => Level::Rule,
                    _ => key.level,
                };
                (*name, org.table.label(level, value))
            };
            let labels =
                key.level.dimensions().iter().zip(&key.values).map(|(name, value)| label(name, value)).collect();
            SeriesView { key, labels, series }
        })
    }

    /// How many series have state.
    pub fn series_count(&self) -> usize {
        self.org.table.len()
    }

    /// Good events of the good and bad ones in the last five minutes.
    pub fn event_ratio_5m(&self, now: Timestamp) -> Option<f64> {
        self.org.seconds.good_share(now - Span::minutes(5), now)
    }

    /// Good events of the good and bad ones in the last hour.
    pub fn event_ratio_1h(&self, now: Timestamp) -> Option<f64> {
        self.org.minutes.good_share(now - Span::hours(1), now)
    }

    /// Durations of successful attempts over the last hour, by credential.
    pub fn durations(&self, now: Timestamp) -> impl Iterator<Item = (Credential, Latency)> {
        self.org.durations.iter().map(move |(credential, ring)| (*credential, last_hour(ring, now)))
    }

    /// How far phishing-resistant sign-in has come. A pass over everybody: not for every commit.
    pub fn adoption(&self, now: Timestamp) -> Funnel {
        self.org.adoption.funnel(now, &|person| self.setting.cohort_of(person, &self.org.postures.groups))
    }

    /// How late events were over the last hour, by the server's clock.
    pub fn ingest_lag(&self, now: Timestamp) -> Latency {
        last_hour(&self.org.lag, now)
    }
}

fn last_hour<T: Merge + Clone>(ring: &Ring<T>, now: Timestamp) -> T {
    ring.sum(now - Span::hours(1), now)
}
