//! Shadow mode: what a sink would have told goes the same way through outbox and ledger, and nothing is sent.
//!
//! The ledger keeps the steps and the last action. The revision stays that of the last *live* telling, so that going
//! live finds both kinds: an incident that nobody was told of opens afresh with its newest text, and one whose ticket
//! is older than the shadow gets what it missed. One that nobody was told of and that is over stays untold. Pure.

use serde::Deserialize;

use super::{Done, Told};
use crate::action::{IncidentAction, IncidentStep, WouldHaveTold};
use crate::store::LedgerEntry;

/// Whether a sink tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It does.
    #[default]
    Live,
    /// It only records what it would have told.
    Shadow,
}

/// Records an action instead of telling it.
pub(super) fn record(mut entry: LedgerEntry, action: &IncidentAction) -> Done {
    WouldHaveTold::add(&mut entry.shadowed, action.step);
    let is_nobodys = entry.revision == 0 && action.step == IncidentStep::Resolve;
    entry.last = (!is_nobodys).then(|| Box::new(action.clone()));
    Done { entry, result: Told::Shadowed }
}

/// What a live sink still has to tell of an entry that was recorded in shadow mode.
pub(super) fn owed(entry: &LedgerEntry) -> Option<IncidentAction> {
    let last = entry.last.as_deref().filter(|_| !entry.shadowed.is_empty())?;
    let step = match last.step {
        _ if entry.revision == 0 => IncidentStep::Open,
        IncidentStep::Resolve => IncidentStep::Resolve,
        IncidentStep::Open | IncidentStep::Update | IncidentStep::Reopen => IncidentStep::Update,
    };
    Some(IncidentAction { step, ..last.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::queue::testing::action;
    use IncidentStep::{Open, Reopen, Resolve, Update};

    /// Records the steps after a live telling of revision `told` and says what is owed then.
    #[track_caller]
    fn check(told: u32, steps: &[IncidentStep], recorded: &[IncidentStep], expect: Option<IncidentStep>) {
        let mut entry = LedgerEntry { revision: told, ..LedgerEntry::default() };
        for (revision, step) in (told + 1..).zip(steps) {
            let done = record(entry, &action("aw-1", revision, *step));
            assert_eq!(done.result, Told::Shadowed);
            entry = done.entry;
        }
        assert_eq!((entry.revision, entry.shadowed.as_slice()), (told, recorded), "{steps:?}");
        let owed = owed(&entry);
        assert_eq!(owed.as_ref().map(|action| action.step), expect, "{steps:?}");
        if let Some(owed) = owed {
            assert_eq!(owed.revision as usize, told as usize + steps.len(), "with the newest text");
        }
    }

    #[test]
    fn what_nobody_was_told_of_opens_afresh_unless_it_is_over() {
        check(0, &[Open], &[Open], Some(Open));
        check(0, &[Open, Update, Update, Update], &[Open, Update], Some(Open));
        check(0, &[Open, Update, Resolve], &[Open, Update, Resolve], None);
        check(0, &[Open, Resolve, Reopen], &[Open, Resolve, Reopen], Some(Open));
    }

    #[test]
    fn a_ticket_that_is_older_than_the_shadow_gets_what_it_missed() {
        check(3, &[], &[], None);
        check(3, &[Update], &[Update], Some(Update));
        check(3, &[Resolve], &[Resolve], Some(Resolve));
        check(3, &[Resolve, Reopen], &[Resolve, Reopen], Some(Update));
    }

    #[test]
    fn the_record_is_bounded() {
        let steps: Vec<_> = (0..500).map(|n| if n % 2 == 0 { Resolve } else { Reopen }).collect();
        check(1, &steps, &steps[..64], Some(Update));
    }
}
