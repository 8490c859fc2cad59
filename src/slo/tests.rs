//! The loader: what is read, and every refusal with its place.

use super::*;
use crate::event::Credential;
use crate::input::{Endings, Indicator};

const GOOD: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata:
  name: logins
  annotations:
    authwatch.io/triage: look
    authwatch.io/false-positives: none known
spec:
  description: x
  service: okta
  indicatorRef: ok
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: ok}
spec:
  ratioMetric:
    counter: true
    bad: {metricSource: {type: authwatch, spec: {of: attempts, verdicts: [denied, failed]}}}
    total: {metricSource: {type: authwatch, spec: {of: attempts, credentials: [fastpass]}}}
"#;

fn read_one(text: &str) -> Result<Vec<Slo>, String> {
    read(&[("a.yaml".to_owned(), text.to_owned())]).map_err(|error| error.to_string())
}

/// Replaces `what` of the good document by `with`.
#[track_caller]
fn fails(what: &str, with: &str, expect: &str) {
    assert!(GOOD.contains(what), "{what}");
    let error = read_one(&GOOD.replace(what, with)).expect_err(with);
    assert!(error.starts_with(expect), "{with}\nfound:    {error}\nexpected: {expect}");
}

#[test]
fn what_is_shipped_is_valid_and_is_what_the_page_tells() {
    let slos = embedded();
    let page = include_str!("../../docs/slo.md");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/slo");
    let files = std::fs::read_dir(folder).expect("a folder").count();
    assert_eq!(files, EMBEDDED.len(), "every file of {folder} is inside the binary");
    for slo in &slos {
        assert!(page.contains(&format!("### `{}`", slo.name)), "docs/slo.md lacks `{}`", slo.name);
        assert!(page.contains(&format!("{} %", (slo.target * 1e4).round() / 1e2)), "docs/slo.md: {}", slo.name);
        assert!(slo.alerts == Alerts::None || slo.triage.len() > 40 && slo.false_positives.len() > 40, "{}", slo.name);
        assert!(burn::unreachable(slo.target, slo.period(), slo.alerts).is_none(), "{}", slo.name);
    }
    let names: Vec<&str> = slos.iter().map(|slo| slo.name.as_str()).collect();
    assert_eq!(
        names,
        ["fastpass-success", "sign-in-duration", "sign-in-events", "sign-in-success", "source-freshness"]
    );
}

#[test]
fn a_good_document_is_read() {
    let slos = read_one(GOOD).expect("good");
    let [slo] = slos.as_slice() else { panic!("{slos:?}") };
    assert_eq!((slo.name.as_str(), slo.target, slo.days, slo.alerts), ("logins", 0.99, 28, Alerts::Page));
    assert_eq!((slo.min_bad, slo.triage.as_str()), (MIN_BAD, "look"));
    let Indicator::Attempts { scope, bad } = &slo.indicator else { panic!("{:?}", slo.indicator) };
    assert_eq!(*bad, Endings { denied: true, failed: true, abandoned: false });
    assert_eq!(scope.credentials, [Credential::Fastpass]);
    let percent = read_one(&GOOD.replace("target: 0.99", "targetPercent: 99.5")).expect("good");
    assert!((percent[0].target - 0.995).abs() < 1e-12);
    assert_eq!(read_one("").expect("empty"), []);
    assert_eq!(read_one("# nothing\n---\n---\n").expect("empty"), []);
}

#[test]
fn thresholds_are_durations_and_lags() {
    let ratio = &GOOD[GOOD.find("  ratioMetric").expect("there")..];
    for (of, seconds, expect) in [
        ("duration", 30.0, Indicator::Duration { scope: Default::default(), within: Span::seconds(30) }),
        ("lag", 0.5, Indicator::Lag { within: Span(500) }),
    ] {
        let metric = format!("  thresholdMetric: {{metricSource: {{type: authwatch, spec: {{of: {of}}}}}}}\n");
        let objective = format!("{{op: lte, value: {seconds}, target: 0.99}}");
        let text = GOOD.replace(ratio, &metric).replace("{target: 0.99}", &objective);
        assert_eq!(read_one(&text).expect("good")[0].indicator, expect);
    }
}

#[test]
fn every_refusal_names_its_place_and_what_to_do() {
    fails("kind: SLO", "kind: SLOO", "a.yaml:2:7: unknown kind (expected one of `SLO`, `SLI`, `Service`)");
    fails("kind: SLO", "kind: AlertPolicy", "a.yaml:2:7: `AlertPolicy` is not supported: the four pairs");
    fails("kind: SLO", "kind: DataSource", "a.yaml:2:7: `DataSource` is not supported: authwatch measures itself");
    fails("kind: SLO\n", "", "a.yaml:1:1: missing key `kind`");
    fails("openslo/v1\nkind: SLI", "openslo/v2\nkind: SLI", "a.yaml:16:13: only `openslo/v1` is supported");
    fails("name: logins", "name: Logins", "a.yaml:4:9: a name has 1 to 63");
    fails(
        "authwatch.io/triage",
        "authwatch.io/triag",
        "a.yaml:6:25: unknown key `authwatch.io/triag` (did you mean `authwatch.io/triage`?)",
    );
    fails(
        "    authwatch.io/triage: look\n",
        "",
        "a.yaml:6:5: an SLO that alerts needs the annotation `authwatch.io/triage`",
    );
    fails(
        "authwatch.io/triage: look",
        "authwatch.io/alerts: loud",
        "a.yaml:6:26: unknown word (expected one of `page`",
    );
    fails("triage: look", "min-bad-events: \"0\"", "a.yaml:6:34: expected a whole number from 1");
    fails("indicatorRef: ok", "indicatorRef: other", "a.yaml:11:17: there is no SLI called `other`");
    fails("  indicatorRef: ok\n", "", "a.yaml:9:3: one of `indicator` and `indicatorRef` is needed");
    fails("28d, isRolling: true", "28d", "a.yaml:12:15: only rolling windows are supported");
    fails("duration: 28d", "duration: 7d", "a.yaml:12:15: the period must be `28d` or `30d`");
    fails("duration: 28d", "duration: 1M", "a.yaml:12:15: duration `1M` has an unknown unit");
    fails("Occurrences", "Timeslices", "a.yaml:13:20: only `Occurrences` is supported");
    fails("[{target: 0.99}]", "[{target: 0.99}, {target: 0.9}]", "a.yaml:14:15: exactly one objective is supported");
    fails("target: 0.99", "target: 1", "a.yaml:14:25: a target is above 0 and below 1");
    fails("{target: 0.99}", "{}", "a.yaml:14:16: one of `target` and `targetPercent` is needed");
    fails("target: 0.99", "target: 0.99, op: lte", "a.yaml:14:16: `op` and `value` belong to a `thresholdMetric`");
    fails("objectives", "alertPolicies: [x]\n  objectives", "a.yaml:14:18: `alertPolicies` is not supported");
    fails(
        "type: authwatch, spec: {of: attempts, v",
        "type: Prometheus, spec: {of: attempts, v",
        "a.yaml:22:25: only `type: authwatch`",
    );
    fails("of: attempts, verdicts", "of: events, verdicts", "a.yaml:22:49: `bad` and `total` must be of the same");
    fails(", verdicts: [denied, failed]", "", "a.yaml:22:49: `verdicts` is needed");
    fails("[denied, failed]", "[denied, faild]", "a.yaml:22:83: unknown word `faild` (did you mean `failed`?)");
    fails(
        "credentials: [fastpass]",
        "credential: [fastpass]",
        "a.yaml:23:66: unknown key `credential` (did you mean `credentials`?)",
    );
    fails("bad:", "good:", "a.yaml:22:11: `good` is not supported");
}

#[test]
fn a_target_out_of_reach_is_refused_with_the_pair_and_the_way_out() {
    let text = "a.yaml:14:16: at a target of 90 % nothing burns faster than 10.0, so the pair of 1h and 5m, which fires above \
                13.4400, never would (raise the target above 92.56 %, or set `authwatch.io/alerts` to `ticket`)";
    fails("target: 0.99", "target: 0.9", text);
    let quiet = GOOD
        .replace("target: 0.99", "target: 0.9")
        .replace("authwatch.io/triage", "authwatch.io/alerts: ticket\n    authwatch.io/triage");
    assert_eq!(read_one(&quiet).expect("good")[0].alerts, Alerts::Ticket);
}

#[test]
fn names_are_unique_and_the_number_is_bounded() {
    let twice = [GOOD, GOOD].map(|text| ("a.yaml".to_owned(), text.to_owned()));
    let error = read(&twice).expect_err("twice").to_string();
    assert!(error.contains("there is another SLO called `logins`"), "{error}");
    let (slo, sli) = GOOD.split_once("---\n").expect("two");
    let many: Vec<String> = (0..=MOST).map(|n| slo.replace("logins", &format!("slo-{n}"))).collect();
    let error = read_one(&format!("{}---\n{sli}", many.join("---\n"))).expect_err("too many");
    assert!(error.ends_with("more than 50 SLOs"), "{error}");
}
