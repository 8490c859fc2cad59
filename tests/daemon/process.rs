//! What tests of the running binary share: the process with its log, its configuration, and the simulated world that
//! it is pointed at.
//!
//! A daemon listens on a free port and says which in its log. Nothing here waits for a fixed time: every wait looks
//! until a condition holds, and fails with the log once a generous bound is over.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authwatch::event::{Span, Timestamp};
use authwatch::sim::{self, Awkward, Clock, Handles, OktaConfig, Org, Scenario, ServeConfig, ServiceNowConfig};
use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long a condition may take before the test gives up; far more than it takes on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(240);

const LOOK: Duration = Duration::from_millis(25);

/// The log's first instant in every simulated world: a Monday at noon, UTC.
pub fn start() -> Timestamp {
    Timestamp::parse("2026-03-02T12:00:00.000Z").expect("a time")
}

/// When a scenario's push takes effect.
pub fn push_at() -> Timestamp {
    start() + Span::minutes(90)
}

/// The end of the log.
pub fn end() -> Timestamp {
    start() + Span::hours(4)
}

/// Simulated servers with a clock that stands at `now`: what they show changes when a test moves it.
pub async fn world(scenario: Scenario, seats: u32, now: Timestamp) -> Handles {
    serve(settings(scenario, seats, now)).await
}

/// The settings of [`world`], to be changed.
pub fn settings(scenario: Scenario, seats: u32, now: Timestamp) -> ServeConfig {
    let org = Arc::new(Org::new(4, seats));
    let config = ServeConfig::of_scenario(org, scenario, push_at(), start(), end(), Clock::new(now, 0.0));
    ServeConfig {
        okta: OktaConfig { rate_limit: 100_000, slow: Duration::from_secs(120), ..OktaConfig::default() },
        servicenow: ServiceNowConfig { slow: Duration::from_secs(120), ..ServiceNowConfig::default() },
        awkward: Awkward { bad: 0.002, ..Awkward::default() },
        ..config
    }
}

pub async fn serve(config: ServeConfig) -> Handles {
    sim::serve(config).await.expect("the simulated servers start")
}

/// A folder with a configuration and a state.
pub struct Home {
    pub dir: TempDir,
    okta: String,
    servicenow: String,
}

impl Home {
    /// For these servers, with `extra` lines at the end of the configuration.
    pub fn of(world: &Handles, extra: &str) -> Self {
        Self::at(&world.okta_url, &world.servicenow_url, extra)
    }

    pub fn at(okta: &str, servicenow: &str, extra: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Self { dir, okta: okta.to_owned(), servicenow: servicenow.to_owned() };
        home.write_token(&OktaConfig::default().token);
        home.configure(&home.usual(extra));
        home
    }

    /// The usual configuration with `extra` lines at its end.
    pub fn usual(&self, extra: &str) -> String {
        format!(
            "org: acme
state_dir: state
listen: 127.0.0.1:0
shutdown_grace: 5s
sources:
  - okta:
      url: {}
      auth: {{ ssws: {{ file: {:?} }} }}
      start: 8h
      poll_interval: 100ms
sinks:
  - servicenow:
      url: {}
      auth: {{ basic: {{ user: {{ env: SN_USER }}, password: {{ env: SN_PASSWORD }} }} }}
{extra}",
            self.okta,
            self.token_file(),
            self.servicenow
        )
    }

    pub fn configure(&self, text: &str) {
        std::fs::write(self.config(), text).expect("a configuration");
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("authwatch.yaml")
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn token_file(&self) -> PathBuf {
        self.dir.path().join("okta-token")
    }

    /// Replaces the token file whole, as an agent does.
    pub fn write_token(&self, token: &str) {
        let partial = self.dir.path().join("okta-token.new");
        std::fs::write(&partial, format!("{token}\n")).expect("a token");
        std::fs::rename(partial, self.token_file()).expect("replaced");
    }

    pub async fn daemon(&self) -> Daemon {
        Daemon::start(&self.config()).await
    }

    /// Runs a command of the binary with this configuration to its end.
    pub fn run(&self, words: &[&str]) -> Ran {
        let config = self.config();
        run(&[words, &["--config", config.to_str().expect("text")]].concat(), "")
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        serde_json::from_str(&self.stdout).expect("one document")
    }

    /// The command failed with `code` and its last words hold each of `parts`.
    #[track_caller]
    pub fn failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` in: {}", self.stderr);
        }
    }
}

/// Runs the binary to its end.
pub fn run(words: &[&str], stdin: &str) -> Ran {
    let mut child = command(words).stdin(Stdio::piped()).spawn().expect("the binary runs");
    let mut pipe = child.stdin.take().expect("a pipe");
    let text = stdin.to_owned();
    let writer = std::thread::spawn(move || {
        // A command that does not read to the end is no fault of the test.
        let _ = pipe.write_all(text.as_bytes());
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("written");
    Ran {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8(output.stdout).expect("utf-8"),
        stderr: String::from_utf8(output.stderr).expect("utf-8"),
    }
}

fn command(words: &[&str]) -> Command {
    let secrets = ServiceNowConfig::default();
    let mut command = Command::new(env!("CARGO_BIN_EXE_authwatch"));
    command
        .args(words)
        .env_clear()
        .envs([("SN_USER", secrets.user), ("SN_PASSWORD", secrets.password)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    client: Client,
}

impl Daemon {
    /// Starts one and waits until it listens.
    pub async fn start(config: &Path) -> Self {
        let mut child = command(&["run", "--config", config.to_str().expect("text")]).spawn().expect("the binary runs");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (Arc::clone(&log), child.stderr.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("not poisoned").push(line);
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut daemon = Self { child, address, log, client: Client::new() };
        let listening = |line: &String| {
            let (_, rest) = line.split_once("listening address=")?;
            rest.split_whitespace().next()?.parse().ok()
        };
        daemon.address = until("it listens", async || {
            let found = daemon.log().iter().find_map(listening);
            found.ok_or_else(|| daemon.log().join("\n"))
        })
        .await;
        daemon
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("not poisoned").clone()
    }

    /// The lines of the log that hold every one of `parts`.
    pub fn lines_with(&self, parts: &[&str]) -> Vec<String> {
        let mut lines = self.log();
        lines.retain(|line| parts.iter().all(|part| line.contains(part)));
        lines
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let response = self.response(path).await;
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    pub async fn response(&self, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.address);
        self.client.get(url).send().await.unwrap_or_else(|error| panic!("{error}: {}", self.log().join("\n")))
    }

    pub async fn json(&self, path: &str) -> Value {
        let (status, text) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).expect("json")
    }

    pub async fn status(&self) -> Value {
        self.json("/api/v1/status").await
    }

    /// Waits until the answer of `path` is as wished, and gives it.
    pub async fn until(&self, path: &str, what: &str, wish: impl Fn(u16, &str) -> bool) -> String {
        until(what, async || {
            let (status, text) = self.get(path).await;
            if wish(status, &text) { Ok(text) } else { Err(format!("{status} {text}\n{}", self.log().join("\n"))) }
        })
        .await
    }

    /// Waits until `/api/v1/status` is as wished, and gives it.
    pub async fn until_status(&self, what: &str, wish: impl Fn(&Value) -> bool) -> Value {
        let is = |text: &str| serde_json::from_str(text).is_ok_and(|status| wish(&status));
        let text = self.until("/api/v1/status", what, |code, text| code == 200 && is(text)).await;
        serde_json::from_str(&text).expect("json")
    }

    /// Waits until everything that the simulated log shows now is counted.
    pub async fn until_caught_up(&self, world: &Handles) -> Value {
        let shown = world.okta.committed().expect("a log") as u64;
        self.until_status(&format!("{shown} records are counted"), |status| records(status) == shown).await
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn stop(mut self) -> (ExitStatus, Vec<String>) {
        self.signal(Signal::TERM);
        (self.end().await, self.log())
    }

    /// Waits for the end.
    pub async fn end(&mut self) -> ExitStatus {
        let (child, log) = (Mutex::new(&mut self.child), Arc::clone(&self.log));
        until("it ends", async || {
            let ended = child.lock().expect("not poisoned").try_wait().expect("a child");
            ended.ok_or_else(|| log.lock().expect("not poisoned").join("\n"))
        })
        .await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Records in: events, repeated ones and rejected ones.
pub fn records(status: &Value) -> u64 {
    let rejected = status["rejected"].as_object().expect("an object").values().map(number).sum::<u64>();
    number(&status["events"]) + number(&status["duplicates"]) + rejected
}

#[track_caller]
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// The sum of a metric's samples that have all of `labels` (`name="value"`).
pub fn metric(text: &str, name: &str, labels: &[&str]) -> u64 {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (set, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        labels.iter().all(|label| set.contains(label)).then(|| value.parse::<f64>().expect("a number") as u64)
    });
    samples.sum()
}

/// Looks until it is there; fails with the last complaint.
pub async fn until<T>(what: &str, look: impl AsyncFn() -> Result<T, String>) -> T {
    let last = Mutex::new(String::new());
    let looking = async {
        loop {
            match look().await {
                Ok(found) => return found,
                Err(complaint) => *last.lock().expect("not poisoned") = complaint,
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(found) => found,
        Err(_) => panic!("not in {PATIENCE:?}: {what}: {}", last.lock().expect("not poisoned")),
    }
}
