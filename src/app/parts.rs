//! A configuration turned into typed parts: what `run` builds, `validate` checks and a reload compares.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::classify::{RulesError, Tables};
use crate::config::{self, Config, ConfigError, Integration, Warning};
use crate::event::{Org, SourceName};
use crate::input::CoreConfig;
use crate::secret::SecretRef;
use crate::yaml::{self, Origin, section};
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
#[derive(Debug)]
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
    pub warnings: Vec<Warning>,
    needs: Vec<Need>,
}

/// Something outside the configuration that a part cannot do without.
#[derive(Debug)]
struct Need {
    origin: Option<Origin>,
    /// The part, as an operator calls it.
    part: String,
    what: Needed,
}

#[derive(Debug)]
enum Needed {
    Secret(SecretRef),
    File(PathBuf),
}

/// Why a configuration has no parts.
#[derive(Debug, Error)]
pub enum PartsError {
    /// A section is invalid, or a file of the configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The rules are invalid.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The folder of the rules cannot be read.
    #[error("cannot read `{}` (`rules` names a folder that holds `classify/*.yaml`)", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No source is configured.
    #[error("no source is configured (add `sources:` with an `okta`, a `kafka` or a `file` entry)")]
    NoSource,
}

impl From<yaml::Error> for PartsError {
    fn from(error: yaml::Error) -> Self {
        Self::Config(error.into())
    }
}

impl PartsError {
    /// Where the problem stands, if it stands anywhere, and what it is without that place.
    pub fn parts(&self) -> (Option<&Origin>, &(dyn std::error::Error + 'static)) {
        match self {
            Self::Config(error) => (error.origin.as_ref(), &error.problem),
            Self::Rules(RulesError::Yaml(error)) => (error.origin.as_ref(), &error.problem),
            Self::Rules(error) => (None, error),
            Self::Unreadable { .. } | Self::NoSource => (None, self),
        }
    }
}

impl Parts {
    /// The parts of a configuration; binds and connects nothing, and reads no secret.
    ///
    /// # Errors
    /// Where a section or a rules file is invalid, or nothing is to be read.
    pub fn of(config: &Config) -> Result<Self, PartsError> {
        let mut needs = Vec::new();
        if let Some(token) = &config.http.token {
            needs.push(Need { origin: None, part: "http.token".to_owned(), what: Needed::Secret(token.clone()) });
        }
        let (sources, warnings) = sources(config, &mut needs)?;
        let sinks = sinks(config, &mut needs)?;
        let tables = tables(config.rules.as_deref())?;
        let mut names: BTreeMap<Org, BTreeSet<SourceName>> = BTreeMap::new();
        for part in &sources {
            names.entry(part.org.clone()).or_default().insert(part.name.clone());
        }
        let core = config.core(&names);
        Ok(Self { sources, sinks, tables, core, warnings, needs })
    }

    /// Secrets and files that are not there now, each with the part that needs it; never a value. Secrets are read to
    /// find out, and files are not opened.
    pub fn missing(&self, lookup: &dyn Fn(&str) -> Option<String>) -> Vec<Warning> {
        let missing = |need: &Need| {
            let error: Box<dyn std::error::Error> = match &need.what {
                Needed::Secret(secret) => Box::new(secret.resolve(lookup).err()?),
                Needed::File(path) => Box::new(ConfigError::from(config::Problem::Unreadable {
                    path: path.clone(),
                    source: fs::metadata(path).err()?,
                })),
            };
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            Some(Warning { origin: need.origin.clone(), text: format!("`{}`: {error}{cause}", need.part) })
        };
        self.needs.iter().filter_map(missing).collect()
    }
}

/// The classification tables in a rules folder, or those inside the binary.
///
/// # Errors
/// Where a file cannot be read or is invalid.
pub fn tables(rules: Option<&Path>) -> Result<Tables, PartsError> {
    let Some(rules) = rules else { return Ok(Tables::embedded()) };
    let folder = rules.join("classify");
    let unreadable = |source| PartsError::Unreadable { path: folder.clone(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = config::read_file(&path, yaml::MAX_BYTES).map_err(ConfigError::from)?;
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    Ok(Tables::from_yaml(&files)?)
}

/// The sources, and one warning for each key of theirs that is not built.
fn sources(config: &Config, needs: &mut Vec<Need>) -> Result<(Vec<SourcePart>, Vec<Warning>), PartsError> {
    let mut warned = BTreeSet::new();
    let mut warnings = Vec::new();
    let mut sources: Vec<SourcePart> = Vec::new();
    for integration in &config.sources {
        let mut typed: source::Config = section(&integration.node)?;
        for key in typed.unbuilt() {
            if warned.insert(key) {
                let text = format!("`{key}` of a source is not built yet and is ignored");
                warnings.push(Warning::at(place(integration, key), text));
            }
        }
        typed.check().map_err(|why| ConfigError::invalid(&integration.origin, why))?;
        let invalid = |why| ConfigError::invalid(place(integration, "org"), why);
        let org = typed.org().map(|org| config::check_org(org).map_err(invalid)).transpose()?;
        let org = org.unwrap_or_else(|| config.org.clone());
        let name = unique_name(&sources, typed.kind(), &org);
        let mut need =
            |what| needs.push(Need { origin: Some(integration.origin.clone()), part: name.to_string(), what });
        for secret in typed.secrets() {
            secret.begin_at(&config.base);
            need(Needed::Secret(secret.clone()));
        }
        for path in typed.files() {
            if path.as_os_str() != "-" {
                *path = config.base.join(&*path);
                need(Needed::File(path.clone()));
            }
        }
        sources.push(SourcePart { name, org, config: typed });
    }
    if sources.is_empty() { Err(PartsError::NoSource) } else { Ok((sources, warnings)) }
}

fn sinks(config: &Config, needs: &mut Vec<Need>) -> Result<Vec<act::Config>, PartsError> {
    let mut names = BTreeSet::new();
    let mut sinks = Vec::new();
    for integration in &config.sinks {
        let mut sink: act::Config = section(&integration.node)?;
        let name = sink.name().to_owned();
        for secret in sink.secrets() {
            secret.begin_at(&config.base);
            let (origin, what) = (Some(integration.origin.clone()), Needed::Secret(secret.clone()));
            needs.push(Need { origin, part: name.clone(), what });
        }
        if names.contains(&name) {
            let why = format!("two sinks are called `{name}` (give one of them another `name`)");
            return Err(ConfigError::invalid(place(integration, "name"), why).into());
        }
        names.insert(name);
        sinks.push(sink);
    }
    Ok(sinks)
}

/// Where the value of a key stands; the integration itself where the key is not written.
fn place<'a>(integration: &'a Integration, key: &str) -> &'a Origin {
    let section = integration.node.get(integration.kind);
    section.and_then(|section| section.get(key)).map_or(&integration.origin, |value| &value.origin)
}

fn unique_name(taken: &[SourcePart], kind: &str, org: &Org) -> SourceName {
    let base = format!("{kind}:{org}");
    let candidates = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}")));
    let free = |name: &String| taken.iter().all(|part| part.name.as_str() != name);
    SourceName::new(candidates.into_iter().find(free).unwrap_or(base))
}
