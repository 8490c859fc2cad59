//! Every sink is down for ten minutes of a busy hour in which a push shuts people out, then back: what is counted and
//! judged is never late, memory stays bounded, every record arrives at the SIEM, and nothing is counted or told twice.
//!
//! The real binary against a simulated Okta and ServiceNow and stand-ins for Splunk, a syslog receiver, Datadog and
//! Dynatrace, each behind a gate that can be shut. The hour passes forty times as fast as a real one.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    unreachable_pub,
    dead_code,
    reason = "helpers of tests fail as tests do, and are shared with tests that use more of them"
)]

#[path = "daemon/process.rs"]
mod process;
mod support {
    //! What the tests of sinks share.
    pub mod datadog;
    pub mod dynatrace;
    pub mod gate;
    pub mod server;
    pub mod splunk;
    pub mod syslog;
}

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use authwatch::event::{Span, Timestamp};
use authwatch::sim::{Awkward, Handles, OktaConfig, Scenario};
use process::{Daemon, Home, metric, push_at, serve, settings};
use serde_json::Value;
use support::gate::Gate;

/// How much faster than a real hour.
const SPEED: f64 = 40.0;
/// How long the sinks are down, simulated.
const OUTAGE: Span = Span::minutes(10);
/// A tick of the core, simulated.
const TICK: Span = Span::seconds(5);
/// What the core waits for stragglers, simulated.
const LATENESS: Span = Span::seconds(20);
/// What a poll, a commit and a look of this test may take, real, on a machine that is busy with other tests.
const ALLOWED: Duration = Duration::from_secs(2);

/// The ids of the records that must be forwarded, by Okta's own words alone; and of all, for the count.
async fn wanted(world: &Handles) -> (BTreeSet<String>, usize) {
    let client = reqwest::Client::new();
    let mut url = format!("{}/api/v1/logs?since=2026-03-02T00:00:00.000Z&limit=1000", world.okta_url);
    let (mut wanted, mut all) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let request = client.get(&url).header("authorization", format!("SSWS {}", OktaConfig::default().token));
        let reply = request.send().await.expect("a reply");
        let links = reply.headers().get_all("link").iter().filter_map(|link| link.to_str().ok());
        let mut next =
            links.filter(|link| link.contains("rel=\"next\"")).filter_map(|link| link.split(['<', '>']).nth(1));
        url = next.next_back().expect("a next link").to_owned();
        let page: Vec<Value> = reply.json().await.expect("a page");
        if page.is_empty() {
            return (wanted, all.len());
        }
        for event in &page {
            let Some(uuid) = event["uuid"].as_str() else { continue };
            let uuid = uuid.to_lowercase();
            let kind = event["eventType"].as_str().unwrap_or_default();
            if event["outcome"]["result"] == "DENY"
                || kind.starts_with("policy.rule.")
                || kind.starts_with("device_assurance")
            {
                wanted.insert(format!("acme:{uuid}"));
            }
            all.insert(uuid);
        }
    }
}

/// Resident memory of a process in bytes.
fn memory(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).expect("a number") * 1_024
}

/// What a look at the daemon saw.
#[derive(Debug, Default)]
struct Seen {
    looks: u32,
    /// The longest that the watermark was behind the simulated clock.
    lag: Span,
    peak: u64,
    /// When the incident was first seen, simulated.
    incident: Option<(Timestamp, Value)>,
}

impl Seen {
    async fn look(&mut self, daemon: &Daemon, world: &Handles) {
        let incidents = daemon.json("/api/v1/incidents").await;
        let text = daemon.response("/metrics").await.text().await.expect("a body");
        let lag = Span(metric(&text, "authwatch_watermark_lag_seconds", &[]) as i64 * 1_000);
        self.lag = self.lag.max(lag);
        self.peak = self.peak.max(memory(daemon));
        self.looks += 1;
        if self.incident.is_none()
            && let Some(incident) = incidents["incidents"].as_array().and_then(|all| all.first())
        {
            self.incident = Some((world.clock.now(), incident.clone()));
        }
    }

    /// Looks until the simulated clock shows `until`.
    async fn watch(&mut self, daemon: &Daemon, world: &Handles, until: Timestamp) {
        while world.clock.now() < until {
            self.look(daemon, world).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

struct Sinks {
    splunk: support::splunk::Splunk,
    syslog: support::syslog::Receiver,
    datadog: support::datadog::Datadog,
    dynatrace: support::dynatrace::Dynatrace,
    gates: Vec<Gate>,
}

impl Sinks {
    async fn start(world: &Handles) -> Self {
        let splunk = support::splunk::Splunk::start().await;
        let syslog = support::syslog::Receiver::tcp().await;
        let datadog = support::datadog::Datadog::start().await;
        let dynatrace = support::dynatrace::Dynatrace::start().await;
        let port = |url: &str| url.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
        let mut gates = Vec::new();
        for target in [
            port(&world.servicenow_url).expect("a port"),
            port(&splunk.server.url).expect("a port"),
            syslog.port,
            port(&datadog.server.url).expect("a port"),
            port(&dynatrace.server.url).expect("a port"),
        ] {
            gates.push(Gate::before(target).await);
        }
        Self { splunk, syslog, datadog, dynatrace, gates }
    }

    fn set_open(&self, open: bool) {
        self.gates.iter().for_each(|gate| gate.set_open(open));
    }

    /// Waits until every one of these records is at both receivers.
    async fn wait_for(&self, wanted: &BTreeSet<String>) {
        let arrived = async {
            loop {
                let splunk: BTreeSet<String> = self.splunk.ids().into_iter().collect();
                let read = self.syslog.read();
                let syslog: String = read.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
                if wanted.iter().all(|id| splunk.contains(id) && syslog.contains(id.as_str())) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(180), arrived).await.expect("every record arrives");
    }

    /// No count was pushed twice: what was added up is at most what there is.
    fn assert_pushed_at_most(&self, counted: f64) {
        let name = "authwatch.events.count";
        for (system, sum) in [("datadog", self.datadog.sum(name)), ("dynatrace", self.dynatrace.sum(name))] {
            assert!(sum > 0.0 && sum <= counted, "{system} has {sum} of {counted}");
        }
    }

    fn configuration(&self, home: &Home) -> String {
        let ports: Vec<u16> = self.gates.iter().map(|gate| gate.port).collect();
        for (name, secret) in
            [("hec", support::splunk::TOKEN), ("dd", support::datadog::API_KEY), ("dt", support::dynatrace::TOKEN)]
        {
            std::fs::write(home.dir.path().join(name), secret).expect("a secret");
        }
        let usual = home.usual(&format!(
            "  - splunk: {{ url: \"http://127.0.0.1:{}\", token: {{ file: hec }} }}
  - syslog: {{ address: \"127.0.0.1:{}\", transport: tcp }}
  - datadog: {{ url: \"http://127.0.0.1:{}\", api_key: {{ file: dd }}, interval: 1s }}
  - dynatrace: {{ url: \"http://127.0.0.1:{}/e/env\", token: {{ file: dt }}, interval: 1s }}
",
            ports[1], ports[2], ports[3], ports[4]
        ));
        let (before, after) = usual.split_once("  - servicenow:\n      url: ").expect("the usual sink");
        let (_, after) = after.split_once('\n').expect("an address");
        format!("{before}  - servicenow:\n      url: http://127.0.0.1:{}\n{after}", ports[0])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_sink_down_nothing_is_late_lost_or_told_twice() {
    let begin = push_at() - Span::minutes(20);
    let mut settings = settings(Scenario::BadPushEveryone, 3_500, begin);
    // Every record is an event, so that they can be counted by their ids.
    settings.awkward = Awkward::default();
    let world = serve(settings).await;
    let sinks = Sinks::start(&world).await;
    let home = Home::of(&world, "");
    home.configure(&sinks.configuration(&home));
    let daemon = home.daemon().await;
    daemon.until_caught_up(&world).await;
    let before = memory(&daemon);

    // The hour begins; five minutes before the push everything behind the daemon goes away.
    let mut seen = Seen::default();
    world.clock.set_speed(SPEED);
    seen.watch(&daemon, &world, push_at() - Span::minutes(5)).await;
    sinks.set_open(false);
    let down = world.clock.now();
    seen.watch(&daemon, &world, down + OUTAGE).await;
    let told_before = world.servicenow.created().len();
    sinks.set_open(true);
    let back = Instant::now();
    seen.watch(&daemon, &world, push_at() + Span::minutes(40)).await;
    world.clock.set_speed(0.0);
    let status = daemon.until_caught_up(&world).await;

    // Counted and judged in time.
    let allowed = Span((ALLOWED.as_secs_f64() * SPEED * 1_000.0) as i64 + TICK.0 + LATENESS.0);
    assert!(seen.lag <= allowed, "the watermark was {:?} behind; allowed are {allowed:?}", seen.lag);
    let (at, incident) = seen.incident.as_ref().expect("an incident");
    let opened = Timestamp::parse(incident["opened_at"].as_str().expect("a time")).expect("a time");
    assert!(opened > down && *at < down + OUTAGE, "the incident opened and was shown during the outage: {incident}");
    assert!(*at - opened <= allowed, "opened at {opened}, shown at {at}");
    assert_eq!(told_before, 0, "nobody could be told");

    // One ticket, once the instance was back.
    let ticket = async {
        while world.servicenow.created().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), ticket).await.expect("a ticket");
    assert_eq!(world.servicenow.created().len(), 1);

    // Every record at the SIEM, under its id.
    let (wanted, all) = wanted(&world).await;
    assert!(wanted.len() > 300, "{}", wanted.len());
    assert_eq!(status["events"].as_u64(), Some(all as u64), "every event is counted once");
    sinks.wait_for(&wanted).await;
    let ids = sinks.splunk.ids();
    let distinct: BTreeSet<&String> = ids.iter().collect();

    // No count was pushed twice: at most what there is, and less only by what is said to be lost.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let text = daemon.response("/metrics").await.text().await.expect("a body");
    let lost = metric(&text, "authwatch_published_points_total", &["result=\"unknown\""]);
    sinks.assert_pushed_at_most(all as f64);
    let visible = metric(&text, "authwatch_visible_delay_seconds_bucket", &["le=\"5\""]);
    assert_eq!(visible, metric(&text, "authwatch_visible_delay_seconds_count", &[]), "numbers show within a tick");

    // Bounded, and printed.
    let grown = seen.peak.saturating_sub(before) >> 20;
    assert!(grown < 300, "memory grew by {grown} MiB");
    eprintln!(
        "{} looks; watermark at most {:?} behind (allowed {allowed:?}); incident opened {opened}, shown {at}; memory {} MiB \
         before, {} MiB at most; {} records forwarded, {} repeats; points that may be lost {lost}; back after {:?}",
        seen.looks,
        seen.lag,
        before >> 20,
        seen.peak >> 20,
        distinct.len(),
        ids.len() - distinct.len(),
        back.elapsed(),
    );
}
