//! The configuration: one YAML file, read into types that cannot hold a bad value.
//!
//! The way of a value: YAML with line and column, then `${NAME}` references, then `AUTHWATCH_SECTION__KEY` overrides,
//! then types. Whatever is wrong is reported with its place and the nearest name that would be right. Unknown keys are
//! errors. Keys of the design whose part is not built yet are accepted with one [`Warning`] each.
//!
//! A source or a sink owns its part of the file; here it stays a [`Node`] that its owner reads with [`section`].

mod environment;
mod error;
mod expand;
mod file;
mod incidents;
mod integration;
mod judge;
mod limits;
mod number;
mod overrides;
mod people;
mod policies;
mod proxies;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::event::{Network, Org, SourceName, Span};
use crate::input::{Cohort, CoreConfig, OrgConfig};
use crate::secret::vault;
use crate::yaml::{self, Node, Origin, section};
use crate::{duration, telemetry, web};

pub use environment::Environment;
pub use error::{ConfigError, Problem};
pub(crate) use file::read as read_file;
pub use incidents::Incidents;
pub use integration::Integration;
pub use judge::Judge;
pub use limits::Limits;
pub use people::BreakGlass;
pub use policies::{PolicyFiles, Written};

/// Where the web server listens unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// Where state is kept unless told otherwise.
const STATE_DIR: &str = "/var/lib/authwatch";
/// How late a source may be within its own order, unless told otherwise (design, invariant 2).
const LATENESS: Span = Span::seconds(20);
/// How long a shutdown may take unless told otherwise.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);

/// The whole configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The folder of the file; relative paths begin there.
    pub base: PathBuf,
    /// The label on everything of the default org. Required.
    pub org: Org,
    /// Where positions, journal, snapshots and the outbox are kept; `/var/lib/authwatch` by default.
    pub state_dir: PathBuf,
    /// Where the web server listens; 127.0.0.1:9464 by default. Beyond loopback, `http.token` is required.
    pub listen: SocketAddr,
    /// A folder of rules instead of those inside the binary.
    pub rules: Option<PathBuf>,
    /// Sources that are built, in order.
    pub sources: Vec<Integration>,
    /// Sinks that are built, in order.
    pub sinks: Vec<Integration>,
    /// The people of the default org, and of every org without its own.
    pub people: People,
    /// Files of policies of the default org, and of no other: an id of one org means nothing in another.
    pub policies: PolicyFiles,
    /// Orgs with their own people and policies.
    pub orgs: BTreeMap<Org, OrgPeople>,
    /// Networks whose hops are not the client's; none by default. For what explains an event; nothing else uses it.
    pub proxies: Vec<Network>,
    /// Access to the web server.
    pub http: web::Config,
    /// The vault that secrets can be in.
    pub vault: Option<vault::Config>,
    /// When refusals are a cause.
    pub judge: Judge,
    /// The life cycle of an incident.
    pub incidents: Incidents,
    /// How late a source may be within its own order; 20 s by default. Every judgement waits that long.
    pub lateness: Span,
    /// The bounds of what is held in memory.
    pub limits: Limits,
    /// Log lines.
    pub log: telemetry::log::Config,
    /// How long a shutdown may take before connections are cut; 20 s by default.
    pub shutdown_grace: Duration,
    /// What was accepted and is ignored.
    pub warnings: Vec<Warning>,
}

/// Who is in which cohort, and who is in none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct People {
    /// Cohorts in the order of the file; the first that holds a person wins.
    pub cohorts: Vec<Cohort>,
    /// People who are left out of every judgement.
    pub break_glass: BreakGlass,
}

/// What one org overrides; `None` is as for the default org, but for its policies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OrgPeople {
    /// Its cohorts.
    pub cohorts: Option<Vec<Cohort>>,
    /// Its people who are left out.
    pub break_glass: Option<BreakGlass>,
    /// Files of its policies.
    pub policies: Option<PolicyFiles>,
}

/// Something that was accepted and is ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Where it stands; `None` where it is about no one place.
    pub origin: Option<Origin>,
    /// What and why.
    pub text: String,
}

impl Warning {
    /// A warning about a place.
    pub fn at(origin: &Origin, text: String) -> Self {
        Self { origin: Some(origin.clone()), text }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// The file as serde sees it. What is [`IgnoredAny`] is read from its node, for its order, place or owner.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    #[serde(deserialize_with = "org_name")]
    org: Org,
    #[serde(default = "state_dir")]
    state_dir: PathBuf,
    #[serde(default = "listen", deserialize_with = "address")]
    listen: SocketAddr,
    rules: Option<PathBuf>,
    #[serde(rename = "sources")]
    _sources: Option<IgnoredAny>,
    #[serde(rename = "sinks")]
    _sinks: Option<IgnoredAny>,
    #[serde(rename = "cohorts")]
    _cohorts: Option<IgnoredAny>,
    #[serde(rename = "break_glass")]
    _break_glass: Option<IgnoredAny>,
    #[serde(rename = "policies")]
    _policies: Option<IgnoredAny>,
    #[serde(rename = "orgs")]
    _orgs: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "proxies::list")]
    proxies: Vec<Network>,
    #[serde(default)]
    http: web::Config,
    vault: Option<vault::Config>,
    #[serde(default)]
    judge: Judge,
    #[serde(default)]
    incidents: Incidents,
    #[serde(default = "lateness", deserialize_with = "duration::deserialize")]
    lateness: Span,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    log: telemetry::log::Config,
    #[serde(default = "shutdown_grace", deserialize_with = "duration::deserialize_std")]
    shutdown_grace: Duration,
}

/// One entry of `orgs`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrgRoot {
    #[serde(rename = "cohorts")]
    _cohorts: Option<IgnoredAny>,
    #[serde(rename = "break_glass")]
    _break_glass: Option<IgnoredAny>,
    #[serde(rename = "policies")]
    _policies: Option<IgnoredAny>,
}

impl Config {
    /// Reads a configuration file and the files of cohorts that it names; binds and connects nothing.
    ///
    /// # Errors
    /// With the place of the first problem.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let text = file::read(path, yaml::MAX_BYTES)?;
        Self::parse(&text, path, environment)
    }

    /// Reads a configuration from a text that is said to stand in `path`.
    ///
    /// # Errors
    /// With the place of the first problem.
    pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let mut tree = yaml::parse(text, path)?;
        expand::expand(&mut tree, environment)?;
        overrides::apply(&mut tree, environment)?;
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        Self::from_tree(&tree, base)
    }

    fn from_tree(tree: &Node, base: PathBuf) -> Result<Self, ConfigError> {
        let mut root: Root = section(tree)?;
        if let Some(token) = &mut root.http.token {
            token.begin_at(&base);
        }
        if let Some(vault) = &mut root.vault {
            let origin = tree.get("vault").map_or(&tree.origin, |node| &node.origin);
            vault.check().map_err(|why| ConfigError::invalid(origin, why))?;
            vault.begin_at(&base);
        }
        let mut warnings = Vec::new();
        let list = |key, kinds, warnings: &mut Vec<Warning>| match tree.get(key) {
            Some(node) => integration::read(node, kinds, warnings),
            None => Ok(Vec::new()),
        };
        let sources = list("sources", &integration::SOURCES, &mut warnings)?;
        let sinks = list("sinks", &integration::SINKS, &mut warnings)?;
        let own = org_people(tree, &base)?;
        let orgs = orgs(tree, &base)?;
        require_token(tree, root.listen, &root.http)?;
        Ok(Self {
            rules: root.rules.map(|rules| base.join(rules)),
            state_dir: base.join(root.state_dir),
            base,
            org: root.org,
            listen: root.listen,
            sources,
            sinks,
            people: People {
                cohorts: own.cohorts.unwrap_or_default(),
                break_glass: own.break_glass.unwrap_or_default(),
            },
            policies: own.policies.unwrap_or_default(),
            orgs,
            proxies: root.proxies,
            http: root.http,
            vault: root.vault,
            judge: root.judge,
            incidents: root.incidents,
            lateness: root.lateness,
            limits: root.limits,
            log: root.log,
            shutdown_grace: root.shutdown_grace,
            warnings,
        })
    }

    /// The files of an org's policies.
    pub fn policies_of(&self, org: &Org) -> PolicyFiles {
        let own = self.orgs.get(org).and_then(|own| own.policies.as_ref());
        own.or((*org == self.org).then_some(&self.policies)).cloned().unwrap_or_default()
    }

    /// The core's part, for the orgs that have sources; objectives and what files of policies say are
    /// added by who reads them.
    pub fn core(&self, sources: &BTreeMap<Org, BTreeSet<SourceName>>) -> CoreConfig {
        let orgs = sources.iter().map(|(org, sources)| {
            let own = self.orgs.get(org);
            let cohorts = own.and_then(|own| own.cohorts.as_ref()).unwrap_or(&self.people.cohorts).clone();
            let BreakGlass { users, groups } =
                own.and_then(|own| own.break_glass.as_ref()).unwrap_or(&self.people.break_glass).clone();
            let people = OrgConfig { cohorts, break_glass: users, break_glass_groups: groups, ..OrgConfig::default() };
            (org.clone(), OrgConfig { sources: sources.clone(), ..people })
        });
        CoreConfig {
            orgs: orgs.collect(),
            lateness: self.lateness,
            judge: (&self.judge).into(),
            incident: (&self.incidents).into(),
            limits: (&self.limits).into(),
            slos: Vec::new(),
        }
    }
}

fn org_people(node: &Node, base: &Path) -> Result<OrgPeople, ConfigError> {
    Ok(OrgPeople {
        cohorts: node.get("cohorts").map(|node| people::cohorts(node, base)).transpose()?,
        break_glass: node.get("break_glass").filter(|node| !node.is_null()).map(people::break_glass).transpose()?,
        policies: node.get("policies").map(|node| policies::read(node, base)).transpose()?,
    })
}

fn orgs(tree: &Node, base: &Path) -> Result<BTreeMap<Org, OrgPeople>, ConfigError> {
    let Some(node) = tree.get("orgs") else { return Ok(BTreeMap::new()) };
    let mut orgs = BTreeMap::new();
    for name in section::<BTreeMap<String, OrgRoot>>(node)?.into_keys() {
        let Some(entry) = node.entries().iter().find(|entry| entry.key == name) else { continue };
        let org = check_org(&name).map_err(|why| ConfigError::invalid(&entry.origin, why))?;
        orgs.insert(org, org_people(&entry.value, base)?);
    }
    Ok(orgs)
}

/// Reading is open on loopback only (design, section 8).
fn require_token(tree: &Node, listen: SocketAddr, http: &web::Config) -> Result<(), ConfigError> {
    if listen.ip().to_canonical().is_loopback() || http.token.is_some() {
        return Ok(());
    }
    let origin = tree.get("listen").map_or(&tree.origin, |node| &node.origin);
    let text =
        "other machines can reach this address, so reading needs a token (set `http.token`, or listen on `127.0.0.1`)";
    Err(ConfigError::invalid(origin, text))
}

/// The label of an org, or why a name is none.
pub(crate) fn check_org(name: &str) -> Result<Org, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return Err("the name of an org must have 1 to 64 of letters, digits, `-`, `_` and `.`");
    }
    Ok(Org::new(name))
}

fn org_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Org, D::Error> {
    check_org(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| serde::de::Error::custom("expected an IP address and a port (as `127.0.0.1:9464`)"))
}

fn state_dir() -> PathBuf {
    PathBuf::from(STATE_DIR)
}

const fn listen() -> SocketAddr {
    LISTEN
}

const fn lateness() -> Span {
    LATENESS
}

const fn shutdown_grace() -> Duration {
    SHUTDOWN_GRACE
}
