//! Chance that is a pure function of a seed, a domain and a number.
//!
//! Every draw of the simulation comes from a generator made here, so two runs with the same arguments agree byte for
//! byte, and one hour can be drawn without drawing the hours before it.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use xxhash_rust::xxh3::Xxh3;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A 128-bit hash of the seed, a domain and two numbers.
pub(crate) fn hash128(seed: u64, domain: &str, a: u64, b: u64) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&seed.to_le_bytes());
    hash.update(domain.as_bytes());
    hash.update(&[0]);
    hash.update(&a.to_le_bytes());
    hash.update(&b.to_le_bytes());
    hash.digest128()
}

/// The generator of one domain and number.
pub(crate) fn rng(seed: u64, domain: &str, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&hash128(seed, domain, index, 0).to_le_bytes());
    key[16..].copy_from_slice(&hash128(seed, domain, index, 1).to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A number in 0..1 that depends on nothing but the arguments.
pub(crate) fn unit(seed: u64, domain: &str, a: u64, b: u64) -> f64 {
    (hash128(seed, domain, a, b) as u64 >> 11) as f64 / (1_u64 << 53) as f64
}

/// A log-normal factor with mean 1.
pub(crate) fn factor(rng: &mut impl Rng, sigma: f64) -> f64 {
    let z: f64 = StandardNormal.sample(rng);
    (sigma * z - sigma * sigma / 2.0).exp()
}

/// A log-normal number with the given median.
pub(crate) fn around(rng: &mut impl Rng, median: f64, sigma: f64) -> f64 {
    let z: f64 = StandardNormal.sample(rng);
    median * (sigma * z).exp()
}

/// `length` letters and digits.
pub(crate) fn token(rng: &mut impl Rng, length: usize) -> String {
    (0..length).map(|_| char::from(BASE62[rng.random_range(0..BASE62.len())])).collect()
}

/// An id as Okta writes it: a prefix that tells the type, 20 characters in all.
pub(crate) fn okta_id(rng: &mut impl Rng, prefix: &str) -> String {
    format!("{prefix}{}", token(rng, 20_usize.saturating_sub(prefix.len())))
}

/// A UUID (version 4 by its shape) from a hash.
pub(crate) fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The index of one of `weights`, drawn in proportion.
pub(crate) fn pick(rng: &mut impl Rng, weights: &[f64]) -> usize {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return index;
        }
    }
    weights.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_shape_and_depends_on_its_bits() {
        let one = uuid(hash128(1, "x", 2, 3));
        assert_eq!(one.len(), 36);
        assert_eq!((&one[14..15], &one[8..9]), ("4", "-"));
        assert!(matches!(&one[19..20], "8" | "9" | "a" | "b"), "{one}");
        assert_ne!(one, uuid(hash128(1, "x", 3, 2)));
    }

    #[test]
    fn a_factor_has_mean_one() {
        let mut rng = rng(7, "factor", 0);
        let mean = (0..20_000).map(|_| factor(&mut rng, 0.4)).sum::<f64>() / 20_000.0;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn picks_follow_the_weights() {
        let mut rng = rng(7, "pick", 0);
        let mut seen = [0; 3];
        for _ in 0..10_000 {
            seen[pick(&mut rng, &[1.0, 0.0, 3.0])] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!((2_300..2_700).contains(&seen[0]), "{seen:?}");
    }
}
