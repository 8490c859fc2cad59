//! Bad pushes at event level, against the bar of the design's section 10: from the first person whom the push refused, by
//! the simulator's truth, to `opened_at`.
//!
//! Refusals come as the log's own records, so that their checks are derived from the policies; the flows that end well
//! come as their deciding events. Each org lives for nine days, then every push is tried from the same state.

use std::collections::BTreeMap;
use std::sync::Arc;

use authwatch::classify::{Reader, Tables};
use authwatch::event::{AuthEvent, Org as OrgName, Person, Span, Timestamp};
use authwatch::input::{Input, PolicyOrigin};
use authwatch::policy::parse;
use authwatch::sim::fleet::{Platform, Version};
use authwatch::sim::plan::{Cause, FlowResult};
use authwatch::sim::policies::{PolicyState, Tier};
use authwatch::sim::push::{Change, Push};
use authwatch::sim::{Awkward, Cohort, Log, Org, Plan, Timeline, render};
use authwatch::watch::Watch;

use super::{DAY, SEATS, common, monday};

const SEEDS: u64 = 10;

/// One org, told its policies, that has learnt for nine days until a Wednesday, 14:00 UTC.
struct World {
    org: Arc<Org>,
    reader: Reader,
    watch: Watch,
    moment: Timestamp,
}

/// What came of one push.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    /// From the first refusal to `opened_at`; infinite for a miss.
    delay: f64,
    /// From the change to `opened_at`.
    since_change: f64,
    /// People whom the push had refused by then.
    people: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let org = Arc::new(Org::new(seed, SEATS));
        let acme = OrgName::new("acme");
        let mut watch = Watch::new();
        watch.handle(&Input::Configure(Box::new(common::config(&org))));
        let document = org.policies(&PolicyState::base()).to_string();
        let policies = Arc::new(parse::parse(document.as_bytes()).expect("policies"));
        let (since, origin) = (Some(Timestamp::MIN), PolicyOrigin::File);
        watch.handle(&Input::Policies { org: acme.clone(), since, origin, policies });
        let people = org.members(Cohort::Pilot).map(Person::new).collect();
        let group = org.groups[Cohort::Pilot.as_str()].as_str().into();
        watch.handle(&Input::Members { org: acme.clone(), group, people });
        let moment = monday() + Span(9 * DAY.0) + Span::hours(14);
        let mut world = Self { org, reader: Reader::new(acme, Arc::new(Tables::embedded())), watch, moment };
        let mut watch = std::mem::take(&mut world.watch);
        world.live(&mut watch, &Timeline::default(), monday(), moment, false);
        world.watch = watch;
        world
    }

    /// Folds a span of time in; returns when the push refused whom.
    fn live(
        &self,
        watch: &mut Watch,
        timeline: &Timeline,
        start: Timestamp,
        until: Timestamp,
        tells: bool,
    ) -> Vec<(Timestamp, u32)> {
        let mut waiting: BTreeMap<(Timestamp, u64), AuthEvent> = BTreeMap::new();
        let mut number = 0;
        let mut add = |waiting: &mut BTreeMap<_, _>, event: AuthEvent| {
            number += 1;
            waiting.insert((event.published.expect("a time"), number), event);
        };
        if tells {
            let log = Log::new(Arc::clone(&self.org), timeline.clone(), start, start + Span::seconds(1), Awkward::NONE);
            let is_change =
                |json: &str| ["policy.rule.update", "assurance.policy.update"].iter().any(|word| json.contains(word));
            let changes = log.filter(|entry| is_change(&entry.json));
            changes.for_each(|entry| self.read(&entry.json, &mut |event| add(&mut waiting, event)));
            assert!(!waiting.is_empty(), "the log shows the change");
        }
        let mut refused = Vec::new();
        let fold = |watch: &mut Watch, event: AuthEvent| {
            watch.handle(&Input::Event { source: common::source(), event: Box::new(event) });
            while watch.poll_action().is_some() {}
        };
        for flow in Plan::new(Arc::clone(&self.org), timeline.clone(), start, until) {
            while let Some(first) = waiting.first_entry().filter(|first| first.key().0 < flow.at) {
                fold(watch, first.remove());
            }
            if let FlowResult::Denied(_) = flow.result {
                if matches!(flow.cause, Cause::Push(_)) {
                    refused.push((flow.decided_at, flow.person));
                }
                for event in render::render(&self.org, &flow) {
                    self.read(&event.json, &mut |event| add(&mut waiting, event));
                }
            } else {
                add(&mut waiting, common::event(&self.org, &flow));
            }
        }
        // What is decided after the end would move the watermark past what comes next.
        waiting.into_iter().filter(|((at, _), _)| *at < until).for_each(|(_, event)| fold(watch, event));
        refused.sort_unstable();
        refused
    }

    fn read(&self, json: &str, each: &mut dyn FnMut(AuthEvent)) {
        self.reader.read_record(json.as_bytes(), &mut |read| each(read.expect("an event")));
    }

    /// Tries a push for four hours; `tells` puts its change events into the log.
    fn push(&self, change: Change, tells: bool) -> Outcome {
        let push = Push { at: self.moment, rollback_at: None, change };
        let timeline = Timeline { pushes: vec![push], ..Timeline::default() };
        let mut watch = self.watch.clone();
        let until = self.moment + Span::hours(if tells { 2 } else { 4 });
        let refused = self.live(&mut watch, &timeline, self.moment, until, tells);
        let first = refused.first().expect("the push refuses somebody").0;
        let incidents = watch.orgs().next().expect("org").incidents();
        let opened = incidents.iter().map(|incident| incident.opened_at).find(|opened| *opened > first);
        let Some(opened) = opened else {
            return Outcome { delay: f64::INFINITY, since_change: f64::INFINITY, people: usize::MAX };
        };
        let known = refused.iter().filter(|(at, _)| *at < opened - Span::seconds(20));
        let people = known.map(|(_, person)| *person).collect::<std::collections::BTreeSet<_>>().len();
        Outcome { delay: (opened - first).as_seconds(), since_change: (opened - self.moment).as_seconds(), people }
    }
}

fn floors(tier: &[Tier], macos: [u32; 4], windows: [u32; 4]) -> Change {
    let floors = vec![Version::new(Platform::Macos, macos), Version::new(Platform::Windows, windows)];
    Change::Floor { tiers: tier.to_vec(), floors }
}

fn quantile(outcomes: &[Outcome], at: f64) -> f64 {
    let mut delays: Vec<f64> = outcomes.iter().map(|outcome| outcome.delay).collect();
    delays.sort_by(f64::total_cmp);
    delays[((delays.len() as f64 * at).ceil() as usize).max(1) - 1]
}

/// A push, how fast it must be seen at p90, and by which person in 92 of 100.
#[derive(Clone)]
struct Bar {
    name: &'static str,
    change: Change,
    tells: bool,
    seconds: f64,
    people: usize,
}

#[test]
fn bad_pushes_are_seen_within_the_bar() {
    let (everyone, pilot) = ([Tier::Staff, Tier::Pilot], [Tier::Pilot]);
    let half = floors(&everyone, [15, 1, 0, 0], [10, 0, 22631, 4391]);
    let fifth = floors(&everyone, [14, 6, 0, 0], [10, 0, 22621, 4037]);
    let all_of_pilot = floors(&pilot, [99, 0, 0, 0], [99, 0, 0, 0]);
    let half_of_pilot = floors(&pilot, [15, 1, 0, 0], [10, 0, 22631, 4391]);
    let any = (f64::INFINITY, usize::MAX);
    let bar =
        |name, change: &Change, tells, (seconds, people)| Bar { name, change: change.clone(), tells, seconds, people };
    let bars = [
        bar("everyone, 60 % refused, change not seen", &half, false, (60.0, usize::MAX)),
        bar("everyone, 60 % refused", &half, true, (60.0, usize::MAX)),
        bar("everyone, a fifth refused, change not seen", &fifth, false, (150.0, usize::MAX)),
        bar("everyone, a fifth refused", &fifth, true, (75.0, usize::MAX)),
        bar("pilot, nearly all refused, change not seen", &all_of_pilot, false, (f64::INFINITY, 5)),
        bar("pilot, nearly all refused", &all_of_pilot, true, (f64::INFINITY, 3)),
        bar("pilot, 60 % refused", &half_of_pilot, true, (f64::INFINITY, 3)),
        bar("one app asks for a managed device", &Change::RequireManaged { app: 0 }, true, any),
    ];
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); bars.len()];
    for seed in 1..=SEEDS {
        let world = World::new(seed);
        let quiet = world.watch.orgs().next().expect("org").incidents();
        if !quiet.is_empty() {
            println!("seed {seed}: {} incidents before any push", quiet.len());
        }
        for (bar, outcomes) in bars.iter().zip(&mut outcomes) {
            outcomes.push(world.push(bar.change.clone(), bar.tells));
        }
    }
    let mut missed = Vec::new();
    for (bar, outcomes) in bars.iter().zip(&outcomes) {
        let found = outcomes.iter().filter(|outcome| outcome.delay.is_finite()).count();
        let in_time = outcomes.iter().filter(|outcome| outcome.people <= bar.people).count();
        let mut people: Vec<usize> = outcomes.iter().map(|outcome| outcome.people).collect();
        people.sort_unstable();
        let (p50, p90) = (quantile(outcomes, 0.5), quantile(outcomes, 0.9));
        let mut since: Vec<f64> = outcomes.iter().map(|outcome| outcome.since_change).collect();
        since.sort_by(f64::total_cmp);
        println!(
            "{}: found {found} of {SEEDS}, p50 {p50:.0} s, p90 {p90:.0} s, from the change p50 {:.0} s; people {people:?}",
            bar.name,
            since[since.len() / 2]
        );
        // Of ten, nine are at least 92 in 100 as far as ten can tell.
        if p90 > bar.seconds || in_time * 10 < outcomes.len() * 9 || (bar.people < usize::MAX && found < outcomes.len())
        {
            missed.push(bar.name);
        }
    }
    assert_eq!(missed, Vec::<&str>::new());
}
