//! The upper tail of a negative-binomial count, in logarithms.

use statrs::function::gamma::ln_gamma;

/// Below this dispersion the count is Poisson for every purpose.
const POISSON_BELOW: f64 = 1e-4;
/// The least expectation: nothing is impossible.
const LEAST_EXPECTED: f64 = 1e-9;

/// −log10 P(K ≥ `people`) where K is negative-binomial with mean `expected` and variance
/// `expected` + `dispersion` · `expected`².
///
/// With r = 1/φ: pmf(j) = Γ(j+r)/(Γ(r) j!) · (r/(r+μ))^r · (μ/(r+μ))^j. The tail is summed from its first term by the
/// ratio pmf(j+1)/pmf(j) = (j+r)/(j+1) · μ/(r+μ), never as 1 − cdf, which is zero long before the tails that matter
/// (1e-6 to 1e-30). Below the mean the answer is 0: nothing unusual.
///
/// Source: the negative-binomial count models of Noufaily et al. 2013, Stat. Med. 32, 1206 (Farrington's method).
pub(super) fn surprise(people: u32, expected: f64, dispersion: f64) -> f64 {
    let mu = expected.max(LEAST_EXPECTED);
    let k = f64::from(people);
    if k <= mu {
        return 0.0;
    }
    let is_poisson = dispersion < POISSON_BELOW;
    let r = 1.0 / dispersion;
    let ln_first = if is_poisson {
        k * mu.ln() - mu - ln_gamma(k + 1.0)
    } else {
        ln_gamma(k + r) - ln_gamma(r) - ln_gamma(k + 1.0) + r * (r / (r + mu)).ln() + k * (mu / (r + mu)).ln()
    };
    let ratio = |j: f64| if is_poisson { mu / (j + 1.0) } else { (j + r) / (j + 1.0) * mu / (r + mu) };
    let (mut term, mut sum, mut j) = (1.0, 1.0, k);
    // The ratio falls below one beyond the mean, so the loop ends; the bound is for the reader.
    for _ in 0..100_000 {
        term *= ratio(j);
        sum += term;
        j += 1.0;
        if term < sum * 1e-4 {
            break;
        }
    }
    -(ln_first + f64::ln(sum)) / std::f64::consts::LN_10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(people: u32, expected: f64, dispersion: f64, probability: f64) {
        let surprise = surprise(people, expected, dispersion);
        assert!((surprise + probability.log10()).abs() < 0.01, "{people} {expected} {dispersion}: {surprise}");
    }

    #[test]
    fn known_tails_are_met() {
        // Poisson(1): P(K ≥ 5) = 1 − Σ e⁻¹/j!, j = 0…4.
        check(5, 1.0, 0.0, 0.003_659_847);
        // r = 1 is geometric with success 1/(1+μ): P(K ≥ k) = (μ/(1+μ))^k.
        check(4, 2.0, 1.0, (2.0f64 / 3.0).powi(4));
        check(60, 0.5, 1.0, (0.5f64 / 1.5).powi(60));
    }

    #[test]
    fn at_or_below_the_mean_nothing_is_unusual() {
        assert_eq!(surprise(3, 3.0, 0.35), 0.0);
        assert_eq!(surprise(0, 0.0, 0.35), 0.0);
    }

    #[test]
    fn more_people_are_more_surprising_and_more_dispersion_less() {
        assert!(surprise(6, 0.5, 0.35) > surprise(5, 0.5, 0.35));
        assert!(surprise(20, 5.0, 0.35) < surprise(20, 5.0, 0.05));
    }
}
