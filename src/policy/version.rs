//! Versions: dotted numbers, compared part by part, and what a moving requirement means in the vendors' releases.
//!
//! A text that is not dotted numbers is not compared: the answer is `None`, never an order by letters.

use std::cmp::Ordering;

use smol_str::{SmolStr, format_smolstr};

use crate::event::{CheckVerdict, Platform};
use crate::input::{DynamicVersion, Releases, VersionKind};

/// More parts than any vendor writes.
pub(super) const PARTS: usize = 8;

/// The first build of Windows 11; the version's first part is 10 on both.
const WINDOWS_11: u64 = 22_000;

/// A version as numbers; parts that are not written are 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Version {
    parts: [u64; PARTS],
    written: usize,
}

impl Version {
    /// Reads `14.6.0`; `None` where a part is no number, is longer than 15 digits, or there are too many.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut version = Self { parts: [0; PARTS], written: 0 };
        for part in text.trim().split('.') {
            let is_number = !part.is_empty() && part.len() <= 15 && part.bytes().all(|byte| byte.is_ascii_digit());
            *version.parts.get_mut(version.written)? = if is_number { part.parse().ok()? } else { return None };
            version.written += 1;
        }
        Some(version)
    }

    /// Its numbers, to be ordered by: `14.6` and `14.6.0` are one version.
    pub(super) const fn parts(&self) -> [u64; PARTS] {
        self.parts
    }

    fn part(&self, index: usize) -> Option<u64> {
        self.parts.get(index).copied().filter(|_| index < self.written)
    }

    /// What the vendor counts as a major version: the first part; on Windows the build, for Okta's distance from the
    /// latest major counts its feature updates.
    fn major(&self, platform: Platform) -> Option<u64> {
        self.part(if platform == Platform::Windows { 2 } else { 0 })
    }
}

/// The order of two versions; `None` where one is not dotted numbers.
pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    Some(Version::parse(a)?.parts.cmp(&Version::parse(b)?.parts))
}

/// Whether a version reaches a minimum.
pub(super) fn reaches(version: &str, minimum: &str) -> Option<bool> {
    compare(version, minimum).map(Ordering::is_ge)
}

/// 10 or 11, from the build (`10.0.22631.2715` is 11); `None` where the text has no build.
pub(super) fn windows_major(version: &str) -> Option<u32> {
    let version = Version::parse(version)?;
    match version.part(0)? {
        10 => Some(if version.part(2)? >= WINDOWS_11 { 11 } else { 10 }),
        major => u32::try_from(major).ok(),
    }
}

/// Whether a version meets a moving requirement; unknown without the releases of the platform.
pub(super) fn meets(wanted: DynamicVersion, platform: Platform, version: &str, releases: &Releases) -> CheckVerdict {
    super::logic::known(moves(wanted, platform, version, releases))
}

fn moves(wanted: DynamicVersion, platform: Platform, text: &str, releases: &Releases) -> Option<bool> {
    let version = Version::parse(text)?;
    let major = version.major(platform)?;
    let table = table(platform, text, releases)?;
    let mut majors: Vec<u64> = table.iter().filter_map(|release| Version::parse(release)?.major(platform)).collect();
    majors.sort_unstable_by(|a, b| b.cmp(a));
    majors.dedup();
    let nth = || usize::try_from(wanted.behind).ok().and_then(|behind| majors.get(behind)).copied();
    let in_time = match wanted.kind {
        VersionKind::Minimum => major >= nth()?,
        VersionKind::Exact => major == nth()?,
        VersionKind::ExactAnySupported => !majors.is_empty() && majors.contains(&major),
        VersionKind::NotAllowed => false,
    };
    if !in_time || !wanted.latest_patch {
        return Some(in_time);
    }
    if platform == Platform::Android {
        // The patch level of Android is a date, which its version does not hold.
        return None;
    }
    let same = table.iter().filter_map(|release| Version::parse(release));
    let newest = same.filter(|release| release.major(platform) == Some(major)).map(|release| release.parts).max();
    // A major that the table does not know yet is newer than all that it knows.
    Some(newest.is_none_or(|newest| version.parts >= newest))
}

fn table<'a>(platform: Platform, version: &str, releases: &'a Releases) -> Option<&'a [SmolStr]> {
    let own = match platform {
        Platform::Windows => releases.0.get(match windows_major(version)? {
            11 => "windows_11",
            10 => "windows_10",
            _ => return None,
        }),
        Platform::Macos
        | Platform::Ios
        | Platform::Android
        | Platform::Chromeos
        | Platform::Linux
        | Platform::Other
        | Platform::Unknown => None,
    };
    // One list for both majors of Windows would say that the older one is behind.
    let shared = || if platform == Platform::Windows { None } else { releases.0.get(platform.as_str()) };
    own.or_else(shared).map(Vec::as_slice)
}

/// A moving requirement in words.
pub(super) fn words(wanted: DynamicVersion) -> SmolStr {
    let exactly = if wanted.kind == VersionKind::Exact { "exactly " } else { "" };
    let base = match (wanted.kind, wanted.behind) {
        (VersionKind::NotAllowed, _) => SmolStr::new_static("not allowed"),
        (VersionKind::ExactAnySupported, _) => SmolStr::new_static("any supported major"),
        (VersionKind::Minimum, 0) => SmolStr::new_static("latest major"),
        (VersionKind::Exact, 0) => SmolStr::new_static("exactly the latest major"),
        (VersionKind::Minimum | VersionKind::Exact, 1) => format_smolstr!("{exactly}one major behind the latest"),
        (VersionKind::Minimum | VersionKind::Exact, many) => {
            format_smolstr!("{exactly}{many} majors behind the latest")
        }
    };
    if wanted.latest_patch { format_smolstr!("{base} + latest security patch") } else { base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, expect: Option<Ordering>) {
        assert_eq!(compare(a, b), expect, "{a} {b}");
        assert_eq!(compare(b, a), expect.map(Ordering::reverse), "{b} {a}");
    }

    #[test]
    fn parts_are_numbers_and_missing_ones_are_zero() {
        check("14.6.0", "14.6", Some(Ordering::Equal));
        check("14.10", "14.9.9", Some(Ordering::Greater));
        check("9", "10", Some(Ordering::Less));
        check("10.0.19045.3570", "10.0.19045.3448", Some(Ordering::Greater));
        check(" 15.1 ", "15.1.0", Some(Ordering::Equal));
    }

    #[test]
    fn a_text_that_is_no_version_has_no_order() {
        for odd in ["", ".", "14.", "v14", "14.6 (23G80)", "14,6", "-1", "1.2.3.4.5.6.7.8.9", "9999999999999999"] {
            check(odd, "14.6", None);
        }
    }

    #[test]
    fn windows_tells_its_major_by_the_build() {
        for (version, major) in [
            ("10.0.19045.3570", Some(10)),
            ("10.0.21999", Some(10)),
            ("10.0.22000", Some(11)),
            ("10.0.26100.2033", Some(11)),
            ("10.0", None),
            ("6.3.9600", Some(6)),
            ("Windows 11", None),
        ] {
            assert_eq!(windows_major(version), major, "{version}");
        }
    }

    #[test]
    fn a_moving_requirement_is_read_from_the_releases_or_unknown() {
        let table = |rows: &[&str]| rows.iter().copied().map(SmolStr::new).collect::<Vec<_>>();
        let releases = Releases(
            [
                (SmolStr::new("macos"), table(&["15.1.1", "15.1", "14.7.1", "14.6", "13.7.1"])),
                (SmolStr::new("windows_11"), table(&["10.0.26100.2314", "10.0.22631.4460"])),
            ]
            .into(),
        );
        let wanted = |kind, behind, latest_patch| DynamicVersion { kind, behind, latest_patch };
        use CheckVerdict::{Fail, Pass, Unknown};
        use VersionKind::{Exact, ExactAnySupported, Minimum};
        for (wanted, platform, version, expect) in [
            (wanted(Minimum, 0, false), Platform::Macos, "15.0", Pass),
            (wanted(Minimum, 0, false), Platform::Macos, "14.7.1", Fail),
            (wanted(Minimum, 1, false), Platform::Macos, "14.0", Pass),
            (wanted(Minimum, 1, true), Platform::Macos, "14.6", Fail),
            (wanted(Minimum, 1, true), Platform::Macos, "14.7.1", Pass),
            (wanted(Minimum, 0, true), Platform::Macos, "16.0", Pass),
            (wanted(Minimum, 9, false), Platform::Macos, "15.1", Unknown),
            (wanted(Exact, 1, false), Platform::Macos, "15.1", Fail),
            (wanted(ExactAnySupported, 0, false), Platform::Macos, "12.7", Fail),
            (wanted(ExactAnySupported, 0, true), Platform::Macos, "13.7.1", Pass),
            (wanted(Minimum, 0, false), Platform::Windows, "10.0.22631.4460", Fail),
            (wanted(Minimum, 1, true), Platform::Windows, "10.0.22631.4460", Pass),
            (wanted(Minimum, 0, false), Platform::Windows, "10.0.19045.1", Unknown),
            (wanted(Minimum, 0, false), Platform::Android, "15", Unknown),
            (wanted(Minimum, 0, false), Platform::Macos, "odd", Unknown),
        ] {
            assert_eq!(meets(wanted, platform, version, &releases), expect, "{wanted:?} {platform} {version}");
        }
        assert_eq!(words(wanted(Minimum, 1, true)), "one major behind the latest + latest security patch");
        assert_eq!(words(wanted(Exact, 3, false)), "exactly 3 majors behind the latest");
    }
}
