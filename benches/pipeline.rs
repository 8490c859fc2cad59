//! End to end in memory: a simulated day's records, decoded, classified and folded into the core, against a validating
//! scan of the same bytes (`serde_json::de::IgnoredAny`) in the same run.
//!
//! `cargo bench --bench pipeline` first prints the ratios, each the median of interleaved passes, then criterion's own
//! tables. Absolute figures are of the machine; the ratios are what a change is judged by.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use authwatch::classify::{Reader, Tables};
use authwatch::clock::monotonic;
use authwatch::event::{Org as OrgName, Person, SourceName, Span, Timestamp};
use authwatch::input::{CoreConfig, Input, OrgConfig, PolicyOrigin};
use authwatch::policy::parse;
use authwatch::sim::policies::PolicyState;
use authwatch::sim::{Awkward, Cohort, Log, Org, Scenario};
use authwatch::watch::Watch;
use criterion::{Criterion, Throughput};
use serde::de::IgnoredAny;

/// Records of one pass: about half an hour of a busy afternoon with a bad push in it.
const RECORDS: usize = 20_000;
/// Interleaved passes for the ratios.
const PASSES: usize = 15;

fn records() -> Vec<String> {
    let org = Arc::new(Org::new(1, 3_500));
    let moment = Timestamp(1_772_546_400_000);
    let (start, until) = (moment - Span::minutes(30), moment + Span::hours(2));
    let log = Log::of_scenario(org, Scenario::Rollback, moment, start, until, Awkward::default());
    log.take(RECORDS).map(|entry| entry.json).collect()
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

/// The same core held to the objectives inside the binary.
fn held_core(source: &SourceName) -> Watch {
    let mut watch = fresh_core(source);
    let config = CoreConfig { slos: authwatch::slo::embedded(), ..watch.config().clone() };
    watch.handle(&Input::Configure(Box::new(config)));
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

fn print_ratios(records: &[String], reader: &Reader, source: &SourceName) {
    let mut times: [Vec<Duration>; 5] = Default::default();
    for _ in 0..PASSES {
        let (mut watch, mut informed, mut held) = (fresh_core(source), informed_core(source), held_core(source));
        times[0].push(timed(|| scan(records)));
        times[1].push(timed(|| classify(records, reader)));
        times[2].push(timed(|| whole(records, reader, &mut watch, source)));
        times[3].push(timed(|| whole(records, reader, &mut informed, source)));
        times[4].push(timed(|| whole(records, reader, &mut held, source)));
    }
    let [scan, classified, whole, informed, held] = times.map(median);
    let bytes: usize = records.iter().map(String::len).sum();
    let per_event = |seconds: f64| seconds * 1e6 / records.len() as f64;
    println!("{} records, {} bytes each on average, median of {PASSES} passes", records.len(), bytes / records.len());
    println!("validating scan          {:7.2} us a record", per_event(scan));
    println!("decode + classify        {:7.2} us a record, {:.2} x the scan", per_event(classified), classified / scan);
    println!("decode + classify + core {:7.2} us a record, {:.2} x the scan", per_event(whole), whole / scan);
    println!("  … with policies known  {:7.2} us a record, {:.2} x the scan", per_event(informed), informed / scan);
    println!("  … with objectives      {:7.2} us a record, {:.2} x the scan", per_event(held), held / scan);
}

fn main() {
    let records = records();
    let reader = Reader::new(OrgName::new("acme"), Arc::new(Tables::embedded()));
    let source = SourceName::new("okta:acme");
    print_ratios(&records, &reader, &source);
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
