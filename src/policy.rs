//! Policies in force × what a device said → why a device was refused, check by check.
//!
//! Okta's DENY names the catch-all rule: a device that fails its assurance makes the granting rule not match. The
//! reason is derived here, from the policies that held and the signals of the flow, or not at all: what the evidence
//! does not decide is `unknown`. The same evaluator explains a refusal, finds grants that should not be, and compares our
//! reading with the rule that Okta named. What-if asks another question, of a device and not of a sign-in: it has its own
//! reading of the rules' scope, and the same checks.
//!
//! Pure: no clock, no I/O.

pub mod ask;
mod assurance;
pub mod baseline;
mod evaluate;
mod expression;
pub mod fleet;
mod groups;
mod integrators;
pub mod ledger;
mod logic;
pub mod parse;
mod patch;
mod rules;
mod version;
pub mod whatif;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::{
    Check, CheckVerdict, DeviceSignals, Person, Platform, PolicyRule, Posture, PostureCheck, PostureSource, Reason,
    Risk, Timestamp, vocabulary,
};
use crate::input::Releases;

pub use assurance::checks;
pub use evaluate::evaluate;
pub use groups::Groups;
pub use ledger::{Held, Ledger};

/// What is asked about one sign-in.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// When, for grace periods.
    pub at: Timestamp,
    /// Who, for people conditions.
    pub person: Option<&'a Person>,
    /// Who is in which group.
    pub groups: &'a Groups,
    /// On what.
    pub platform: Platform,
    /// What the device said; `None` where the flow has no device.
    pub device: Option<&'a DeviceSignals>,
    /// The rule that Okta named.
    pub rule: Option<&'a PolicyRule>,
    /// Okta's risk level.
    pub risk: Option<Risk>,
    /// Whether Okta let it pass.
    pub granted: bool,
    /// Whether a phishing-resistant authenticator was used; `None` where nothing says so.
    pub phishing_resistant: Option<bool>,
    /// The vendors' releases; `None` takes those of the policies' document.
    pub releases: Option<&'a Releases>,
}

vocabulary! {
    /// Whether the rule that we find is the one that Okta named.
    Agreement {
        /// It is.
        Agree => "agree",
        /// It is another one: our policies or our reading of them are wrong.
        Disagree => "disagree",
        /// A condition that the event does not decide stands in the way.
        Undecided => "undecided",
        /// No policy is known, or no rule was named.
        None => "none",
    }
}

vocabulary! {
    /// How a grant stands to the checks that were asked for.
    AssuranceResult {
        /// Every check passes.
        Met => "met",
        /// At least one fails.
        Failed => "failed",
        /// None fails, and at least one cannot be told.
        Unknown => "unknown",
        /// The rule asks nothing of the device.
        NotAsked => "not_asked",
    }
}

vocabulary! {
    /// Why a grant should not be, or is at the edge.
    Loose {
        /// Let in by the catch-all where a rule above it asks for a healthy device.
        CatchAll => "catch_all",
        /// Let in although a check fails.
        FailingCheck => "failing_check",
        /// Let in with a failing check because a grace period runs.
        GracePeriod => "grace_period",
        /// Let in from an unmanaged device where a gated rule exists.
        Unmanaged => "unmanaged",
        /// Let in from an unregistered device, or none, where a gated rule exists.
        Unregistered => "unregistered",
        /// Let in by a phishable authenticator where a rule demands a resistant one.
        Phishable => "phishable",
    }
}

/// What is to be said of one sign-in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// What it rests on.
    pub source: PostureSource,
    /// The policy evaluated, by name.
    pub policy: Option<SmolStr>,
    /// The rule that would have granted, by name: the nearest one.
    pub would_grant: Option<SmolStr>,
    /// Every check with its numbers.
    pub checks: Vec<Check>,
    /// Why the policy refused, where that is derived.
    pub reason: Option<Reason>,
    /// Ours against Okta's.
    pub agreement: Agreement,
    /// The checks of a grant.
    pub assurance: AssuranceResult,
    /// Why a grant should not be; empty for refusals.
    pub loose: Vec<Loose>,
}

impl From<&Evaluation> for Posture {
    fn from(evaluation: &Evaluation) -> Self {
        Self {
            source: evaluation.source,
            policy: evaluation.policy.clone(),
            fail: evaluation.failing(),
            unknown: evaluation.unknown(),
            checks: evaluation.checks.clone(),
        }
    }
}

impl Evaluation {
    /// Nothing is known.
    pub fn none() -> Self {
        Self {
            source: PostureSource::None,
            policy: None,
            would_grant: None,
            checks: Vec::new(),
            reason: None,
            agreement: Agreement::None,
            assurance: AssuranceResult::Unknown,
            loose: Vec::new(),
        }
    }

    /// The checks that fail, each once.
    pub fn failing(&self) -> Vec<PostureCheck> {
        self.with(CheckVerdict::Fail)
    }

    /// The checks that cannot be told and do not fail elsewhere, each once.
    pub fn unknown(&self) -> Vec<PostureCheck> {
        let failing = self.failing();
        self.with(CheckVerdict::Unknown).into_iter().filter(|check| !failing.contains(check)).collect()
    }

    /// Whether what fails is why it was refused, as far as is known: not where a grace period or another rule let the
    /// device pass.
    pub fn blames_device(&self) -> bool {
        self.reason == Some(Reason::DevicePosture) || self.source == PostureSource::Signals
    }

    /// What a refusal counts under: every failing check; where none is known, that the flow had no device, or that the
    /// evidence names no check. Nothing where a rule refused by itself, for a network or a risk.
    pub fn culprits(&self) -> Vec<PostureCheck> {
        if matches!(self.reason, Some(Reason::NetworkZone | Reason::Risk)) {
            return Vec::new();
        }
        let failing = self.failing();
        if self.blames_device() && !failing.is_empty() {
            return failing;
        }
        let without_device = self.checks.iter().any(|check| check.check == PostureCheck::NoDeviceContext);
        vec![if without_device { PostureCheck::NoDeviceContext } else { PostureCheck::Unattributed }]
    }

    fn with(&self, result: CheckVerdict) -> Vec<PostureCheck> {
        let mut found = Vec::new();
        for check in self.checks.iter().filter(|check| check.result == result) {
            if !found.contains(&check.check) {
                found.push(check.check);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
