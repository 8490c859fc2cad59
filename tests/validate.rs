//! `authwatch validate` as a script meets it: exit codes, what goes to stdout and what to stderr.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
    /// The configuration's path.
    path: String,
}

fn validate(yaml: &str, flags: &[&str], environment: &[(&str, &str)]) -> Ran {
    let folder = tempfile::tempdir().expect("folder");
    let path: PathBuf = folder.path().join("a.yaml");
    std::fs::write(&path, yaml).expect("write");
    let output = Command::new(env!("CARGO_BIN_EXE_authwatch"))
        .args(["validate", "--config"])
        .arg(&path)
        .args(flags)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the binary runs");
    Ran {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8(output.stdout).expect("utf-8"),
        stderr: String::from_utf8(output.stderr).expect("utf-8"),
        path: path.display().to_string(),
    }
}

/// Valid, and what it needs is there.
const OKTA: &str = "sources: [{ okta: { url: \"https://acme.okta.com\", auth: { ssws: { env: TOKEN } } } }]\n";

#[test]
fn a_valid_file_is_summed_up_on_stdout_and_warned_of_on_stderr() {
    let yaml = format!(
        "org: acme\n{OKTA}sinks:\n  - elastic: {{}}\n  - servicenow:\n      name: tickets\n      url: \"https://acme.service-now.com\"\n      \
         auth: {{ basic: {{ user: {{ env: SN_USER }}, password: {{ file: sn-password }} }} }}\n"
    );
    let ran = validate(&yaml, &[], &[("AUTHWATCH_LATENESS", "30s"), ("TOKEN", "canary"), ("SN_USER", "canary")]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with(&format!("{}: valid\norg          acme\n", ran.path)), "{}", ran.stdout);
    for line in ["rules        inside the binary", "sources      okta:acme", "sinks        tickets"] {
        assert!(ran.stdout.lines().any(|found| found == line), "{line}: {}", ran.stdout);
    }
    let warnings: Vec<&str> = ran.stderr.lines().collect();
    let [elastic, password] = warnings.as_slice() else { panic!("two warnings: {warnings:?}") };
    assert_eq!(*elastic, format!("warning: {}:4:5: the sink `elastic` is not built yet and is ignored", ran.path),);
    // A relative path begins at the folder of the file.
    let folder = ran.path.trim_end_matches("a.yaml");
    let expect = format!("warning: {}:5:5: `tickets`: cannot read secret file `{folder}sn-password`: ", ran.path);
    assert!(password.starts_with(&expect), "{password}");
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("canary"), "a secret is shown");
}

#[test]
fn an_invalid_file_ends_with_3_and_one_line_that_says_where() {
    let ran = validate("org: acme\nlisen: x\n", &[], &[]);
    let error = format!("error: {}:2:1: unknown key `lisen` (did you mean `listen`?)\n", ran.path);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr), (3, "", error));
    let ran = validate("org: acme\n", &[], &[("AUTHWATCH_LATENES", "30s")]);
    assert_eq!(ran.code, 3);
    assert_eq!(
        ran.stderr,
        "error: environment variable `AUTHWATCH_LATENES`: unknown key `latenes` (did you mean `lateness`?)\n"
    );
}

#[test]
fn what_only_a_part_knows_is_checked_where_it_stands() {
    for (yaml, expect) in [
        ("org: acme\n", "no source is configured (add `sources:` with an `okta`, a `kafka` or a `file` entry)"),
        ("org: acme\nsources: [{ okta: {} }]\n", "{path}:2:13: missing key `url` in `okta`"),
        (
            &OKTA.replace("auth:", "pol_interval: 5s, auth:"),
            "{path}:1:51: unknown key `pol_interval` (did you mean `poll_interval`?)",
        ),
        (
            &OKTA.replace("auth:", "poll_interval: 5, auth:"),
            "{path}:1:66: duration `5` has no unit (add one of ms, s, m, h, d, w)",
        ),
        (
            &OKTA.replace("auth:", "org: a b, auth:"),
            "{path}:1:56: the name of an org must have 1 to 64 of letters, digits, `-`, `_` and `.`",
        ),
        (&OKTA.replace("]", ", { file: { path: [] } }]"), "{path}:1:97: unknown key `path` (did you mean `paths`?)"),
        (
            &format!(
                "{OKTA}sinks:\n{0}{0}",
                "  - servicenow: { url: \"https://x\", auth: { basic: { user: { env: A }, password: { env: B } } } }\n"
            ),
            "{path}:4:5: two sinks are called `servicenow` (give one of them another `name`)",
        ),
        (
            &format!("{OKTA}rules: gone\n"),
            "cannot read `{folder}gone/classify` (`rules` names a folder that holds `classify/*.yaml`): ",
        ),
    ] {
        let yaml = if yaml.starts_with("org") { yaml.to_owned() } else { format!("{yaml}org: acme\n") };
        let ran = validate(&yaml, &[], &[]);
        let folder = ran.path.trim_end_matches("a.yaml");
        let expect = format!("error: {}", expect.replace("{path}", &ran.path).replace("{folder}", folder));
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{yaml}: {}", ran.stderr);
        assert!(ran.stderr.starts_with(&expect), "{yaml}\n{}\n{expect}", ran.stderr);
    }
}

#[test]
fn a_flaw_in_the_rules_is_found_where_it_stands() {
    let folder = tempfile::tempdir().expect("folder");
    let rules = folder.path().join("classify");
    std::fs::create_dir(&rules).expect("folder");
    std::fs::write(rules.join("mine.yaml"), "outcomes:\n  DENY: denny\n").expect("write");
    let yaml = format!("org: acme\n{OKTA}rules: {:?}\n", folder.path());
    let ran = validate(&yaml, &["--json"], &[]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("one document");
    assert_eq!((ran.code, &report["valid"]), (3, &json!(false)));
    assert_eq!(
        report["error"],
        json!({
            "file": rules.join("mine.yaml"), "line": 2, "column": 9, "variable": null,
            "message": "unknown word `denny` (did you mean `deny`?)",
        })
    );
}

#[test]
fn policies_of_a_file_are_read_and_summed_up_or_told_to_be_wrong() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("policies.json");
    let yaml = format!("org: acme\n{OKTA}policies: {{ file: {file:?} }}\n");
    std::fs::write(&file, r#"{"policies": [], "rules": {}, "device_assurances": []}"#).expect("write");
    let ran = validate(&yaml, &[], &[("TOKEN", "t")]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let line = "policies     acme: 0 policies, 0 rules, 0 device assurance policies";
    assert!(ran.stdout.lines().any(|found| found == line), "{}", ran.stdout);
    std::fs::write(&file, "[]").expect("write");
    let ran = validate(&yaml, &[], &[("TOKEN", "t")]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    assert!(ran.stderr.starts_with(&format!("error: {}:3:19: `{}`: ", ran.path, file.display())), "{}", ran.stderr);
}

#[test]
fn json_is_one_document_whatever_is_found() {
    let yaml = format!(
        "org: acme\n{OKTA}cohorts: {{ pilot: {{ users: [00u1, 00u2] }}, wave-1: {{ groups: [00g1] }} }}\n\
         break_glass: {{ groups: [00g2, 00g3] }}\n"
    );
    let ran = validate(&yaml, &["--json"], &[]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("one document");
    assert_eq!((ran.code, &report["valid"], ran.stderr.as_str()), (0, &json!(true), ""));
    assert_eq!(
        report["summary"]["cohorts"],
        json!([{"name": "pilot", "people": 2, "groups": 0}, {"name": "wave-1", "people": 0, "groups": 1}])
    );
    assert_eq!((&report["summary"]["break_glass"], &report["summary"]["break_glass_groups"]), (&json!(0), &json!(2)));
    assert_eq!(report["summary"]["policies"], json!([]));
    assert_eq!(report["summary"]["sources"], json!(["okta:acme"]));
    assert_eq!(
        report["warnings"],
        json!([{
            "file": ran.path, "line": 2, "column": 13, "variable": null,
            "message": "`okta:acme`: environment variable `TOKEN` is not set (export it, or name a file with {file: …})",
        }])
    );
    let ran = validate("org: acme\nlateness: 5\n", &["--json"], &[]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("one document");
    assert_eq!(
        (ran.code, &report["valid"], &report["error"]["line"], &report["error"]["column"]),
        (3, &json!(false), &json!(2), &json!(11))
    );
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    assert_eq!(validate("org: acme\n", &["--jsn"], &[]).code, 2);
}
