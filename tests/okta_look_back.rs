//! What polling does not deliver, a look back finds, counts and hands on once; and where polling keeps its promise, a
//! look back finds nothing. A poller of the library against the simulated Okta, whose clock the test moves.

#![expect(
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    dead_code,
    reason = "helpers of tests fail as tests do, and are shared with tests that use more of them"
)]

#[path = "daemon/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use authwatch::classify::{Reader, Tables};
use authwatch::event::{Org, SourceName, Span};
use authwatch::input::Input;
use authwatch::sim::{Awkward, Handles, OktaConfig, OktaFault, Scenario};
use authwatch::source::okta::{Config, Okta};
use authwatch::source::{Batch, ReadPage};
use authwatch::telemetry::condition::Conditions;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use process::{serve, settings, start};
use serde_json::json;
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(60);

/// A poller that runs, and how often each event came from it.
struct Poller {
    batches: mpsc::Receiver<Batch>,
    stop: watch::Sender<bool>,
    seen: BTreeMap<String, u32>,
    metrics: PrometheusHandle,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

impl Poller {
    fn start(world: &Handles, extra: &serde_json::Value) -> Self {
        let recorder: &'static PrometheusRecorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let guard = metrics::set_default_local_recorder(recorder);
        let mut section = json!({
            "url": world.okta_url, "auth": { "ssws": { "env": "T" } }, "poll_interval": "100ms", "start": "8h",
            "limit": 200, "rate_share": 1.0,
        });
        for (key, value) in extra.as_object().expect("an object") {
            section[key] = value.clone();
        }
        let config: Config = serde_json::from_value(section).expect("a valid section");
        let condition = Conditions::default().declare("source/okta:acme", true, "not polled yet");
        let reader = Reader::new(Org::new("acme"), Arc::new(Tables::embedded()));
        let read: ReadPage = Arc::new(move |body, each| {
            let mut whole = |read, text: &str| each(read, Some(text.into()));
            reader.read_page_with_text(body, &mut whole).map_err(|error| error.to_string())
        });
        let token = Arc::new(|name: &str| (name == "T").then(|| OktaConfig::default().token));
        let okta = Okta::new(config, SourceName::new("okta:acme"), None, read, condition, token.into());
        let (out, batches) = mpsc::channel(1);
        let (stop, shutdown) = watch::channel(false);
        tokio::spawn(okta.expect("builds").run(out, shutdown));
        Self { batches, stop, seen: BTreeMap::new(), metrics: recorder.handle(), _recorder: guard }
    }

    /// Takes what comes until `enough`; says whether a batch moved no position although it held events.
    async fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) -> bool {
        let mut beside = false;
        let taking = async {
            while !enough(self) {
                let batch = self.batches.recv().await.expect("a batch");
                let mut events = 0;
                let mut texts = batch.texts.iter();
                for (at, input) in batch.inputs.iter().enumerate() {
                    if let Input::Event { event, .. } = input {
                        let (of, text) = texts.next().expect("a text for each event");
                        assert!(*of == at && text.contains(event.uuid.as_str()), "the text is of another event");
                        *self.seen.entry(event.uuid.to_string()).or_default() += 1;
                        events += 1;
                    }
                }
                beside |= batch.position.is_none() && events > 0;
            }
        };
        tokio::time::timeout(PATIENCE, taking).await.unwrap_or_else(|_| panic!("{what} in time"));
        beside
    }

    fn metric(&self, series: &str) -> u64 {
        let page = self.metrics.render();
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    fn found(&self) -> u64 {
        self.metric("authwatch_source_gap_events_total{source=\"okta:acme\"}")
    }

    fn requests(&self) -> u64 {
        self.metric("authwatch_source_requests_total{source=\"okta:acme\",result=\"ok\"}")
    }

    /// Takes what is new since the clock was moved.
    async fn news(&mut self) {
        let before = self.seen.len();
        self.until("news", |poller| poller.seen.len() > before).await;
        self.polls(2).await;
    }

    /// Lets some polls pass.
    async fn polls(&mut self, more: u64) {
        let before = self.requests();
        self.until("more polls", |poller| poller.requests() >= before + more).await;
    }
}

/// An org whose every record is an event, and comes once.
async fn world() -> Handles {
    let mut settings = settings(Scenario::QuietWeek, 400, start() + Span::minutes(30));
    settings.awkward = Awkward::NONE;
    serve(settings).await
}

#[tokio::test]
async fn what_polling_leaves_out_is_found_counted_and_handed_on_once() {
    let world = world().await;
    let mut poller = Poller::start(&world, &json!({}));
    poller.polls(3).await;
    let before = poller.seen.len();
    for _ in 0..3 {
        world.okta.faults().queue(OktaFault::LeavesOut);
        world.clock.advance(Span::minutes(5));
        poller.news().await;
    }
    assert!(poller.seen.len() > before + 10, "events came");
    assert_eq!(poller.found(), 0, "no look was due");
    world.clock.advance(Span::minutes(16));
    let beside = poller.until("three found", |poller| poller.found() == 3).await;
    poller.polls(3).await;
    assert!(beside, "what is found moves no position");
    for _ in 0..3 {
        world.clock.advance(Span::minutes(31));
        poller.polls(6).await;
    }
    assert_eq!(poller.found(), 3, "later looks over the same time find nothing more");
    assert!(poller.seen.values().all(|times| *times == 1), "{:?}", poller.seen);
    let truth = world.okta.truth();
    assert!(poller.seen.len() as u64 > truth.events / 4, "{} of {}", poller.seen.len(), truth.events);
    poller.stop.send_replace(true);
}

#[tokio::test]
async fn where_polling_keeps_its_promise_nothing_is_found_whatever_comes_late() {
    let mut settings = settings(Scenario::QuietWeek, 400, start() + Span::minutes(30));
    settings.awkward = Awkward { bad: 0.0, ..Awkward::default() };
    let world = serve(settings).await;
    let mut poller = Poller::start(&world, &json!({}));
    poller.polls(3).await;
    let before = world.okta.looks();
    for _ in 0..12 {
        world.clock.advance(Span::minutes(10));
        poller.news().await;
    }
    assert!(world.okta.looks() >= before + 3, "looks were made");
    // What is stored late is there for a look before the next poll has brought it only where it is older than two
    // minutes; it is handed on twice then, and the core takes it once.
    assert!(poller.found() <= 5, "{}", poller.found());
    poller.stop.send_replace(true);
}

#[tokio::test]
async fn a_look_that_fails_is_no_trouble_of_polling_and_the_next_one_covers_it() {
    let world = world().await;
    let mut poller = Poller::start(&world, &json!({}));
    poller.polls(3).await;
    world.okta.faults().queue(OktaFault::LeavesOut);
    world.clock.advance(Span::minutes(10));
    poller.news().await;
    // The poll that comes first takes one of them.
    world.okta.faults().set_chances(vec![(OktaFault::ServerError, 0.6)]);
    world.clock.advance(Span::minutes(21));
    poller.polls(4).await;
    world.okta.faults().set_chances(Vec::new());
    world.clock.advance(Span::minutes(31));
    poller.until("found by the next look", |poller| poller.found() == 1).await;
    poller.stop.send_replace(true);
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let world = world().await;
    let mut poller = Poller::start(&world, &json!({ "look_back": "0s" }));
    poller.polls(3).await;
    world.okta.faults().queue(OktaFault::LeavesOut);
    for _ in 0..4 {
        world.clock.advance(Span::minutes(31));
        poller.polls(3).await;
    }
    assert_eq!(poller.found(), 0);
    poller.stop.send_replace(true);
}
