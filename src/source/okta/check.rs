//! What `check` asks of an org: the log, the clock, the rate limit, and each list that the configuration needs.
//!
//! Reads only, a handful of requests, each with the grant that the daemon uses for the same.

use std::collections::BTreeSet;

use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use smol_str::SmolStr;
use url::Url;

use super::auth::{Authorizer, Reads};
use super::config::Config;
use super::lists::List;
use super::request::{Head, Request};
use super::trouble::Trouble;
use crate::event::{SourceName, Span};
use crate::secret::Secrets;
use crate::telemetry::preflight::{Finding, Findings, Verdict};
use crate::{clock, duration, http};

/// A difference of clocks that is worth a look: signed requests are refused from about five minutes on, and a host
/// that is this far off is one without NTP.
const CLOCKS_DIFFER: Span = Span::seconds(30);

/// Groups that are named in a finding.
const NAMED: usize = 5;

/// The longest reply that is read.
const LONGEST: usize = 4 << 20;

/// Asks one org with one grant.
struct Asker<'a> {
    config: &'a Config,
    name: &'a SourceName,
    client: Client,
    authorizer: Authorizer,
}

/// Checks what a source needs: `groups` are those whose people it has to read.
pub async fn check(config: &Config, name: &SourceName, groups: &BTreeSet<SmolStr>, secrets: &Secrets) -> Vec<Finding> {
    let mut findings = Findings::of(name.as_str());
    if let Err(error) = ask_all(config, name, groups, secrets, &mut findings).await {
        findings.add("client", Verdict::Failed, format!("the HTTP client cannot be made: {error}"));
    }
    findings.into_vec()
}

async fn ask_all(
    config: &Config,
    name: &SourceName,
    groups: &BTreeSet<SmolStr>,
    secrets: &Secrets,
    findings: &mut Findings,
) -> Result<(), reqwest::Error> {
    Asker::new(config, name, Reads::Log, secrets)?.log(findings).await;
    if config.policies {
        Asker::new(config, name, Reads::Policies, secrets)?.policies(findings).await;
    }
    if !groups.is_empty() {
        Asker::new(config, name, Reads::Groups, secrets)?.groups(groups, findings).await;
    }
    Ok(())
}

impl<'a> Asker<'a> {
    fn new(config: &'a Config, name: &'a SourceName, reads: Reads, secrets: &Secrets) -> Result<Self, reqwest::Error> {
        let client = http::client(duration::to_std(config.timeout))?;
        Ok(Self { config, name, client, authorizer: Authorizer::new(config, reads, secrets.clone())? })
    }

    async fn log(&self, findings: &mut Findings) {
        let since = (clock::now() - Span::hours(1)).to_string();
        let url = self.url(&["logs"], &[("since", &since), ("limit", "1")]);
        let forbidden = if self.authorizer.is_app() { Trouble::AppForbidden } else { Trouble::Forbidden };
        let refused = |status, code| match status {
            StatusCode::FORBIDDEN => forbidden(code),
            StatusCode::BAD_REQUEST => Trouble::BadRequest(code),
            status => Trouble::Status(status.as_u16()),
        };
        let (head, reply) = self.ask(url, refused).await;
        let readable = match reply {
            Ok(reply) => body::<serde_json::Value>(reply, Trouble::BadPage).await.map(|_| "readable".to_owned()),
            Err(trouble) => Err(trouble),
        };
        findings.judge("system log", readable);
        self.clock(head, findings);
        self.rate(head, findings);
    }

    fn clock(&self, head: Head, findings: &mut Findings) {
        let Some(date) = head.date else {
            return findings.add("clock", Verdict::Skipped, "no reply told the server's time");
        };
        // `Date` has whole seconds.
        let ahead = Span((clock::now() - date).0 / 1_000 * 1_000);
        let by = duration::format(Span(ahead.0.abs()));
        match ahead.0 {
            ms if ms.abs() < CLOCKS_DIFFER.0 => findings.add("clock", Verdict::Ok, format!("within {by} of Okta's")),
            ms => {
                let side = if ms > 0 { "ahead of" } else { "behind" };
                let detail = format!("the host is {by} {side} Okta (the host's administrator sets up NTP)");
                findings.add("clock", Verdict::Warning, detail);
            }
        }
    }

    fn rate(&self, head: Head, findings: &mut Findings) {
        let Some(limit) = head.rate.limit.filter(|limit| *limit > 0) else {
            return findings.add("rate limit", Verdict::Skipped, "no reply told the limit");
        };
        let left = head.rate.remaining.map(|left| format!(", {left} left now")).unwrap_or_default();
        let interval = duration::to_std(self.config.poll_interval).as_secs_f64().max(0.001);
        let (need, share) = (60.0 / interval, f64::from(limit) * self.config.rate_share);
        let detail =
            format!("{limit} requests a minute{left}; polling needs {need:.0} of the {share:.0} that we may use");
        if need <= share {
            return findings.add("rate limit", Verdict::Ok, detail);
        }
        let fix = "(it will poll less often; raise `rate_share`, or ask Okta for a higher limit of `/api/v1/logs`)";
        findings.add("rate limit", Verdict::Warning, format!("{detail} {fix}"));
    }

    async fn policies(&self, findings: &mut Findings) {
        #[derive(Deserialize)]
        struct Policy {
            id: String,
        }
        let url = self.url(&["policies"], &[("type", "ACCESS_POLICY")]);
        let policies = self.list::<Policy>(List::Policies, url).await;
        findings.judge("policies", policies.as_ref().map(|policies| format!("{} on the first page", policies.len())));
        match policies.as_deref().map(<[Policy]>::first) {
            Ok(Some(policy)) => {
                let rules =
                    self.list::<serde_json::Value>(List::Rules, self.url(&["policies", &policy.id, "rules"], &[]));
                findings.judge(
                    "rules of policies",
                    rules.await.map(|rules| format!("{} of the first policy", rules.len())),
                );
            }
            Ok(None) => findings.add("rules of policies", Verdict::Skipped, "there is no policy to ask for"),
            Err(_) => findings.add("rules of policies", Verdict::Skipped, "the policies cannot be read"),
        }
        let assurances = self.list::<serde_json::Value>(List::Assurances, self.url(&["device-assurances"], &[])).await;
        findings.judge("device assurances", assurances.map(|found| format!("{} found", found.len())));
    }

    async fn groups(&self, groups: &BTreeSet<SmolStr>, findings: &mut Findings) {
        let mut unread = Vec::new();
        for group in groups {
            let url = self.url(&["groups", group, "users"], &[("limit", "1")]);
            match self.list::<serde_json::Value>(List::Groups, url).await {
                Ok(_) => {}
                // One group that is gone says nothing about the others; a missing right does.
                Err(Trouble::Missing(_)) => unread.push(group.as_str()),
                Err(trouble) => return findings.add("people of groups", Verdict::Failed, trouble.to_string()),
            }
        }
        if unread.is_empty() {
            return findings.add("people of groups", Verdict::Ok, format!("{0} of {0} can be read", groups.len()));
        }
        let more = if unread.len() > NAMED { ", …" } else { "" };
        let named = unread.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let detail = format!(
            "{} of {} groups do not exist: {named}{more} (correct their ids below `cohorts`, `break_glass` or in the policies)",
            unread.len(),
            groups.len()
        );
        findings.add("people of groups", Verdict::Failed, detail);
    }

    async fn list<T: serde::de::DeserializeOwned>(&self, list: List, url: Url) -> Result<Vec<T>, Trouble> {
        let (_, reply) = self.ask(url, |status, code| list.refused(status, code)).await;
        body(reply?, Trouble::BadList(list.what())).await
    }

    async fn ask(
        &self,
        url: Url,
        refused: impl Fn(StatusCode, Option<String>) -> Trouble,
    ) -> (Head, Result<Response, Trouble>) {
        let Self { client, authorizer, name, .. } = self;
        let request = Request { client, authorizer, source: name, clock_ahead: Span(0) };
        request.send(url, refused, || ()).await
    }

    fn url(&self, steps: &[&str], query: &[(&str, &str)]) -> Url {
        super::request::api(&self.config.url, steps, query)
    }
}

async fn body<T: serde::de::DeserializeOwned>(reply: Response, otherwise: Trouble) -> Result<T, Trouble> {
    let body = http::body(reply, LONGEST).await.map_err(|_| Trouble::TooLarge)?;
    serde_json::from_slice(&body).map_err(|_| otherwise)
}
