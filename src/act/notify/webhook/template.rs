//! The body of a request: a template's, or the incident as JSON. Pure.
//!
//! Templates are minijinja's. The fields of the incident stand at the top, beside `step`, `revision`, `at`,
//! `description` and `note`; an unknown name is an error. Where the body is JSON, what is printed is written as JSON:
//! `{"text": {{ title }}}` gives a quoted and escaped text. A template opens no file and runs out of fuel.

use std::path::PathBuf;
use std::{fmt, io};

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use thiserror::Error;

use crate::action::{Evidence, Incident, IncidentAction, IncidentStep, Severity, Suspect};
use crate::event::{Check, CheckVerdict, Org, PostureCheck, Timestamp};

/// Instructions that one rendering may take; a page of text takes hundreds.
const FUEL: u64 = 200_000;

/// A template as configured: `"text"`, `{inline: "text"}` or `{file: path}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// In the configuration.
    Inline(String),
    /// In a file, with its text once it was read.
    File(PathBuf, Option<String>),
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Named {
            Inline(String),
            File(PathBuf),
        }
        struct AnySource;
        impl<'de> Visitor<'de> for AnySource {
            type Value = Source;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a template, or `{file: path}`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Source, E> {
                Ok(Source::Inline(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
                let named = Named::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(match named {
                    Named::Inline(text) => Source::Inline(text),
                    Named::File(path) => Source::File(path, None),
                })
            }
        }
        deserializer.deserialize_any(AnySource)
    }
}

/// Why a template cannot work.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no template, or fails on an incident.
    #[error("{}", words(.0))]
    Template(#[from] minijinja::Error),
    /// It gives something else than JSON.
    #[error(
        "with step `{step}` it gives no valid JSON: {source} (print texts as `{{{{ title }}}}`, without quotes around it)"
    )]
    NoJson {
        /// The step that the sample had.
        step: &'static str,
        /// Why, with the line of the result.
        source: serde_json::Error,
    },
    /// It was not read before it was needed.
    #[error("the template was not loaded")]
    NotLoaded,
}

/// `line 3: unknown filter: filter x is unknown`.
fn words(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let hint = if error.kind() == ErrorKind::UndefinedError { " (no such field)" } else { "" };
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{line}{}{detail}{hint}", error.kind())
}

impl Source {
    fn text(&self) -> Result<&str, TemplateError> {
        match self {
            Self::Inline(text) | Self::File(_, Some(text)) => Ok(text),
            Self::File(_, None) => Err(TemplateError::NotLoaded),
        }
    }

    /// The body for an action.
    pub(super) fn render(&self, action: &IncidentAction, is_json: bool) -> Result<String, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(move |_| if is_json { AutoEscape::Json } else { AutoEscape::None });
        environment.set_fuel(Some(FUEL));
        let template = environment.template_from_str(self.text()?)?;
        Ok(template.render(Serde(fields(action)))?)
    }

    /// Renders every step of an incident whose texts have all that needs care, and checks what comes out.
    pub(super) fn check(&self, is_json: bool) -> Result<(), TemplateError> {
        for action in samples() {
            let body = self.render(&action, is_json)?;
            if is_json {
                let step = action.step.as_str();
                let parsed = serde_json::from_str::<de::IgnoredAny>(&body);
                parsed.map_err(|source| TemplateError::NoJson { step, source })?;
            }
        }
        Ok(())
    }
}

/// The incident as the API shows it, with the step.
pub(super) fn fields(action: &IncidentAction) -> serde_json::Value {
    let mut fields = serde_json::to_value(&action.incident).unwrap_or_default();
    let step = serde_json::json!({
        "step": action.step,
        "revision": action.revision,
        "at": action.at,
        "description": action.description,
        "note": action.note,
    });
    if let (Some(fields), serde_json::Value::Object(step)) = (fields.as_object_mut(), step) {
        fields.extend(step);
    }
    fields
}

/// One incident from opening to resolution, made up: with everything that a list can hold, and with nothing in any list,
/// as most incidents are when they open.
fn samples() -> Vec<IncidentAction> {
    let at = Timestamp(1_772_445_600_000);
    let check = Check {
        check: PostureCheck::OsVersion,
        detail: "minimum".into(),
        required: "14.6.0".into(),
        actual: None,
        result: CheckVerdict::Fail,
    };
    let incident = Incident {
        key: "aw-00000000000000000000000000000000".into(),
        org: Org::new("sample"),
        rule: "deny_spike".into(),
        severity: Severity::Page,
        onset: at,
        opened_at: at,
        resolved_at: None,
        title: "A \"quoted\" title with a \\ and <angle> & more".to_owned(),
        people: 12,
        series: vec!["org".to_owned()],
        checks: vec![check],
        notified: true,
        suspects: vec![Suspect {
            uuid: "00000000-0000-0000-0000-000000000000".into(),
            event_type: "policy.rule.update".into(),
            target: "Catch-all Rule".to_owned(),
            score: 0.5,
            parts: vec![("time".into(), 0.5)],
        }],
        evidence: Evidence { top_apps: vec![("Mail".to_owned(), 12)], ..Evidence::default() },
    };
    let bare = Incident {
        series: Vec::new(),
        checks: Vec::new(),
        suspects: Vec::new(),
        evidence: Evidence::default(),
        ..incident.clone()
    };
    let sample = |(revision, (incident, step)): (u32, (&Incident, IncidentStep))| {
        let resolved_at = (step == IncidentStep::Resolve).then_some(at);
        let incident = Incident { resolved_at, ..incident.clone() };
        let (description, note) = ("Line one\n\tline \"two\"".to_owned(), "A note\n".to_owned());
        IncidentAction { step, at, revision, incident, description, note }
    };
    let steps = [IncidentStep::Open, IncidentStep::Update, IncidentStep::Resolve, IncidentStep::Reopen];
    let each = [&incident, &bare].into_iter().flat_map(|incident| steps.map(|step| (incident, step)));
    (1..).zip(each).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, is_json: bool, expect: Result<(), &str>) {
        let got = Source::Inline(template.to_owned()).check(is_json).map_err(|error| error.to_string());
        match expect {
            Ok(()) => assert_eq!(got, Ok(()), "{template}"),
            Err(expect) => {
                let error = got.expect_err(template);
                assert!(error.contains(expect), "{template}: {error}");
            }
        }
    }

    #[test]
    fn a_template_is_checked_with_every_step_of_a_sample() {
        check(r#"{"text": {{ title }}, "who": {{ people }}, "step": {{ step }}}"#, true, Ok(()));
        check("{% for check in checks %}{{ check.check }} {% endfor %}{{ note }}", false, Ok(()));
        check(r#"{"a": {% if resolved_at %}{{ resolved_at }}{% else %}null{% endif %}}"#, true, Ok(()));
        check(r#"{"text": {{ title | tojson }}, "all": {{ evidence }}}"#, true, Ok(()));
        check(r#"{"text": "{{ title }}"}"#, true, Err("no valid JSON"));
        check(r#"{"over": {% if step == "resolve" %}yes{% else %}false{% endif %}}"#, true, Err("with step `resolve`"));
        check("{\n\"text\": {{ titel }}\n}", true, Err("line 2: undefined value"));
        check("{\n\n{{ title | shout }}", true, Err("line 3: unknown filter"));
        check("a\n{% if %}", false, Err("line 2: syntax error"));
        check("{% include 'x' %}", false, Err("line 1"));
        check("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", false, Err("fuel"));
    }

    #[test]
    fn a_printed_text_is_quoted_and_escaped_in_json_and_bare_elsewhere() {
        let source = Source::Inline("{{ title }}".to_owned());
        let action = samples().remove(0);
        let json: String = serde_json::from_str(&source.render(&action, true).expect("renders")).expect("JSON");
        assert_eq!(json, action.incident.title);
        assert_eq!(source.render(&action, false).expect("renders"), action.incident.title);
    }

    #[test]
    fn the_fields_are_those_of_the_incident_and_of_the_step() {
        let fields = fields(&samples()[2]);
        let contract = [
            "key",
            "rule",
            "severity",
            "onset",
            "opened_at",
            "resolved_at",
            "title",
            "people",
            "series",
            "checks",
            "notified",
            "suspects",
            "evidence",
            "step",
            "revision",
            "at",
            "description",
            "note",
        ];
        for name in contract {
            assert!(fields.get(name).is_some_and(|value| !value.is_null()), "{name}");
        }
        assert_eq!(fields["step"], "resolve");
    }
}
