//! A device assurance policy beside what a device said: every check with its numbers.
//!
//! What the event does not say is `unknown`. A signal that could not be read fails its check, as it does at Okta, under
//! the name `signal_unreadable`: it tells of an agent and not of the device. Sources: the fact sheet's sections 4.2 and
//! 6; for the order of Android's levels, Okta's page of EDR signals.

use std::cell::OnceCell;

use smol_str::{SmolStr, SmolStrBuilder, format_smolstr};

use super::integrators::{Integrators, Signal};
use super::logic::known;
use super::parse::is_version;
use super::version::{meets, reaches, windows_major, words};
use crate::event::{Check, CheckVerdict, DeviceSignals, Platform, PostureCheck};
use crate::input::{Assurance, OsRequirement, Releases, Requirement, VersionKind, WindowsConstraint};

/// What one sign-in says of its device; integrators are read when the first rule asks for them.
pub(super) struct Context<'a> {
    pub(super) platform: Platform,
    /// `None` where the flow has no device.
    pub(super) signals: Option<&'a DeviceSignals>,
    releases: &'a Releases,
    integrators: OnceCell<Integrators>,
}

impl<'a> Context<'a> {
    pub(super) fn new(platform: Platform, signals: Option<&'a DeviceSignals>, releases: &'a Releases) -> Self {
        Self { platform, signals, releases, integrators: OnceCell::new() }
    }

    /// One member of the integrator that a check reads.
    pub(super) fn signal(&self, check: PostureCheck, member: &str) -> Signal<'_> {
        match self.signals.and_then(|signals| signals.integrators.as_deref()) {
            Some(text) => self.integrators.get_or_init(|| Integrators::parse(text)).signal(check, member),
            None => Signal::Absent,
        }
    }
}

/// Every check of one device assurance policy on one device, in the order of the requirements.
pub fn checks(assurance: &Assurance, device: &DeviceSignals, releases: &Releases) -> Vec<Check> {
    of(assurance, &Context::new(assurance.platform, Some(device), releases))
}

pub(super) fn of(assurance: &Assurance, context: &Context<'_>) -> Vec<Check> {
    let mut checks = Vec::with_capacity(assurance.requirements.len() + 1);
    if let Some(signals) = context.signals {
        for requirement in &assurance.requirements {
            of_requirement(&mut checks, requirement, signals, context);
        }
    }
    checks
}

fn of_requirement(checks: &mut Vec<Check>, requirement: &Requirement, signals: &DeviceSignals, context: &Context<'_>) {
    match requirement {
        Requirement::OsVersion(version) => os_version(checks, version, signals, context),
        Requirement::Windows(constraints) => windows(checks, constraints, signals, context),
        Requirement::DiskEncryption(words) => {
            let actual = signals.disk_encryption.as_ref();
            let result = known(actual.and_then(|actual| encrypted(actual, words)));
            checks.push(check(PostureCheck::DiskEncryption, "any_of", either(words), actual, result));
        }
        Requirement::ScreenLock(words) => {
            let is_biometric = matches!(words.as_slice(), [word] if word == "BIOMETRIC");
            let what = if is_biometric { PostureCheck::Biometrics } else { PostureCheck::ScreenLock };
            let actual = signals.screen_lock.as_ref();
            let result = known(actual.and_then(|actual| locked(actual, words)));
            checks.push(check(what, "any_of", either(words), actual, result));
        }
        Requirement::SecureHardware(present) => {
            let result = known(signals.secure_hardware.map(|actual| actual == *present));
            checks.push(flag(PostureCheck::SecureHardware, "present", *present, signals.secure_hardware, result));
        }
        Requirement::Jailbreak(allowed) => {
            let result = known(signals.jailbreak.map(|actual| actual == *allowed));
            checks.push(flag(PostureCheck::Jailbreak, "not_allowed", *allowed, signals.jailbreak, result));
        }
        Requirement::Signal { check, member, required } => {
            checks.push(signal(context, *check, member, required));
        }
        Requirement::Unread(name) => {
            checks.push(Check {
                check: PostureCheck::Unattributed,
                detail: name.clone(),
                required: SmolStr::default(),
                actual: None,
                result: CheckVerdict::Unknown,
            });
        }
    }
}

fn check(
    check: PostureCheck,
    detail: &'static str,
    required: SmolStr,
    actual: Option<&SmolStr>,
    result: CheckVerdict,
) -> Check {
    Check { check, detail: SmolStr::new_static(detail), required, actual: actual.cloned(), result }
}

/// A check of a yes or no.
pub(super) fn flag(
    what: PostureCheck,
    detail: &'static str,
    required: bool,
    actual: Option<bool>,
    result: CheckVerdict,
) -> Check {
    let actual = actual.map(|actual| SmolStr::new_static(yes_or_no(actual)));
    check(what, detail, SmolStr::new_static(yes_or_no(required)), actual.as_ref(), result)
}

pub(super) const fn yes_or_no(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

fn os_version(checks: &mut Vec<Check>, version: &OsRequirement, signals: &DeviceSignals, context: &Context<'_>) {
    // A Chromebook tells its version by way of Chrome Device Trust; where both speak, the device block wins.
    let by_chrome = context.platform == Platform::Chromeos && signals.os_version.is_none();
    let chrome = by_chrome.then(|| context.signal(PostureCheck::ChromeDeviceTrust, "osVersion"));
    let mut push = |detail: &'static str, required: SmolStr, judge: &dyn Fn(&str) -> CheckVerdict| {
        let actual = match chrome {
            Some(Signal::Unreadable(text)) => {
                checks.push(unreadable(PostureCheck::OsVersion, detail, required, text));
                return;
            }
            Some(Signal::Value(text)) => Some(SmolStr::new(text)),
            Some(Signal::Absent) | None => signals.os_version.clone(),
        };
        let result = actual.as_deref().map_or(CheckVerdict::Unknown, judge);
        checks.push(check(PostureCheck::OsVersion, detail, required, actual.as_ref(), result));
    };
    if let Some(minimum) = &version.minimum {
        push("minimum", minimum.clone(), &|actual| known(reaches(actual, minimum)));
    }
    if let Some(moving) = version.dynamic {
        push("dynamic", words(moving), &|actual| meets(moving, context.platform, actual, context.releases));
    }
}

/// The constraint of the device's own major version decides; Okta's API says that devices on a major without one
/// satisfy the condition.
fn windows(checks: &mut Vec<Check>, constraints: &[WindowsConstraint], signals: &DeviceSignals, context: &Context<'_>) {
    let is_allowed = |constraint: &WindowsConstraint| {
        constraint.version.dynamic.is_none_or(|moving| moving.kind != VersionKind::NotAllowed)
    };
    let actual = signals.os_version.as_ref();
    let Some(major) = actual.and_then(|actual| windows_major(actual)) else {
        let majors = constraints.iter().filter(|constraint| is_allowed(constraint));
        let majors: Vec<SmolStr> = majors.map(|constraint| format_smolstr!("Windows {}", constraint.major)).collect();
        checks.push(check(PostureCheck::OsVersion, "minimum", either(&majors), actual, CheckVerdict::Unknown));
        return;
    };
    match constraints.iter().find(|constraint| constraint.major == major) {
        Some(constraint) if is_allowed(constraint) => {
            let before = checks.len();
            os_version(checks, &constraint.version, signals, context);
            if checks.len() == before {
                let required = format_smolstr!("any Windows {major}");
                checks.push(check(PostureCheck::OsVersion, "no_constraint", required, actual, CheckVerdict::Pass));
            }
        }
        Some(_) => {
            let required = format_smolstr!("not Windows {major}");
            checks.push(check(PostureCheck::OsVersion, "not_allowed", required, actual, CheckVerdict::Fail));
        }
        None => {
            let required = format_smolstr!("any Windows {major}");
            checks.push(check(PostureCheck::OsVersion, "no_constraint", required, actual, CheckVerdict::Pass));
        }
    }
}

/// Words that are each enough.
fn either(words: &[SmolStr]) -> SmolStr {
    match words {
        [word] => word.clone(),
        words => words.join(" or ").into(),
    }
}

/// Okta's enum has the typo `ALL_INTERNAL_VALUES`, its examples the right word; a word of neither is not judged.
fn encrypted(actual: &str, words: &[SmolStr]) -> Option<bool> {
    let right = |word: &str| if word == "ALL_INTERNAL_VALUES" { "ALL_INTERNAL_VOLUMES".len() } else { word.len() };
    let same = |word: &SmolStr| {
        word == actual
            || (right(word) == right(actual)
                && word.starts_with("ALL_INTERNAL_V")
                && actual.starts_with("ALL_INTERNAL_V"))
    };
    let is_known =
        matches!(actual, "NONE" | "FULL" | "USER" | "SYSTEM_VOLUME" | "ALL_INTERNAL_VOLUMES" | "ALL_INTERNAL_VALUES");
    let is_one = words.iter().any(same);
    (is_known || is_one).then_some(is_one)
}

/// A device with biometrics has a passcode too (Okta's page of device attributes).
fn locked(actual: &str, words: &[SmolStr]) -> Option<bool> {
    let is_one = |actual: &str| words.iter().any(|word| word == actual);
    match actual {
        "BIOMETRIC" => Some(is_one("BIOMETRIC") || is_one("PASSCODE")),
        "NONE" | "PASSCODE" => Some(is_one(actual)),
        other => is_one(other).then_some(true),
    }
}

fn signal(context: &Context<'_>, what: PostureCheck, member: &SmolStr, required: &SmolStr) -> Check {
    let detail = if what == PostureCheck::Osquery { member.clone() } else { snake_case(member) };
    match context.signal(what, member) {
        Signal::Absent => {
            Check { check: what, detail, required: required.clone(), actual: None, result: CheckVerdict::Unknown }
        }
        Signal::Unreadable(text) => unreadable(what, &detail, required.clone(), text),
        Signal::Value(actual) => {
            let result = if what == PostureCheck::ChromeDeviceTrust && is_version(member) {
                reaches(actual, required)
            } else {
                one_of(member, actual, required)
            };
            Check {
                check: what,
                detail,
                required: required.clone(),
                actual: Some(SmolStr::new(actual)),
                result: known(result),
            }
        }
    }
}

/// A check that fails because its signal could not be read.
pub(super) fn unreadable(what: PostureCheck, member: &str, required: SmolStr, text: &str) -> Check {
    Check {
        check: PostureCheck::SignalUnreadable,
        detail: format_smolstr!("{what}.{member}"),
        required,
        actual: Some(SmolStr::new(text)),
        result: CheckVerdict::Fail,
    }
}

fn one_of(member: &str, actual: &str, required: &str) -> Option<bool> {
    if let Some(wanted) = level(member, required) {
        return Some(actual.split(", ").filter_map(|word| level(member, word)).max()? >= wanted);
    }
    let is_flag = |text: &str| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
    if is_flag(required) && !is_flag(actual) {
        return None;
    }
    let number = |text: &str| text.parse::<f64>().ok();
    let same =
        |word: &str| word.eq_ignore_ascii_case(actual) || number(word).is_some_and(|word| number(actual) == Some(word));
    Some(required.split(" or ").any(same))
}

/// The place of a word among Android's levels, the strictest highest.
fn level(member: &str, word: &str) -> Option<u32> {
    Some(match (member, word) {
        ("deviceIntegrityLevel", "BASIC" | "MEETS_BASIC_INTEGRITY")
        | ("playProtectVerdict", "HIGH_RISK")
        | ("screenLockComplexity", "LOW") => 1,
        ("deviceIntegrityLevel", "STANDARD" | "MEETS_DEVICE_INTEGRITY")
        | ("playProtectVerdict", "MEDIUM_RISK")
        | ("screenLockComplexity", "MEDIUM") => 2,
        ("deviceIntegrityLevel", "STRONG" | "MEETS_STRONG_INTEGRITY")
        | ("playProtectVerdict", "NO_ISSUES")
        | ("screenLockComplexity", "HIGH") => 3,
        ("screenLockComplexity", "NONE") => 0,
        _ => return None,
    })
}

/// `osFirewall` → `os_firewall`.
pub(super) fn snake_case(member: &str) -> SmolStr {
    let mut snake = SmolStrBuilder::new();
    let mut was_lower = false;
    for c in member.chars() {
        if c.is_ascii_uppercase() && was_lower {
            snake.push('_');
        }
        was_lower = !c.is_ascii_uppercase();
        snake.push(c.to_ascii_lowercase());
    }
    snake.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse::assurance;
    use serde_json::{Value, json};

    /// Checks as `check/detail required actual result`, of one policy with these members.
    #[track_caller]
    fn judge(platform: &str, members: Value, device: DeviceSignals, expect: &[&str]) {
        let mut policy = members;
        policy["id"] = json!("dae1");
        policy["platform"] = json!(platform);
        let (_, policy) = assurance(&policy).expect("a policy");
        let found: Vec<String> = checks(&policy, &device, &Releases::default())
            .iter()
            .map(|check| {
                let actual = check.actual.as_deref().unwrap_or("-");
                format!("{}/{} [{}] {actual} {}", check.check, check.detail, check.required, check.result)
            })
            .collect();
        assert_eq!(found, expect);
    }

    fn on(os_version: &str) -> DeviceSignals {
        DeviceSignals { os_version: Some(os_version.into()), ..DeviceSignals::default() }
    }

    fn with(integrators: &str) -> DeviceSignals {
        DeviceSignals { integrators: Some(integrators.into()), ..DeviceSignals::default() }
    }

    #[test]
    fn what_the_event_does_not_say_is_unknown() {
        judge(
            "ANDROID",
            json!({"osVersion": {"minimum": "14"}, "diskEncryptionType": {"include": ["FULL", "USER"]},
                "screenLockType": {"include": ["BIOMETRIC"]}, "secureHardwarePresent": true, "jailbreak": false,
                "thirdPartySignalProviders": {"devicePostureIdP": {"managed": true}},
                "devicePostureChecks": {"include": [{"variableName": "x", "value": "1"}]}}),
            DeviceSignals::default(),
            &[
                "os_version/minimum [14] - unknown",
                "disk_encryption/any_of [FULL or USER] - unknown",
                "biometrics/any_of [BIOMETRIC] - unknown",
                "secure_hardware/present [true] - unknown",
                "jailbreak/not_allowed [false] - unknown",
                "posture_idp/managed [true] - unknown",
                "osquery/x [1] - unknown",
            ],
        );
    }

    #[test]
    fn each_check_of_the_device_block() {
        judge(
            "MACOS",
            json!({"osVersion": {"minimum": "15.1", "dynamicVersionRequirement": {"type": "MINIMUM"}},
                "diskEncryptionType": {"include": ["ALL_INTERNAL_VOLUMES"]},
                "screenLockType": {"include": ["PASSCODE"]}, "secureHardwarePresent": true}),
            DeviceSignals {
                disk_encryption: Some("SYSTEM_VOLUME".into()),
                screen_lock: Some("BIOMETRIC".into()),
                secure_hardware: Some(false),
                ..on("14.6.0")
            },
            &[
                "os_version/minimum [15.1] 14.6.0 fail",
                "os_version/dynamic [latest major] 14.6.0 unknown",
                "disk_encryption/any_of [ALL_INTERNAL_VOLUMES] SYSTEM_VOLUME fail",
                "screen_lock/any_of [PASSCODE] BIOMETRIC pass",
                "secure_hardware/present [true] false fail",
            ],
        );
        judge(
            "IOS",
            json!({"screenLockType": {"include": ["BIOMETRIC"]}, "jailbreak": false}),
            DeviceSignals { screen_lock: Some("PASSCODE".into()), jailbreak: Some(true), ..DeviceSignals::default() },
            &["biometrics/any_of [BIOMETRIC] PASSCODE fail", "jailbreak/not_allowed [false] true fail"],
        );
        let odd = DeviceSignals { disk_encryption: Some("PARTLY".into()), ..DeviceSignals::default() };
        let typo = DeviceSignals { disk_encryption: Some("ALL_INTERNAL_VALUES".into()), ..odd.clone() };
        let disk = json!({"diskEncryptionType": {"include": ["ALL_INTERNAL_VOLUMES"]}});
        judge("MACOS", disk.clone(), odd, &["disk_encryption/any_of [ALL_INTERNAL_VOLUMES] PARTLY unknown"]);
        judge("MACOS", disk, typo, &["disk_encryption/any_of [ALL_INTERNAL_VOLUMES] ALL_INTERNAL_VALUES pass"]);
    }

    #[test]
    fn windows_is_judged_by_its_own_major() {
        let both = json!({"osVersionConstraints": [
            {"majorVersionConstraint": "WINDOWS_11", "minimum": "10.0.22631.3007"},
            {"majorVersionConstraint": "WINDOWS_10", "dynamicVersionRequirement": {"type": "NOT_ALLOWED"}}]});
        let eleven = json!({"osVersionConstraints": [{"majorVersionConstraint": "WINDOWS_11"}]});
        for (policy, version, expect) in [
            (&both, "10.0.22631.3007", "os_version/minimum [10.0.22631.3007] 10.0.22631.3007 pass"),
            (&both, "10.0.22000.1", "os_version/minimum [10.0.22631.3007] 10.0.22000.1 fail"),
            (&both, "10.0.19045.3570", "os_version/not_allowed [not Windows 10] 10.0.19045.3570 fail"),
            (&eleven, "10.0.19045.3570", "os_version/no_constraint [any Windows 10] 10.0.19045.3570 pass"),
            (&eleven, "10.0.22631.1", "os_version/no_constraint [any Windows 11] 10.0.22631.1 pass"),
            (&eleven, "10.0", "os_version/minimum [Windows 11] 10.0 unknown"),
        ] {
            judge("WINDOWS", policy.clone(), on(version), &[expect]);
        }
    }

    #[test]
    fn a_signal_that_could_not_be_read_is_not_a_bad_device() {
        let policy = json!({"thirdPartySignalProviders": {
            "dtc": {"osFirewall": true, "browserVersion": {"minimum": "120"}, "screenLockSecured": true}}});
        judge(
            "MACOS",
            policy.clone(),
            with(r#"{"CHROME":{"osFirewall":false,"browserVersion":"121.0.1"}}"#),
            &[
                "chrome_device_trust/browser_version [120] 121.0.1 pass",
                "chrome_device_trust/os_firewall [true] false fail",
                "chrome_device_trust/screen_lock_secured [true] - unknown",
            ],
        );
        judge(
            "MACOS",
            policy,
            with("{CHROME=genericError(TIMEOUT)}"),
            &[
                "signal_unreadable/chrome_device_trust.browser_version [120] genericError(TIMEOUT) fail",
                "signal_unreadable/chrome_device_trust.os_firewall [true] genericError(TIMEOUT) fail",
                "signal_unreadable/chrome_device_trust.screen_lock_secured [true] genericError(TIMEOUT) fail",
            ],
        );
        judge(
            "WINDOWS",
            json!({"thirdPartySignalProviders": {"devicePostureIdP": {"compliant": true}}}),
            with(r#"{"DEVICE_IDP":{}}"#),
            &["signal_unreadable/posture_idp.compliant [true] {} fail"],
        );
    }

    #[test]
    fn androids_levels_have_an_order() {
        let policy = json!({"thirdPartySignalProviders": {"androidDeviceTrust": {
            "deviceIntegrityLevel": "STANDARD", "playProtectVerdict": "MEDIUM_RISK", "wifiSecured": true}}});
        judge(
            "ANDROID",
            policy,
            with(
                r#"{"ANDROID_ZERO_TRUST":{"deviceIntegrityLevel":["MEETS_BASIC_INTEGRITY"],
                    "playProtectVerdict":"NO_ISSUES","wifiSecured":"maybe"}}"#,
            ),
            &[
                "android_zero_trust/device_integrity_level [STANDARD] MEETS_BASIC_INTEGRITY fail",
                "android_zero_trust/play_protect_verdict [MEDIUM_RISK] NO_ISSUES pass",
                "android_zero_trust/wifi_secured [true] maybe unknown",
            ],
        );
    }
}
