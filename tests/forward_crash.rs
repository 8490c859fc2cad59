//! The daemon is killed with SIGKILL over and over while it forwards, and the receiver still has every denial, every
//! policy change and every detection, in order, under the ids that an undisturbed run gives them.
//!
//! It dies between fetch and commit, between commit and send, between send and the step in the queue; the receiver loses
//! answers, resets connections and is busy meanwhile. The same comparison is then made for a build that stores its
//! position too early, and has to fail.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod support {
    //! What the tests of forwarding share.
    #[expect(dead_code, reason = "the other tests look at more of it")]
    pub mod server;
    #[expect(dead_code, reason = "the other tests look at more of it")]
    pub mod splunk;
}

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use authwatch::action::{Accepted, Topics};
use authwatch::classify::{Reader, Tables};
use authwatch::event::{EventId, Org as OrgName, Span, Timestamp};
use authwatch::sim::{Awkward, Log, Org, Scenario};
use serde_json::{Value, json};
use support::server::Fault;
use support::splunk::{Splunk, TOKEN};
use tempfile::TempDir;

/// Records of one run: a push, its refusals and its rollback are in them.
const RECORDS: usize = 12_000;

/// Where it dies, and at which passage in each life. The log is read within a few lives, so those that need it come first;
/// what is forwarded goes in so many batches that there is always one to die at.
const POINTS: [(&str, &[u32]); 7] = [
    ("after_fetch", &[1, 2, 1]),
    // The start passes it once without a page; with a record committed it is passed again.
    ("committed", &[1, 2, 1]),
    ("backlog", &[1, 1]),
    ("snapshot", &[1, 1]),
    ("forward_ack", &[1, 2, 3]),
    ("forward_send", &[1, 3, 2, 1]),
    ("forward_ack", &[2, 1, 1]),
];

/// A log on disk, a receiver, and a state.
struct World {
    splunk: Splunk,
    dir: TempDir,
}

fn records() -> Vec<String> {
    let org = Arc::new(Org::new(5, 1_200));
    let moment = Timestamp(1_772_496_000_000 + Span::hours(14).0);
    let (start, until) = (moment - Span::minutes(40), moment + Span::hours(5));
    let awkward = Awkward { repeats: 0.03, late: 0.005, odd: 0.002, bad: 0.003 };
    let log = Log::of_scenario(org, Scenario::Rollback, moment, start, until, awkward);
    log.take(RECORDS).map(|entry| entry.json).collect()
}

/// The ids of the events that must be forwarded, once each.
fn expected(records: &[String]) -> BTreeSet<String> {
    let wanted = Topics::DENIES.or(Topics::POLICY_CHANGES);
    let reader = Reader::new(OrgName::new("acme"), Arc::new(Tables::embedded()));
    let (mut ids, mut seen) = (BTreeSet::new(), BTreeSet::<EventId>::new());
    for record in records {
        reader.read_record(record.as_bytes(), &mut |read| {
            let Ok(event) = read else { return };
            if wanted.meets(Topics::of(&event)) && seen.insert(event.id) {
                ids.insert(Accepted { shares_uuid: false }.id(&event).to_string());
            }
        });
    }
    ids
}

impl World {
    async fn new(records: &[String], more: Value) -> Self {
        let splunk = Splunk::start().await;
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("log.ndjson"), records.join("\n")).expect("writes");
        let mut sink = json!({
            "url": splunk.server.url, "token": { "env": "HEC" }, "timeout": "2s", "batch_events": 10,
        });
        for (key, value) in more.as_object().expect("an object") {
            sink[key] = value.clone();
        }
        let config = json!({
            "org": "acme", "state_dir": "state", "listen": "127.0.0.1:0",
            "sources": [{ "file": { "paths": ["log.ndjson"] } }],
            "sinks": [{ "splunk": sink }],
            "incidents": { "hold_down": "10m", "catch_up": "24h" },
            "shutdown_grace": "60s",
        });
        std::fs::write(dir.path().join("a.yaml"), config.to_string()).expect("writes");
        Self { splunk, dir }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("a.yaml")
    }

    /// One life: it ends where the variables say, or when everything is forwarded.
    async fn life(&self, variables: &[(&'static str, String)]) -> ExitStatus {
        let mut command = Command::new(env!("CARGO_BIN_EXE_authwatch"));
        command.args(["run", "--once", "--config"]).arg(self.config()).env_clear().env("HEC", TOKEN);
        command.env("FAULT_SNAPSHOT_INPUTS", "3000").envs(variables.iter().map(|(name, value)| (*name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let output = tokio::task::spawn_blocking(move || command.output().expect("runs")).await.expect("ends");
        if !output.status.success() && output.status.signal().is_none() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
        output.status
    }

    /// What arrived, each id once, in the order of its first arrival.
    fn arrived(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        self.splunk.ids().into_iter().filter(|id| seen.insert(id.clone())).collect()
    }
}

/// Lives that end at a point, each a few steps further on; whether they did.
async fn kill_at(world: &World, point: &str, passages: &[u32], more: &[(&'static str, String)]) -> u32 {
    let mut kills = 0;
    for passage in passages {
        let mut variables = more.to_vec();
        variables.push(("FAULT_POINT", format!("{point}:{passage}")));
        let ended = world.life(&variables).await;
        assert!(ended.success() || ended.signal() == Some(9), "the daemon ended by itself: {ended}");
        kills += u32::from(ended.signal() == Some(9));
    }
    kills
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_denial_change_and_detection_arrives_at_least_once_whenever_the_daemon_dies() {
    let records = records();
    let expect = expected(&records);
    assert!(expect.len() > 200, "{} denials and changes are too few to prove much", expect.len());

    let left_alone = World::new(&records, json!({})).await;
    assert!(left_alone.life(&[]).await.success());
    let reference = left_alone.arrived();
    assert_eq!(left_alone.splunk.ids().len(), reference.len(), "nothing is sent twice without need");
    let events: BTreeSet<String> = reference.iter().filter(|id| !id.contains(":aw-")).cloned().collect();
    assert_eq!(events, expect);
    assert!(reference.len() > events.len(), "there are detections too");
    for event in left_alone.splunk.state().events.iter().filter(|event| event["sourcetype"] == "authwatch:raw") {
        let (id, uuid) = (event["fields"]["aw_id"].as_str(), event["event"]["uuid"].as_str().expect("the record"));
        assert_eq!(id, Some(&*format!("acme:{uuid}")), "another record's text");
    }

    for acks in [false, true] {
        let more = json!({ "ack": acks, "ack_interval": "100ms", "ack_timeout": "1s" });
        let world = World::new(&records, more).await;
        world.splunk.state().acks = acks;
        let mut kills = BTreeMap::new();
        for (round, (point, passages)) in POINTS.into_iter().enumerate() {
            let faults = [Fault::ResetAfter, Fault::ResetBefore, Fault::DoneThen(503), Fault::Refuse(503, None)];
            world.splunk.server.script([faults[round % faults.len()]]);
            world.splunk.state().lost_acks = u32::from(acks && round == 4);
            *kills.entry(point).or_insert(0) += kill_at(&world, point, passages, &[]).await;
        }
        println!("acks {acks}: kills {kills:?}");
        for point in ["after_fetch", "committed", "forward_send", "forward_ack"] {
            assert!(kills[point] >= 3, "only {} kills at {point}", kills[point]);
        }
        assert!(world.life(&[]).await.success());
        let arrived = world.arrived();
        let missing: Vec<&String> = reference.iter().filter(|id| !arrived.contains(id)).collect();
        assert_eq!(missing, Vec::<&String>::new(), "acks {acks}, after {kills:?}");
        assert_eq!(arrived, reference, "in order, and nothing else");
        assert!(world.splunk.ids().len() > arrived.len(), "a kill between send and place repeats something");
        println!("{} records, {} arrivals", arrived.len(), world.splunk.ids().len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_stores_its_position_first_is_caught() {
    let records = records();
    let world = World::new(&records, json!({})).await;
    let order = [("FAULT_ORDER", "position-first".to_owned())];
    assert!(kill_at(&world, "position_committed", &[1, 2, 3], &order).await > 0);
    assert!(world.life(&order).await.success());
    let arrived: BTreeSet<String> = world.arrived().into_iter().collect();
    assert!(expected(&records).difference(&arrived).count() > 0, "the loss was not seen");
}
