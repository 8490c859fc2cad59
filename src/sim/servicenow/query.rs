//! ServiceNow's encoded queries over rows of strings, with the trap that a condition on an unknown field is dropped.
//!
//! `^` joins by and, `^OR` binds a condition to its left neighbour, `ORDERBY` and `ORDERBYDESC` sort. Operators: `=`,
//! `!=`, `LIKE`, `STARTSWITH`, `IN`, `ISEMPTY`, `ISNOTEMPTY`. Source: the sinks fact sheet's section 1.1.

use std::collections::BTreeMap;

/// A row of a table: every value is a string.
pub(super) type Fields = BTreeMap<String, String>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    NotEquals,
    Equals,
    StartsWith,
    Like,
    IsNotEmpty,
    IsEmpty,
    In,
}

const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::NotEquals),
    ("=", Operator::Equals),
    ("STARTSWITH", Operator::StartsWith),
    ("LIKE", Operator::Like),
    ("ISNOTEMPTY", Operator::IsNotEmpty),
    ("ISEMPTY", Operator::IsEmpty),
    ("IN", Operator::In),
];

#[derive(Clone, PartialEq, Eq, Debug)]
struct Condition {
    field: String,
    operator: Operator,
    value: String,
}

/// A query that is understood; what is not understood is counted in `dropped`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Encoded {
    all_of: Vec<Vec<Condition>>,
    order: Vec<(String, bool)>,
    /// Conditions that named no field of the table, or no operator.
    pub(super) dropped: usize,
}

impl Encoded {
    pub(super) fn parse(text: &str, is_field: impl Fn(&str) -> bool) -> Self {
        let mut query = Self::default();
        for part in text.split('^').filter(|part| !part.is_empty()) {
            if let Some(field) = part.strip_prefix("ORDERBYDESC") {
                query.order.push((field.into(), true));
            } else if let Some(field) = part.strip_prefix("ORDERBY") {
                query.order.push((field.into(), false));
            } else {
                let (or, part) = part.strip_prefix("OR").map_or((false, part), |rest| (true, rest));
                query.add(or, part, &is_field);
            }
        }
        query
    }

    fn add(&mut self, or: bool, part: &str, is_field: &impl Fn(&str) -> bool) {
        match condition(part).filter(|condition| is_field(&condition.field)) {
            Some(condition) => match self.all_of.last_mut().filter(|_| or) {
                Some(any_of) => any_of.push(condition),
                None => self.all_of.push(vec![condition]),
            },
            None => self.dropped += 1,
        }
    }

    pub(super) fn matches(&self, row: &Fields) -> bool {
        self.all_of.iter().all(|any_of| any_of.iter().any(|condition| condition.holds(row)))
    }

    pub(super) fn sort(&self, rows: &mut [Fields]) {
        for (field, descending) in self.order.iter().rev() {
            rows.sort_by(|a, b| {
                let order = a.get(field).cmp(&b.get(field));
                if *descending { order.reverse() } else { order }
            });
        }
    }
}

impl Condition {
    fn holds(&self, row: &Fields) -> bool {
        let actual = row.get(&self.field).map_or("", String::as_str);
        match self.operator {
            Operator::Equals => actual == self.value,
            Operator::NotEquals => actual != self.value,
            Operator::StartsWith => actual.starts_with(&self.value),
            Operator::Like => actual.contains(&self.value),
            Operator::IsEmpty => actual.is_empty(),
            Operator::IsNotEmpty => !actual.is_empty(),
            Operator::In => self.value.split(',').any(|value| value.trim() == actual),
        }
    }
}

fn condition(text: &str) -> Option<Condition> {
    let end = text.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.'))?;
    let (field, rest) = text.split_at(end);
    let (word, operator) = OPERATORS.iter().find(|(word, _)| rest.starts_with(word))?;
    Some(Condition { field: field.into(), operator: *operator, value: rest[word.len()..].into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Fields> {
        let row = |number: &str, state: &str, title: &str| {
            [("number", number), ("state", state), ("short_description", title)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        };
        vec![row("INC1", "1", "mail is slow"), row("INC2", "6", ""), row("INC3", "7", "mail is down")]
    }

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let query = Encoded::parse(text, |field| ["number", "state", "short_description"].contains(&field));
        let mut found: Vec<Fields> = rows().into_iter().filter(|row| query.matches(row)).collect();
        query.sort(&mut found);
        let numbers: Vec<&str> = found.iter().map(|row| row["number"].as_str()).collect();
        assert_eq!(numbers, expect, "{text}");
    }

    #[test]
    fn conditions_select_rows() {
        check("state=6", &["INC2"]);
        check("state!=6", &["INC1", "INC3"]);
        check("short_descriptionLIKEmail", &["INC1", "INC3"]);
        check("short_descriptionSTARTSWITHmail is s", &["INC1"]);
        check("short_descriptionISEMPTY", &["INC2"]);
        check("stateIN6,7", &["INC2", "INC3"]);
        check("state=1^ORstate=7^short_descriptionLIKEdown", &["INC3"]);
        check("", &["INC1", "INC2", "INC3"]);
        check("ORDERBYDESCnumber", &["INC3", "INC2", "INC1"]);
        check("state!=6^ORDERBYDESCstate", &["INC3", "INC1"]);
    }

    #[test]
    fn a_condition_on_an_unknown_field_is_dropped_and_every_row_returned() {
        check("corelation_id=abc", &["INC1", "INC2", "INC3"]);
        check("corelation_id=abc^state=6", &["INC2"]);
        assert_eq!(Encoded::parse("corelation_id=abc", |_| false).dropped, 1);
    }
}
