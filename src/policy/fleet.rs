//! The fleet: what every device of one org last said of itself, and who used it for what.
//!
//! An event states some of a device's signals and leaves others out, so each signal is kept with the newest event that
//! stated it; one that says less erases nothing. Of two statements of the same instant the greater value stays, so that
//! the order of arrival changes nothing. A device without an id is not kept: it could not be told from the next one.
//!
//! Bounded: devices, apps of a device and the length of the integrators' signals, each with a counter. What has not
//! been said for 90 days is gone (invariant 8).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::{App, AuthEvent, DeviceSignals, Kind, Person, Platform, Span, Timestamp};

/// How long a device, and each thing that it said, is kept.
pub const KEPT: Span = Span::hours(24 * 90);
/// Devices kept of an org unless told otherwise: ten times those of a large one.
pub const CAPACITY: u32 = 50_000;
/// Apps kept of a device; the one not used for longest goes first.
pub const APPS: usize = 16;
/// Bytes kept of the integrators' signals; longer ones are not kept, since a part of JSON says nothing.
pub const INTEGRATOR_BYTES: usize = 8 << 10;

/// Devices are ordered by age to the hour, so that a busy one costs no new place with each event.
const AGE_STEP: Span = Span::hours(1);

/// A value and when it was last said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Said<T> {
    /// What.
    pub value: T,
    /// The event time of the newest statement of it.
    pub at: Timestamp,
}

/// What is known of one device.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Device {
    last_seen: Timestamp,
    person: Option<Said<Person>>,
    platform: Option<Said<Platform>>,
    os_version: Option<Said<SmolStr>>,
    managed: Option<Said<bool>>,
    registered: Option<Said<bool>>,
    jailbreak: Option<Said<bool>>,
    secure_hardware: Option<Said<bool>>,
    disk_encryption: Option<Said<SmolStr>>,
    screen_lock: Option<Said<SmolStr>>,
    integrators: Option<Said<SmolStr>>,
    apps: BTreeMap<SmolStr, Said<SmolStr>>,
}

/// What is counted beside the devices; it only rises.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FleetCounts {
    /// Policy evaluations seen.
    pub evaluations: u64,
    /// Those of them that named no device: what no posture question can be answered for.
    pub without_device: u64,
    /// Devices that went because there were too many.
    pub evicted: u64,
    /// Apps that went because a device used too many.
    pub apps_dropped: u64,
    /// Integrators' signals that were too long to keep.
    pub signals_dropped: u64,
}

/// Every device of one org.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fleet {
    capacity: u32,
    devices: BTreeMap<SmolStr, Device>,
    /// The hour of each device's last event, and its id.
    by_age: BTreeSet<(i64, SmolStr)>,
    /// The first and the newest event of a device.
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    now: Timestamp,
    counts: FleetCounts,
}

impl Default for Fleet {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Fleet {
    /// An empty fleet of at most `capacity` devices.
    pub fn new(capacity: u32) -> Self {
        Self {
            capacity,
            devices: BTreeMap::new(),
            by_age: BTreeSet::new(),
            from: None,
            until: None,
            now: Timestamp::MIN,
            counts: FleetCounts::default(),
        }
    }

    /// Takes an event. Only the events of a sign-in say whose the device is and what it was used for: elsewhere the
    /// actor may be an administrator at another person's device.
    pub fn saw_event(&mut self, event: &AuthEvent) {
        let Some(published) = event.published else { return };
        if event.kind == Kind::PolicyEvaluation {
            self.counts.evaluations += 1;
            let has_device = event.device.as_ref().is_some_and(|device| device.id.is_some());
            self.counts.without_device += u64::from(!has_device);
        }
        let Some(device) = &event.device else { return };
        if is_sign_in(event.kind) {
            self.saw(published, event.person.as_ref(), event.platform, device, event.app.as_ref());
        } else {
            self.saw(published, None, event.platform, device, None);
        }
    }

    /// A device spoke at `published`. Nothing is kept of what is older than [`KEPT`] before the newest event.
    pub fn saw(
        &mut self,
        published: Timestamp,
        person: Option<&Person>,
        platform: Platform,
        signals: &DeviceSignals,
        app: Option<&App>,
    ) {
        let Some(id) = signals.id.as_ref().filter(|id| !id.is_empty()) else { return };
        self.expire(published);
        if published < self.now - KEPT {
            return;
        }
        self.from = Some(self.from.map_or(published, |from| from.min(published)));
        self.until = self.until.max(Some(published));
        let hour = published.index(AGE_STEP);
        match self.devices.get_mut(id) {
            Some(device) => {
                let was = device.last_seen.index(AGE_STEP);
                device.hear(published, person, platform, signals, app, &mut self.counts);
                if hour > was {
                    self.by_age.remove(&(was, id.clone()));
                    self.by_age.insert((hour, id.clone()));
                }
            }
            None => {
                let mut device = Device { last_seen: published, ..Device::default() };
                device.hear(published, person, platform, signals, app, &mut self.counts);
                self.devices.insert(id.clone(), device);
                self.by_age.insert((hour, id.clone()));
                if self.devices.len() > self.capacity as usize
                    && let Some((_, oldest)) = self.by_age.pop_first()
                {
                    self.devices.remove(&oldest);
                    self.counts.evicted += 1;
                }
            }
        }
    }

    /// Time has come to `now`: devices that have said nothing for [`KEPT`] go. It never goes back.
    pub fn expire(&mut self, now: Timestamp) {
        if now <= self.now {
            return;
        }
        self.now = now;
        let oldest_kept = now - KEPT;
        while let Some((hour, id)) = self.by_age.first()
            && *hour < oldest_kept.index(AGE_STEP)
        {
            self.devices.remove(id);
            self.by_age.pop_first();
        }
    }

    /// Forgets a person's devices.
    pub fn forget(&mut self, person: &Person) {
        let by_age = &mut self.by_age;
        self.devices.retain(|id, device| {
            let is_theirs = device.person() == Some(person);
            if is_theirs {
                by_age.remove(&(device.last_seen.index(AGE_STEP), id.clone()));
            }
            !is_theirs
        });
    }

    /// Every device with its id, in the order of the ids.
    pub fn devices(&self) -> impl Iterator<Item = (&SmolStr, &Device)> {
        self.devices.iter()
    }

    /// What a device said within [`KEPT`]: the rest is unknown again.
    pub fn signals(&self, id: &SmolStr, device: &Device) -> DeviceSignals {
        device.signals(id, self.now - KEPT)
    }

    /// How many devices there are.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The event times between which devices spoke, as far as they are kept; `None` where none did.
    pub fn seen(&self) -> Option<(Timestamp, Timestamp)> {
        let (from, until) = (self.from?, self.until?);
        Some((from.max(self.now - KEPT).min(until), until))
    }

    /// What is counted.
    pub fn counts(&self) -> FleetCounts {
        self.counts
    }
}

impl Device {
    /// Its newest event.
    pub fn last_seen(&self) -> Timestamp {
        self.last_seen
    }

    /// Who signed in on it last.
    pub fn person(&self) -> Option<&Person> {
        self.person.as_ref().map(|said| &said.value)
    }

    /// Its platform; `Unknown` where no event said so.
    pub fn platform(&self) -> Platform {
        self.platform.as_ref().map_or(Platform::Unknown, |said| said.value)
    }

    /// The apps that it was used for: the id, else the name, and the name.
    pub fn apps(&self) -> impl Iterator<Item = (&SmolStr, &SmolStr)> {
        self.apps.iter().map(|(key, name)| (key, &name.value))
    }

    fn signals(&self, id: &SmolStr, since: Timestamp) -> DeviceSignals {
        fn at<T: Clone>(said: Option<&Said<T>>, since: Timestamp) -> Option<T> {
            said.filter(|said| said.at >= since).map(|said| said.value.clone())
        }
        DeviceSignals {
            id: Some(id.clone()),
            os_version: at(self.os_version.as_ref(), since),
            managed: at(self.managed.as_ref(), since),
            registered: at(self.registered.as_ref(), since),
            jailbreak: at(self.jailbreak.as_ref(), since),
            secure_hardware: at(self.secure_hardware.as_ref(), since),
            disk_encryption: at(self.disk_encryption.as_ref(), since),
            screen_lock: at(self.screen_lock.as_ref(), since),
            integrators: at(self.integrators.as_ref(), since),
        }
    }

    fn hear(
        &mut self,
        at: Timestamp,
        person: Option<&Person>,
        platform: Platform,
        signals: &DeviceSignals,
        app: Option<&App>,
        counts: &mut FleetCounts,
    ) {
        self.last_seen = self.last_seen.max(at);
        // What has not been said for so long is gone, though the device still speaks.
        let since = self.last_seen - KEPT;
        self.person.take_if(|said| said.at < since);
        self.apps.retain(|_, used| used.at >= since);
        let stated = (platform != Platform::Unknown).then_some(&platform);
        hear(&mut self.person, person, at);
        hear(&mut self.platform, stated, at);
        hear(&mut self.os_version, signals.os_version.as_ref(), at);
        hear(&mut self.managed, signals.managed.as_ref(), at);
        hear(&mut self.registered, signals.registered.as_ref(), at);
        hear(&mut self.jailbreak, signals.jailbreak.as_ref(), at);
        hear(&mut self.secure_hardware, signals.secure_hardware.as_ref(), at);
        hear(&mut self.disk_encryption, signals.disk_encryption.as_ref(), at);
        hear(&mut self.screen_lock, signals.screen_lock.as_ref(), at);
        match &signals.integrators {
            Some(text) if text.len() > INTEGRATOR_BYTES => {
                counts.signals_dropped += 1;
                // What it said before does not hold any more.
                if self.integrators.as_ref().is_some_and(|said| said.at <= at) {
                    self.integrators = None;
                }
            }
            text => hear(&mut self.integrators, text.as_ref(), at),
        }
        if let Some(app) = app {
            self.used(at, app, counts);
        }
    }

    fn used(&mut self, at: Timestamp, app: &App, counts: &mut FleetCounts) {
        let key = if app.id.is_empty() { &app.name } else { &app.id };
        if key.is_empty() {
            return;
        }
        if let Some(used) = self.apps.get_mut(key) {
            if used.at < at || (used.at == at && used.value < app.name) {
                *used = Said { value: app.name.clone(), at };
            }
            return;
        }
        self.apps.insert(key.clone(), Said { value: app.name.clone(), at });
        if self.apps.len() > APPS
            && let Some(oldest) = self.apps.iter().min_by_key(|(_, used)| used.at).map(|(key, _)| key.clone())
        {
            self.apps.remove(&oldest);
            counts.apps_dropped += 1;
        }
    }
}

/// Takes a statement that is newer than the one known; what is not stated changes nothing.
fn hear<T: Clone + Ord>(slot: &mut Option<Said<T>>, stated: Option<&T>, at: Timestamp) {
    let Some(value) = stated else { return };
    match slot {
        Some(said) if said.value == *value => said.at = said.at.max(at),
        Some(said) if (said.at, &said.value) >= (at, value) => {}
        Some(_) | None => *slot = Some(Said { value: value.clone(), at }),
    }
}

/// Whether the actor signs in, or tries to, on the device that the event names.
fn is_sign_in(kind: Kind) -> bool {
    match kind {
        Kind::PolicyEvaluation
        | Kind::Authentication
        | Kind::Verification
        | Kind::Session
        | Kind::Sso
        | Kind::AccessDenied => true,
        Kind::Enrollment
        | Kind::PolicyChange
        | Kind::AssuranceChange
        | Kind::AuthenticatorChange
        | Kind::IntegrationChange
        | Kind::MembershipChange
        | Kind::AdminChange
        | Kind::Device
        | Kind::Threat
        | Kind::RateLimit
        | Kind::Delivery
        | Kind::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp(1_780_000_000_000);

    fn says(id: &str) -> DeviceSignals {
        DeviceSignals { id: Some(SmolStr::new(id)), ..DeviceSignals::default() }
    }

    fn version(id: &str, text: &str) -> DeviceSignals {
        DeviceSignals { os_version: Some(SmolStr::new(text)), ..says(id) }
    }

    fn ids(fleet: &Fleet) -> Vec<&str> {
        fleet.devices().map(|(id, _)| id.as_str()).collect()
    }

    fn signals_of(fleet: &Fleet, wanted: &str) -> DeviceSignals {
        let (id, device) = fleet.devices().find(|(id, _)| *id == wanted).expect("the device");
        fleet.signals(id, device)
    }

    /// The version after events of (minute, version or nothing), in every order.
    #[track_caller]
    fn check(events: &[(i64, Option<&str>)], expect: Option<&str>) {
        let mut rotated = events.to_vec();
        for _ in 0..events.len() {
            rotated.rotate_left(1);
            for order in [rotated.clone(), rotated.iter().rev().copied().collect()] {
                let mut fleet = Fleet::default();
                for (minute, text) in &order {
                    let signals = text.map_or_else(|| says("guo1"), |text| version("guo1", text));
                    fleet.saw(T0 + Span::minutes(*minute), None, Platform::Macos, &signals, None);
                }
                assert_eq!(signals_of(&fleet, "guo1").os_version.as_deref(), expect, "{order:?}");
            }
        }
    }

    #[test]
    fn each_signal_is_the_newest_that_was_stated_whatever_the_order_of_arrival() {
        check(&[(0, Some("14.5.0"))], Some("14.5.0"));
        check(&[(0, Some("14.5.0")), (5, Some("14.6.0"))], Some("14.6.0"));
        check(&[(0, Some("14.5.0")), (5, Some("14.6.0")), (9, None)], Some("14.6.0"));
        check(&[(0, Some("14.6.0")), (5, Some("14.5.0"))], Some("14.5.0"));
        check(&[(5, Some("14.6.0")), (5, Some("14.5.0"))], Some("14.6.0"));
        check(&[(0, None), (1, None)], None);
    }

    #[test]
    fn a_device_without_an_id_is_not_kept() {
        let mut fleet = Fleet::default();
        for signals in [DeviceSignals::default(), says("")] {
            fleet.saw(T0, None, Platform::Macos, &signals, None);
        }
        assert!(fleet.is_empty() && fleet.seen().is_none());
    }

    #[test]
    fn what_was_not_said_for_ninety_days_is_unknown_and_a_silent_device_is_gone() {
        let mut fleet = Fleet::default();
        fleet.saw(T0, None, Platform::Macos, &version("guo1", "14.5.0"), None);
        fleet.saw(T0, None, Platform::Macos, &version("guo2", "14.5.0"), None);
        let later = T0 + KEPT + Span::hours(2);
        fleet.saw(later - Span::hours(4), None, Platform::Macos, &says("guo1"), None);
        fleet.saw(later, None, Platform::Macos, &says("guo3"), None);
        assert_eq!(ids(&fleet), ["guo1", "guo3"]);
        assert_eq!(signals_of(&fleet, "guo1").os_version, None);
        assert_eq!(fleet.seen(), Some((later - KEPT, later)));
        fleet.saw(T0, None, Platform::Macos, &version("guo2", "14.5.0"), None);
        assert_eq!(ids(&fleet), ["guo1", "guo3"], "a late event brings nothing back");
        fleet.expire(later + KEPT + Span::hours(2));
        assert!(fleet.is_empty() && fleet.by_age.is_empty());
    }

    #[test]
    fn the_device_silent_for_longest_goes_first_where_there_are_too_many() {
        let mut fleet = Fleet::new(2);
        for (hour, id) in [(0, "guo1"), (2, "guo2"), (4, "guo1"), (6, "guo3")] {
            fleet.saw(T0 + Span::hours(hour), None, Platform::Macos, &says(id), None);
        }
        assert_eq!((ids(&fleet), fleet.counts().evicted), (vec!["guo1", "guo3"], 1));
        assert_eq!(fleet.by_age.len(), 2);
    }

    #[test]
    fn apps_and_integrators_have_bounds_with_counters() {
        let mut fleet = Fleet::default();
        let app = |n: usize| App { id: format!("0oa{n:02}").into(), name: format!("App {n}").into() };
        for n in 0..=APPS {
            let at = T0 + Span::minutes(i64::try_from(n).expect("small"));
            fleet.saw(at, None, Platform::Macos, &says("guo1"), Some(&app(n)));
        }
        let (_, device) = fleet.devices().next().expect("a device");
        assert_eq!((device.apps().count(), fleet.counts().apps_dropped), (APPS, 1));
        assert!(device.apps().all(|(id, _)| id != "0oa00"));

        let stated = |text: String| DeviceSignals { integrators: Some(text.into()), ..says("guo1") };
        fleet.saw(T0 + Span::hours(1), None, Platform::Macos, &stated("{}".to_owned()), None);
        assert_eq!(signals_of(&fleet, "guo1").integrators.as_deref(), Some("{}"));
        fleet.saw(T0 + Span::hours(2), None, Platform::Macos, &stated(" ".repeat(INTEGRATOR_BYTES + 1)), None);
        assert_eq!(signals_of(&fleet, "guo1").integrators, None);
        assert_eq!(fleet.counts().signals_dropped, 1);
    }

    #[test]
    fn a_forgotten_person_leaves_no_device_behind() {
        let (ann, ben) = (Person::new("00uann"), Person::new("00uben"));
        let mut fleet = Fleet::default();
        fleet.saw(T0, Some(&ann), Platform::Macos, &says("guo1"), None);
        fleet.saw(T0, Some(&ben), Platform::Ios, &says("guo2"), None);
        fleet.forget(&ann);
        assert_eq!((ids(&fleet), fleet.by_age.len()), (vec!["guo2"], 1));
    }

    #[test]
    fn a_snapshot_gives_the_same_fleet() {
        let mut fleet = Fleet::new(7);
        let app = App { id: "0oa1".into(), name: "Mail".into() };
        fleet.saw(T0, Some(&Person::new("00u1")), Platform::Macos, &version("guo1", "14.5.0"), Some(&app));
        let bytes = postcard::to_stdvec(&fleet).expect("bytes");
        assert_eq!(postcard::from_bytes::<Fleet>(&bytes).expect("a fleet"), fleet);
    }
}
