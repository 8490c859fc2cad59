//! Pushes: changes of policy that refuse people from one instant until a rollback, by truth.
//!
//! Whom a push refuses is decided from the people and devices of the org alone; no evaluator of authwatch is asked.

use serde::Serialize;

use super::fleet::Version;
use super::org::Org;
use super::policies::{PolicyState, Tier};
use crate::event::Timestamp;

/// Why a policy refused, by truth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A blocked network zone.
    NetworkZone,
    /// High risk.
    Risk,
    /// The operating system is too old.
    OsVersion,
    /// No device answered.
    NoDeviceContext,
    /// No screen lock.
    ScreenLock,
    /// CrowdStrike's score is too low.
    Crowdstrike,
    /// The disk is not encrypted.
    DiskEncryption,
    /// CrowdStrike's signal could not be read.
    SignalUnreadable,
    /// The device is not managed; never in the null, only by a push.
    NotManaged,
}

impl Check {
    /// Every check of the null with its share of the refusals.
    ///
    /// Source: the judgement study's section 2; the shares add up to 0.98.
    pub const NULL_MIX: [(Self, f64); 8] = [
        (Self::NetworkZone, 0.31),
        (Self::Risk, 0.17),
        (Self::OsVersion, 0.15),
        (Self::NoDeviceContext, 0.13),
        (Self::ScreenLock, 0.08),
        (Self::Crowdstrike, 0.07),
        (Self::DiskEncryption, 0.04),
        (Self::SignalUnreadable, 0.03),
    ];

    /// The word in truth files: the posture checks of the design, `network_zone` and `risk`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetworkZone => "network_zone",
            Self::Risk => "risk",
            Self::OsVersion => "os_version",
            Self::NoDeviceContext => "no_device_context",
            Self::ScreenLock => "screen_lock",
            Self::Crowdstrike => "crowdstrike",
            Self::DiskEncryption => "disk_encryption",
            Self::SignalUnreadable => "signal_unreadable",
            Self::NotManaged => "not_managed",
        }
    }
}

/// What a push changes.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Device assurance floors move; each (tier, floor) is one `device.assurance.policy.update`.
    Floor {
        /// Whose assurance policies.
        tiers: Vec<Tier>,
        /// The new floors, at most one per platform.
        floors: Vec<Version>,
    },
    /// The allowing rules of one app ask for a managed device; each rule is one `policy.rule.update`.
    RequireManaged {
        /// Index into [`Org::apps`].
        app: u16,
    },
}

/// A change of policy with its instant and its end.
#[derive(Clone, PartialEq, Debug)]
pub struct Push {
    /// When it takes effect; the change event's `published`.
    pub at: Timestamp,
    /// When it is taken back, if ever.
    pub rollback_at: Option<Timestamp>,
    /// What changes.
    pub change: Change,
}

impl Push {
    /// Whether it is in force.
    pub fn is_active(&self, at: Timestamp) -> bool {
        self.at <= at && self.rollback_at.is_none_or(|rollback| at < rollback)
    }

    /// Which check refuses this person with this device at this app while the push is in force. Without a device
    /// nobody gets past a gated app in the first place, so the push refuses nobody new.
    pub fn refuses(&self, org: &Org, person: u32, device: Option<u32>, app: u16) -> Option<Check> {
        let device = &org.devices[device? as usize];
        if !org.apps[usize::from(app)].gated {
            return None;
        }
        match &self.change {
            Change::Floor { tiers, floors } => {
                let tier = Tier::of(org.people[person as usize].cohort);
                let below = floors.iter().any(|floor| device.os_version.is_below(*floor));
                (tiers.contains(&tier) && below).then_some(Check::OsVersion)
            }
            Change::RequireManaged { app: changed } => {
                (*changed == app && !device.managed).then_some(Check::NotManaged)
            }
        }
    }
}

/// The policies in force at `at`.
pub fn policies_at(pushes: &[Push], at: Timestamp) -> PolicyState {
    let mut state = PolicyState::base();
    for push in pushes.iter().filter(|push| push.at <= at) {
        let (changed, active) = match push.rollback_at {
            Some(rollback) if rollback <= at => (rollback, false),
            Some(_) | None => (push.at, true),
        };
        if active {
            state.apply(&push.change);
        }
        state.last_updated = changed.to_string();
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Span;
    use crate::sim::fleet::Platform;
    use crate::sim::org::Cohort;

    #[test]
    fn a_push_refuses_exactly_the_old_devices_of_its_tier_at_gated_apps() {
        let org = Org::new(3, 400);
        let floor = Version::new(Platform::Macos, [15, 1, 0, 0]);
        let change = Change::Floor { tiers: vec![Tier::Pilot], floors: vec![floor] };
        let push = Push { at: Timestamp(0), rollback_at: None, change };
        let mut refused = 0;
        for (index, person) in (0..).zip(&org.people) {
            let device = &org.devices[person.devices[0] as usize];
            let old = device.platform == Platform::Macos && device.os_version.is_below(floor);
            let expect = (person.cohort == Cohort::Pilot && old).then_some(Check::OsVersion);
            assert_eq!(push.refuses(&org, index, Some(person.devices[0]), 0), expect);
            assert_eq!(push.refuses(&org, index, Some(person.devices[0]), 11), None, "an open app");
            assert_eq!(push.refuses(&org, index, None, 0), None);
            refused += usize::from(expect.is_some());
        }
        assert!(refused > 3, "{refused}");
    }

    #[test]
    fn the_policies_in_force_follow_push_and_rollback() {
        let at = Timestamp(1_000_000);
        let change = Change::RequireManaged { app: 1 };
        let pushes = [Push { at, rollback_at: Some(at + Span::minutes(30)), change }];
        let managed = |time| policies_at(&pushes, time).managed_apps;
        assert_eq!(managed(at - Span(1)), Vec::<u16>::new());
        assert_eq!(managed(at), [1]);
        assert_eq!(managed(at + Span::minutes(30)), Vec::<u16>::new());
    }
}
