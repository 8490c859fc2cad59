//! The ServiceNow sink against a stand-in with scripted awkwardness: whatever happens, one incident is one ticket, and
//! a person's hand on it is respected.

#![expect(clippy::expect_used, clippy::panic, unreachable_pub, reason = "helpers of tests may fail a test")]

#[path = "support/examples.rs"]
mod examples;
#[path = "common/incident.rs"]
mod incident;
#[path = "servicenow/instance.rs"]
mod instance;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use authwatch::act::{self, Sink};
use authwatch::action::{Action, Incident, IncidentAction, IncidentStep, Severity};
use authwatch::event::Timestamp;
use authwatch::secret::Lookup;
use authwatch::store::{Commit, LedgerEntry, Store};
use authwatch::telemetry::condition::{Conditions, Status};
use axum::http::Method;
use incident::incident;
use instance::{Awkward, ChangesFault, Instance};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use IncidentStep::{Open, Reopen, Resolve, Update};

const KEY: &str = "aw-0123456789abcdef0123456789abcdef";
const SINK: &str = "servicenow";

/// One daemon's side: state, metrics, and a worker that can be started, stopped and killed.
struct Bench {
    instance: Instance,
    dir: tempfile::TempDir,
    store: Option<Arc<Store>>,
    conditions: Conditions,
    wake: Arc<Notify>,
    password: Arc<Mutex<String>>,
    config: Value,
    metrics: PrometheusHandle,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

struct Running {
    worker: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(config: Value) -> Self {
        let instance = Instance::start().await;
        let dir = tempfile::tempdir().expect("a directory");
        let store = Some(Arc::new(Store::open(dir.path()).expect("opens")));
        // One per test, for as long as the process lives: the guard wants a static recorder.
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let metrics = recorder.handle();
        let mut whole = json!({
            "url": instance.url,
            "auth": { "basic": { "user": { "env": "SN_USER" }, "password": { "env": "SN_PASSWORD" } } },
            "timeout": "5s",
            "settle": { "reads": 4, "spread": "150ms" },
        });
        for (key, value) in config.as_object().expect("an object") {
            whole[key] = value.clone();
        }
        Self {
            instance,
            dir,
            store,
            conditions: Conditions::default(),
            wake: Arc::new(Notify::new()),
            password: Arc::new(Mutex::new("secret".to_owned())),
            config: whole,
            metrics,
            _recorder: metrics::set_default_local_recorder(recorder),
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open")
    }

    fn sink(&self) -> (String, Sink) {
        let password = Arc::clone(&self.password);
        let env: Lookup = Arc::new(move |name| match name {
            "SN_USER" => Some("user".to_owned()),
            "SN_PASSWORD" => Some(password.lock().expect("not poisoned").clone()),
            "SN_CLIENT" => Some("s & c".to_owned()),
            _ => None,
        });
        let config: act::Config =
            serde_json::from_value(json!({ "servicenow": self.config })).expect("a configuration");
        config.build(env).expect("builds")
    }

    fn commit(&self, actions: &[IncidentAction]) {
        let rows = actions.iter().map(|action| (SINK.to_owned(), Action::Incident(Box::new(action.clone()))));
        self.store().commit(&Commit { outbox: rows.collect(), ..Commit::default() }).expect("commits");
        self.wake.notify_waiters();
    }

    fn start(&self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let store = Arc::clone(self.store.as_ref().expect("open"));
        let mut workers = act::spawn(vec![self.sink()], store, &self.conditions, Arc::clone(&self.wake), stopped);
        Running { worker: workers.remove(0), stop }
    }

    /// Waits for something, and says what was the matter if it never comes.
    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..6_000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}; {:?}; {:#?}", self.condition(), self.instance.lock().seen);
    }

    async fn stop(&self, running: Running) {
        running.stop.send(true).expect("runs");
        running.worker.await.expect("ends");
    }

    /// Everything committed is told or given up.
    async fn drained(&self) {
        self.until("an empty outbox", || self.store().count(SINK).expect("counts") == 0).await;
    }

    /// Commits, tells and stops.
    async fn tell(&self, actions: &[IncidentAction]) {
        self.commit(actions);
        let running = self.start();
        self.drained().await;
        self.stop(running).await;
    }

    /// Ends the worker where it stands, as a killed process would, and opens the state again.
    async fn kill(&mut self, running: Running) {
        running.worker.abort();
        let _ = running.worker.await;
        let store = self.store.take().expect("open");
        self.until("the last reference", || Arc::strong_count(&store) == 1).await;
        drop(store);
        self.store = Some(Arc::new(Store::open(self.dir.path()).expect("opens")));
    }

    fn condition(&self) -> Option<Status> {
        self.conditions.read().get("sink/servicenow").cloned()
    }

    #[track_caller]
    fn healthy(&self) {
        assert_eq!(self.condition(), Some(Status { ok: true, detail: String::new(), gates_readiness: false }));
    }

    fn detail(&self) -> String {
        self.condition().map(|status| status.detail).unwrap_or_default()
    }

    fn ledger(&self) -> LedgerEntry {
        self.store().ledger(SINK, KEY).expect("reads").expect("an entry")
    }

    /// The value of one series; 0 where it is absent.
    fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics.render();
        let is_it = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    fn told(&self, step: &str, result: &str) -> f64 {
        let labels = [&*format!("step=\"{step}\""), &*format!("result=\"{result}\"")];
        self.metric("authwatch_sink_actions_total{", &labels)
    }
}

fn action_of(key: &str, revision: u32, step: IncidentStep) -> IncidentAction {
    let at = Timestamp(1_772_445_600_000 + i64::from(revision) * 60_000);
    let resolved_at = (step == Resolve).then_some(at);
    let incident = Incident { resolved_at, ..incident(key, at, "Sign-in refused to 12 people", 12) };
    let (description, note) = (format!("What fails, text {revision}"), format!("note {revision}"));
    IncidentAction { step, at, revision, incident, description, note }
}

fn action(revision: u32, step: IncidentStep) -> IncidentAction {
    action_of(KEY, revision, step)
}

/// The columns of a body, without the ones that every write may have.
fn columns(body: &Value) -> Vec<&str> {
    body.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn an_incident_opens_updates_and_resolves_as_one_ticket() {
    let bench = Bench::with(json!({
        "assignment_group": "group1", "caller_id": "caller1", "category": "software", "subcategory": "sso",
        "cmdb_ci": "ci1", "business_service": "bs1", "fields": { "u_tier": 1 },
        "resolve": { "close_notes": "{note} / {people} / {resolved_at}" },
    }))
    .await;
    bench.tell(&[action(1, Open)]).await;
    let entry = bench.ledger();
    let row = bench.instance.row(KEY);
    assert_eq!(entry.remote_id.as_deref(), Some(row["sys_id"].as_str()));
    assert_eq!(entry.number.as_deref(), Some("INC0010001"));
    assert_eq!(entry.priority.as_deref(), Some("2"), "read back, not predicted");
    let url = format!("{}/incident.do?sys_id={}", bench.instance.url, row["sys_id"]);
    assert_eq!((entry.url, entry.revision, entry.post_intent), (Some(url), 1, None));
    assert_eq!(
        bench.instance.sent(&Method::POST),
        [json!({
            "short_description": "Sign-in refused to 12 people",
            "description": "What fails, text 1\n\nauthwatch revision 1",
            "impact": "2", "urgency": "1", "contact_type": "monitoring",
            "assignment_group": "group1", "caller_id": "caller1", "category": "software", "subcategory": "sso",
            "cmdb_ci": "ci1", "business_service": "bs1", "u_tier": "1",
            "correlation_id": KEY, "correlation_display": "authwatch",
            "work_notes": "Opened by authwatch. note 1",
        })]
    );

    bench.tell(&[action(2, Update)]).await;
    bench.tell(&[action(3, Resolve)]).await;
    assert_eq!(
        bench.instance.sent(&Method::PATCH),
        [
            json!({ "description": "What fails, text 2\n\nauthwatch revision 2", "work_notes": "note 2" }),
            json!({
                "description": "What fails, text 3\n\nauthwatch revision 3", "work_notes": "note 3", "state": "6",
                "close_code": "Solution provided", "close_notes": "note 3 / 12 / 2026-03-02T10:03:00.000Z",
            }),
        ]
    );
    assert_eq!(bench.instance.row(KEY)["state"], "6");
    assert_eq!((bench.told("open", "created"), bench.told("update", "updated")), (1.0, 1.0));
    assert_eq!(bench.told("resolve", "resolved"), 1.0);
    assert_eq!(bench.metric("authwatch_outbox_rows{", &[]), 0.0);
    bench.healthy();
}

#[tokio::test]
async fn a_rise_in_severity_and_a_new_title_are_written_and_nothing_else_is() {
    let bench = Bench::new().await;
    let mut open = action(1, Open);
    open.incident.severity = Severity::Ticket;
    bench.tell(&[open]).await;
    let mut worse = action(2, Update);
    worse.incident.title = "Sign-in refused to 400 people".to_owned();
    worse.note = String::new();
    bench.tell(&[worse]).await;
    let row = bench.instance.row(KEY);
    assert_eq!((row["impact"].as_str(), row["urgency"].as_str()), ("2", "1"));
    assert_eq!(row["short_description"], "Sign-in refused to 400 people");
    let sent = bench.instance.sent(&Method::PATCH);
    assert_eq!(columns(&sent[0]), ["description", "impact", "short_description", "urgency"]);
}

#[tokio::test]
async fn a_long_text_keeps_its_marker_within_the_column() {
    let bench = Bench::new().await;
    let mut open = action(7, Open);
    open.description = "ä".repeat(9_000);
    open.incident.title = "t".repeat(500);
    bench.tell(&[open]).await;
    let row = bench.instance.row(KEY);
    assert_eq!(row["description"].chars().count(), 4_000);
    assert!(row["description"].ends_with("…\n\nauthwatch revision 7"));
    assert_eq!(row["short_description"].chars().count(), 160);
}

#[tokio::test]
async fn trap_a_query_that_loses_its_conditions_never_leads_to_a_foreign_row() {
    let bench = Bench::new().await;
    for n in 0..300 {
        // Half of them look like ours at a glance: right display, wrong key; the other way round is as bad.
        let (id, display) = if n % 2 == 0 { ("aw-other", "authwatch") } else { (KEY, "someone") };
        bench.instance.put(&[("correlation_id", id), ("correlation_display", display), ("description", "theirs")]);
    }
    bench.instance.lock().unknown = vec!["correlation_id", "correlation_display"];
    let before = bench.instance.lock().rows.clone();
    bench.tell(&[action(1, Open)]).await;
    bench.tell(&[action(2, Update)]).await;
    bench.tell(&[action(3, Resolve)]).await;
    let after = bench.instance.lock().rows.clone();
    assert_eq!(after[..300], before[..], "no foreign row was written to");
    assert_eq!(bench.instance.lock().notes.len(), 1, "nor noted");
    assert_eq!(after.len(), 301, "and there is one ticket");
    assert_eq!((after[300]["correlation_id"].as_str(), after[300]["state"].as_str()), (KEY, "6"));
    assert!(bench.metric("authwatch_sink_lookup_mismatches_total{", &[]) >= 60.0);
    assert!(bench.detail().starts_with("look-ups return incidents that are not ours"), "{}", bench.detail());
}

#[tokio::test]
async fn an_absence_in_an_untrusted_answer_proves_nothing() {
    let bench = Bench::new().await;
    bench.instance.put(&[("correlation_id", "theirs")]);
    bench.instance.lock().unknown = vec!["correlation_id", "correlation_display"];
    // Refused to us as far as we can tell; the row is there, and hidden for good.
    bench.instance.lock().hide_new_rows_for = u32::MAX;
    bench.instance.script(Method::POST, [Awkward::DoneThen(500)]);
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.until("named", || bench.detail().contains("look-ups cannot be trusted")).await;
    bench.until("many look-ups", || bench.instance.sent(&Method::GET).len() > 4).await;
    assert_eq!(bench.instance.sent(&Method::POST).len(), 1);
    bench.instance.lock().unknown.clear();
    bench.instance.lock().hidden.clear();
    bench.drained().await;
    bench.stop(running).await;
    assert_eq!(bench.instance.rows(KEY).len(), 1);
    bench.healthy();
}

#[tokio::test]
async fn an_implausible_total_is_an_answer_to_another_question() {
    let bench = Bench::new().await;
    bench.instance.lock().total = Some(8_214);
    bench.tell(&[action(1, Open)]).await;
    assert!(bench.detail().starts_with("look-ups return incidents that are not ours"), "{}", bench.detail());
    bench.instance.lock().total = None;
    bench.tell(&[action(2, Update)]).await;
    bench.healthy();
}

#[tokio::test]
async fn a_create_without_a_clear_answer_is_one_ticket_even_if_it_shows_late() {
    for awkward in [
        Awkward::DoneThen(500),
        Awkward::DoneThen(502),
        Awkward::DoneThen(408),
        Awkward::DoneThenPage,
        Awkward::DoneThenGarbage,
        Awkward::DoneThenCut,
    ] {
        let bench = Bench::new().await;
        bench.instance.lock().hide_new_rows_for = 2;
        bench.instance.script(Method::POST, [awkward.clone()]);
        bench.tell(&[action(1, Open), action(2, Update)]).await;
        bench.tell(&[action(3, Resolve)]).await;
        assert_eq!(bench.instance.row(KEY)["state"], "6", "{awkward:?}");
        assert_eq!(bench.instance.sent(&Method::POST).len(), 1, "{awkward:?}");
        assert_eq!(bench.told("open", "adopted"), 1.0, "{awkward:?}");
        assert_eq!(bench.instance.sent(&Method::PATCH).len(), 1, "{awkward:?}: the create was whole");
    }
}

#[tokio::test]
async fn a_create_that_is_never_answered_is_one_ticket() {
    let bench = Bench::with(json!({ "timeout": "2s" })).await;
    bench.instance.script(Method::POST, [Awkward::DoneThenSilence]);
    bench.tell(&[action(1, Open)]).await;
    bench.instance.row(KEY);
    assert_eq!(bench.instance.sent(&Method::POST).len(), 1);
    assert_eq!(bench.metric("authwatch_sink_retries_total{", &["reason=\"timeout\""]), 1.0);
}

#[tokio::test]
async fn a_create_that_left_no_trace_is_sent_once_more_after_enough_empty_reads() {
    let bench = Bench::with(json!({ "settle": { "reads": 5, "spread": "700ms" } })).await;
    let running = bench.start();
    bench.until("reached", || bench.condition().is_some_and(|status| status.ok)).await;
    bench.instance.script(Method::POST, [Awkward::Refuse(503, None)]);
    // A failed read is no empty read.
    bench.instance.script(Method::GET, [Awkward::Not, Awkward::Refuse(500, None)]);
    bench.commit(&[action(1, Open)]);
    bench.drained().await;
    bench.stop(running).await;
    bench.instance.row(KEY);
    assert_eq!(bench.told("open", "created_again"), 1.0);
    assert_eq!(bench.metric("authwatch_sink_retries_total{", &["reason=\"post_lost\""]), 1.0);
    let seen = bench.instance.lock().seen.clone();
    let posts: Vec<usize> = (0..seen.len()).filter(|n| seen[*n].method == Method::POST).collect();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[1] - posts[0], 7, "a failed and five empty reads in between");
    let spread = seen[posts[1] - 1].at - seen[posts[0] + 2].at;
    assert!(spread >= Duration::from_millis(700), "{spread:?}");
    assert_eq!(bench.ledger().reposts, 1);
}

#[tokio::test]
async fn a_kill_while_the_create_is_in_flight_is_one_ticket() {
    let mut bench = Bench::new().await;
    bench.instance.lock().hide_new_rows_for = 2;
    bench.instance.script(Method::POST, [Awkward::DoneThenSilence]);
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.until("a row", || !bench.instance.rows(KEY).is_empty()).await;
    bench.kill(running).await;
    assert!(bench.ledger().post_intent.is_some(), "the intent came before the act");
    assert_eq!(bench.store().count(SINK).expect("counts"), 1);
    bench.tell(&[action(2, Resolve)]).await;
    assert_eq!(bench.instance.row(KEY)["state"], "6");
    assert_eq!(bench.instance.sent(&Method::POST).len(), 1);
}

#[tokio::test]
async fn a_kill_before_the_create_was_sent_is_one_ticket_too() {
    let bench = Bench::new().await;
    let entry = LedgerEntry { post_intent: Some(Timestamp(1)), ..LedgerEntry::default() };
    bench.store().put_ledger(SINK, KEY, &entry).expect("puts");
    bench.tell(&[action(1, Open)]).await;
    bench.instance.row(KEY);
    let gets = bench.instance.sent(&Method::GET).len();
    assert!(gets >= 4, "{gets}: looked for before it was created");
}

#[tokio::test]
async fn a_lost_state_finds_the_ticket_again() {
    let bench = Bench::new().await;
    bench.instance.put(&[("correlation_id", KEY), ("correlation_display", "authwatch")]);
    bench.tell(&[action(1, Open)]).await;
    assert_eq!(bench.instance.row(KEY)["description"], "What fails, text 1\n\nauthwatch revision 1");
    assert_eq!(bench.instance.sent(&Method::POST).len(), 0);
    assert_eq!(bench.ledger().number.as_deref(), Some("INC0010001"));
}

#[tokio::test]
async fn a_repeat_after_a_kill_between_writing_and_recording_changes_nothing() {
    for (step, state, result) in [
        (Update, "1", "unchanged"),
        (Resolve, "6", "resolved"),
        (Reopen, "2", "reopened"),
        (Resolve, "1", "resolve_refused"),
    ] {
        let bench = Bench::new().await;
        bench.tell(&[action(1, Open)]).await;
        if step == Reopen {
            bench.tell(&[action(2, Resolve)]).await;
        }
        let before = bench.instance.sent(&Method::PATCH).len();
        // What the killed process had already written.
        bench.instance.edit(KEY, "description", "What fails, text 3\n\nauthwatch revision 3");
        bench.instance.edit(KEY, "state", state);
        bench.tell(&[action(3, step)]).await;
        assert_eq!(bench.instance.sent(&Method::PATCH).len(), before, "{step:?}");
        assert_eq!(bench.told(step.as_str(), result), 1.0, "{step:?}");
        let entry = bench.ledger();
        assert_eq!((entry.revision, entry.remote_state.as_deref(), entry.human), (3, Some(state), false), "{step:?}");
    }
}

#[tokio::test]
async fn a_row_of_the_outbox_that_is_done_already_asks_nobody() {
    let bench = Bench::new().await;
    bench.tell(&[action(1, Open), action(2, Update)]).await;
    let before = bench.instance.lock().seen.len();
    bench.commit(&[action(2, Update), action_of("aw-next", 1, Open)]);
    let running = bench.start();
    bench.drained().await;
    bench.stop(running).await;
    let seen = bench.instance.lock().seen[before..].to_vec();
    let methods: Vec<&str> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["GET", "POST"], "the next incident only");
}

#[tokio::test]
async fn what_waited_while_the_instance_was_away_is_told_in_order() {
    let bench = Bench::new().await;
    bench
        .tell(&[
            action(1, Open),
            action_of("aw-b", 1, Open),
            action(2, Update),
            action(3, Update),
            action(4, Resolve),
            action(5, Reopen),
            action_of("aw-b", 2, Resolve),
        ])
        .await;
    let seen = bench.instance.lock().seen.clone();
    let of_key: Vec<(&str, &str)> = seen
        .iter()
        .filter(|seen| seen.body["description"].as_str().is_some_and(|_| seen.method != Method::GET))
        .filter(|seen| seen.id.as_deref().is_none_or(|id| id.ends_with('1')))
        .filter(|seen| seen.body["correlation_id"] != "aw-b")
        .map(|seen| (seen.method.as_str(), seen.body["state"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(of_key, [("POST", ""), ("PATCH", "6"), ("PATCH", "2")]);
    let row = bench.instance.row(KEY);
    assert_eq!((row["state"].as_str(), row["description"].lines().last()), ("2", Some("authwatch revision 5")));
    assert_eq!(bench.instance.notes(&row["sys_id"])[0], "Opened by authwatch. note 1\nnote 2\nnote 3");
    assert_eq!(bench.instance.row("aw-b")["state"], "6");
}

#[tokio::test]
async fn once_a_person_has_the_ticket_only_notes_follow() {
    for (column, value) in [("state", "2"), ("state", "3"), ("assigned_to", "beth"), ("assignment_group", "network")] {
        let bench = Bench::new().await;
        bench.tell(&[action(1, Open)]).await;
        bench.instance.edit(KEY, column, value);
        bench.tell(&[action(2, Update)]).await;
        // Putting it back does not give it back to us.
        bench.tell(&[action(3, Resolve)]).await;
        let row = bench.instance.row(KEY);
        for body in bench.instance.sent(&Method::PATCH) {
            assert_eq!(columns(&body), ["work_notes"], "{column}");
        }
        assert_eq!(row[column], value);
        assert_eq!(row["description"].lines().last(), Some("authwatch revision 1"), "{column}");
        assert_ne!(row["state"], "6", "{column}");
        assert_eq!(bench.instance.notes(&row["sys_id"])[1..], ["note 2", "note 3"], "{column}");
        assert!(bench.ledger().human, "{column}");
        assert_eq!(bench.told("resolve", "noted"), 1.0, "{column}");
        bench.healthy();
    }
}

#[tokio::test]
async fn a_group_that_the_instance_assigns_at_creation_is_no_person() {
    let bench = Bench::new().await;
    bench.tell(&[action(1, Open)]).await;
    let entry = LedgerEntry { remote_owner: Some((String::new(), "auto".to_owned())), ..bench.ledger() };
    bench.store().put_ledger(SINK, KEY, &entry).expect("puts");
    bench.instance.edit(KEY, "assignment_group", "auto");
    bench.tell(&[action(2, Resolve)]).await;
    assert_eq!(bench.instance.row(KEY)["state"], "6");
}

#[tokio::test]
async fn a_refused_resolution_leaves_a_note_and_says_so() {
    let bench = Bench::new().await;
    bench.instance.lock().forbidden_states = vec!["6"];
    bench.tell(&[action(1, Open)]).await;
    bench.tell(&[action(2, Resolve)]).await;
    let row = bench.instance.row(KEY);
    assert_eq!(row["state"], "1", "left open for a person");
    let notes = bench.instance.notes(&row["sys_id"]);
    assert_eq!(notes[1], "Over, says authwatch, which may not resolve this incident itself. note 2");
    let detail = bench.detail();
    assert!(detail.starts_with("INC0010001 is over but stays open: ServiceNow answered 403"), "{detail}");
    assert!(detail.contains("Operation Failed ACL") && detail.contains("`resolve.close_code`"), "{detail}");
    assert_eq!(bench.told("resolve", "resolve_refused"), 1.0);
    assert!(!bench.ledger().human, "nobody took it");
    // It comes back: the same ticket goes on.
    bench.tell(&[action(3, Reopen)]).await;
    assert_eq!(bench.instance.row(KEY)["description"].lines().last(), Some("authwatch revision 3"));
}

#[tokio::test]
async fn a_ticket_that_we_resolved_goes_back_to_in_progress() {
    let bench = Bench::new().await;
    bench.tell(&[action(1, Open)]).await;
    bench.tell(&[action(2, Resolve)]).await;
    bench.tell(&[action(3, Reopen)]).await;
    assert_eq!(bench.instance.row(KEY)["state"], "2");
    // In Progress by our hand is not a person's.
    bench.tell(&[action(4, Resolve)]).await;
    assert_eq!(bench.instance.row(KEY)["state"], "6");
    assert_eq!(bench.told("reopen", "reopened"), 1.0);
}

#[tokio::test]
async fn without_reopen_a_resolved_ticket_gets_a_note() {
    let bench = Bench::with(json!({ "reopen": false })).await;
    bench.tell(&[action(1, Open)]).await;
    bench.tell(&[action(2, Resolve)]).await;
    bench.tell(&[action(3, Reopen)]).await;
    let row = bench.instance.row(KEY);
    assert_eq!(row["state"], "6");
    assert_eq!(bench.instance.notes(&row["sys_id"]).last().map(String::as_str), Some("note 3"));
}

#[tokio::test]
async fn a_ticket_that_a_person_resolved_gets_a_note() {
    let bench = Bench::new().await;
    bench.tell(&[action(1, Open)]).await;
    bench.instance.edit(KEY, "state", "6");
    bench.tell(&[action(2, Resolve)]).await;
    bench.tell(&[action(3, Reopen)]).await;
    let row = bench.instance.row(KEY);
    assert_eq!(row["state"], "6");
    assert_eq!(bench.instance.notes(&row["sys_id"])[1..], ["note 2", "note 3"]);
    for body in bench.instance.sent(&Method::PATCH) {
        assert_eq!(columns(&body), ["work_notes"]);
    }
}

#[tokio::test]
async fn a_closed_or_canceled_ticket_is_followed_by_one_that_links_it() {
    for state in ["7", "8"] {
        let bench = Bench::new().await;
        bench.tell(&[action(1, Open)]).await;
        bench.tell(&[action(2, Resolve)]).await;
        bench.instance.edit(KEY, "state", state);
        bench.instance.script(Method::POST, [Awkward::DoneThen(500)]);
        bench.tell(&[action(3, Reopen)]).await;
        let second = bench.instance.row(&format!("{KEY}-2"));
        assert_eq!(second["description"], "What fails, text 3\n\nFollows INC0010001.\n\nauthwatch revision 3");
        let notes = bench.instance.notes(&second["sys_id"]);
        assert_eq!(notes, ["Opened by authwatch. Follows INC0010001, which is closed. note 3"]);
        let entry = bench.ledger();
        assert_eq!((entry.generation, entry.previous.as_deref()), (2, Some("INC0010001")));
        assert_eq!(entry.remote_key, Some(format!("{KEY}-2")));
        // Everything further is the second ticket's.
        bench.tell(&[action(4, Update), action(5, Resolve)]).await;
        assert_eq!(bench.instance.row(&format!("{KEY}-2"))["state"], "6");
        assert_eq!(bench.instance.row(KEY)["state"], state);
        bench.instance.edit(&format!("{KEY}-2"), "state", "7");
        bench.tell(&[action(6, Reopen)]).await;
        assert_eq!(bench.instance.row(&format!("{KEY}-3"))["state"], "1");
        assert_eq!(bench.instance.lock().rows.len(), 3);
    }
}

#[tokio::test]
async fn a_closed_ticket_that_takes_no_notes_does_not_hold_up_the_next() {
    let bench = Bench::new().await;
    bench.tell(&[action(1, Open)]).await;
    bench.instance.edit(KEY, "state", "7");
    bench.tell(&[action(2, Update), action(3, Resolve), action_of("aw-b", 1, Open)]).await;
    assert_eq!(bench.instance.rows(KEY).len(), 1);
    bench.instance.row("aw-b");
    assert_eq!(bench.told("resolve", "note_refused"), 1.0);
}

#[tokio::test]
async fn double_tickets_are_reduced_to_the_oldest_and_a_persons_stays() {
    let bench = Bench::new().await;
    let ours = [("correlation_id", KEY), ("correlation_display", "authwatch")];
    let young = bench.instance.put(&[&ours[..], &[("sys_created_on", "2026-03-02 12:00:00")]].concat());
    let taken = bench.instance.put(&[&ours[..], &[("sys_created_on", "2026-03-02 11:30:00"), ("state", "2")]].concat());
    let old = bench.instance.put(&[&ours[..], &[("sys_created_on", "2026-03-02 11:00:00")]].concat());
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.drained().await;
    bench.commit(&[action(2, Update)]);
    bench.drained().await;
    bench.stop(running).await;
    let state =
        |id: &str| bench.instance.lock().rows.iter().find(|row| row["sys_id"] == id).expect("a row")["state"].clone();
    assert_eq!((state(&young), state(&taken), state(&old)), ("8".into(), "2".into(), "1".into()));
    let double = ["This is a double of INC0010003, opened by authwatch for the same cause."];
    assert_eq!(bench.instance.notes(&young), double);
    assert_eq!(bench.instance.notes(&taken), double, "once, not with every action");
    assert_eq!(bench.ledger().remote_id, Some(old));
    assert_eq!(bench.instance.sent(&Method::POST).len(), 0);
}

#[tokio::test]
async fn a_double_that_may_not_be_canceled_is_resolved_as_a_duplicate() {
    let bench = Bench::new().await;
    bench.instance.lock().forbidden_states = vec!["8"];
    let ours = [("correlation_id", KEY), ("correlation_display", "authwatch")];
    bench.instance.put(&ours);
    let young = bench.instance.put(&ours);
    bench.tell(&[action(1, Open)]).await;
    let rows = bench.instance.rows(KEY);
    let row = rows.iter().find(|row| row["sys_id"] == young).expect("a row");
    assert_eq!((row["state"].as_str(), row["close_code"].as_str()), ("6", "Duplicate"));
}

#[tokio::test]
async fn a_ticket_that_is_gone_is_not_replaced_until_the_incident_comes_back() {
    let bench = Bench::new().await;
    bench.tell(&[action(1, Open)]).await;
    bench.instance.lock().rows.clear();
    bench.tell(&[action(2, Update), action(3, Resolve)]).await;
    assert_eq!(bench.instance.lock().rows.len(), 0);
    assert_eq!(bench.told("resolve", "gone"), 1.0);
    bench.tell(&[action(4, Reopen)]).await;
    assert!(bench.instance.row(&format!("{KEY}-2"))["description"].contains("Follows INC0010001."));
}

#[tokio::test]
async fn a_ticket_that_lost_our_key_is_a_foreign_row() {
    let bench = Bench::new().await;
    bench.tell(&[action(1, Open)]).await;
    bench.instance.edit(KEY, "correlation_display", "someone");
    let before = bench.instance.lock().rows.clone();
    bench.tell(&[action(2, Update)]).await;
    assert_eq!(bench.instance.lock().rows, before);
    assert_eq!(bench.instance.sent(&Method::PATCH).len(), 0);
    assert_eq!(bench.metric("authwatch_sink_lookup_mismatches_total{", &[]), 1.0);
}

#[tokio::test]
async fn nothing_is_opened_only_to_be_resolved() {
    let bench = Bench::new().await;
    bench.tell(&[action(4, Resolve)]).await;
    assert_eq!(bench.instance.lock().rows.len(), 0);
    assert_eq!(bench.told("resolve", "nothing_to_resolve"), 1.0);
}

#[tokio::test]
async fn a_rate_limit_is_obeyed_and_a_refused_create_is_simply_sent_again() {
    let bench = Bench::new().await;
    bench.instance.script(Method::POST, [Awkward::Refuse(429, Some(2)), Awkward::Refuse(429, None)]);
    bench.tell(&[action(1, Open)]).await;
    bench.instance.row(KEY);
    let seen = bench.instance.lock().seen.clone();
    let methods: Vec<&str> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["GET", "POST", "GET", "POST", "GET", "POST"], "a clear refusal needs no settling");
    assert!(seen[2].at - seen[1].at >= Duration::from_secs(2), "Retry-After");
    assert!(seen[4].at - seen[3].at >= Duration::from_millis(500), "our own delay");
    assert_eq!(bench.metric("authwatch_sink_retries_total{", &["reason=\"rate_limited\""]), 2.0);
    assert_eq!(bench.metric("authwatch_sink_requests_total{", &["result=\"rate_limited\""]), 2.0);
    bench.healthy();
}

#[tokio::test]
async fn an_invalid_action_is_a_dead_letter_and_holds_up_nobody() {
    let bench = Bench::new().await;
    bench.instance.script(Method::POST, [Awkward::Refuse(400, None)]);
    bench.tell(&[action(1, Open), action_of("aw-b", 1, Open)]).await;
    assert_eq!(bench.instance.rows(KEY).len(), 0);
    bench.instance.row("aw-b");
    let letters = bench.store().dead_letters(SINK).expect("reads");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].1.action, Action::Incident(Box::new(action(1, Open))));
    assert_eq!(letters[0].1.reason, "invalid");
    assert!(letters[0].1.detail.contains("answered 400 to POST"), "{}", letters[0].1.detail);
    assert_eq!(bench.told("open", "dead_letter"), 1.0);
    // The incident is not lost: its next step opens the ticket.
    bench.tell(&[action(2, Update)]).await;
    bench.instance.row(KEY);
}

#[tokio::test]
async fn one_incident_that_is_refused_does_not_hold_up_another() {
    let bench = Bench::new().await;
    bench.instance.script(Method::POST, [Awkward::Refuse(403, None)]);
    bench.commit(&[action(1, Open), action_of("aw-b", 1, Open)]);
    let running = bench.start();
    bench.until("the other", || !bench.instance.rows("aw-b").is_empty()).await;
    bench.drained().await;
    bench.stop(running).await;
    let seen = bench.instance.lock().seen.clone();
    let created: Vec<&Value> =
        seen.iter().map(|seen| &seen.body["correlation_id"]).filter(|key| key.is_string()).collect();
    assert_eq!(created, [KEY, "aw-b", KEY]);
}

#[tokio::test]
async fn an_incident_with_hundreds_of_steps_waits_in_order_and_hides_no_other() {
    let bench = Bench::new().await;
    let mut steps: Vec<_> = (2..400).map(|n| action(n, if n % 2 == 0 { Resolve } else { Reopen })).collect();
    steps.insert(0, action(1, Open));
    steps.push(action_of("aw-b", 1, Open));
    bench.instance.script(Method::POST, [Awkward::Refuse(403, None), Awkward::Not]);
    bench.instance.script(Method::POST, vec![Awkward::Refuse(403, None); 50]);
    bench.commit(&steps);
    let running = bench.start();
    bench.until("the other", || !bench.instance.rows("aw-b").is_empty()).await;
    bench.until("tried again", || bench.metric("authwatch_sink_retries_total{", &["forbidden"]) >= 2.0).await;
    bench.stop(running).await;
    assert_eq!(bench.store().count(SINK).expect("counts"), 399);
    assert_eq!(
        bench.metric("authwatch_sink_actions_total{", &["step=\"resolve\""]),
        0.0,
        "nothing overtakes an opening"
    );
}

#[tokio::test]
async fn a_new_password_is_picked_up_at_the_first_refusal() {
    let bench = Bench::new().await;
    let running = bench.start();
    bench.until("reached", || bench.condition().is_some_and(|status| status.ok)).await;
    bench.instance.lock().password = "rotated".to_owned();
    *bench.password.lock().expect("not poisoned") = "rotated".to_owned();
    bench.commit(&[action(1, Open)]);
    bench.drained().await;
    bench.stop(running).await;
    bench.instance.row(KEY);
    assert_eq!(bench.metric("authwatch_sink_retries_total{", &[]), 0.0, "within the same attempt");
}

#[tokio::test]
async fn a_wrong_password_is_known_before_there_is_anything_to_tell() {
    let bench = Bench::new().await;
    *bench.password.lock().expect("not poisoned") = "wrong".to_owned();
    let running = bench.start();
    bench.until("named", || bench.detail().contains("answered 401")).await;
    assert!(bench.detail().ends_with("(check user and password)"), "{}", bench.detail());
    assert!(bench.conditions.ready(), "a sink does not gate readiness");
    bench.commit(&[action(1, Open)]);
    *bench.password.lock().expect("not poisoned") = "secret".to_owned();
    bench.drained().await;
    bench.stop(running).await;
    bench.instance.row(KEY);
    bench.healthy();
}

#[tokio::test]
async fn a_sleeping_instance_and_an_endless_answer_have_names_and_pass() {
    let bench = Bench::new().await;
    bench.instance.script(Method::GET, [Awkward::Page, Awkward::Endless]);
    bench.tell(&[action(1, Open)]).await;
    bench.instance.row(KEY);
    assert_eq!(bench.metric("authwatch_sink_retries_total{", &["reason=\"hibernating\""]), 1.0);
    assert_eq!(bench.metric("authwatch_sink_retries_total{", &["reason=\"body_too_large\""]), 1.0);
}

#[tokio::test]
async fn a_key_that_would_change_the_query_is_never_sent() {
    let bench = Bench::new().await;
    bench.tell(&[action_of("aw-1^ORstate=1", 1, Open)]).await;
    let seen = bench.instance.lock().seen.clone();
    assert!(seen.iter().all(|seen| seen.method == Method::GET && seen.query.contains("aw-probe")), "{seen:#?}");
    assert_eq!(bench.store().dead_letters(SINK).expect("reads").len(), 1);
}

#[tokio::test]
async fn a_stop_ends_a_worker_that_waits_and_finishes_what_is_due() {
    let bench = Bench::new().await;
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    // At once: what was committed before the stop is still told.
    bench.stop(running).await;
    bench.instance.row(KEY);

    bench.instance.script(Method::GET, vec![Awkward::Refuse(503, Some(3_000)); 50]);
    bench.commit(&[action(2, Update)]);
    let running = bench.start();
    bench.until("refused", || bench.detail().contains("answered 503")).await;
    tokio::time::timeout(act::DRAIN, bench.stop(running)).await.expect("does not wait for the server");
    assert_eq!(bench.store().count(SINK).expect("counts"), 1, "kept for the next start");
}

fn oauth() -> Value {
    json!({ "auth": { "oauth": { "client_id": "client", "client_secret": { "env": "SN_CLIENT" } } } })
}

#[tokio::test]
async fn a_token_is_asked_for_once_as_a_form_and_kept() {
    let bench = Bench::with(oauth()).await;
    bench.tell(&[action(1, Open), action(2, Update)]).await;
    bench.instance.row(KEY);
    assert_eq!(
        bench.instance.lock().token_requests,
        ["grant_type=client_credentials&client_id=client&client_secret=s+%26+c"]
    );
    bench.healthy();
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let bench = Bench::with(oauth()).await;
    bench.instance.lock().expires_in = 1;
    let running = bench.start();
    bench.until("reached", || bench.condition().is_some_and(|status| status.ok)).await;
    tokio::time::sleep(Duration::from_millis(950)).await;
    bench.commit(&[action(1, Open)]);
    bench.drained().await;
    bench.stop(running).await;
    assert!(bench.instance.lock().token_requests.len() >= 2);
    assert_eq!(bench.metric("authwatch_sink_retries_total{", &[]), 0.0, "no request met its end");
}

#[tokio::test]
async fn a_refused_token_is_asked_for_anew_once() {
    let bench = Bench::with(oauth()).await;
    let running = bench.start();
    bench.until("reached", || bench.condition().is_some_and(|status| status.ok)).await;
    bench.instance.lock().token.clear();
    bench.commit(&[action(1, Open)]);
    bench.drained().await;
    assert_eq!(bench.metric("authwatch_sink_retries_total{", &[]), 0.0, "within the same attempt");
    assert_eq!(bench.instance.lock().token_requests.len(), 2);
    bench.stop(running).await;
    bench.instance.row(KEY);
}

#[tokio::test]
async fn trap_the_same_token_again_is_nothing_new_to_try() {
    let bench = Bench::with(oauth()).await;
    bench.instance.lock().token = "given-before".to_owned();
    bench.instance.script(Method::GET, [Awkward::Refuse(401, None)]);
    let running = bench.start();
    bench.until("named", || bench.detail().contains("answered 401 to GET on `incident`")).await;
    assert_eq!(bench.instance.sent(&Method::GET).len(), 1);
    assert_eq!(bench.instance.lock().token_requests.len(), 2);
    bench.stop(running).await;
}

#[tokio::test]
async fn a_client_that_gets_no_token_says_what_to_look_at() {
    let bench = Bench::with(oauth()).await;
    bench.instance.lock().refuse_tokens = [401, 503, 429].into();
    bench.commit(&[action(1, Open)]);
    let running = bench.start();
    bench.until("named", || bench.detail().contains("check `client_id` and `client_secret`")).await;
    assert!(bench.detail().contains("401 to the request for a token: access_denied awkward"), "{}", bench.detail());
    bench.drained().await;
    bench.stop(running).await;
    bench.instance.row(KEY);
    assert_eq!(bench.instance.sent(&Method::POST).len(), 1, "nothing was sent without a token");
    for reason in ["unauthorized", "server_error", "rate_limited"] {
        let labels = [&*format!("reason=\"{reason}\"")];
        assert_eq!(bench.metric("authwatch_sink_retries_total{", &labels), 1.0, "{reason}");
    }
}

#[tokio::test]
async fn an_api_key_goes_in_its_header_and_a_new_one_is_picked_up() {
    let bench = Bench::with(json!({ "auth": { "api_key": { "env": "SN_PASSWORD" } } })).await;
    bench.instance.lock().api_key = "secret".to_owned();
    bench.tell(&[action(1, Open)]).await;
    bench.instance.row(KEY);
    let running = bench.start();
    bench.until("reached", || bench.condition().is_some_and(|status| status.ok)).await;
    bench.instance.lock().api_key = "rotated".to_owned();
    *bench.password.lock().expect("not poisoned") = "rotated".to_owned();
    bench.commit(&[action(2, Resolve)]);
    bench.drained().await;
    bench.stop(running).await;
    assert_eq!(bench.instance.row(KEY)["state"], "6");
    assert_eq!(bench.metric("authwatch_sink_retries_total{", &[]), 0.0);
    let queries: Vec<String> = bench.instance.lock().seen.iter().map(|seen| seen.query.clone()).collect();
    assert!(queries.iter().all(|query| !query.contains("secret")), "never in the address: {queries:?}");
}

/// A change request whose planned window covers the onset of [`action`].
fn change(number: &str) -> Value {
    json!({
        "number": number, "state": "-1", "short_description": "Okta policy push", "category": "software",
        "cmdb_ci": { "link": "https://x/ci1", "value": "ci1" },
        "start_date": "2026-03-02 10:00:00", "end_date": "2026-03-02 11:00:00",
    })
}

async fn opening_note(bench: &Bench) -> String {
    bench.tell(&[action(1, Open)]).await;
    let row = bench.instance.row(KEY);
    bench.instance.notes(&row["sys_id"])[0].clone()
}

#[tokio::test]
async fn a_ticket_names_the_changes_that_were_planned_for_its_onset() {
    let bench = Bench::with(json!({ "changes": { "category": "software", "short_description": "okta" } })).await;
    bench.instance.lock().changes = vec![change("CHG0030001"), change("CHG0030002")];
    let note = opening_note(&bench).await;
    assert_eq!(
        note,
        "Opened by authwatch. note 1\nChanges in an approved window at onset: \
         CHG0030001 (2026-03-02 10:00:00 to 2026-03-02 11:00:00 UTC), \
         CHG0030002 (2026-03-02 10:00:00 to 2026-03-02 11:00:00 UTC)"
    );
    bench.tell(&[action(2, Update)]).await;
    assert_eq!(
        bench.instance.lock().change_queries,
        ["stateIN-2,-1,0,3^start_date<=2026-03-02 10:01:00^end_date>=2026-03-02 10:01:00^category=software\
          ^short_descriptionLIKEokta^ORDERBYstart_date"],
        "once, when it opens"
    );
    bench.healthy();
}

#[tokio::test]
async fn the_one_change_of_the_time_is_the_cause_where_the_owner_says_so() {
    let with_id = |number: &str, id: &str| {
        let mut change = change(number);
        change["sys_id"] = json!(id);
        change
    };
    for (changes, cause) in [
        (vec![with_id("CHG0030001", "c1")], Some("c1")),
        (vec![with_id("CHG0030001", "c1"), with_id("CHG0030002", "c2")], None),
        (Vec::new(), None),
    ] {
        let bench = Bench::with(json!({ "changes": { "category": "software", "caused_by": true } })).await;
        bench.instance.lock().changes = changes;
        bench.tell(&[action(1, Open)]).await;
        assert_eq!(bench.instance.row(KEY).get("caused_by").map(String::as_str), cause);
    }
}

#[tokio::test]
async fn a_ticket_without_a_planned_change_says_so_and_one_that_is_not_to_ask_does_not() {
    let bench = Bench::with(json!({ "changes": true })).await;
    let note = opening_note(&bench).await;
    assert!(note.ends_with("Changes in an approved window at onset: none that authwatch may read"), "{note}");
    let bench = Bench::new().await;
    assert_eq!(opening_note(&bench).await, "Opened by authwatch. note 1");
    assert!(bench.instance.lock().change_queries.is_empty());
}

#[tokio::test]
async fn trap_a_query_that_loses_its_conditions_names_no_foreign_change() {
    let bench = Bench::with(json!({ "changes": true })).await;
    let mut foreign = change("CHG0030009");
    foreign["end_date"] = json!("2026-03-02 10:00:30");
    bench.instance.lock().changes = vec![change("CHG0030001"), foreign];
    let note = opening_note(&bench).await;
    assert!(note.ends_with("onset: not known (change requests could not be read)"), "{note}");
    assert!(bench.detail().contains("look-ups return changes that were not asked for"), "{}", bench.detail());
    assert_eq!(bench.metric("authwatch_sink_lookup_mismatches_total{", &[]), 1.0);
}

#[tokio::test]
async fn changes_that_cannot_be_read_never_hold_up_a_ticket() {
    for fault in [ChangesFault::Status(403), ChangesFault::Status(500), ChangesFault::Silence] {
        let bench = Bench::with(json!({ "changes": true, "timeout": "30s" })).await;
        bench.instance.lock().changes_fault = Some(fault);
        let began = authwatch::clock::monotonic();
        let note = opening_note(&bench).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{fault:?}");
        assert!(note.ends_with("not known (change requests could not be read)"), "{fault:?}: {note}");
        assert!(bench.detail().starts_with("change requests cannot be read: "), "{fault:?}: {}", bench.detail());
        assert_eq!(bench.metric("authwatch_sink_retries_total{", &[]), 0.0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_sink_that_goes_live_opens_one_whole_ticket_for_what_is_open() {
    let mut bench = Bench::with(json!({ "mode": "shadow" })).await;
    bench.tell(&[action(1, Open)]).await;
    bench.tell(&[action(2, Update)]).await;
    assert!(bench.instance.lock().seen.iter().all(|seen| seen.method == Method::GET), "nothing was written");
    assert_eq!(bench.ledger().shadowed, [Open, Update]);
    bench.config["mode"] = json!("live");
    bench.instance.script(Method::POST, [Awkward::DoneThen(500)]);
    let running = bench.start();
    bench
        .until("told", || bench.store().ledger(SINK, KEY).expect("reads").is_some_and(|entry| entry.revision == 2))
        .await;
    bench.stop(running).await;
    let row = bench.instance.row(KEY);
    assert_eq!(row["description"], "What fails, text 2\n\nauthwatch revision 2");
    assert_eq!(bench.instance.notes(&row["sys_id"]), ["Opened by authwatch. note 2"]);
    bench.tell(&[action(3, Resolve)]).await;
    assert_eq!(bench.instance.row(KEY)["state"], "6");
}

#[test]
fn the_pages_examples_are_valid() {
    examples::check("servicenow");
}
