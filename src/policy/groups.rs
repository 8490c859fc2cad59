//! Who is in which Okta group, as far as it is known.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::Person;
use crate::input::Cohort;

/// Memberships by group. A group that was never listed is unknown, not empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Groups {
    people: BTreeMap<SmolStr, BTreeSet<Person>>,
}

impl Groups {
    /// Takes a whole listing of a group.
    pub fn list(&mut self, group: &SmolStr, people: &BTreeSet<Person>) {
        self.people.insert(group.clone(), people.clone());
    }

    /// A person joins (or leaves) a group that is known; of an unknown one a single change says nothing.
    pub fn change(&mut self, group: &str, person: &Person, joins: bool) {
        if let Some(people) = self.people.get_mut(group) {
            if joins {
                people.insert(person.clone());
            } else {
                people.remove(person);
            }
        }
    }

    /// Whether a person is in a group; `None` where the group is not known.
    pub fn has(&self, group: &str, person: &Person) -> Option<bool> {
        Some(self.people.get(group)?.contains(person))
    }

    /// Whether a person is known to be in one of these groups.
    pub fn has_in_any<'a>(&self, groups: impl IntoIterator<Item = &'a SmolStr>, person: &Person) -> bool {
        groups.into_iter().any(|group| self.has(group, person) == Some(true))
    }

    /// The cohort of a person: the first that names them, or one of whose groups they are known to be in.
    pub fn cohort_of(&self, cohorts: &[Cohort], person: &Person) -> Option<SmolStr> {
        let holds = |cohort: &&Cohort| cohort.users.contains(person) || self.has_in_any(&cohort.groups, person);
        cohorts.iter().find(holds).map(|cohort| SmolStr::new(&cohort.name))
    }

    /// Forgets a person.
    pub fn forget(&mut self, person: &Person) {
        for people in self.people.values_mut() {
            people.remove(person);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_was_never_listed_is_unknown_and_a_known_one_follows_changes() {
        let (group, ann, ben) = (SmolStr::new("00g1"), Person::new("00u1"), Person::new("00u2"));
        let mut groups = Groups::default();
        groups.change(&group, &ann, true);
        assert_eq!(groups.has(&group, &ann), None);
        groups.list(&group, &BTreeSet::from([ann.clone()]));
        groups.change(&group, &ben, true);
        groups.change(&group, &ann, false);
        assert_eq!((groups.has(&group, &ann), groups.has(&group, &ben)), (Some(false), Some(true)));
        let cohort = |name: &str, users: &[&Person], groups: &[&SmolStr]| Cohort {
            name: name.to_owned(),
            users: users.iter().map(|person| (*person).clone()).collect(),
            groups: groups.iter().map(|group| (*group).clone()).collect(),
        };
        let other = SmolStr::new("00g2");
        let cohorts = [cohort("named", &[&ann], &[&other]), cohort("grouped", &[&ann], &[&other, &group])];
        let of = |person| groups.cohort_of(&cohorts, person);
        assert_eq!((of(&ann).as_deref(), of(&ben).as_deref()), (Some("named"), Some("grouped")));
        assert_eq!(of(&Person::new("00u3")), None);
        groups.forget(&ben);
        assert_eq!(groups.has(&group, &ben), Some(false));
    }
}
