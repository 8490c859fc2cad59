//! What `check` finds: one line for each permission and each thing that must be reachable, with who can mend it.
//!
//! Every integration asks its own system the way it does in service, only shorter, and says what came of it. Nothing is
//! written anywhere unless the caller asks for that, and no finding holds a secret or a person.

use serde::Serialize;

/// What came of one question.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It works.
    Ok,
    /// It works, and is worth a look.
    Warning,
    /// It does not work; the detail says what to do and who can.
    Failed,
    /// It was not asked; the detail says why.
    Skipped,
}

impl Verdict {
    /// As printed and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The part of the configuration: `okta:acme`, `servicenow`, `vault`.
    pub part: String,
    /// What was asked: `system log`, `create an incident`.
    pub check: String,
    /// What came of it.
    pub result: Verdict,
    /// A sentence for people.
    pub detail: String,
}

/// The findings of one part, in the order of asking.
#[derive(Debug)]
pub struct Findings {
    part: String,
    found: Vec<Finding>,
}

impl Findings {
    /// None yet.
    pub fn of(part: impl Into<String>) -> Self {
        Self { part: part.into(), found: Vec::new() }
    }

    /// One more.
    pub fn add(&mut self, check: impl Into<String>, result: Verdict, detail: impl Into<String>) {
        let (part, check, detail) = (self.part.clone(), check.into(), detail.into());
        self.found.push(Finding { part, check, result, detail });
    }

    /// One more, which works or fails as the outcome says.
    pub fn judge<E: std::fmt::Display>(&mut self, check: impl Into<String>, outcome: Result<String, E>) {
        match outcome {
            Ok(detail) => self.add(check, Verdict::Ok, detail),
            Err(error) => self.add(check, Verdict::Failed, error.to_string()),
        }
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<Finding> {
        self.found
    }
}
