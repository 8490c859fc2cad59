//! Faults of a server: drawn by chance from a seed, or queued by a test.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::chance;

/// The most faults that can wait in the queue; more are not taken.
pub const MOST_QUEUED: usize = 10_000;

/// Which faults come by chance, per request.
#[derive(Clone, PartialEq, Debug)]
pub struct FaultPlan<F> {
    /// The seed of the draws.
    pub seed: u64,
    /// Each fault with its chance; at most one strikes a request, so the chances add up to at most 1.
    pub chances: Vec<(F, f64)>,
}

impl<F> Default for FaultPlan<F> {
    /// No fault.
    fn default() -> Self {
        Self { seed: 0, chances: Vec::new() }
    }
}

/// The faults of one running server.
#[derive(Debug)]
pub struct Faults<F>(Mutex<State<F>>);

#[derive(Debug)]
struct State<F> {
    rng: ChaCha8Rng,
    chances: Vec<(F, f64)>,
    queued: VecDeque<F>,
    struck: BTreeMap<F, u64>,
}

impl<F: Copy + Ord> Faults<F> {
    /// Faults by a plan.
    pub fn new(plan: FaultPlan<F>) -> Self {
        let rng = chance::rng(plan.seed, "faults", 0);
        Self(Mutex::new(State { rng, chances: plan.chances, queued: VecDeque::new(), struck: BTreeMap::new() }))
    }

    /// Strikes the next request that the fault applies to; queued faults come before those by chance, in order.
    pub fn queue(&self, fault: F) {
        let mut state = self.state();
        if state.queued.len() < MOST_QUEUED {
            state.queued.push_back(fault);
        }
    }

    /// Takes another set of chances from now on.
    pub fn set_chances(&self, chances: Vec<(F, f64)>) {
        self.state().chances = chances;
    }

    /// How often each fault has struck.
    pub fn struck(&self) -> BTreeMap<F, u64> {
        self.state().struck.clone()
    }

    /// The fault of one request, among those that apply to it.
    pub(crate) fn strike(&self, applies: impl Fn(F) -> bool) -> Option<F> {
        let mut state = self.state();
        let queued = state.queued.iter().position(|fault| applies(*fault));
        let fault = match queued.and_then(|position| state.queued.remove(position)) {
            Some(fault) => Some(fault),
            None => {
                let luck = state.rng.random::<f64>();
                let mut reached = 0.0;
                let drawn = state.chances.iter().find_map(|(fault, chance)| {
                    reached += chance;
                    (luck < reached).then_some(*fault)
                });
                drawn.filter(|fault| applies(*fault))
            }
        }?;
        *state.struck.entry(fault).or_default() += 1;
        Some(fault)
    }

    fn state(&self) -> MutexGuard<'_, State<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_fault_waits_for_a_request_it_applies_to() {
        let faults = Faults::new(FaultPlan::default());
        faults.queue('b');
        faults.queue('a');
        assert_eq!(faults.strike(|fault| fault == 'a'), Some('a'));
        assert_eq!(faults.strike(|fault| fault == 'a'), None);
        assert_eq!(faults.strike(|_| true), Some('b'));
        assert_eq!(faults.strike(|_| true), None);
        assert_eq!(faults.struck(), BTreeMap::from([('a', 1), ('b', 1)]));
    }

    #[test]
    fn chances_are_kept_and_the_same_for_the_same_seed() {
        let draw = |seed| {
            let faults = Faults::new(FaultPlan { seed, chances: vec![('x', 0.1), ('y', 0.2)] });
            (0..2_000).map(|_| faults.strike(|_| true)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let count = |wanted| draw(1).iter().filter(|fault| **fault == Some(wanted)).count();
        assert!((150..250).contains(&count('x')), "{}", count('x'));
        assert!((340..460).contains(&count('y')), "{}", count('y'));
    }

    #[test]
    fn the_queue_is_bounded() {
        let faults = Faults::new(FaultPlan::default());
        (0..MOST_QUEUED + 5).for_each(|_| faults.queue(1_u8));
        let struck = (0..MOST_QUEUED + 5).filter(|_| faults.strike(|_| true).is_some()).count();
        assert_eq!(struck, MOST_QUEUED);
    }
}
