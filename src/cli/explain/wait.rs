//! `explain --url`: waits until a running daemon has read a decision as expected, for the negative test of a rollout: a
//! device that must be refused is refused, and for the right check.
//!
//! Asks `/api/v1/decisions` of the daemon until one fits or the time is up. "Since" counts back from the time up to which
//! the daemon has data, not from this machine's clock.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cli::{Exit, Failure, Outcome};
use crate::event::{self, PostureCheck, Span, Timestamp};
use crate::secret::SecretRef;
use crate::{clock, duration, http};

/// The largest reply that is read.
const REPLY_BYTES: usize = 32 << 20;
/// How often the daemon is asked.
const EVERY: Duration = Duration::from_secs(1);

/// Arguments of `explain --url`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct WaitArgs {
    /// A running daemon, for example http://127.0.0.1:9464: wait for a decision of it instead of reading files.
    #[arg(long, requires = "expect", conflicts_with_all = ["files", "config", "redact", "unknown"])]
    pub url: Option<Url>,
    /// What to wait for: `deny` or `allow`, and checks that must fail: `deny,disk_encryption`.
    #[arg(long, value_name = "OUTCOME,CHECK", requires = "url", value_parser = expectation)]
    pub expect: Option<Expectation>,
    /// How far back a decision may lie.
    #[arg(long, value_name = "DURATION", requires = "url", default_value = "10m", value_parser = duration::parse)]
    pub since: Span,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", requires = "url", default_value = "2m", value_parser = duration::parse)]
    pub timeout: Span,
    /// A file with the daemon's `http.token`.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub token_file: Option<PathBuf>,
}

/// A decision that is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation {
    outcome: event::Outcome,
    checks: Vec<PostureCheck>,
}

/// Reads `OUTCOME,CHECK…`.
fn expectation(text: &str) -> Result<Expectation, String> {
    let mut words = text.split(',').map(str::trim);
    let outcome = match words.next() {
        Some("deny") => event::Outcome::Deny,
        Some("allow") => event::Outcome::Allow,
        other => return Err(format!("begin with `deny` or `allow`, not `{}`", other.unwrap_or_default())),
    };
    let check = |word: &str| {
        let found = PostureCheck::ALL.iter().find(|check| check.as_str() == word);
        found.copied().ok_or_else(|| {
            let all: Vec<&str> = PostureCheck::ALL.iter().map(|check| check.as_str()).collect();
            format!("`{word}` is no check (use {})", all.join(", "))
        })
    };
    Ok(Expectation { outcome, checks: words.map(check).collect::<Result<_, _>>()? })
}

/// The part of a decision that is compared.
#[derive(Deserialize)]
struct Decision {
    at: Timestamp,
    uuid: String,
    outcome: event::Outcome,
    app: Option<String>,
    culprits: Vec<PostureCheck>,
    checks: Vec<FoundCheck>,
}

#[derive(Deserialize)]
struct FoundCheck {
    check: PostureCheck,
    required: String,
    actual: Option<String>,
    result: event::CheckVerdict,
}

#[derive(Deserialize)]
struct Decisions {
    decisions: Vec<Decision>,
}

#[derive(Deserialize)]
struct Status {
    data_until: Option<Timestamp>,
}

impl Expectation {
    fn is_met_by(&self, decision: &Decision) -> bool {
        let fails = |check: &PostureCheck| {
            let failed = |found: &FoundCheck| found.check == *check && found.result == event::CheckVerdict::Fail;
            decision.culprits.contains(check) || decision.checks.iter().any(failed)
        };
        decision.outcome == self.outcome && self.checks.iter().all(fails)
    }
}

/// Waits.
///
/// # Errors
/// Where the daemon cannot be reached, refuses, or answers with something else.
pub(super) async fn wait(url: &Url, expect: &Expectation, args: &WaitArgs) -> Outcome {
    let daemon = Daemon::of(url, args)?;
    let status: Status = daemon.get("/api/v1/status").await?;
    let since = status.data_until.unwrap_or_else(clock::now) - args.since;
    let began = clock::monotonic();
    let mut seen;
    loop {
        let path = format!("/api/v1/decisions?since={}", since.to_utc().format("%Y-%m-%dT%H:%M:%SZ"));
        let Decisions { decisions } = daemon.get(&path).await?;
        if let Some(found) = decisions.iter().find(|decision| expect.is_met_by(decision)) {
            println!("{}", sentence(found));
            return Ok(Exit::Good);
        }
        seen = decisions;
        if began.elapsed() >= duration::to_std(args.timeout) {
            break;
        }
        tokio::time::sleep(EVERY).await;
    }
    eprintln!("no such decision since {since}; {} others", seen.len());
    seen.iter().rev().take(5).for_each(|decision| eprintln!("  {}", sentence(decision)));
    Ok(Exit::Negative)
}

fn sentence(decision: &Decision) -> String {
    let fails: Vec<String> = decision
        .checks
        .iter()
        .filter(|check| check.result == event::CheckVerdict::Fail)
        .map(|check| {
            format!("{} (required {}, actual {})", check.check, check.required, check.actual.as_deref().unwrap_or("-"))
        })
        .collect();
    let fails = if fails.is_empty() { "no failing check is known".to_owned() } else { fails.join(", ") };
    let app = decision.app.as_deref().unwrap_or("-");
    format!("{}  {}  app {app}: {fails}  (event {})", decision.at, decision.outcome, decision.uuid)
}

/// A running daemon.
struct Daemon {
    url: Url,
    client: Client,
    token: Option<crate::secret::Secret>,
}

impl Daemon {
    fn of(url: &Url, args: &WaitArgs) -> Result<Self, Failure> {
        let token = args.token_file.clone().map(|path| SecretRef::File(path).resolve(&|_| None)).transpose()?;
        Ok(Self { url: url.clone(), client: http::client(Duration::from_secs(15))?, token })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let url = self.url.join(path)?;
        let mut request = self.client.get(url.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let at = format!("{}{path}", self.url.as_str().trim_end_matches('/'));
        let context =
            |error: reqwest::Error| anyhow::Error::new(error.without_url()).context(format!("cannot reach {at}"));
        let reply = request.send().await.map_err(context)?;
        match reply.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(anyhow::anyhow!("{at} wants its `http.token` (name the file with --token-file)").into());
            }
            status => {
                return Err(anyhow::anyhow!("{at} answered {status} (is this an authwatch of this version?)").into());
            }
        }
        let body = http::body(reply, REPLY_BYTES).await?;
        let parsed = serde_json::from_slice(&body);
        Ok(parsed.map_err(|error| anyhow::anyhow!("{at} answered with something else than authwatch does: {error}"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_names_an_outcome_and_checks() {
        let read = expectation("deny, disk_encryption").expect("valid");
        assert_eq!(read.checks, [PostureCheck::DiskEncryption]);
        assert!(expectation("denied").expect_err("no outcome").contains("`deny` or `allow`"));
        assert!(expectation("deny,disk").expect_err("no check").contains("`disk` is no check (use os_version"));
    }

    #[test]
    fn every_check_must_fail() {
        let decision = |outcome, culprits: &[PostureCheck]| Decision {
            at: Timestamp(0),
            uuid: "u".into(),
            outcome,
            app: None,
            culprits: culprits.to_vec(),
            checks: Vec::new(),
        };
        let both = expectation("deny,os_version,disk_encryption").expect("valid");
        let (os, disk) = (PostureCheck::OsVersion, PostureCheck::DiskEncryption);
        assert!(both.is_met_by(&decision(event::Outcome::Deny, &[disk, os])));
        assert!(!both.is_met_by(&decision(event::Outcome::Deny, &[os])));
        assert!(!both.is_met_by(&decision(event::Outcome::Allow, &[disk, os])));
        assert!(expectation("deny").expect("valid").is_met_by(&decision(event::Outcome::Deny, &[])));
    }
}
