//! Objectives and blindness on a simulated org, polled every half minute: what burns and what does not, what is unknown, and
//! that restarts and the order of arrival change nothing.
//!
//! Flows go straight to the core as their deciding events, as in `judgement`; a poll brings those that were decided
//! before it, and the word that this is all.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use authwatch::action::{IncidentStep, Severity};
use authwatch::event::{AuthEvent, Span, Timestamp};
use authwatch::input::Input;
use authwatch::judge::alarm::{Alarm, Rule, Why};
use authwatch::judge::blind::Sign;
use authwatch::judge::burn::{Standing, State};
use authwatch::sim::Org;
use authwatch::sim::scenario::{Scenario, Timeline};
use authwatch::watch::Watch;

const SEATS: u32 = 3_500;
const DAY: Span = Span::hours(24);
const POLL: Span = Span::seconds(30);

/// A Monday, 00:00 UTC.
fn monday() -> Timestamp {
    Timestamp::parse("2026-03-02T00:00:00Z").expect("a time")
}

fn org() -> Arc<Org> {
    Arc::new(Org::new(11, SEATS))
}

/// A core with the shipped objectives.
fn watch(org: &Org) -> Watch {
    let mut config = common::config(org);
    config.slos = authwatch::slo::embedded();
    let mut watch = Watch::new();
    watch.handle(&Input::Configure(Box::new(config)));
    watch
}

fn event(event: AuthEvent) -> Input {
    Input::Event { source: common::source(), event: Box::new(event) }
}

fn poll(now: Timestamp) -> Input {
    Input::Progress { source: common::source(), now: Some(now), caught_up: true }
}

fn unheard(silent: Span) -> Input {
    Input::Unheard { source: common::source(), silent }
}

/// What polls of a span bring.
fn polls(org: &Arc<Org>, timeline: Timeline, start: Timestamp, until: Timestamp) -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut next = start + POLL;
    common::events(org, timeline, start, until, &mut |decided| {
        let at = decided.published.expect("a time");
        while next <= at {
            inputs.push(poll(next));
            next = next + POLL;
        }
        inputs.push(event(decided));
    });
    while next <= until {
        inputs.push(poll(next));
        next = next + POLL;
    }
    inputs
}

fn fold(watch: &mut Watch, inputs: &[Input]) {
    for input in inputs {
        watch.handle(input);
        while watch.poll_action().is_some() {}
    }
}

fn alarms(watch: &Watch) -> Vec<Alarm> {
    watch.orgs().next().expect("org").alarms().into_iter().cloned().collect()
}

fn standing(watch: &Watch, name: &str, now: Timestamp) -> Standing {
    let standings = watch.orgs().next().expect("org").slos(now);
    standings.into_iter().find(|standing| standing.name == name).unwrap_or_else(|| panic!("no objective `{name}`"))
}

#[track_caller]
fn burn_of(alarm: &Alarm) -> authwatch::judge::burn::Verdict {
    match alarm.why {
        Why::Burn(verdict) => verdict,
        Why::Blind(_) => panic!("{alarm:?}"),
    }
}

#[track_caller]
fn sign_of(alarm: &Alarm) -> Sign {
    match alarm.why {
        Why::Blind(verdict) => verdict.sign,
        Why::Burn(_) => panic!("{alarm:?}"),
    }
}

#[test]
fn four_quiet_weeks_raise_no_alarm_and_leave_budget() {
    let org = org();
    let until = monday() + Span(28 * DAY.0);
    let mut watch = watch(&org);
    for week in 0..4 {
        let start = monday() + Span(7 * week * DAY.0);
        fold(&mut watch, &polls(&org, Timeline::default(), start, start + Span(7 * DAY.0)));
    }
    assert_eq!(alarms(&watch), []);
    for name in ["sign-in-success", "fastpass-success", "sign-in-duration", "source-freshness", "sign-in-events"] {
        let standing = standing(&watch, name, until);
        println!("{name}: {:?}", standing.budget);
        assert_eq!(standing.state, State::Ok, "{standing:?}");
        let budget = standing.budget.expect("counted");
        assert!(budget.remaining > 0.3 && budget.good > 30_000, "{name}: {budget:?}");
        assert_eq!((standing.good_total, standing.bad_total > 0), (u64::from(budget.good), budget.bad > 0), "{name}");
    }
    let refused = f64::from(standing(&watch, "sign-in-success", until).budget.expect("counted").bad);
    assert!(refused > 3_000.0, "{refused}: the ordinary refusals are counted");
}

/// Two quiet days, a push that is taken back after `minutes`, and the hours after it.
fn pushed(org: &Arc<Org>, minutes: i64, hours_after: i64) -> (Timestamp, Vec<Input>) {
    let moment = monday() + Span(2 * DAY.0) + Scenario::Rollback.usual_offset();
    let mut timeline = Scenario::Rollback.timeline(org, moment);
    for push in &mut timeline.pushes {
        push.rollback_at = Some(moment + Span::minutes(minutes));
    }
    (moment, polls(org, timeline, monday(), moment + Span::hours(hours_after)))
}

#[test]
fn a_bad_push_burns_and_pages_and_is_over_after_it_is_taken_back() {
    let org = org();
    let (moment, inputs) = pushed(&org, 90, 12);
    let mut watch = watch(&org);
    fold(&mut watch, &inputs);
    let alarms = alarms(&watch);
    let alarm = alarms.iter().find(|alarm| alarm.subject == "sign-in-success").expect("an alarm");
    let verdict = burn_of(alarm);
    assert_eq!((alarm.rule, alarm.severity), (Rule::BurnRate, Severity::Page), "{alarm:?}");
    let (opened, over) = (alarm.opened_at - moment, alarm.resolved_at.expect("over") - moment);
    println!("push → burn alarm after {} s, over after {} s: {verdict:?}", opened.as_seconds(), over.as_seconds());
    assert!(opened > Span::minutes(5) && opened < Span::minutes(60), "{}", opened.as_seconds());
    assert!(verdict.fires() && verdict.long.bad >= verdict.floor, "{verdict:?}");
    // Before the rollback it is never over; after it the half hour has to run clean, and the alarm rests a quarter.
    assert!(over > Span::minutes(90 + 15) && over < Span::hours(9), "{}", over.as_seconds());
    assert!(alarm.part_of.as_ref().is_some_and(|key| key.starts_with("aw-")), "the spike has told: {alarm:?}");
    let counts = watch.orgs().next().expect("org").counts().alarms.clone();
    assert!(counts.keys().any(|key| *key == (Rule::BurnRate, IncidentStep::Resolve)), "{counts:?}");
    let after = standing(&watch, "sign-in-success", moment + Span::hours(12));
    assert!(after.budget.expect("counted").remaining < 0.5, "{after:?}");
}

#[test]
fn one_person_refused_five_hundred_times_burns_nothing() {
    let org = org();
    let moment = monday() + Span(2 * DAY.0) + Span::hours(2);
    let timeline = Scenario::OnePerson500.timeline(&org, moment);
    let mut watch = watch(&org);
    fold(&mut watch, &polls(&org, timeline, monday(), moment + Span::hours(4)));
    assert_eq!(alarms(&watch), []);
}

#[test]
fn silence_is_unknown_and_burns_nothing_and_ends_no_alarm() {
    let org = org();
    let mut fresh = watch(&org);
    fold(&mut fresh, &[poll(monday()), poll(monday() + Span::hours(1))]);
    let nothing = standing(&fresh, "sign-in-success", monday() + Span::hours(1));
    assert_eq!((nothing.state, nothing.budget), (State::Unknown, None));
    assert!(nothing.burn_rates.iter().all(|(_, rate)| rate.is_none()), "{nothing:?}");

    let (moment, inputs) = pushed(&org, 600, 1);
    let mut watch = watch(&org);
    fold(&mut watch, &inputs);
    let end = moment + Span::hours(1);
    let open = |watch: &Watch| alarms(watch).iter().filter(|alarm| alarm.resolved_at.is_none()).count();
    assert!(open(&watch) > 0);
    let burning = open(&watch);
    for minute in 1..=240 {
        fold(&mut watch, &[poll(end + Span::minutes(minute))]);
    }
    assert_eq!(open(&watch), burning, "four hours without a sign-in are no recovery");
}

#[test]
fn a_restart_in_the_middle_gives_the_same() {
    let org = org();
    let (moment, inputs) = pushed(&org, 60, 6);
    let mut whole = watch(&org);
    fold(&mut whole, &inputs);
    let middle = inputs
        .iter()
        .position(|input| matches!(input, Input::Progress { now: Some(now), .. } if *now > moment + Span::minutes(40)))
        .expect("a poll");
    let mut first = watch(&org);
    fold(&mut first, &inputs[..middle]);
    let mut second = Watch::restore(&first.snapshot().expect("a snapshot")).expect("restores");
    fold(&mut second, &inputs[middle..]);
    assert!(!alarms(&whole).is_empty());
    assert_eq!(alarms(&second), alarms(&whole));
    assert_eq!(second.snapshot().expect("a snapshot"), whole.snapshot().expect("a snapshot"));
}

#[test]
fn arrival_order_within_l_changes_no_alarm_and_late_events_count() {
    let org = org();
    let (moment, inputs) = pushed(&org, 60, 3);
    let mut whole = watch(&org);
    fold(&mut whole, &inputs);
    let mut shuffled = inputs.clone();
    for pair in shuffled.chunks_mut(2) {
        if let [Input::Event { .. }, Input::Event { .. }] = pair {
            pair.swap(0, 1);
        }
    }
    let mut other = watch(&org);
    fold(&mut other, &shuffled);
    assert_eq!(alarms(&other), alarms(&whole));

    // The refusals of ten minutes arrive an hour late: the budget has them all the same.
    let is_late = |input: &Input| match input {
        Input::Event { event, .. } => {
            let at = event.published.expect("a time");
            at >= moment + Span::minutes(20) && at < moment + Span::minutes(30)
        }
        _ => false,
    };
    let (late, in_time): (Vec<Input>, Vec<Input>) = inputs.into_iter().partition(is_late);
    let at = in_time
        .iter()
        .position(|input| matches!(input, Input::Progress { now: Some(now), .. } if *now > moment + Span::minutes(90)))
        .expect("a poll");
    let mut delayed = watch(&org);
    fold(&mut delayed, &in_time[..at]);
    fold(&mut delayed, &late);
    fold(&mut delayed, &in_time[at..]);
    let end = moment + Span::hours(3);
    assert!(delayed.orgs().next().expect("org").counts().late > 100);
    for name in ["sign-in-events", "sign-in-success"] {
        let (found, expect) = (standing(&delayed, name, end), standing(&whole, name, end));
        let (found, expect) = (found.budget.expect("counted"), expect.budget.expect("counted"));
        // A person counts as bad once an hour, and of two that are so close the first that is known counts.
        let difference = i64::from(found.bad) - i64::from(expect.bad);
        assert!(difference.abs() * 20 <= i64::from(expect.bad), "{name}: {found:?}, in time {expect:?}");
        assert_eq!(found.good, expect.good, "{name}");
    }
}

/// Eight quiet days: a source of which a week is known, at 10:00 UTC on a Tuesday.
fn known(org: &Arc<Org>) -> (Watch, Timestamp) {
    let now = monday() + Span(8 * DAY.0) + Span::hours(10);
    let mut watch = watch(org);
    fold(&mut watch, &polls(org, Timeline::default(), monday(), now));
    assert_eq!(alarms(&watch), []);
    (watch, now)
}

#[test]
fn a_source_that_stops_is_blind_and_its_objectives_are_unknown_until_it_sees_again() {
    let org = org();
    let (known, now) = known(&org);

    // It answers, and has nothing new.
    let mut empty = known.clone();
    let mut after = None;
    for n in 1..=120 {
        fold(&mut empty, &[poll(now + Span::seconds(30 * n))]);
        if after.is_none() && !alarms(&empty).is_empty() {
            after = Some(Span::seconds(30 * n));
        }
    }
    let after = after.expect("blind");
    println!("no event from 10:00 UTC on a Tuesday: blind after {} s", after.as_seconds());
    assert!(after <= Span::minutes(30), "{}", after.as_seconds());
    let alarm = alarms(&empty).pop().expect("an alarm");
    assert_eq!((alarm.rule, sign_of(&alarm), alarm.severity), (Rule::SourceBlind, Sign::Gap, Severity::Ticket));
    assert_eq!(alarm.subject, "okta:acme");
    assert!((now - alarm.onset).0.abs() < Span::minutes(1).0, "{}", alarm.onset);
    let end = now + Span::hours(1);
    let unknown = standing(&empty, "sign-in-success", end);
    assert_eq!((unknown.state, unknown.budget), (State::Unknown, None));
    assert_eq!(standing(&empty, "source-freshness", end).state, State::Ok, "its minutes are known");
    fold(&mut empty, &polls(&org, Timeline::default(), end, end + Span::hours(2)));
    assert!(
        alarms(&empty)[0].resolved_at.is_some_and(|at| at > end && at < end + Span::hours(2)),
        "{:?}",
        alarms(&empty)
    );
    assert_eq!(standing(&empty, "sign-in-success", end + Span::hours(2)).state, State::Ok);

    // It does not answer.
    let mut dead = known;
    fold(&mut dead, &[unheard(Span::minutes(4))]);
    assert_eq!(alarms(&dead), []);
    fold(&mut dead, &[unheard(Span::minutes(5))]);
    let alarm = alarms(&dead).pop().expect("an alarm");
    assert_eq!((sign_of(&alarm), alarm.severity), (Sign::NoData, Severity::Page));
    assert_eq!(alarm.opened_at, now + Span::minutes(5));
    for minute in 6..=60 {
        fold(&mut dead, &[unheard(Span::minutes(minute))]);
    }
    let stale = standing(&dead, "source-freshness", now + Span::hours(1));
    assert!((50..=60).contains(&stale.budget.expect("minutes").bad), "{stale:?}");
}

#[test]
fn a_quiet_night_a_holiday_and_a_restart_are_not_blind() {
    let org = org();
    let (known, now) = known(&org);
    let midnight = now + Span::hours(14);

    // Nobody at all from midnight to three; on a Sunday about ten are usual in that time.
    let mut night = known.clone();
    fold(&mut night, &polls(&org, Timeline::default(), now, midnight));
    for minute in 1..=180 {
        fold(&mut night, &[poll(midnight + Span::minutes(minute))]);
    }
    assert_eq!(alarms(&night), []);

    // A working day with the traffic of a Sunday: one event in twenty-five.
    let mut holiday = known.clone();
    fold(&mut holiday, &polls(&org, Timeline::default(), now, midnight));
    let day = polls(&org, Timeline::default(), midnight, midnight + DAY);
    let mut n = 0;
    let few: Vec<Input> = day
        .into_iter()
        .filter(|input| {
            n += i32::from(matches!(input, Input::Event { .. }));
            !matches!(input, Input::Event { .. }) || n % 25 == 0
        })
        .collect();
    fold(&mut holiday, &few);
    assert_eq!(alarms(&holiday), []);

    // Down for two hours; then the backlog comes page by page.
    let mut down = Watch::restore(&known.snapshot().expect("a snapshot")).expect("restores");
    let back = now + Span::hours(2);
    let missed: Vec<Input> = polls(&org, Timeline::default(), now, back)
        .into_iter()
        .filter(|input| matches!(input, Input::Event { .. }))
        .collect();
    for (page, n) in missed.chunks(1_000).zip(0..) {
        let now = Some(back + Span::seconds(n));
        fold(&mut down, &[Input::Progress { source: common::source(), now, caught_up: false }]);
        fold(&mut down, page);
    }
    fold(&mut down, &polls(&org, Timeline::default(), back, back + Span::hours(1)));
    let blind: Vec<Alarm> = alarms(&down).into_iter().filter(|alarm| alarm.rule == Rule::SourceBlind).collect();
    assert_eq!(blind, []);
}

#[test]
fn without_objectives_nothing_is_told_and_a_removed_one_ends_its_alarm() {
    let org = org();
    let (bare, _) = common::run(&org, Timeline::default(), monday(), monday() + Span::hours(2));
    assert!(bare.orgs().next().expect("org").slos(monday() + Span::hours(2)).is_empty());
    let (_, inputs) = pushed(&org, 600, 1);
    let mut watch = watch(&org);
    fold(&mut watch, &inputs);
    assert!(alarms(&watch).iter().any(|alarm| alarm.resolved_at.is_none()));
    let config = common::config(&org);
    fold(&mut watch, &[Input::Configure(Box::new(config))]);
    assert!(alarms(&watch).iter().all(|alarm| alarm.resolved_at.is_some()));
}
