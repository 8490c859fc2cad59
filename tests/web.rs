//! The web server as its clients meet it, over a real socket.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use authwatch::action::{Evidence, Incident, Severity};
use authwatch::adoption::Adoption;
use authwatch::event::{Credential, DeviceSignals, Org, Person, Platform, Reject, SourceName, Timestamp};
use authwatch::http;
use authwatch::policy::Groups;
use authwatch::policy::fleet::Fleet;
use authwatch::secret::Secret;
use authwatch::telemetry::condition::Conditions;
use authwatch::web::{Access, AskFacts, Asker, OrgFacts, SeriesRow, Shared, SourceStatus, View, serve};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Far longer than anything here takes, far shorter than a test run.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    address: SocketAddr,
    view: watch::Sender<Arc<View>>,
    conditions: Conditions,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// A server on loopback; `listen` is what it believes to listen on, `token` what it asks for.
    async fn start(listen: Option<&str>, token: Option<&str>) -> Self {
        Self::rendering(listen, token, Arc::new(|| "authwatch_build_info{version=\"1\"} 1\n".to_owned())).await
    }

    async fn rendering(
        listen: Option<&str>,
        token: Option<&str>,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Self {
        Self::with(listen, token, metrics, Arc::new(|| Box::pin(async { None }))).await
    }

    /// A server that answers questions from these facts.
    async fn asking(listen: Option<&str>, token: Option<&str>, facts: AskFacts) -> Self {
        Self::with(listen, token, Arc::new(String::new), facts).await
    }

    async fn with(
        listen: Option<&str>,
        token: Option<&str>,
        metrics: Arc<dyn Fn() -> String + Send + Sync>,
        facts: AskFacts,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (view, receiver) = watch::channel(Arc::new(View::default()));
        let conditions = Conditions::default();
        let asker = Asker::new(facts);
        let shared = Shared { view: receiver, conditions: conditions.clone(), metrics, asker };
        let believed = listen.map_or(address, |listen| listen.parse().expect("address"));
        let access = Access::new(believed, token.map(Secret::new).as_ref());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            serve(listener, shared, access, async move {
                if stopped.await.is_err() {
                    pending::<()>().await;
                }
            })
            .await;
        });
        Self { address, view, conditions, client: http::client(PATIENCE).expect("client"), stop: Some(stop), task }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.expect("a reply")
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[]).await
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let reply = self.get(path).await;
        (reply.status().as_u16(), reply.text().await.expect("text"))
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await.text().await.expect("text")).expect("json")
    }

    fn publish(&self, view: View) {
        self.view.send_replace(Arc::new(view));
    }
}

fn header<'a>(reply: &'a Response, name: &str) -> &'a str {
    reply.headers().get(name).map_or("", |value| value.to_str().expect("ascii"))
}

fn incident(people: u64, resolved_at: Option<i64>) -> Incident {
    Incident {
        key: "aw-0123456789abcdef0123456789abcdef".into(),
        org: Org::new("acme"),
        rule: "deny_spike".into(),
        severity: Severity::Page,
        onset: Timestamp::parse("2026-11-24T15:05:00Z").expect("time"),
        opened_at: Timestamp::parse("2026-11-24T15:06:20Z").expect("time"),
        resolved_at: resolved_at.map(Timestamp),
        title: "Macs below 14.6 are refused".to_owned(),
        people,
        series: vec!["app=Mail".to_owned()],
        checks: Vec::new(),
        notified: true,
        suspects: Vec::new(),
        evidence: Evidence::default(),
    }
}

/// A daemon that has restored its state and reads one source without lag.
fn running() -> View {
    let mut view = View::default();
    view.status.started = Some(Timestamp(0));
    view.status.orgs = vec![Org::new("acme")];
    view.status.sources =
        vec![SourceStatus { name: SourceName::new("okta:acme"), lag_seconds: Some(21.5), ready: true }];
    view.status.events = 1_204;
    view.status.data_until = Timestamp::parse("2026-11-24T15:18:57Z");
    view
}

#[tokio::test]
async fn metrics_come_in_the_format_of_prometheus() {
    let server = Server::start(None, None).await;
    let reply = server.get("/metrics").await;
    assert_eq!(header(&reply, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(reply.text().await.expect("text"), "authwatch_build_info{version=\"1\"} 1\n");
}

#[tokio::test]
async fn metrics_that_cannot_be_written_are_an_error_and_not_an_empty_page() {
    let server = Server::rendering(None, None, Arc::new(|| panic!("no metrics"))).await;
    assert_eq!(server.text("/metrics").await, (500, "the metrics could not be written\n".to_owned()));
    assert_eq!(server.text("/livez").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let server = Server::start(None, None).await;
    let store = server.conditions.declare("store", true, "not open");
    let source = server.conditions.declare("source/okta:acme", true, "not polled yet");
    let sink = server.conditions.declare("sink/servicenow", false, "not asked yet");
    store.ok();
    let missing =
        "[-] sink/servicenow: not asked yet (informs only)\n[-] source/okta:acme: not polled yet\nnot ready\n";
    assert_eq!(server.text("/readyz").await, (503, missing.to_owned()));
    source.ok();
    assert_eq!(
        server.text("/readyz").await,
        (200, "[-] sink/servicenow: not asked yet (informs only)\nok\n".to_owned())
    );
    sink.ok();
    assert_eq!(server.text("/readyz").await, (200, "ok\n".to_owned()));
    let all = "[+] sink/servicenow: ok (informs only)\n[+] source/okta:acme: ok\n[+] store: ok\nok\n";
    assert_eq!(server.text("/readyz?verbose").await, (200, all.to_owned()));
    store.failing("disk full");
    let reply = server.send(Method::GET, "/readyz", &[("accept", "text/html, application/json;q=0.9")]).await;
    assert_eq!(reply.status(), 503);
    let body: Value = serde_json::from_str(&reply.text().await.expect("text")).expect("json");
    assert_eq!(body["ready"], false);
    assert_eq!(body["conditions"]["store"], json!({"ok": false, "detail": "disk full", "gates_readiness": true}));
}

#[tokio::test]
async fn the_start_is_over_once_the_state_is_restored() {
    let server = Server::start(None, None).await;
    assert_eq!(server.text("/startupz").await, (503, "the state is not restored yet\n".to_owned()));
    server.publish(running());
    assert_eq!(server.text("/startupz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn the_status_has_the_fields_of_the_contract() {
    let server = Server::start(None, None).await;
    let mut view = running();
    view.status.duplicates = 3;
    view.status.late = 2;
    view.status.rejected = [(Reject::NotJson, 4)].into();
    view.status.incidents_open = 1;
    server.publish(view);
    let mut status = server.json("/api/v1/status").await;
    let uptime = status["uptime_seconds"].take().as_f64().expect("a number");
    assert!(uptime > 0.0, "{uptime}");
    let expect = json!({
        "events": 1204, "duplicates": 3, "late": 2, "rejected": {"not_json": 4},
        "sources": [{"name": "okta:acme", "lag_seconds": 21.5, "ready": true}],
        "incidents_open": 1, "version": env!("CARGO_PKG_VERSION"), "orgs": ["acme"],
        "data_until": "2026-11-24T15:18:57.000Z", "started": "1970-01-01T00:00:00.000Z", "uptime_seconds": null,
    });
    assert_eq!(status, expect);
}

#[tokio::test]
async fn incidents_and_series_are_served_whole_and_unknown_is_null() {
    let server = Server::start(None, None).await;
    let mut view = running();
    view.incidents = vec![incident(212, None)];
    view.series = vec![SeriesRow { org: "acme".to_owned(), window: "5m".to_owned(), ..SeriesRow::default() }];
    server.publish(view);
    let incidents = server.json("/api/v1/incidents").await;
    assert_eq!(incidents["incidents"][0], serde_json::to_value(incident(212, None)).expect("json"));
    let expect = json!({
        "org": "acme", "app": null, "rule": null, "platform": null, "cohort": null, "credential": null, "window": "5m",
        "attempts": 0, "succeeded": 0, "denied": 0, "success_ratio": null, "denied_ratio": null, "refused_people": null,
    });
    assert_eq!(server.json("/api/v1/series").await["series"], json!([expect]));
}

#[tokio::test]
async fn the_adoption_funnel_is_served_whole_or_for_one_cohort() {
    let server = Server::start(None, None).await;
    let cohort_of = |person: &Person| Some(if person.as_str() == "00u1" { "pilot" } else { "wave 1" }.into());
    let mut adoption = Adoption::default();
    adoption.saw_sign_in(&Person::new("00u1"), Timestamp(0), Credential::Fastpass, Some(true));
    adoption.saw_sign_in(&Person::new("00u2"), Timestamp(0), Credential::Sms, Some(false));
    adoption.close_day(Timestamp(86_400_000), &cohort_of);
    let mut view = running();
    view.adoption = Arc::new([(Org::new("acme"), adoption.funnel(Timestamp(86_400_000), &cohort_of))].into());
    server.publish(view);
    let numbers = |seen: u32, resistant: u32| json!({"seen": seen, "fastpass": resistant, "resistant_last": resistant, "resistant_only": resistant});
    let wave = json!({"numbers": numbers(1, 0), "fallback_people": 1, "fallback": {"sms": 1}});
    let expect = json!({
        "window_days": 14,
        "all": {"numbers": numbers(2, 1), "fallback_people": 1, "fallback": {"sms": 1}},
        "cohorts": {"wave 1": wave},
        "history": [{"until": "1970-01-02T00:00:00.000Z", "all": numbers(2, 1), "cohorts": {"wave 1": numbers(1, 0)}}],
    });
    assert_eq!(server.json("/api/v1/adoption?cohort=wave%201").await, json!({"adoption": {"acme": expect}}));
    let all = server.json("/api/v1/adoption").await;
    assert_eq!(all["adoption"]["acme"]["cohorts"]["pilot"]["numbers"], numbers(1, 1));
    assert!(!all.to_string().contains("00u"), "{all}");
}

#[tokio::test]
async fn the_page_says_in_one_sentence_how_sign_in_is() {
    let server = Server::start(None, None).await;
    let resolved = Timestamp::parse("2026-11-24T15:16:00Z").expect("time").0;
    let whole = SeriesRow {
        org: "acme".to_owned(),
        window: "1h".to_owned(),
        attempts: 2_000,
        succeeded: 1_986,
        success_ratio: Some(0.993),
        ..SeriesRow::default()
    };
    type Change = Box<dyn Fn(&mut View)>;
    let cases: Vec<(Change, &str, &str)> = vec![
        (Box::new(|view| *view = View::default()), "blind", "Starting: the state is being restored"),
        (Box::new(|view| view.status.sources.clear()), "blind", "Sign-in is unknown: no source is configured"),
        (
            Box::new(|view| view.status.sources[0].ready = false),
            "blind",
            "Sign-in is unknown: nothing arrives from okta:acme",
        ),
        (
            Box::new(|view| view.status.sources[0].lag_seconds = Some(1_020.0)),
            "warn",
            "Sign-in was healthy at 15:18, but data is 17\u{a0}min late",
        ),
        (
            Box::new(|view| view.incidents = vec![incident(212, None)]),
            "bad",
            "Sign-in is degraded: 212 people refused since 15:05",
        ),
        (
            Box::new(|view| view.incidents = vec![incident(1, None)]),
            "bad",
            "Sign-in is degraded: 1 person refused since 15:05",
        ),
        (Box::new(|view| view.status.events = 0), "blind", "Learning what is usual: no event has arrived yet"),
        (
            Box::new(move |view| view.incidents = vec![incident(1_268, Some(resolved))]),
            "good",
            "Sign-in is healthy again: 1,268 people were refused from 15:05 to 15:16",
        ),
        (Box::new(|_| {}), "good", "Sign-in is healthy: no group of people is refused more than usual"),
    ];
    for (change, class, sentence) in cases {
        let mut view = running();
        view.series = vec![whole.clone()];
        change(&mut view);
        server.publish(view);
        let (status, html) = server.text("/").await;
        assert_eq!(status, 200);
        assert!(
            html.contains(&format!("<main class=\"{class}\">\n<h1 role=\"status\">{sentence}</h1>")),
            "{sentence}\n{html}"
        );
    }
    let (_, html) = server.text("/").await;
    assert!(html.contains("acme: 1,986 of 2,000 attempts succeeded in 1h, 99.3\u{a0}%."), "{html}");
}

#[tokio::test]
async fn silence_keeps_the_last_known_state_in_the_second_line() {
    let server = Server::start(None, None).await;
    let mut view = running();
    view.incidents = vec![incident(212, None)];
    view.status.sources[0].ready = false;
    server.publish(view);
    let (_, html) = server.text("/").await;
    assert!(
        html.contains("<p class=\"why\">Last known: Sign-in is degraded: 212 people refused since 15:05.</p>"),
        "{html}"
    );
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline() {
    let server = Server::start(None, None).await;
    let reply = server.get("/").await;
    assert_eq!(header(&reply, "content-type"), "text/html; charset=utf-8");
    let policy = header(&reply, "content-security-policy").to_owned();
    for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = reply.text().await.expect("text");
    for word in ["http://", "https://", " style=", " onload=", "<style", "<script>"] {
        assert!(!html.contains(word), "{word} in {html}");
    }
    for (path, kind) in [("/page.css", "text/css; charset=utf-8"), ("/page.js", "text/javascript; charset=utf-8")] {
        let reply = server.get(path).await;
        assert_eq!((reply.status().as_u16(), header(&reply, "content-type")), (200, kind), "{path}");
        assert!(html.contains(path), "{path}");
    }
}

#[tokio::test]
async fn every_reply_carries_the_security_headers_and_none_allows_another_site() {
    let server = Server::start(Some("0.0.0.0:9464"), Some("right")).await;
    for (path, status) in [("/metrics", 200), ("/livez", 200), ("/", 401), ("/api/v1/status", 401), ("/nothing", 401)] {
        let reply = server.send(Method::GET, path, &[("origin", "https://elsewhere.example")]).await;
        assert_eq!(reply.status(), status, "{path}");
        assert_eq!(header(&reply, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&reply, "cache-control"), "no-store", "{path}");
        assert_eq!(header(&reply, "access-control-allow-origin"), "", "{path}");
    }
}

#[tokio::test]
async fn beyond_loopback_only_metrics_and_probes_are_open_without_the_token() {
    let server = Server::start(Some("0.0.0.0:9464"), Some("right")).await;
    server.publish(running());
    for path in ["/metrics", "/livez", "/readyz", "/startupz"] {
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
    for path in
        ["/", "/page.css", "/page.js", "/api/v1/status", "/api/v1/incidents", "/api/v1/series", "/api/v1/adoption"]
    {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status().as_u16(), header(&reply, "www-authenticate")),
            (401, "Bearer realm=\"authwatch\""),
            "{path}"
        );
        let wrong = server.send(Method::GET, path, &[("authorization", "Bearer wrong")]).await;
        assert_eq!(wrong.status(), 401, "{path}");
        let right = server.send(Method::GET, path, &[("authorization", "Bearer right")]).await;
        assert_eq!(right.status(), 200, "{path}");
    }
    assert!(server.json("/api/v1/status").await["error"].as_str().expect("error").contains("http.token"));
}

#[tokio::test]
async fn on_loopback_reading_is_open_unless_the_request_came_from_elsewhere() {
    let server = Server::start(None, None).await;
    assert_eq!(server.get("/api/v1/status").await.status(), 200);
    for headers in [("host", "rebound.example"), ("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7")] {
        assert_eq!(server.send(Method::GET, "/api/v1/status", &[headers]).await.status(), 401, "{headers:?}");
    }
}

#[tokio::test]
async fn what_is_not_served_is_said_in_json_below_api_and_in_text_elsewhere() {
    let server = Server::start(None, None).await;
    let reply = server.get("/api/v1/nothing").await;
    assert_eq!((reply.status().as_u16(), header(&reply, "content-type")), (404, "application/json"));
    assert_eq!(reply.text().await.expect("text"), r#"{"error":"there is nothing here"}"#);
    assert_eq!(server.text("/nothing").await, (404, "there is nothing here\n".to_owned()));
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let reply = server.send(method.clone(), "/api/v1/status", &[]).await;
        assert_eq!((reply.status().as_u16(), header(&reply, "allow")), (405, "GET, HEAD"), "{method}");
        assert_eq!(header(&reply, "content-type"), "application/json", "{method}");
    }
    assert_eq!(server.send(Method::HEAD, "/api/v1/status", &[]).await.status(), 200);
}

/// An org with so many Macs.
fn macs(n: usize) -> Vec<OrgFacts> {
    let mut fleet = Fleet::default();
    for n in 0..n {
        let signals = DeviceSignals { id: Some(format!("guo{n}").into()), ..DeviceSignals::default() };
        fleet.saw(Timestamp(1_772_442_000_000), None, Platform::Macos, &signals, None);
    }
    let (groups, cohorts) = (Groups::default(), Vec::new());
    vec![OrgFacts { org: Org::new("acme"), fleet, policies: None, groups, cohorts }]
}

const WHATIF: &str = "/api/v1/whatif";

impl Server {
    async fn ask(&self, question: impl Into<reqwest::Body>, headers: &[(&str, &str)]) -> Response {
        let request = self.client.post(format!("http://{}{WHATIF}", self.address)).body(question);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.expect("a reply")
    }
}

#[tokio::test]
async fn a_question_is_read_like_the_rest_and_needs_the_token_where_that_does() {
    let facts: AskFacts = Arc::new(|| Box::pin(async { Some(macs(1)) }));
    let server = Server::asking(Some("192.0.2.7:9464"), Some("right"), facts).await;
    let token = ("authorization", "Bearer right");
    assert_eq!(server.ask("{}", &[]).await.status(), 401);
    assert_eq!(server.get(WHATIF).await.status(), 401);
    assert_eq!(server.ask("{}", &[token]).await.status(), 200);
    let put = server.send(Method::PUT, WHATIF, &[token]).await;
    assert_eq!((put.status().as_u16(), header(&put, "allow")), (405, "GET, HEAD, POST"));
}

#[tokio::test]
async fn a_question_has_bounds_and_an_answer_too() {
    let facts: AskFacts = Arc::new(|| Box::pin(async { Some(macs(10_001)) }));
    let server = Server::asking(None, None, facts).await;
    let long = format!("{{\"org\": \"{}\"}}", "a".repeat(256 << 10));
    let reply = server.ask(long, &[]).await;
    assert_eq!((reply.status().as_u16(), header(&reply, "connection")), (413, "close"));
    let reply = server.ask(r#"{"set": {"macos.osVersion": "14.6.0"}, "devices": true}"#, &[]).await;
    let reply: Value = serde_json::from_str(&reply.text().await.expect("text")).expect("json");
    let whatif = &reply["orgs"][0]["whatif"];
    assert_eq!(whatif["devices"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(json!([whatif["devices_left_off"], whatif["all"]["unknown"]]), json!([1, 10_001]));
}

#[tokio::test]
async fn a_core_that_cannot_be_asked_is_said_to_be_busy() {
    let server = Server::start(None, None).await;
    let (code, text) = server.text(WHATIF).await;
    assert!(code == 503 && text.contains("ask again in a moment"), "{code} {text}");
}

#[tokio::test]
async fn two_questions_are_answered_at_a_time() {
    let (entered, mut inside) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let facts: AskFacts = {
        let gate = Arc::clone(&gate);
        Arc::new(move || {
            let (entered, gate) = (entered.clone(), Arc::clone(&gate));
            Box::pin(async move {
                entered.send(()).ok()?;
                gate.acquire().await.ok()?.forget();
                Some(macs(1))
            })
        })
    };
    let server = Server::asking(None, None, facts).await;
    let url = format!("http://{}{WHATIF}", server.address);
    let asked: Vec<_> = (0..3).map(|_| tokio::spawn(server.client.get(&url).send())).collect();
    for _ in 0..2 {
        inside.recv().await.expect("a question");
    }
    let third = tokio::time::timeout(Duration::from_millis(300), inside.recv()).await;
    assert!(third.is_err(), "the third question waits");
    gate.add_permits(3);
    for reply in asked {
        assert_eq!(reply.await.expect("no panic").expect("a reply").status(), 200);
    }
}

#[tokio::test]
async fn a_request_with_a_body_is_refused_before_it_is_read() {
    let server = Server::start(None, None).await;
    let reply =
        server.client.get(format!("http://{}/api/v1/status", server.address)).body("x").send().await.expect("reply");
    assert_eq!(reply.status(), 413);
    assert_eq!(header(&reply, "connection"), "close");
}

#[tokio::test]
async fn headers_have_a_bound() {
    let server = Server::start(None, None).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connect");
    let request = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(64 << 10));
    // The server may close while the rest is on its way.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    assert!(!reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
    assert_eq!(server.get("/livez").await.status(), 200, "others are served");
}

#[tokio::test]
async fn shutdown_finishes_what_was_begun_and_takes_nothing_new() {
    let (entered, mut inside) = tokio::sync::mpsc::unbounded_channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let render = move || {
        entered.send(()).expect("the test waits");
        released.lock().expect("lock").recv().expect("the test releases");
        "late\n".to_owned()
    };
    let mut server = Server::rendering(None, None, Arc::new(render)).await;
    let request = server.client.get(format!("http://{}/metrics", server.address)).send();
    let request = tokio::spawn(request);
    inside.recv().await.expect("the request is being served");
    server.stop.take().expect("running").send(()).expect("the server listens");
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    release.send(()).expect("the render waits");
    let reply = request.await.expect("no panic").expect("a reply");
    assert_eq!(reply.text().await.expect("text"), "late\n");
    tokio::time::timeout(PATIENCE, server.task).await.expect("the server ends").expect("no panic");
}
