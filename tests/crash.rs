//! The daemon is killed with SIGKILL a hundred times, and nothing is lost, nothing counted twice, no ticket doubled.
//!
//! Two daemons watch the same simulated org, each with an Okta and a ServiceNow of its own: late, repeated, malformed
//! and out-of-order events, 429, 5xx, broken replies, writes whose reply is lost. One is left alone. The other dies at
//! every point where a step is half done ([`Point`]) and from outside at any moment. At the end both have counted what
//! the simulated org says it did, and both tell the same incidents with one ticket each.
//!
//! The same comparison is then made for a build that stores its position too early, and has to fail.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "crash/daemon.rs"]
mod daemon;
#[path = "crash/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use authwatch::clock::monotonic;
use authwatch::event::{Span, Timestamp};
use authwatch::sim::{OktaFault, ServiceNowFault};
use daemon::Daemon;
use serde_json::Value;
use tokio::time::sleep;
use world::{MOMENT, PAGE, Setting, World};

/// Far longer than anything that is waited for here takes; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(200);
/// Kills in all, and at each point.
const KILLS: usize = 100;
const KILLS_EACH: usize = 10;

/// Where a daemon dies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Point {
    /// A page is fetched, nothing of it is stored.
    FetchToCommit,
    /// A page is stored, nobody has been told.
    CommitToWake,
    /// An action is stored, nothing of it has gone out.
    CommitToAction,
    /// A ticket is written, nothing of it is recorded.
    ActionToRecord,
    /// A snapshot is half written.
    Snapshot,
    /// A full page of a backlog is folded and not stored; more waits behind it.
    Backlog,
    /// Wherever it happens to be: killed from outside.
    Outside,
}

impl Point {
    const ALL: [Self; 7] = [
        Self::FetchToCommit,
        Self::CommitToWake,
        Self::CommitToAction,
        Self::ActionToRecord,
        Self::Snapshot,
        Self::Backlog,
        Self::Outside,
    ];
    /// Those that a daemon passes with every page, or every few.
    const FREQUENT: [Self; 4] = [Self::FetchToCommit, Self::Backlog, Self::CommitToWake, Self::Snapshot];

    const fn as_str(self) -> &'static str {
        match self {
            Self::FetchToCommit => "between fetch and commit",
            Self::CommitToWake => "between commit and telling anybody",
            Self::CommitToAction => "between commit and action",
            Self::ActionToRecord => "between action and its record",
            Self::Snapshot => "during a snapshot",
            Self::Backlog => "during a renewed backlog",
            Self::Outside => "anywhere, from outside",
        }
    }

    /// The point's name in the binary.
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::FetchToCommit => Some("after_fetch"),
            Self::CommitToWake => Some("committed"),
            Self::CommitToAction => Some("commit_action"),
            Self::ActionToRecord => Some("action_record"),
            Self::Snapshot => Some("snapshot"),
            Self::Backlog => Some("backlog"),
            Self::Outside => None,
        }
    }
}

/// The kills so far, and what the daemon has shown of itself between them.
#[derive(Default)]
struct Tally {
    kills: BTreeMap<Point, usize>,
    lives: u64,
    /// The most events that were ever shown.
    shown: u64,
}

impl Tally {
    fn of(&self, point: Point) -> usize {
        self.kills.get(&point).copied().unwrap_or(0)
    }

    fn total(&self) -> usize {
        self.kills.values().sum()
    }

    fn table(&self) -> String {
        let mut table = String::from("kills with SIGKILL\n");
        for point in Point::ALL {
            let _ = writeln!(table, "{:>6}  {}", self.of(point), point.as_str());
        }
        let _ = write!(table, "{:>6}  in all", self.total());
        table
    }

    /// One life that ends at `point`. A life that does not get there within `patience` is ended from outside.
    async fn life(&mut self, world: &World, point: Point, patience: Duration) -> bool {
        self.lives += 1;
        let snapshot_inputs = if point == Point::Snapshot { 60 } else { 400 };
        let mut variables = world.secrets();
        variables.push(("FAULT_SNAPSHOT_INPUTS", format!("{snapshot_inputs}")));
        if let Some(name) = point.name() {
            // The start passes `committed` once without a page.
            let passages = match point {
                Point::CommitToWake => 2 + self.lives % 3,
                Point::FetchToCommit => 1 + self.lives % 3,
                Point::Backlog => 1 + self.lives % 2,
                Point::CommitToAction | Point::ActionToRecord | Point::Snapshot | Point::Outside => 1,
            };
            variables.push(("FAULT_POINT", format!("{name}:{passages}")));
        }
        let mut daemon = Daemon::start(&world.config(), &variables);
        let deadline = monotonic() + patience;
        let mut died = false;
        while !died && monotonic() < deadline {
            died = daemon.dies_within(Duration::from_millis(100)).await;
            let status = daemon.get("/api/v1/status").await;
            // Until the state is restored nothing is known, and nothing is what is shown.
            if let Some(events) = status.and_then(|status| status["events"].as_u64()).filter(|events| *events > 0) {
                assert!(events >= self.shown, "a count went back from {} to {events}", self.shown);
                self.shown = events;
            }
        }
        let point = if died { point } else { Point::Outside };
        if died || daemon.kill() {
            *self.kills.entry(point).or_default() += 1;
        }
        died
    }

    /// Ends a life at one of the points that are passed all the time, in turn.
    async fn frequent(&mut self, world: &World) {
        let least = Point::FREQUENT.into_iter().min_by_key(|point| self.of(*point)).expect("there are points");
        if least == Point::Backlog {
            // Down until more than one full page waits, or the log has ended.
            let wanted = world.shown() + 2 * PAGE;
            let deadline = monotonic() + Duration::from_secs(5);
            while world.shown() < wanted && world.now() < world.setting.until && monotonic() < deadline {
                sleep(Duration::from_millis(20)).await;
            }
        }
        self.life(world, least, Duration::from_secs(8)).await;
    }
}

/// What one daemon has counted and told in the end.
struct Outcome {
    status: Value,
    incidents: Vec<Value>,
    tickets: BTreeMap<String, Vec<String>>,
}

impl Outcome {
    /// Lets a daemon run until it has caught up with the end of the log and told everybody.
    async fn of(world: &World, variables: &[(&str, String)]) -> Self {
        let mut all = world.secrets();
        all.extend(variables.iter().map(|(name, value)| (*name, value.clone())));
        let mut daemon = Daemon::start(&world.config(), &all);
        let outcome = Self::once_settled(world, &daemon).await;
        daemon.kill();
        let state = world.state();
        assert_eq!(state.count("servicenow").expect("a count"), 0, "actions are left over");
        assert_eq!(state.dead_letters("servicenow").expect("a list"), [], "actions were given up");
        outcome
    }

    async fn once_settled(world: &World, daemon: &Daemon) -> Self {
        let deadline = monotonic() + PATIENCE;
        loop {
            let status = daemon.get("/api/v1/status").await.unwrap_or_default();
            let incidents = daemon.get("/api/v1/incidents").await.unwrap_or_default();
            let incidents = incidents["incidents"].as_array().cloned().unwrap_or_default();
            let tickets = tickets(world);
            let until = status["data_until"].as_str().and_then(Timestamp::parse);
            let caught_up = until.is_some_and(|until| until > world.setting.until + Span::minutes(9));
            let is_over = |incident: &Value| {
                let told = tickets.get(incident["key"].as_str().expect("a key"));
                told.is_some_and(|states| states.iter().all(|state| state == "6"))
            };
            if caught_up && incidents.iter().all(is_over) {
                return Self { status, incidents, tickets };
            }
            let said = || format!("{status}\n{incidents:#?}\n{tickets:?}\n{}", daemon.log_lines());
            assert!(monotonic() < deadline, "the daemon does not come to rest:\n{}", said());
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Every way in which this differs from the truth of its own org.
    fn against_truth(&self, world: &World) -> Vec<String> {
        let truth = world.servers.okta.truth();
        let rejected: u64 =
            self.status["rejected"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
        let mut wrong = Vec::new();
        let mut compare = |what: &str, got: u64, expect: u64| {
            if got != expect {
                wrong.push(format!("{what}: {got} counted, {expect} in truth"));
            }
        };
        compare("events", self.status["events"].as_u64().unwrap_or(0), truth.events);
        compare("duplicates", self.status["duplicates"].as_u64().unwrap_or(0), truth.duplicates);
        compare("rejected", rejected, truth.bad);
        compare("records served", world.shown() as u64, truth.records);
        for (key, states) in &self.tickets {
            let known = self.incidents.iter().any(|incident| incident["key"] == **key);
            if !known || states.len() != 1 {
                wrong.push(format!("tickets of `{key}`: {states:?}, incident known: {known}"));
            }
        }
        wrong
    }

    /// Every way in which the incidents differ from another's. `late` is not compared: whether the watermark had passed
    /// an event depends on when it was fetched.
    fn against(&self, other: &Self) -> Vec<String> {
        let facts = |incident: &Value| {
            let fact = |name: &str| (name.to_owned(), incident[name].clone());
            ["key", "series", "people", "onset", "opened_at", "resolved_at"].map(fact)
        };
        let all = |outcome: &Self| outcome.incidents.iter().map(facts).collect::<Vec<_>>();
        let (ours, theirs) = (all(self), all(other));
        if ours == theirs { Vec::new() } else { vec![format!("incidents: {ours:#?}\nand undisturbed: {theirs:#?}")] }
    }
}

/// The states of the tickets that were opened, by incident.
fn tickets(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut tickets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in world.servers.servicenow.created() {
        tickets.entry(row.get("correlation_id").to_owned()).or_default().push(row.get("state").to_owned());
    }
    tickets
}

/// The faults that must have struck the daemon and did not: without them the kills prove less than they claim.
fn never_struck(world: &World) -> Vec<&'static str> {
    use OktaFault as O;
    use ServiceNowFault as S;
    let (okta, servicenow) = (world.servers.okta.faults().struck(), world.servers.servicenow.faults().struck());
    let okta = |faults: &[O]| faults.iter().any(|fault| okta.contains_key(fault));
    let servicenow = |faults: &[S]| faults.iter().any(|fault| servicenow.contains_key(fault));
    let struck = [
        ("Okta's 429 with nothing remaining", okta(&[O::TooManyRequests])),
        ("Okta's 429 with room left", okta(&[O::TooManyWithRemaining])),
        ("Okta's 5xx", okta(&[O::ServerError, O::BadGateway])),
        ("Okta's broken replies", okta(&[O::ResetBefore, O::ResetMidBody, O::Truncated])),
        ("ServiceNow's 429", servicenow(&[S::TooManyWithRetryAfter, S::TooManyBare])),
        ("ServiceNow's 5xx", servicenow(&[S::ServerError, S::Unavailable])),
        ("ServiceNow's reset before a commit", servicenow(&[S::ResetBefore])),
        ("ServiceNow's reset after a commit", servicenow(&[S::ResetAfterCommit])),
    ];
    struck.into_iter().filter_map(|(what, struck)| (!struck).then_some(what)).collect()
}

fn is_resolved(world: &World) -> bool {
    let tickets = tickets(world);
    !tickets.is_empty() && tickets.values().flatten().all(|state| state == "6")
}

/// Kills the daemon over and over while the org lives through a bad push and its rollback.
async fn disturb(world: &World) -> Tally {
    let mut tally = Tally::default();
    let long = Duration::from_secs(60);
    while world.now() < MOMENT - Span::minutes(1) {
        tally.frequent(world).await;
        tally.life(world, Point::Outside, Duration::from_millis(150 + 90 * (tally.lives % 7))).await;
    }
    // The opening waits in the outbox through all of these.
    for point in [Point::CommitToAction, Point::ActionToRecord] {
        while tally.of(point) < KILLS_EACH {
            assert!(tally.life(world, point, long).await, "nothing was told within {long:?}");
        }
    }
    // Refusals that ask to wait for most of a minute: the daemon dies while it waits, and asks again in its next life.
    for refusal in [OktaFault::TooManyRequests, OktaFault::TooManyWithRemaining] {
        world.servers.okta.faults().queue(refusal);
    }
    while world.now() < MOMENT + Span::minutes(32) {
        tally.frequent(world).await;
    }
    // Then updates, and the end.
    let deadline = monotonic() + PATIENCE;
    while !is_resolved(world) {
        assert!(monotonic() < deadline, "the incident does not end: {:?}", tickets(world));
        for point in [Point::CommitToAction, Point::ActionToRecord, Point::ActionToRecord, Point::CommitToAction] {
            if is_resolved(world) {
                break;
            }
            tally.life(world, point, Duration::from_secs(5)).await;
        }
        tally.life(world, Point::Outside, Duration::from_secs(3)).await;
    }
    // What a slow machine has not got round to, over the rest of the log, with a jump ahead for a backlog each time.
    while Point::ALL.into_iter().any(|point| tally.of(point) < KILLS_EACH) || tally.total() < KILLS {
        assert!(world.now() < world.setting.until, "the log is too short for all the kills: {}", tally.table());
        world.servers.clock.advance(Span::minutes(4));
        tally.frequent(world).await;
        if tally.of(Point::Outside) < KILLS_EACH {
            tally.life(world, Point::Outside, Duration::from_millis(700)).await;
        }
    }
    world.end_log();
    tally
}

async fn undisturbed(world: &World) -> Outcome {
    let mut daemon = Daemon::start(&world.config(), &world.secrets());
    let deadline = monotonic() + PATIENCE;
    while !is_resolved(world) {
        assert!(daemon.is_killed().is_none() && monotonic() < deadline, "no end:\n{}", daemon.log_lines());
        sleep(Duration::from_millis(200)).await;
    }
    world.end_log();
    let outcome = Outcome::once_settled(world, &daemon).await;
    daemon.kill();
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_lose_nothing_double_nothing_and_open_one_ticket() {
    let setting =
        Setting { seed: 7, seats: 600, begin: MOMENT - Span::minutes(20), speed: 60.0, until: MOMENT + Span::hours(5) };
    let began = monotonic();
    let (left_alone, killed) = tokio::join!(World::new(setting), World::new(setting));
    let (reference, (tally, outcome)) = tokio::join!(undisturbed(&left_alone), async {
        let tally = disturb(&killed).await;
        (tally, Outcome::of(&killed, &[]).await)
    });
    println!("{}", tally.table());
    println!("faults of Okta: {:?}", killed.servers.okta.faults().struck());
    println!("faults of ServiceNow: {:?}", killed.servers.servicenow.faults().struck());
    println!("counted: {}", outcome.status);
    println!("undisturbed: {}", reference.status);
    for incident in &outcome.incidents {
        println!(
            "incident {}: {} people, {} to {}",
            incident["key"], incident["people"], incident["opened_at"], incident["resolved_at"]
        );
    }
    println!("took {:?}", began.elapsed());

    assert!(!outcome.incidents.is_empty(), "the push opened nothing");
    assert_eq!(never_struck(&killed), Vec::<&str>::new(), "these faults were to strike");
    assert_eq!(reference.against_truth(&left_alone), Vec::<String>::new());
    assert_eq!(outcome.against_truth(&killed), Vec::<String>::new());
    assert_eq!(outcome.against(&reference), Vec::<String>::new());
    for point in Point::ALL {
        assert!(tally.of(point) >= KILLS_EACH, "too few kills {}", point.as_str());
    }
    assert!(tally.total() >= KILLS, "too few kills");
}

/// A short run over a history that stands still, killed at a point a few times.
async fn short_run(point: &str, order: Option<&str>) -> Vec<String> {
    let begin = MOMENT - Span::hours(1);
    let world = World::new(Setting { seed: 3, seats: 400, begin, speed: 0.0, until: begin - Span::minutes(10) }).await;
    let order: Vec<(&str, String)> = order.map(|order| ("FAULT_ORDER", order.to_owned())).into_iter().collect();
    for passages in [1, 3, 6] {
        let mut variables = world.secrets();
        variables.extend(order.iter().cloned());
        variables.push(("FAULT_POINT", format!("{point}:{passages}")));
        let mut daemon = Daemon::start(&world.config(), &variables);
        assert!(daemon.dies_within(PATIENCE).await, "`{point}` was not reached:\n{}", daemon.log_lines());
    }
    Outcome::of(&world, &order).await.against_truth(&world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_stores_its_position_first_is_caught() {
    let sound = short_run("after_fetch", None).await;
    assert_eq!(sound, Vec::<String>::new(), "the comparison must find nothing where there is nothing");
    let broken = short_run("position_committed", Some("position-first")).await;
    println!("the broken build: {broken:?}");
    assert!(broken.iter().any(|wrong| wrong.starts_with("events: ")), "the loss was not seen: {broken:?}");
}
