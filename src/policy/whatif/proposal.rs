//! A proposal: device assurance policies that would replace those in force, and single values that would change.
//!
//! Refuses what no device assurance policy of the platform can ask for, with the nearest path that one can.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};
use thiserror::Error;

use crate::event::Platform;
use crate::input::{Assurance, OsRequirement, Policies, Requirement, WindowsConstraint};
use crate::policy::parse::{self, PolicyError};
use crate::policy::version::{self, windows_major};

/// Device assurance policies of one proposal.
const MAX_ASSURANCES: usize = 1_000;
/// Values of one proposal.
const MAX_SETS: usize = 1_000;

/// What each platform's device assurance policy can be set to, by Okta's names (the fact sheet's section 6.4). ChromeOS
/// is asked through Chrome Device Trust, which has no single values to set.
const PATHS: [(Platform, &[Member]); 4] = [
    (
        Platform::Macos,
        &[
            Member::OsVersion,
            Member::OsVersionMinimum,
            Member::DiskEncryption,
            Member::ScreenLock,
            Member::SecureHardware,
        ],
    ),
    (
        Platform::Windows,
        &[
            Member::OsVersion,
            Member::OsVersionMinimum,
            Member::DiskEncryption,
            Member::ScreenLock,
            Member::SecureHardware,
        ],
    ),
    (Platform::Ios, &[Member::OsVersion, Member::OsVersionMinimum, Member::ScreenLock, Member::Jailbreak]),
    (
        Platform::Android,
        &[
            Member::OsVersion,
            Member::OsVersionMinimum,
            Member::DiskEncryption,
            Member::ScreenLock,
            Member::SecureHardware,
            Member::Jailbreak,
        ],
    ),
];

/// The words of `diskEncryptionType` and `screenLockType`.
const DISK: [&str; 4] = ["ALL_INTERNAL_VOLUMES", "SYSTEM_VOLUME", "FULL", "USER"];
const LOCK: [&str; 3] = ["BIOMETRIC", "PASSCODE", "NONE"];

/// Stands for the id of a policy that has none yet.
const UNSAVED: &str = "proposed";

/// What can be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Member {
    OsVersion,
    OsVersionMinimum,
    DiskEncryption,
    ScreenLock,
    SecureHardware,
    Jailbreak,
}

impl Member {
    const fn as_str(self) -> &'static str {
        match self {
            Self::OsVersion => "osVersion",
            Self::OsVersionMinimum => "osVersion.minimum",
            Self::DiskEncryption => "diskEncryptionType",
            Self::ScreenLock => "screenLockType",
            Self::SecureHardware => "secureHardwarePresent",
            Self::Jailbreak => "jailbreak",
        }
    }
}

/// What would change.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Proposal {
    assurances: Vec<(Option<SmolStr>, Assurance)>,
    sets: Vec<Set>,
}

/// One value of one platform.
#[derive(Clone, PartialEq, Debug)]
struct Set {
    platform: Platform,
    value: SetValue,
}

#[derive(Clone, PartialEq, Debug)]
enum SetValue {
    /// The minimum; whether it replaces all that was asked of the version.
    Version {
        minimum: SmolStr,
        alone: bool,
    },
    Disk(Vec<SmolStr>),
    Lock(Vec<SmolStr>),
    SecureHardware(bool),
    Jailbreak(bool),
}

/// Why a proposal cannot be asked about.
#[derive(Debug, Error)]
pub enum ProposalError {
    /// No object, and no array of them.
    #[error("a proposed assurance must be a JSON object as Okta's device assurance API has it, or an array of them")]
    NoObject,
    /// Not a device assurance policy.
    #[error("the proposed assurance {number} cannot be read")]
    Assurance {
        /// Its place, from 1.
        number: usize,
        /// Why.
        source: PolicyError,
    },
    /// Not `PATH=VALUE`.
    #[error("`{0}` is not PATH=VALUE (for example `macos.osVersion=14.6.0`)")]
    NoValue(String),
    /// Nothing has this path.
    #[error("there is nothing to set at `{path}` ({hint})")]
    Path {
        /// As given.
        path: String,
        /// What there is.
        hint: String,
    },
    /// The value cannot be at this path.
    #[error("`{value}` cannot be the value of `{path}` ({expected})")]
    Value {
        /// As given.
        path: String,
        /// As given.
        value: String,
        /// What can.
        expected: String,
    },
    /// Too much at once.
    #[error("a proposal has at most {0} parts of a kind")]
    TooLarge(usize),
}

/// One thing that a proposal changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Changed {
    /// The device assurance policy, by name.
    pub assurance: SmolStr,
    /// Its platform.
    pub platform: Platform,
    /// How it comes to be.
    pub how: How,
}

/// How a changed device assurance policy comes to be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It replaces a known one, of the same id, else of the same name and platform.
    Replaces,
    /// A known one with values set.
    Set,
    /// It stands for all devices of its platform: no known one is like it.
    Platform,
}

/// The device assurance policies as they would be.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Proposed {
    /// By id, as they would be.
    pub(super) assurances: BTreeMap<SmolStr, Assurance>,
    /// The ids of those that differ.
    pub(super) changed: BTreeSet<SmolStr>,
    /// By platform, those that stand for all its devices: any one of them must be met.
    pub(super) standing: BTreeMap<Platform, Vec<Assurance>>,
}

impl Proposal {
    /// Whether nothing is proposed.
    pub fn is_empty(&self) -> bool {
        self.assurances.is_empty() && self.sets.is_empty()
    }

    /// Adds device assurance policies: one of Okta's JSON objects, or an array of them.
    ///
    /// # Errors
    /// Where one is no device assurance policy.
    pub fn assure(&mut self, json: &Value) -> Result<(), ProposalError> {
        let list = match json {
            Value::Array(list) => list.as_slice(),
            Value::Object(_) => std::slice::from_ref(json),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(ProposalError::NoObject),
        };
        if self.assurances.len() + list.len() > MAX_ASSURANCES {
            return Err(ProposalError::TooLarge(MAX_ASSURANCES));
        }
        for (index, one) in list.iter().enumerate() {
            if !one.is_object() {
                return Err(ProposalError::NoObject);
            }
            let refused = |source| ProposalError::Assurance { number: index + 1, source };
            let id = one.get("id").and_then(Value::as_str).map(SmolStr::new);
            // Okta gives an id when a policy is created: one that is only proposed may have none.
            let mut one = one.clone();
            if id.is_none() {
                one["id"] = Value::from(UNSAVED);
            }
            let (_, assurance) = parse::assurance(&one).map_err(refused)?;
            self.assurances.push((id, assurance));
        }
        Ok(())
    }

    /// Adds a value, written `PATH=VALUE`.
    ///
    /// # Errors
    /// Where there is no such path, or the value cannot be there.
    pub fn set(&mut self, text: &str) -> Result<(), ProposalError> {
        let (path, value) = text.split_once('=').ok_or_else(|| ProposalError::NoValue(text.to_owned()))?;
        self.set_at(path.trim(), value.trim())
    }

    /// Adds a value at a path. Several words are separated by commas.
    ///
    /// # Errors
    /// As [`Proposal::set`].
    pub fn set_at(&mut self, path: &str, value: &str) -> Result<(), ProposalError> {
        if self.sets.len() == MAX_SETS {
            return Err(ProposalError::TooLarge(MAX_SETS));
        }
        let (platform, member) = known(path).ok_or_else(|| unknown_path(path))?;
        let value = value_of(member, value).map_err(|expected| ProposalError::Value {
            path: path.to_owned(),
            value: value.to_owned(),
            expected,
        })?;
        self.sets.push(Set { platform, value });
        Ok(())
    }

    /// The device assurance policies as they would be, and what differs.
    pub(super) fn apply(&self, policies: Option<&Policies>) -> (Proposed, Vec<Changed>) {
        let mut proposed = Proposed::default();
        if let Some(policies) = policies {
            proposed.assurances.clone_from(&policies.assurances);
        }
        let mut how: BTreeMap<SmolStr, How> = BTreeMap::new();
        for (id, assurance) in &self.assurances {
            match replaced(&proposed.assurances, id.as_ref(), assurance) {
                Some(id) => {
                    proposed.assurances.insert(id.clone(), assurance.clone());
                    how.insert(id, How::Replaces);
                }
                None => proposed.standing.entry(assurance.platform).or_default().push(assurance.clone()),
            }
        }
        for set in &self.sets {
            set.apply(&mut proposed, &mut how);
        }
        proposed.changed = how.keys().cloned().collect();
        let known = how.iter().filter_map(|(id, how)| Some((proposed.assurances.get(id)?, *how)));
        let standing = proposed.standing.values().flatten().map(|assurance| (assurance, How::Platform));
        let changed = known.chain(standing).map(|(assurance, how)| Changed {
            assurance: assurance.name.clone(),
            platform: assurance.platform,
            how,
        });
        let changed = changed.collect();
        (proposed, changed)
    }
}

/// The known policy that a proposed one stands for.
fn replaced(known: &BTreeMap<SmolStr, Assurance>, id: Option<&SmolStr>, proposed: &Assurance) -> Option<SmolStr> {
    let same_id = id.filter(|id| known.contains_key(*id));
    let alike = |known: &&Assurance| known.name == proposed.name && known.platform == proposed.platform;
    same_id.or_else(|| known.iter().find(|(_, assurance)| alike(assurance)).map(|(id, _)| id)).cloned()
}

impl Set {
    fn apply(&self, proposed: &mut Proposed, how: &mut BTreeMap<SmolStr, How>) {
        if let Some(standing) = proposed.standing.get_mut(&self.platform) {
            standing.iter_mut().for_each(|assurance| self.change(assurance));
            return;
        }
        let mut is_known = false;
        for (id, assurance) in &mut proposed.assurances {
            if assurance.platform == self.platform {
                is_known = true;
                self.change(assurance);
                how.entry(id.clone()).or_insert(How::Set);
            }
        }
        if !is_known {
            let name = format_smolstr!("proposed for {}", self.platform);
            let mut assurance = Assurance { name, platform: self.platform, grace: None, requirements: Vec::new() };
            self.change(&mut assurance);
            proposed.standing.insert(self.platform, vec![assurance]);
        }
    }

    fn change(&self, assurance: &mut Assurance) {
        let list = &mut assurance.requirements;
        let (requirement, is_replaced): (_, fn(&Requirement) -> bool) = match &self.value {
            SetValue::Version { minimum, alone: false }
                if list.iter().any(|asked| matches!(asked, Requirement::Windows(_))) =>
            {
                raise_windows(list, minimum);
                return;
            }
            SetValue::Version { minimum, alone } => {
                let dynamic = list.iter().find_map(|asked| match asked {
                    Requirement::OsVersion(asked) if !alone => asked.dynamic,
                    _ => None,
                });
                let version = OsRequirement { minimum: Some(minimum.clone()), dynamic };
                let of_version =
                    |asked: &Requirement| matches!(asked, Requirement::OsVersion(_) | Requirement::Windows(_));
                (Requirement::OsVersion(version), of_version)
            }
            SetValue::Disk(words) => {
                (Requirement::DiskEncryption(words.clone()), |asked| matches!(asked, Requirement::DiskEncryption(_)))
            }
            SetValue::Lock(words) => {
                (Requirement::ScreenLock(words.clone()), |asked| matches!(asked, Requirement::ScreenLock(_)))
            }
            SetValue::SecureHardware(wanted) => {
                (Requirement::SecureHardware(*wanted), |asked| matches!(asked, Requirement::SecureHardware(_)))
            }
            SetValue::Jailbreak(wanted) => {
                (Requirement::Jailbreak(*wanted), |asked| matches!(asked, Requirement::Jailbreak(_)))
            }
        };
        list.retain(|asked| !is_replaced(asked));
        list.push(requirement);
        parse::order(list);
    }
}

fn known(path: &str) -> Option<(Platform, Member)> {
    paths().find(|(platform, member)| path_of(*platform, *member).eq_ignore_ascii_case(path))
}

fn paths() -> impl Iterator<Item = (Platform, Member)> {
    PATHS.iter().flat_map(|(platform, members)| members.iter().map(|member| (*platform, *member)))
}

fn path_of(platform: Platform, member: Member) -> String {
    format!("{platform}.{}", member.as_str())
}

fn unknown_path(path: &str) -> ProposalError {
    let wanted = path.to_ascii_lowercase();
    let near = paths().map(|(platform, member)| path_of(platform, member));
    let near = near.min_by_key(|known| strsim::damerau_levenshtein(&wanted, &known.to_ascii_lowercase()));
    let near = near.unwrap_or_default();
    let platform = path.split('.').next().unwrap_or_default();
    let of_platform = PATHS.iter().find(|(known, _)| known.as_str().eq_ignore_ascii_case(platform));
    let hint = match of_platform {
        Some((platform, members)) => {
            let members: Vec<_> = members.iter().map(|member| member.as_str()).collect();
            format!("nearest is `{near}`; Okta's policy for {platform} has {}", members.join(", "))
        }
        None => format!("nearest is `{near}`; paths begin with macos, windows, ios or android"),
    };
    ProposalError::Path { path: path.to_owned(), hint }
}

/// The value, or what it should be.
fn value_of(member: Member, text: &str) -> Result<SetValue, String> {
    let version = |alone| match version::compare(text, text) {
        Some(_) => Ok(SetValue::Version { minimum: SmolStr::new(text), alone }),
        None => Err("a version is dotted numbers, for example 14.6.0".to_owned()),
    };
    let truth = || match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("it is true or false".to_owned()),
    };
    match member {
        Member::OsVersion => version(true),
        Member::OsVersionMinimum => version(false),
        Member::DiskEncryption => words(text, &DISK).map(SetValue::Disk),
        Member::ScreenLock => words(text, &LOCK).map(SetValue::Lock),
        Member::SecureHardware => truth().map(SetValue::SecureHardware),
        Member::Jailbreak => truth().map(SetValue::Jailbreak),
    }
}

fn words(text: &str, known: &[&str]) -> Result<Vec<SmolStr>, String> {
    let word = |word: &str| {
        let word = word.trim().to_ascii_uppercase();
        known.contains(&word.as_str()).then(|| SmolStr::new(word))
    };
    let words: Option<Vec<SmolStr>> = text.split(',').map(word).collect();
    words.ok_or_else(|| format!("it is one or more of {}, with commas between", known.join(", ")))
}

/// Sets the lowest version in the constraint of its own major; those of the other majors, and what moves with the vendor's
/// releases, stay.
fn raise_windows(list: &mut [Requirement], minimum: &SmolStr) {
    let Some(major) = windows_major(minimum) else { return };
    for asked in list {
        let Requirement::Windows(constraints) = asked else { continue };
        match constraints.iter_mut().find(|constraint| constraint.major == major) {
            Some(constraint) => constraint.version.minimum = Some(minimum.clone()),
            None => constraints.push(WindowsConstraint {
                major,
                version: OsRequirement { minimum: Some(minimum.clone()), dynamic: None },
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::input::{DynamicVersion, VersionKind};

    fn macos(minimum: &str) -> Assurance {
        let version = OsRequirement { minimum: Some(minimum.into()), dynamic: None };
        Assurance {
            name: "Staff".into(),
            platform: Platform::Macos,
            grace: None,
            requirements: vec![Requirement::OsVersion(version), Requirement::ScreenLock(vec!["BIOMETRIC".into()])],
        }
    }

    fn in_force() -> Policies {
        Policies { assurances: [("dae1".into(), macos("14.5.0"))].into(), ..Policies::default() }
    }

    fn set(text: &str) -> Result<Proposal, String> {
        let mut proposal = Proposal::default();
        proposal.set(text).map(|()| proposal).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(text: &str, expect: &str) {
        let error = set(text).expect_err(text);
        assert!(error.contains(expect), "{text}: {error}");
    }

    #[test]
    fn a_path_or_value_that_cannot_be_is_refused_with_what_can() {
        refused("macos.osVersoin=14.6", "nearest is `macos.osVersion`");
        refused("macos.jailbreak=false", "Okta's policy for macos has osVersion, osVersion.minimum");
        refused("mac.osVersion=14.6", "nearest is `macos.osVersion`; paths begin with macos");
        refused("chromeos.osVersion=126", "paths begin with macos, windows, ios or android");
        refused("macos.osVersion", "is not PATH=VALUE");
        refused("macos.osVersion=latest", "dotted numbers");
        refused("macos.osVersion=", "dotted numbers");
        refused("ios.jailbreak=no", "true or false");
        refused("android.diskEncryptionType=FULL,HALF", "one or more of ALL_INTERNAL_VOLUMES");
    }

    #[track_caller]
    fn requirements(text: &str, expect: &[Requirement]) {
        let (proposed, changed) = set(text).expect(text).apply(Some(&in_force()));
        assert_eq!(proposed.assurances["dae1"].requirements, expect, "{text}");
        assert_eq!(changed, [Changed { assurance: "Staff".into(), platform: Platform::Macos, how: How::Set }]);
    }

    #[test]
    fn a_minimum_of_windows_is_one_constraint_and_leaves_the_others() {
        let constraint = |major, minimum: Option<&str>, kind: Option<VersionKind>| WindowsConstraint {
            major,
            version: OsRequirement {
                minimum: minimum.map(Into::into),
                dynamic: kind.map(|kind| DynamicVersion { kind, behind: 0, latest_patch: false }),
            },
        };
        let not_allowed = || constraint(10, None, Some(VersionKind::NotAllowed));
        let mut policies = in_force();
        let own = policies.assurances.get_mut("dae1").expect("there");
        own.platform = Platform::Windows;
        own.requirements = vec![Requirement::Windows(vec![constraint(11, Some("10.0.22621.1"), None), not_allowed()])];
        let requirements = |text: &str| {
            let (proposed, _) = set(text).expect(text).apply(Some(&policies));
            proposed.assurances["dae1"].requirements.clone()
        };
        let raised = constraint(11, Some("10.0.22631.4391"), None);
        assert_eq!(
            requirements("windows.osVersion.minimum=10.0.22631.4391"),
            [Requirement::Windows(vec![raised, not_allowed()])]
        );
        let alone = OsRequirement { minimum: Some("10.0.22631.4391".into()), dynamic: None };
        assert_eq!(requirements("windows.osVersion=10.0.22631.4391"), [Requirement::OsVersion(alone)]);
    }

    #[test]
    fn a_value_replaces_what_the_policy_asked_and_leaves_the_rest() {
        let lock = || Requirement::ScreenLock(vec!["BIOMETRIC".into()]);
        let version = |text: &str| Requirement::OsVersion(OsRequirement { minimum: Some(text.into()), dynamic: None });
        requirements("macos.osVersion=14.6.0", &[version("14.6.0"), lock()]);
        requirements("MACOS.osversion.minimum = 14.6.0", &[version("14.6.0"), lock()]);
        requirements(
            "macos.screenLockType=passcode, biometric",
            &[version("14.5.0"), Requirement::ScreenLock(vec!["PASSCODE".into(), "BIOMETRIC".into()])],
        );
        requirements(
            "macos.secureHardwarePresent=true",
            &[version("14.5.0"), lock(), Requirement::SecureHardware(true)],
        );
    }

    #[test]
    fn a_proposed_policy_replaces_the_one_of_its_id_or_name_or_stands_for_the_platform() {
        let json = |id: &str, name: &str| json!({"id": id, "name": name, "platform": "MACOS", "osVersion": {"minimum": "15.0.0"}});
        for (one, how) in [
            (json("dae1", "Another name"), How::Replaces),
            (json("dae9", "Staff"), How::Replaces),
            (json("dae9", "Another name"), How::Platform),
        ] {
            let mut proposal = Proposal::default();
            proposal.assure(&json!([one])).expect("a proposal");
            let (proposed, changed) = proposal.apply(Some(&in_force()));
            assert_eq!(changed.iter().map(|changed| changed.how).collect::<Vec<_>>(), [how], "{one}");
            assert_eq!(proposed.standing.contains_key(&Platform::Macos), how == How::Platform);
            assert_eq!(proposed.changed.contains("dae1"), how == How::Replaces);
        }
    }

    #[test]
    fn without_policies_a_value_stands_for_the_platform() {
        let mut proposal = set("ios.osVersion=17.5").expect("a proposal");
        proposal.set("ios.jailbreak=false").expect("a value");
        let (proposed, _) = proposal.apply(None);
        assert_eq!(proposed.standing[&Platform::Ios].len(), 1);
        assert_eq!(proposed.standing[&Platform::Ios][0].requirements.len(), 2);
    }

    #[test]
    fn what_is_no_policy_is_refused_and_so_is_too_much() {
        let mut proposal = Proposal::default();
        for bad in [json!(1), json!([1]), json!("x"), json!({"name": "x"})] {
            assert!(proposal.assure(&bad).is_err(), "{bad}");
        }
        let one = json!({"name": "x", "platform": "MACOS"});
        let many = Value::Array(vec![one; MAX_ASSURANCES + 1]);
        assert!(matches!(proposal.assure(&many), Err(ProposalError::TooLarge(MAX_ASSURANCES))));
        for _ in 0..MAX_SETS {
            proposal.set_at("macos.osVersion", "14").expect("a value");
        }
        let error = proposal.set_at("macos.osVersion", "14").expect_err("one too many").to_string();
        assert_eq!(error, "a proposal has at most 1000 parts of a kind");
    }
}
