//! The real binary as a child process: started, asked over HTTP, killed.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use authwatch::clock::monotonic;
use reqwest::Client;
use serde_json::Value;
use tokio::time::sleep;

/// Log lines kept of one life, to be shown where it goes wrong.
const LINES: usize = 200;
/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(10);

/// One life of the daemon. Dropping it kills the process.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<Log>>,
    client: Client,
}

#[derive(Default)]
struct Log {
    address: Option<String>,
    lines: VecDeque<String>,
}

impl Daemon {
    /// Starts `authwatch run` on the configuration, with these variables on top of the configuration's secrets.
    pub(crate) fn start(config: &Path, variables: &[(&str, String)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_authwatch"))
            .args(["run", "--config"])
            .arg(config)
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(Log::default()));
        let stderr = child.stderr.take().expect("a pipe");
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((_, address)) = line.split_once("listening address=") {
                    log.address = Some(address.trim().to_owned());
                }
                if log.lines.len() == LINES {
                    log.lines.pop_front();
                }
                log.lines.push_back(line);
            }
        });
        Self { child, log, client: authwatch::http::client(Duration::from_secs(10)).expect("a client") }
    }

    /// Whether the process was killed by SIGKILL; `None` while it lives.
    ///
    /// # Panics
    /// Where it ended in any other way: a crash of its own is never part of the plan.
    pub(crate) fn is_killed(&mut self) -> Option<()> {
        let status = self.child.try_wait().expect("a child that can be waited for")?;
        self.check(status);
        Some(())
    }

    /// Waits for the process to kill itself; `false` where it still lives after `patience`.
    pub(crate) async fn dies_within(&mut self, patience: Duration) -> bool {
        let deadline = monotonic() + patience;
        while monotonic() < deadline {
            if self.is_killed().is_some() {
                return true;
            }
            sleep(LOOK).await;
        }
        false
    }

    /// Kills the process from outside, wherever it is. Whether it was alive until then.
    pub(crate) fn kill(&mut self) -> bool {
        let lived = self.is_killed().is_none();
        // It can only fail because the process is gone already.
        let _ = self.child.kill();
        let status = self.child.wait().expect("a child that can be waited for");
        self.check(status);
        lived
    }

    /// The JSON at a path of the daemon's API; `None` where it does not answer, as while it starts or dies.
    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let address = self.log().address.clone()?;
        let reply = self.client.get(format!("http://{address}{path}")).send().await.ok()?;
        reply.json().await.ok()
    }

    /// The newest log lines.
    pub(crate) fn log_lines(&self) -> String {
        self.log().lines.iter().map(|line| format!("    {line}\n")).collect()
    }

    fn check(&self, status: ExitStatus) {
        assert_eq!(status.signal(), Some(9), "the daemon ended by itself ({status}):\n{}", self.log_lines());
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
