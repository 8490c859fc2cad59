//! The numbers, by cohort.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::days::end_of;
use super::{Adoption, Known};
use crate::event::{Credential, Person, Timestamp};

/// People at each stage. Every stage is part of `seen`; `resistant_last` and `resistant_only` hold people with a security
/// key and no FastPass too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// Took part in a sign-in, or enrolled, in the last 90 days.
    pub seen: u32,
    /// Of them: have used or enrolled FastPass, as far as was seen.
    pub fastpass: u32,
    /// Of them: the last sign-in was phishing-resistant.
    pub resistant_last: u32,
    /// Of them: signed in lately, and every sign-in was phishing-resistant.
    pub resistant_only: u32,
}

impl Numbers {
    /// Every stage with its word, in order.
    pub fn stages(&self) -> [(&'static str, u32); 4] {
        [
            ("seen", self.seen),
            ("fastpass", self.fastpass),
            ("resistant_last", self.resistant_last),
            ("resistant_only", self.resistant_only),
        ]
    }
}

/// One cohort, or everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stages {
    /// People at each stage.
    pub numbers: Numbers,
    /// People who fell back lately, whatever to.
    pub fallback_people: u32,
    /// The same by what they fell back to; one person can be under several.
    pub fallback: BTreeMap<Credential, u32>,
}

/// The numbers as a day's end found them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Day {
    /// The day's end: the first instant that is not in it, in UTC.
    pub until: Timestamp,
    /// Everybody.
    pub all: Numbers,
    /// By cohort, as people were in them then.
    pub cohorts: BTreeMap<SmolStr, Numbers>,
}

/// How far an org has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Funnel {
    /// How many days "lately" means; the last of them is the day under way, in UTC.
    pub window_days: u8,
    /// Everybody.
    pub all: Stages,
    /// By cohort; a cohort in which nobody was seen is not there.
    pub cohorts: BTreeMap<SmolStr, Stages>,
    /// One entry a day, oldest first.
    pub history: Vec<Day>,
}

impl Funnel {
    /// The same with one cohort only, besides everybody.
    #[must_use]
    pub fn only(mut self, cohort: &str) -> Self {
        self.cohorts.retain(|name, _| name == cohort);
        self.history.iter_mut().for_each(|day| day.cohorts.retain(|name, _| name == cohort));
        self
    }
}

/// The funnel of a day, without history.
pub(super) fn count(adoption: &Adoption, day: i32, cohort_of: &dyn Fn(&Person) -> Option<SmolStr>) -> Funnel {
    let window = adoption.window_days;
    let mut funnel =
        Funnel { window_days: window, all: Stages::default(), cohorts: BTreeMap::new(), history: Vec::new() };
    let until = end_of(day);
    let oldest = until - Adoption::RETENTION;
    let is_there = |known: &Known| known.first < until && known.seen >= oldest;
    for (person, known) in adoption.people.iter().filter(|(_, known)| is_there(known)) {
        funnel.all.add(known, day, window);
        if let Some(cohort) = cohort_of(person) {
            funnel.cohorts.entry(cohort).or_default().add(known, day, window);
        }
    }
    funnel
}

impl Stages {
    fn add(&mut self, known: &Known, day: i32, window: u8) {
        let numbers = &mut self.numbers;
        let is_resistant = known.last.is_some_and(|last| last.phishing_resistant == Some(true));
        numbers.seen += 1;
        numbers.fastpass += u32::from(known.fastpass_since.is_some_and(|since| since < end_of(day)));
        numbers.resistant_last += u32::from(is_resistant);
        numbers.resistant_only += u32::from(known.days.is_resistant_only(day, window));
        let mut falls_back = false;
        for credential in known.days.fallbacks(day, window) {
            falls_back = true;
            *self.fallback.entry(credential).or_default() += 1;
        }
        self.fallback_people += u32::from(falls_back);
    }
}
