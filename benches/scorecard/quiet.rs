//! Weeks in which nothing happens: the thresholds that keep a budget, and whether they keep it in other weeks.

use authwatch::input::CoreConfig;
use authwatch::judge::{Learning, Thresholds, budget};

use crate::null::Shape;
use crate::rivals::{RULES, Scores};
use crate::run::{Deployment, HOUR, Judging, Names, WEEK};
use crate::stats::{WEEKS_OF_BUDGET, each, per_90_days, threshold_for};
use crate::{MEASURED, Size, WARM_UP};

/// Hours that count as one: what fires twice within them is one incident.
const BLOCK: i64 = 4;
/// The share of the budget that the judge may spend, and aims at: see `judge::budget`.
pub(crate) const AIM: f64 = 0.8 * 0.8;
/// The first door's part of that.
const FIRST_DOOR: f64 = 0.625;

/// The product's own judging.
pub(crate) fn product() -> Judging {
    Judging {
        thresholds: Thresholds::new(&CoreConfig::default().judge, 1, 5.0),
        learning: Learning::default(),
        by_check: true,
        incidents: true,
        changes_a_week: 5.0,
    }
}

/// Everything that comes near is noted, and makes no incident.
fn listening() -> Judging {
    let thresholds = Thresholds { spike: 2.5, after_change: 0.3, ..product().thresholds };
    Judging { thresholds, incidents: false, ..product() }
}

/// The highest scores of every block of quiet weeks: through the first door, the second, and the rivals'.
pub(crate) struct Blocks {
    pub(crate) weeks: f64,
    first: Vec<f64>,
    second: Vec<f64>,
    rivals: Vec<Scores>,
}

/// Lives through quiet weeks, listening.
pub(crate) fn listen(size: &Size, weeks: i64, seed: u64) -> Blocks {
    let (shape, jobs) = (Shape::default(), (weeks + MEASURED - 1) / MEASURED);
    let names = Names::new(shape);
    let parts = each(jobs as usize, size.threads, |job| {
        let mut deployment = Deployment::new(&names, shape, listening(), seed + job as u64, true);
        deployment.warm_up(WARM_UP);
        let mut blocks: Vec<(f64, f64, Scores)> = Vec::new();
        for _ in 0..MEASURED * WEEK / BLOCK {
            let (mut first, mut second) = (0.0_f64, 0.0_f64);
            for _ in 0..BLOCK {
                for (_, firing) in deployment.live_hour(&mut |_| {}).firings {
                    let door = if firing.change.is_some() { &mut second } else { &mut first };
                    *door = door.max(firing.verdict.score);
                }
            }
            let rivals = deployment.rivals.as_mut().map(crate::rivals::Rivals::take).unwrap_or_default();
            blocks.push((first, second, rivals));
        }
        blocks
    });
    let all: Vec<(f64, f64, Scores)> = parts.into_iter().flatten().collect();
    Blocks {
        weeks: (jobs * MEASURED) as f64,
        first: all.iter().map(|(first, ..)| *first).collect(),
        second: all.iter().map(|(_, second, _)| *second).collect(),
        rivals: all.iter().map(|(.., rivals)| *rivals).collect(),
    }
}

impl Blocks {
    /// The rivals' thresholds at the judge's own aim.
    pub(crate) fn thresholds(&self) -> Scores {
        let count = AIM * self.weeks / WEEKS_OF_BUDGET;
        let mut thresholds = [0.0; RULES.len()];
        for (rule, threshold) in thresholds.iter_mut().enumerate() {
            *threshold = threshold_for(self.rivals.iter().map(|scores| scores[rule]).collect(), count);
        }
        thresholds
    }

    fn doors(&self, budget: f64) -> (f64, f64) {
        let count = budget * AIM * self.weeks / WEEKS_OF_BUDGET;
        let first = threshold_for(self.first.clone(), count * FIRST_DOOR);
        (first, threshold_for(self.second.clone(), count * (1.0 - FIRST_DOOR)))
    }

    /// The table of `judge::budget`, as these weeks would have it.
    pub(crate) fn print_table(&self) {
        println!("\n## Thresholds by budget, from {:.0} quiet weeks\n", self.weeks);
        println!("| false incidents per 90 days | first door | second door | shipped |\n| --: | --: | --: | --: |");
        for (budget, first, second) in budget::TABLE {
            let (a, b) = self.doors(budget);
            println!("| {budget} | {a:.2} | {b:.2} | {first:.2}, {second:.2} |");
        }
    }
}

/// What quiet weeks brought.
#[derive(Default)]
pub(crate) struct Quiet {
    pub(crate) weeks: f64,
    pub(crate) first: u64,
    pub(crate) second: u64,
    pub(crate) rivals: [u64; RULES.len()],
    pub(crate) levels: std::collections::BTreeMap<String, u64>,
    pub(crate) night: u64,
}

/// Lives through quiet weeks as the product would, with incidents.
pub(crate) fn live(
    size: &Size,
    shape: Shape,
    judging: Judging,
    weeks: i64,
    seed: u64,
    rivals: Option<&Scores>,
) -> Quiet {
    let jobs = (weeks + MEASURED - 1) / MEASURED;
    let names = Names::new(shape);
    let parts = each(jobs as usize, size.threads, |job| {
        let mut deployment = Deployment::new(&names, shape, judging, seed + job as u64, rivals.is_some());
        deployment.warm_up(WARM_UP);
        let mut quiet = Quiet::default();
        for _ in 0..MEASURED * WEEK / BLOCK {
            for _ in 0..BLOCK {
                let heard = deployment.live_hour(&mut |_| {});
                for action in heard.opened() {
                    let evidence = &action.incident.evidence;
                    let door = if evidence.since_change.is_some() { &mut quiet.second } else { &mut quiet.first };
                    *door += 1;
                    let first = action.incident.series.first().map_or("org", String::as_str);
                    let level = first.split(',').map(|part| part.split('=').next().unwrap_or(part));
                    *quiet.levels.entry(level.collect::<Vec<_>>().join(" × ")).or_default() += 1;
                    quiet.night += u64::from(action.at.index(HOUR).rem_euclid(24) < 5);
                }
            }
            if let (Some(thresholds), Some(rivals)) = (rivals, deployment.rivals.as_mut()) {
                let scores = rivals.take();
                for (count, (score, threshold)) in quiet.rivals.iter_mut().zip(scores.iter().zip(thresholds)) {
                    *count += u64::from(score >= threshold);
                }
            }
        }
        quiet
    });
    let mut all = Quiet { weeks: (jobs * MEASURED) as f64, ..Quiet::default() };
    for part in parts {
        all.first += part.first;
        all.second += part.second;
        all.night += part.night;
        all.rivals.iter_mut().zip(part.rivals).for_each(|(sum, count)| *sum += count);
        for (level, count) in part.levels {
            *all.levels.entry(level).or_default() += count;
        }
    }
    all
}

/// The table of false incidents; returns whether the budget was kept, as far as these weeks can say.
pub(crate) fn print(quiet: &Quiet, tuned: &Blocks) -> bool {
    println!("\n## False incidents in {:.0} quiet weeks\n", quiet.weeks);
    println!(
        "Rivals are tuned on {:.0} other weeks to {AIM:.2} per 90 days, which is what the judge aims at.\n",
        tuned.weeks
    );
    println!("| | false incidents | per 90 days, exact Poisson 95 % bounds |\n| --- | --: | --: |");
    let row = |name: &str, count: u64| println!("| {name} | {count} | {} |", per_90_days(count, quiet.weeks));
    row("**authwatch, both doors**", quiet.first + quiet.second);
    row("first door", quiet.first);
    row("second door (5 innocent changes in scope a week)", quiet.second);
    for (name, count) in RULES.iter().zip(quiet.rivals) {
        row(name, count);
    }
    let levels: Vec<String> = quiet.levels.iter().map(|(level, count)| format!("{level} {count}")).collect();
    println!("\nFirst series of authwatch's: {}. At 00-05 UTC: {}.", levels.join(", "), quiet.night);
    let expected = quiet.weeks / WEEKS_OF_BUDGET;
    // A budget that is kept is exceeded by this much in one run of a hundred.
    ((quiet.first + quiet.second) as f64) <= expected + 2.33 * expected.sqrt()
}

/// The same thresholds where the org, the judge or its past is another.
pub(crate) fn variants(size: &Size, weeks: i64, seed: u64) {
    println!("\n## The same thresholds elsewhere, {weeks} quiet weeks each\n");
    println!("| | first door | second door | both per 90 days |\n| --- | --: | --: | --: |");
    let (shape, judging) = (Shape::default(), product());
    let learning = |learning| Judging { learning, ..judging };
    let usual = Learning::default();
    let cases: [(&str, Shape, Judging); 11] = [
        ("as above", shape, judging),
        ("no innocent clusters", Shape { clusters_a_week: 0.0, ..shape }, judging),
        ("innocent clusters of up to 10", Shape { cluster: 10, ..shape }, judging),
        ("restless hours refuse 4 times as much", Shape { restless: (0.15, 4.0), ..shape }, judging),
        (
            "… with φ = 0.2 given",
            Shape { restless: (0.15, 4.0), ..shape },
            learning(Learning { dispersion: Some(0.2), ..usual }),
        ),
        ("φ = 0.2 given", shape, learning(Learning { dispersion: Some(0.2), ..usual })),
        ("φ = 0.35 given", shape, learning(Learning { dispersion: Some(0.35), ..usual })),
        ("unusual days count in full", shape, learning(Learning { weigh_above: f64::INFINITY, ..usual })),
        ("policies not known: rules stand for checks", shape, Judging { by_check: false, ..judging }),
        ("48 apps", Shape { apps: 48, ..shape }, judging),
        ("20 changes in scope a week", shape, Judging { thresholds: busy(), changes_a_week: 20.0, ..judging }),
    ];
    for (name, shape, judging) in cases {
        let quiet = live(size, shape, judging, weeks, seed, None);
        let both = per_90_days(quiet.first + quiet.second, quiet.weeks);
        println!("| {name} | {} | {} | {both} |", quiet.first, quiet.second);
    }
}

/// The thresholds where four times as many changes pass.
fn busy() -> Thresholds {
    Thresholds::new(&CoreConfig::default().judge, 1, 20.0)
}
