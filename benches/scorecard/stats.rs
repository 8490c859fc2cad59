//! Numbers of a table: quantiles, exact bounds of a rate, work on several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use statrs::distribution::{ContinuousCDF, Gamma};

/// Weeks of the budget's 90 days.
pub(crate) const WEEKS_OF_BUDGET: f64 = 90.0 / 7.0;

/// A rate per 90 days with its exact Poisson 95 % bounds (Garwood 1936, Biometrika 28, 437).
pub(crate) fn per_90_days(count: u64, weeks: f64) -> String {
    let scale = WEEKS_OF_BUDGET / weeks;
    let bound = |shape: f64, at: f64| Gamma::new(shape, 1.0).map_or(f64::NAN, |gamma| gamma.inverse_cdf(at)) * scale;
    let low = if count == 0 { 0.0 } else { bound(count as f64, 0.025) };
    format!("{:.2} [{low:.2}, {:.2}]", count as f64 * scale, bound(count as f64 + 1.0, 0.975))
}

/// The value that so many of the highest reach.
pub(crate) fn threshold_for(mut scores: Vec<f64>, count: f64) -> f64 {
    scores.sort_by(|a, b| b.total_cmp(a));
    let place = count.max(0.5);
    let (low, share) = (place.floor() as usize, place.fract());
    let at = |n: usize| scores.get(n.saturating_sub(1)).copied().unwrap_or(0.0);
    // Between the k-th highest and the next: exactly k are at or above the k-th.
    at(low.max(1)) * (1.0 - share) + at(low + 1) * share
}

/// The quantile of values some of which are infinite.
pub(crate) fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = ((sorted.len() as f64 * at).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(place - 1).copied().unwrap_or(f64::NAN)
}

/// Seconds as people read them.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "–".to_owned(),
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 600.0 => format!("{:.1} m", s / 60.0),
        s => format!("{:.0} m", s / 60.0),
    }
}

/// p50/p90, or how many were found where p90 is a miss.
pub(crate) fn delays(values: &[f64]) -> String {
    let found = values.iter().filter(|value| value.is_finite()).count() as f64 / values.len().max(1) as f64;
    let (p50, p90) = (quantile(values, 0.5), quantile(values, 0.9));
    if p90.is_finite() {
        format!("{} / {}", time(p50), time(p90))
    } else if p50.is_finite() {
        format!("{} / – ({:.0} %)", time(p50), found * 100.0)
    } else {
        format!("– ({:.0} %)", found * 100.0)
    }
}

/// Does every job once, on so many threads, and gives the results in the order of the jobs.
pub(crate) fn each<T: Send>(jobs: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(jobs)));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        break;
                    }
                    let result = work(job);
                    if let Ok(mut done) = done.lock() {
                        done.push((job, result));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(job, _)| *job);
    done.into_iter().map(|(_, result)| result).collect()
}
