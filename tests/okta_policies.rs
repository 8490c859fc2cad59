//! Policies and groups read from a simulated Okta over real HTTP: whole or not at all, after every change, and never in
//! the way of the log.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may fail anywhere")]

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authwatch::classify::{Reader, Tables};
use authwatch::event::{Kind, Org as OrgName, Person, SourceName, Span, Timestamp};
use authwatch::input::{Input, Policies, PolicyOrigin};
use authwatch::policy::parse;
use authwatch::secret::Secrets;
use authwatch::sim::policies::PolicyState;
use authwatch::sim::push::policies_at;
use authwatch::sim::{
    Clock, Cohort, Endpoint, Handles, OktaConfig, OktaFault, Org, Scenario, ServeConfig, Timeline, serve,
};
use authwatch::source::okta::{Beside, Config, GroupReader, Okta, PolicyReader, Reads, Timing};
use authwatch::source::{Batch, ReadPage};
use authwatch::telemetry::condition::{Condition, Conditions};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use serde_json::json;
use smol_str::SmolStr;
use tokio::sync::{mpsc, watch};

/// The longest that a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a test waits for something that must not.
const A_WHILE: Duration = Duration::from_millis(300);
/// The items on a page of a list: every list of the simulated org has several.
const PAGE: usize = 4;

fn start() -> Timestamp {
    Timestamp::parse("2026-03-02T12:00:00.000Z").expect("a time")
}

fn push_at() -> Timestamp {
    start() + Span::minutes(90)
}

/// A simulated org whose clock stands still an hour in, and what is read from it.
struct World {
    org: Arc<Org>,
    timeline: Timeline,
    servers: Handles,
    conditions: Conditions,
    metrics: PrometheusHandle,
    log: Log,
    batches: mpsc::Receiver<Batch>,
    out: mpsc::Sender<Batch>,
    stop: watch::Sender<bool>,
    timing: Timing,
    /// Events a page of the log.
    limit: u32,
    changes: watch::Sender<Option<Timestamp>>,
    in_policies: watch::Sender<BTreeSet<SmolStr>>,
    configured: watch::Sender<BTreeSet<SmolStr>>,
    _recorder: metrics::LocalRecorderGuard<'static>,
    _logging: tracing::subscriber::DefaultGuard,
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines_with(&self, text: &str) -> usize {
        let bytes = self.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text").lines().filter(|line| line.contains(text)).count()
    }
}

fn fast() -> Timing {
    Timing {
        least: Duration::from_millis(5),
        most: Duration::from_millis(20),
        slow_least: Duration::from_millis(20),
        slow_most: Duration::from_millis(40),
        token_check: Duration::from_millis(5),
        jitter: 0.0,
        quiet: Duration::from_millis(100),
        restless: Duration::from_millis(500),
        ..Timing::default()
    }
}

impl World {
    /// The recorder and the log are this thread's: every test runs on a runtime of one thread.
    async fn new() -> Self {
        let recorder: &'static PrometheusRecorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let guard = metrics::set_default_local_recorder(recorder);
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let logging = tracing::subscriber::set_default(subscriber);
        let org = Arc::new(Org::new(4, 120));
        let clock = Clock::new(start() + Span::hours(1), 0.0);
        let timeline = Scenario::Rollback.timeline(&org, push_at());
        let until = start() + Span::hours(4);
        let config = ServeConfig::of_scenario(org.clone(), Scenario::Rollback, push_at(), start(), until, clock);
        let okta = OktaConfig { rate_limit: 100_000, list_page: PAGE, ..OktaConfig::default() };
        let servers = serve(ServeConfig { okta, ..config }).await.expect("the servers start");
        let (out, batches) = mpsc::channel(4);
        Self {
            org,
            timeline,
            servers,
            conditions: Conditions::default(),
            metrics: recorder.handle(),
            log,
            batches,
            out,
            stop: watch::channel(false).0,
            timing: fast(),
            limit: 1_000,
            changes: watch::channel(None).0,
            in_policies: watch::channel(BTreeSet::new()).0,
            configured: watch::channel(BTreeSet::new()).0,
            _recorder: guard,
            _logging: logging,
        }
    }

    fn config(&self) -> Config {
        let section = json!({
            "url": self.servers.okta_url, "auth": {"ssws": {"env": "T"}}, "poll_interval": "100ms", "start": "60m",
            "policies": true, "limit": self.limit,
        });
        serde_json::from_value(section).expect("a valid section")
    }

    fn place() -> (OrgName, SourceName) {
        (OrgName::new("acme"), SourceName::new("okta:acme"))
    }

    fn poll_log(&self) {
        let (org, name) = Self::place();
        let read: ReadPage = {
            let reader = Reader::new(org, Arc::new(Tables::embedded()));
            Arc::new(move |body, each| {
                reader.read_page(body, &mut |read| each(read, None)).map_err(|error| error.to_string())
            })
        };
        let condition = self.conditions.declare("source/okta:acme", true, "not read yet");
        let okta = Okta::new(self.config(), name, None, read, condition, secrets()).expect("builds");
        let okta = okta.with_timing(self.timing).telling(self.changes.clone());
        tokio::spawn(okta.run(self.out.clone(), self.stop.subscribe()));
    }

    fn beside(&self, reads: Reads, condition: Condition) -> Beside {
        let beside = Beside::new(self.config(), Self::place(), condition, reads, secrets());
        beside.expect("builds").with_timing(self.timing)
    }

    fn policies(&self) -> PolicyReader {
        let condition = self.conditions.declare("source/okta:acme/policies", false, "not read yet");
        let (changes, groups) = (self.changes.subscribe(), self.in_policies.clone());
        PolicyReader::new(self.beside(Reads::Policies, condition), changes, groups)
    }

    fn read_policies(&self) {
        tokio::spawn(self.policies().run(self.out.clone(), self.stop.subscribe()));
    }

    fn groups(&self) -> GroupReader {
        let condition = self.conditions.declare("source/okta:acme/groups", false, "not read yet");
        let (configured, named) = (self.configured.subscribe(), self.in_policies.subscribe());
        GroupReader::new(self.beside(Reads::Groups, condition), configured, named)
    }

    fn read_groups(&self) {
        tokio::spawn(self.groups().run(self.out.clone(), self.stop.subscribe()));
    }

    async fn batch(&mut self) -> Batch {
        tokio::time::timeout(PATIENCE, self.batches.recv()).await.expect("a batch in time").expect("a batch")
    }

    /// The inputs up to the first that fits, that one with them.
    async fn until(&mut self, fits: impl Fn(&Input) -> bool) -> Vec<Input> {
        let mut inputs = Vec::new();
        loop {
            for input in self.batch().await.inputs {
                let found = fits(&input);
                inputs.push(input);
                if found {
                    return inputs;
                }
            }
        }
    }

    /// The next reading of policies.
    async fn reading(&mut self) -> (Option<Timestamp>, Arc<Policies>) {
        let inputs = self.until(|input| matches!(input, Input::Policies { .. })).await;
        let Some(Input::Policies { org, since, origin, policies }) = inputs.last() else { panic!("{inputs:?}") };
        assert_eq!((org.as_str(), *origin), ("acme", PolicyOrigin::Api));
        (*since, policies.clone())
    }

    /// The next listing of a group.
    async fn members(&mut self) -> (SmolStr, BTreeSet<Person>) {
        let inputs = self.until(|input| matches!(input, Input::Members { .. })).await;
        let Some(Input::Members { org, group, people }) = inputs.last() else { panic!("{inputs:?}") };
        assert_eq!(org.as_str(), "acme");
        (group.clone(), people.clone())
    }

    /// Nothing but the log comes for a while.
    async fn nothing_but_the_log(&mut self) {
        let found = self.until(|input| matches!(input, Input::Policies { .. } | Input::Members { .. }));
        if let Ok(inputs) = tokio::time::timeout(A_WHILE, found).await {
            panic!("unexpected: {:?}", inputs.last());
        }
    }

    /// What the org's policies say under a state, through the reader of files.
    fn document(&self, state: &PolicyState) -> Policies {
        parse::parse(self.org.policies(state).to_string().as_bytes()).expect("a valid document")
    }

    /// What they say at an instant.
    fn in_force(&self, at: Timestamp) -> Policies {
        self.document(&policies_at(&self.timeline.pushes, at))
    }

    fn group(&self, cohort: Cohort) -> SmolStr {
        SmolStr::new(&self.org.groups[cohort.as_str()])
    }

    fn people(&self, cohort: Cohort) -> BTreeSet<Person> {
        self.org.members(cohort).map(Person::new).collect()
    }

    /// Waits until a condition reads so.
    async fn condition(&self, part: &str, fits: impl Fn(bool, &str) -> bool) -> String {
        let waiting = async {
            loop {
                let status = self.conditions.read()[&format!("source/okta:acme/{part}")].clone();
                if fits(status.ok, &status.detail) {
                    assert!(!status.gates_readiness);
                    return status.detail;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the condition in time")
    }

    async fn asked(&self, endpoint: Endpoint, times: u64) {
        let waiting = async {
            while self.servers.okta.asked(endpoint) < times {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("asked in time");
    }

    /// The value of a series, zero where it is not there.
    fn metric(&self, series: &str) -> f64 {
        let page = self.metrics.render();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    fn requests(&self, list: &str, result: &str) -> f64 {
        self.metric(&format!("authwatch_source_requests_total{{source=\"okta:acme/{list}\",result=\"{result}\"}}"))
    }
}

fn secrets() -> Secrets {
    Arc::new(|name: &str| (name == "T").then(|| "sim-okta-token".to_owned())).into()
}

// Policies ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn the_first_reading_is_whole_over_all_pages_and_holds_from_now_on() {
    let mut world = World::new().await;
    world.read_policies();
    let (since, policies) = world.reading().await;
    assert_eq!(since, None);
    assert_eq!(*policies, world.document(&PolicyState::base()));
    assert_eq!((policies.policies.len(), policies.assurances.len()), (11, 10));
    // Eleven policies on three pages; ten of them with seven rules on two, one with its catch-all.
    assert_eq!(world.requests("policies", "ok"), 3.0);
    assert_eq!(world.requests("rules", "ok"), 21.0);
    assert_eq!(world.requests("device-assurances", "ok"), 1.0);
    assert_eq!(world.metric("authwatch_source_rate_limit{source=\"okta:acme/rules\"}"), 100_000.0);
    world.condition("policies", |ok, _| ok).await;
    assert_eq!(*world.in_policies.borrow(), BTreeSet::from([world.group(Cohort::Pilot)]));
    world.nothing_but_the_log().await;
}

#[tokio::test]
async fn a_change_in_the_log_is_read_after_the_page_that_tells_of_it_and_holds_from_when_it_was_made() {
    let mut world = World::new().await;
    world.read_policies();
    assert_eq!(world.reading().await.0, None);
    world.poll_log();
    world.nothing_but_the_log().await;

    // The push and, half an hour later, its rollback.
    for minutes in [31, 31] {
        world.servers.clock.advance(Span::minutes(minutes));
        let now = world.servers.clock.now();
        let inputs = world.until(|input| matches!(input, Input::Policies { .. })).await;
        let made = inputs.iter().filter_map(|input| match input {
            Input::Event { event, .. } if event.kind == Kind::AssuranceChange => event.published,
            Input::Event { .. }
            | Input::Configure(_)
            | Input::Reject { .. }
            | Input::Progress { .. }
            | Input::Policies { .. }
            | Input::Members { .. } => None,
        });
        let made: Vec<Timestamp> = made.collect();
        assert_eq!(made.len(), 4, "the page comes before the reading");
        let Some(Input::Policies { since, policies, .. }) = inputs.last() else { panic!("{inputs:?}") };
        assert_eq!(*since, made.iter().max().copied());
        assert_eq!(**policies, world.in_force(now));
    }
    assert_ne!(world.in_force(push_at()), world.in_force(start()), "the push matters");
    world.nothing_but_the_log().await;
    assert_eq!(world.requests("device-assurances", "ok"), 3.0, "four changes of one push are one reading");
}

#[tokio::test]
async fn changes_close_together_are_one_reading_of_the_newest() {
    let mut world = World::new().await;
    world.read_policies();
    assert_eq!(world.reading().await.0, None);
    let (older, newer) = (push_at(), push_at() + Span::minutes(30));
    world.changes.send_replace(Some(older));
    tokio::time::sleep(world.timing.quiet / 2).await;
    world.changes.send_replace(Some(newer));
    assert_eq!(world.reading().await.0, Some(newer));
    world.nothing_but_the_log().await;
}

#[tokio::test]
async fn changes_in_a_backlog_wait_for_its_end_since_only_the_newest_is_still_there_to_be_read() {
    let mut world = World::new().await;
    (world.timing.quiet, world.timing.restless, world.limit) = (Duration::ZERO, Duration::ZERO, 5);
    world.servers.clock.advance(Span::minutes(70));
    world.read_policies();
    assert_eq!(world.reading().await.0, None);
    world.poll_log();
    let (since, policies) = world.reading().await;
    // The push and its rollback are both in the hour that is read, pages apart.
    assert_eq!(since, Some(push_at() + Span::minutes(30)));
    assert_eq!(*policies, world.in_force(world.servers.clock.now()));
    assert!(world.servers.okta.asked(Endpoint::Logs) > 20, "{}", world.servers.okta.asked(Endpoint::Logs));
    world.nothing_but_the_log().await;
}

#[tokio::test]
async fn a_change_that_passes_while_a_reading_is_under_way_causes_another() {
    let mut world = World::new().await;
    world.servers.okta.faults_of(Endpoint::DeviceAssurances).queue(OktaFault::Slow);
    world.read_policies();
    world.asked(Endpoint::DeviceAssurances, 1).await;
    world.changes.send_replace(Some(push_at()));
    assert_eq!(world.reading().await.0, None);
    assert_eq!(world.reading().await.0, Some(push_at()));
}

#[tokio::test]
async fn without_a_change_policies_are_read_again_every_so_often() {
    let mut world = World::new().await;
    world.timing.policies_every = Duration::from_millis(50);
    world.read_policies();
    for _ in 0..3 {
        let (since, policies) = world.reading().await;
        assert_eq!((since, policies.policies.len()), (None, 11));
    }
}

#[tokio::test]
async fn a_429_on_one_list_holds_up_neither_the_log_nor_another_list() {
    let mut world = World::new().await;
    world.servers.okta.faults_of(Endpoint::Policies).queue(OktaFault::TooManyRequests);
    world.configured.send_replace([world.group(Cohort::Pilot)].into());
    world.read_policies();
    world.asked(Endpoint::Policies, 1).await;
    world.poll_log();
    world.read_groups();
    assert_eq!(world.members().await.1, world.people(Cohort::Pilot));
    let before = world.servers.okta.asked(Endpoint::Logs);
    world.asked(Endpoint::Logs, before + 3).await;
    world.nothing_but_the_log().await;
    assert_eq!(world.requests("policies", "rate_limited"), 1.0);
    assert_eq!(world.servers.okta.asked(Endpoint::Policies), 1, "the wait that the reply asks for is kept");
    assert_eq!(world.conditions.read()["source/okta:acme"].detail, "");
}

#[tokio::test]
async fn a_missing_right_is_said_once_in_plain_words_and_ends_when_it_is_granted() {
    let mut world = World::new().await;
    for (endpoint, what, scope) in [
        (Endpoint::Policies, "policies", "okta.policies.read"),
        (Endpoint::DeviceAssurances, "device assurance policies", "okta.deviceAssurance.read"),
    ] {
        world.servers.okta.withhold(endpoint);
        if endpoint == Endpoint::Policies {
            world.read_policies();
        } else {
            world.changes.send_replace(Some(push_at()));
        }
        let said = world.condition("policies", |ok, said| !ok && said.contains("does not let us")).await;
        let expect = format!(
            "Okta does not let us read {what} (E0000006) (a super administrator grants `{scope}` to the service app, or gives the API token's owner a role such as Read-only Administrator)"
        );
        assert_eq!(said, expect);
        let before = world.servers.okta.asked(endpoint);
        world.asked(endpoint, before + 3).await;
        assert_eq!(world.log.lines_with(&expect), 1, "tried several times, said once");
        world.servers.okta.grant(endpoint);
        world.reading().await;
        world.condition("policies", |ok, _| ok).await;
    }
    assert!(world.requests("device-assurances", "forbidden") >= 4.0);
}

#[tokio::test]
async fn a_page_that_is_lost_is_asked_for_again_and_no_part_of_a_reading_is_sent() {
    let mut world = World::new().await;
    for fault in [OktaFault::Truncated, OktaFault::ResetMidBody, OktaFault::ServerError, OktaFault::BadGateway] {
        world.servers.okta.faults_of(Endpoint::Rules).queue(fault);
        world.servers.okta.faults_of(Endpoint::Policies).queue(fault);
    }
    world.read_policies();
    assert_eq!(*world.reading().await.1, world.document(&PolicyState::base()));
    assert_eq!(world.requests("policies", "ok"), 3.0, "what had come was kept");
    assert_eq!(world.requests("rules", "ok"), 21.0);
    for (result, count) in [("bad_list", 1.0), ("broken_off", 1.0), ("server_error", 2.0)] {
        assert_eq!(world.requests("rules", result), count, "{result}");
    }
}

#[tokio::test]
async fn a_reading_that_fails_in_the_middle_is_given_up_whole_and_begun_again() {
    let mut world = World::new().await;
    // One more than a page is asked for again, at the last step.
    for _ in 0..6 {
        world.servers.okta.faults_of(Endpoint::DeviceAssurances).queue(OktaFault::ServerError);
    }
    world.read_policies();
    let said = world.condition("policies", |ok, said| !ok && said.contains("status")).await;
    assert_eq!(said, "Okta failed with status 500");
    assert_eq!(*world.reading().await.1, world.document(&PolicyState::base()));
    assert_eq!((world.requests("policies", "ok"), world.requests("device-assurances", "ok")), (6.0, 1.0));
    world.nothing_but_the_log().await;
}

// Groups ------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn the_people_of_a_group_come_whole_over_all_pages() {
    let mut world = World::new().await;
    world.configured.send_replace([world.group(Cohort::Wave1)].into());
    world.read_groups();
    assert_eq!(world.members().await, (world.group(Cohort::Wave1), world.people(Cohort::Wave1)));
    assert_eq!(world.requests("groups", "ok"), 8.0, "30 people, four a page");
    world.condition("groups", |ok, _| ok).await;

    // A cohort more, and the policies name a group that is known already.
    world.configured.send_replace(Cohort::ALL.map(|cohort| world.group(cohort)).into());
    let mut seen = BTreeSet::from([world.members().await, world.members().await]);
    world.in_policies.send_replace([world.group(Cohort::Pilot)].into());
    world.nothing_but_the_log().await;
    for cohort in [Cohort::Pilot, Cohort::EveryoneElse] {
        assert!(seen.remove(&(world.group(cohort), world.people(cohort))), "{}", cohort.as_str());
    }
}

#[tokio::test]
async fn the_groups_that_the_policies_name_are_read_too() {
    let mut world = World::new().await;
    world.read_groups();
    world.condition("groups", |ok, _| ok).await;
    world.read_policies();
    assert_eq!(world.members().await, (world.group(Cohort::Pilot), world.people(Cohort::Pilot)));
}

#[tokio::test]
async fn a_group_that_cannot_be_read_stays_unknown_and_the_others_come() {
    let mut world = World::new().await;
    let pilot = world.group(Cohort::Pilot);
    world.configured.send_replace([SmolStr::new("00g/../gone"), SmolStr::new("00ggone"), pilot.clone()].into());
    world.servers.okta.faults_of(Endpoint::Groups).queue(OktaFault::Truncated);
    world.read_groups();
    assert_eq!(world.members().await, (pilot, world.people(Cohort::Pilot)));
    let said = world.condition("groups", |ok, said| !ok && said.contains("no group")).await;
    assert_eq!(said, "Okta has no group `00g/../gone`; its people stay unknown");
    world.nothing_but_the_log().await;
    assert_eq!(world.requests("groups", "missing"), 2.0);
}

#[tokio::test]
async fn a_missing_right_to_groups_is_said_once_and_ends_when_it_is_granted() {
    let mut world = World::new().await;
    world.servers.okta.withhold(Endpoint::Groups);
    world.configured.send_replace(Cohort::ALL.map(|cohort| world.group(cohort)).into());
    world.read_groups();
    let said = world.condition("groups", |ok, said| !ok && said.contains("does not let us")).await;
    assert!(
        said.contains(
            "does not let us read people of groups (E0000006) (a super administrator grants `okta.groups.read`"
        ),
        "{said}"
    );
    world.asked(Endpoint::Groups, 4).await;
    assert_eq!(world.log.lines_with(&said), 1);
    world.servers.okta.grant(Endpoint::Groups);
    for _ in Cohort::ALL {
        world.members().await;
    }
    world.condition("groups", |ok, _| ok).await;
}

#[tokio::test]
async fn more_groups_than_the_bound_are_counted_and_those_of_the_configuration_come_first() {
    let mut world = World::new().await;
    let pilot = world.group(Cohort::Pilot);
    world.configured.send_replace([pilot.clone()].into());
    world.in_policies.send_replace((0..205).map(|i| SmolStr::new(format!("00g{i:03}"))).collect());
    world.read_groups();
    assert_eq!(world.members().await.0, pilot);
    world.asked(Endpoint::Groups, 199).await;
    world.nothing_but_the_log().await;
    assert_eq!(world.metric("authwatch_limit_reached_total{org=\"acme\",limit=\"groups\"}"), 6.0);
    assert_eq!(world.log.lines_with("more than 200 groups are named"), 1);
    assert_eq!(world.requests("groups", "missing"), 199.0);
}

#[tokio::test]
async fn groups_are_read_again_every_day() {
    let mut world = World::new().await;
    world.timing.groups_every = Duration::from_millis(50);
    world.configured.send_replace([world.group(Cohort::Pilot)].into());
    world.read_groups();
    for _ in 0..3 {
        assert_eq!(world.members().await.1, world.people(Cohort::Pilot));
    }
}

// Ends --------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_single_reading_ends_both_readers_whether_it_succeeds_or_not() {
    for withheld in [false, true] {
        let mut world = World::new().await;
        if withheld {
            world.servers.okta.withhold(Endpoint::Policies);
        }
        world.configured.send_replace([world.group(Cohort::Wave1)].into());
        let (named, in_policies) = watch::channel(BTreeSet::new());
        let condition = world.conditions.declare("source/okta:acme/groups", false, "not read yet");
        let beside = world.beside(Reads::Groups, condition).once(true);
        let groups = GroupReader::new(beside, world.configured.subscribe(), in_policies);
        let groups = tokio::spawn(groups.run(world.out.clone(), world.stop.subscribe()));
        world.in_policies = named;
        let condition = world.conditions.declare("source/okta:acme/policies", false, "not read yet");
        let beside = world.beside(Reads::Policies, condition).once(true);
        let policies = PolicyReader::new(beside, world.changes.subscribe(), world.in_policies.clone());
        // The reader holds the only sender.
        world.in_policies = watch::channel(BTreeSet::new()).0;
        let policies = tokio::spawn(policies.run(world.out.clone(), world.stop.subscribe()));
        for task in [policies, groups] {
            tokio::time::timeout(PATIENCE, task).await.expect("ends").expect("no panic");
        }
        let mut came = Vec::new();
        while let Ok(batch) = world.batches.try_recv() {
            assert_eq!((batch.position, batch.source.as_str()), (None, "okta:acme"));
            came.extend(batch.inputs);
        }
        // The cohort's group; with policies also these and the group that they name.
        assert_eq!(came.len(), if withheld { 1 } else { 3 }, "{came:?}");
    }
}

#[tokio::test]
async fn a_stop_ends_every_wait() {
    let world = World::new().await;
    world.servers.okta.faults_of(Endpoint::Policies).queue(OktaFault::TooManyRequests);
    let policies = tokio::spawn(world.policies().run(world.out.clone(), world.stop.subscribe()));
    let groups = tokio::spawn(world.groups().run(world.out.clone(), world.stop.subscribe()));
    world.asked(Endpoint::Policies, 1).await;
    world.stop.send_replace(true);
    for task in [policies, groups] {
        tokio::time::timeout(Duration::from_secs(5), task).await.expect("stops").expect("no panic");
    }
}
