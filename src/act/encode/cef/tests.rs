//! The escaping rules, read back by a parser of its own; and what lands in which key.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::forwarded;
use super::*;
use crate::event::{PostureCheck, PostureSource};

/// Header fields and extension of a line, unescaped.
#[track_caller]
fn parse(line: &str) -> (Vec<String>, BTreeMap<String, String>) {
    assert!(!line.contains(['\n', '\r']), "{line}");
    let line = line.strip_prefix("CEF:").expect("the mark");
    let (mut fields, mut field, mut rest) = (Vec::new(), String::new(), line.chars());
    while fields.len() < 7 {
        match rest.next().expect("seven fields") {
            '\\' => field.push(rest.next().filter(|c| matches!(c, '\\' | '|')).expect("a known escape")),
            '|' => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    // A key is a word right before a `=` that is not escaped.
    let text: Vec<char> = rest.collect();
    let is_escaped = |at: usize| text[..at].iter().rev().take_while(|c| **c == '\\').count() % 2 == 1;
    let signs: Vec<usize> = (0..text.len()).filter(|at| text[*at] == '=' && !is_escaped(*at)).collect();
    let start = |sign: usize| (0..sign).rev().find(|at| text[*at] == ' ').map_or(0, |at| at + 1);
    let mut extension = BTreeMap::new();
    for (index, sign) in signs.iter().enumerate() {
        let key: String = text[start(*sign)..*sign].iter().collect();
        let end = signs.get(index + 1).map_or(text.len(), |next| start(*next) - 1);
        let mut value = String::new();
        let mut chars = text[sign + 1..end].iter();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => value.push('\n'),
                    Some('r') => value.push('\r'),
                    Some(c @ ('\\' | '=')) => value.push(*c),
                    other => panic!("{other:?} is no escape of an extension"),
                },
                c => value.push(*c),
            }
        }
        assert!(extension.insert(key.clone(), value).is_none(), "{key} twice");
    }
    (fields, extension)
}

fn deny() -> Value {
    json!({
        "uuid": "3aeede38-4f67-11ea-abd3-1f5d113f2546", "published": "2026-03-02T09:00:00.000Z",
        "eventType": "policy.evaluate_sign_on", "displayMessage": "Evaluation of sign-on policy",
        "outcome": { "result": "DENY", "reason": "Sign-on policy evaluation resulted in DENIED" },
        "actor": { "id": "00u1qw2er3ty4ui5op6a", "type": "User", "alternateId": "ada@example.com", "displayName": "Ada" },
        "client": { "ipAddress": "192.0.2.7", "userAgent": { "rawUserAgent": "Mozilla/5.0 (X; a=b|c\\d)" } },
        "target": [
            { "id": "0oa1qw2er3ty4ui5op6a", "type": "AppInstance", "displayName": "Pay=roll|1" },
            { "id": "rul1qw2er3ty4ui5op6a", "type": "Rule", "displayName": "Catch-all Rule",
              "detailEntry": { "policyId": "rst1qw2er3ty4ui5op6a" } },
        ],
    })
}

#[test]
fn a_refusal_says_who_what_where_and_why() {
    let mut record = forwarded(&deny());
    if let What::Event { posture, .. } = &mut record.what {
        let check = Check {
            check: PostureCheck::OsVersion,
            detail: "minimum".into(),
            required: "14.6.0".into(),
            actual: Some("14.5.0".into()),
            result: CheckVerdict::Fail,
        };
        *posture = Some(Posture {
            source: PostureSource::Derived,
            fail: vec![PostureCheck::OsVersion],
            checks: vec![check],
            ..Posture::NONE
        });
    }
    let (header, extension) = parse(&encode(&record));
    assert_eq!(header[..3], ["0", "authwatch", "authwatch"]);
    assert_eq!(header[4..], ["policy_evaluation.deny", "Evaluation of sign-on policy", "5"]);
    for (key, value) in [
        ("rt", "1772442000000"),
        ("externalId", "3aeede38-4f67-11ea-abd3-1f5d113f2546"),
        ("cat", "policy.evaluate_sign_on"),
        ("act", "DENY"),
        ("outcome", "deny"),
        ("reason", "device_posture"),
        ("src", "192.0.2.7"),
        ("suser", "ada@example.com"),
        ("suid", "00u1qw2er3ty4ui5op6a"),
        ("destinationServiceName", "Pay=roll|1"),
        ("cs2Label", "rule"),
        ("cs2", "Catch-all Rule"),
        ("cs3", "rst1qw2er3ty4ui5op6a"),
        ("cs4", "os_version minimum: required 14.6.0, actual 14.5.0, fail"),
        ("requestClientApplication", "Mozilla/5.0 (X; a=b|c\\d)"),
        ("flexString1", "acme"),
    ] {
        assert_eq!(extension.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[test]
fn trap_pipes_are_escaped_in_the_header_only_and_equals_signs_in_the_extension_only() {
    assert_eq!(header("a|b=c\\d\ne"), "a\\|b=c\\\\d e");
    assert_eq!(extension("msg", "a|b=c\\d\ne\rf\tg"), "a|b\\=c\\\\d\\ne\\rf g");
}

#[test]
fn trap_the_key_for_a_source_is_for_ipv4_only() {
    let mut record = deny();
    record["client"]["ipAddress"] = json!("2001:db8::7");
    let (_, extension) = parse(&encode(&forwarded(&record)));
    assert_eq!(extension.get("src"), None);
    assert_eq!(extension["c6a2"], "2001:db8::7");
    assert_eq!(extension["c6a2Label"], "Source IPv6 Address");
}

#[test]
fn values_are_cut_to_their_bounds_and_a_line_by_whole_keys() {
    let mut record = deny();
    record["displayMessage"] = json!("é|".repeat(600));
    record["outcome"]["reason"] = json!("=".repeat(3_000));
    let (line, is_short) = bounded(&forwarded(&record), usize::MAX);
    let (fields, extension) = parse(&line);
    assert!(!is_short);
    assert_eq!(fields[5].chars().count(), HEADER);
    assert_eq!(extension["msg"].chars().count(), VALUE);

    let (short, is_short) = bounded(&forwarded(&deny()), 400);
    let (_, extension) = parse(&short);
    assert!(is_short && short.len() <= 400, "{}", short.len());
    assert_eq!(extension["externalId"], "3aeede38-4f67-11ea-abd3-1f5d113f2546");
    assert_eq!(extension.get("requestClientApplication"), None);
    let labels = extension.keys().filter_map(|key| key.strip_suffix("Label"));
    assert!(labels.into_iter().all(|key| extension.contains_key(key)), "{extension:?}");
}

proptest! {
    #[test]
    fn whatever_is_said_can_be_read_back(text in "\\PC{0,40}|[|=\\\\\n\r ]{0,12}", name in "[a-z|=\\\\ ]{1,20}") {
        let line = format!("CEF:0|a|b|c|d|{}|1|msg={} externalId=x", header(&name), extension("msg", &text));
        let (fields, extension) = parse(&line);
        let one_line = |c: char| if c.is_control() && !matches!(c, '\n' | '\r') { ' ' } else { c };
        prop_assert_eq!(&extension["msg"], &text.chars().map(one_line).collect::<String>());
        prop_assert_eq!(&fields[5], &name);
        prop_assert_eq!(extension["externalId"].as_str(), "x");
    }
}
