//! `whatif` as a rollout meets it: a small log on the command line, and the same questions to a running daemon.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail as tests do")]

#[expect(dead_code, reason = "no simulated world is needed")]
#[path = "daemon/process.rs"]
mod process;

use std::fs;
use std::path::{Path, PathBuf};

use authwatch::event::{
    AuthEvent, Context, Credential, DeviceSignals, EventId, Kind, Org, Outcome, Platform, Reason, SourceName, Timestamp,
};
use authwatch::input::{CoreConfig, Input, OrgConfig};
use authwatch::policy::fleet::CAPACITY;
use authwatch::watch::{Limit, Watch};
use process::{Daemon, Ran, run};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a log of five devices, a configuration that reads it, and policies.
struct Ground {
    dir: TempDir,
}

impl Ground {
    fn new() -> Self {
        let ground = Self { dir: tempfile::tempdir().expect("a folder") };
        let log: String = log().iter().map(|record| format!("{record}\n")).collect();
        fs::write(ground.path("events.ndjson"), log + "no record\n").expect("a log");
        let config = "org: acme
state_dir: state
listen: 127.0.0.1:0
shutdown_grace: 5s
sources:
  - file: { paths: [events.ndjson] }
cohorts:
  pilot: { users: [00uann, 00uben] }
";
        fs::write(ground.path("authwatch.yaml"), config).expect("a configuration");
        fs::write(ground.path("policies.json"), policies().to_string()).expect("policies");
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `whatif` over the log, with `words` after it; `@name` is a file of the folder.
    fn whatif(&self, words: &[&str]) -> Ran {
        let words = words.iter().map(|word| match word.strip_prefix('@') {
            Some(name) => text(&self.path(name)),
            None => (*word).to_owned(),
        });
        let words: Vec<String> = words.collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(&[&["whatif", &text(&self.path("events.ndjson"))], &words[..]].concat(), "")
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}

/// Two Macs of Ann, one at 14.5; Ben's at 14.5 without disk encryption; Cleo's that says little; her phone. Every Mac
/// but Ben's is heard of again later, by an event that says less.
fn log() -> Vec<Value> {
    let full = json!({"managed": true, "registered": true, "disk_encryption_type": "ALL_INTERNAL_VOLUMES",
        "screen_lock_type": "BIOMETRIC", "secure_hardware_present": true, "jailbreak": null});
    let device = |id: &str, platform: &str, version: Value, more: &Value| {
        let mut device = more.clone();
        device["id"] = json!(id);
        device["os_platform"] = json!(platform);
        device["os_version"] = version;
        device
    };
    let mut plain = full.clone();
    plain["disk_encryption_type"] = json!("NONE");
    let unencrypted = device("guoben1", "OSX", json!("14.5.0"), &plain);
    let mut records = vec![
        event(0, "00uann", &device("guoann1", "OSX", json!("14.4.1"), &full)),
        event(1, "00uann", &device("guoann1", "OSX", json!("14.5.0"), &full)),
        event(2, "00uann", &device("guoann2", "OSX", json!("14.6.1"), &full)),
        event(3, "00uben", &unencrypted),
        event(4, "00ucleo", &device("guocleo1", "OSX", Value::Null, &json!({}))),
        event(5, "00ucleo", &device("guocleo2", "IOS", json!("17.5.1"), &json!({"jailbreak": false}))),
        event(6, "00udora", &Value::Null),
    ];
    for (n, id) in ["guoann1", "guoann2", "guocleo1"].iter().enumerate() {
        let person = if n < 2 { "00uann" } else { "00ucleo" };
        records.push(event(10 + n, person, &device(id, "OSX", Value::Null, &json!({}))));
    }
    records
}

fn event(minute: usize, person: &str, device: &Value) -> Value {
    json!({
        "uuid": format!("00000000-0000-4000-8000-{minute:012}"),
        "published": format!("2026-03-02T09:{minute:02}:00.000Z"),
        "eventType": "policy.evaluate_sign_on",
        "outcome": {"result": "ALLOW"},
        "actor": {"id": person, "type": "User"},
        "device": device,
        "target": [{"id": "0oapayroll", "type": "AppInstance", "displayName": "Payroll, \"EU\""}],
    })
}

fn assurance(minimum: &str) -> Value {
    json!({"id": "daemac", "name": "Macs", "platform": "MACOS", "osVersion": {"minimum": minimum},
        "diskEncryptionType": {"include": ["ALL_INTERNAL_VOLUMES"]}})
}

fn policies() -> Value {
    json!({
        "policies": [{"id": "rst1", "type": "ACCESS_POLICY", "name": "Payroll", "status": "ACTIVE"}],
        "rules": {"rst1": [
            {"id": "rul1", "name": "Healthy Macs", "priority": 1, "status": "ACTIVE",
                "conditions": {"device": {"registered": true, "assurance": {"include": ["daemac"]}}},
                "actions": {"appSignOn": {"access": "ALLOW"}}},
            {"id": "rul2", "name": "Catch-all Rule", "priority": 99, "system": true, "status": "ACTIVE",
                "actions": {"appSignOn": {"access": "DENY"}}}]},
        "device_assurances": [assurance("14.0.0")],
    })
}

#[test]
fn a_floor_names_whom_it_would_refuse_and_of_whom_nothing_is_known() {
    let ground = Ground::new();
    let found = ground.whatif(&["--config", "@authwatch.yaml", "--set", "macos.osVersion=14.6.0", "--json"]).json();
    assert_eq!((&found["org"], &found["rejected"]), (&json!("acme"), &json!(1)));
    let seen = &found["seen"];
    assert_eq!(
        json!([seen["devices"], seen["people"], seen["evaluations"], seen["without_device"], seen["policies_known"]]),
        json!([5, 3, 10, 1, false])
    );
    assert_eq!(json!([seen["from"], seen["until"]]), json!(["2026-03-02T09:00:00.000Z", "2026-03-02T09:12:00.000Z"]));
    let all = &found["whatif"]["all"];
    assert_eq!(
        json!([all["devices"], all["pass"], all["refuse"], all["unknown"], all["unknown_share"], all["before"]]),
        json!([4, 1, 2, 1, 0.25, null])
    );
    assert_eq!(json!([all["people"], all["people_refused"], all["people_locked_out"]]), json!([3, 2, 1]));
    assert_eq!(found["whatif"]["checks"], json!([{"check": "os_version", "refuse": 2, "unknown": 1}]));
    assert_eq!(found["whatif"]["changed"][0]["how"], "platform");
    let cohorts = found["whatif"]["by_cohort"].as_array().expect("a list");
    let refused: Vec<_> = cohorts.iter().map(|row| json!([row["key"], row["refuse"], row["unknown"]])).collect();
    assert_eq!(refused, [json!(["", 0, 1]), json!(["pilot", 2, 0])]);
    assert_eq!(json!([found["whatif"]["not_touched"], found["baseline"]]), json!([1, null]));
}

#[test]
fn with_policies_the_newly_refused_are_told_apart_and_the_list_is_csv() {
    let ground = Ground::new();
    fs::write(ground.path("proposed.json"), json!([assurance("14.6.0")]).to_string()).expect("written");
    let words = ["--assurance", "@proposed.json", "--policies", "@policies.json", "--devices", "@out.csv", "--json"];
    let found = ground.whatif(&words).json();
    let before = &found["whatif"]["all"]["before"];
    assert_eq!(
        json!([before["newly_refused"], before["already_refused"], before["people_newly_refused"]]),
        json!([1, 1, 1]),
        "Ann's old Mac passes today; Ben's has no disk encryption"
    );
    assert_eq!(found["whatif"]["changed"], json!([{"assurance": "Macs", "platform": "macos", "how": "replaces"}]));
    let csv = fs::read_to_string(ground.path("out.csv")).expect("a list");
    let expect = [
        "device,person,platform,cohort,os_version,verdict,before,failing,unknown,last_seen",
        "guoann1,00uann,macos,,14.5.0,refuse,pass,os_version,,2026-03-02T09:10:00.000Z",
        "guoben1,00uben,macos,,14.5.0,refuse,refuse,os_version disk_encryption,,2026-03-02T09:03:00.000Z",
        "guocleo1,00ucleo,macos,,,unknown,unknown,,os_version disk_encryption not_registered,\
         2026-03-02T09:12:00.000Z",
        "guoann2,00uann,macos,,14.6.1,pass,pass,,,2026-03-02T09:11:00.000Z",
        "",
    ];
    assert_eq!(csv, expect.join("\r\n"));
}

#[test]
fn without_a_proposal_the_baseline_says_how_tight_a_floor_may_be() {
    let ground = Ground::new();
    let found = ground.whatif(&["--budget", "50%", "--json"]).json();
    let floors = found["baseline"]["floors"].as_array().expect("a list");
    let macos = floors.iter().find(|floor| floor["platform"] == "macos").expect("Macs");
    assert_eq!(json!([macos["budget"], macos["known"], macos["unknown"]]), json!([50.0, 3, 1]));
    assert_eq!(json!([macos["floor"]["version"], macos["floor"]["refused"]]), json!(["14.5.0", 0]));
    assert_eq!(json!([macos["next"]["version"], macos["next"]["refused"]]), json!(["14.6.1", 2]));
    let group = &found["baseline"]["groups"][0];
    let disk = group["checks"].as_array().expect("a list").iter().find(|check| check["check"] == "disk_encryption");
    let disk = disk.expect("asked of Macs");
    assert_eq!(json!([disk["pass"], disk["fail"], disk["unknown"], disk["unknown_share"]]), json!([2, 1, 1, 0.25]));
    assert_eq!(found["whatif"], Value::Null);
}

#[test]
fn the_text_is_for_people() {
    let ground = Ground::new();
    let whatif = ground.whatif(&["--set", "macos.osVersion=14.6.0", "--policies", "@policies.json"]);
    assert_eq!(whatif.code, 0, "{}", whatif.stderr);
    for part in [
        "5 devices of 3 people, seen from 2026-03-02T09:00:00.000Z to 2026-03-02T09:12:00.000Z",
        "1 of 10 policy evaluations (10.0) name no device",
        "proposed: Macs (macos), the policy in force with values set",
        "newly refused",
        "Payroll, \"EU\"",
    ] {
        assert!(whatif.stdout.contains(part), "`{part}` in:\n{}", whatif.stdout);
    }
    let baseline = ground.whatif(&[]);
    for part in ["tightest floor that refuses less than 1 %", "macos: 4 devices of 3 people", "14.6.1", "passcode"] {
        assert!(baseline.stdout.contains(part), "`{part}` in:\n{}", baseline.stdout);
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_to_do() {
    let ground = Ground::new();
    fs::write(ground.path("bad.json"), "{\"name\": \"x\", \"platform\": \"BEOS\"}").expect("written");
    fs::write(ground.path("no.json"), "nothing").expect("written");
    for (words, code, parts) in [
        (&["--set", "macos.osVersoin=14"][..], 2, &["--set", "nearest is `macos.osVersion`"][..]),
        (&["--devices", "@out.csv"], 2, &["--devices", "add --assurance or --set"]),
        (&["--budget", "all"], 2, &["no share of devices"]),
        (&["--assurance", "@bad.json"], 3, &["bad.json", "platform", "MACOS"]),
        (&["--assurance", "@no.json"], 3, &["no.json", "no JSON"]),
        (&["--assurance", "@none.json"], 3, &["none.json"]),
        (&["--policies", "@no.json"], 3, &["no.json", "JSON"]),
        (&["--set", "macos.osVersion=14", "--devices", "@none/out.csv"], 5, &["cannot write", "out.csv"]),
    ] {
        ground.whatif(words).failed(code, parts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_answers_from_what_it_has_committed_as_the_command_does_from_the_file() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground.path("authwatch.yaml")).await;
    daemon.until_status("the log is counted", |status| status["events"] == 10).await;

    let live = daemon.json("/api/v1/whatif").await;
    let offline = ground.whatif(&["--config", "@authwatch.yaml", "--json"]).json();
    assert_eq!(live["orgs"][0]["org"], "acme");
    assert_eq!(live["orgs"][0]["baseline"], offline["baseline"]);
    assert_eq!(live["orgs"][0]["seen"], offline["seen"]);

    let client = reqwest::Client::new();
    let ask = async |question: &Value| {
        let url = format!("http://{}/api/v1/whatif", daemon.address);
        let reply = client.post(url).body(question.to_string()).send().await.expect("a reply");
        let code = reply.status().as_u16();
        let reply: Value = serde_json::from_str(&reply.text().await.expect("a body")).expect("json");
        (code, reply)
    };
    let question = json!({"set": {"macos.osVersion": "14.6.0"}, "devices": true, "org": "acme"});
    let (code, whatif) = ask(&question).await;
    let words = ["--config", "@authwatch.yaml", "--set", "macos.osVersion=14.6.0", "--devices", "@out.csv", "--json"];
    assert_eq!((code, &whatif["orgs"][0]["whatif"]), (200, &ground.whatif(&words).json()["whatif"]));
    let (code, whatif) = ask(&json!({"assurance": assurance("14.6.0")})).await;
    let whatif = &whatif["orgs"][0]["whatif"];
    assert_eq!((code, &whatif["all"]["refuse"], &whatif["devices"]), (200, &json!(2), &json!([])));
    assert_eq!(whatif["devices_left_off"], 4);
    for (question, code, part) in [
        (json!({"set": {"macos.osVersoin": "14"}}), 400, "nearest is `macos.osVersion`"),
        (json!({"set": {"macos.osVersion": 14}}), 400, "must be a text"),
        (json!({"assurance": {"name": "x"}}), 400, "platform"),
        (json!({"budget": 101}), 400, "no share of devices"),
        (json!({"sets": {}}), 400, "unknown field `sets`"),
        (json!({"org": "other"}), 404, "no org `other`"),
    ] {
        let (found, reply) = ask(&question).await;
        let error = reply["error"].as_str().expect("why");
        assert!(found == code && error.contains(part), "{question}: {found} {reply}");
    }
    let (status, _) = daemon.stop().await;
    assert!(status.success(), "a question keeps no daemon from ending");
}

#[test]
fn a_core_with_more_devices_than_it_keeps_counts_them() {
    let (org, source) = (Org::new("acme"), SourceName::new("file:acme"));
    let mut watch = Watch::new();
    let config = OrgConfig { sources: [source.clone()].into(), ..OrgConfig::default() };
    let core = CoreConfig { orgs: [(org.clone(), config)].into(), ..CoreConfig::default() };
    watch.handle(&Input::Configure(Box::new(core)));
    for n in 0..=i64::from(CAPACITY) {
        let event = Box::new(device_event(&org, n));
        watch.handle(&Input::Event { source: source.clone(), event });
    }
    let fleet = watch.fleet(&org).expect("the org");
    assert_eq!((fleet.len(), fleet.counts().evicted), (CAPACITY as usize, 1));
    let view = watch.orgs().next().expect("the org");
    assert_eq!(view.counts().limits.get(&Limit::Devices), Some(&1));
    assert!(watch.fleet(&Org::new("other")).is_none());
}

fn device_event(org: &Org, n: i64) -> AuthEvent {
    let published = Some(Timestamp(1_772_442_000_000 + n));
    let uuid = n.to_string();
    AuthEvent {
        id: EventId::from_uuid(org, &uuid, published, "device.test"),
        org: org.clone(),
        uuid: uuid.into(),
        published,
        event_type: "device.test".into(),
        kind: Kind::Device,
        part: authwatch::event::Part::SignIn,
        credential: Credential::None,
        phishing_resistant: None,
        outcome: Outcome::Success,
        okta_outcome: "SUCCESS".into(),
        reason: Reason::None,
        person: None,
        flow: None,
        app: None,
        rule: None,
        platform: Platform::Macos,
        device: Some(std::sync::Arc::new(DeviceSignals {
            id: Some(format!("guo{n}").into()),
            ..DeviceSignals::default()
        })),
        context: Context::default(),
        change: None,
    }
}
