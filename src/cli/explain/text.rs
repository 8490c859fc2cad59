//! `explain` for people: a sentence a record, and below a refusal what was required and what the device said.

use std::net::IpAddr;

use crate::classify::Evidence;
use crate::event::{Check, CheckVerdict, Credential, Kind, Outcome, Platform, PostureSource, Reason};
use crate::policy::Evaluation;

use super::Explain;

/// A line for people.
pub fn text(line: &Explain) -> String {
    if let Some(reject) = line.reject {
        return format!("rejected: {reject}");
    }
    let word = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let mut out = format!(
        "{}  {}  {} {}",
        line.published.map_or_else(|| "-".to_owned(), |time| time.to_string()),
        word(line.event_type.as_deref()),
        word(line.kind.map(Kind::as_str)),
        word(line.outcome.map(Outcome::as_str)),
    );
    if line.okta_outcome.as_deref().is_some_and(|okta| !same_word(okta, line.outcome)) {
        out.push_str(&format!(" (Okta wrote {})", word(line.okta_outcome.as_deref())));
    }
    let resistant = match line.phishing_resistant {
        Some(true) => Some("phishing-resistant".to_owned()),
        Some(false) => Some("phishable".to_owned()),
        None => None,
    };
    let parts = [
        line.reason.filter(|reason| *reason != Reason::None).map(|reason| format!("because of {reason}")),
        line.credential.filter(|one| *one != Credential::None).map(|credential| format!("with {credential}")),
        resistant,
        line.platform.filter(|one| *one != Platform::Unknown).map(|platform| format!("on {platform}")),
        line.app.as_ref().map(|app| format!("app {app}")),
        line.rule.as_ref().map(|rule| format!("rule {rule}")),
        line.attempt.as_ref().map(|flow| format!("attempt {flow}")),
    ];
    for part in parts.into_iter().flatten() {
        out.push_str(", ");
        out.push_str(&part);
    }
    out
}

fn same_word(okta: &str, outcome: Option<Outcome>) -> bool {
    outcome.is_some_and(|outcome| {
        okta.eq_ignore_ascii_case(outcome.as_str())
            || (outcome == Outcome::RateLimited && okta.eq_ignore_ascii_case("RATE_LIMIT"))
    })
}

/// What the readings of a record rest on, and where the request came from.
pub(super) fn evidence(evidence: &Evidence<'_>, address: Option<IpAddr>) -> String {
    let grounds: Vec<String> = evidence.given().map(|(name, ground)| format!("{name}: {ground}")).collect();
    let mut out = format!("    evidence: {}\n", grounds.join("; "));
    out.extend(address.map(|address| format!("    from address {address}\n")));
    out
}

/// What stands below the sentence of a policy's answer: the table of checks, and the rules.
pub(super) fn posture(evaluation: &Evaluation, rule: Option<&str>) -> String {
    let mut out = String::new();
    if let Some(granting) = &evaluation.would_grant {
        let matched = rule.unwrap_or("-");
        out.push_str(&format!("    matched rule: {matched}; the rule that would have granted: {granting}\n"));
    }
    let basis = match evaluation.source {
        PostureSource::Derived => evaluation.policy.as_ref().map(|policy| format!("policy {policy}")),
        PostureSource::Signals => Some("the device's signals alone: no policy is known".to_owned()),
        PostureSource::None => None,
    };
    out.extend(basis.map(|basis| format!("    rests on {basis}\n")));
    if evaluation.checks.is_empty() {
        return out;
    }
    let rows: Vec<[String; 4]> = evaluation.checks.iter().map(row).collect();
    let head = ["Check", "Required", "Actual", "Pass?"].map(str::to_owned);
    let widths: [usize; 4] = std::array::from_fn(|column| {
        std::iter::once(&head).chain(&rows).map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    for row in std::iter::once(&head).chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        out.push_str(&format!("    {}\n", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
    out
}

fn row(check: &Check) -> [String; 4] {
    let name =
        if check.detail.is_empty() { check.check.to_string() } else { format!("{} ({})", check.check, check.detail) };
    let pass = match check.result {
        CheckVerdict::Pass => "yes",
        CheckVerdict::Fail => "no",
        CheckVerdict::Unknown => "unknown",
    };
    let required = if check.required.is_empty() { "-".to_owned() } else { check.required.to_string() };
    [name, required, check.actual.as_deref().unwrap_or("-").to_owned(), pass.to_owned()]
}
