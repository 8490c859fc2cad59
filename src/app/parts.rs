//! A configuration turned into typed parts: what `run` builds, `validate` checks and a reload compares.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::classify::{RulesError, Tables};
use crate::config::{Config, ConfigError, section};
use crate::event::{Org, SourceName};
use crate::input::CoreConfig;
use crate::{act, source};

/// One source with its name and org.
#[derive(Clone, PartialEq, Debug)]
pub struct SourcePart {
    /// Unique in the process: `okta:acme`, the second of its kind and org `okta:acme-2`.
    pub name: SourceName,
    /// The org that its events belong to.
    pub org: Org,
    /// Its own section.
    pub config: source::Config,
}

/// The typed parts.
pub struct Parts {
    /// Sources in the order of the file.
    pub sources: Vec<SourcePart>,
    /// Sinks in the order of the file.
    pub sinks: Vec<act::Config>,
    /// The classification tables.
    pub tables: Tables,
    /// The core's configuration.
    pub core: CoreConfig,
    /// What was accepted and is ignored, beside [`Config::warnings`].
    pub warnings: Vec<String>,
}

/// Why a configuration has no parts.
#[derive(Debug, Error)]
pub enum PartsError {
    /// A section is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A rules file is invalid.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// A rules file cannot be read.
    #[error("cannot read `{}` (`rules` names a folder that holds `classify/*.yaml`)", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No source is configured.
    #[error("no source is configured (add `sources:` with an `okta` or a `file` entry)")]
    NoSource,
    /// Two sinks share a name.
    #[error("two sinks are called `{0}` (give one of them another `name`)")]
    SameSink(String),
}

impl Parts {
    /// The parts of a configuration; binds and connects nothing.
    ///
    /// # Errors
    /// Where a section or a rules file is invalid, or nothing is to be read.
    pub fn of(config: &Config) -> Result<Self, PartsError> {
        let mut warnings = Vec::new();
        let mut sources: Vec<SourcePart> = Vec::new();
        for integration in &config.sources {
            let typed: source::Config = section(&integration.node)?;
            warnings.extend(
                typed.unbuilt().iter().map(|key| format!("`{key}` of a source is not built yet and is ignored")),
            );
            let org = typed.org().map_or_else(|| config.org.clone(), Org::new);
            let name = unique_name(&sources, typed.kind(), &org);
            sources.push(SourcePart { name, org, config: typed });
        }
        if sources.is_empty() {
            return Err(PartsError::NoSource);
        }
        let sinks = sinks(config)?;
        let tables = tables(config.rules.as_deref())?;
        let mut names: BTreeMap<Org, BTreeSet<SourceName>> = BTreeMap::new();
        for part in &sources {
            names.entry(part.org.clone()).or_default().insert(part.name.clone());
        }
        let core = config.core(&names);
        warnings.dedup();
        Ok(Self { sources, sinks, tables, core, warnings })
    }
}

/// The classification tables in a rules folder, or those inside the binary.
///
/// # Errors
/// Where a file cannot be read or is invalid.
pub fn tables(rules: Option<&Path>) -> Result<Tables, PartsError> {
    let Some(rules) = rules else { return Ok(Tables::embedded()) };
    let folder = rules.join("classify");
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| PartsError::Unreadable { path, source }
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable(&folder))? {
        let path = entry.map_err(unreadable(&folder))?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    Ok(Tables::from_yaml(&files)?)
}

fn sinks(config: &Config) -> Result<Vec<act::Config>, PartsError> {
    let mut names = BTreeSet::new();
    let mut sinks = Vec::new();
    for integration in &config.sinks {
        let sink: act::Config = section(&integration.node)?;
        if let Some(name) = sink.name()
            && !names.insert(name.to_owned())
        {
            return Err(PartsError::SameSink(name.to_owned()));
        }
        sinks.push(sink);
    }
    Ok(sinks)
}

fn unique_name(taken: &[SourcePart], kind: &str, org: &Org) -> SourceName {
    let base = format!("{kind}:{org}");
    let candidates = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}")));
    let free = |name: &String| taken.iter().all(|part| part.name.as_str() != name);
    SourceName::new(candidates.into_iter().find(free).unwrap_or(base))
}
