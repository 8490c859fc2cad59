//! End to end in memory: a simulated day's records, decoded, classified and folded into the core, against a validating
//! scan of the same bytes (`serde_json::de::IgnoredAny`) in the same run.
//!
//! It also measures the judges alone: their share of that time, and a tick with 10,000 live series.
//!
//! `cargo bench --bench pipeline` first prints the ratios, each the median of interleaved passes, then criterion's own
//! tables. Absolute figures are of the machine; the ratios are what a change is judged by.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use authwatch::classify::{Reader, Tables};
use authwatch::clock::monotonic;
use authwatch::event::{Credential, Org as OrgName, Person, Platform, SourceName, Span, Timestamp};
use authwatch::input::{CoreConfig, Input, OrgConfig, PolicyOrigin};
use authwatch::judge::{Attempt, Board, Case, Ended, Learning, Thresholds, Why};
use authwatch::policy::parse;
use authwatch::sim::plan::FlowResult;
use authwatch::sim::policies::PolicyState;
use authwatch::sim::{Awkward, Cohort, Flow, Log, Org, Plan, Scenario};
use authwatch::watch::Watch;
use criterion::{Criterion, Throughput};
use serde::de::IgnoredAny;
use smol_str::{SmolStr, format_smolstr};

/// Records of one pass: about half an hour of a busy afternoon with a bad push in it.
const RECORDS: usize = 20_000;
/// Judges run on this grid of event time.
const TICK: Span = Span::seconds(5);
/// Interleaved passes for the ratios.
const PASSES: usize = 15;

/// The records, and how many flows they tell of.
fn records() -> (Vec<String>, u64) {
    let org = Arc::new(Org::new(1, 3_500));
    let moment = Timestamp(1_772_546_400_000);
    let (start, until) = (moment - Span::minutes(30), moment + Span::hours(2));
    let mut log = Log::of_scenario(org, Scenario::Rollback, moment, start, until, Awkward::default());
    let records = log.by_ref().take(RECORDS).map(|entry| entry.json).collect();
    (records, log.truth().attempts.values().sum())
}

fn scan(records: &[String]) {
    for record in records {
        black_box(serde_json::from_str::<IgnoredAny>(record).is_ok());
    }
}

fn classify(records: &[String], reader: &Reader) {
    for record in records {
        reader.read_record(record.as_bytes(), &mut |read| {
            black_box(read.is_ok());
        });
    }
}

fn whole(records: &[String], reader: &Reader, watch: &mut Watch, source: &SourceName) {
    for record in records {
        reader.read_record(record.as_bytes(), &mut |read| {
            let source = source.clone();
            watch.handle(&match read {
                Ok(event) => Input::Event { source, event: Box::new(event) },
                Err(reason) => Input::Reject { source, reason },
            });
            while watch.poll_action().is_some() {}
        });
    }
}

fn fresh_core(source: &SourceName) -> Watch {
    let org = OrgConfig { sources: [source.clone()].into(), ..OrgConfig::default() };
    let config = CoreConfig { orgs: [(OrgName::new("acme"), org)].into(), ..CoreConfig::default() };
    let mut watch = Watch::new();
    watch.handle(&Input::Configure(Box::new(config)));
    watch
}

/// The same core with the org's policies and the members of the group that their rules name: every answer of a policy is
/// evaluated.
fn informed_core(source: &SourceName) -> Watch {
    let (mut watch, acme, org) = (fresh_core(source), OrgName::new("acme"), Org::new(1, 3_500));
    let document = org.policies(&PolicyState::base()).to_string();
    let policies = Arc::new(parse::parse(document.as_bytes()).unwrap_or_default());
    let (since, origin) = (Some(Timestamp::MIN), PolicyOrigin::File);
    watch.handle(&Input::Policies { org: acme.clone(), since, origin, policies });
    let people = org.members(Cohort::Pilot).map(Person::new).collect();
    watch.handle(&Input::Members { org: acme, group: org.groups[Cohort::Pilot.as_str()].as_str().into(), people });
    watch
}

fn timed(work: impl FnOnce()) -> Duration {
    let began: Instant = monotonic();
    work();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn print_ratios(records: &[String], flows: u64, reader: &Reader, source: &SourceName) {
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..PASSES {
        let (mut watch, mut informed) = (fresh_core(source), informed_core(source));
        times[0].push(timed(|| scan(records)));
        times[1].push(timed(|| classify(records, reader)));
        times[2].push(timed(|| whole(records, reader, &mut watch, source)));
        times[3].push(timed(|| whole(records, reader, &mut informed, source)));
    }
    let [scan, classified, whole, informed] = times.map(median);
    print_judges(records.len(), flows, whole);
    let bytes: usize = records.iter().map(String::len).sum();
    let per_event = |seconds: f64| seconds * 1e6 / records.len() as f64;
    println!("{} records, {} bytes each on average, median of {PASSES} passes", records.len(), bytes / records.len());
    println!("validating scan          {:7.2} us a record", per_event(scan));
    println!("decode + classify        {:7.2} us a record, {:.2} x the scan", per_event(classified), classified / scan);
    println!("decode + classify + core {:7.2} us a record, {:.2} x the scan", per_event(whole), whole / scan);
    println!("  … with policies known  {:7.2} us a record, {:.2} x the scan", per_event(informed), informed / scan);
}

/// What the judge is told in the span of the records: attempts in the order of time.
fn flows() -> Vec<Flow> {
    let org = Arc::new(Org::new(1, 3_500));
    let moment = Timestamp(1_772_546_400_000);
    let timeline = Scenario::Rollback.timeline(&org, moment);
    let mut flows: Vec<Flow> =
        Plan::new(org, timeline, moment - Span::minutes(30), moment + Span::minutes(15)).collect();
    flows.sort_by_key(|flow| flow.decided_at);
    flows
}

/// A board with `apps` apps, and the time that counting and judging take of each flow's tick.
fn judged(flows: &[Flow], apps: usize) -> (Board, Duration, Duration) {
    let (learning, thresholds) = (Learning::default(), Thresholds::new(&CoreConfig::default().judge, 1, 5.0));
    let cohorts: Vec<SmolStr> = Cohort::ALL.map(|cohort| SmolStr::new(cohort.as_str())).into();
    let names: Vec<SmolStr> = (0..apps).map(|n| format_smolstr!("0oa{n}")).collect();
    let checks: Vec<SmolStr> = (0..9).map(|n| format_smolstr!("check_{n}")).collect();
    let mut board = Board::default();
    board.configure(20_000, 0.01);
    board.judge_by_check(true, Timestamp::MIN);
    let (mut counting, mut judging) = (Duration::ZERO, Duration::ZERO);
    let mut tick = flows.first().map_or(Timestamp(0), |flow| flow.decided_at.floor(TICK));
    for (n, flow) in flows.iter().enumerate() {
        if flow.decided_at >= tick {
            tick = flow.decided_at.floor(TICK) + TICK;
            judging += timed(|| {
                board.settle(tick, &|_| false, &learning);
                black_box(board.judge(tick, Timestamp::MIN, &thresholds, &learning));
            });
        }
        let is_denied = matches!(flow.result, FlowResult::Denied(_));
        let (cohort, app) = (Some(&cohorts[n % 3]), Some(&names[n % apps]));
        let platform = Platform::ALL[n % 5];
        let ended = if is_denied { Ended::Denied } else { Ended::Succeeded };
        let (at, credential, rule) = (flow.decided_at, Credential::Fastpass, app);
        counting += timed(|| {
            board.count(&Attempt { at, ended, cohort, app, rule, platform, credential }, 1);
        });
        if is_denied {
            let why = Why::Checks(vec![checks[(n / 7) % 9].clone()]);
            let person = u64::from(flow.person);
            judging += timed(|| {
                board.refuse(&Case { at, person, cohort, app, rule, platform, why });
            });
        }
    }
    (board, counting, judging)
}

/// The judges' part of a record's time, and what a tick costs with 10,000 live series.
fn print_judges(records: usize, flows_told: u64, whole: f64) {
    let flows = flows();
    // The clock itself is read twice a flow: what that takes is not the judge's.
    let clock = timed(|| {
        flows.iter().for_each(|_| {
            black_box(timed(|| ()));
        })
    })
    .as_secs_f64();
    let (mut counting, mut judging) = (Vec::new(), Vec::new());
    for _ in 0..PASSES {
        let (_, count, judge) = judged(&flows, 12);
        counting.push(count);
        judging.push(judge);
    }
    let span = flows.iter().filter(|flow| flow.retry == 0).count();
    println!(
        "judges: {} flows ({span} first tries) of the same half hour before and quarter of an hour after a push",
        flows.len()
    );
    let per_flow = |seconds: f64| (seconds - clock).max(0.0) * 1e6 / flows.len() as f64;
    let (counting, judging) = (per_flow(median(counting)), per_flow(median(judging)));
    let records_a_flow = records as f64 / flows_told as f64;
    let share = |us: f64| us / records_a_flow / (whole * 1e6 / records as f64) * 100.0;
    println!(
        "  counting attempts      {counting:7.2} us a flow, {:.1} % of the core's and decoder's time",
        share(counting)
    );
    println!("  learning and judging   {judging:7.2} us a flow, {:.1} %", share(judging));
    let lived: Vec<Flow> = (0..12)
        .flat_map(|n| {
            flows.iter().map(move |flow| Flow { decided_at: flow.decided_at + Span::minutes(45 * n), ..*flow })
        })
        .collect();
    let (mut board, ..) = judged(&lived, 700);
    let now = lived.last().map_or(Timestamp(0), |flow| flow.decided_at).floor(TICK) + TICK;
    let (learning, thresholds) = (Learning::default(), Thresholds::new(&CoreConfig::default().judge, 1, 5.0));
    println!("a tick with {} live series", board.len());
    let names: Vec<SmolStr> = (0..700).map(|n| format_smolstr!("0oa{n}")).collect();
    let (cohort, check) = (SmolStr::new("pilot"), SmolStr::new("check_1"));
    for refused in [1, 10, 100] {
        let mut times = Vec::new();
        for pass in 0..PASSES as u64 {
            let at = now + Span::minutes(pass as i64);
            for n in 0..refused {
                let app = Some(&names[(n * 31 + pass as usize) % names.len()]);
                let why = Why::Checks(vec![check.clone()]);
                let person = 1_000_000 + pass * 1_000 + n as u64;
                let platform = Platform::ALL[n % 5];
                board.refuse(&Case { at, person, cohort: Some(&cohort), app, rule: app, platform, why });
            }
            times.push(timed(|| {
                black_box(board.judge(at + TICK, Timestamp::MIN, &thresholds, &learning));
            }));
        }
        println!("  {refused:4} people refused since  {:7.1} us", median(times) * 1e6);
    }
    let mut times = Vec::new();
    for hour in 1..=PASSES as i64 {
        times.push(timed(|| {
            black_box(board.settle(now + Span::hours(hour), &|_| false, &learning));
        }));
    }
    println!(
        "  once an hour, learning   {:7.1} us (median), {:.1} us at most",
        median(times.clone()) * 1e6,
        times.iter().max().map_or(0.0, Duration::as_secs_f64) * 1e6
    );
}

fn main() {
    let (records, flows) = records();
    let reader = Reader::new(OrgName::new("acme"), Arc::new(Tables::embedded()));
    let source = SourceName::new("okta:acme");
    print_ratios(&records, flows, &reader, &source);
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Bytes(records.iter().map(|record| record.len() as u64).sum()));
    group.bench_function("scan", |bench| bench.iter(|| scan(&records)));
    group.bench_function("classify", |bench| bench.iter(|| classify(&records, &reader)));
    group.bench_function("whole", |bench| {
        bench.iter_batched_ref(
            || fresh_core(&source),
            |watch| whole(&records, &reader, watch, &source),
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
    criterion.final_summary();
}
