//! The evaluator against expectations that were written by hand (`tests/posture/README.md`): every check of device
//! assurance policies on device blocks, and the reading of whole flows. A row that differs is named with both sides.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use authwatch::classify::{Reader, Tables};
use authwatch::event::{
    AuthEvent, Check, DeviceSignals, Org, Outcome, Person, Platform, PostureCheck, PostureSource, Reason, Timestamp,
};
use authwatch::input::{Policies, Releases};
use authwatch::policy::parse::{assurance, parse};
use authwatch::policy::{Agreement, Groups, Query, checks, evaluate};
use serde::Deserialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

fn load<T: for<'de> Deserialize<'de>>(file: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/posture").join(file);
    let text = std::fs::read_to_string(&path).expect("a data file");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn classified(record: &Value) -> AuthEvent {
    static TABLES: LazyLock<Arc<Tables>> = LazyLock::new(|| Arc::new(Tables::embedded()));
    let mut found = Vec::new();
    Reader::new(Org::new("acme"), TABLES.clone())
        .read_record(record.to_string().as_bytes(), &mut |event| found.push(event));
    found.into_iter().next().expect("a record").expect("an event")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    #[serde(rename = "platform")]
    _platform: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    #[serde(default, rename = "why")]
    _why: String,
    assurance: Value,
    device: Value,
    #[serde(default)]
    releases: BTreeMap<SmolStr, Vec<SmolStr>>,
    /// Fields of checks that are not compared.
    #[serde(default)]
    loose: BTreeSet<String>,
    /// No source settles the answer.
    #[serde(default, rename = "unsure")]
    _unsure: bool,
    /// The payload's shape was seen in no public event.
    #[serde(default, rename = "unconfirmed")]
    _unconfirmed: bool,
    expect: Vec<Check>,
}

impl Row {
    fn found(&self) -> Vec<Check> {
        let (_, policy) = assurance(&self.assurance).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let event = classified(&json!({"eventType": "policy.evaluate_sign_on", "device": self.device}));
        let device = event.device.as_deref().cloned().unwrap_or_default();
        checks(&policy, &device, &Releases(self.releases.clone()))
    }

    /// Checks as lines, without what is not compared.
    fn lines(&self, checks: &[Check]) -> Vec<String> {
        let shown =
            |field: &str, text: &str| if self.loose.contains(field) { "…".to_owned() } else { text.to_owned() };
        let line = |check: &Check| {
            format!(
                "{} {} [{}] {} {}",
                shown("check", check.check.as_str()),
                shown("detail", &check.detail),
                shown("required", &check.required),
                shown("actual", check.actual.as_deref().unwrap_or("-")),
                shown("result", check.result.as_str()),
            )
        };
        checks.iter().map(line).collect()
    }
}

#[test]
fn every_check_of_a_device_assurance_policy_is_as_written_by_hand() {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for platform in ["android", "chromeos", "ios", "macos", "windows"] {
        let sheet: Sheet = load(&format!("assurance/{platform}.json"));
        for row in &sheet.rows {
            rows += 1;
            let (found, expect) = (row.lines(&row.found()), row.lines(&row.expect));
            if found != expect {
                wrong.push(format!("{platform}: {}\n  expected {expect:#?}\n  found {found:#?}", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {rows} rows differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(rows > 300, "only {rows} rows");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flows {
    documents: BTreeMap<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default, rename = "why")]
    _why: String,
    policies: Option<Value>,
    groups: Option<BTreeMap<SmolStr, BTreeSet<Person>>>,
    events: Vec<Value>,
    #[serde(default)]
    loose: BTreeSet<String>,
    #[serde(default, rename = "unsure")]
    _unsure: bool,
    #[serde(default, rename = "unconfirmed")]
    _unconfirmed: bool,
    expect: Reading,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    source: PostureSource,
    reason: Reason,
    fail: BTreeSet<PostureCheck>,
    unknown: BTreeSet<PostureCheck>,
    agreement: Agreement,
}

impl Case {
    fn policies(&self, documents: &BTreeMap<String, Value>) -> Option<Policies> {
        let document = match self.policies.as_ref()? {
            Value::String(name) => documents.get(name).unwrap_or_else(|| panic!("no document {name}")),
            document => document,
        };
        Some(parse(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", self.name)))
    }

    fn groups(&self) -> Groups {
        let mut groups = Groups::default();
        for (group, people) in self.groups.iter().flatten() {
            groups.list(group, people);
        }
        groups
    }

    /// The judged event, and the flow's device: its own, else that of another event of the flow.
    fn flow(&self) -> (AuthEvent, Option<(Platform, DeviceSignals)>) {
        let mut judged = None;
        let mut others = Vec::new();
        for record in &self.events {
            let is_judged = record.get("judged").is_some();
            let event = classified(record.get("event").unwrap_or(record));
            if is_judged || self.events.len() == 1 { judged = Some(event) } else { others.push(event) }
        }
        let judged = judged.unwrap_or_else(|| panic!("{}: no event is judged", self.name));
        let of = |event: &AuthEvent| event.device.as_deref().map(|device| (event.platform, device.clone()));
        let same = |event: &&AuthEvent| event.flow == judged.flow && judged.flow.is_some();
        let device = of(&judged).or_else(|| others.iter().filter(same).find_map(of));
        (judged, device)
    }

    fn found(&self, documents: &BTreeMap<String, Value>) -> Reading {
        let policies = self.policies(documents);
        let groups = self.groups();
        let (event, device) = self.flow();
        let granted = event.outcome != Outcome::Deny;
        let evaluation = evaluate(
            policies.as_ref(),
            &Query {
                at: event.published.unwrap_or(Timestamp(0)),
                person: event.person.as_ref(),
                groups: &groups,
                platform: device.as_ref().map_or(event.platform, |(platform, _)| *platform),
                device: device.as_ref().map(|(_, device)| device),
                rule: event.rule.as_ref(),
                risk: event.context.risk,
                granted,
                phishing_resistant: event.phishing_resistant,
                releases: None,
            },
        );
        Reading {
            source: evaluation.source,
            reason: evaluation.reason.unwrap_or(event.reason),
            fail: evaluation.failing().into_iter().collect(),
            unknown: evaluation.unknown().into_iter().collect(),
            agreement: evaluation.agreement,
        }
    }
}

#[test]
fn every_flow_is_read_as_written_by_hand() {
    let flows: Flows = load("events.json");
    let mut wrong = Vec::new();
    for case in &flows.cases {
        let mut found = case.found(&flows.documents);
        for field in &case.loose {
            match field.as_str() {
                "source" => found.source = case.expect.source,
                "reason" => found.reason = case.expect.reason,
                "fail" => found.fail.clone_from(&case.expect.fail),
                "unknown" => found.unknown.clone_from(&case.expect.unknown),
                "agreement" => found.agreement = case.expect.agreement,
                other => panic!("{}: no field {other}", case.name),
            }
        }
        if found != case.expect {
            wrong.push(format!("{}\n  expected {:?}\n  found    {found:?}", case.name, case.expect));
        }
    }
    assert!(wrong.is_empty(), "{} of {} flows differ:\n{}", wrong.len(), flows.cases.len(), wrong.join("\n"));
    assert!(flows.cases.len() > 50, "only {} flows", flows.cases.len());
}
