//! `policies`: files that say what Okta's API would, for an org whose policies are not read from it.
//!
//! Here only the paths are read. What the files hold is read with the other parts of the configuration, at every load,
//! so that a bad file is told when the configuration is checked.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::ConfigError;
use crate::yaml::{Node, Origin, section};

/// The section `policies`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PolicyFiles {
    /// Policies, rules and device assurance policies as one JSON document.
    pub file: Option<Written>,
    /// The vendors' releases as JSON, by platform.
    pub releases: Option<Written>,
}

/// The path of a file, and where it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The path; a relative one begins at the configuration's folder.
    pub path: PathBuf,
    /// Where the configuration names it.
    pub origin: Origin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    file: Option<PathBuf>,
    releases: Option<PathBuf>,
}

/// Reads `policies`; a section without a key is as good as none.
pub(super) fn read(node: &Node, base: &Path) -> Result<PolicyFiles, ConfigError> {
    if node.is_null() {
        return Ok(PolicyFiles::default());
    }
    let Section { file, releases } = section(node)?;
    if file.is_none() && releases.is_none() {
        return Err(ConfigError::invalid(&node.origin, "`policies` names no file (write `file`, `releases` or both)"));
    }
    let written = |path: Option<PathBuf>, key: &str| {
        let origin = node.get(key).map_or(&node.origin, |value| &value.origin).clone();
        path.map(|path| Written { path: base.join(path), origin })
    };
    Ok(PolicyFiles { file: written(file, "file"), releases: written(releases, "releases") })
}
