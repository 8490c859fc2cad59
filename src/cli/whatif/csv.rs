//! The devices of an answer as CSV (RFC 4180): one line each, in the order of the answer.

use std::io::{self, Write};

use crate::event::PostureCheck;
use crate::policy::ask::Answer;
use crate::policy::whatif::{DeviceRow, Verdict};

const HEADER: &str = "device,person,platform,cohort,os_version,verdict,before,failing,unknown,last_seen";

/// Writes the header and every listed device.
pub(super) fn write(to: &mut impl Write, answer: &Answer) -> io::Result<()> {
    write!(to, "{HEADER}\r\n")?;
    for row in answer.whatif.iter().flat_map(|whatif| &whatif.devices) {
        write!(to, "{}\r\n", line(row))?;
    }
    to.flush()
}

fn line(row: &DeviceRow) -> String {
    let checks = |checks: &[PostureCheck]| checks.iter().map(|check| check.as_str()).collect::<Vec<_>>().join(" ");
    let fields = [
        row.device.to_string(),
        row.person.as_ref().map(ToString::to_string).unwrap_or_default(),
        row.platform.to_string(),
        row.cohort.as_ref().map(ToString::to_string).unwrap_or_default(),
        row.os_version.as_ref().map(ToString::to_string).unwrap_or_default(),
        row.verdict.as_str().to_owned(),
        row.before.map(Verdict::as_str).unwrap_or_default().to_owned(),
        checks(&row.failing),
        checks(&row.unknown),
        row.last_seen.to_string(),
    ];
    fields.map(|field| quoted(&field)).join(",")
}

/// A field, in quotes where it needs them. A text that a spreadsheet would take for a formula is made text by an
/// apostrophe: versions and ids come from devices.
fn quoted(field: &str) -> String {
    let safe = if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{field}") } else { field.to_owned() };
    if safe.contains([',', '"', '\n', '\r']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Person, Platform, Timestamp};

    #[track_caller]
    fn check(field: &str, expect: &str) {
        assert_eq!(quoted(field), expect);
    }

    #[test]
    fn fields_are_quoted_where_they_must_be_and_no_formula_gets_through() {
        check("14.6.0", "14.6.0");
        check("a,b", "\"a,b\"");
        check("say \"so\"", "\"say \"\"so\"\"\"");
        check("two\nlines", "\"two\nlines\"");
        check("=1+1", "'=1+1");
        check("@x,y", "\"'@x,y\"");
    }

    #[test]
    fn a_device_is_one_line() {
        let row = DeviceRow {
            device: "guo1".into(),
            person: Some(Person::new("00u1")),
            platform: Platform::Macos,
            cohort: Some("wave 1, Berlin".into()),
            os_version: Some("14.5.0".into()),
            verdict: Verdict::Refuse,
            before: Some(Verdict::Pass),
            failing: vec![PostureCheck::OsVersion, PostureCheck::DiskEncryption],
            unknown: Vec::new(),
            last_seen: Timestamp(1_780_000_000_000),
        };
        let expect = "guo1,00u1,macos,\"wave 1, Berlin\",14.5.0,refuse,pass,os_version disk_encryption,,\
                      2026-05-28T20:26:40.000Z";
        assert_eq!(line(&row), expect);
    }
}
