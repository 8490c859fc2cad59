//! The Okta source against a scripted stand-in over real HTTP: every page once, and every trouble met as it should be.

#![expect(clippy::expect_used, reason = "a test may fail anywhere")]

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authwatch::event::{
    AuthEvent, Context, Credential, EventId, Kind, Org, Outcome, Part, Platform, Reason, Reject, SourceName, Span,
    Timestamp,
};
use authwatch::input::Input;
use authwatch::source::okta::{Config, Okta, Timing};
use authwatch::source::{Batch, Position, ReadPage};
use authwatch::telemetry::condition::Conditions;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use serde_json::json;
use smol_str::SmolStr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// The stand-in's clock: nowhere near the host's.
const DATE: &str = "Tue, 28 Jul 2020 08:00:00 GMT";
const DATE_S: i64 = 1_595_923_200;

/// Longer than the clocks of the host and the stand-in differ.
const CENTURY: Span = Span::hours(24 * 36_500);

/// The longest that a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

// The stand-in ------------------------------------------------------------------------------------------------------

/// One scripted reply, written to the wire as it stands.
#[derive(Clone, Debug, Default)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Announce the whole body, send half of it and hang up.
    torn: bool,
}

impl Reply {
    fn status(status: u16) -> Self {
        Self { status, ..Self::default() }.header("Date", DATE)
    }

    /// A page of events with these uuids, and the link to go on; `{base}` stands for the server's own address.
    fn page(uuids: &[&str], next: &str) -> Self {
        let events: Vec<String> = uuids.iter().map(|uuid| event(uuid, "2020-07-28T07:59:50.000Z")).collect();
        Self::events(&events, next)
    }

    fn events(events: &[String], next: &str) -> Self {
        Self::status(200)
            .header("Content-Type", "application/json")
            .header("Link", "<{base}/api/v1/logs?self>; rel=\"self\"")
            .header("Link", &format!("<{next}>; rel=\"next\""))
            .body(&format!("[{}]", events.join(",")))
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn limits(self, limit: u32, remaining: u32, reset_s: i64) -> Self {
        self.header("X-Rate-Limit-Limit", &limit.to_string())
            .header("X-Rate-Limit-Remaining", &remaining.to_string())
            .header("X-Rate-Limit-Reset", &reset_s.to_string())
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| header != name);
        self
    }

    fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    fn bytes(&self, base: &str) -> Vec<u8> {
        let mut head =
            format!("HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {}\r\n", value.replace("{base}", base)));
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend(if self.torn { &self.body[..self.body.len() / 2] } else { &self.body[..] });
        bytes
    }
}

fn event(uuid: &str, published: &str) -> String {
    format!(r#"{{"uuid":"{uuid}","published":"{published}","eventType":"user.session.start"}}"#)
}

/// A request as the stand-in saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Asked {
    /// Path and query.
    target: String,
    authorization: String,
    headers: BTreeMap<String, String>,
}

/// A server that gives scripted replies in order, the last one for ever.
#[derive(Clone)]
struct StandIn {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl StandIn {
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let stand_in = Self { address, asked: Arc::default(), replies: Arc::new(Mutex::new(replies.into())) };
        let serving = stand_in.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // One at a time: a second request in flight would hang, and the test with it.
                serving.serve(stream).await;
            }
        });
        stand_in
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte).await {
                Ok(1) => request.push(byte[0]),
                _ => return,
            }
        }
        let text = String::from_utf8(request).expect("a request is ASCII");
        let mut lines = text.lines();
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a request line").to_owned();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let authorization = headers.get("authorization").cloned().unwrap_or_default();
        self.asked.lock().expect("no panic").push(Asked { target, authorization, headers });
        let reply = {
            let mut replies = self.replies.lock().expect("no panic");
            if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }.expect("a script")
        };
        let _ = stream.write_all(&reply.bytes(&self.base())).await;
        let _ = stream.shutdown().await;
    }

    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    fn targets(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").iter().map(|asked| asked.target.clone()).collect()
    }

    fn then(&self, replies: Vec<Reply>) {
        *self.replies.lock().expect("no panic") = replies.into();
    }
}

// The source under test ---------------------------------------------------------------------------------------------

/// Reads pages as leniently as need be; what matters here is which records come, not what they mean.
fn reader() -> ReadPage {
    Arc::new(|body, each| {
        let records: Vec<serde_json::Value> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        for record in &records {
            let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
            let published = Timestamp::parse(&text("published"));
            let event_type = record["eventType"].as_str().ok_or(Reject::NoEventType);
            let event = event_type.map(|event_type| an_event(&text("uuid"), published, event_type));
            each(event, event_type.ok().map(|_| record.to_string().into()));
        }
        Ok(records.len())
    })
}

fn an_event(uuid: &str, published: Option<Timestamp>, event_type: &str) -> AuthEvent {
    let org = Org::new("acme");
    AuthEvent {
        id: EventId::from_uuid(&org, uuid, published, event_type),
        org,
        uuid: SmolStr::new(uuid),
        published,
        event_type: SmolStr::new(event_type),
        kind: Kind::Session,
        part: Part::SignIn,
        credential: Credential::None,
        phishing_resistant: None,
        outcome: Outcome::Unknown,
        okta_outcome: SmolStr::default(),
        reason: Reason::None,
        person: None,
        flow: None,
        app: None,
        rule: None,
        platform: Platform::Unknown,
        device: None,
        context: Context::default(),
        change: None,
    }
}

/// A running source, its metrics and its conditions.
struct Running {
    batches: mpsc::Receiver<Batch>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    conditions: Conditions,
    metrics: PrometheusHandle,
    token: Arc<Mutex<Option<String>>>,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

fn fast() -> Timing {
    Timing {
        least: Duration::from_millis(5),
        most: Duration::from_millis(40),
        slow_least: Duration::from_millis(20),
        slow_most: Duration::from_millis(40),
        token_check: Duration::from_millis(5),
        jitter: 0.0,
        clocks_differ: CENTURY,
        ..Timing::default()
    }
}

impl Running {
    fn start(stand_in: &StandIn, position: Option<Position>) -> Self {
        Self::start_with(stand_in, position, fast(), json!({}))
    }

    /// The recorder is this thread's: every test runs on a runtime of one thread.
    fn start_with(stand_in: &StandIn, position: Option<Position>, timing: Timing, extra: serde_json::Value) -> Self {
        let recorder: &'static PrometheusRecorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let guard = metrics::set_default_local_recorder(recorder);
        let mut section = json!({
            "url": stand_in.base(), "auth": {"ssws": {"env": "T"}}, "poll_interval": "100ms", "limit": 3,
        });
        for (key, value) in extra.as_object().expect("an object") {
            section[key] = value.clone();
        }
        let config: Config = serde_json::from_value(section).expect("a valid section");
        let conditions = Conditions::default();
        let condition = conditions.declare("source/okta:acme", true, "not polled yet");
        let token = Arc::new(Mutex::new(Some("first".to_owned())));
        let lookup = token.clone();
        let environment =
            Arc::new(move |name: &str| if name == "T" { lookup.lock().expect("no panic").clone() } else { None });
        let okta = Okta::new(config, SourceName::new("okta:acme"), position, reader(), condition, environment.into());
        let okta = okta.expect("builds").with_timing(timing);
        let (out, batches) = mpsc::channel(2);
        let (stop, shutdown) = watch::channel(false);
        let task = tokio::spawn(okta.run(out, shutdown));
        Self { batches, stop, task, conditions, metrics: recorder.handle(), token, _recorder: guard }
    }

    async fn batch(&mut self) -> Batch {
        let batch = tokio::time::timeout(PATIENCE, self.batches.recv()).await.expect("a batch in time");
        let batch = batch.expect("a batch");
        // Each event has its own record's text and no other's.
        let mut texts = batch.texts.iter();
        for (at, input) in batch.inputs.iter().enumerate() {
            if let Input::Event { event, .. } = input {
                let (of, text) = texts.next().expect("a text for every event");
                assert!(*of == at && text.contains(event.uuid.as_str()), "{at}: {of} {text}");
            }
        }
        assert_eq!(texts.next(), None);
        batch
    }

    /// Batches up to the one that brings `uuid`, that one with it.
    async fn until(&mut self, uuid: &str) -> Vec<Batch> {
        let mut batches = vec![self.batch().await];
        while !batches.last().is_some_and(|batch| uuids(batch).iter().any(|seen| seen == uuid)) {
            batches.push(self.batch().await);
        }
        batches
    }

    /// Waits until the source's condition reads so.
    async fn condition(&self, fits: impl Fn(bool, &str) -> bool) -> String {
        let waiting = async {
            loop {
                let status = self.conditions.read()["source/okta:acme"].clone();
                if fits(status.ok, &status.detail) {
                    return status.detail;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the condition in time")
    }

    /// The value of the series that is written as `series`, labels and all.
    fn metric(&self, series: &str) -> Option<f64> {
        let page = self.metrics.render();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
        line.map(|value| value.parse().expect("a number"))
    }

    fn requests(&self, result: &str) -> Option<f64> {
        self.metric(&format!("authwatch_source_requests_total{{source=\"okta:acme\",result=\"{result}\"}}"))
    }

    fn gaps(&self, cause: &str) -> Option<f64> {
        self.metric(&format!("authwatch_source_gaps_total{{source=\"okta:acme\",cause=\"{cause}\"}}"))
    }

    async fn stop(self) {
        self.stop.send(true).expect("still listening");
        tokio::time::timeout(PATIENCE, self.task).await.expect("stops").expect("no panic");
    }
}

fn uuids(batch: &Batch) -> Vec<String> {
    let events = batch.inputs.iter().filter_map(|input| match input {
        Input::Event { event, .. } => Some(event.uuid.to_string()),
        Input::Configure(_)
        | Input::Reject { .. }
        | Input::Progress { .. }
        | Input::Policies { .. }
        | Input::Members { .. } => None,
    });
    events.collect()
}

fn all_uuids(batches: &[Batch]) -> Vec<String> {
    batches.iter().flat_map(uuids).collect()
}

fn progress(now: Timestamp, caught_up: bool) -> Input {
    Input::Progress { source: SourceName::new("okta:acme"), now: Some(now), caught_up }
}

const SERVER_NOW: Timestamp = Timestamp(DATE_S * 1_000);

fn at(base: &str, after: &str, newest: Option<&str>) -> Position {
    Position::Okta { next: format!("{base}/api/v1/logs?after={after}"), newest: newest.and_then(Timestamp::parse) }
}

// Paging ------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_cold_start_begins_by_the_servers_clock_where_the_hosts_is_wrong() {
    let okta = StandIn::start(vec![
        Reply::page(&["a"], "{base}/api/v1/logs?after=1"),
        Reply::page(&["b"], "{base}/api/v1/logs?after=2"),
        Reply::page(&[], "{base}/api/v1/logs?after=3"),
    ])
    .await;
    let timing = Timing { clocks_differ: Span::minutes(1), ..fast() };
    let mut source = Running::start_with(&okta, None, timing, json!({}));
    assert_eq!(uuids(&source.batch().await), ["b"], "the page from the wrong beginning is dropped");
    source.batch().await;
    let targets = okta.targets();
    // To the minute: the milliseconds since the reply are in it.
    assert!(targets[1].contains("since=2020-07-27T08%3A00%3A"), "{} begins 24 h before {SERVER_NOW}", targets[1]);
    assert!(targets[2].ends_with("after=2"), "{targets:?}");
    source.stop().await;
}

#[tokio::test]
async fn every_page_is_delivered_once_in_order_between_the_servers_clock() {
    let okta = StandIn::start(vec![
        Reply::page(&["a", "b", "c"], "{base}/api/v1/logs?after=1"),
        Reply::page(&["d"], "{base}/api/v1/logs?after=2"),
        Reply::page(&[], "{base}/api/v1/logs?after=3"),
        Reply::page(&["e"], "{base}/api/v1/logs?after=4"),
        Reply::page(&[], "{base}/api/v1/logs?after=5"),
    ])
    .await;
    let mut source = Running::start(&okta, None);
    let batches = source.until("e").await;
    assert_eq!(all_uuids(&batches), ["a", "b", "c", "d", "e"]);

    // A full page: no word that everything is delivered, and no pause after it.
    assert_eq!(batches[0].inputs.len(), 4);
    assert_eq!(batches[0].inputs[0], progress(SERVER_NOW, false));
    assert!(batches[0].backlog);
    // A short page says so at its end.
    assert_eq!(batches[1].inputs.len(), 3);
    assert_eq!(batches[1].inputs[0], progress(SERVER_NOW, false));
    assert_eq!(batches[1].inputs[2], progress(SERVER_NOW, true));
    assert!(!batches[1].backlog);
    // An empty page still moves the clock and the link.
    assert_eq!(batches[2].inputs, [progress(SERVER_NOW, false), progress(SERVER_NOW, true)]);
    let newest = Some("2020-07-28T07:59:50.000Z");
    let positions: Vec<_> = batches.iter().map(|batch| batch.position.clone().expect("a position")).collect();
    assert_eq!(positions, ["1", "2", "3", "4"].map(|after| at(&okta.base(), after, newest)));

    let targets = okta.targets();
    let query: BTreeMap<String, String> = url::Url::parse(&format!("{}{}", okta.base(), targets[0]))
        .expect("an address")
        .query_pairs()
        .into_owned()
        .collect();
    assert!(targets[0].starts_with("/api/v1/logs?since="), "{}", targets[0]);
    assert_eq!(query.keys().map(String::as_str).collect::<Vec<_>>(), ["limit", "since", "sortOrder"]);
    assert_eq!((query["limit"].as_str(), query["sortOrder"].as_str()), ("3", "ASCENDING"));
    let since = Timestamp::parse(&query["since"]).expect("a time");
    assert_eq!(query["since"], since.to_string(), "with milliseconds and `Z`");
    let age = authwatch::clock::now() - since;
    assert!((Span::hours(24)..Span::hours(25)).contains(&age), "{age:?}");
    assert_eq!(&targets[1..4], ["1", "2", "3"].map(|after| format!("/api/v1/logs?after={after}")));

    let first = okta.asked.lock().expect("no panic")[0].clone();
    assert_eq!(first.authorization, "SSWS first");
    assert_eq!(first.headers["accept"], "application/json");
    assert!(first.headers["accept-encoding"].contains("gzip"));
    assert!(first.headers["user-agent"].starts_with("authwatch/"));
    assert_eq!(source.metric("authwatch_source_records_total{source=\"okta:acme\"}"), Some(5.0));
    source.condition(|ok, _| ok).await;
    source.stop().await;
}

#[tokio::test]
async fn a_stored_position_is_gone_on_from() {
    let okta = StandIn::start(vec![Reply::page(&["a"], "{base}/api/v1/logs?after=8")]).await;
    let mut source = Running::start(&okta, Some(at(&okta.base(), "7", Some("2020-07-28T07:59:55.000Z"))));
    let batch = source.batch().await;
    assert_eq!(okta.targets()[0], "/api/v1/logs?after=7");
    // An older event does not move the newest one back.
    assert_eq!(batch.position, Some(at(&okta.base(), "8", Some("2020-07-28T07:59:55.000Z"))));
    source.stop().await;
}

#[tokio::test]
async fn a_page_is_short_by_the_limit_in_its_own_link_and_not_by_the_configured_one() {
    let okta = StandIn::start(vec![
        Reply::page(&["a", "b"], "{base}/api/v1/logs?limit=2&after=8"),
        Reply::page(&["c"], "{base}/api/v1/logs?limit=2&after=9"),
    ])
    .await;
    let position = Position::Okta { next: format!("{}/api/v1/logs?limit=2&after=7", okta.base()), newest: None };
    let mut source = Running::start(&okta, Some(position));
    let batches = source.until("c").await;
    assert_eq!(batches.iter().map(|batch| batch.backlog).collect::<Vec<_>>(), [true, false]);
    assert!(!batches[0].inputs.contains(&progress(SERVER_NOW, true)), "two of two is a full page");
    source.stop().await;
}

#[tokio::test]
async fn rejects_keep_their_place_among_the_events() {
    let events = [event("a", "2020-07-28T07:00:00.000Z"), "{}".into(), event("b", "2020-07-28T07:00:01.000Z")];
    let okta = StandIn::start(vec![
        Reply::events(&events, "{base}/api/v1/logs?after=1"),
        Reply::page(&[], "{base}/api/v1/logs?after=1"),
    ])
    .await;
    let mut source = Running::start(&okta, None);
    let batch = source.batch().await;
    assert!(batch.backlog, "a reject fills its place in the page");
    let reject = Input::Reject { source: SourceName::new("okta:acme"), reason: Reject::NoEventType };
    assert_eq!(batch.inputs[2], reject);
    assert_eq!(uuids(&batch), ["a", "b"]);
    source.stop().await;
}

#[tokio::test]
async fn an_event_without_a_time_does_not_become_the_newest() {
    let events = [event("a", "2020-07-28T07:00:00.000Z"), event("b", "redacted")];
    let okta = StandIn::start(vec![
        Reply::events(&events, "{base}/api/v1/logs?after=1"),
        Reply::events(&[event("c", "")], "{base}/api/v1/logs?after=2"),
        Reply::page(&[], "{base}/api/v1/logs?after=2"),
    ])
    .await;
    let mut source = Running::start(&okta, Some(at(&okta.base(), "0", None)));
    let newest = Some("2020-07-28T07:00:00.000Z");
    for (uuid, after) in [(&["a", "b"][..], "1"), (&["c"][..], "2")] {
        let batch = source.batch().await;
        assert_eq!(uuids(&batch), uuid);
        assert_eq!(batch.position, Some(at(&okta.base(), after, newest)));
    }
    source.stop().await;
}

#[tokio::test]
async fn links_are_read_as_rfc_8288_writes_them() {
    let link = "<{base}/api/v1/logs?filter=a,b;c>; rel=self, <{base}/api/v1/logs?filter=a,b;c&after=9>; title=\"x, y\"; rel=next";
    let okta = StandIn::start(vec![
        Reply::page(&["a"], "x").without("Link").header("Link", link),
        Reply::page(&["b"], "/api/v1/logs?after=relative"),
        Reply::page(&["c"], "{base}/api/v1/logs?after=end"),
    ])
    .await;
    let mut source = Running::start(&okta, None);
    source.until("c").await;
    assert_eq!(okta.targets()[1..3], ["/api/v1/logs?filter=a,b;c&after=9", "/api/v1/logs?after=relative"]);
    source.stop().await;
}

// Pages that must not be taken --------------------------------------------------------------------------------------

/// A reply that is no good page is asked for again at the same address, and nothing of it is delivered.
async fn discards(bad: Reply, label: &str, detail: &str) {
    // One that passes by itself is reported from the third on, one that a person must end at once.
    let reported: u16 = if ["redirected", "foreign_link"].contains(&label) { 1 } else { 3 };
    let okta = StandIn::start(vec![Reply::page(&["a"], "{base}/api/v1/logs?after=1"), bad]).await;
    let mut source = Running::start(&okta, None);
    assert_eq!(uuids(&source.batch().await), ["a"]);
    let said = source.condition(|ok, said| !ok && said.contains(detail)).await;
    assert!(!said.contains("after="), "a cursor is no text for people: {said}");
    assert!(source.requests(label).expect(label) >= f64::from(reported), "{label}");
    okta.then(vec![Reply::page(&["b"], "{base}/api/v1/logs?after=2")]);
    assert_eq!(uuids(&source.batch().await), ["b"], "{label}");
    source.condition(|ok, _| ok).await;
    let targets = okta.targets();
    let again = targets.iter().filter(|target| *target == "/api/v1/logs?after=1").count();
    assert!(again > usize::from(reported), "{label}: {targets:?}");
    assert_eq!(source.gaps("cursor_refused"), None, "{label}");
    source.stop().await;
}

fn good() -> Reply {
    Reply::page(&["x", "y"], "{base}/api/v1/logs?after=bad")
}

#[tokio::test]
async fn a_page_that_is_cut_off_is_discarded() {
    let whole = String::from_utf8(good().body).expect("ASCII");
    discards(good().body(&whole[..whole.len() - 20]), "bad_page", "not a whole list of events").await;
    discards(good().body(""), "bad_page", "not a whole list of events").await;
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_discarded() {
    discards(Reply { torn: true, ..good() }, "broken_off", "broke off").await;
}

#[tokio::test]
async fn broken_compression_is_discarded() {
    discards(good().header("Content-Encoding", "gzip"), "broken_off", "broke off").await;
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("compresses");
    encoder.finish().expect("compresses")
}

#[tokio::test]
async fn a_compressed_page_is_read_and_one_that_grows_without_bound_is_discarded() {
    let mut page = Reply::page(&["z"], "{base}/api/v1/logs?after=1").header("Content-Encoding", "gzip");
    page.body = gzip(&page.body);
    let okta = StandIn::start(vec![page]).await;
    let mut source = Running::start(&okta, None);
    assert_eq!(uuids(&source.batch().await), ["z"]);
    source.stop().await;

    let mut bomb = good().header("Content-Encoding", "gzip");
    bomb.body = gzip(&vec![b' '; (64 << 20) + 1]);
    discards(bomb, "too_large", "the page is too large").await;
}

#[tokio::test]
async fn a_web_page_with_status_200_is_discarded() {
    let page = good().without("Content-Type").header("Content-Type", "text/html; charset=utf-8");
    discards(page, "not_json", "a web page, not JSON").await;
}

#[tokio::test]
async fn a_web_page_with_status_502_is_a_server_error() {
    let page = Reply::status(502).header("Content-Type", "text/html").body("<h1>Bad gateway</h1>");
    discards(page, "server_error", "failed with status 502").await;
}

#[tokio::test]
async fn a_page_without_a_next_link_is_discarded() {
    discards(good().without("Link"), "no_next_link", "no usable `next` link").await;
}

#[tokio::test]
async fn a_gateway_timeout_and_a_not_found_are_named() {
    discards(Reply::status(504), "server_error", "status 504").await;
    discards(Reply::status(404), "unexpected_status", "unexpected status 404").await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = StandIn::start(vec![Reply::page(&["stolen"], "{base}/x")]).await;
    let redirect = Reply::status(302).header("Location", &format!("{}/api/v1/logs", elsewhere.base()));
    discards(redirect, "redirected", "the address redirects").await;
    assert_eq!(elsewhere.targets(), Vec::<String>::new());
}

#[tokio::test]
async fn a_next_link_to_another_origin_is_refused_and_never_asked() {
    let elsewhere = StandIn::start(vec![Reply::page(&["stolen"], "{base}/x")]).await;
    let link = format!("{}/api/v1/logs?after=1", elsewhere.base());
    let detail = format!("points to another origin, `{}`", elsewhere.base());
    discards(Reply::page(&["x"], &link), "foreign_link", &detail).await;
    assert_eq!(elsewhere.targets(), Vec::<String>::new());
}

// Positions that cannot be used -------------------------------------------------------------------------------------

#[tokio::test]
async fn a_refused_cursor_is_a_gap_and_the_log_is_read_again_from_before_the_newest_event() {
    let refusal = Reply::status(400).body(r#"{"errorCode":"E0000053","errorSummary":"secret words"}"#);
    let okta = StandIn::start(vec![
        Reply::page(&["a"], "{base}/api/v1/logs?after=1"),
        refusal,
        Reply::page(&["a", "b"], "{base}/api/v1/logs?after=2"),
        Reply::page(&["c"], "{base}/api/v1/logs?after=3"),
    ])
    .await;
    let mut source = Running::start(&okta, None);
    let batches = source.until("c").await;
    assert_eq!(all_uuids(&batches), ["a", "a", "b", "c"], "the overlap comes again, for the core to recognise");
    assert_eq!(source.gaps("cursor_refused"), Some(1.0));
    let targets = okta.targets();
    assert_eq!(targets[1], "/api/v1/logs?after=1");
    // 07:59:50 − 5 min.
    assert_eq!(targets[2], "/api/v1/logs?since=2020-07-28T07%3A54%3A50.000Z&sortOrder=ASCENDING&limit=3");
    assert_eq!(targets[3], "/api/v1/logs?after=2");
    source.stop().await;
}

#[tokio::test]
async fn a_cursor_refused_before_any_event_was_seen_begins_as_the_first_start_by_the_servers_clock() {
    let okta = StandIn::start(vec![Reply::status(400), Reply::page(&["a"], "{base}/api/v1/logs?after=2")]).await;
    let mut source = Running::start(&okta, Some(at(&okta.base(), "1", None)));
    source.until("a").await;
    let since = okta.targets()[1].clone();
    assert!(since.starts_with("/api/v1/logs?since=2020-07-27T08%3A00%3A0"), "{since}");
    source.stop().await;
}

#[tokio::test]
async fn a_server_that_refuses_every_link_of_its_own_is_not_asked_in_a_loop() {
    // With so much room that the budget sets no pace of its own.
    let page = Reply::page(&["a"], "{base}/api/v1/logs?after=1").limits(60_000, 59_000, DATE_S + 30);
    let script = (0..6).flat_map(|_| [page.clone(), Reply::status(400)]).collect();
    let okta = StandIn::start(script).await;
    let timing = Timing { least: Duration::from_millis(20), most: Duration::from_secs(60), ..fast() };
    let started = authwatch::clock::monotonic();
    let mut source = Running::start_with(&okta, None, timing, json!({}));
    for _ in 0..5 {
        source.batch().await;
    }
    // Four pauses of 100 ms after a short page, and 20 + 40 + 80 + 160 ms after the refusals although pages came between.
    assert!(started.elapsed() >= Duration::from_millis(700), "{:?}", started.elapsed());
    assert_eq!(source.gaps("cursor_refused"), Some(4.0));
    source.stop().await;
}

#[tokio::test]
async fn a_refused_query_of_our_own_is_no_gap() {
    let okta = StandIn::start(vec![Reply::status(400).body(r#"{"errorCode":"E0000001"}"#)]).await;
    let source = Running::start(&okta, None);
    let said = source.condition(|ok, said| !ok && said.contains("query")).await;
    assert_eq!(said, "Okta refused the query (E0000001) (check `start` and the host's clock)");
    assert_eq!(source.gaps("cursor_refused"), None);
    source.stop().await;
}

#[tokio::test]
async fn a_position_of_another_address_or_kind_is_a_gap_and_never_asked() {
    let elsewhere = StandIn::start(vec![Reply::page(&["stolen"], "{base}/x")]).await;
    for (position, cause, since) in [
        (
            at(&elsewhere.base(), "1", Some("2026-07-28T07:59:50.000Z")),
            "other_origin",
            "since=2026-07-28T07%3A54%3A50.000Z",
        ),
        (Position::Okta { next: "no address".into(), newest: None }, "bad_position", "since="),
        (Position::File { files_done: 1, records_done: 2 }, "bad_position", "since="),
    ] {
        let okta = StandIn::start(vec![Reply::page(&["a"], "{base}/api/v1/logs?after=2")]).await;
        let mut source = Running::start(&okta, Some(position));
        assert_eq!(uuids(&source.batch().await), ["a"]);
        assert_eq!(source.gaps(cause), Some(1.0), "{cause}");
        assert!(okta.targets()[0].contains(since), "{:?}", okta.targets());
        source.stop().await;
    }
    assert_eq!(elsewhere.targets(), Vec::<String>::new());
}

#[tokio::test]
async fn a_downtime_longer_than_the_log_is_kept_is_a_gap() {
    for (newest, gaps) in [("2020-04-28T08:00:00.000Z", Some(1.0)), ("2020-05-01T08:00:00.000Z", None)] {
        let okta = StandIn::start(vec![Reply::page(&[], "{base}/api/v1/logs?after=2")]).await;
        let mut source = Running::start(&okta, Some(at(&okta.base(), "1", Some(newest))));
        for _ in 0..2 {
            source.batch().await;
        }
        assert_eq!(source.gaps("retention"), gaps, "{newest}");
        source.stop().await;
    }
}

#[tokio::test]
async fn a_restart_reaches_no_further_back_than_okta_allows() {
    let okta = StandIn::start(vec![Reply::status(400), Reply::page(&["a"], "{base}/api/v1/logs?after=2")]).await;
    let mut source = Running::start(&okta, Some(at(&okta.base(), "1", Some("2019-01-01T00:00:00.000Z"))));
    source.until("a").await;
    // 180 days before the server's clock, less an hour.
    let since = okta.targets()[1].clone();
    assert!(since.starts_with("/api/v1/logs?since=2020-01-30T09%3A00%3A0"), "{since}");
    source.stop().await;
}

#[tokio::test]
async fn an_event_from_the_future_does_not_become_the_newest() {
    let events = [event("a", "2020-07-28T08:04:59.000Z"), event("b", "2031-01-01T00:00:00.000Z")];
    let okta = StandIn::start(vec![Reply::events(&events, "{base}/api/v1/logs?after=1")]).await;
    let mut source = Running::start(&okta, None);
    let batch = source.batch().await;
    assert_eq!(uuids(&batch), ["a", "b"]);
    assert_eq!(batch.position, Some(at(&okta.base(), "1", Some("2020-07-28T08:04:59.000Z"))));
    source.stop().await;
}

// Tokens ------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_refused_token_is_said_once_and_a_new_one_works_without_a_restart() {
    let refusal = Reply::status(401).body(r#"{"errorCode":"E0000011","errorSummary":"Invalid token provided"}"#);
    let okta = StandIn::start(vec![Reply::page(&["a"], "{base}/api/v1/logs?after=1"), refusal]).await;
    // With the waits of production: a rotated token must not wait for them.
    let timing = Timing { token_check: Duration::from_millis(5), clocks_differ: CENTURY, ..Timing::default() };
    let mut source = Running::start_with(&okta, None, timing, json!({}));
    assert_eq!(uuids(&source.batch().await), ["a"]);
    let said = source.condition(|ok, said| !ok && said.contains("refused")).await;
    assert!(said.starts_with("Okta refused the API token (E0000011)"), "{said}");
    assert_eq!(source.requests("token_refused"), Some(1.0));
    okta.then(vec![Reply::page(&["b"], "{base}/api/v1/logs?after=2")]);
    *source.token.lock().expect("no panic") = Some("second".into());
    assert_eq!(uuids(&source.batch().await), ["b"]);
    source.condition(|ok, _| ok).await;
    let tokens: Vec<_> = okta.asked.lock().expect("no panic").iter().map(|asked| asked.authorization.clone()).collect();
    assert_eq!(tokens[..3], ["SSWS first", "SSWS first", "SSWS second"]);
    assert_eq!(okta.targets()[1..3], ["/api/v1/logs?after=1", "/api/v1/logs?after=1"], "the position is kept");
    source.stop().await;
}

#[tokio::test]
async fn missing_rights_are_told_apart_from_a_refused_token_and_end_without_a_new_one() {
    let refusal = Reply::status(403).body(r#"{"errorCode":"E0000006"}"#);
    let okta = StandIn::start(vec![refusal]).await;
    let mut source = Running::start(&okta, None);
    let said = source.condition(|ok, said| !ok && said.contains("may not read")).await;
    assert!(said.starts_with("the API token may not read the System Log (E0000006)"), "{said}");
    okta.then(vec![Reply::page(&["a"], "{base}/api/v1/logs?after=1")]);
    assert_eq!(uuids(&source.batch().await), ["a"]);
    source.stop().await;
}

#[tokio::test]
async fn a_body_that_is_no_error_of_okta_never_reaches_an_operator() {
    let refusal = Reply::status(401).body(r#"{"errorCode":"<b>bob@acme.example</b>"}"#);
    let okta = StandIn::start(vec![refusal]).await;
    let source = Running::start(&okta, None);
    let said = source.condition(|ok, said| !ok && said.contains("refused")).await;
    assert!(said.starts_with("Okta refused the API token (make a new one"), "{said}");
    source.stop().await;
}

#[tokio::test]
async fn a_token_that_is_not_there_is_waited_for_and_one_that_fits_no_header_is_named() {
    let okta = StandIn::start(vec![Reply::page(&["a"], "{base}/api/v1/logs?after=1")]).await;
    let mut source = Running::start(&okta, None);
    // The task has not begun: this thread has not waited for anything yet.
    *source.token.lock().expect("no panic") = None;
    source.condition(|_, said| said.contains("environment variable `T` is not set")).await;
    *source.token.lock().expect("no panic") = Some("two\nlines".into());
    source.condition(|_, said| said.contains("line break")).await;
    assert_eq!(okta.targets(), Vec::<String>::new());
    *source.token.lock().expect("no panic") = Some("good".into());
    assert_eq!(uuids(&source.batch().await), ["a"]);
    source.stop().await;
}

// The rate limit ----------------------------------------------------------------------------------------------------

fn limited(limit: u32, remaining: u32, reset_s: i64) -> Reply {
    Reply::status(429).limits(limit, remaining, reset_s).body(r#"{"errorCode":"E0000047"}"#)
}

/// The time from the 429 to the page after it.
async fn wait_after(refusal: Reply) -> (Duration, Running) {
    let okta = StandIn::start(vec![refusal, Reply::page(&["a"], "{base}/api/v1/logs?after=1")]).await;
    let started = authwatch::clock::monotonic();
    let mut source = Running::start(&okta, None);
    assert_eq!(uuids(&source.batch().await), ["a"]);
    (started.elapsed(), source)
}

#[tokio::test]
async fn a_429_waits_until_the_reset_by_the_servers_clock_although_the_hosts_is_years_off() {
    let (waited, source) = wait_after(limited(600, 0, DATE_S + 2)).await;
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    assert_eq!(source.requests("rate_limited"), Some(1.0));
    let seconds = source.metric("authwatch_source_wait_seconds_total{source=\"okta:acme\",cause=\"rate_limit\"}");
    assert_eq!(seconds, Some(2.0));
    assert_eq!(source.metric("authwatch_source_rate_limit{source=\"okta:acme\"}"), Some(600.0));
    source.stop().await;
}

#[tokio::test]
async fn a_429_for_requests_in_flight_does_not_wait_for_its_suggested_reset() {
    // The suggested reset lies beyond the patience of this test.
    let (_, source) = wait_after(limited(0, 0, DATE_S + 3_600)).await;
    assert_eq!(source.requests("concurrency_limited"), Some(1.0));
    assert_eq!(source.requests("rate_limited"), None);
    source.stop().await;
}

#[tokio::test]
async fn a_429_with_a_reset_in_the_past_or_without_headers_is_asked_again() {
    for refusal in [limited(600, 0, DATE_S - 86_400), Reply::status(429), Reply::status(429).without("Date")] {
        let (_, source) = wait_after(refusal).await;
        assert_eq!(source.requests("rate_limited"), Some(1.0));
        source.stop().await;
    }
}

#[tokio::test]
async fn a_429_although_there_was_room_slows_the_source_down() {
    let okta = StandIn::start(vec![
        Reply::page(&["a"], "{base}/api/v1/logs?after=1").limits(1_200, 900, DATE_S + 30),
        limited(1_200, 900, DATE_S),
        Reply::page(&["b"], "{base}/api/v1/logs?after=2").limits(1_200, 900, DATE_S + 30),
    ])
    .await;
    let mut source = Running::start(&okta, None);
    source.until("a").await;
    let interval = "authwatch_source_poll_interval_seconds{source=\"okta:acme\"}";
    assert_eq!(source.metric(interval), Some(0.1), "600 a minute allow it");
    source.until("b").await;
    assert_eq!(source.metric(interval), Some(0.2));
    source.stop().await;
}

#[tokio::test]
async fn the_poll_interval_is_raised_where_the_share_does_not_allow_it() {
    let page = |next: &str, limit| {
        Reply::page(&["a"], &format!("{{base}}/api/v1/logs?after={next}")).limits(limit, limit - 1, DATE_S + 30)
    };
    let okta = StandIn::start(vec![page("1", 60), page("2", 60)]).await;
    let started = authwatch::clock::monotonic();
    let mut source = Running::start_with(&okta, None, fast(), json!({"rate_share": 1}));
    source.batch().await;
    let interval = "authwatch_source_poll_interval_seconds{source=\"okta:acme\"}";
    assert_eq!(source.metric(interval), Some(1.0));
    okta.then(vec![page("3", 6_000)]);
    source.batch().await;
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(source.metric(interval), Some(0.1), "and returns to the configured one");
    source.stop().await;
}

#[tokio::test]
async fn full_pages_are_followed_at_the_pace_of_the_budget_and_not_of_the_poll_interval() {
    let page = |next: &str| {
        Reply::page(&["a", "b", "c"], &format!("{{base}}/api/v1/logs?after={next}")).limits(60_000, 59_000, DATE_S + 30)
    };
    let mut script: Vec<Reply> = (1..20).map(|n| page(&n.to_string())).collect();
    script.push(Reply::page(&["end"], "{base}/api/v1/logs?after=end"));
    let okta = StandIn::start(script).await;
    // An hour between polls: the test ends only where full pages do not wait for it.
    let mut source = Running::start_with(&okta, None, fast(), json!({"poll_interval": "1h"}));
    let batches = source.until("end").await;
    assert_eq!(batches.len(), 20);
    source.stop().await;
}

// Start and end -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_server_that_is_not_there_is_said_and_asked_again_until_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has an address");
    drop(listener);
    let nowhere = StandIn { address, asked: Arc::default(), replies: Arc::default() };
    let source = Running::start(&nowhere, None);
    source.condition(|ok, said| !ok && said.starts_with("Okta cannot be reached")).await;
    assert!(source.requests("unreachable").expect("counted") >= 1.0);
    source.stop().await;
}

#[tokio::test]
async fn shutdown_ends_every_wait_at_once() {
    // In a wait of minutes for a token.
    let okta = StandIn::start(vec![Reply::status(401)]).await;
    let source = Running::start_with(&okta, None, Timing::default(), json!({}));
    source.condition(|_, said| said.contains("refused")).await;
    source.stop().await;

    // With nobody taking batches: two fit in the channel, the third waits.
    let okta = StandIn::start(vec![Reply::page(&["a", "b", "c"], "{base}/api/v1/logs?after=1")]).await;
    let source = Running::start(&okta, None);
    let waiting = async {
        while okta.targets().len() < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("three pages");
    source.stop().await;

    // Where the one who could say stop is gone, or nobody listens.
    let okta = StandIn::start(vec![Reply::page(&["a"], "{base}/api/v1/logs?after=1")]).await;
    let Running { stop, task, batches, .. } = Running::start(&okta, None);
    drop(stop);
    tokio::time::timeout(PATIENCE, task).await.expect("stops").expect("no panic");
    drop(batches);
    let Running { stop: _stop, task, batches, .. } = Running::start(&okta, None);
    drop(batches);
    tokio::time::timeout(PATIENCE, task).await.expect("stops").expect("no panic");
}
