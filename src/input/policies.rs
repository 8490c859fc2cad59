//! What an org's sign-in policies say, as plain values: access policies, their rules, device assurance policies.
//!
//! Made from Okta's JSON by the room `policy`, which also compares them with devices. What a policy says and this model
//! does not know is kept by name ([`Conditions::unread`], [`Requirement::Unread`]), so that nothing is decided as if it
//! were not there. Source of the shapes: the fact sheet's section 6.4.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::{Platform, PostureCheck, Risk, Span, Timestamp};

/// Where policies were read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum PolicyOrigin {
    /// Okta's API: every change is read again.
    Api,
    /// A file: the changes that pass in the log roll it forward, as far as they say what they changed.
    File,
}

/// All sign-in policies of an org at one time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Policies {
    /// Access policies by id (`rst…`).
    pub policies: BTreeMap<SmolStr, AccessPolicy>,
    /// Device assurance policies by id (`dae…`).
    pub assurances: BTreeMap<SmolStr, Assurance>,
    /// The vendors' releases, where the document holds them.
    pub releases: Releases,
}

impl Policies {
    /// The groups that conditions of rules name: whose people have to be known to decide them.
    pub fn groups(&self) -> BTreeSet<SmolStr> {
        let rules = self.policies.values().flat_map(|policy| &policy.rules);
        let people = rules.map(|rule| &rule.conditions.people);
        people.flat_map(|people| people.groups_include.iter().chain(&people.groups_exclude)).cloned().collect()
    }
}

/// One access policy: an app's sign-on policy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AccessPolicy {
    /// Its name.
    pub name: SmolStr,
    /// Its active rules in the order in which Okta tries them; the last is the catch-all.
    pub rules: Vec<Rule>,
}

/// What a rule does when it matches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Access {
    /// Lets the person in, once the authenticators are satisfied.
    Allow,
    /// Refuses.
    Deny,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// Okta's id (`rul…`).
    pub id: SmolStr,
    /// Its name.
    pub name: SmolStr,
    /// Okta's priority: the lowest number is tried first.
    pub priority: i64,
    /// Whether it is the catch-all that Okta makes.
    pub system: bool,
    /// What it does.
    pub access: Access,
    /// When it matches: all must hold.
    pub conditions: Conditions,
    /// Whether it demands a phishing-resistant authenticator.
    pub phishing_resistant: bool,
}

/// The conditions of a rule; what is absent holds for everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Conditions {
    /// For whom.
    pub people: People,
    /// From where.
    pub network: Network,
    /// At which risk; `None` is any.
    pub risk: Option<Risk>,
    /// On what; empty is anything.
    pub platforms: Vec<PlatformCondition>,
    /// With which device; `None` is any, and none at all.
    pub device: Option<DeviceCondition>,
    /// An expression in Okta's language that must be true.
    pub expression: Option<SmolStr>,
    /// The names of conditions that are set and not known to this model.
    pub unread: Vec<SmolStr>,
}

/// For whom a rule is. An empty list says nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct People {
    /// People by id.
    pub users_include: Vec<SmolStr>,
    /// People who are left out.
    pub users_exclude: Vec<SmolStr>,
    /// Groups by id.
    pub groups_include: Vec<SmolStr>,
    /// Groups that are left out.
    pub groups_exclude: Vec<SmolStr>,
}

/// From where a rule matches.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Network {
    /// From anywhere.
    #[default]
    Anywhere,
    /// From these zones, or from all but these, by id.
    Zones {
        /// In one of these; empty is any.
        include: Vec<SmolStr>,
        /// In none of these.
        exclude: Vec<SmolStr>,
    },
    /// On or off the company network, as the word says (`ON_NETWORK`, `OFF_NETWORK`).
    Word(SmolStr),
}

/// One platform that a rule is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct PlatformCondition {
    /// `DESKTOP`, `MOBILE`, `ANY` or `OTHER`, as written.
    pub kind: SmolStr,
    /// The system; `None` is any of the kind.
    pub platform: Option<Platform>,
}

/// What a rule asks of the device.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DeviceCondition {
    /// Registered in Okta.
    pub registered: Option<bool>,
    /// Managed by an MDM.
    pub managed: Option<bool>,
    /// Device assurance policies, one of which must be met.
    pub assurances: Vec<SmolStr>,
}

/// One device assurance policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Assurance {
    /// Its name.
    pub name: SmolStr,
    /// The platform that it is for.
    pub platform: Platform,
    /// Until when a device that fails is let in, if at all.
    pub grace: Option<Grace>,
    /// What it asks for, in the order of [`Requirement`]: all must be met.
    pub requirements: Vec<Requirement>,
}

/// How long a device that fails is still let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Grace {
    /// Until an instant, for all devices.
    Until(Timestamp),
    /// For so long after a device was first found failing; Okta does not tell since when.
    For(Span),
}

/// One thing that a device assurance policy asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Requirement {
    /// The system's version.
    OsVersion(OsRequirement),
    /// Windows: constraints by major version; a major without one is allowed.
    Windows(Vec<WindowsConstraint>),
    /// Disk encryption is one of these.
    DiskEncryption(Vec<SmolStr>),
    /// The screen lock is one of these.
    ScreenLock(Vec<SmolStr>),
    /// Secure hardware is (or is not) present.
    SecureHardware(bool),
    /// The device is (or is not) jailbroken.
    Jailbreak(bool),
    /// A member of an integrator's signals has a value: Chrome Device Trust, Android, posture IdP, osquery.
    Signal {
        /// The check that it belongs to.
        check: PostureCheck,
        /// The member, as the policy spells it.
        member: SmolStr,
        /// What it must be, as text: `true`, a word, a lowest version (`browserVersion`, `osVersion`), or words that
        /// are each enough, joined by `" or "`.
        required: SmolStr,
    },
    /// Something that this model does not know, by its name.
    Unread(SmolStr),
}

/// A version that must be reached.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OsRequirement {
    /// The lowest that is allowed.
    pub minimum: Option<SmolStr>,
    /// A requirement that moves with the vendor's releases.
    pub dynamic: Option<DynamicVersion>,
}

/// What a dynamic requirement compares with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum VersionKind {
    /// That major version or a later one.
    Minimum,
    /// Exactly that major version.
    Exact,
    /// Any major version that the vendor supports.
    ExactAnySupported,
    /// The major version is not allowed at all.
    NotAllowed,
}

/// A requirement that moves with the vendor's releases.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DynamicVersion {
    /// What is compared.
    pub kind: VersionKind,
    /// How many major versions behind the latest.
    pub behind: u32,
    /// Whether the newest security patch of the major version is asked for.
    pub latest_patch: bool,
}

/// A constraint on one major version of Windows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WindowsConstraint {
    /// 10 or 11.
    pub major: u32,
    /// What is asked of it.
    pub version: OsRequirement,
}

/// The vendors' releases, newest first, by platform word (`macos`, `windows_11`): what dynamic requirements need.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Releases(pub BTreeMap<SmolStr, Vec<SmolStr>>);
