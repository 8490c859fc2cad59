//! What a device said about itself, and the words for the checks made on it.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::vocabulary::vocabulary;

vocabulary! {
    /// One requirement on a device.
    PostureCheck {
        /// The operating system's version.
        OsVersion => "os_version",
        /// Disk encryption.
        DiskEncryption => "disk_encryption",
        /// Screen lock.
        ScreenLock => "screen_lock",
        /// Biometrics.
        Biometrics => "biometrics",
        /// Secure hardware (TPM, secure enclave).
        SecureHardware => "secure_hardware",
        /// Jailbroken or rooted.
        Jailbreak => "jailbreak",
        /// Not managed.
        NotManaged => "not_managed",
        /// Not registered.
        NotRegistered => "not_registered",
        /// CrowdStrike's score.
        Crowdstrike => "crowdstrike",
        /// Windows Security Center.
        WindowsSecurityCenter => "windows_security_center",
        /// Chrome Device Trust.
        ChromeDeviceTrust => "chrome_device_trust",
        /// Android zero trust.
        AndroidZeroTrust => "android_zero_trust",
        /// A device posture identity provider.
        PostureIdp => "posture_idp",
        /// An osquery check.
        Osquery => "osquery",
        /// A signal that could not be read: an agent's outage, not a bad device.
        SignalUnreadable => "signal_unreadable",
        /// The event has no device at all.
        NoDeviceContext => "no_device_context",
        /// The evidence names no check.
        Unattributed => "unattributed",
    }
}

vocabulary! {
    /// What a posture reading rests on.
    PostureSource {
        /// A policy version and the device's signals.
        Derived => "derived",
        /// The device block alone: no policy is known.
        Signals => "signals",
        /// Nothing.
        None => "none",
    }
}

vocabulary! {
    /// How one check came out.
    CheckVerdict {
        /// The device meets it.
        Pass => "pass",
        /// The device does not meet it.
        Fail => "fail",
        /// The evidence does not say.
        Unknown => "unknown",
    }
}

/// One requirement of a policy beside what the device said.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Check {
    /// Which.
    pub check: PostureCheck,
    /// What of it, for example `minimum`.
    pub detail: SmolStr,
    /// What the policy asks for; empty where no policy is known.
    pub required: SmolStr,
    /// What the device said; `None` where it said nothing.
    pub actual: Option<SmolStr>,
    /// How it came out.
    pub result: CheckVerdict,
}

/// What a device's state has to do with one answer of a policy: as `explain --json` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Posture {
    /// What it rests on; `none` where no policy was evaluated.
    pub source: PostureSource,
    /// The policy evaluated.
    pub policy: Option<SmolStr>,
    /// Checks that fail.
    pub fail: Vec<PostureCheck>,
    /// Checks that cannot be told.
    pub unknown: Vec<PostureCheck>,
    /// Every check with its numbers.
    pub checks: Vec<Check>,
}

impl Posture {
    /// Nothing was evaluated.
    pub const NONE: Self =
        Self { source: PostureSource::None, policy: None, fail: Vec::new(), unknown: Vec::new(), checks: Vec::new() };
}

/// The device block of an event as sent: every member may be absent, and absent is unknown, never false.
///
/// Source: the fact sheet's section 4.2 (`device`) and 6.1 (`target[type=UDDevice].detailEntry`).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DeviceSignals {
    /// Okta's id of the device (`guo…`).
    pub id: Option<SmolStr>,
    /// As sent, for example `14.6.0` or `10.0.19045.3570`.
    pub os_version: Option<SmolStr>,
    /// Managed by an MDM.
    pub managed: Option<bool>,
    /// Registered in Okta.
    pub registered: Option<bool>,
    /// Jailbroken or rooted; null on desktops.
    pub jailbreak: Option<bool>,
    /// A TPM or secure enclave is present.
    pub secure_hardware: Option<bool>,
    /// As sent: `NONE`, `FULL`, `USER`, `SYSTEM_VOLUME`, `ALL_INTERNAL_VOLUMES`.
    pub disk_encryption: Option<SmolStr>,
    /// As sent: `NONE`, `PASSCODE`, `BIOMETRIC`.
    pub screen_lock: Option<SmolStr>,
    /// The integrators' signals as sent, usually JSON in a string.
    pub integrators: Option<SmolStr>,
}

impl DeviceSignals {
    /// These signals, completed by `other` where they are silent, unless that is another device.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        if self.id.is_some() && other.id.is_some() && self.id != other.id {
            return self.clone();
        }
        let text = |own: &Option<SmolStr>, other: &Option<SmolStr>| own.clone().or_else(|| other.clone());
        Self {
            id: text(&self.id, &other.id),
            os_version: text(&self.os_version, &other.os_version),
            managed: self.managed.or(other.managed),
            registered: self.registered.or(other.registered),
            jailbreak: self.jailbreak.or(other.jailbreak),
            secure_hardware: self.secure_hardware.or(other.secure_hardware),
            disk_encryption: text(&self.disk_encryption, &other.disk_encryption),
            screen_lock: text(&self.screen_lock, &other.screen_lock),
            integrators: text(&self.integrators, &other.integrators),
        }
    }
}
