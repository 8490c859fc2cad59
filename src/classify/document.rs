//! `docs/classification.md`, written from the tables, so that it cannot say anything else than the code does.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use serde::Deserialize;

use super::evidence::Source;
use super::tables::{Listed, Rests, TypeRow, Words};
use super::{TEXT_BYTES, Tables};
use crate::event::{Credential, Reject};

/// What collected events showed, checked by hand and by `tests/real_events.rs`.
const SEEN: &str = include_str!("../../rules/classify/fixtures/seen.json");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    records: u64,
    other: BTreeMap<String, u64>,
    rejected: BTreeMap<Reject, u64>,
    undated: u64,
    undated_are: String,
}

/// The text of `docs/classification.md` for the tables inside the binary.
pub fn document() -> String {
    let tables = Tables::embedded();
    let mut page = Page(String::new());
    page.text(INTRODUCTION);
    legend(&mut page);
    event_types(&mut page, &tables);
    credentials(&mut page, &tables);
    outcomes(&mut page, &tables);
    platforms(&mut page, &tables);
    page.text(&subjects());
    evidence(&mut page);
    seen(&mut page);
    page.0
}

const INTRODUCTION: &str = "\
# Classification

What each event of the Okta System Log means to authwatch. This page is written from the tables in `rules/classify/`;
change the tables, then run `UPDATE_DOCS=1 cargo test --test classify`. The words are the same in JSON, metric labels
and rules. `authwatch explain FILE` shows the reading of every record, `--unknown` the event types that no row lists.
`--redact` writes the records themselves without anything that tells of somebody; they read the same, and can go into
a report or a fixture.

Three rules hold everywhere. A word that no table lists is `other` or `unknown`, never a success. Absent evidence stays
absent. No name, address or token of a person is kept.
";

fn legend(page: &mut Page) {
    page.text(
        "## What a row rests on

Event types, methods, factors and reasons each say what is known of Okta's word; what we read it as is ours.
",
    );
    page.head(&["rests on", "what that is"]);
    for rests in Rests::ALL {
        let meaning = match rests {
            Rests::Confirmed => {
                "Okta documents it: the event-type catalog, the API, help pages or Okta's own rule files"
            }
            Rests::Seen => "a public event that looks like a real one shows it, and nothing of Okta's says so",
            Rests::Unconfirmed => "somebody else says so, or it follows from how Okta writes its kin",
        };
        page.row(&[code(rests), meaning.to_owned()]);
    }
}

fn event_types(page: &mut Page, tables: &Tables) {
    page.text(
        "## Event types

A type takes its own row, else that of the longest prefix that fits (written with `*`), else it is `other`. *Credential*
counts only where the event holds nothing better. *Read as* is our outcome whatever `outcome.result` says. *Why not*
counts where the outcome is bad and the event says no more. Events of a type marked *aside* are no step of a sign-in,
though others of their kind are: they count under their meaning, and in no rate, attempt or alert on sign-ins. Every
type of Okta's catalog of August 2026 has a row.
",
    );
    page.head(&["event type", "kind", "credential", "read as", "why not", "aside", "rests on", "note"]);
    for (name, row) in &tables.types {
        type_row(page, &format!("`{name}`"), row);
    }
    let mut prefixes: Vec<_> = tables.prefixes.iter().collect();
    prefixes.sort_by_key(|(prefix, _)| prefix);
    for (prefix, row) in prefixes {
        type_row(page, &format!("`{prefix}*`"), row);
    }
}

fn type_row(page: &mut Page, name: &str, row: &TypeRow) {
    page.row(&[
        name.to_owned(),
        code(row.kind),
        row.credential.map(code).unwrap_or_default(),
        row.outcome.map(code).unwrap_or_default(),
        row.reason.map(code).unwrap_or_default(),
        if row.sign_in == Some(false) { "aside".to_owned() } else { String::new() },
        row.rests.to_string(),
        row.note.clone().unwrap_or_default(),
    ]);
}

fn credentials(page: &mut Page, tables: &Tables) {
    page.text(
        "## Credentials

Asked in this order; the first evidence that is known decides:

1. `AuthenticatorMethod` targets: `authenticatorKey` and `methodTypeUsed`
2. `debugData.factor`
3. `AuthenticatorEnrollment` targets: `methodTypeUsed`, else the display name
4. `debugData.authMethodFirstType` to `…Fifth…`, which can be hours old
5. the event type
6. `authenticationContext`: `credentialProvider`, `credentialType`, `authenticationProvider`

A word in 1 to 3 that no table lists makes the credential `other`: weaker evidence does not speak over it. X.509 details
on a target turn `idp` or nothing into `smart_card`. Only events about a person who signs in are asked all of this;
factor life cycle and delivery are asked 1 to 3 and 5; other kinds have the credential `none`.
",
    );
    listed(page, "Methods", "methodTypeUsed, authMethod*Type", &tables.methods);
    page.text("### Factors\n");
    page.head(&["debugData.factor", "credentialProvider", "credential", "rests on"]);
    for row in &tables.factors {
        page.row(&[
            code(&row.factor),
            row.provider.as_ref().map(code).unwrap_or_default(),
            code(row.credential),
            row.rests.to_string(),
        ]);
    }
    words(page, "Enrolment names", "displayName", &tables.enrollments);
    words(page, "Credential providers", "credentialProvider", &tables.credential_providers);
    words(page, "Credential types", "credentialType", &tables.credential_types);
    words(page, "Authentication providers", "authenticationProvider", &tables.authentication_providers);
    page.text(&format!(
        "### Several methods, and phishing\n\nWhere one event names several methods, the first of these stands for it: {}.\n\n\
         `phishing_resistant` is what `methodUsedVerifiedProperties` says; where that is absent, it is true of {}, false of \
         {}, and open for the rest.\n",
        list(&tables.precedence),
        list(&tables.phishing_resistant),
        list(&tables.phishable),
    ));
}

fn outcomes(page: &mut Page, tables: &Tables) {
    page.text(
        "## Outcomes and reasons

A reason is read only where the outcome is bad or unknown. What the person answered counts first, then what the policy
found, then `outcome.reason` (exactly, else by the longest beginning), then `debugData.loginResult` by the same table,
then the event type. A text that no table lists
is `other`. `device_posture` never comes from a text: it needs the policy that was in force.
",
    );
    words(page, "Outcomes", "outcome.result", &tables.outcomes);
    words(page, "Push responses", "pushOnlyResponseType", &tables.push_responses);
    words(page, "Number challenges", "pushWithNumberChallengeResponseType", &tables.number_responses);
    words(page, "Policy results", "signOnModeEvaluationResult", &tables.sign_on_evaluations);
    listed(page, "Reasons", "outcome.reason, loginResult", &tables.reasons);
    page.text("### Reasons by how they begin\n");
    page.head(&["outcome.reason", "reading", "rests on"]);
    for (prefix, row) in &tables.reason_prefixes {
        page.row(&[code(format!("{prefix}…")), code(row.is), row.rests.to_string()]);
    }
}

fn platforms(page: &mut Page, tables: &Tables) {
    page.text(
        "## Platforms

The device says it first (`device.os_platform`, else `osPlatform` of a target); a spelling that is not listed is `other`.
Without a device, the user agent may: Okta's reading of it by how it begins, else the header by what it holds, the
first row that fits. A user agent that fits no row leaves the platform `unknown`.
",
    );
    words(page, "Devices", "os_platform, osPlatform", &tables.device_platforms);
    for (title, column, rows) in [
        ("User agents, as Okta reads them", "client.userAgent.os begins with", &tables.agent_systems),
        ("User agents, as sent", "client.userAgent.rawUserAgent holds", &tables.agent_texts),
    ] {
        page.text(&format!("### {title}\n"));
        page.head(&[column, "platform"]);
        for row in rows {
            page.row(&[code(&row.text), code(row.platform)]);
        }
    }
}

fn subjects() -> String {
    format!(
        "\
## Who, where and what

| field | read from |
| --- | --- |
| person | `actor.id` of a `User`; of any other actor, the id of the first `User` target; never `alternateId` |
| flow | `debugData.authnRequestId`, else `transaction.id` |
| app | the first `AppInstance` target |
| rule | a `Rule` or `PolicyRule` target: the first with a `policyId` or an id `rul…`, else the first |
| policy | `policyId` of that rule, else the `PolicyEntity` target |
| device | `device`, completed from a `UDDevice` target that is not another device |
| zone | `client.zone` |
| risk | `securityContext.risk.level`, else `debugData.risk`, else `debugData.logOnlySecurityData` |
| change | on change kinds: a rule's change its rule, a membership's its group, else the first target that is no person; of a person, the id without the name |
| whom a change is about | of a membership, the id of the first `User` target |
| what holds after it | of policies and device assurance, `changeDetails.to` of that target, an object or list of at most 16 KiB |
| time | `published`; where that is absent or no time, `time` of an EventBridge envelope or `eventTime` of an event hook |
| id | org, `uuid`, `published` and `eventType`; without `uuid`, the record's text |

An event without any time is *undated*: it counts under its meaning, once, and is in `authwatch_undated_events_total`,
but no attempt, rate or incident rests on it.

The ids `unknown`, `null` and `None` are no ids. Texts are cut at {TEXT_BYTES} bytes. `tpmPresent` is not read on Apple
devices, which have none.
"
    )
}

#[expect(clippy::expect_used, reason = "the text is part of the build, and a test reads it")]
fn seen(page: &mut Page) {
    let seen: Seen = serde_json::from_str(SEEN).expect("what was seen is valid");
    page.text(&format!(
        "## Seen in public events\n\nOf {} events collected from public repositories, these are `other`:\n",
        seen.records
    ));
    page.head(&["event type", "events"]);
    for (name, count) in &seen.other {
        page.row(&[code(name), count.to_string()]);
    }
    let undated = format!("{} are undated: {}.", seen.undated, seen.undated_are);
    if seen.rejected.is_empty() {
        page.text(&format!("{undated} None is rejected.\n"));
        return;
    }
    page.text(&format!("{undated} And these are rejected:\n"));
    page.head(&["reject", "events"]);
    for (reject, count) in &seen.rejected {
        page.row(&[code(reject), count.to_string()]);
    }
}

fn evidence(page: &mut Page) {
    page.text(
        "## Evidence

`explain` says what each reading rests on: one of these places, and the table's word that stood there. It never repeats
a text of the event.
",
    );
    let places: Vec<String> = Source::ALL.iter().map(code).collect();
    page.text(&format!("{}\n", places.join(", ")));
}

fn listed<T: Display>(page: &mut Page, title: &str, column: &str, words: &Words<Listed<T>>) {
    page.text(&format!("### {title}\n"));
    page.head(&[column, "reading", "rests on"]);
    for (word, row) in &words.0 {
        page.row(&[code(word), code(&row.is), row.rests.to_string()]);
    }
}

fn words<T: Display>(page: &mut Page, title: &str, column: &str, words: &Words<T>) {
    page.text(&format!("### {title}\n"));
    page.head(&[column, "reading"]);
    for (word, reading) in &words.0 {
        page.row(&[code(word), code(reading)]);
    }
}

fn code(text: impl Display) -> String {
    format!("`{text}`")
}

fn list(credentials: &[Credential]) -> String {
    credentials.iter().map(code).collect::<Vec<_>>().join(", ")
}

/// Markdown under way.
struct Page(String);

impl Page {
    /// A passage, set off by an empty line.
    fn text(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(text);
    }

    fn head(&mut self, columns: &[&str]) {
        self.0.push('\n');
        self.row(&columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>());
        self.row(&columns.iter().map(|_| "---".to_owned()).collect::<Vec<_>>());
    }

    #[expect(clippy::expect_used, reason = "writing to a string cannot fail")]
    fn row(&mut self, cells: &[String]) {
        writeln!(self.0, "| {} |", cells.join(" | ")).expect("a string takes everything");
    }
}
