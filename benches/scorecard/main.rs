//! The scorecard: how often the judge is wrong, how fast it is right, and how the rules of today do on the same people.
//!
//! `cargo bench --bench scorecard -- --short` takes some minutes on one core, `--long` hours; `--tune WEEKS` prints the
//! table of `judge::budget`. Every table is Markdown on stdout, every series is seeded, and what is judged is judged by the
//! product's own board and incidents. Options: `--threads N`, `--seed N`, `--only PART` (quiet, variants, faults, alike,
//! early), and sizes of their own: `--test` quiet weeks, `--rivals` weeks to tune rivals on, `--trials` of a push, `--weeks` of
//! a variant, `--fresh` deployments. It ends with exit code 1 where the quiet weeks break the budget.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints, and fails as a test does")]

mod alike;
mod faults;
mod null;
mod quiet;
mod rivals;
mod run;
mod stats;

use std::process::ExitCode;

use authwatch::clock::monotonic;

/// Weeks that a deployment learns before it is measured.
pub(crate) const WARM_UP: i64 = 5;
/// Weeks that it is measured.
pub(crate) const MEASURED: i64 = 50;

/// How much is done.
pub(crate) struct Size {
    pub(crate) threads: usize,
    seed: u64,
    /// Weeks to tune rivals on, to test on, and of every variant.
    tune: i64,
    test: i64,
    variant: i64,
    /// Trials of a fault cell, weeks with a look-alike, fresh deployments.
    trials: usize,
    alike: i64,
    fresh: usize,
    only: Option<String>,
}

impl Size {
    fn of(arguments: &[String]) -> Result<(Self, Option<i64>), String> {
        let short = Self {
            threads: 1,
            seed: 1,
            tune: 300,
            test: 500,
            variant: 50,
            trials: 16,
            alike: 50,
            fresh: 10,
            only: None,
        };
        let mut size = if arguments.iter().any(|argument| argument == "--long") {
            Self { tune: 5_000, test: 10_000, variant: 1_000, trials: 200, alike: 400, fresh: 120, ..short }
        } else {
            short
        };
        let mut tune = None;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut number = || {
                let text = rest.next().ok_or(format!("{argument} needs a number"))?;
                text.parse::<u64>().map_err(|_| format!("{argument} needs a number, not `{text}`"))
            };
            match argument.as_str() {
                "--threads" => size.threads = number()?.clamp(1, 256) as usize,
                "--seed" => size.seed = number()?,
                "--test" => size.test = number()? as i64,
                "--rivals" => size.tune = number()? as i64,
                "--trials" => size.trials = number()? as usize,
                "--weeks" => size.variant = number()? as i64,
                "--fresh" => size.fresh = number()? as usize,
                "--tune" => tune = Some(number()? as i64),
                "--only" => size.only = Some(rest.next().ok_or("--only needs a part")?.clone()),
                // `cargo bench` adds the last.
                "--short" | "--long" | "--bench" => {}
                other => return Err(format!("unknown option `{other}`")),
            }
        }
        Ok((size, tune))
    }

    fn has(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (size, tune) = match Size::of(&arguments) {
        Ok(parsed) => parsed,
        Err(why) => {
            println!("{why}");
            return ExitCode::from(2);
        }
    };
    let began = monotonic();
    println!("# Scorecard\n\n`cargo bench --bench scorecard -- {}`", arguments.join(" ").replace(" --bench", ""));
    // Tuning, testing and trials never share a seed.
    let seeds = |part: u64| size.seed.wrapping_mul(1_000_003).wrapping_add(part * 100_000);
    if let Some(weeks) = tune {
        quiet::listen(&size, weeks, seeds(1)).print_table();
        println!("\n{:.0} s", began.elapsed().as_secs_f64());
        return ExitCode::SUCCESS;
    }
    let mut is_kept = true;
    if size.has("quiet") || size.has("faults") {
        let tuned = quiet::listen(&size, size.tune, seeds(2));
        let thresholds = tuned.thresholds();
        tuned.print_table();
        if size.has("quiet") {
            let quiet =
                quiet::live(&size, null::Shape::default(), quiet::product(), size.test, seeds(3), Some(&thresholds));
            is_kept = quiet::print(&quiet, &tuned);
        }
        if size.has("faults") {
            faults::print(&size, &thresholds, size.trials, seeds(4));
        }
    }
    if size.has("alike") {
        alike::look_alikes(&size, size.alike, seeds(5));
    }
    if size.has("early") {
        alike::first_days(&size, size.fresh, seeds(6));
        alike::reset(&size, size.trials, seeds(7));
    }
    if size.has("variants") {
        quiet::variants(&size, size.variant, seeds(8));
    }
    println!("\n{:.0} s on {} threads", began.elapsed().as_secs_f64(), size.threads);
    if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
