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

#[test]
fn a_valid_file_is_summed_up_on_stdout_and_warned_of_on_stderr() {
    let yaml = "org: acme\nsources: [{ file: { paths: [a] } }, { kafka: {} }]\n";
    let ran = validate(yaml, &[], &[("AUTHWATCH_LATENESS", "30s")]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with(&format!("{}: valid\norg          acme\n", ran.path)), "{}", ran.stdout);
    let warning = format!("warning: {}:2:39: the source `kafka` is not built yet and is ignored\n", ran.path);
    assert_eq!(ran.stderr, warning);
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
fn json_is_one_document_whatever_is_found() {
    let yaml = "org: acme\nsources: [{ file: { paths: [a] } }]\ncohorts: { pilot: { users: [00u1, 00u2] } }\n";
    let ran = validate(yaml, &["--json"], &[]);
    let report: Value = serde_json::from_str(&ran.stdout).expect("one document");
    assert_eq!((ran.code, &report["valid"], ran.stderr.as_str()), (0, &json!(true), ""));
    assert_eq!(report["summary"]["cohorts"], json!([{"name": "pilot", "people": 2}]));
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
