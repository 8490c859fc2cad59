//! One device assurance policy from Okta's JSON (the fact sheet's section 6.4).
//!
//! What it asks for and this reader does not know becomes [`Requirement::Unread`], so that a device is never taken for
//! healthy because of it.

use serde_json::Value;
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use super::object::{Object, PolicyError, says};
use crate::event::{Platform, PostureCheck, Span, Timestamp};
use crate::input::{Assurance, DynamicVersion, Grace, OsRequirement, Requirement, VersionKind, WindowsConstraint};

/// The members that ask for something of the device, each the source of one part of the requirements, in their order.
pub(in crate::policy) const PARTS: [&str; 8] = [
    "osVersion",
    "osVersionConstraints",
    "diskEncryptionType",
    "screenLockType",
    "secureHardwarePresent",
    "jailbreak",
    "thirdPartySignalProviders",
    "devicePostureChecks",
];

/// Members that ask for nothing.
const ASIDE: [&str; 13] = [
    "id",
    "name",
    "platform",
    "gracePeriod",
    "displayRemediationMode",
    "createdBy",
    "createdDate",
    "created",
    "lastUpdate",
    "lastUpdatedBy",
    "lastUpdated",
    "_links",
    "_embedded",
];

/// Reads one device assurance policy: its id and what it asks for. Unknown platforms and wrong types are errors.
pub fn assurance(value: &Value) -> Result<(SmolStr, Assurance), PolicyError> {
    let object = Object::top("device assurance policy", value)?;
    let id = object.needed("id")?;
    let platform = platform(&object)?;
    let mut requirements = Vec::new();
    for part in PARTS {
        requirements.extend(requirements_of(&object, part, platform)?);
    }
    let unknown = object.said().filter(|(name, _)| !PARTS.contains(name) && !is_aside(name));
    requirements.extend(unknown.map(|(name, _)| Requirement::Unread(SmolStr::new(name))));
    order(&mut requirements);
    let name = object.text("name")?.unwrap_or_default();
    Ok((id, Assurance { name, platform, grace: grace(&object)?, requirements }))
}

/// Puts requirements into the order of the checks; equal kinds stay as they are.
pub(in crate::policy) fn order(requirements: &mut [Requirement]) {
    requirements.sort_by_key(|requirement| match requirement {
        Requirement::OsVersion(_) | Requirement::Windows(_) => 0,
        Requirement::DiskEncryption(_) => 1,
        Requirement::ScreenLock(_) => 2,
        Requirement::SecureHardware(_) => 3,
        Requirement::Jailbreak(_) => 4,
        Requirement::Signal { check: PostureCheck::ChromeDeviceTrust, .. } => 5,
        Requirement::Signal { check: PostureCheck::AndroidZeroTrust, .. } => 6,
        Requirement::Signal { check: PostureCheck::PostureIdp, .. } => 7,
        Requirement::Signal { .. } => 8,
        Requirement::Unread(_) => 9,
    });
}

fn platform(object: &Object<'_>) -> Result<Platform, PolicyError> {
    Ok(match object.needed("platform")?.as_str() {
        "ANDROID" => Platform::Android,
        "CHROMEOS" => Platform::Chromeos,
        "IOS" => Platform::Ios,
        "MACOS" => Platform::Macos,
        "WINDOWS" => Platform::Windows,
        _ => return Err(object.error("platform", "ANDROID, CHROMEOS, IOS, MACOS or WINDOWS")),
    })
}

/// What one member asks for; nothing where it is absent.
pub(in crate::policy) fn requirements_of(
    object: &Object<'_>,
    part: &str,
    platform: Platform,
) -> Result<Vec<Requirement>, PolicyError> {
    if object.get(part).is_none() {
        return Ok(Vec::new());
    }
    Ok(match part {
        "osVersion" => match object.object(part)? {
            Some(version) => os_version(&version)?,
            None => Vec::new(),
        },
        "osVersionConstraints" => windows(object)?,
        "diskEncryptionType" => include(object, part)?.map(Requirement::DiskEncryption).into_iter().collect(),
        "screenLockType" => include(object, part)?.map(Requirement::ScreenLock).into_iter().collect(),
        "secureHardwarePresent" => object.flag(part)?.map(Requirement::SecureHardware).into_iter().collect(),
        "jailbreak" => object.flag(part)?.map(Requirement::Jailbreak).into_iter().collect(),
        "thirdPartySignalProviders" => match object.object(part)? {
            Some(providers) => third_party(&providers, platform)?,
            None => Vec::new(),
        },
        "devicePostureChecks" => osquery(object)?,
        other => vec![Requirement::Unread(SmolStr::new(other))],
    })
}

fn include(object: &Object<'_>, part: &str) -> Result<Option<Vec<SmolStr>>, PolicyError> {
    let Some(set) = object.object(part)? else { return Ok(None) };
    let words = set.texts("include")?;
    Ok((!words.is_empty()).then_some(words))
}

fn os_version(version: &Object<'_>) -> Result<Vec<Requirement>, PolicyError> {
    let requirement = os_requirement(version)?;
    let is_empty = requirement == OsRequirement::default();
    Ok(if is_empty { Vec::new() } else { vec![Requirement::OsVersion(requirement)] })
}

fn os_requirement(version: &Object<'_>) -> Result<OsRequirement, PolicyError> {
    let minimum = version.text("minimum")?.filter(|text| !text.is_empty());
    let dynamic = match version.object("dynamicVersionRequirement")? {
        Some(moving) => Some(dynamic(&moving)?),
        None => None,
    };
    Ok(OsRequirement { minimum, dynamic })
}

fn dynamic(moving: &Object<'_>) -> Result<DynamicVersion, PolicyError> {
    let kind = match moving.needed("type")?.as_str() {
        "MINIMUM" => VersionKind::Minimum,
        "EXACT" => VersionKind::Exact,
        "EXACT_ANY_SUPPORTED" => VersionKind::ExactAnySupported,
        "NOT_ALLOWED" => VersionKind::NotAllowed,
        _ => return Err(moving.error("type", "MINIMUM, EXACT, EXACT_ANY_SUPPORTED or NOT_ALLOWED")),
    };
    let behind = moving.number("distanceFromLatestMajor")?.unwrap_or(0);
    let behind = u32::try_from(behind).map_err(|_| moving.error("distanceFromLatestMajor", "0 or more"))?;
    Ok(DynamicVersion { kind, behind, latest_patch: moving.flag("latestSecurityPatch")?.unwrap_or(false) })
}

fn windows(object: &Object<'_>) -> Result<Vec<Requirement>, PolicyError> {
    let member = "osVersionConstraints";
    let mut constraints = Vec::new();
    for value in object.list(member)? {
        let constraint = object.item(member, value)?;
        let major = match constraint.needed("majorVersionConstraint")?.as_str() {
            "WINDOWS_11" => 11,
            "WINDOWS_10" => 10,
            _ => return Err(constraint.error("majorVersionConstraint", "WINDOWS_11 or WINDOWS_10")),
        };
        constraints.push(WindowsConstraint { major, version: os_requirement(&constraint)? });
    }
    Ok(if constraints.is_empty() { Vec::new() } else { vec![Requirement::Windows(constraints)] })
}

/// The member of `thirdPartySignalProviders` that a check comes from.
pub(in crate::policy) const fn provider(check: PostureCheck) -> Option<&'static str> {
    match check {
        PostureCheck::AndroidZeroTrust => Some("androidDeviceTrust"),
        PostureCheck::PostureIdp => Some("devicePostureIdP"),
        PostureCheck::ChromeDeviceTrust => Some("dtc"),
        _ => None,
    }
}

/// Whether a member asks for nothing.
pub(in crate::policy) fn is_aside(member: &str) -> bool {
    ASIDE.contains(&member)
}

fn third_party(providers: &Object<'_>, platform: Platform) -> Result<Vec<Requirement>, PolicyError> {
    let mut requirements = Vec::new();
    for (provider, value) in providers.said() {
        let mut checks = PostureCheck::ALL.iter().copied();
        let Some(check) = checks.find(|check| self::provider(*check) == Some(provider)) else {
            requirements.push(Requirement::Unread(format_smolstr!("thirdPartySignalProviders.{provider}")));
            continue;
        };
        let members = providers.item(provider, value)?;
        for (member, value) in members.said() {
            requirements.extend(signal(&members, check, member, value, platform)?);
        }
    }
    Ok(requirements)
}

fn signal(
    members: &Object<'_>,
    check: PostureCheck,
    member: &str,
    value: &Value,
    platform: Platform,
) -> Result<Vec<Requirement>, PolicyError> {
    let is_version = check == PostureCheck::ChromeDeviceTrust && is_version(member);
    if is_version && member == "osVersion" && platform == Platform::Chromeos && value.is_object() {
        return os_version(&members.item(member, value)?);
    }
    let required = match value {
        Value::String(text) => Some(SmolStr::new(text)),
        Value::Bool(_) | Value::Number(_) => Some(value.to_smolstr()),
        Value::Array(_) => Some(members.texts(member)?.join(" or ").into()),
        Value::Object(_) if is_version => members.item(member, value)?.text("minimum")?,
        Value::Object(_) if value.get("include").is_some() => {
            Some(members.item(member, value)?.texts("include")?.join(" or ").into())
        }
        Value::Object(_) | Value::Null => None,
    };
    Ok(vec![match required {
        Some(required) => Requirement::Signal { check, member: SmolStr::new(member), required },
        None => Requirement::Unread(format_smolstr!("{check}.{member}")),
    }])
}

/// The members of Chrome Device Trust that are lowest versions.
pub(in crate::policy) fn is_version(member: &str) -> bool {
    matches!(member, "browserVersion" | "osVersion")
}

fn osquery(object: &Object<'_>) -> Result<Vec<Requirement>, PolicyError> {
    let Some(checks) = object.object("devicePostureChecks")? else { return Ok(Vec::new()) };
    let mut requirements = Vec::new();
    for value in checks.list("include")? {
        let check = checks.item("include", value)?;
        let member = check.needed("variableName")?;
        let required = match check.get("value") {
            Some(Value::String(text)) => SmolStr::new(text),
            Some(value) if !says(value) => return Err(check.error("value", "a text, a number, true or false")),
            Some(value) => value.to_smolstr(),
            None => return Err(check.error("value", "a text, a number, true or false")),
        };
        requirements.push(Requirement::Signal { check: PostureCheck::Osquery, member, required });
    }
    Ok(requirements)
}

/// The grace period, where the policy has one.
pub(in crate::policy) fn grace(object: &Object<'_>) -> Result<Option<Grace>, PolicyError> {
    let Some(period) = object.object("gracePeriod")? else { return Ok(None) };
    let expiry = period.needed("expiry")?;
    Ok(Some(match period.needed("type")?.as_str() {
        "BY_DATE_TIME" => Grace::Until(
            Timestamp::parse(&expiry).ok_or_else(|| period.error("expiry", "a time such as 2026-03-01T00:00:00Z"))?,
        ),
        "BY_DURATION" => {
            Grace::For(duration(&expiry).ok_or_else(|| period.error("expiry", "a duration such as P30D"))?)
        }
        _ => return Err(period.error("type", "BY_DATE_TIME or BY_DURATION")),
    }))
}

/// An ISO 8601 duration of weeks, days, hours, minutes and seconds; years and months have no fixed length.
fn duration(text: &str) -> Option<Span> {
    let (mut in_time, mut number, mut total, mut parts) = (false, None::<i64>, 0_i64, 0);
    for c in text.strip_prefix('P')?.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(i64::from(digit))?);
            continue;
        }
        let minutes_or_more = match (c, in_time) {
            ('T', false) if number.is_none() => {
                in_time = true;
                continue;
            }
            ('W', false) => 7 * 24 * 3_600,
            ('D', false) => 24 * 3_600,
            ('H', true) => 3_600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(minutes_or_more)?)?;
        parts += 1;
    }
    (parts > 0 && number.is_none()).then_some(())?;
    total.checked_mul(1_000).map(Span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(value: Value, expect: &[Requirement]) {
        let (id, assurance) = assurance(&value).expect("a device assurance policy");
        assert_eq!(id, "dae1");
        assert_eq!(assurance.requirements, expect);
    }

    fn signal(check: PostureCheck, member: &str, required: &str) -> Requirement {
        Requirement::Signal { check, member: member.into(), required: required.into() }
    }

    #[test]
    fn every_member_becomes_a_requirement_in_the_order_of_the_checks() {
        check(
            json!({"id": "dae1", "name": "Mac", "platform": "MACOS", "createdDate": "2026-01-01", "newThing": true,
                "devicePostureChecks": {"include": [{"variableName": "macOSFirewall", "value": "true"}]},
                "thirdPartySignalProviders": {
                    "dtc": {"osFirewall": true, "browserVersion": {"minimum": "120.0"}, "newMember": {"x": 1},
                        "siteIsolationEnabled": null},
                    "devicePostureIdP": {"managed": true}, "other": {"a": true}},
                "screenLockType": {"include": ["BIOMETRIC", "PASSCODE"]}, "secureHardwarePresent": true,
                "diskEncryptionType": {"include": ["ALL_INTERNAL_VOLUMES"]}, "jailbreak": null,
                "osVersion": {"minimum": "14.6.0"}}),
            &[
                Requirement::OsVersion(OsRequirement { minimum: Some("14.6.0".into()), dynamic: None }),
                Requirement::DiskEncryption(vec!["ALL_INTERNAL_VOLUMES".into()]),
                Requirement::ScreenLock(vec!["BIOMETRIC".into(), "PASSCODE".into()]),
                Requirement::SecureHardware(true),
                signal(PostureCheck::ChromeDeviceTrust, "browserVersion", "120.0"),
                signal(PostureCheck::ChromeDeviceTrust, "osFirewall", "true"),
                signal(PostureCheck::PostureIdp, "managed", "true"),
                signal(PostureCheck::Osquery, "macOSFirewall", "true"),
                Requirement::Unread("chrome_device_trust.newMember".into()),
                Requirement::Unread("thirdPartySignalProviders.other".into()),
                Requirement::Unread("newThing".into()),
            ],
        );
    }

    #[test]
    fn windows_and_chromeos_have_their_own_ways_to_ask_for_a_version() {
        let moving = DynamicVersion { kind: VersionKind::Minimum, behind: 1, latest_patch: true };
        let none = DynamicVersion { kind: VersionKind::NotAllowed, behind: 0, latest_patch: false };
        check(
            json!({"id": "dae1", "name": "Win", "platform": "WINDOWS", "osVersionConstraints": [
                {"majorVersionConstraint": "WINDOWS_11", "minimum": "10.0.22631.1", "dynamicVersionRequirement":
                    {"type": "MINIMUM", "distanceFromLatestMajor": 1, "latestSecurityPatch": true}},
                {"majorVersionConstraint": "WINDOWS_10", "dynamicVersionRequirement": {"type": "NOT_ALLOWED"}}]}),
            &[Requirement::Windows(vec![
                WindowsConstraint {
                    major: 11,
                    version: OsRequirement { minimum: Some("10.0.22631.1".into()), dynamic: Some(moving) },
                },
                WindowsConstraint { major: 10, version: OsRequirement { minimum: None, dynamic: Some(none) } },
            ])],
        );
        check(
            json!({"id": "dae1", "name": "Book", "platform": "CHROMEOS", "thirdPartySignalProviders":
                {"dtc": {"osVersion": {"minimum": "126.0"}, "managedDevice": true}}}),
            &[
                Requirement::OsVersion(OsRequirement { minimum: Some("126.0".into()), dynamic: None }),
                signal(PostureCheck::ChromeDeviceTrust, "managedDevice", "true"),
            ],
        );
        check(
            json!({"id": "dae1", "name": "Mac", "platform": "MACOS",
                "thirdPartySignalProviders": {"dtc": {"osVersion": {"minimum": "14.0"}}}}),
            &[signal(PostureCheck::ChromeDeviceTrust, "osVersion", "14.0")],
        );
    }

    #[test]
    fn grace_periods_are_read() {
        for (period, expect) in [
            (json!({"type": "BY_DURATION", "expiry": "P30D"}), Grace::For(Span::hours(30 * 24))),
            (json!({"type": "BY_DURATION", "expiry": "P1DT2H3M4S"}), Grace::For(Span::seconds(93_784))),
            (json!({"type": "BY_DATE_TIME", "expiry": "1970-01-01T00:00:01Z"}), Grace::Until(Timestamp(1_000))),
        ] {
            let value = json!({"id": "dae1", "name": "a", "platform": "IOS", "gracePeriod": period});
            assert_eq!(assurance(&value).expect("a policy").1.grace, Some(expect), "{period}");
        }
    }

    #[test]
    fn an_error_says_which_object_which_member_and_what_was_expected() {
        for (value, expect) in [
            (json!(7), "device assurance policy: `.`: expected an object"),
            (json!({"name": "a"}), "device assurance policy (a): `id`: expected a text"),
            (
                json!({"id": "dae1", "name": "a", "platform": "BEOS"}),
                "device assurance policy `dae1` (a): `platform`: expected ANDROID, CHROMEOS, IOS, MACOS or WINDOWS",
            ),
            (
                json!({"id": "dae1", "platform": "IOS", "osVersion": {"minimum": 14}}),
                "device assurance policy `dae1`: `osVersion.minimum`: expected a text of at most 16384 bytes",
            ),
            (
                json!({"id": "dae1", "platform": "IOS", "gracePeriod": {"type": "BY_DURATION", "expiry": "P1Y"}}),
                "device assurance policy `dae1`: `gracePeriod.expiry`: expected a duration such as P30D",
            ),
        ] {
            assert_eq!(assurance(&value).expect_err("no policy").to_string(), expect);
        }
    }
}
