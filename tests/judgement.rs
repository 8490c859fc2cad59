//! The spike judge on a simulated org: no incident in a quiet year, none for one person's retries, one for every push
//! that shuts people out.
//!
//! Flows go straight to the core as their deciding events, so that a year takes seconds.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod common;
#[path = "judgement/pushes.rs"]
mod pushes;

use std::sync::Arc;

use authwatch::action::{Action, Incident, IncidentStep};
use authwatch::event::{Span, Timestamp};
use authwatch::sim::Org;
use authwatch::sim::scenario::{Scenario, Surge, Timeline};

const SEATS: u32 = 3_500;
const DAY: Span = Span::hours(24);

/// A Monday, 00:00 UTC.
fn monday() -> Timestamp {
    Timestamp::parse("2026-03-02T00:00:00Z").expect("a time")
}

fn opened(actions: &[Action]) -> usize {
    actions.iter().filter(|Action::Incident(action)| action.step == IncidentStep::Open).count()
}

/// Incidents of a scenario that happens on the third day at 14:00 UTC.
fn incidents(scenario: Scenario, seed: u64, hours_after: i64) -> (Timestamp, Vec<Incident>) {
    let org = Arc::new(Org::new(seed, SEATS));
    let moment = monday() + Span(2 * DAY.0) + scenario.usual_offset();
    let timeline = scenario.timeline(&org, moment);
    let (watch, actions) = common::run(&org, timeline, monday(), moment + Span::hours(hours_after));
    let incidents = watch.orgs().next().expect("org").incidents();
    assert_eq!(opened(&actions), incidents.len());
    (moment, incidents)
}

#[test]
fn fifty_two_quiet_weeks_keep_the_budget() {
    let org = Arc::new(Org::new(7, SEATS));
    let until = monday() + Span(52 * 7 * DAY.0);
    let (watch, _) = common::run(&org, Timeline::default(), monday(), until);
    let view = watch.orgs().next().expect("org");
    println!("attempts by verdict in 52 weeks: {:?}", view.counts().attempts);
    let incidents = view.incidents();
    println!("false incidents in 52 weeks: {}", incidents.len());
    // One per 90 days is four in 52 weeks.
    assert!(incidents.len() <= 4, "{incidents:#?}");
}

#[test]
fn a_push_that_shuts_out_everyone_opens_one_incident_for_every_seed() {
    let mut delays = Vec::new();
    for seed in 1..=20 {
        let (moment, incidents) = incidents(Scenario::BadPushEveryone, seed, 1);
        assert_eq!(incidents.len(), 1, "seed {seed}: {incidents:#?}");
        let delay = incidents[0].opened_at - moment;
        assert!(delay > Span(0) && delay < Span::minutes(5), "seed {seed}: {}", delay.as_seconds());
        delays.push(delay.as_seconds());
    }
    delays.sort_by(f64::total_cmp);
    println!("push → opened_at over 20 seeds: median {} s, longest {} s", delays[10], delays[19]);
}

#[test]
fn a_push_on_one_app_or_on_the_pilot_opens_an_incident_that_names_it() {
    let (moment, app) = incidents(Scenario::BadPushApp, 3, 2);
    assert_eq!(app.len(), 1, "{app:#?}");
    assert!(app[0].opened_at - moment < Span::minutes(15), "{}", app[0].opened_at);
    let org = Org::new(3, SEATS);
    assert_eq!(app[0].evidence.top_apps[0].0, org.apps[0].name);
    let (_, pilot) = incidents(Scenario::BadPushPilot, 3, 4);
    assert_eq!(pilot.len(), 1, "{pilot:#?}");
    assert_eq!(pilot[0].evidence.top_cohorts[0].0, "pilot");
}

#[test]
fn one_person_refused_five_hundred_times_opens_nothing() {
    let (_, incidents) = incidents(Scenario::OnePerson500, 5, 3);
    assert!(incidents.is_empty(), "{incidents:#?}");
}

#[test]
fn a_monday_surge_opens_nothing() {
    let (_, incidents) = incidents(Scenario::MondaySurge, 6, 6);
    assert!(incidents.is_empty(), "{incidents:#?}");
}

#[test]
fn an_outage_and_the_rush_after_it_open_nothing() {
    for seed in 7..10 {
        let org = Arc::new(Org::new(seed, SEATS));
        let moment = monday() + Span(2 * DAY.0) + Span::hours(14);
        for (from, until, factor) in [(0, 3, 0.0), (3, 5, 2.5)] {
            let surge = Surge { from: moment + Span::hours(from), until: moment + Span::hours(until), factor };
            let timeline = Timeline { surge: Some(surge), ..Timeline::default() };
            let (watch, _) = common::run(&org, timeline, monday(), moment + Span::hours(8));
            let incidents = watch.orgs().next().expect("org").incidents();
            assert!(incidents.is_empty(), "seed {seed}, factor {factor}: {incidents:#?}");
        }
    }
}

#[test]
fn a_rollback_resolves_the_incident_within_two_hours() {
    for seed in 1..=5 {
        let (moment, incidents) = incidents(Scenario::Rollback, seed, 4);
        assert_eq!(incidents.len(), 1, "seed {seed}: {incidents:#?}");
        let resolved = incidents[0].resolved_at.expect("resolved");
        let took = resolved - (moment + Span::minutes(30));
        assert!(took > Span::minutes(30) && took < Span::hours(2), "seed {seed}: {} s", took.as_seconds());
    }
}
