//! The people of the groups that cohorts, break-glass people and conditions of rules name: at the start, once a day,
//! and when another group is named. Membership events keep them current in between; that is the core's part.
//!
//! A group is sent whole or stays unknown, which is not empty. Only the ids of its people leave this file.
//!
//! **How it fails.** The log is read on whatever happens here; the condition `source/<name>/groups` tells, and gates
//! nothing. A group that fails is tried again, the others are read meanwhile; one that Okta does not have, or that a
//! bound leaves out, is named and looked at again the next day.
//!
//! Metrics: as the log's, under `<name>/groups`; `authwatch_limit_reached_total` with `groups` or `group_people`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use smol_str::SmolStr;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::lists::{Beside, List, Lists};
use super::trouble::{Patience, Trouble};
use crate::clock;
use crate::event::Person;
use crate::input::Input;
use crate::source::{Batch, until_stopped};
use crate::telemetry::metric::Metric;

/// The most groups of an org; those of the configuration come first.
const MOST_GROUPS: usize = 200;
/// The most people, over all groups of an org.
const MOST_PEOPLE: usize = 100_000;

/// The reader of one org's groups.
pub struct GroupReader {
    beside: Beside,
    /// The groups that the configuration names.
    configured: Named,
    /// The groups that the policies name.
    in_policies: Named,
    /// What is settled until the next day.
    settled: BTreeMap<SmolStr, Settled>,
    /// How many groups the bound leaves out.
    left_out: usize,
}

/// Groups that somebody names; closed where nobody does any more.
struct Named {
    groups: watch::Receiver<BTreeSet<SmolStr>>,
    open: bool,
}

/// How a group came out.
enum Settled {
    /// It was sent with so many people.
    Read(usize),
    /// It cannot be read, which a person has to know.
    Unreadable(String),
}

/// One person of a group; nothing but the id is read.
#[derive(Deserialize)]
struct Member {
    id: Person,
}

impl Named {
    fn new(groups: watch::Receiver<BTreeSet<SmolStr>>) -> Self {
        Self { groups, open: true }
    }

    /// Waits until other groups are named, for ever where nobody can.
    async fn changed(&mut self) {
        if self.open && self.groups.changed().await.is_ok() {
            return;
        }
        self.open = false;
        std::future::pending().await
    }
}

impl GroupReader {
    /// A reader of the groups that the configuration and the policies name. Of one pass it is those in the policies too,
    /// once they are read.
    pub fn new(
        beside: Beside,
        configured: watch::Receiver<BTreeSet<SmolStr>>,
        in_policies: watch::Receiver<BTreeSet<SmolStr>>,
    ) -> Self {
        let (configured, in_policies) = (Named::new(configured), Named::new(in_policies));
        Self { beside, configured, in_policies, settled: BTreeMap::new(), left_out: 0 }
    }

    /// Reads until `shutdown` turns true (or its sender is gone) or nobody takes batches any more.
    pub async fn run(mut self, out: mpsc::Sender<Batch>, shutdown: watch::Receiver<bool>) {
        until_stopped(shutdown, self.read_on(&out)).await;
    }

    async fn read_on(&mut self, out: &mpsc::Sender<Batch>) {
        let next_day = |lists: &Lists| Instant::from_std(clock::monotonic() + lists.timing().groups_every);
        let (mut fresh_until, mut troubles) = (next_day(&self.beside.lists), 0_u32);
        loop {
            let wanted = self.wanted();
            self.settled.retain(|group, _| wanted.contains(group));
            let trouble = match self.read(&wanted, out).await {
                Ok(trouble) => trouble,
                Err(mpsc::error::SendError(_)) => return,
            };
            self.report(trouble.as_ref());
            if self.beside.once {
                // An error means that the policies have named all that they will.
                if self.in_policies.groups.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if let Some(trouble) = trouble {
                troubles = troubles.saturating_add(1);
                let length = self.beside.lists.timing().wait(&trouble, troubles, rand::random());
                self.beside.lists.pause_after(List::Groups, &trouble, length).await;
                continue;
            }
            troubles = 0;
            tokio::select! {
                () = self.configured.changed() => {}
                () = self.in_policies.changed() => {}
                () = sleep_until(fresh_until) => {
                    self.settled.clear();
                    fresh_until = next_day(&self.beside.lists);
                }
            }
        }
    }

    /// The groups to know, as many as the bound allows.
    fn wanted(&mut self) -> BTreeSet<SmolStr> {
        let mut wanted = self.configured.groups.borrow_and_update().clone();
        let named = self.in_policies.groups.borrow_and_update().clone();
        let all = wanted.union(&named).count();
        let over = wanted.len().saturating_sub(MOST_GROUPS);
        for group in wanted.iter().rev().take(over).cloned().collect::<Vec<_>>() {
            wanted.remove(&group);
        }
        for group in named {
            if wanted.len() < MOST_GROUPS {
                wanted.insert(group);
            }
        }
        let left_out = all - wanted.len();
        if left_out > 0 && left_out != self.left_out {
            Metric::LimitReached.counter(&[self.beside.org.as_str(), "groups"]).increment(left_out as u64);
            tracing::warn!(source = %self.beside.name, left_out, "more than {MOST_GROUPS} groups are named; the rest stay unknown");
        }
        self.left_out = left_out;
        wanted
    }

    /// Reads every group that is not settled; gives the last trouble that another try may end.
    async fn read(
        &mut self,
        wanted: &BTreeSet<SmolStr>,
        out: &mpsc::Sender<Batch>,
    ) -> Result<Option<Trouble>, mpsc::error::SendError<Batch>> {
        let mut last = None;
        for group in wanted {
            if self.settled.contains_key(group) {
                continue;
            }
            match self.people(group).await {
                Ok(people) => {
                    self.settled.insert(group.clone(), Settled::Read(people.len()));
                    out.send(self.batch(group, people)).await?;
                }
                Err(Trouble::Missing(_)) => {
                    let text = format!("Okta has no group `{group}`; its people stay unknown");
                    self.settled.insert(group.clone(), Settled::Unreadable(text));
                }
                Err(Trouble::TooMany { .. }) => {
                    Metric::LimitReached.counter(&[self.beside.org.as_str(), "group_people"]).increment(1);
                    let text =
                        format!("group `{group}` goes beyond {MOST_PEOPLE} people in all; its people stay unknown");
                    self.settled.insert(group.clone(), Settled::Unreadable(text));
                }
                Err(trouble) => {
                    let is_for_all = matches!(trouble.patience(), Patience::Token | Patience::Operator);
                    last = Some(trouble);
                    if is_for_all {
                        break;
                    }
                }
            }
        }
        Ok(last)
    }

    async fn people(&mut self, group: &SmolStr) -> Result<BTreeSet<Person>, Trouble> {
        let read = self.settled.values().map(|settled| match settled {
            Settled::Read(people) => *people,
            Settled::Unreadable(_) => 0,
        });
        let room = MOST_PEOPLE.saturating_sub(read.sum());
        let url = self.beside.lists.url(&["groups", group, "users"], &[("limit", "200")]);
        let members: Vec<Member> = self.beside.lists.read(List::Groups, url, room).await?;
        Ok(members.into_iter().map(|member| member.id).collect())
    }

    fn batch(&self, group: &SmolStr, people: BTreeSet<Person>) -> Batch {
        let input = Input::Members { org: self.beside.org.clone(), group: group.clone(), people };
        self.beside.batch(input)
    }

    /// Says how it fares: the trouble, else the first group that cannot be read, else all is well.
    fn report(&self, trouble: Option<&Trouble>) {
        let unreadable = self.settled.values().find_map(|settled| match settled {
            Settled::Unreadable(text) => Some(text.clone()),
            Settled::Read(_) => None,
        });
        let source = &self.beside.name;
        match trouble.map(ToString::to_string).or(unreadable) {
            Some(text) => {
                if self.beside.condition.failing(&text) {
                    tracing::warn!(%source, "groups cannot be read: {text}");
                }
            }
            None => {
                if self.beside.condition.ok() && !self.settled.is_empty() {
                    tracing::info!(%source, groups = self.settled.len(), "groups are read");
                }
            }
        }
    }
}
