//! Quiet weeks of an org, attempt by attempt, from a generator that shares no model and no code with the judge or with
//! the simulated org.
//!
//! The judge assumes gamma effects and so negative-binomial counts. Here an hour is calm or restless, a hidden two-state
//! chain; checks have log-normal hours; an office has bursts of some minutes; one person in a hundred is refused fifteen
//! times as often as the others, and people change; days and hours are log-normally busy, and some are holidays; twice a
//! week two to four colleagues fail one check within 40 minutes. Rates, profile and mix are set to those of the simulated
//! org, so means agree by construction; `tests/null_series.rs` compares what is not set. Retries are left out: they cannot
//! change a count of people.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Distribution, Poisson, StandardNormal};

/// The checks that refuse people, with their shares.
pub(crate) const CHECKS: [(&str, f64); 9] = [
    ("network_zone", 0.31),
    ("risk", 0.17),
    ("os_version", 0.16),
    ("no_device_context", 0.13),
    ("screen_lock", 0.08),
    ("crowdstrike", 0.07),
    ("disk_encryption", 0.04),
    ("signal_unreadable", 0.03),
    ("not_managed", 0.01),
];
/// Index of `os_version`: what pushes refuse for.
pub(crate) const OS_VERSION: u8 = 2;
/// Index of the check that has no device, and so no platform.
const NO_DEVICE: u8 = 3;
/// The checks that innocent clusters fail.
const CLUSTERED: [u8; 3] = [2, 4, 5];
/// Platforms by index; the last is unknown.
pub(crate) const PLATFORMS: usize = 6;
const UNKNOWN_PLATFORM: u8 = 5;
/// Shares of the apps; the last two ask for nothing.
const APPS: [f64; 12] = [24.0, 18.0, 13.0, 11.0, 9.0, 7.0, 5.0, 4.0, 3.0, 2.0, 2.5, 1.5];
const OPEN_APPS: usize = 2;
/// Offices: hours ahead of UTC, share of the people.
const OFFICES: [(f64, f64); 4] = [(-5.0, 0.40), (0.0, 0.25), (1.0, 0.20), (5.5, 0.15)];
/// Sign-ins of a working day by local hour.
const DAY: [f64; 24] = [
    2.0, 2.0, 2.0, 2.0, 3.0, 6.0, 15.0, 40.0, 105.0, 155.0, 120.0, 100.0, 70.0, 100.0, 100.0, 90.0, 80.0, 50.0, 25.0,
    15.0, 10.0, 8.0, 5.0, 3.0,
];
const WEEKEND: f64 = 0.04;
const TRIES_A_WEEK: f64 = 37.8;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// What the generator varies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) seats: u32,
    pub(crate) apps: usize,
    /// Refused first tries at apps that ask for something.
    pub(crate) refused: f64,
    /// The share of restless hours and how much more they refuse.
    pub(crate) restless: (f64, f64),
    /// The most people of an innocent cluster.
    pub(crate) cluster: u32,
    pub(crate) clusters_a_week: f64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { seats: 3_500, apps: 12, refused: 0.0083, restless: (0.15, 2.2), cluster: 4, clusters_a_week: 2.0 }
    }
}

/// One person.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) office: u8,
    /// 0 is the pilot of 50, 1 the wave of 250, 2 the rest.
    pub(crate) cohort: u8,
    platform: u8,
    second: Option<u8>,
    team: u32,
}

/// One attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try {
    /// Milliseconds of the epoch.
    pub(crate) at: i64,
    pub(crate) person: u32,
    pub(crate) app: u8,
    pub(crate) platform: u8,
    /// The failing check of a refused one.
    pub(crate) check: Option<u8>,
}

/// The generator: one org, hour by hour.
#[derive(Clone, Debug)]
pub(crate) struct Null {
    pub(crate) shape: Shape,
    pub(crate) people: Vec<Person>,
    offices: Vec<(Vec<u32>, WeightedAliasIndex<f64>, f64)>,
    apps: WeightedAliasIndex<f64>,
    propensity: Vec<f32>,
    block: i64,
    is_restless: bool,
    seed: u64,
    rng: ChaCha8Rng,
}

impl Null {
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed_0f0e_6011);
        let mut people = Vec::with_capacity(shape.seats as usize);
        let mut weights = Vec::new();
        for number in 0..shape.seats {
            let office = pick(&mut rng, &OFFICES.map(|(_, share)| share)) as u8;
            let teams = (f64::from(shape.seats) * OFFICES[usize::from(office)].1 / 8.0).max(1.0) as u32;
            people.push(Person {
                office,
                cohort: if number < 50 { 0 } else { 1 + u8::from(number >= 300) },
                platform: pick(&mut rng, &[45.0, 40.0, 6.0, 5.0, 4.0]) as u8,
                second: rng.random_bool(0.3).then(|| 2 + u8::from(rng.random_bool(0.4))),
                team: u32::from(office) * 1_000_000 + rng.random_range(0..teams),
            });
            weights.push(log_normal(&mut rng, 0.5));
        }
        let offices = (0..OFFICES.len())
            .map(|office| {
                let of: Vec<u32> =
                    (0..shape.seats).filter(|n| usize::from(people[*n as usize].office) == office).collect();
                let weights: Vec<f64> = of.iter().map(|n| weights[*n as usize]).collect();
                let total = weights.iter().sum();
                (of, WeightedAliasIndex::new(weights).expect("every office has people"), total)
            })
            .collect();
        // More apps share the same sign-ins: each group of twelve weighs half of the one before.
        let app = |n: usize| APPS[n % APPS.len()] / f64::from(1 << (n / APPS.len()).min(20));
        let apps = WeightedAliasIndex::new((0..shape.apps).map(app).collect()).expect("there are apps");
        let propensity = vec![0.0; shape.seats as usize];
        Self { shape, people, offices, apps, propensity, block: i64::MIN, is_restless: false, seed, rng }
    }

    /// Goes on with other luck, from here.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.rng = ChaCha8Rng::seed_from_u64(seed ^ self.seed.rotate_left(32));
    }

    /// Whether an app asks for something.
    pub(crate) fn is_gated(app: u8) -> bool {
        usize::from(app) % APPS.len() < APPS.len() - OPEN_APPS
    }

    /// The attempts of an hour (of the epoch) in the order of time; by office `surge` times as many as usual.
    pub(crate) fn hour(&mut self, hour: i64, surge: [f64; 4]) -> Vec<Try> {
        self.renew_people(hour);
        let (share, times) = self.shape.restless;
        let stay = if self.is_restless { 0.2 } else { share * 0.8 / (1.0 - share) };
        self.is_restless = self.rng.random_bool(stay);
        let calm = 1.0 / (1.0 - share + share * times);
        let level = if self.is_restless { calm * times } else { calm };
        let mut rates = [0.0; CHECKS.len()];
        for (rate, (_, share)) in rates.iter_mut().zip(CHECKS) {
            *rate = share * self.shape.refused * level * log_normal(&mut self.rng, 0.38);
        }
        let busy = log_normal(&mut self.rng, 0.10) * self.day_effect(hour);
        let mut tries = Vec::new();
        for (office, surge) in surge.into_iter().enumerate() {
            let mean = self.offices[office].2 * TRIES_A_WEEK * self.share_of_week(hour, office) * busy * surge;
            self.office(office, hour, mean, &rates, &mut tries);
            self.cluster(office, hour, &mut tries);
        }
        tries.sort_unstable_by_key(|attempt| (attempt.at, attempt.person, attempt.app));
        tries
    }

    fn office(&mut self, office: usize, hour: i64, mean: f64, rates: &[f64; CHECKS.len()], tries: &mut Vec<Try>) {
        let number = Poisson::new(mean).map_or(0, |poisson| poisson.sample(&mut self.rng) as u64);
        // A burst: for some minutes an office is refused three times as often.
        let burst = self.rng.random_bool((mean / 40_000.0).clamp(0.0, 0.5)).then(|| {
            let from = self.rng.random_range(0..HOUR);
            from..from + self.rng.random_range(5 * MINUTE..20 * MINUTE)
        });
        let all: f64 = rates.iter().sum();
        for _ in 0..number {
            let (people, alias, _) = &self.offices[office];
            let person = people[alias.sample(&mut self.rng)];
            let app = self.apps.sample(&mut self.rng) as u8;
            let within = self.rng.random_range(0..HOUR);
            let who = &self.people[person as usize];
            let platform = match who.second {
                Some(second) if self.rng.random_bool(0.1) => second,
                Some(_) | None => who.platform,
            };
            let luck = self.rng.random::<f64>();
            let times = if burst.as_ref().is_some_and(|burst| burst.contains(&within)) { 3.0 } else { 1.0 };
            let scale = f64::from(self.propensity[person as usize]) * times;
            let check = (luck < all * scale && Self::is_gated(app)).then(|| {
                let mut left = luck / scale;
                let place = rates.iter().position(|rate| {
                    left -= rate;
                    left < 0.0
                });
                possible(place.unwrap_or(0) as u8, platform)
            });
            let platform = if check == Some(NO_DEVICE) { UNKNOWN_PLATFORM } else { platform };
            tries.push(Try { at: hour * HOUR + within, person, app, platform, check });
        }
    }

    /// An innocent cluster: some of a team, one check, spread over 40 minutes.
    fn cluster(&mut self, office: usize, hour: i64, tries: &mut Vec<Try>) {
        let mean = self.shape.clusters_a_week * OFFICES[office].1 * self.share_of_week(hour, office);
        if !self.rng.random_bool(mean.clamp(0.0, 1.0)) {
            return;
        }
        let mut size = 2;
        while size < self.shape.cluster as usize && self.rng.random_bool(0.5) {
            size += 1;
        }
        let people = &self.offices[office].0;
        let team = self.people[people[self.rng.random_range(0..people.len())] as usize].team;
        let team: Vec<u32> =
            people.iter().filter(|n| self.people[**n as usize].team == team).copied().take(size).collect();
        let check = CLUSTERED[self.rng.random_range(0..CLUSTERED.len())];
        for person in team {
            let at = hour * HOUR + self.rng.random_range(0..40 * MINUTE);
            let platform = self.people[person as usize].platform;
            tries.push(Try { at, person, app: 0, platform, check: Some(possible(check, platform)) });
        }
    }

    /// Every four weeks one person in twenty gets another propensity to be refused.
    fn renew_people(&mut self, hour: i64) {
        let block = hour.div_euclid(24 * 28);
        if block == self.block {
            return;
        }
        let is_first = self.block == i64::MIN;
        self.block = block;
        for propensity in &mut self.propensity {
            if is_first || self.rng.random_bool(0.05) {
                *propensity = if self.rng.random_bool(0.01) { 15.0 / 1.14 } else { 1.0 / 1.14 };
            }
        }
    }

    fn share_of_week(&self, hour: i64, office: usize) -> f64 {
        let local = hour as f64 + 0.5 + OFFICES[office].0;
        let (day, of_day) = ((local / 24.0).floor(), local.rem_euclid(24.0).floor() as usize);
        // 1970-01-01 was a Thursday.
        let is_weekend = (day + 3.0).rem_euclid(7.0) >= 5.0;
        let is_holiday = || unit(self.seed, office as u64 + 1, day as u64) < 0.03;
        let factor = if is_weekend || is_holiday() { WEEKEND } else { 1.0 };
        DAY[of_day] * factor / (DAY.iter().sum::<f64>() * (5.0 + 2.0 * WEEKEND) * 0.97)
    }

    fn day_effect(&self, hour: i64) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed.wrapping_mul(31) ^ hour.div_euclid(24).cast_unsigned());
        log_normal(&mut rng, 0.08)
    }
}

/// A check, by its share of the refusals.
pub(crate) fn draw_check(rng: &mut impl Rng) -> u8 {
    pick(rng, &CHECKS.map(|(_, share)| share)) as u8
}

/// The check, or one that the platform can fail.
fn possible(check: u8, platform: u8) -> u8 {
    let is_desktop = platform < 2;
    match CHECKS[usize::from(check)].0 {
        "crowdstrike" | "signal_unreadable" | "disk_encryption" if !is_desktop => OS_VERSION,
        _ => check,
    }
}

/// A number in 0..1 from three.
fn unit(seed: u64, a: u64, b: u64) -> f64 {
    let mut x = seed ^ a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn log_normal(rng: &mut impl Rng, sigma: f64) -> f64 {
    let z: f64 = StandardNormal.sample(rng);
    (sigma * z - sigma * sigma / 2.0).exp()
}

fn pick(rng: &mut impl Rng, weights: &[f64]) -> usize {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    weights
        .iter()
        .position(|weight| {
            left -= weight;
            left < 0.0
        })
        .unwrap_or(0)
}
