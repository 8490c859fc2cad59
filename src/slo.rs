//! Objectives as people write them: OpenSLO v1 in YAML, read into the typed [`Slo`].
//!
//! Read: the kinds `SLO`, `SLI` (named by `indicatorRef`) and `Service`, in any number of files and documents, each with
//! `metricSource: {type: authwatch}`. Refused by name, with what to write instead: alert policies and conditions (the
//! four pairs of windows are built in, and one condition cannot hold a pair), data sources, calendar periods, periods
//! other than 28 and 30 days, budgets by time slices, several objectives in one SLO, and a target that puts a pair out of
//! reach. Everything is reported with file, line and column; nothing here opens a file.

mod document;
mod place;
mod source;

use std::collections::BTreeMap;
use std::path::Path;

use smol_str::SmolStr;

use crate::duration;
use crate::event::Span;
use crate::input::{Alerts, Slo};
use crate::judge::burn;
use crate::yaml::{self, Error, Node, Origin, Problem, section};
use document::{IndicatorSpec, Metadata, Objective, ServiceDoc, SliDoc, SloDoc, TimeWindow};
use place::place;

/// The objectives inside the binary: file name and text.
const EMBEDDED: [(&str, &str); 3] = [
    ("fastpass.yaml", include_str!("../rules/slo/fastpass.yaml")),
    ("sign-in.yaml", include_str!("../rules/slo/sign-in.yaml")),
    ("source.yaml", include_str!("../rules/slo/source.yaml")),
];

/// The most objectives of one deployment (invariant 7).
pub const MOST: usize = 50;
/// The fewest bad ones that alert, unless told otherwise.
const MIN_BAD: u32 = 10;
/// The longest description that OpenSLO allows.
const DESCRIPTION: usize = 1_050;

const API: &str = "openslo/v1";
const ALERTS: &str = "authwatch.io/alerts";
const MIN_BAD_EVENTS: &str = "authwatch.io/min-bad-events";
const TRIAGE: &str = "authwatch.io/triage";
const FALSE_POSITIVES: &str = "authwatch.io/false-positives";

/// The objectives inside the binary.
#[expect(clippy::expect_used, reason = "the texts are part of the build, and a test reads them")]
pub fn embedded() -> Vec<Slo> {
    let files = EMBEDDED.map(|(name, text)| (name.to_owned(), text.to_owned()));
    read(&files).expect("the objectives inside the binary are valid")
}

/// Reads objectives from files, given as name and text, in the order of their names.
///
/// # Errors
/// With the place of the first problem.
pub fn read(files: &[(String, String)]) -> Result<Vec<Slo>, Error> {
    let mut all = All::default();
    for (name, text) in files {
        for node in documents(text, Path::new(name))? {
            all.take(node)?;
        }
    }
    all.build()
}

/// The documents of one file. Each is read with empty lines in place of those before it, so that places stay true.
fn documents(text: &str, path: &Path) -> Result<Vec<Node>, Error> {
    let mut nodes = Vec::new();
    let mut one = String::new();
    let mut close = |one: &mut String, line: usize| {
        let node = yaml::parse(one, path)?;
        if !(node.entries().is_empty() && one.lines().all(|line| line.trim().is_empty() || line.starts_with('#'))) {
            nodes.push(node);
        }
        *one = "\n".repeat(line);
        Ok::<_, Error>(())
    };
    for (number, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            close(&mut one, number + 1)?;
        } else {
            one.push_str(line);
            one.push('\n');
        }
    }
    close(&mut one, 0)?;
    Ok(nodes)
}

fn invalid(origin: &Origin, text: impl Into<String>) -> Error {
    Error::at(origin, Problem::Invalid(text.into()))
}

/// Everything that the files hold.
#[derive(Default)]
struct All {
    slos: Vec<(SloDoc, Node)>,
    slis: BTreeMap<String, (IndicatorSpec, Node)>,
    services: BTreeMap<String, Origin>,
}

impl All {
    fn take(&mut self, node: Node) -> Result<(), Error> {
        let Some(kind) = node.get("kind") else {
            return Err(Error::at(&node.origin, Problem::MissingKey { key: "kind".into(), parent: None }));
        };
        let (kind, kind_at): (String, Origin) = (section(kind)?, kind.origin.clone());
        match kind.as_str() {
            "SLO" => {
                let slo: SloDoc = section(&node)?;
                check_head(&slo.api_version, &slo.metadata, &node)?;
                if let Some((other, _)) = self.slos.iter().find(|(other, _)| other.metadata.name == slo.metadata.name) {
                    let why = format!("there is another SLO called `{}`", other.metadata.name);
                    return Err(invalid(place(&node, &["metadata", "name"]), why));
                }
                self.slos.push((slo, node));
            }
            "SLI" => {
                let sli: SliDoc = section(&node)?;
                check_head(&sli.api_version, &sli.metadata, &node)?;
                if self.slis.contains_key(&sli.metadata.name) {
                    let why = format!("there is another SLI called `{}`", sli.metadata.name);
                    return Err(invalid(place(&node, &["metadata", "name"]), why));
                }
                self.slis.insert(sli.metadata.name, (sli.spec, node));
            }
            "Service" => {
                let service: ServiceDoc = section(&node)?;
                check_head(&service.api_version, &service.metadata, &node)?;
                self.services.insert(service.metadata.name, node.origin);
            }
            "AlertPolicy" | "AlertCondition" | "AlertNotificationTarget" => {
                return Err(invalid(
                    &kind_at,
                    format!(
                        "`{kind}` is not supported: the four pairs of windows are built in, and sinks stand in the \
                         configuration (set `{ALERTS}` to `page`, `ticket` or `none` on the SLO)"
                    ),
                ));
            }
            "DataSource" => {
                let why = "`DataSource` is not supported: authwatch measures itself (write `metricSource: {type: authwatch}`)";
                return Err(invalid(&kind_at, why));
            }
            _ => return Err(invalid(&kind_at, "unknown kind (expected one of `SLO`, `SLI`, `Service`)")),
        }
        Ok(())
    }

    fn build(self) -> Result<Vec<Slo>, Error> {
        let mut slos = Vec::new();
        for (document, node) in &self.slos {
            if slos.len() == MOST {
                return Err(invalid(&node.origin, format!("more than {MOST} SLOs")));
            }
            if !self.services.is_empty() && !self.services.contains_key(&document.spec.service) {
                let why = format!("there is no Service called `{}`", document.spec.service);
                return Err(invalid(place(node, &["spec", "service"]), why));
            }
            slos.push(self.slo(document, node)?);
        }
        slos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(slos)
    }

    fn slo(&self, document: &SloDoc, node: &Node) -> Result<Slo, Error> {
        let (metadata, spec) = (&document.metadata, &document.spec);
        if let Some(policies) = node.get("spec").and_then(|spec| spec.get("alertPolicies")) {
            let why = format!(
                "`alertPolicies` is not supported: the four pairs of windows are built in (set `{ALERTS}` to `page`, \
                 `ticket` or `none`)"
            );
            return Err(invalid(&policies.origin, why));
        }
        if spec.budgeting_method != "Occurrences" {
            let why = "only `Occurrences` is supported (lag counts by minutes of the source's clock)";
            return Err(invalid(place(node, &["spec", "budgetingMethod"]), why));
        }
        if spec.description.chars().count() > DESCRIPTION {
            let why = format!("longer than OpenSLO's {DESCRIPTION} characters");
            return Err(invalid(place(node, &["spec", "description"]), why));
        }
        let days = days(&spec.time_window, node)?;
        let [objective] = spec.objectives.as_slice() else {
            let why = "exactly one objective is supported (write an SLO for each)";
            return Err(invalid(place(node, &["spec", "objectives"]), why));
        };
        let at_objective = place(node, &["spec", "objectives", "0"]);
        let target = target(objective, node)?;
        let (indicator_spec, indicator_node) = self.indicator(document, node)?;
        let indicator = source::indicator(indicator_spec, indicator_node, objective, at_objective)?;
        let alerts = alerts(metadata, node)?;
        let period = Span::hours(24 * i64::from(days));
        if let Some(pair) = burn::unreachable(target, period, alerts) {
            return Err(invalid(at_objective, out_of_reach(target, pair, period)));
        }
        let note = |key: &str| match metadata.annotations.get(key).map(|text| text.trim()) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ if alerts == Alerts::None => Ok(String::new()),
            _ => {
                let why = format!("an SLO that alerts needs the annotation `{key}`");
                Err(invalid(place(node, &["metadata", "annotations"]), why))
            }
        };
        Ok(Slo {
            name: SmolStr::new(&metadata.name),
            title: metadata.display_name.clone().unwrap_or_else(|| metadata.name.clone()),
            description: spec.description.split_whitespace().collect::<Vec<_>>().join(" "),
            target,
            days,
            indicator,
            alerts,
            min_bad: min_bad(metadata, node)?,
            triage: note(TRIAGE)?,
            false_positives: note(FALSE_POSITIVES)?,
        })
    }

    /// The indicator of an SLO with the node that it stands in: its own, or the SLI that it names.
    fn indicator<'a>(&'a self, document: &'a SloDoc, node: &'a Node) -> Result<(&'a IndicatorSpec, &'a Node), Error> {
        match (&document.spec.indicator, &document.spec.indicator_ref) {
            (Some(own), None) => {
                let inner = node.get("spec").and_then(|spec| spec.get("indicator")).unwrap_or(node);
                Ok((&own.spec, inner))
            }
            (None, Some(name)) => match self.slis.get(name) {
                Some((spec, node)) => Ok((spec, node)),
                None => {
                    let why = format!("there is no SLI called `{name}`");
                    Err(invalid(place(node, &["spec", "indicatorRef"]), why))
                }
            },
            _ => Err(invalid(place(node, &["spec"]), "one of `indicator` and `indicatorRef` is needed")),
        }
    }
}

fn check_head(api: &str, metadata: &Metadata, node: &Node) -> Result<(), Error> {
    if api != API {
        return Err(invalid(place(node, &["apiVersion"]), format!("only `{API}` is supported")));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let name = &metadata.name;
    if name.is_empty() || name.len() > 63 || !name.bytes().all(allowed) || name.starts_with('-') || name.ends_with('-')
    {
        let why = "a name has 1 to 63 of lower-case letters, digits and `-`, and neither begins nor ends with `-`";
        return Err(invalid(place(node, &["metadata", "name"]), why));
    }
    let known = [ALERTS, MIN_BAD_EVENTS, TRIAGE, FALSE_POSITIVES];
    let ours = |key: &&String| key.starts_with("authwatch.io/") && !known.contains(&key.as_str());
    if let Some(key) = metadata.annotations.keys().find(ours) {
        let expected = known.map(str::to_owned).into();
        let problem = Problem::UnknownKey { key: key.clone(), expected };
        return Err(Error::at(place(node, &["metadata", "annotations", key]), problem));
    }
    Ok(())
}

/// The one rolling window.
fn days(windows: &[TimeWindow], node: &Node) -> Result<u8, Error> {
    let at = place(node, &["spec", "timeWindow"]);
    let [window] = windows else { return Err(invalid(at, "exactly one time window is needed")) };
    if !window.is_rolling || window.calendar.is_some() {
        return Err(invalid(at, "only rolling windows are supported (write `isRolling: true`, and no `calendar`)"));
    }
    let span = duration::parse(&window.duration).map_err(|error| invalid(at, error.to_string()))?;
    match span.0 / Span::hours(24).0 {
        days @ (28 | 30) if span == Span::hours(24 * days) => Ok(days as u8),
        _ => Err(invalid(at, "the period must be `28d` or `30d`: burn rates are worked out for these")),
    }
}

fn target(objective: &Objective, node: &Node) -> Result<f64, Error> {
    let (target, key) = match (objective.target, objective.target_percent) {
        (Some(target), None) => (target, "target"),
        (None, Some(percent)) => (percent / 100.0, "targetPercent"),
        _ => {
            let why = "one of `target` and `targetPercent` is needed";
            return Err(invalid(place(node, &["spec", "objectives", "0"]), why));
        }
    };
    if target > 0.0 && target < 1.0 {
        return Ok(target);
    }
    let why = "a target is above 0 and below 1 (100 %): without a budget there is nothing to use up";
    Err(invalid(place(node, &["spec", "objectives", "0", key]), why))
}

fn out_of_reach(target: f64, pair: &burn::Pair, period: Span) -> String {
    format!(
        "at a target of {} % nothing burns faster than {:.1}, so the pair of {} and {}, which fires above {:.4}, never \
         would (raise the target above {:.2} %, or set `{ALERTS}` to `{}`)",
        (target * 1e6).round() / 1e4,
        1.0 / (1.0 - target),
        duration::format(pair.long),
        duration::format(pair.short),
        pair.factor(period),
        pair.least_target(period) * 100.0,
        if pair.severity == crate::action::Severity::Page { "ticket" } else { "none" },
    )
}

fn alerts(metadata: &Metadata, node: &Node) -> Result<Alerts, Error> {
    match metadata.annotations.get(ALERTS).map(String::as_str) {
        None | Some("page") => Ok(Alerts::Page),
        Some("ticket") => Ok(Alerts::Ticket),
        Some("none") => Ok(Alerts::None),
        Some(found) => {
            let expected = ["page", "ticket", "none"].map(str::to_owned).into();
            let problem = Problem::UnknownWord { found: found.to_owned(), expected };
            Err(Error::at(place(node, &["metadata", "annotations", ALERTS]), problem))
        }
    }
}

fn min_bad(metadata: &Metadata, node: &Node) -> Result<u32, Error> {
    let Some(text) = metadata.annotations.get(MIN_BAD_EVENTS) else { return Ok(MIN_BAD) };
    text.parse().ok().filter(|least| *least > 0).ok_or_else(|| {
        invalid(place(node, &["metadata", "annotations", MIN_BAD_EVENTS]), "expected a whole number from 1")
    })
}

#[cfg(test)]
#[path = "slo/tests.rs"]
mod tests;
