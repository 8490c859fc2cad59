//! A point as a metrics system spells it. Pure.
//!
//! A system may spell two of our series alike (case, length, characters that it does not take). It would keep one of
//! two counts with one name and time, so they are [added up](merge) here; of two gauges the first is said.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A name, tags and a value.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Item {
    /// The name as the system wants it.
    pub(super) name: String,
    /// The tags or dimensions as the system wants them.
    pub(super) tags: Vec<String>,
    /// The value.
    pub(super) value: Value,
}

/// The value of an item; always numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value {
    /// Added since the last push.
    Count(f64),
    /// As it is now.
    Gauge(f64),
    /// Samples since the last push.
    Summary(Summary),
}

/// Samples since the last push.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Summary {
    /// Not above the least sample.
    pub(super) min: f64,
    /// Not below the greatest sample.
    pub(super) max: f64,
    /// Their sum.
    pub(super) sum: f64,
    /// How many.
    pub(super) count: u64,
}

impl Item {
    /// Whether saying it twice is the same as saying it once.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self.value, Value::Gauge(_))
    }
}

/// Folds items of one name and the same tags into one; and how many could not be.
pub(super) fn merge(items: Vec<Item>) -> (Vec<Item>, usize) {
    let mut merged: BTreeMap<(String, Vec<String>), Value> = BTreeMap::new();
    let mut collided = 0;
    for Item { name, tags, value } in items {
        match merged.entry((name, tags)) {
            Entry::Vacant(entry) => drop(entry.insert(value)),
            Entry::Occupied(mut entry) => match (entry.get_mut(), value) {
                (Value::Count(sum), Value::Count(more)) => *sum += more,
                (Value::Summary(sum), Value::Summary(more)) => {
                    sum.min = sum.min.min(more.min);
                    sum.max = sum.max.max(more.max);
                    sum.sum += more.sum;
                    sum.count += more.count;
                }
                _ => collided += 1,
            },
        }
    }
    let items = merged.into_iter().map(|((name, tags), value)| Item { name, tags, value });
    (items.collect(), collided)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_what_is_spelled_alike_is_one_series_and_counts_add_up() {
        let item = |tag: &str, value| Item { name: "a".to_owned(), tags: vec![tag.to_owned()], value };
        let summary = |min, max, sum, count| Value::Summary(Summary { min, max, sum, count });
        let (items, collided) = merge(vec![
            item("x", Value::Count(2.0)),
            item("y", Value::Count(5.0)),
            item("x", Value::Count(3.0)),
            item("g", Value::Gauge(1.0)),
            item("g", Value::Gauge(9.0)),
            item("s", summary(1.0, 2.0, 3.0, 2)),
            item("s", summary(0.0, 1.0, 1.0, 3)),
        ]);
        let expect = [
            item("g", Value::Gauge(1.0)),
            item("s", summary(0.0, 2.0, 4.0, 5)),
            item("x", Value::Count(5.0)),
            item("y", Value::Count(5.0)),
        ];
        assert_eq!((items.as_slice(), collided), (&expect[..], 1));
    }
}
