//! Pushes that refuse people, in every size: how long until an incident opens, and after how many people.
//!
//! Each trial goes on from a deployment that has learnt for weeks, on a Tuesday, Wednesday or Thursday, with luck of its
//! own. The delay is from the first person whom the push refused to `opened_at`: the tick plus L. A miss is no incident
//! within four hours, and counts as infinite.

use std::collections::BTreeSet;

use authwatch::event::Timestamp;
use authwatch::judge::{Door, Scope};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::null::{Null, OS_VERSION, Shape, Try};
use crate::quiet::product;
use crate::rivals::{RULES, Scores};
use crate::run::{Deployment, HOUR, Heard, Judging, LATENESS, Names, TICK};
use crate::stats::{delays, each, quantile, time};
use crate::{Size, WARM_UP};

/// How long a push is looked for.
const HOURS: i64 = 4;
/// The hours of the day, UTC.
const AT: [i64; 3] = [3, 9, 15];
/// Platforms from here on are not known.
const UNKNOWN_PLATFORM: u8 = 5;

/// Whom a push is for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Who {
    All,
    Cohort(u8),
    /// So many people anywhere: no key of their own.
    Scattered(usize),
}

/// How it comes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Course {
    /// At once, to stay.
    Step,
    /// Device by device within half an hour.
    Ramp,
    /// For a quarter of an hour.
    Pulse,
    /// At once, in one app.
    OneApp,
}

/// One push.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Push {
    pub(crate) who: Who,
    /// The share of them that is refused.
    pub(crate) share: f64,
    pub(crate) course: Course,
}

/// What came of it.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    /// Seconds, infinite for a miss.
    pub(crate) delay: f64,
    people: usize,
    rivals: Scores,
}

impl Push {
    pub(crate) fn name(&self) -> String {
        let who = match self.who {
            Who::All => "everyone".to_owned(),
            Who::Cohort(0) => "50 people".to_owned(),
            Who::Cohort(1) => "250 people".to_owned(),
            Who::Cohort(_) => "the rest".to_owned(),
            Who::Scattered(n) => format!("{n} scattered"),
        };
        let course = match self.course {
            Course::Step => "",
            Course::Ramp => ", over 30 min",
            Course::Pulse => ", for 15 min",
            Course::OneApp => ", one app",
        };
        format!("{who}, {:.0} %{course}", self.share * 100.0)
    }

    /// When each person is refused from, in milliseconds after the push.
    pub(crate) fn draw(&self, null: &Null, seed: u64) -> Vec<Option<i64>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xfa17);
        let mut people: Vec<usize> = (0..null.people.len())
            .filter(|n| match self.who {
                Who::Cohort(cohort) => null.people[*n].cohort == cohort,
                Who::All | Who::Scattered(_) => true,
            })
            .collect();
        people.shuffle(&mut rng);
        let number = match self.who {
            Who::Scattered(number) => number as f64,
            Who::All | Who::Cohort(_) => people.len() as f64,
        };
        let mut from = vec![None; null.people.len()];
        for person in people.into_iter().take((number * self.share).round() as usize) {
            let wait = if self.course == Course::Ramp { rng.random_range(0..HOUR.0 / 2) } else { 0 };
            from[person] = Some(wait);
        }
        from
    }

    /// Whether the push refuses a try, so long after it began.
    pub(crate) fn refuses(&self, from: &[Option<i64>], attempt: &Try, after: i64) -> bool {
        let is_on = self.course != Course::Pulse || after < HOUR.0 / 4;
        let is_here = self.course != Course::OneApp || attempt.app == 0;
        let is_asked = Null::is_gated(attempt.app) && attempt.platform < UNKNOWN_PLATFORM;
        is_on && is_here && is_asked && from[attempt.person as usize].is_some_and(|from| after >= from)
    }

    /// What the change event would say.
    fn scope(&self, names: &Names, by_check: bool) -> Scope {
        let mut scope = Scope::default();
        if by_check {
            scope.checks.insert(names.checks[usize::from(OS_VERSION)].clone());
            if let Who::Cohort(cohort) = self.who {
                scope.cohorts = Some([names.cohorts[usize::from(cohort)].clone()].into());
            }
        } else {
            scope.rules.extend(names.rules.iter().cloned());
        }
        scope
    }
}

/// One push from where a deployment stands; with `thresholds` the rivals look too.
pub(crate) fn trial(
    names: &Names,
    from: &Deployment<'_>,
    push: Push,
    judging: Judging,
    (sees_change, thresholds): (bool, Option<&Scores>),
    seed: u64,
) -> Option<Outcome> {
    let mut deployment = from.clone();
    if deployment.incidents.open().next().is_some() {
        return None;
    }
    deployment.turn(seed, Judging { changes_a_week: 0.0, ..judging });
    if thresholds.is_none() {
        deployment.rivals = None;
    }
    let refused = push.draw(&deployment.null, seed);
    let start = deployment.hour * HOUR.0;
    if sees_change {
        let scope = push.scope(names, judging.by_check);
        deployment.board.open(Door { change: "push".into(), at: Timestamp(start), scope });
    }
    let mut outcome = Outcome { delay: f64::INFINITY, people: 0, rivals: [f64::INFINITY; RULES.len()] };
    let (mut first, mut people) = (None, BTreeSet::new());
    let mut heard = Heard::default();
    'hours: for _ in 0..HOURS {
        let tries = deployment.null.hour(deployment.hour, deployment.surge);
        for mut attempt in tries {
            if attempt.check.is_none() && push.refuses(&refused, &attempt, attempt.at - start) {
                attempt.check = Some(OS_VERSION);
                first.get_or_insert(attempt.at);
                people.insert((attempt.person, attempt.at));
            }
            deployment.run_ticks(Timestamp(attempt.at), &mut heard);
            let began = first.unwrap_or(attempt.at);
            if let Some(opened) = heard.opened().next().map(|action| action.at)
                && !deployment.is_deaf
            {
                outcome.delay = (opened.0 - began) as f64 / 1_000.0;
                let known = people.iter().filter(|(_, at)| *at < opened.0 - LATENESS.0);
                outcome.people = known.map(|(person, _)| *person).collect::<BTreeSet<_>>().len();
                deployment.is_deaf = true;
            }
            let is_refused = attempt.check.is_some();
            deployment.take(&attempt);
            if let (true, Some(rivals), Some(thresholds)) = (is_refused, &mut deployment.rivals, thresholds) {
                let scores = rivals.take();
                let known = Timestamp(attempt.at).floor(TICK) + TICK + LATENESS;
                for ((delay, score), threshold) in outcome.rivals.iter_mut().zip(scores).zip(thresholds) {
                    if score >= *threshold && delay.is_infinite() {
                        *delay = (known.0 - began) as f64 / 1_000.0;
                    }
                }
            }
            let rivals_are_done = thresholds.is_none() || outcome.rivals.iter().all(|delay| delay.is_finite());
            if deployment.is_deaf && rivals_are_done {
                break 'hours;
            }
        }
        deployment.hour += 1;
        if let Some(rivals) = &mut deployment.rivals {
            rivals.end_hour(deployment.hour - 1);
        }
    }
    Some(outcome)
}

/// Deployments that have learnt, at these hours of three days; `work` gives something for each.
pub(crate) fn moments<T: Send>(
    size: &Size,
    names: &Names,
    judging: Judging,
    trials: usize,
    seed: u64,
    hours: &[i64],
    work: impl Fn(&Deployment<'_>, i64, u64) -> T + Sync,
) -> Vec<T> {
    let parts = each(trials.div_ceil(3), size.threads, |job| {
        let mut deployment = Deployment::new(names, Shape::default(), judging, seed + job as u64, true);
        deployment.warm_up(WARM_UP);
        let mut found = Vec::new();
        for hour_of_week in 0..96 {
            let (day, hour) = (hour_of_week / 24, hour_of_week % 24);
            if (1..=3).contains(&day) && hours.contains(&hour) && found.len() < trials * hours.len() {
                if let Some(rivals) = &mut deployment.rivals {
                    rivals.take();
                }
                found.push(work(&deployment, hour, seed ^ (job as u64) << 20 ^ (hour_of_week as u64) << 8));
            }
            deployment.live_hour(&mut |_| {});
        }
        found
    });
    parts.into_iter().flatten().collect()
}

/// The pushes that are crossed with the hours.
fn pushes() -> Vec<(Push, &'static [i64])> {
    let push = |who, share, course| Push { who, share, course };
    let mut all: Vec<(Push, &'static [i64])> = Vec::new();
    for who in [Who::All, Who::Cohort(1), Who::Cohort(0)] {
        for share in [1.0, 0.5, 0.2] {
            all.push((push(who, share, Course::Step), &AT));
        }
    }
    for course in [Course::Ramp, Course::Pulse, Course::OneApp] {
        for (who, share) in [(Who::All, 1.0), (Who::All, 0.2), (Who::Cohort(1), 1.0), (Who::Cohort(0), 1.0)] {
            all.push((push(who, share, course), &AT[2..]));
        }
    }
    for people in [10, 20, 40, 80, 160] {
        all.push((push(Who::Scattered(people), 1.0, Course::Step), &AT[1..]));
    }
    all
}

/// One cell: the outcomes without and with the change seen, and by rule.
struct Cell {
    push: Push,
    hour: i64,
    plain: Vec<Outcome>,
    seen: Vec<Outcome>,
}

/// Every table of pushes.
pub(crate) fn print(size: &Size, thresholds: &Scores, trials: usize, seed: u64) {
    let names = Names::new(Shape::default());
    let judging = product();
    let pushes = pushes();
    let found = moments(size, &names, judging, trials, seed, &AT, |deployment, hour, seed| {
        let here = pushes.iter().enumerate().filter(|(_, (_, hours))| hours.contains(&hour));
        here.map(|(n, (push, _))| {
            let run = |sees, rivals| trial(&names, deployment, *push, judging, (sees, rivals), seed ^ n as u64);
            (n, hour, run(false, Some(thresholds)), run(true, None))
        })
        .collect::<Vec<_>>()
    });
    let mut cells: Vec<Cell> = Vec::new();
    for (n, hour, plain, seen) in found.into_iter().flatten() {
        let (push, place) =
            (pushes[n].0, cells.iter().position(|cell| cell.hour == hour && cell.push.name() == pushes[n].0.name()));
        let place = place.unwrap_or_else(|| {
            cells.push(Cell { push, hour, plain: Vec::new(), seen: Vec::new() });
            cells.len() - 1
        });
        cells[place].plain.extend(plain);
        cells[place].seen.extend(seen);
    }
    cells.sort_by_key(|cell| (pushes.iter().position(|(push, _)| push.name() == cell.push.name()), cell.hour));
    print_delays(&cells);
    print_rivals(&cells);
    by_rule(size, trials, seed);
}

fn seconds(outcomes: &[Outcome]) -> Vec<f64> {
    outcomes.iter().map(|outcome| outcome.delay).collect()
}

/// People at the alarm, and how many were opened at or before the `nth`.
fn people(outcomes: &[Outcome], nth: usize) -> String {
    let found = outcomes.iter().filter(|outcome| outcome.delay.is_finite());
    let mut people: Vec<usize> = found.map(|outcome| outcome.people).collect();
    people.sort_unstable();
    let Some(median) = people.get(people.len() / 2) else { return "–".to_owned() };
    let in_time = people.iter().filter(|people| **people <= nth).count() as f64 / outcomes.len() as f64;
    format!("{median}; {:.0} %", in_time * 100.0)
}

fn print_delays(cells: &[Cell]) {
    let trials = cells.iter().map(|cell| cell.plain.len()).min().unwrap_or(0);
    println!("\n## Pushes: first person refused → opened, at least {trials} trials a cell\n");
    println!(
        "p50 / p90; a percentage is the share found within four hours where p90 is a miss. People: the median at the alarm; the share"
    );
    println!("of all trials that opened at or before the fifth person (third, where the change was seen).\n");
    println!(
        "| refused | UTC | no change seen | people; ≤ 5th | change in scope seen | people; ≤ 3rd |\n| --- | --: | --: | --: | --: | --: |"
    );
    for cell in cells {
        let (plain, seen) = (delays(&seconds(&cell.plain)), delays(&seconds(&cell.seen)));
        let (five, three) = (people(&cell.plain, 5), people(&cell.seen, 3));
        println!("| {} | {:02} | {plain} | {five} | {seen} | {three} |", cell.push.name(), cell.hour);
    }
}

fn print_rivals(cells: &[Cell]) {
    println!("\n## The same pushes by the rules of today, p90 (p50 where p90 is a miss, else the share found)\n");
    println!(
        "| refused | UTC | authwatch | {} |\n| --- | --: | --: |{}",
        RULES.join(" | "),
        " --: |".repeat(RULES.len())
    );
    let (mut compared, mut lost) = (0, Vec::new());
    let short = |values: &[f64]| {
        let (p50, p90) = (quantile(values, 0.5), quantile(values, 0.9));
        let found = values.iter().filter(|value| value.is_finite()).count() as f64 / values.len().max(1) as f64;
        match (p50.is_finite(), p90.is_finite()) {
            (_, true) => time(p90),
            (true, false) => format!("({})", time(p50)),
            (false, false) => format!("{:.0} %", found * 100.0),
        }
    };
    for cell in cells {
        let own = seconds(&cell.plain);
        let rivals: Vec<Vec<f64>> =
            (0..RULES.len()).map(|rule| cell.plain.iter().map(|outcome| outcome.rivals[rule]).collect()).collect();
        let texts: Vec<String> = rivals.iter().map(|delays| short(delays)).collect();
        println!("| {} | {:02} | {} | {} |", cell.push.name(), cell.hour, short(&own), texts.join(" | "));
        let p90 = quantile(&own, 0.9);
        let best = rivals.iter().map(|delays| quantile(delays, 0.9)).fold(f64::INFINITY, f64::min);
        if p90.is_finite() || best.is_finite() {
            compared += 1;
            if p90 > best * 1.1 {
                lost.push(format!("{} at {:02} ({} against {})", cell.push.name(), cell.hour, time(p90), time(best)));
            }
        }
    }
    let held = compared - lost.len();
    println!("\nOf {compared} cells where anybody's p90 is finite, authwatch's is lowest or within 10 % in {held}.");
    println!("Cells where it loses: {}.", if lost.is_empty() { "none".to_owned() } else { lost.join("; ") });
}

/// The same where the policies are not known.
fn by_rule(size: &Size, trials: usize, seed: u64) {
    let names = Names::new(Shape::default());
    let judging = Judging { by_check: false, ..product() };
    let pushes: Vec<Push> = pushes().into_iter().take(9).map(|(push, _)| push).collect();
    let found = moments(size, &names, judging, trials, seed, &AT[2..], |deployment, _, seed| {
        let run = |push, sees| trial(&names, deployment, push, judging, (sees, None), seed);
        pushes.iter().map(|push| (run(*push, false), run(*push, true))).collect::<Vec<_>>()
    });
    println!("\n## Pushes where the policies are not known: rules stand for checks, 15:00 UTC\n");
    println!("| refused | no change seen | change in scope seen |\n| --- | --: | --: |");
    for (n, push) in pushes.iter().enumerate() {
        let of = |seen: bool| -> Vec<f64> {
            let outcomes = found.iter().filter_map(|trial| if seen { trial[n].1 } else { trial[n].0 });
            outcomes.map(|outcome| outcome.delay).collect()
        };
        println!("| {} | {} | {} |", push.name(), delays(&of(false)), delays(&of(true)));
    }
}
