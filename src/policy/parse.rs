//! Okta's JSON of policies, rules and device assurance policies → [`Policies`].
//!
//! Members that this reader does not know are passed over, conditions that it does not know are kept by name: a rule
//! that asks for something unread never matches for certain. A document that is no set of policies is an error that
//! says which object, which member, and what was expected. Sizes are bounded.

mod device;
mod object;
mod rule;

use std::collections::BTreeMap;

use serde_json::Value;
use smol_str::SmolStr;

use crate::input::{AccessPolicy, Policies, Releases};

pub use device::assurance;
pub use object::PolicyError;

pub(super) use device::{PARTS, grace, is_aside, is_version, order, provider, requirements_of};
pub(super) use object::Object;
pub(super) use rule::{apply, rule, sort};

/// Bytes of one document.
const DOCUMENT_BYTES: usize = 32 << 20;

/// Policies, device assurance policies, and rules of one policy: far above Okta's own limits.
const OBJECTS: usize = 1_000;

/// Reads the document `{"policies":[…],"rules":{policyId:[…]},"device_assurances":[…],"releases":{platform:[…]}}`.
///
/// Each object is as Okta's API gives it; `releases` is optional: the vendors' releases, newest first.
pub fn parse(text: &[u8]) -> Result<Policies, PolicyError> {
    let document = |member: &str, expected: String| PolicyError {
        object: SmolStr::new_static("policies document"),
        member: SmolStr::new(member),
        expected: expected.into(),
    };
    if text.len() > DOCUMENT_BYTES {
        return Err(document(".", format!("at most {DOCUMENT_BYTES} bytes")));
    }
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| document(".", format!("JSON (line {}, column {})", error.line(), error.column())))?;
    let root = Object::top("policies document", &value)?;
    let mut rules = BTreeMap::new();
    if let Some(lists) = root.object("rules")? {
        for (policy, _) in lists.said() {
            rules.insert(policy.to_owned(), lists.list(policy)?.to_vec());
        }
    }
    let mut policies = assemble(root.list("policies")?, &rules, root.list("device_assurances")?)?;
    policies.releases = releases(&root)?;
    Ok(policies)
}

fn releases(root: &Object<'_>) -> Result<Releases, PolicyError> {
    let Some(tables) = root.object("releases")? else { return Ok(Releases::default()) };
    let rows = tables.said().map(|(platform, _)| Ok((SmolStr::new(platform), tables.texts(platform)?)));
    rows.collect::<Result<_, _>>().map(Releases)
}

/// Puts the objects of Okta's API together: access policies with their active rules, and device assurance policies.
pub fn assemble(
    policies: &[Value],
    rules: &BTreeMap<String, Vec<Value>>,
    assurances: &[Value],
) -> Result<Policies, PolicyError> {
    let bounded = |member: &str, count: usize| {
        if count <= OBJECTS {
            return Ok(());
        }
        let object = SmolStr::new_static("policies document");
        Err(PolicyError { object, member: SmolStr::new(member), expected: format!("at most {OBJECTS}").into() })
    };
    bounded("policies", policies.len())?;
    bounded("device_assurances", assurances.len())?;
    let mut all = Policies::default();
    for value in policies {
        let object = Object::top("policy", value)?;
        if object.needed("type")? != "ACCESS_POLICY" || is_inactive(&object)? {
            continue;
        }
        let id = object.needed("id")?;
        let own = rules.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        bounded(&format!("rules.{id}"), own.len())?;
        let mut policy = AccessPolicy { name: object.text("name")?.unwrap_or_default(), rules: Vec::new() };
        for value in own {
            let object = Object::top("rule", value)?;
            if !is_inactive(&object)? {
                policy.rules.push(rule(&object)?);
            }
        }
        sort(&mut policy.rules);
        all.policies.insert(id, policy);
    }
    for value in assurances {
        let (id, assurance) = assurance(value)?;
        all.assurances.insert(id, assurance);
    }
    Ok(all)
}

/// Whether the object is switched off.
pub(super) fn is_inactive(object: &Object<'_>) -> Result<bool, PolicyError> {
    Ok(object.text("status")?.is_some_and(|status| status == "INACTIVE"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Access;
    use serde_json::json;

    fn read(value: &Value) -> Result<Policies, String> {
        parse(value.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn active_access_policies_with_their_active_rules_by_priority_and_the_catch_all_last() {
        let allow = json!({"appSignOn": {"access": "ALLOW"}});
        let policies = read(&json!({
            "policies": [
                {"id": "rst1", "type": "ACCESS_POLICY", "name": "Console", "status": "ACTIVE"},
                {"id": "rst2", "type": "ACCESS_POLICY", "name": "Old", "status": "INACTIVE"},
                {"id": "00p1", "type": "OKTA_SIGN_ON", "name": "Global"}],
            "rules": {"rst1": [
                {"id": "rul9", "name": "Catch-all Rule", "priority": 0, "system": true,
                    "actions": {"appSignOn": {"access": "DENY"}}},
                {"id": "rul2", "name": "Second", "priority": 2, "actions": allow},
                {"id": "rul1", "name": "First", "priority": 1, "actions": allow},
                {"id": "rul3", "name": "Off", "priority": 0, "status": "INACTIVE", "actions": allow}]},
            "device_assurances": [{"id": "dae1", "name": "Mac", "platform": "MACOS"}],
            "releases": {"macos": ["15.1", "14.7"]}}))
        .expect("policies");
        let rules = &policies.policies["rst1"].rules;
        let rows: Vec<_> = rules.iter().map(|rule| (rule.id.as_str(), rule.system, rule.access)).collect();
        assert_eq!(
            rows,
            [("rul1", false, Access::Allow), ("rul2", false, Access::Allow), ("rul9", true, Access::Deny)]
        );
        assert_eq!(policies.policies.len(), 1);
        assert_eq!(policies.assurances["dae1"].name, "Mac");
        assert_eq!(policies.releases.0["macos"], ["15.1", "14.7"]);
    }

    #[test]
    fn an_error_says_where() {
        for (value, expect) in [
            (json!([]), "policies document: `.`: expected an object"),
            (json!({"policies": {}}), "policies document: `policies`: expected a list of at most 10000"),
            (json!({"policies": [{"id": "rst1"}]}), "policy `rst1`: `type`: expected a text"),
            (
                json!({"policies": [{"id": "rst1", "type": "ACCESS_POLICY"}],
                    "rules": {"rst1": [{"id": "rul1", "name": "A", "actions": {"appSignOn": {"access": "MAYBE"}}}]}}),
                "rule `rul1` (A): `actions.appSignOn.access`: expected ALLOW or DENY",
            ),
        ] {
            assert_eq!(read(&value), Err(expect.to_owned()));
        }
        assert_eq!(
            parse(b"{\n7}").expect_err("no JSON").to_string(),
            "policies document: `.`: expected JSON (line 2, column 1)"
        );
    }
}
