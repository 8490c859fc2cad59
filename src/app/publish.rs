//! Copies the core's committed state to the metrics and to the web's view. Called after a commit, never before
//! (invariant 10).

mod slo;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge};
use smol_str::SmolStr;
use tokio::sync::watch;

use crate::action::{Incident, WouldHaveTold};
use crate::adoption::{Funnel, Stages};
use crate::clock;
use crate::event::{Org, Outcome, Reason, SourceName, Span, Timestamp};
use crate::judge::alarm::Alarm;
use crate::store::Store;
use crate::telemetry::condition::{Conditions, Status};
use crate::telemetry::metric::Metric;
use crate::watch::{OrgView, PostureCounts, SeriesView, Watch};
use crate::web::{AlarmRow, DecisionRow, SeriesRow, SourceStatus, View};

/// Gauges of series are refreshed at most this often; counters at every commit.
const GAUGES_EVERY: Duration = Duration::from_secs(1);
/// The adoption funnel is a pass over everybody, and moves by the day.
const ADOPTION_EVERY: Duration = Duration::from_secs(10);
/// How often the readiness of sources is looked at while nothing is committed.
const READINESS_EVERY: Duration = Duration::from_secs(1);
/// The windows that are published.
const WINDOWS: [(&str, Span); 2] = [("5m", Span::minutes(5)), ("1h", Span::hours(1))];
const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)];

/// The publisher with its cached handles; looking a handle up costs far more than using it.
pub(super) struct Publisher {
    view: watch::Sender<Arc<View>>,
    conditions: Conditions,
    counters: BTreeMap<(Metric, Vec<String>), Counter>,
    gauges: BTreeMap<(Metric, Vec<String>), Gauge>,
    last_gauges: Option<Instant>,
    last_adoption: Option<Instant>,
    adoption: Arc<BTreeMap<Org, Funnel>>,
    last_commit: Instant,
    started: Timestamp,
    shadows: Option<Shadows>,
}

/// Where it stands what sinks in shadow mode would have told.
struct Shadows {
    store: Arc<Store>,
    sinks: Vec<String>,
}

impl Publisher {
    /// A publisher and the view that it keeps up to date.
    pub(super) fn new(conditions: Conditions) -> (Self, watch::Receiver<Arc<View>>) {
        let (view, receiver) = watch::channel(Arc::new(View::default()));
        let publisher = Self {
            view,
            conditions,
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            last_gauges: None,
            last_adoption: None,
            adoption: Arc::default(),
            last_commit: clock::monotonic(),
            started: clock::now(),
            shadows: None,
        };
        (publisher, receiver)
    }

    /// Shows with every incident what these sinks, which are in shadow mode, would have told of it.
    pub(super) fn show_shadows(&mut self, store: Arc<Store>, sinks: Vec<String>) {
        self.shadows = (!sinks.is_empty()).then_some(Shadows { store, sinks });
    }

    /// Keeps the readiness of sources in the view up to date until `stop`: a source that has fallen silent brings no
    /// commit that would.
    pub(super) fn keep_readiness(&self, mut stop: watch::Receiver<bool>) -> impl Future<Output = ()> + use<> {
        let (view, conditions) = (self.view.clone(), self.conditions.clone());
        async move {
            loop {
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => break,
                    () = tokio::time::sleep(READINESS_EVERY) => {}
                }
                let conditions = conditions.read();
                view.send_if_modified(|view| renew_readiness(view, &conditions));
            }
        }
    }

    /// Publishes what is committed; `has_heard` where a source spoke, and not only its silence was noted.
    pub(super) fn publish(&mut self, watch: &Watch, has_heard: bool) {
        if has_heard {
            self.last_commit = clock::monotonic();
        }
        for org in watch.orgs() {
            self.counters_of(&org);
        }
        let is_due = self.last_gauges.is_none_or(|last| last.elapsed() >= GAUGES_EVERY);
        self.show(watch, is_due);
    }

    /// Publishes what was committed last as of now: while nothing comes, lags grow and windows run empty, so that
    /// silence never reads as health (invariant 4).
    pub(super) fn refresh(&mut self, watch: &Watch) {
        self.show(watch, true);
    }

    fn show(&mut self, watch: &Watch, with_gauges: bool) {
        let silent = Span(i64::try_from(self.last_commit.elapsed().as_millis()).unwrap_or(i64::MAX));
        if with_gauges {
            self.last_gauges = Some(clock::monotonic());
            for org in watch.orgs() {
                self.gauges_of(&org, org.now() + silent);
            }
        }
        if with_gauges && self.last_adoption.is_none_or(|last| last.elapsed() >= ADOPTION_EVERY) {
            self.last_adoption = Some(clock::monotonic());
            let funnel = |org: OrgView<'_>| (org.name().clone(), org.adoption(org.now() + silent));
            self.adoption = Arc::new(watch.orgs().map(funnel).collect());
            self.adoption_gauges();
        }
        let before = self.view.borrow().clone();
        let before = if with_gauges { None } else { Some(&*before) };
        let mut view = view_of(watch, silent, before, &self.conditions, self.started);
        match (&self.shadows, before) {
            (Some(_), Some(before)) => view.would_have_told.clone_from(&before.would_have_told),
            (Some(shadows), None) => view.would_have_told = shadows.of(&view.incidents),
            (None, _) => {}
        }
        view.adoption = Arc::clone(&self.adoption);
        self.view.send_replace(Arc::new(view));
    }

    fn counters_of(&mut self, org: &OrgView<'_>) {
        let (name, counts) = (org.name().as_str(), org.counts());
        for (meaning, n) in &counts.events {
            let labels = [
                name,
                meaning.kind.as_str(),
                meaning.credential.as_str(),
                meaning.outcome.as_str(),
                meaning.reason.as_str(),
            ];
            self.count(Metric::Events, &labels, *n);
        }
        self.count(Metric::Duplicates, &[name], counts.duplicates);
        self.count(Metric::UuidConflicts, &[name], counts.uuid_conflicts);
        self.count(Metric::Late, &[name], counts.late);
        self.count(Metric::Undated, &[name], counts.undated);
        counts.rejected.iter().for_each(|(reason, n)| self.count(Metric::Rejected, &[name, reason.as_str()], *n));
        for ((verdict, entry), n) in &counts.attempts {
            self.count(Metric::Attempts, &[name, verdict.as_str(), entry.as_str()], *n);
        }
        counts.reevaluations.iter().for_each(|(how, n)| self.count(Metric::Reevaluations, &[name, how.as_str()], *n));
        self.count(Metric::SignalTimeouts, &[name], counts.signal_timeouts);
        counts.unlisted.iter().for_each(|(kind, n)| self.count(Metric::UnlistedEvents, &[name, kind], *n));
        self.postures_of(name, org.postures());
        counts.steps.iter().for_each(|(step, n)| self.count(Metric::IncidentSteps, &[name, step.as_str()], *n));
        counts.limits.iter().for_each(|(limit, n)| self.count(Metric::LimitReached, &[name, limit.as_str()], *n));
        let (mut open, mut people) = (0, 0);
        for incident in org.open_incidents() {
            open += 1;
            people += incident.people;
        }
        self.set(Metric::IncidentsOpen, &[name], f64::from(open));
        self.set(Metric::IncidentPeople, &[name], people as f64);
    }

    fn postures_of(&mut self, org: &str, counts: &PostureCounts) {
        for ((check, source, platform, cohort), n) in &counts.checks {
            let labels = [org, check.as_str(), source.as_str(), platform.as_str(), cohort];
            self.count(Metric::DeniedChecks, &labels, *n);
        }
        for ((reason, source), n) in &counts.reasons {
            self.count(Metric::DeniedReasons, &[org, reason.as_str(), source.as_str()], *n);
        }
        for (result, n) in &counts.agreement {
            self.count(Metric::PolicyAgreement, &[org, result.as_str()], *n);
        }
        for ((app, cohort, assurance), n) in &counts.grants {
            self.count(Metric::Grants, &[org, app, cohort, assurance.as_str()], *n);
        }
        for ((app, cohort, why), n) in &counts.loose {
            self.count(Metric::LooseGrants, &[org, app, cohort, why.as_str()], *n);
        }
        counts.limits.iter().for_each(|(limit, n)| self.count(Metric::LimitReached, &[org, limit.as_str()], *n));
        self.count(Metric::PolicyWaitedInVain, &[org], counts.waited_in_vain);
    }

    fn gauges_of(&mut self, org: &OrgView<'_>, now: Timestamp) {
        let name = org.name().as_str();
        self.set(Metric::WatermarkLag, &[name], (now - org.watermark()).as_seconds());
        self.set(Metric::SeriesLive, &[name], org.series_count() as f64);
        for (window, ratio) in [("5m", org.event_ratio_5m(now)), ("1h", org.event_ratio_1h(now))] {
            self.set(Metric::EventRatio, &[name, window], ratio.unwrap_or(f64::NAN));
        }
        for (credential, durations) in org.durations(now) {
            for (label, quantile) in QUANTILES {
                let value = durations.quantile(quantile).unwrap_or(f64::NAN);
                self.set(Metric::SigninDuration, &[name, credential.as_str(), label], value);
            }
        }
        let lag = org.ingest_lag(now);
        for (label, quantile) in QUANTILES {
            self.set(Metric::IngestLag, &[name, label], lag.quantile(quantile).unwrap_or(f64::NAN));
        }
        for series in org.series() {
            self.series(org, &series, now);
        }
        self.slos_of(org, now);
    }

    /// Sets the funnel; what was published and is in no funnel any more becomes 0.
    fn adoption_gauges(&mut self) {
        let is_adoption = |metric| matches!(metric, Metric::AdoptionPeople | Metric::AdoptionFallback);
        let published = self.gauges.keys().filter(|(metric, _)| is_adoption(*metric));
        let mut values: BTreeMap<_, _> = published.map(|key| (key.clone(), 0)).collect();
        for (org, funnel) in &*self.adoption {
            let mut add = |cohort: &str, stages: &Stages| {
                let labels = |last: &str| vec![org.to_string(), cohort.to_owned(), last.to_owned()];
                for (stage, n) in stages.numbers.stages() {
                    values.insert((Metric::AdoptionPeople, labels(stage)), n);
                }
                for (credential, n) in &stages.fallback {
                    values.insert((Metric::AdoptionFallback, labels(credential.as_str())), *n);
                }
            };
            add("", &funnel.all);
            funnel.cohorts.iter().for_each(|(cohort, stages)| add(cohort, stages));
        }
        for ((metric, labels), n) in values {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            self.set(metric, &labels, f64::from(n));
        }
    }

    fn series(&mut self, org: &OrgView<'_>, series: &SeriesView<'_>, now: Timestamp) {
        let label = |name: &str| {
            let found = series.labels.iter().find(|(other, _)| *other == name);
            found.map_or("", |(_, value)| value.as_str())
        };
        let name = org.name().as_str();
        for (window, span) in WINDOWS {
            let tally = series.series.tally(now, span);
            let share = |part: u32| if tally.all() == 0 { f64::NAN } else { f64::from(part) / f64::from(tally.all()) };
            let (app, rule, platform, cohort) = (label("app"), label("rule"), label("platform"), label("cohort"));
            let labels = [name, app, rule, platform, cohort, label("credential"), window];
            self.set(Metric::AttemptRatio, &labels, share(tally.succeeded));
            self.set(Metric::DeniedRatio, &labels, share(tally.denied));
            self.set(Metric::WindowAttempts, &labels, f64::from(tally.all()));
            if series.key.level.is_judged() {
                let people = series.series.refused_people(now, span);
                self.set(Metric::RefusedPeople, &[name, app, rule, platform, cohort, window], f64::from(people));
            }
        }
    }

    fn count(&mut self, metric: Metric, labels: &[&str], value: u64) {
        let key = (metric, labels.iter().map(|label| (*label).to_owned()).collect());
        self.counters.entry(key).or_insert_with(|| metric.counter(labels)).absolute(value);
    }

    fn set(&mut self, metric: Metric, labels: &[&str], value: f64) {
        let key = (metric, labels.iter().map(|label| (*label).to_owned()).collect());
        self.gauges.entry(key).or_insert_with(|| metric.gauge(labels)).set(value);
    }
}

impl Shadows {
    /// By incident, what each sink would have told. An entry that cannot be read is left out: the sink's worker meets
    /// the same failure and says so.
    fn of(&self, incidents: &[Incident]) -> BTreeMap<SmolStr, Vec<WouldHaveTold>> {
        let told = |incident: &Incident| {
            let of_sink = |sink: &String| {
                let entry = self.store.ledger(sink, &incident.key).ok().flatten()?;
                (!entry.shadowed.is_empty()).then(|| WouldHaveTold { sink: sink.clone(), steps: entry.shadowed })
            };
            (incident.key.clone(), self.sinks.iter().filter_map(of_sink).collect::<Vec<_>>())
        };
        incidents.iter().map(told).filter(|(_, told)| !told.is_empty()).collect()
    }
}

/// The web's view; series are taken from `before` where they are not due.
fn view_of(watch: &Watch, silent: Span, before: Option<&View>, conditions: &Conditions, started: Timestamp) -> View {
    let mut view = View::default();
    let conditions = conditions.read();
    let status = &mut view.status;
    status.started = Some(started);
    for org in watch.orgs() {
        let counts = org.counts();
        status.orgs.push(org.name().clone());
        status.events += counts.events_total();
        status.duplicates += counts.duplicates;
        status.late += counts.late;
        for (reason, n) in &counts.rejected {
            *status.rejected.entry(*reason).or_default() += n;
        }
        status.incidents_open += org.open_incidents().count() as u64;
        let lags: BTreeMap<_, _> = org.lags().into_iter().collect();
        // A source that has not spoken yet is no less configured.
        for name in watch.config().orgs.get(org.name()).into_iter().flat_map(|org| &org.sources) {
            let lag = lags.get(name).copied().flatten();
            let ready = is_ready(name, &conditions);
            status.sources.push(SourceStatus {
                name: name.clone(),
                lag_seconds: lag.map(|lag| lag.as_seconds() + silent.as_seconds()),
                ready,
            });
        }
        if before.is_none() {
            view.decisions.extend([false, true].into_iter().flat_map(|granted| decisions(&org, granted)));
            view.slos.extend(org.slos(org.now() + silent));
            let alarm = |alarm: &Alarm| AlarmRow { org: org.name().clone(), alarm: alarm.clone() };
            view.alarms.extend(org.alarms().into_iter().map(alarm));
            view.series.extend(org.series().flat_map(|series| rows(&org, &series, org.now() + silent)));
        }
        view.incidents.extend(org.incidents());
    }
    status.data_until = watch.orgs().map(|org| org.watermark()).min().filter(|watermark| *watermark > Timestamp::MIN);
    view.decisions.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.uuid.cmp(&b.uuid)));
    view.incidents.sort_by(|a, b| b.opened_at.cmp(&a.opened_at).then_with(|| a.key.cmp(&b.key)));
    if let Some(before) = before {
        view.series.clone_from(&before.series);
        view.decisions.clone_from(&before.decisions);
        view.slos.clone_from(&before.slos);
        view.alarms.clone_from(&before.alarms);
    }
    view
}

fn is_ready(source: &SourceName, conditions: &BTreeMap<String, Status>) -> bool {
    conditions.get(&format!("source/{source}")).is_some_and(|condition| condition.ok)
}

/// Writes the readiness of every source into the view; whether it differed.
fn renew_readiness(view: &mut Arc<View>, conditions: &BTreeMap<String, Status>) -> bool {
    let is_same = view.status.sources.iter().all(|source| source.ready == is_ready(&source.name, conditions));
    if !is_same {
        let sources = &mut Arc::make_mut(view).status.sources;
        sources.iter_mut().for_each(|source| source.ready = is_ready(&source.name, conditions));
    }
    !is_same
}

fn decisions(org: &OrgView<'_>, granted: bool) -> impl Iterator<Item = DecisionRow> {
    let name = org.name().to_string();
    org.decisions(granted, Timestamp::MIN).map(move |decision| {
        let posture = &decision.posture;
        let named = |id: &SmolStr, name: &SmolStr| if name.is_empty() { id.to_string() } else { name.to_string() };
        DecisionRow {
            org: name.clone(),
            at: decision.at,
            uuid: decision.uuid.to_string(),
            outcome: if granted { Outcome::Allow } else { Outcome::Deny },
            cohort: decision.cohort.as_ref().map(ToString::to_string),
            platform: decision.platform,
            app: decision.app.as_ref().map(|app| named(&app.id, &app.name)),
            rule: decision.rule.as_ref().map(|rule| named(&rule.id, &rule.name)),
            would_grant: posture.would_grant.as_ref().map(ToString::to_string),
            reason: if granted { None } else { Some(posture.reason.unwrap_or(Reason::PolicyDenied)) },
            source: posture.source,
            culprits: if granted { Vec::new() } else { posture.culprits() },
            checks: posture.checks.clone(),
        }
    })
}

fn rows(org: &OrgView<'_>, series: &SeriesView<'_>, now: Timestamp) -> Vec<SeriesRow> {
    let label = |name: &str| {
        let found = series.labels.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value.clone())
    };
    let row = |(window, span): (&str, Span)| {
        let tally = series.series.tally(now, span);
        let share = |part: u32| (tally.all() > 0).then(|| f64::from(part) / f64::from(tally.all()));
        let people = u64::from(series.series.refused_people(now, span));
        SeriesRow {
            org: org.name().to_string(),
            app: label("app"),
            rule: label("rule"),
            platform: label("platform"),
            cohort: label("cohort"),
            credential: label("credential"),
            window: window.to_owned(),
            attempts: u64::from(tally.all()),
            succeeded: u64::from(tally.succeeded),
            denied: u64::from(tally.denied),
            success_ratio: share(tally.succeeded),
            denied_ratio: share(tally.denied),
            refused_people: series.key.level.is_judged().then_some(people),
        }
    };
    WINDOWS.into_iter().map(row).collect()
}
