//! The policies of an org, read whole: at the start, again after each change that passes in the log, and every hour.
//!
//! A reading lists the access policies, the rules of each, and the device assurance policies. It is sent whole or not at
//! all, and holds from the `published` of the newest change that caused it, else from now on. It is no position: after a
//! restart the first reading happens again, while the core still has the versions before it.
//!
//! **How it fails.** The log is read on whatever happens here; the condition `source/<name>/policies` tells, and gates
//! nothing. A missing right is said once and tried again slowly. Changes that pass while a reading is under way or fails
//! cause another one. Nothing is read of a policy that a bound leaves out: the whole reading fails.
//!
//! Metrics: as the log's, under `<name>/policies`, `<name>/rules` and `<name>/device-assurances`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use smol_str::SmolStr;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::lists::{Beside, List};
use super::trouble::{Patience, Timing, Trouble};
use crate::clock;
use crate::event::Timestamp;
use crate::input::{Input, Policies, PolicyOrigin};
use crate::policy::parse;
use crate::source::{Batch, until_stopped};

/// The most access policies.
const MOST_POLICIES: usize = 1_000;
/// The most rules, over all policies.
const MOST_RULES: usize = 50_000;
/// The most device assurance policies.
const MOST_ASSURANCES: usize = 1_000;

/// The reader of one org's policies.
pub struct PolicyReader {
    beside: Beside,
    /// The `published` of the newest change in the log.
    changes: watch::Receiver<Option<Timestamp>>,
    /// Takes the groups that the policies name.
    groups: watch::Sender<BTreeSet<SmolStr>>,
}

impl PolicyReader {
    /// A reader that `changes` tells of changes in the log ([`super::Okta::telling`]), and that tells `groups` which
    /// groups the policies name.
    pub fn new(
        beside: Beside,
        changes: watch::Receiver<Option<Timestamp>>,
        groups: watch::Sender<BTreeSet<SmolStr>>,
    ) -> Self {
        Self { beside, changes, groups }
    }

    /// Reads until `shutdown` turns true (or its sender is gone) or nobody takes batches any more.
    pub async fn run(mut self, out: mpsc::Sender<Batch>, shutdown: watch::Receiver<bool>) {
        until_stopped(shutdown, self.read_on(&out)).await;
    }

    async fn read_on(&mut self, out: &mpsc::Sender<Batch>) {
        let (mut since, mut troubles) = (None, 0_u32);
        loop {
            match self.read().await {
                Ok(policies) => {
                    troubles = 0;
                    if self.beside.condition.ok() {
                        tracing::info!(source = %self.beside.name, policies = policies.policies.len(), "policies are read");
                    }
                    let groups = policies.groups();
                    self.groups.send_if_modified(|named| std::mem::replace(named, groups.clone()) != groups);
                    if out.send(self.batch(since, policies)).await.is_err() || self.beside.once {
                        return;
                    }
                    since = self.next_cause().await;
                }
                Err((list, trouble)) => {
                    troubles = troubles.saturating_add(1);
                    let length = self.beside.lists.timing().wait(&trouble, troubles, rand::random());
                    self.report(&trouble);
                    if self.beside.once {
                        return;
                    }
                    self.beside.lists.pause_after(list, &trouble, length).await;
                    since = since.max(self.missed_change());
                }
            }
        }
    }

    /// One reading, whole; a trouble comes with the list that it struck.
    async fn read(&mut self) -> Result<Policies, (List, Trouble)> {
        let url = self.beside.lists.url(&["policies"], &[("type", "ACCESS_POLICY")]);
        let policies = self.list(List::Policies, url, MOST_POLICIES).await?;
        let mut rules: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut room = MOST_RULES;
        for policy in &policies {
            if policy["status"] == "INACTIVE" {
                continue;
            }
            let Some(id) = policy["id"].as_str() else {
                return Err((List::Policies, Trouble::BadPolicies("a policy has no `id`".to_owned())));
            };
            let url = self.beside.lists.url(&["policies", id, "rules"], &[]);
            let own = self.list(List::Rules, url, room).await?;
            room -= own.len();
            rules.insert(id.to_owned(), own);
        }
        let url = self.beside.lists.url(&["device-assurances"], &[]);
        let assurances = self.list(List::Assurances, url, MOST_ASSURANCES).await?;
        parse::assemble(&policies, &rules, &assurances)
            .map_err(|error| (List::Policies, Trouble::BadPolicies(error.to_string())))
    }

    async fn list(&mut self, list: List, url: url::Url, most: usize) -> Result<Vec<Value>, (List, Trouble)> {
        self.beside.lists.read(list, url, most).await.map_err(|trouble| (list, trouble))
    }

    fn batch(&self, since: Option<Timestamp>, policies: Policies) -> Batch {
        let input = Input::Policies {
            org: self.beside.org.clone(),
            since,
            origin: PolicyOrigin::Api,
            policies: Arc::new(policies),
        };
        self.beside.batch(input)
    }

    /// Waits until a change has passed in the log, and then for a moment without another one: a push makes several. A
    /// reading without a change, every so often, holds from when it is read.
    async fn next_cause(&mut self) -> Option<Timestamp> {
        let Timing { quiet, restless, policies_every, .. } = *self.beside.lists.timing();
        tokio::select! {
            changed = self.changes.changed() => if changed.is_err() {
                sleep(policies_every).await;
                return None;
            },
            () = sleep(policies_every) => return None,
        }
        let told = clock::monotonic();
        while let Some(left) = restless.checked_sub(told.elapsed())
            && let Ok(Ok(())) = timeout(quiet.min(left), self.changes.changed()).await
        {}
        *self.changes.borrow_and_update()
    }

    /// The newest change that no reading began after.
    fn missed_change(&mut self) -> Option<Timestamp> {
        if self.changes.has_changed().unwrap_or(false) { *self.changes.borrow_and_update() } else { None }
    }

    fn report(&self, trouble: &Trouble) {
        let (source, reason) = (&self.beside.name, trouble.label());
        if self.beside.condition.failing(&trouble.to_string()) {
            match trouble.patience() {
                Patience::Token | Patience::Operator => {
                    tracing::error!(%source, reason, "policies cannot be read: {trouble}");
                }
                Patience::RateLimit | Patience::Passing => {
                    tracing::warn!(%source, reason, "policies cannot be read: {trouble}");
                }
            }
        }
    }
}
