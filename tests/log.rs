//! What `run` logs: as the variable `RUST_LOG` says, else as the configuration says.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

/// One run over a file of one event, with `log.level` and `RUST_LOG`.
fn run(level: &str, rust_log: Option<&str>) -> Output {
    let folder = tempfile::tempdir().expect("folder");
    let event = r#"{"uuid":"1","published":"2026-03-02T09:00:00.000Z","eventType":"user.session.start"}"#;
    std::fs::write(folder.path().join("events.ndjson"), event).expect("write");
    let config = folder.path().join("a.yaml");
    let yaml = format!(
        "org: acme\nstate_dir: state\nlisten: 127.0.0.1:0\nsources: [{{ file: {{ paths: [events.ndjson] }} }}]\n\
         log: {{ level: {level}, format: json }}\n"
    );
    std::fs::write(&config, yaml).expect("write");
    Command::new(env!("CARGO_BIN_EXE_authwatch"))
        .args(["run", "--once", "--config"])
        .arg(&config)
        .env_clear()
        .envs(rust_log.map(|directive| ("RUST_LOG", directive)))
        .output()
        .expect("the binary runs")
}

#[test]
fn the_variable_wins_over_the_configuration() {
    for (level, rust_log, logs) in [
        ("info", None, true),
        ("off", None, false),
        ("off", Some(""), false),
        ("off", Some("info"), true),
        ("info", Some("off"), false),
    ] {
        let output = run(level, rust_log);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{level} {rust_log:?}: {stderr}");
        assert_eq!(stderr.contains("\"message\":\"listening\""), logs, "{level} {rust_log:?}: {stderr}");
        assert_eq!(stderr.is_empty(), !logs, "{level} {rust_log:?}: {stderr}");
    }
}

#[test]
fn a_variable_that_says_nothing_known_is_refused_by_name() {
    let output = run("info", Some("loud"));
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with(
            "error: environment variable `RUST_LOG` is of no use (correct it, or unset it): unknown level"
        ),
        "{stderr}"
    );
}
