//! An answer for people: a few sentences and aligned tables.

use crate::policy::ask::{Answer, Seen, share};
use crate::policy::baseline::{Baseline, FloorCost, Group};
use crate::policy::whatif::{Counts, How, Row, WhatIf};

/// Rows of a table by app or version; the rest is counted in its last line.
const ROWS: usize = 20;

/// The lines to print.
pub(super) fn lines(answer: &Answer, rejected: u64) -> Vec<String> {
    let mut lines = seen(&answer.seen, rejected);
    if let Some(whatif) = &answer.whatif {
        whatif_lines(whatif, &mut lines);
    }
    if let Some(baseline) = &answer.baseline {
        baseline_lines(baseline, &mut lines);
    }
    lines
}

fn seen(seen: &Seen, rejected: u64) -> Vec<String> {
    let mut lines = Vec::new();
    match (seen.from, seen.until) {
        (Some(from), Some(until)) => {
            lines.push(format!("{} devices of {} people, seen from {from} to {until}", seen.devices, seen.people))
        }
        (_, _) => lines.push("no event names a device".to_owned()),
    }
    if seen.devices_without_person > 0 {
        lines.push(format!("  {} devices that nobody signed in on", seen.devices_without_person));
    }
    if seen.counts.evaluations > 0 {
        let part = percent(share(seen.counts.without_device, seen.counts.evaluations));
        lines.push(format!(
            "  {} of {} policy evaluations ({part}) name no device: of these nothing can be said",
            seen.counts.without_device, seen.counts.evaluations
        ));
    }
    if seen.counts.evicted > 0 {
        lines.push(format!("  {} devices were left out: there are too many", seen.counts.evicted));
    }
    if rejected > 0 {
        lines.push(format!("  {rejected} records are no events (see `explain`)"));
    }
    lines
}

fn whatif_lines(whatif: &WhatIf, lines: &mut Vec<String>) {
    lines.push(String::new());
    for changed in &whatif.changed {
        let how = match changed.how {
            How::Replaces => "replaces the policy in force",
            How::Set => "the policy in force with values set",
            How::Platform => "for all devices of the platform",
        };
        lines.push(format!("proposed: {} ({}), {how}", name(&changed.assurance, "unnamed"), changed.platform));
    }
    let mut rows = vec![row("all", &whatif.all)];
    rows.extend(group("by platform", &whatif.by_platform));
    rows.extend(group("by cohort", &whatif.by_cohort));
    let mut apps: Vec<Row> = whatif.by_app.clone();
    apps.sort_by_key(|row| std::cmp::Reverse((row.counts.refuse, row.counts.devices)));
    let left_off = apps.len().saturating_sub(ROWS);
    apps.truncate(ROWS);
    rows.extend(group("by app", &apps));
    let mut head = vec!["", "devices", "pass", "refused", "unknown", "unknown %", "people", "refused", "locked out"];
    if whatif.all.before.is_some() {
        head.extend(["newly refused", "already", "not known before", "let in"]);
    }
    lines.push(String::new());
    lines.extend(table(&head, &rows));
    if left_off > 0 {
        lines.push(format!("  and {left_off} more apps"));
    }
    if !whatif.checks.is_empty() {
        let rows: Vec<Vec<String>> = whatif
            .checks
            .iter()
            .map(|row| vec![format!("  {}", row.check), row.refuse.to_string(), row.unknown.to_string()])
            .collect();
        lines.push(String::new());
        lines.extend(table(&["by check", "refused", "unknown"], &rows));
    }
    if whatif.not_touched + whatif.platform_unknown > 0 {
        lines.push(String::new());
        lines.push(format!(
            "{} devices are not touched, of {} the platform is not known",
            whatif.not_touched, whatif.platform_unknown
        ));
    }
}

fn group(title: &str, rows: &[Row]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    if !rows.is_empty() {
        all.push(vec![title.to_owned()]);
        all.extend(rows.iter().map(|one| row(&format!("  {}", name(&one.name, "(none)")), &one.counts)));
    }
    all
}

fn row(name: &str, counts: &Counts) -> Vec<String> {
    let mut cells = vec![name.to_owned()];
    cells.extend([counts.devices, counts.pass, counts.refuse, counts.unknown].map(|n| n.to_string()));
    cells.push(percent(counts.unknown_share));
    cells.extend([counts.people, counts.people_refused, counts.people_locked_out].map(|n| n.to_string()));
    if let Some(before) = counts.before {
        let parts = [before.newly_refused, before.already_refused, before.refused_unknown_before, before.newly_let_in];
        cells.extend(parts.map(|n| n.to_string()));
    }
    cells
}

fn baseline_lines(baseline: &Baseline, lines: &mut Vec<String>) {
    let rows: Vec<Vec<String>> = baseline
        .floors
        .iter()
        .map(|floor| {
            let cost = |cost: &Option<FloorCost>| match cost {
                Some(cost) => vec![cost.version.to_string(), cost.refused.to_string(), percent(Some(cost.share))],
                None => vec!["-".to_owned(), "-".to_owned(), "-".to_owned()],
            };
            let mut cells = vec![format!("  {}", floor.platform), floor.known.to_string(), floor.unknown.to_string()];
            cells.extend(cost(&floor.floor));
            cells.extend(cost(&floor.next));
            cells
        })
        .collect();
    if let Some(first) = baseline.floors.first() {
        let title = format!("tightest floor that refuses less than {} %", first.budget.as_percent());
        lines.push(String::new());
        let head = [&title, "version known", "unknown", "floor", "refused", "%", "next", "refused", "%"];
        lines.extend(table(&head, &rows));
    }
    for group in &baseline.groups {
        lines.push(String::new());
        lines.push(title(group));
        lines.extend(versions(group));
        let rows: Vec<Vec<String>> = group
            .checks
            .iter()
            .map(|count| {
                let numbers = [count.pass, count.fail, count.unknown].map(|n| n.to_string());
                let shares = [percent(count.pass_share), percent(Some(count.unknown_share))];
                [format!("  {}", count.asks)].into_iter().chain(numbers).chain(shares).collect()
            })
            .collect();
        lines.extend(table(&["  check", "pass", "fail", "unknown", "pass %", "unknown %"], &rows));
    }
}

fn title(group: &Group) -> String {
    let cohort = match group.cohort.as_deref() {
        None => String::new(),
        Some("") => ", in no cohort".to_owned(),
        Some(cohort) => format!(", {cohort}"),
    };
    format!("{}{cohort}: {} devices of {} people", group.platform, group.devices, group.people)
}

fn versions(group: &Group) -> Vec<String> {
    let newest = group.versions.iter().rev();
    let mut rows: Vec<Vec<String>> = newest
        .clone()
        .take(ROWS)
        .map(|row| vec![format!("  {}", row.version), row.devices.to_string(), percent(Some(row.share))])
        .collect();
    let older: u64 = newest.skip(ROWS).map(|row| row.devices).sum();
    for (word, devices) in [("  older", older), ("  unknown", group.version_unknown)] {
        if devices > 0 {
            rows.push(vec![word.to_owned(), devices.to_string(), percent(share(devices, group.devices))]);
        }
    }
    table(&["  version", "devices", "%"], &rows)
}

fn name<'a>(name: &'a str, or: &'a str) -> &'a str {
    if name.is_empty() { or } else { name }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", share * 100.0))
}

/// Aligned columns: the first to the left, the others to the right; control characters of names are taken out.
fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let head = head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let clean = |cell: &String| cell.chars().filter(|c| !c.is_control()).collect::<String>();
    let all: Vec<Vec<String>> = std::iter::once(&head).chain(rows).map(|row| row.iter().map(clean).collect()).collect();
    let width = |column: usize| {
        // A heading of one cell stands over the columns and widens none.
        let cells = all.iter().filter(|row| row.len() > 1 || column > 0).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_names_cannot_move_the_cursor() {
        let rows = [vec!["macos".to_owned(), "12".to_owned()], vec!["\u{1b}[2Jé".to_owned(), "3".to_owned()]];
        assert_eq!(table(&["", "devices"], &rows), ["       devices", "macos       12", "[2Jé         3"]);
    }

    #[test]
    fn a_heading_stands_over_the_columns() {
        let rows = [vec!["a long heading".to_owned()], vec!["  x".to_owned(), "1".to_owned()]];
        assert_eq!(table(&["", "n"], &rows), ["     n", "a long heading", "  x  1"]);
    }
}
