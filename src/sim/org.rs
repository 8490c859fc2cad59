//! The people, devices, apps and groups of the simulated org, drawn once from (seed, seats).
//!
//! Names are made up, addresses end in `example.com`, networks are the documentation ranges of RFC 5737. Offices keep
//! one UTC offset the whole year: there is no daylight saving.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::chance;
use super::fleet::{Device, Platform};
use super::plan::Method;
use super::policies::PolicyIds;

/// The most seats an org can have: people and devices are indexed with 32 bits and all live in memory (about 0.5 kB
/// a seat).
pub const MAX_SEATS: u32 = 100_000;

/// An office and its time zone.
#[derive(Clone, Copy, Debug)]
pub struct Office {
    /// The city.
    pub city: &'static str,
    /// The country, as Okta's events write it.
    pub country: &'static str,
    /// Minutes ahead of UTC.
    pub utc_offset: i64,
    /// The share of the people.
    pub share: f64,
    /// The first three parts of its network.
    pub network: &'static str,
    /// Latitude and longitude.
    pub position: (f64, f64),
}

/// The four offices.
pub const OFFICES: [Office; 4] = [
    Office {
        city: "New York",
        country: "United States",
        utc_offset: -300,
        share: 0.40,
        network: "192.0.2",
        position: (40.7128, -74.006),
    },
    Office {
        city: "Dublin",
        country: "Ireland",
        utc_offset: 0,
        share: 0.25,
        network: "198.51.100",
        position: (53.3498, -6.2603),
    },
    Office {
        city: "Berlin",
        country: "Germany",
        utc_offset: 60,
        share: 0.20,
        network: "203.0.113",
        position: (52.52, 13.405),
    },
    Office {
        city: "Bengaluru",
        country: "India",
        utc_offset: 330,
        share: 0.15,
        network: "203.0.113",
        position: (12.9716, 77.5946),
    },
];

/// A slice of people in the rollout.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cohort {
    /// 50 people, fewer in a small org (a tenth).
    Pilot,
    /// 250 people, fewer in a small org (a quarter).
    #[serde(rename = "wave-1")]
    Wave1,
    /// The rest.
    EveryoneElse,
}

impl Cohort {
    /// Every cohort.
    pub const ALL: [Self; 3] = [Self::Pilot, Self::Wave1, Self::EveryoneElse];

    /// The cohort's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pilot => "pilot",
            Self::Wave1 => "wave-1",
            Self::EveryoneElse => "everyone-else",
        }
    }
}

/// One person.
#[derive(Clone, Debug)]
pub struct Person {
    /// Okta's id (`00u…`).
    pub id: String,
    /// The login (`…@example.com`).
    pub login: String,
    /// The name.
    pub name: String,
    /// Index into [`OFFICES`].
    pub office: u8,
    /// The cohort.
    pub cohort: Cohort,
    /// A team of about eight people of one office.
    pub team: u32,
    /// Indices into [`Org::devices`]; the first is the main one.
    pub devices: Vec<u32>,
    /// How much more often than the average the person signs in.
    pub weight: f64,
    /// How the person usually signs in.
    pub method: Method,
    /// The last part of the person's address in the office network.
    pub host: u8,
}

/// One app.
#[derive(Clone, Debug)]
pub struct App {
    /// Okta's id (`0oa…`).
    pub id: String,
    /// Its label.
    pub name: &'static str,
    /// Its share of the sign-ins, not normalised.
    pub weight: f64,
    /// `SAML_2_0` or `OPENID_CONNECT`.
    pub sign_on_mode: &'static str,
    /// Whether its policy asks for a healthy device.
    pub gated: bool,
}

/// The org: everything that does not change while the simulation runs.
#[derive(Debug)]
pub struct Org {
    /// The seed it was drawn from.
    pub seed: u64,
    /// The people.
    pub people: Vec<Person>,
    /// The devices of all people.
    pub devices: Vec<Device>,
    /// The apps; the gated ones first.
    pub apps: Vec<App>,
    /// Group ids by name: one per cohort.
    pub groups: BTreeMap<&'static str, String>,
    /// The ids of policies, rules and zones.
    pub(crate) policy_ids: PolicyIds,
}

const FIRST: [&str; 24] = [
    "Amari", "Bela", "Ciro", "Danae", "Edda", "Fenn", "Gita", "Hollis", "Ines", "Jora", "Kael", "Lio", "Mirin", "Noor",
    "Odel", "Pia", "Quill", "Rune", "Sanna", "Tovi", "Una", "Vero", "Wren", "Yael",
];
const LAST: [&str; 24] = [
    "Abend", "Brack", "Corvel", "Dunmar", "Eskil", "Farro", "Gant", "Harwick", "Isard", "Jolen", "Kestrel", "Lorne",
    "Marsh", "Nevin", "Orrin", "Pell", "Quist", "Rask", "Sorrel", "Tarn", "Ulven", "Vance", "Wick", "Zell",
];
const APPS: [(&str, f64, &str, bool); 12] = [
    ("Mail and Calendar", 24.0, "SAML_2_0", true),
    ("Chat", 18.0, "SAML_2_0", true),
    ("Code Hosting", 13.0, "SAML_2_0", true),
    ("Issue Tracker", 11.0, "OPENID_CONNECT", true),
    ("Document Store", 9.0, "SAML_2_0", true),
    ("Sales CRM", 6.0, "SAML_2_0", true),
    ("Build Service", 5.0, "OPENID_CONNECT", true),
    ("Finance Ledger", 3.0, "SAML_2_0", true),
    ("Cloud Console", 2.5, "SAML_2_0", true),
    ("Service Desk", 2.0, "SAML_2_0", true),
    ("Learning Portal", 3.5, "SAML_2_0", false),
    ("Lunch Menu", 3.0, "OPENID_CONNECT", false),
];

impl Org {
    /// Draws the org. `seats` is held between 4 and [`MAX_SEATS`].
    pub fn new(seed: u64, seats: u32) -> Self {
        let seats = seats.clamp(4, MAX_SEATS);
        let mut rng = chance::rng(seed, "org", 0);
        let apps: Vec<App> = APPS
            .into_iter()
            .map(|(name, weight, sign_on_mode, gated)| App {
                id: chance::okta_id(&mut rng, "0oa"),
                name,
                weight,
                sign_on_mode,
                gated,
            })
            .collect();
        let groups = Cohort::ALL.map(|cohort| (cohort.as_str(), chance::okta_id(&mut rng, "00g"))).into();
        let policy_ids = PolicyIds::draw(&mut rng, &apps);
        let mut cohorts = cohorts(seats);
        cohorts.shuffle(&mut rng);
        let mut org =
            Self { seed, people: Vec::with_capacity(seats as usize), devices: Vec::new(), apps, groups, policy_ids };
        for (number, cohort) in (0_u32..).zip(cohorts) {
            org.hire(number, cohort);
        }
        org
    }

    /// The ids of the people of a cohort, in the order of [`Org::people`].
    pub fn members(&self, cohort: Cohort) -> impl Iterator<Item = &str> {
        self.people.iter().filter(move |person| person.cohort == cohort).map(|person| person.id.as_str())
    }

    fn hire(&mut self, number: u32, cohort: Cohort) {
        let mut rng = chance::rng(self.seed, "person", u64::from(number));
        let office = chance::pick(&mut rng, &OFFICES.map(|office| office.share));
        let (first, last) = (FIRST[rng.random_range(0..FIRST.len())], LAST[rng.random_range(0..LAST.len())]);
        let teams = (self.people.capacity() as f64 * OFFICES[office].share / 8.0).ceil().max(1.0) as u32;
        let devices = self.equip(&mut rng);
        self.people.push(Person {
            id: chance::okta_id(&mut rng, "00u"),
            login: format!("{}.{}{number}@example.com", first.to_ascii_lowercase(), last.to_ascii_lowercase()),
            name: format!("{first} {last}"),
            office: office as u8,
            cohort,
            team: office as u32 * 1_000_000 + rng.random_range(0..teams),
            devices,
            weight: chance::factor(&mut rng, 0.5),
            method: Method::ALL[chance::pick(&mut rng, &[70.0, 15.0, 9.0, 6.0])],
            host: rng.random_range(2..=250),
        });
    }

    fn equip(&mut self, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let main = Platform::ALL[chance::pick(rng, &[45.0, 40.0, 6.0, 5.0, 4.0])];
        let mut devices = vec![Device::draw(rng, main)];
        if rng.random_bool(0.3) {
            let phone = if rng.random_bool(0.6) { Platform::Ios } else { Platform::Android };
            devices.push(Device::draw(rng, phone));
        }
        let first = self.devices.len() as u32;
        let indices = (first..).take(devices.len()).collect();
        self.devices.append(&mut devices);
        indices
    }
}

fn cohorts(seats: u32) -> Vec<Cohort> {
    let (pilot, wave) = ((seats / 10).min(50), (seats / 4).min(250));
    let mut cohorts = vec![Cohort::Pilot; pilot as usize];
    cohorts.resize((pilot + wave) as usize, Cohort::Wave1);
    cohorts.resize(seats as usize, Cohort::EveryoneElse);
    cohorts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_org_of_3500_has_its_cohorts_platforms_and_distinct_ids() {
        let org = Org::new(1, 3_500);
        assert_eq!(org.people.len(), 3_500);
        assert_eq!(Cohort::ALL.map(|cohort| org.members(cohort).count()), [50, 250, 3_200]);
        let ids: BTreeSet<&str> = org.people.iter().map(|person| person.id.as_str()).collect();
        assert_eq!(ids.len(), 3_500);
        assert!(ids.iter().all(|id| id.len() == 20 && id.starts_with("00u")));
        let main = |platform| {
            let of = org.people.iter().filter(|p| org.devices[p.devices[0] as usize].platform == platform);
            of.count() as f64 / 3_500.0
        };
        assert!((main(Platform::Macos) - 0.45).abs() < 0.03);
        assert!((main(Platform::Windows) - 0.40).abs() < 0.03);
    }

    #[test]
    fn the_same_seed_gives_the_same_org_and_another_seed_another() {
        let (one, two, other) = (Org::new(5, 40), Org::new(5, 40), Org::new(6, 40));
        assert_eq!(format!("{one:?}"), format!("{two:?}"));
        assert_ne!(format!("{one:?}"), format!("{other:?}"));
    }
}
