//! A configuration turned into typed parts: what `run` builds, `validate` checks and a reload compares.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use smol_str::SmolStr;
use thiserror::Error;

use super::policies::{self, FilePolicies};
use crate::classify::{RulesError, Tables};
use crate::config::{self, Config, ConfigError, Integration, Warning};
use crate::event::{Org, SourceName};
use crate::input::{CoreConfig, OrgConfig, PolicySource, Slo};
use crate::secret::{SecretError, SecretRef};
use crate::yaml::{self, Origin, section};
use crate::{act, slo, source};

/// One source with its name and org.
#[derive(Clone, PartialEq, Debug)]
pub struct SourcePart {
    /// Unique in the process: `okta:acme`, the second of its kind and org `okta:acme-2`.
    pub name: SourceName,
    /// The org that its events belong to.
    pub org: Org,
    /// Its own section.
    pub config: source::Config,
    /// Whether it reads the people of groups for its org: one `okta` source of an org does.
    pub reads_groups: bool,
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
    /// What files of policies say, for the orgs whose policies are not read from Okta.
    pub policies: FilePolicies,
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
        if let Some(vault) = &config.vault {
            let what = Needed::Secret(vault.credential());
            needs.push(Need { origin: None, part: "vault.auth".to_owned(), what });
        }
        if let Some(token) = &config.http.token {
            needs.push(Need { origin: None, part: "http.token".to_owned(), what: Needed::Secret(token.clone()) });
        }
        let sources = sources(config, &mut needs)?;
        let mut warnings = Vec::new();
        let sinks = sinks(config, &mut needs, &mut warnings)?;
        if config.vault.is_none() {
            refuse_vault_references(&needs)?;
        }
        let tables = tables(config.rules.as_deref())?;
        let mut names: BTreeMap<Org, BTreeSet<SourceName>> = BTreeMap::new();
        for part in &sources {
            names.entry(part.org.clone()).or_default().insert(part.name.clone());
        }
        let mut core = config.core(&names);
        core.slos = slos(config.rules.as_deref())?;
        let mut policies = policies::read(config, &mut core)?;
        warnings.extend(yield_to_okta(&sources, &mut core, &mut policies));
        warnings.extend(unread_groups(&sources, &core));
        Ok(Self { sources, sinks, tables, core, policies, warnings, needs })
    }

    /// Every reference to a secret with the part that needs it.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &SecretRef)> {
        self.needs.iter().filter_map(|need| match &need.what {
            Needed::Secret(secret) => Some((need.part.as_str(), secret)),
            Needed::File(_) => None,
        })
    }

    /// Secrets and files that are not there now, each with the part that needs it; never a value. Secrets are read to
    /// find out, but for those in a vault, and files are not opened.
    pub fn missing(&self, lookup: &dyn Fn(&str) -> Option<String>) -> Vec<Warning> {
        let missing = |need: &Need| {
            let error: Box<dyn std::error::Error> = match &need.what {
                Needed::Secret(SecretRef::Vault(_)) => return None,
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

/// A reference into a vault needs one.
fn refuse_vault_references(needs: &[Need]) -> Result<(), ConfigError> {
    for need in needs {
        if let Needed::Secret(SecretRef::Vault(path)) = &need.what {
            let problem = yaml::Problem::Invalid(SecretError::NoVault(path.clone()).to_string());
            return Err(ConfigError { origin: need.origin.clone(), problem: problem.into() });
        }
    }
    Ok(())
}

/// The classification tables in a rules folder, or those inside the binary.
///
/// # Errors
/// Where a file cannot be read or is invalid.
pub fn tables(rules: Option<&Path>) -> Result<Tables, PartsError> {
    let Some(rules) = rules else { return Ok(Tables::embedded()) };
    Ok(Tables::from_yaml(&yaml_files(&rules.join("classify"))?)?)
}

/// The objectives in a rules folder; those inside the binary where it has no `slo`.
///
/// # Errors
/// Where a file cannot be read or is invalid.
pub fn slos(rules: Option<&Path>) -> Result<Vec<Slo>, PartsError> {
    match rules.map(|rules| rules.join("slo")).filter(|folder| folder.exists()) {
        Some(folder) => Ok(slo::read(&yaml_files(&folder)?)?),
        None => Ok(slo::embedded()),
    }
}

/// Name and text of every `*.yaml` in a folder, by name.
fn yaml_files(folder: &Path) -> Result<Vec<(String, String)>, PartsError> {
    let unreadable = |source| PartsError::Unreadable { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = config::read_file(&path, yaml::MAX_BYTES).map_err(ConfigError::from)?;
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    Ok(files)
}

/// The names of the sinks in the order of the file.
///
/// # Errors
/// Where a section is invalid.
pub fn sink_names(config: &Config) -> Result<Vec<String>, PartsError> {
    let sinks = sinks(config, &mut Vec::new(), &mut Vec::new())?;
    Ok(sinks.iter().map(|sink| sink.name().to_owned()).collect())
}

/// The groups whose people each org has to know: those of cohorts, of break-glass people, and of a file's policies.
pub fn groups(core: &CoreConfig, policies: &FilePolicies) -> BTreeMap<Org, BTreeSet<SmolStr>> {
    let of_org = |(name, org): (&Org, &OrgConfig)| {
        let mut groups = configured_groups(org);
        groups.extend(policies.get(name).map(|policies| policies.groups()).unwrap_or_default());
        (name.clone(), groups)
    };
    core.orgs.iter().map(of_org).collect()
}

fn configured_groups(org: &OrgConfig) -> BTreeSet<SmolStr> {
    org.cohorts.iter().flat_map(|cohort| &cohort.groups).chain(&org.break_glass_groups).cloned().collect()
}

/// Okta's own word goes before a file's: an org whose policies are read from it has no file in force.
fn yield_to_okta(sources: &[SourcePart], core: &mut CoreConfig, policies: &mut FilePolicies) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for part in sources.iter().filter(|part| part.config.reads_policies()) {
        if let Some(org) = core.orgs.get_mut(&part.org) {
            org.policies = Some(PolicySource::Api);
        }
        if policies.remove(&part.org).is_some() {
            let text = format!("`{}` reads the policies from Okta, so those of the file are not used", part.name);
            warnings.push(Warning { origin: None, text });
        }
    }
    warnings
}

/// One warning for each org that names groups and has no source that can read them.
fn unread_groups(sources: &[SourcePart], core: &CoreConfig) -> Vec<Warning> {
    let can_read = |org: &Org| sources.iter().any(|part| part.reads_groups && part.org == *org);
    let unread = core.orgs.iter().filter(|(name, org)| !configured_groups(org).is_empty() && !can_read(name));
    let warnings = unread.map(|(name, org)| {
        let by_group = org.cohorts.iter().filter(|cohort| !cohort.groups.is_empty());
        let mut holders: Vec<String> = by_group.map(|cohort| format!("cohort `{}`", cohort.name)).collect();
        if !org.break_glass_groups.is_empty() {
            holders.push("`break_glass.groups`".to_owned());
        }
        let holders = holders.join(", ");
        let text = format!("`{name}` has no `okta` source that could read groups, so they hold nobody: {holders}");
        Warning { origin: None, text }
    });
    warnings.collect()
}

fn sources(config: &Config, needs: &mut Vec<Need>) -> Result<Vec<SourcePart>, PartsError> {
    let mut sources: Vec<SourcePart> = Vec::new();
    for integration in &config.sources {
        let mut typed: source::Config = section(&integration.node)?;
        typed.check().map_err(|why| ConfigError::invalid(&integration.origin, why))?;
        let invalid = |why| ConfigError::invalid(place(integration, "org"), why);
        let org = typed.org().map(|org| config::check_org(org).map_err(invalid)).transpose()?;
        let org = org.unwrap_or_else(|| config.org.clone());
        let name = unique_name(&sources, typed.kind(), &org);
        let reads_policies = |part: &&SourcePart| part.org == org && part.config.reads_policies();
        if let Some(other) = sources.iter().find(reads_policies).filter(|_| typed.reads_policies()) {
            let why =
                format!("`{}` reads the policies of `{org}` already (leave `policies` on one of them)", other.name);
            return Err(ConfigError::invalid(place(integration, "policies"), why).into());
        }
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
        sources.push(SourcePart { name, org, config: typed, reads_groups: false });
    }
    choose_group_readers(&mut sources);
    if sources.is_empty() { Err(PartsError::NoSource) } else { Ok(sources) }
}

/// Of each org's `okta` sources the one that reads policies reads groups too, else the first.
fn choose_group_readers(sources: &mut [SourcePart]) {
    let mut have = BTreeSet::new();
    for with_policies in [true, false] {
        for part in &mut *sources {
            let fits = matches!(part.config, source::Config::Okta(_)) && part.config.reads_policies() == with_policies;
            part.reads_groups |= fits && have.insert(part.org.clone());
        }
    }
}

/// The sinks; each has read the files that it names.
fn sinks(config: &Config, needs: &mut Vec<Need>, warnings: &mut Vec<Warning>) -> Result<Vec<act::Config>, PartsError> {
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
        sink.load(&config.base).map_err(|flaw| ConfigError::invalid(place(integration, flaw.key), flaw.text))?;
        let warned = sink.warnings().into_iter();
        warnings.extend(warned.map(|remark| Warning::at(place(integration, remark.key), remark.text)));
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
