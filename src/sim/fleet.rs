//! Devices: platforms, versions and what a device says about itself.
//!
//! Every device of the fleet meets the floors of the base policies ([`super::policies`]); a device fails only in a bad
//! moment that the plan draws, or because a push moved a floor. The shares are by a person's main device.

use std::fmt;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::chance;

/// A platform that the simulated fleet has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// macOS, about 45 % of the main devices.
    Macos,
    /// Windows, about 40 %.
    Windows,
    /// iOS.
    Ios,
    /// Android.
    Android,
    /// ChromeOS.
    Chromeos,
}

impl Platform {
    /// Every platform.
    pub const ALL: [Self; 5] = [Self::Macos, Self::Windows, Self::Ios, Self::Android, Self::Chromeos];

    /// The word in truth files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Macos => "macos",
            Self::Windows => "windows",
            Self::Ios => "ios",
            Self::Android => "android",
            Self::Chromeos => "chromeos",
        }
    }

    /// The spelling of Okta's policy API.
    pub const fn policy_word(self) -> &'static str {
        match self {
            Self::Macos => "MACOS",
            Self::Windows => "WINDOWS",
            Self::Ios => "IOS",
            Self::Android => "ANDROID",
            Self::Chromeos => "CHROMEOS",
        }
    }

    /// The spelling of the event's `device` block.
    pub const fn event_word(self) -> &'static str {
        match self {
            Self::Macos => "OSX",
            Self::Windows | Self::Ios | Self::Android | Self::Chromeos => self.policy_word(),
        }
    }

    /// Whether CrowdStrike and disk encryption are asked of it.
    pub const fn is_desktop(self) -> bool {
        match self {
            Self::Macos | Self::Windows => true,
            Self::Ios | Self::Android | Self::Chromeos => false,
        }
    }

    const fn parts(self) -> usize {
        match self {
            Self::Macos | Self::Ios => 3,
            Self::Windows | Self::Chromeos => 4,
            Self::Android => 1,
        }
    }

    /// The version that the base policies ask for.
    pub const fn base_floor(self) -> Version {
        match self {
            Self::Macos => Version::new(self, [14, 5, 0, 0]),
            Self::Windows => Version::new(self, [10, 0, 22621, 3737]),
            Self::Ios => Version::new(self, [17, 4, 0, 0]),
            Self::Android => Version::new(self, [13, 0, 0, 0]),
            Self::Chromeos => Version::new(self, [126, 0, 6478, 0]),
        }
    }

    /// A version below the base floor, as an old or restored device has it.
    pub const fn stale_version(self) -> Version {
        match self {
            Self::Macos => Version::new(self, [13, 6, 9, 0]),
            Self::Windows => Version::new(self, [10, 0, 19045, 4412]),
            Self::Ios => Version::new(self, [16, 7, 8, 0]),
            Self::Android => Version::new(self, [12, 0, 0, 0]),
            Self::Chromeos => Version::new(self, [120, 0, 6099, 235]),
        }
    }

    fn versions(self) -> &'static [(f64, [u32; 4])] {
        match self {
            Self::Macos => &[
                (22.0, [14, 5, 0, 0]),
                (10.0, [14, 6, 0, 0]),
                (18.0, [14, 6, 1, 0]),
                (12.0, [14, 7, 1, 0]),
                (10.0, [15, 0, 1, 0]),
                (13.0, [15, 1, 0, 0]),
                (15.0, [15, 2, 0, 0]),
            ],
            Self::Windows => &[
                (20.0, [10, 0, 22621, 3737]),
                (15.0, [10, 0, 22621, 4037]),
                (20.0, [10, 0, 22631, 3880]),
                (15.0, [10, 0, 22631, 4037]),
                (15.0, [10, 0, 22631, 4391]),
                (15.0, [10, 0, 26100, 2033]),
            ],
            Self::Ios => &[(30.0, [17, 5, 1, 0]), (40.0, [17, 6, 1, 0]), (30.0, [18, 1, 0, 0])],
            Self::Android => &[(25.0, [13, 0, 0, 0]), (45.0, [14, 0, 0, 0]), (30.0, [15, 0, 0, 0])],
            Self::Chromeos => &[(60.0, [127, 0, 6533, 132]), (40.0, [128, 0, 6613, 85])],
        }
    }
}

/// An operating system version; shows as many parts as its platform writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    platform: Platform,
    parts: [u32; 4],
}

impl Version {
    /// A version of a platform; parts that the platform does not write are zero.
    pub const fn new(platform: Platform, parts: [u32; 4]) -> Self {
        Self { platform, parts }
    }

    /// Whether this version is older than `floor`; versions of another platform are never compared.
    pub fn is_below(self, floor: Self) -> bool {
        self.platform == floor.platform && self.parts < floor.parts
    }

    /// The platform.
    pub const fn platform(self) -> Platform {
        self.platform
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().take(self.platform.parts()).enumerate() {
            let dot = if index == 0 { "" } else { "." };
            write!(f, "{dot}{part}")?;
        }
        Ok(())
    }
}

/// One device of one person.
#[derive(Clone, Debug)]
pub struct Device {
    /// Okta's id (`guo…`).
    pub id: String,
    /// Its model, as Okta shows a device's name.
    pub name: &'static str,
    /// Its platform.
    pub platform: Platform,
    /// Its version.
    pub os_version: Version,
    /// As the event writes it: `FULL`, `ALL_INTERNAL_VOLUMES`.
    pub disk_encryption: &'static str,
    /// As the event writes it: `PASSCODE`, `BIOMETRIC`.
    pub screen_lock: &'static str,
    /// A TPM or secure enclave.
    pub secure_hardware: bool,
    /// Managed by an MDM (about 60 % of the desktops: the rollout is under way).
    pub managed: bool,
    /// Registered in Okta; all of the fleet is.
    pub registered: bool,
    /// CrowdStrike's overall score, at least 65; desktops only.
    pub crowdstrike: Option<u8>,
    /// Its serial number.
    pub serial: String,
}

impl Device {
    /// Draws one device.
    pub(crate) fn draw(rng: &mut ChaCha8Rng, platform: Platform) -> Self {
        let versions = platform.versions();
        let weights: Vec<f64> = versions.iter().map(|(weight, _)| *weight).collect();
        let (_, parts) = versions[chance::pick(rng, &weights)];
        let models: &[&str] = match platform {
            Platform::Macos => &["Mac14,2", "Mac15,6", "MacBookPro18,2", "Mac16,1"],
            Platform::Windows => &["Latitude 7440", "ThinkPad T14", "Surface Laptop 5"],
            Platform::Ios => &["iPhone14,2", "iPhone15,3", "iPad13,4"],
            Platform::Android => &["Pixel 8", "SM-S918B"],
            Platform::Chromeos => &["Chromebook Plus"],
        };
        let (biometric, managed, hardware) = match platform {
            Platform::Macos => (0.6, 0.6, 0.98),
            Platform::Windows => (0.35, 0.6, 0.93),
            Platform::Ios | Platform::Android => (0.85, 0.3, 0.99),
            Platform::Chromeos => (0.1, 0.8, 1.0),
        };
        Self {
            id: chance::okta_id(rng, "guo"),
            name: models[rng.random_range(0..models.len())],
            platform,
            os_version: Version::new(platform, parts),
            disk_encryption: match platform {
                Platform::Macos | Platform::Windows | Platform::Chromeos => "ALL_INTERNAL_VOLUMES",
                Platform::Ios | Platform::Android => "FULL",
            },
            screen_lock: if rng.random_bool(biometric) { "BIOMETRIC" } else { "PASSCODE" },
            secure_hardware: rng.random_bool(hardware),
            managed: rng.random_bool(managed),
            registered: true,
            crowdstrike: platform.is_desktop().then(|| rng.random_range(65..=100)),
            serial: chance::token(rng, 10).to_ascii_uppercase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_of_the_fleet_meets_the_base_floor_and_every_stale_version_misses_it() {
        for platform in Platform::ALL {
            for (_, parts) in platform.versions() {
                assert!(!Version::new(platform, *parts).is_below(platform.base_floor()), "{platform:?} {parts:?}");
            }
            assert!(platform.stale_version().is_below(platform.base_floor()), "{platform:?}");
        }
    }

    #[test]
    fn versions_show_as_their_platform_writes_them() {
        let shown = Platform::ALL.map(|platform| platform.base_floor().to_string());
        assert_eq!(shown, ["14.5.0", "10.0.22621.3737", "17.4.0", "13", "126.0.6478.0"]);
    }
}
