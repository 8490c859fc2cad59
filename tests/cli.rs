//! The offline commands as a script meets them: documents on stdout, exit codes, and the same result by every way in.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail as tests do")]

#[expect(dead_code, reason = "no daemon runs on here")]
#[path = "daemon/process.rs"]
mod process;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use authwatch::event::Span;
use authwatch::sim::{Handles, Scenario};
use authwatch::store::{JournalFile, Store};
use process::{Home, Ran, number, push_at, run, world};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two simulated days of different seeds, made once.
struct Days {
    dir: TempDir,
}

static DAYS: LazyLock<Days> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, seed) in [("a", "1"), ("b", "2")] {
        simulate(seed, &dir.path().join(name));
    }
    Days { dir }
});

impl Days {
    fn events(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).join("events.ndjson")
    }

    fn truth(&self, name: &str) -> Value {
        let text = fs::read(self.dir.path().join(name).join("truth.json")).expect("a truth");
        serde_json::from_slice(&text).expect("json")
    }
}

fn simulate(seed: &str, out: &Path) {
    let words = ["simulate", "--scenario", "rollback", "--seats", "120", "--bad", "0.01", "--seed", seed, "--out"];
    let ran = run(&[&words[..], &[path(out)]].concat(), "");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn replay(file: &Path) -> Value {
    run(&["replay", path(file), "--json"], "").json()
}

fn without_wall_ms(mut report: Value) -> Value {
    assert!(report.as_object_mut().expect("an object").remove("wall_ms").is_some_and(|ms| ms.is_u64()));
    report
}

#[test]
fn the_same_seed_gives_the_same_files_and_another_seed_does_not() {
    let again = DAYS.dir.path().join("again");
    simulate("1", &again);
    for file in ["events.ndjson", "policies.json", "truth.json"] {
        let read = |name: &str| fs::read(DAYS.dir.path().join(name).join(file)).expect("written");
        assert!(read("a") == read("again"), "{file}");
        assert!(read("a") != read("b"), "{file}");
    }
}

#[test]
fn a_replay_counts_every_record_and_has_the_fields_of_the_contract() {
    let truth = DAYS.truth("a");
    let report = replay(&DAYS.events("a"));
    let keys: BTreeSet<&str> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    let contract = [
        "events",
        "rejected",
        "duplicates",
        "late",
        "attempts",
        "counts",
        "incidents",
        "adoption",
        "wall_ms",
        "inputs_missing",
        "digest",
    ];
    assert_eq!(keys, contract.into());
    let rejected: u64 = report["rejected"].as_object().expect("an object").values().map(number).sum();
    assert_eq!(
        json!([report["events"], report["duplicates"], rejected]),
        json!([truth["events"], truth["duplicates"], truth["bad"]])
    );
    let lines = fs::read_to_string(DAYS.events("a")).expect("events").lines().count() as u64;
    assert_eq!(number(&report["events"]) + number(&report["duplicates"]) + rejected, lines);
    assert!(rejected > 0 && number(&report["duplicates"]) > 0);
    let counts = report["counts"].as_array().expect("a list");
    assert_eq!(counts.iter().map(|row| number(&row["n"])).sum::<u64>(), number(&report["events"]));
    for row in counts {
        let keys: BTreeSet<&str> = row.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["kind", "credential", "outcome", "reason", "n"].into());
    }
    assert_eq!(report["attempts"]["denied"], truth["attempts"]["denied"]);
    assert_eq!(report["attempts"]["success"], truth["attempts"]["success"]);
    let missing = ["progress", "policy_snapshot", "cohort_membership", "change_marker", "silence"];
    assert_eq!(report["inputs_missing"], json!(missing));

    let incidents = report["incidents"].as_array().expect("a list");
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
    let keys: BTreeSet<&str> = incidents[0].as_object().expect("an object").keys().map(String::as_str).collect();
    let contract = [
        "key",
        "rule",
        "severity",
        "onset",
        "opened_at",
        "resolved_at",
        "title",
        "people",
        "series",
        "checks",
        "notified",
        "suspects",
        "evidence",
    ];
    assert_eq!(keys, [&contract[..], &["org"]].concat().into_iter().collect());
}

#[test]
fn every_way_in_gives_the_same_report() {
    let text = fs::read(DAYS.events("a")).expect("events");
    let expect = without_wall_ms(replay(&DAYS.events("a")));
    assert_eq!(without_wall_ms(replay(&DAYS.events("a"))), expect, "twice");
    let dir = tempfile::tempdir().expect("a folder");
    let (gzip, zstd, array) = (dir.path().join("a.gz"), dir.path().join("a.zst"), dir.path().join("a.json"));
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(&gzip).expect("a file"), flate2::Compression::fast());
    encoder.write_all(&text).and_then(|()| encoder.finish().map(drop)).expect("written");
    fs::write(&zstd, zstd::encode_all(text.as_slice(), 1).expect("packed")).expect("written");
    for file in [&gzip, &zstd] {
        assert_eq!(without_wall_ms(replay(file)), expect, "{}", file.display());
    }
    let text = String::from_utf8(text).expect("utf-8");
    let stdin = run(&["replay", "-", "--json"], &text).json();
    assert_eq!(without_wall_ms(stdin), expect, "stdin");
    // In an array every element must be JSON at least.
    let whole: Vec<&str> = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).collect();
    let lines = dir.path().join("whole.ndjson");
    fs::write(&lines, whole.join("\n")).expect("written");
    fs::write(&array, format!("[{}]", whole.join(",\n"))).expect("written");
    assert_eq!(without_wall_ms(replay(&array)), without_wall_ms(replay(&lines)), "array");
}

#[test]
fn reports_are_compared_and_expectations_checked_by_exit_code() {
    let dir = tempfile::tempdir().expect("a folder");
    let events = DAYS.events("a");
    let (own, other) = (dir.path().join("own.json"), dir.path().join("other.json"));
    let first = replay(&events);
    fs::write(&own, first.to_string()).expect("written");
    fs::write(&other, replay(&DAYS.events("b")).to_string()).expect("written");
    let flagged = |flag: &str, file: &Path| run(&["replay", path(&events), "--json", flag, path(file)], "");
    let same = flagged("--compare", &own);
    assert_eq!((same.code, same.stderr.as_str()), (0, ""));
    let differs = flagged("--compare", &other);
    assert_eq!(differs.code, 1);
    assert!(differs.stderr.contains("differs: .digest: "), "{}", differs.stderr);
    assert_eq!(
        without_wall_ms(serde_json::from_str(&differs.stdout).expect("a document")),
        without_wall_ms(first.clone())
    );

    let expectation = dir.path().join("expect.json");
    for (expected, code) in [
        (json!({"events": first["events"], "incidents": [{"rule": "deny_spike"}]}), 0),
        (json!({"events": number(&first["events"]) + 1}), 1),
        (json!({"incidents": []}), 1),
    ] {
        fs::write(&expectation, expected.to_string()).expect("written");
        let ran = flagged("--expect", &expectation);
        assert_eq!(ran.code, code, "{expected}: {}", ran.stderr);
    }
    flagged("--expect", &dir.path().join("none.json")).failed(5, &["none.json"]);
    fs::write(&expectation, "{").expect("written");
    flagged("--compare", &expectation).failed(5, &["expect.json", "no JSON"]);
}

#[test]
fn explain_says_one_line_for_each_record_in_order() {
    let text = fs::read_to_string(DAYS.events("a")).expect("events");
    let records: Vec<&str> = text.lines().take(2_000).collect();
    let ran = run(&["explain", "-", "--json"], &records.join("\n"));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    assert_eq!(lines.len(), records.len());
    let mut rejects = 0;
    for (record, line) in records.iter().zip(&lines) {
        if line["reject"].is_null() {
            let event: Value = serde_json::from_str(record).expect("json");
            assert_eq!([&line["uuid"], &line["event_type"]], [&event["uuid"], &event["eventType"]]);
        } else {
            rejects += 1;
            assert!(line["uuid"].is_null() && line["kind"].is_null(), "{line}");
        }
    }
    assert!(rejects > 0, "the log has records that are no event");
    let keys: BTreeSet<&str> = lines[0].as_object().expect("an object").keys().map(String::as_str).collect();
    let contract = [
        "uuid",
        "org",
        "published",
        "event_type",
        "kind",
        "credential",
        "phishing_resistant",
        "outcome",
        "okta_outcome",
        "reason",
        "posture",
        "platform",
        "app",
        "rule",
        "attempt",
        "reject",
    ];
    assert_eq!(keys, contract.into());

    let file = DAYS.dir.path().join("head.ndjson");
    fs::write(&file, records.join("\n")).expect("written");
    assert_eq!(run(&["explain", path(&file), "--json"], "").stdout, ran.stdout);
    let people = run(&["explain", path(&file)], "");
    let sentences = people.stdout.lines().filter(|line| !line.starts_with(' ')).count();
    assert_eq!((people.code, sentences), (0, records.len()));
}

#[test]
fn explain_and_whatif_compare_with_the_policies_of_the_configuration() {
    let folder = DAYS.dir.path().join("a");
    let config = folder.join("authwatch.yaml");
    let text = "org: acme\nsources:\n  - file: { paths: [events.ndjson] }\npolicies: { file: policies.json }\n";
    fs::write(&config, text).expect("written");
    let events = DAYS.events("a");
    let with = |words: &[&str]| run(&[words, &[path(&events), "--config", path(&config)]].concat(), "");
    let explained = with(&["explain", "--json"]);
    assert_eq!(explained.code, 0, "{}", explained.stderr);
    let lines = explained.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("json"));
    let by_version = lines
        .filter(|line| line["reason"] == "device_posture" && line["posture"]["fail"] == json!(["os_version"]))
        .inspect(|line| assert_eq!(line["posture"]["source"], "derived", "{line}"))
        .count() as u64;
    // Staff whose pilot group is not known are told apart by elimination, so nearly all of the push's refusals have a reason.
    let refused = number(&DAYS.truth("a")["denied_by_check"]["os_version"]);
    assert!(refused >= 20 && by_version * 10 >= refused * 8, "{by_version} of {refused}");
    let people = with(&["explain"]).stdout;
    assert!(people.contains("matched rule: Catch-all Rule; the rule that would have granted: "), "no rule is named");
    assert!(people.contains("os_version (minimum)"), "no table is shown");

    let compared = with(&["whatif", "--json", "--set", "macos.osVersion=99.0.0"]).json();
    assert_eq!(compared["seen"]["policies_known"], true, "{}", compared["seen"]);
    let macs = &compared["whatif"]["all"];
    assert!(number(&macs["refuse"]) > 0 && number(&macs["before"]["newly_refused"]) > 0, "{macs}");
    let alone = run(&["whatif", "--json", path(&events)], "").json();
    assert_eq!(alone["seen"]["policies_known"], false);
}

#[test]
fn explain_redact_writes_records_that_mean_the_same_and_tell_of_nobody() {
    let text = fs::read_to_string(DAYS.events("a")).expect("events");
    let records: Vec<&str> = text.lines().take(2_000).chain(["{\"uuid\":", "no JSON"]).collect();
    let is_json = |record: &&&str| serde_json::from_str::<Value>(record).is_ok();
    let kept: Vec<&str> = records.iter().filter(is_json).copied().collect();
    let left_out = records.len() - kept.len();
    assert!(left_out >= 2, "{left_out}");
    let ran = run(&["explain", "--redact", "-"], &records.join("\n"));
    let said = format!("left out: {left_out} records that are no JSON, or longer than 1 MiB\n");
    assert_eq!((ran.code, &ran.stderr), (0, &said));
    assert_eq!(run(&["explain", "--redact", "--json", "-"], &kept[0..1].join("\n")).stdout.lines().count(), 1);

    let explained = |records: &str| -> Vec<Value> {
        let lines = run(&["explain", "-", "--json"], records).stdout;
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("json"));
        let parts =
            ["kind", "credential", "phishing_resistant", "outcome", "reason", "platform", "published", "reject"];
        lines.map(|line| parts.iter().map(|part| line[*part].clone()).collect()).collect()
    };
    assert_eq!(explained(&ran.stdout), explained(&kept.join("\n")));
    let secrets: BTreeSet<String> = kept
        .iter()
        .filter_map(|record| serde_json::from_str::<Value>(record).ok())
        .flat_map(|event| {
            let [actor, client] = [&event["actor"], &event["client"]];
            [&event["uuid"], &actor["id"], &actor["alternateId"], &actor["displayName"], &client["ipAddress"]]
                .map(|secret| secret.as_str().unwrap_or_default().to_owned())
        })
        // What says nothing, and addresses out of the ranges that stand-ins come from.
        .filter(|secret| secret.len() > 8 && secret.parse::<std::net::IpAddr>().is_err())
        .collect();
    assert!(secrets.len() > 100);
    let survivor = secrets.iter().find(|secret| ran.stdout.contains(&format!("\"{secret}\"")));
    assert_eq!(survivor, None);
}

#[test]
fn what_cannot_run_says_so_with_the_code_for_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let bad = dir.path().join("bad.yaml");
    fs::write(&bad, "org: acme\nlisen: x\n").expect("written");
    let (bad, nowhere) = (path(&bad), "/nowhere/events.ndjson");
    let events = DAYS.events("a");
    let events = path(&events);
    for (words, code, part) in [
        (&["replay"][..], 2, "<FILE>"),
        (&["explain"], 2, "<FILE>"),
        (&["state"], 2, "Usage"),
        (&["state", "reset", "--config", bad], 2, "--yes"),
        (&["simulate", "--days", "1"], 2, "--out"),
        (&["demo", "--scenario", "worst"], 2, "no scenario is called `worst`"),
        (&["replay", events, "--config", bad], 3, "bad.yaml:2:1: unknown key `lisen`"),
        (&["explain", events, "--config", bad], 3, "bad.yaml:2:1"),
        (&["state", "show", "--config", bad], 3, "bad.yaml:2:1"),
        (&["validate", "--config", bad], 3, "bad.yaml:2:1"),
        (&["run", "--config", "/nowhere/a.yaml"], 3, "/nowhere/a.yaml"),
        (&["replay", nowhere], 5, nowhere),
        (&["explain", nowhere], 5, nowhere),
        (&["simulate", "--seats", "4", "--out", "/proc/none"], 5, "/proc/none"),
    ] {
        run(words, "").failed(code, &[part]);
    }
}

#[test]
fn validate_refuses_what_run_would_refuse() {
    let home = Home::at("http://127.0.0.1:1", "http://127.0.0.1:1", "");
    let ran = home.run(&["validate"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    for (from, to, part) in [
        ("url: http://127.0.0.1:1\n      auth", "url: http://acme.okta.com\n      auth", "authwatch.yaml:7:12: "),
        ("poll_interval: 100ms", "poll_interval: 99ms", "authwatch.yaml:10:22: "),
        ("sinks:", "sinks_:", "did you mean `sinks`?"),
        ("sinks:", "rules: nowhere\nsinks:", "nowhere/classify"),
    ] {
        let text = home.usual("").replace(from, to);
        assert_ne!(text, home.usual(""), "{from}");
        home.configure(&text);
        for command in ["validate", "run"] {
            home.run(&[command]).failed(3, &[part]);
        }
    }
    assert!(!home.state().exists());
}

/// A state with an open incident and its ticket.
async fn incident_state() -> (Handles, Home) {
    let world = world(Scenario::BadPushEveryone, 400, push_at() + Span::minutes(40)).await;
    let home = Home::of(&world, "");
    let ran = home.run(&["run", "--once"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    (world, home)
}

fn show(home: &Home) -> Value {
    home.run(&["state", "show", "--json"]).json()
}

fn moved(home: &Home, what: &str, file: &Path) -> Ran {
    home.run(&["state", what, path(file)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_replays_to_the_digest_of_the_run_that_wrote_it() {
    let (world, home) = incident_state().await;
    // A second run, so that the journal has a restart in it.
    world.clock.advance(Span::minutes(20));
    assert_eq!(home.run(&["run", "--once"]).code, 0);
    let shown = show(&home);
    let export = home.dir.path().join("journal");
    assert_eq!(moved(&home, "export", &export).code, 0);
    let report = replay(&export);
    assert_eq!(report["digest"], shown["digest"]);
    for key in ["events", "duplicates", "late", "rejected"] {
        assert_eq!(report[key], shown[key], "{key}");
    }
    assert_eq!(report["inputs_missing"], json!([]));
    assert_eq!(report["incidents"].as_array().map(Vec::len), Some(1));
    // The digest is of the actions: where there were none, it is another one.
    let quiet = DAYS.dir.path().join("quiet.ndjson");
    fs::write(&quiet, "").expect("written");
    assert_ne!(replay(&quiet)["digest"], shown["digest"]);

    let mut bytes = fs::read(&export).expect("an export");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&export, bytes).expect("written");
    run(&["replay", path(&export)], "").failed(5, &["is damaged"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_moves_whole_and_is_reset_only_on_purpose() {
    let (world, home) = incident_state().await;
    let mut shown = show(&home);
    assert_eq!(shown["incidents_open"], 1);
    let export = home.dir.path().join("export");
    assert_eq!(moved(&home, "export", &export).code, 0);
    moved(&home, "import", &export).failed(5, &["already holds a state"]);

    let other = Home::of(&world, "");
    other.run(&["state", "show"]).failed(5, &["there is no state in"]);
    assert!(!other.state().exists(), "looking begins nothing");
    assert_eq!(moved(&other, "import", &export).code, 0);
    let mut there = show(&other);
    for document in [&mut shown, &mut there] {
        document.as_object_mut().expect("an object").remove("file");
    }
    assert_eq!(there, shown);
    // It goes on where the first one stopped, and knows its ticket.
    world.clock.advance(Span::minutes(10));
    assert_eq!(other.run(&["run", "--once"]).code, 0);
    let on = show(&other);
    assert_eq!(process::records(&on), world.okta.committed().expect("a log") as u64);
    assert_eq!(world.servicenow.created().len(), 1);

    home.run(&["state", "reset"]).failed(2, &["--yes"]);
    assert_eq!(show(&home)["events"], shown["events"]);
    assert_eq!(home.run(&["state", "reset", "--yes"]).code, 0);
    home.run(&["state", "show"]).failed(5, &["there is no state in"]);
    let no_export = home.config();
    moved(&home, "import", &no_export).failed(5, &["is no authwatch state export"]);
    let text = other.run(&["state", "show"]);
    assert!(text.stdout.contains("open         1 incidents"), "{}", text.stdout);
}

/// Every unpacked value of the state that could name a person.
fn stored(home: &Home) -> Vec<u8> {
    let export = home.dir.path().join("looked-into");
    assert_eq!(moved(home, "export", &export).code, 0);
    let mut journal = JournalFile::open(&export).expect("an export");
    let mut bytes = journal.base.take().unwrap_or_default();
    for inputs in journal {
        bytes.extend(format!("{:?}", inputs.expect("inputs")).into_bytes());
    }
    let store = Store::open(&home.state()).expect("a state");
    bytes.extend(store.recover().expect("recovered").snapshot.map(|(_, snapshot)| snapshot).unwrap_or_default());
    drop(store);
    bytes.extend(fs::read(home.state().join("state.redb")).expect("a file"));
    bytes
}

fn holds(bytes: &[u8], id: &str) -> bool {
    bytes.windows(id.len()).any(|window| window == id.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_person_is_nowhere_and_the_numbers_stay() {
    let (world, home) = incident_state().await;
    let refused = world.okta.truth().pushes[0].people_refused.clone();
    // The one refused last is in the newest snapshot by name, for the attempt has not come to rest.
    let (gone, stays) = (refused.last().expect("people"), refused.first().expect("people"));
    home.configure(&home.usual(&format!("cohorts: {{ pilot: {{ users: [{gone}] }} }}\n")));
    assert_eq!(home.run(&["run", "--once"]).code, 0);
    let before = stored(&home);
    assert!(holds(&before, gone) && holds(&before, stays));
    let shown = show(&home);

    let ran = home.run(&["state", "forget", gone]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("the configuration still names this person"), "{}", ran.stderr);
    home.configure(&home.usual(""));
    let ran = home.run(&["state", "forget", gone]);
    assert_eq!((ran.code, ran.stderr.contains("warning")), (0, false), "{}", ran.stderr);
    assert!(!holds(&stored(&home), gone));
    for file in fs::read_dir(home.state()).expect("a folder") {
        let file = file.expect("an entry").path();
        assert!(!holds(&fs::read(&file).expect("a file"), gone), "{}", file.display());
    }
    let after = show(&home);
    for key in ["events", "duplicates", "late", "rejected", "digest", "incidents_open", "sinks"] {
        assert_eq!(after[key], shown[key], "{key}");
    }
    // The next run goes on and reads nothing twice.
    world.clock.advance(Span::minutes(10));
    assert_eq!(home.run(&["run", "--once"]).code, 0);
    let on = show(&home);
    assert_eq!(process::records(&on), world.okta.committed().expect("a log") as u64);
    assert_eq!(world.servicenow.created().len(), 1);
}
