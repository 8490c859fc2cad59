//! What `check` asks of an instance: reading, and with the owner's leave one test row that is created, noted and
//! resolved as an incident would be.

use serde_json::json;

use super::{Servicenow, row};
use crate::clock;
use crate::telemetry::preflight::{Findings, Verdict};

/// What is not tried unless asked for.
const NOT_TRIED: &str = "not tried (`--write` creates one test row, notes and resolves it)";

impl Servicenow {
    /// Asks, and writes only where `write` says so.
    pub(crate) async fn check(&mut self, write: bool, findings: &mut Findings) {
        match self.lookup("aw-check-nothing").await {
            Ok(found) if found.trusted => findings.add("read incidents", Verdict::Ok, "look-ups by key work"),
            Ok(_) => {
                let detail = "a look-up by key returns other rows: its columns cannot be read (the instance's \
                              administrator grants read on `correlation_id` and `correlation_display`)";
                findings.add("read incidents", Verdict::Failed, detail);
            }
            Err(failure) => return findings.add("read incidents", Verdict::Failed, failure.detail),
        }
        if self.config.changes.is_some() {
            let read = self.client.list("change_request", "ORDERBYDESCstart_date", "number", 1).await;
            let read =
                read.map(|rows| format!("readable ({} seen)", rows.len())).map_err(|failed| failed.failure.detail);
            findings.judge("read changes", read);
        }
        if write {
            self.check_writing(findings).await;
        } else {
            findings.add("write incidents", Verdict::Skipped, NOT_TRIED);
        }
    }

    async fn check_writing(&mut self, findings: &mut Findings) {
        let key = format!("aw-check-{}", clock::now().0);
        let row = match self.client.create(&row::test(&self.config, &key)).await {
            Ok(row) => row,
            Err(failed) => return findings.add("create an incident", Verdict::Failed, failed.failure.detail),
        };
        if row.is_ours(&key) {
            findings.add("create an incident", Verdict::Ok, format!("{} created", row.number));
        } else {
            let detail =
                format!("{} was created without our key (a business rule changes `correlation_id`?)", row.number);
            findings.add("create an incident", Verdict::Failed, detail);
        }
        let noted = self.client.change(&row.sys_id, &json!({ "work_notes": "A note of authwatch check." })).await;
        let noted = noted.map(|()| "noted".to_owned()).map_err(|failed| failed.failure.detail);
        findings.judge("update an incident", noted);
        let state = self.config.resolve.state.as_str();
        let body = json!({
            "state": state,
            "close_code": self.config.resolve.close_code,
            "close_notes": "A test of authwatch check.",
        });
        let resolved = match self.client.change(&row.sys_id, &body).await {
            Err(failed) => Err(failed.failure.detail),
            Ok(()) => match self.client.row(&row.sys_id).await {
                Ok(Some(now)) if now.state == state => Ok(format!("{} resolved", row.number)),
                Ok(_) => Err("the row does not say so afterwards".to_owned()),
                Err(failed) => Err(failed.failure.detail),
            },
        };
        let number = &row.number;
        let fix = |why| format!("{why} (check `resolve.state` and `resolve.close_code`; {number} is left open)");
        findings.judge("resolve an incident", resolved.map_err(fix));
    }
}
