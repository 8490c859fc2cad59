//! What looks like a fault and is none, the first days of a deployment, the way back to calm, and what a bad past costs.

use authwatch::action::IncidentStep;
use authwatch::event::{Span, Timestamp};
use authwatch::judge::{Learning, Thresholds};

use crate::faults::{Course, Push, Who, moments, trial};
use crate::null::{OS_VERSION, Shape, Try};
use crate::quiet::product;
use crate::run::{Deployment, HOUR, Judging, Names, WEEK};
use crate::stats::{delays, each, per_90_days};
use crate::{Size, WARM_UP};

const MINUTE: i64 = 60_000;
/// Weeks with a look-alike in a row.
const IN_A_ROW: i64 = 25;
/// Hours from its beginning in which an incident is put down to it.
const LOOKED_AT: std::ops::Range<i64> = 0..8;

/// A look-alike: its name, when in the week it begins, and what it does to the hour that is so many after that.
type Alike = (&'static str, i64, fn(&mut Deployment<'_>, i64, &mut Vec<Try>, &mut Vec<Try>));

fn nothing(_: &mut Deployment<'_>, _: i64, _: &mut Vec<Try>, _: &mut Vec<Try>) {}

fn surge(deployment: &mut Deployment<'_>, hour: i64, _: &mut Vec<Try>, _: &mut Vec<Try>) {
    // What is set here holds for the next hour.
    deployment.surge = if (-1..2).contains(&hour) { [2.5; 4] } else { [1.0; 4] };
}

fn office_outage(deployment: &mut Deployment<'_>, hour: i64, _: &mut Vec<Try>, _: &mut Vec<Try>) {
    deployment.surge[0] = match hour + 1 {
        0..3 => 0.0,
        3..5 => 2.5,
        _ => 1.0,
    };
}

fn one_person(deployment: &mut Deployment<'_>, hour: i64, tries: &mut Vec<Try>, _: &mut Vec<Try>) {
    if !(0..2).contains(&hour) {
        return;
    }
    let start = deployment.hour * HOUR.0;
    let storm =
        (0..250).map(|n| Try { at: start + n * 14_400, person: 1_234, app: 0, platform: 0, check: Some(OS_VERSION) });
    tries.extend(storm);
    tries.sort_by_key(|attempt| attempt.at);
}

fn late_batch(deployment: &mut Deployment<'_>, hour: i64, tries: &mut Vec<Try>, held: &mut Vec<Try>) {
    if hour == 0 {
        let until = deployment.hour * HOUR.0 + 40 * MINUTE;
        held.extend(tries.iter().filter(|attempt| attempt.at < until).copied());
        tries.retain(|attempt| attempt.at >= until);
    }
}

fn phishing_declined(deployment: &mut Deployment<'_>, hour: i64, tries: &mut Vec<Try>, _: &mut Vec<Try>) {
    if hour == 0 {
        let start = deployment.hour * HOUR.0;
        // A declined phishing attempt is a good refusal: it counts among the attempts.
        tries.extend((0..300).map(|n| Try {
            at: start + i64::from(n) * 2_000,
            person: n * 11,
            app: 0,
            platform: 0,
            check: None,
        }));
        tries.sort_by_key(|attempt| attempt.at);
    }
}

fn okta_outage(deployment: &mut Deployment<'_>, hour: i64, tries: &mut Vec<Try>, _: &mut Vec<Try>) {
    if hour == 0 {
        // Everything fails, so nothing is refused, and nobody knows of an innocent cluster.
        tries.retain(|attempt| attempt.check.is_none());
    }
    deployment.surge = if hour == 0 { [2.5; 4] } else { [1.0; 4] };
}

/// Weeks with a look-alike each, beside the same weeks without.
pub(crate) fn look_alikes(size: &Size, weeks: i64, seed: u64) {
    let cases: [Alike; 7] = [
        ("none", 8, nothing),
        ("Monday surge, 3 h × 2.5", 8, surge),
        ("an office out for 3 h, then × 2.5", 24 + 14, office_outage),
        ("one person refused 500 times", 24 + 14, one_person),
        ("40 min of the log come late, at once", 24 + 14, late_batch),
        ("300 phishing attempts declined", 24 + 14, phishing_declined),
        ("Okta out for 1 h, then × 2.5", 24 + 14, okta_outage),
    ];
    let jobs = (weeks + IN_A_ROW - 1) / IN_A_ROW;
    println!("\n## Look-alikes, {} weeks with one each\n", jobs * IN_A_ROW);
    println!("| every week | incidents within 8 h of it | in all | per 90 days |\n| --- | --: | --: | --: |");
    let names = Names::new(Shape::default());
    for (name, begin, alter) in cases {
        let found = each(jobs as usize, size.threads, |job| {
            let mut deployment = Deployment::new(&names, Shape::default(), product(), seed + job as u64, false);
            deployment.warm_up(WARM_UP);
            let (mut near, mut all) = (0, 0);
            for hour_of_week in (0..IN_A_ROW).flat_map(|_| 0..WEEK) {
                let hour = hour_of_week - begin;
                let mut held = Vec::new();
                let heard = live(&mut deployment, hour, alter, &mut held);
                held.iter().for_each(|attempt| deployment.take(attempt));
                let opened = heard.opened().count() as u64;
                all += opened;
                near += if LOOKED_AT.contains(&hour) { opened } else { 0 };
            }
            (near, all)
        });
        let (near, all) = found.iter().fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        println!("| {name} | {near} | {all} | {} |", per_90_days(all, (jobs * IN_A_ROW) as f64));
    }
}

fn live(
    deployment: &mut Deployment<'_>,
    hour: i64,
    alter: fn(&mut Deployment<'_>, i64, &mut Vec<Try>, &mut Vec<Try>),
    held: &mut Vec<Try>,
) -> crate::run::Heard {
    let mut tries = deployment.null.hour(deployment.hour, deployment.surge);
    alter(deployment, hour, &mut tries, held);
    deployment.live_through(&tries)
}

/// Deployments that have learnt nothing yet.
pub(crate) fn first_days(size: &Size, fresh: usize, seed: u64) {
    let days: [(&str, std::ops::Range<i64>); 5] =
        [("1", 0..1), ("2–3", 1..3), ("4–7", 3..7), ("8–14", 7..14), ("15–28", 14..28)];
    let names = Names::new(Shape::default());
    println!("\n## First days, {fresh} fresh deployments\n");
    println!("| day | with the first day's penalty, per 90 days | without |\n| --- | --: | --: |");
    let run = |first_day: f64| {
        let judging = Judging { thresholds: Thresholds { first_day, ..product().thresholds }, ..product() };
        let parts = each(fresh, size.threads, |job| {
            let mut deployment = Deployment::new(&names, Shape::default(), judging, seed + job as u64, false);
            let mut opened = [0_u64; 28];
            for hour in 0..28 * 24 {
                opened[hour / 24] += deployment.live_hour(&mut |_| {}).opened().count() as u64;
            }
            opened
        });
        parts.iter().fold([0; 28], |mut sum: [u64; 28], part| {
            sum.iter_mut().zip(part).for_each(|(sum, count)| *sum += count);
            sum
        })
    };
    let (with, without) = (run(product().thresholds.first_day), run(0.0));
    for (name, days) in days {
        let weeks = fresh as f64 * (days.end - days.start) as f64 / 7.0;
        let sum = |opened: &[u64; 28]| opened.iter().take(days.end as usize).skip(days.start as usize).sum::<u64>();
        println!("| {name} | {} | {} |", per_90_days(sum(&with), weeks), per_90_days(sum(&without), weeks));
    }
}

/// From a rollback to the end of the incident, and what an unnoticed bad past does to the next push.
pub(crate) fn reset(size: &Size, trials: usize, seed: u64) {
    let names = Names::new(Shape::default());
    let cases = [(Who::All, 1.0), (Who::All, 0.2), (Who::Cohort(1), 1.0), (Who::Cohort(0), 1.0)];
    let found = moments(size, &names, product(), trials, seed, &[15], |deployment, _, seed| {
        cases.map(|(who, share)| time_to_rest(deployment, Push { who, share, course: Course::Step }, seed))
    });
    println!("\n## Rollback after 30 min → resolved, 15:00 UTC; the hold-down is 30 min of it\n");
    println!("| refused | p50 / p90 |\n| --- | --: |");
    for (n, (who, share)) in cases.into_iter().enumerate() {
        let times: Vec<f64> = found.iter().filter_map(|trial| trial[n]).collect();
        println!("| {} | {} |", Push { who, share, course: Course::Step }.name(), delays(&times));
    }
    println!(
        "\n## A fifth of everyone is refused at 15:00 UTC; a fifth was on Tuesday and Wednesday of the week before, all day, unnoticed\n"
    );
    println!("| past | p50 / p90 |\n| --- | --: |");
    let listening = |weigh_above| Judging {
        learning: Learning { weigh_above, ..Learning::default() },
        incidents: false,
        ..product()
    };
    for (name, is_bad, weigh_above) in [
        ("as usual", false, Learning::default().weigh_above),
        ("bad, its days count for less", true, Learning::default().weigh_above),
        ("bad, its days count in full", true, f64::INFINITY),
    ] {
        let times = each(trials.div_ceil(3), size.threads, |job| {
            let judging = listening(weigh_above);
            let mut deployment = Deployment::new(&names, Shape::default(), judging, seed + job as u64, false);
            deployment.warm_up(WARM_UP - 1);
            let push = Push { who: Who::All, share: 0.2, course: Course::Step };
            let refused = push.draw(&deployment.null, seed);
            for hour in 0..WEEK {
                let is_bad = is_bad && (24..72).contains(&hour);
                deployment.live_hour(&mut |tries| {
                    for attempt in tries.iter_mut().filter(|_| is_bad) {
                        if push.refuses(&refused, attempt, HOUR.0) {
                            attempt.check = Some(OS_VERSION);
                        }
                    }
                });
            }
            (0..39).for_each(|_| {
                deployment.live_hour(&mut |_| {});
            });
            let judging = Judging { incidents: true, ..judging };
            let run = |n: u64| trial(&names, &deployment, push, judging, (false, None), seed ^ n << 8);
            (0..3).filter_map(run).map(|outcome| outcome.delay).collect::<Vec<f64>>()
        });
        println!("| {name} | {} |", delays(&times.concat()));
    }
}

/// Seconds from the rollback of a push to the end of its incident; `None` where there was none.
fn time_to_rest(from: &Deployment<'_>, push: Push, seed: u64) -> Option<f64> {
    let mut deployment = from.clone();
    if deployment.incidents.open().next().is_some() {
        return None;
    }
    deployment.turn(seed, Judging { changes_a_week: 0.0, ..product() });
    let refused = push.draw(&deployment.null, seed);
    let rollback = Timestamp(deployment.hour * HOUR.0) + Span::minutes(30);
    let mut is_opened = false;
    for hour in 0..8 {
        let start = deployment.hour * HOUR.0;
        let heard = deployment.live_hour(&mut |tries| {
            for attempt in tries.iter_mut().filter(|attempt| hour == 0 && attempt.at < rollback.0) {
                if push.refuses(&refused, attempt, attempt.at - start) {
                    attempt.check = Some(OS_VERSION);
                }
            }
        });
        is_opened |= heard.opened().next().is_some();
        let over = heard.told.iter().find(|action| action.step == IncidentStep::Resolve && action.at > rollback);
        if let Some(over) = over {
            return Some((over.at - rollback).as_seconds());
        }
    }
    is_opened.then_some(f64::INFINITY)
}
