//! Policies from files: read with the configuration, and fed to the core once for each content.
//!
//! The core's configuration holds the hash of the file in force, so the journal says which one it is. A restart with
//! the same file feeds nothing: what change events have changed since would be undone. A bad file is an error of the
//! configuration, at the place that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use smol_str::SmolStr;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{self, Config, ConfigError, Written};
use crate::event::{Org, Timestamp};
use crate::input::{CoreConfig, Input, OrgConfig, Policies, PolicyOrigin, PolicySource, Releases};
use crate::policy::parse;

/// The largest file of policies in bytes: about 10,000 rules.
const MAX_POLICIES: u64 = 32 << 20;
/// The largest file of releases in bytes.
const MAX_RELEASES: u64 = 1 << 20;
/// The platforms that releases can be listed for: Windows by its major version, as its requirements are.
const RELEASED: [&str; 6] = ["android", "chromeos", "ios", "macos", "windows_10", "windows_11"];

/// The policies of each org that has a file of them.
pub type FilePolicies = BTreeMap<Org, Arc<Policies>>;

/// Reads the files of every org of the core's configuration, notes hashes and releases in it, and gives what the files
/// of policies say. Releases of a file of their own go before those in the document of policies.
///
/// # Errors
/// Where a file cannot be read or understood, with the place that names it.
pub fn read(config: &Config, core: &mut CoreConfig) -> Result<FilePolicies, ConfigError> {
    let mut found = FilePolicies::new();
    for (name, org) in &mut core.orgs {
        let files = config.policies_of(name);
        if let Some(file) = &files.file {
            let text = text(file, MAX_POLICIES)?;
            let policies = parse::parse(text.as_bytes()).map_err(|error| refused(file, &error))?;
            org.policies = Some(PolicySource::File(xxh3_64(text.as_bytes())));
            org.releases.clone_from(&policies.releases);
            found.insert(name.clone(), Arc::new(policies));
        }
        if let Some(file) = &files.releases {
            let read = releases(&text(file, MAX_RELEASES)?).map_err(|error| refused(file, &error))?;
            org.releases.0.extend(read.0);
        }
    }
    Ok(found)
}

/// What the files of the configuration's own org say: its policies, and what else the core would be told of it. For
/// commands that run no core.
///
/// # Errors
/// As [`read`].
pub fn of_own_org(config: &Config) -> Result<(Option<Arc<Policies>>, OrgConfig), ConfigError> {
    let mut core = config.core(&[(config.org.clone(), BTreeSet::new())].into());
    let policies = read(config, &mut core)?.remove(&config.org);
    Ok((policies, core.orgs.remove(&config.org).unwrap_or_default()))
}

/// What the core is to be told for a configuration to be in force after `before`: the configuration, and the policies
/// of each file that is not the one in force.
pub fn inputs(before: &CoreConfig, core: &CoreConfig, policies: &FilePolicies) -> Vec<Input> {
    let source = |config: &CoreConfig, org: &Org| config.orgs.get(org).and_then(|org| org.policies);
    let changed = policies.iter().filter(|(org, _)| {
        let now = source(core, org);
        matches!(now, Some(PolicySource::File(_))) && now != source(before, org)
    });
    let fed = changed.map(|(org, policies)| Input::Policies {
        org: org.clone(),
        since: Some(Timestamp::MIN),
        origin: PolicyOrigin::File,
        policies: Arc::clone(policies),
    });
    std::iter::once(Input::Configure(Box::new(core.clone()))).chain(fed).collect()
}

fn text(file: &Written, limit: u64) -> Result<String, ConfigError> {
    config::read_file(&file.path, limit).map_err(|problem| ConfigError::at(&file.origin, problem))
}

fn refused(file: &Written, why: &dyn std::fmt::Display) -> ConfigError {
    let path: &Path = &file.path;
    ConfigError::invalid(&file.origin, format!("`{}`: {why}", path.display()))
}

/// Reads `{"macos": ["15.2.0", …], "windows_11": […]}`; the versions may stand in any order.
fn releases(text: &str) -> Result<Releases, String> {
    let read: BTreeMap<SmolStr, Vec<SmolStr>> = serde_json::from_str(text)
        .map_err(|error| format!("{error} (expected versions by platform, as `{{\"macos\": [\"15.2.0\"]}}`)"))?;
    let mut releases = BTreeMap::new();
    for (platform, versions) in read {
        if !RELEASED.contains(&platform.as_str()) {
            return Err(format!("`{platform}` is no platform (expected one of {})", RELEASED.join(", ")));
        }
        let mut numbers = Vec::with_capacity(versions.len());
        for version in versions {
            let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
            let parts = parts.ok_or_else(|| format!("`{version}` of `{platform}` is no version (as `15.2.0`)"))?;
            numbers.push((parts, version));
        }
        numbers.sort();
        releases.insert(platform, numbers.into_iter().rev().map(|(_, version)| version).collect());
    }
    Ok(Releases(releases))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_put_in_order_and_what_is_none_is_named() {
        let read = releases(r#"{"macos": ["14.7.1", "15.2", "15.10.0"], "windows_11": []}"#).expect("valid");
        assert_eq!(read.0["macos"], ["15.10.0", "15.2", "14.7.1"]);
        for (text, expect) in [
            (r#"{"beos": []}"#, "`beos` is no platform (expected one of android, "),
            (r#"{"macos": ["Sequoia"]}"#, "`Sequoia` of `macos` is no version (as `15.2.0`)"),
            (r#"["15.2.0"]"#, "invalid type: sequence, expected a map at line 1 column 0 (expected versions by"),
        ] {
            let error = releases(text).expect_err(text);
            assert!(error.starts_with(expect), "{error}");
        }
    }

    #[track_caller]
    fn check(before: Option<u64>, now: Option<u64>, fed: bool) {
        let org = Org::new("acme");
        let with = |file: Option<u64>| CoreConfig {
            orgs: [(org.clone(), OrgConfig { policies: file.map(PolicySource::File), ..OrgConfig::default() })].into(),
            ..CoreConfig::default()
        };
        let policies = [(org.clone(), Arc::default())].into();
        let inputs = inputs(&with(before), &with(now), &policies);
        assert!(matches!(inputs[0], Input::Configure(_)));
        let is_policies = |input: &&Input| matches!(input, Input::Policies { since: Some(Timestamp::MIN), .. });
        assert_eq!(inputs.iter().filter(is_policies).count() == 1, fed, "{before:?} → {now:?}");
    }

    #[test]
    fn a_file_is_fed_once_for_each_content() {
        check(None, Some(1), true);
        check(Some(1), Some(2), true);
        check(Some(1), Some(1), false);
        check(Some(1), None, false);
    }
}
