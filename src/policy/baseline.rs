//! The baseline: what the fleet is like before anything is proposed.
//!
//! Versions and the checks that policies commonly ask for, by platform and cohort, and for each platform the tightest
//! floor that refuses fewer devices than the budget. A device that has not said something is in `unknown`, never in a
//! share of those that pass.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use smol_str::SmolStr;

use super::ask::{Budget, Facts, Seat, share};
use super::version::{PARTS, Version};
use super::whatif::requirement;
use crate::event::{CheckVerdict, Person, Platform, PostureCheck};
use crate::input::Requirement;

/// What the fleet is like.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Baseline {
    /// By platform, and then by platform and cohort where there are cohorts.
    pub groups: Vec<Group>,
    /// By platform.
    pub floors: Vec<Floor>,
}

/// The devices of one platform, or those of one cohort among them.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Group {
    /// The platform.
    pub platform: Platform,
    /// The cohort; `None` is everybody, empty is whoever is in no cohort.
    pub cohort: Option<SmolStr>,
    /// Devices.
    pub devices: u64,
    /// People whose devices they are.
    pub people: u64,
    /// How many run what, the oldest version first.
    pub versions: Vec<VersionCount>,
    /// Devices whose version is not known, or no version.
    pub version_unknown: u64,
    /// The checks that policies commonly ask for on this platform.
    pub checks: Vec<CheckCount>,
}

/// One version.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VersionCount {
    /// As the devices say it.
    pub version: SmolStr,
    /// Devices.
    pub devices: u64,
    /// Of the devices of the group.
    pub share: f64,
}

/// How the devices of a group do in one check.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CheckCount {
    /// Which.
    pub check: PostureCheck,
    /// What passes it, in words.
    pub asks: &'static str,
    /// Devices that pass.
    pub pass: u64,
    /// Devices that fail.
    pub fail: u64,
    /// Devices that do not say.
    pub unknown: u64,
    /// Of those that say; `None` where none does.
    pub pass_share: Option<f64>,
    /// Of all of the group.
    pub unknown_share: f64,
}

/// The tightest floor of a platform within the budget.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Floor {
    /// The platform.
    pub platform: Platform,
    /// In percent.
    pub budget: Budget,
    /// Devices whose version is known: what the shares are of.
    pub known: u64,
    /// Devices whose version is not known: a floor may refuse them too.
    pub unknown: u64,
    /// The floor; `None` where no version is known.
    pub floor: Option<FloorCost>,
    /// The next tighter version that devices run.
    pub next: Option<FloorCost>,
}

/// What a floor costs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FloorCost {
    /// The lowest version let in.
    pub version: SmolStr,
    /// Devices below it.
    pub refused: u64,
    /// Of the devices whose version is known.
    pub share: f64,
}

/// What is gathered of a group.
#[derive(Default)]
struct Gathered<'a> {
    devices: u64,
    people: BTreeSet<&'a Person>,
    versions: BTreeMap<[u64; PARTS], (SmolStr, u64)>,
    checks: BTreeMap<usize, [u64; 3]>,
}

/// One commonly asked check of a platform.
struct Common {
    check: PostureCheck,
    asks: &'static str,
    how: How,
}

enum How {
    Requirement(Requirement),
    Managed,
    Registered,
    Crowdstrike,
}

/// Looks at the fleet.
pub(super) fn baseline(facts: Facts<'_>, budget: Budget) -> Baseline {
    let mut common: BTreeMap<Platform, Vec<Common>> = BTreeMap::new();
    let mut groups: BTreeMap<(Platform, Option<SmolStr>), Gathered<'_>> = BTreeMap::new();
    let mut has_cohorts = false;
    for seat in facts.seats() {
        let asked = common.entry(seat.platform).or_insert_with(|| commonly_asked(seat.platform));
        let results: Vec<CheckVerdict> = asked.iter().map(|common| common.result(&seat)).collect();
        has_cohorts |= seat.cohort.is_some();
        let cohort = seat.cohort.clone().unwrap_or_default();
        for key in [(seat.platform, None), (seat.platform, Some(cohort))] {
            groups.entry(key).or_default().add(&seat, &results);
        }
    }
    groups.retain(|(_, cohort), _| has_cohorts || cohort.is_none());
    let whole = groups.iter().filter(|((_, cohort), _)| cohort.is_none());
    let floors = whole.map(|((platform, _), gathered)| gathered.floor(*platform, budget)).collect();
    let none = Vec::new();
    let group = |((platform, cohort), gathered): ((Platform, Option<SmolStr>), Gathered<'_>)| {
        gathered.group(platform, cohort, common.get(&platform).unwrap_or(&none))
    };
    Baseline { groups: groups.into_iter().map(group).collect(), floors }
}

impl<'a> Gathered<'a> {
    fn add(&mut self, seat: &Seat<'a>, results: &[CheckVerdict]) {
        self.devices += 1;
        self.people.extend(seat.person);
        if let Some(text) = &seat.signals.os_version
            && let Some(version) = Version::parse(text)
        {
            self.versions.entry(version.parts()).or_insert_with(|| (text.clone(), 0)).1 += 1;
        }
        for (n, result) in results.iter().enumerate() {
            let counts = self.checks.entry(n).or_default();
            match result {
                CheckVerdict::Pass => counts[0] += 1,
                CheckVerdict::Fail => counts[1] += 1,
                CheckVerdict::Unknown => counts[2] += 1,
            }
        }
    }

    fn known(&self) -> u64 {
        self.versions.values().map(|(_, devices)| devices).sum()
    }

    fn group(self, platform: Platform, cohort: Option<SmolStr>, common: &[Common]) -> Group {
        let all = self.devices;
        let of_all = |part| share(part, all).unwrap_or_default();
        let version_unknown = all - self.known();
        let count = |(n, common): (usize, &Common)| {
            let [pass, fail, unknown] = self.checks.get(&n).copied().unwrap_or_default();
            CheckCount {
                check: common.check,
                asks: common.asks,
                pass,
                fail,
                unknown,
                pass_share: share(pass, pass + fail),
                unknown_share: of_all(unknown),
            }
        };
        let checks = common.iter().enumerate().map(count).collect();
        let version = |(version, devices)| VersionCount { version, devices, share: of_all(devices) };
        let versions = self.versions.into_values().map(version).collect();
        Group { platform, cohort, devices: all, people: self.people.len() as u64, versions, version_unknown, checks }
    }

    fn floor(&self, platform: Platform, budget: Budget) -> Floor {
        let known = self.known();
        let mut below = 0;
        let mut floor = None;
        let mut next = None;
        for (version, devices) in self.versions.values() {
            let refused = below;
            let cost =
                FloorCost { version: version.clone(), refused, share: share(refused, known).unwrap_or_default() };
            if !budget.allows(refused, known) {
                next = Some(cost);
                break;
            }
            floor = Some(cost);
            below += devices;
        }
        Floor { platform, budget, known, unknown: self.devices - known, floor, next }
    }
}

impl Common {
    fn result(&self, seat: &Seat<'_>) -> CheckVerdict {
        let wanted = |signal: Option<bool>| match signal {
            Some(true) => CheckVerdict::Pass,
            Some(false) => CheckVerdict::Fail,
            None => CheckVerdict::Unknown,
        };
        match &self.how {
            How::Requirement(asked) => requirement(asked, seat.platform, &seat.signals),
            How::Managed => wanted(seat.signals.managed),
            How::Registered => wanted(seat.signals.registered),
            How::Crowdstrike => wanted(super::whatif::crowdstrike_readable(&seat.signals)),
        }
    }
}

/// The checks that Okta can ask for on a platform. Source: the fact sheet's section 6.4.
fn commonly_asked(platform: Platform) -> Vec<Common> {
    use PostureCheck as P;
    let words = |words: &[&str]| words.iter().map(SmolStr::new).collect();
    let common = |check, asks, how| Common { check, asks, how };
    let asked = |check, asks, requirement| common(check, asks, How::Requirement(requirement));
    let volumes = || {
        asked(
            P::DiskEncryption,
            "all volumes encrypted",
            Requirement::DiskEncryption(words(&["ALL_INTERNAL_VOLUMES", "FULL"])),
        )
    };
    let phone_disk =
        || asked(P::DiskEncryption, "disk encrypted", Requirement::DiskEncryption(words(&["FULL", "USER"])));
    let lock =
        || asked(P::ScreenLock, "passcode or biometrics", Requirement::ScreenLock(words(&["PASSCODE", "BIOMETRIC"])));
    let biometrics = || asked(P::Biometrics, "biometrics", Requirement::ScreenLock(words(&["BIOMETRIC"])));
    let hardware = || asked(P::SecureHardware, "secure hardware", Requirement::SecureHardware(true));
    let jailbreak = || asked(P::Jailbreak, "not jailbroken or rooted", Requirement::Jailbreak(false));
    let mut list = match platform {
        Platform::Macos | Platform::Windows => vec![
            volumes(),
            lock(),
            biometrics(),
            hardware(),
            common(P::Crowdstrike, "CrowdStrike's signals readable", How::Crowdstrike),
        ],
        Platform::Android => vec![phone_disk(), lock(), biometrics(), hardware(), jailbreak()],
        Platform::Ios => vec![lock(), biometrics(), jailbreak()],
        Platform::Chromeos | Platform::Linux | Platform::Other | Platform::Unknown => Vec::new(),
    };
    list.push(common(P::NotManaged, "managed", How::Managed));
    list.push(common(P::NotRegistered, "registered", How::Registered));
    list
}

#[cfg(test)]
mod tests {
    use super::super::Groups;
    use super::super::fleet::Fleet;
    use super::*;
    use crate::event::{DeviceSignals, Timestamp};

    fn fleet(devices: &[(Platform, &str)]) -> Fleet {
        let mut fleet = Fleet::default();
        for (n, (platform, version)) in devices.iter().enumerate() {
            let signals = DeviceSignals {
                id: Some(format!("guo{n:03}").into()),
                os_version: (!version.is_empty()).then(|| SmolStr::new(version)),
                screen_lock: (n % 2 == 0).then(|| "PASSCODE".into()),
                ..DeviceSignals::default()
            };
            let person = Person::new(format!("00u{n}"));
            fleet.saw(Timestamp(1_780_000_000_000), Some(&person), *platform, &signals, None);
        }
        fleet
    }

    fn of(fleet: &Fleet, budget: f64, cohort_of: &dyn Fn(&Person) -> Option<SmolStr>) -> Baseline {
        let facts = Facts { fleet, policies: None, groups: &Groups::default(), cohort_of };
        baseline(facts, Budget::percent(budget).expect("a budget"))
    }

    /// The floor and the next of Macs, as version and devices refused.
    #[track_caller]
    fn check(versions: &[&str], budget: f64, floor: Option<(&str, u64)>, next: Option<(&str, u64)>) {
        let devices: Vec<_> = versions.iter().map(|version| (Platform::Macos, *version)).collect();
        let found = of(&fleet(&devices), budget, &|_| None);
        let cost = |cost: &Option<FloorCost>| cost.as_ref().map(|cost| (cost.version.to_string(), cost.refused));
        let [found] = found.floors.as_slice() else { panic!("one platform") };
        let owned = |cost: Option<(&str, u64)>| cost.map(|(version, refused)| (version.to_owned(), refused));
        assert_eq!((cost(&found.floor), cost(&found.next)), (owned(floor), owned(next)), "{versions:?} {budget}");
    }

    #[test]
    fn the_tightest_floor_refuses_less_than_the_budget_and_the_next_is_named() {
        let versions = ["14.5.0", "14.6.0", "14.6.0", "14.10.0"];
        check(&versions, 0.0, Some(("14.5.0", 0)), Some(("14.6.0", 1)));
        check(&versions, 25.0, Some(("14.5.0", 0)), Some(("14.6.0", 1)));
        check(&versions, 26.0, Some(("14.6.0", 1)), Some(("14.10.0", 3)));
        check(&versions, 100.0, Some(("14.10.0", 3)), None);
        check(&["14.6", "14.6.0"], 1.0, Some(("14.6", 0)), None);
        check(&["", "soon"], 1.0, None, None);
    }

    #[test]
    fn shares_are_of_those_who_say_and_the_rest_is_unknown() {
        let devices = [(Platform::Macos, "14.5.0"), (Platform::Macos, ""), (Platform::Ios, "17.5.1")];
        let found = of(&fleet(&devices), 1.0, &|_| None);
        let [macos, ios] = found.groups.as_slice() else { panic!("two platforms: {found:?}") };
        assert_eq!((macos.devices, macos.people, macos.version_unknown), (2, 2, 1));
        assert_eq!(macos.versions, [VersionCount { version: "14.5.0".into(), devices: 1, share: 0.5 }]);
        let counts = |group: &Group, check| {
            let found = group.checks.iter().find(|count| count.check == check);
            found.map(|found| (found.pass, found.fail, found.unknown, found.pass_share))
        };
        assert_eq!(counts(macos, PostureCheck::ScreenLock), Some((1, 0, 1, Some(1.0))));
        assert_eq!(counts(macos, PostureCheck::Biometrics), Some((0, 1, 1, Some(0.0))));
        assert_eq!(counts(macos, PostureCheck::NotManaged), Some((0, 0, 2, None)));
        assert_eq!(counts(macos, PostureCheck::Jailbreak), None, "Okta asks no Mac for it");
        assert_eq!(counts(ios, PostureCheck::Jailbreak), Some((0, 0, 1, None)));
    }

    #[test]
    fn cohorts_are_shown_where_there_are_any() {
        let devices = [(Platform::Macos, "14.5.0"), (Platform::Macos, "14.6.0")];
        let pilot = |person: &Person| (person.as_str() == "00u1").then(|| SmolStr::new("pilot"));
        let found = of(&fleet(&devices), 1.0, &pilot);
        let cohorts: Vec<_> = found.groups.iter().map(|group| (group.cohort.as_deref(), group.devices)).collect();
        assert_eq!(cohorts, [(None, 2), (Some(""), 1), (Some("pilot"), 1)]);
    }
}
