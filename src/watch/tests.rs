//! Laws of the core, on hand-made logs.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::testing::{event, sign_in, undated};
use super::*;
use crate::action::IncidentStep;
use crate::event::{AuthEvent, Credential, EventId, Kind, Outcome, Reject, Span, Timestamp};
use crate::input::{Cohort, OrgConfig};

#[path = "tests/policies.rs"]
mod policies;

const MINUTE: i64 = 60_000;

fn config() -> CoreConfig {
    let sources = [SourceName::new("okta:acme")].into();
    let orgs = [(Org::new("acme"), OrgConfig { sources, ..OrgConfig::default() })].into();
    CoreConfig { orgs, ..CoreConfig::default() }
}

fn input(event: AuthEvent) -> Input {
    Input::Event { source: SourceName::new("okta:acme"), event: Box::new(event) }
}

fn progress(now: Option<i64>, caught_up: bool) -> Input {
    Input::Progress { source: SourceName::new("okta:acme"), now: now.map(Timestamp), caught_up }
}

fn run(inputs: &[Input]) -> (Watch, Vec<Action>) {
    let mut watch = Watch::new();
    watch.handle(&Input::Configure(Box::new(config())));
    let mut actions = Vec::new();
    for input in inputs {
        watch.handle(input);
        actions.extend(std::iter::from_fn(|| watch.poll_action()));
    }
    (watch, actions)
}

/// Two days of quiet sign-ins, one every 20 s by one of 400 people, one in 150 refused.
fn quiet_days() -> Vec<AuthEvent> {
    let at = |n: u32| i64::from(n) * 20_000;
    (0..8_640).map(|n| sign_in(n * 7 % 400, at(n), n % 150 == 149)).collect()
}

/// Quiet days, then everyone is refused for half an hour, then all is well.
fn push_and_rollback() -> Vec<AuthEvent> {
    let begin = 48 * 60 * MINUTE;
    let pushed = (0..90).map(|n| sign_in(n, begin + i64::from(n) * 20_000, true));
    let after = (0..400).map(|n| sign_in(n % 400, begin + 30 * MINUTE + i64::from(n) * 20_000, false));
    quiet_days().into_iter().chain(pushed).chain(after).collect()
}

fn steps(actions: &[Action]) -> Vec<(IncidentStep, Timestamp)> {
    actions.iter().map(|Action::Incident(action)| (action.step, action.at)).collect()
}

#[test]
fn a_push_opens_one_incident_and_a_rollback_resolves_it() {
    let mut inputs: Vec<Input> = push_and_rollback().into_iter().map(input).collect();
    inputs.push(progress(None, true));
    let (watch, actions) = run(&inputs);
    let steps = steps(&actions);
    assert_eq!(steps.first().map(|(step, _)| *step), Some(IncidentStep::Open), "{steps:?}");
    assert_eq!(steps.last().map(|(step, _)| *step), Some(IncidentStep::Resolve), "{steps:?}");
    assert_eq!(steps.iter().filter(|(step, _)| *step == IncidentStep::Open).count(), 1);
    let incident = &watch.orgs().next().expect("org").incidents()[0];
    let begin = Timestamp(48 * 60 * MINUTE);
    assert!((incident.onset - begin).0.abs() <= 40_000, "{}", incident.onset);
    assert!(incident.opened_at - begin < Span::minutes(4), "{}", incident.opened_at);
    assert_eq!(incident.people, 90);
    assert_eq!(incident.evidence.top_apps, [("Salesforce".to_owned(), 90)]);
    let Action::Incident(open) = &actions[0];
    assert!(open.description.contains("in org acme"), "{}", open.description);
}

#[test]
fn what_repeats_across_a_long_absence_is_a_duplicate() {
    let before = event("before", 0);
    let back = 72 * 60 * MINUTE;
    let inputs = [
        input(before.clone()),
        progress(Some(MINUTE), true),
        progress(Some(back), false),
        input(before.clone()),
        input(event("after", 2 * MINUTE)),
        progress(Some(back), true),
        input(before),
    ];
    let counts = |inputs: &[Input]| {
        let (watch, _) = run(inputs);
        let counts = watch.orgs().next().expect("org").counts().clone();
        (counts.events_total(), counts.duplicates)
    };
    assert_eq!(counts(&inputs[..6]), (2, 1));
    assert_eq!(counts(&inputs), (3, 1), "two hours after it was caught up it is forgotten");
}

#[test]
fn one_person_refused_five_hundred_times_opens_nothing() {
    let begin = 48 * 60 * MINUTE;
    let retries = (0..500).map(|n| sign_in(1, begin + n * 3_000, true));
    let inputs: Vec<Input> = quiet_days().into_iter().chain(retries).map(input).collect();
    assert_eq!(steps(&run(&inputs).1), []);
}

#[test]
fn a_first_sign_in_after_a_refusal_in_the_same_flow_takes_it_back() {
    let begin = 48 * 60 * MINUTE;
    let mut inputs: Vec<Input> = quiet_days().into_iter().map(input).collect();
    for person in 0..40 {
        let denied = sign_in(person, begin + i64::from(person) * 1_000, true);
        let mut success = sign_in(person, begin + i64::from(person) * 1_000 + 900, false);
        success.flow.clone_from(&denied.flow);
        inputs.extend([input(denied), input(success)]);
    }
    inputs.push(input(event("later", begin + 10 * MINUTE)));
    assert_eq!(steps(&run(&inputs).1), []);
}

#[test]
fn what_is_over_before_the_daemon_has_caught_up_is_listed_and_never_told() {
    let now = 60 * 60 * MINUTE;
    let mut inputs = vec![progress(Some(now), false)];
    inputs.extend(push_and_rollback().into_iter().map(input));
    inputs.push(progress(Some(now), true));
    let (watch, actions) = run(&inputs);
    assert_eq!(steps(&actions), []);
    let incidents = watch.orgs().next().expect("org").incidents();
    assert_eq!(
        incidents.iter().map(|incident| (incident.people, incident.notified)).collect::<Vec<_>>(),
        [(90, false)]
    );
}

#[test]
fn what_is_still_open_when_caught_up_is_told_once_with_its_true_onset() {
    let begin = 48 * 60 * MINUTE;
    let now = begin + 29 * MINUTE;
    let mut inputs = vec![progress(Some(now), false)];
    let log = push_and_rollback().into_iter().filter(|event| event.published < Some(Timestamp(now)));
    inputs.extend(log.map(input));
    inputs.push(progress(Some(now), true));
    let (_, actions) = run(&inputs);
    assert_eq!(actions.len(), 1);
    let Action::Incident(open) = &actions[0];
    assert_eq!(open.step, IncidentStep::Open);
    assert!(open.incident.opened_at.0 < begin + 4 * MINUTE);
    assert!(open.at.0 > begin + 10 * MINUTE);
    assert!(open.incident.people > 40, "{}", open.incident.people);
}

#[test]
fn a_relapse_reopens_the_incident_and_opens_no_second() {
    let again = 50 * 60 * MINUTE + 20 * MINUTE;
    let mut log = push_and_rollback();
    log.retain(|event| event.published < Some(Timestamp(again)));
    log.extend((0..90).map(|n| sign_in(n, again + i64::from(n) * 20_000, true)));
    let inputs: Vec<Input> = log.into_iter().map(input).collect();
    let (watch, actions) = run(&inputs);
    let told: Vec<IncidentStep> = steps(&actions).into_iter().map(|(step, _)| step).collect();
    assert!(told.contains(&IncidentStep::Resolve) && told.contains(&IncidentStep::Reopen), "{told:?}");
    assert_eq!(told.iter().filter(|step| **step == IncidentStep::Open).count(), 1);
    assert_eq!(watch.orgs().next().expect("org").incidents().len(), 1);
}

#[test]
fn repeated_late_and_future_records_are_accounted_for() {
    let first = sign_in(1, 10 * MINUTE, false);
    let inputs = [
        progress(Some(10 * MINUTE), false),
        input(first.clone()),
        input(first),
        input(sign_in(2, 16 * MINUTE, false)),
        progress(Some(15 * MINUTE), true),
        input(sign_in(3, 14 * MINUTE, false)),
        Input::Reject { source: SourceName::new("okta:acme"), reason: Reject::NotJson },
    ];
    let (watch, _) = run(&inputs);
    let counts = watch.orgs().next().expect("org").counts().clone();
    assert_eq!((counts.events_total(), counts.duplicates, counts.late), (2, 1, 1));
    assert_eq!(counts.rejected, [(Reject::NotJson, 1), (Reject::Future, 1)].into());
}

#[test]
fn undated_events_are_counted_once_and_move_nothing_else() {
    let begin = 48 * 60 * MINUTE;
    let mut dated = Vec::new();
    for (n, event) in push_and_rollback().into_iter().enumerate() {
        if n % 10 == 0 {
            dated.push(progress(event.published.map(|time| time.0 + 1_000), false));
        }
        dated.push(input(event));
    }
    let mut mixed = Vec::new();
    for (n, dated) in dated.iter().enumerate() {
        // Refusals by people of their own, before anything has a time, in the middle of it all, and after the end.
        if n % 10 == 0 {
            mixed.push(input(undated(sign_in(1_000 + n as u32, begin, true))));
        }
        mixed.push(dated.clone());
    }
    mixed.extend([input(undated(sign_in(7, begin, false))), input(undated(sign_in(7, begin, false)))]);
    let ((mut plain, told), (mut mixed_watch, told_mixed)) = (run(&dated), run(&mixed));
    plain.finish();
    mixed_watch.finish();
    assert!(!told.is_empty());
    assert_eq!(told, told_mixed);
    assert_eq!(plain.digest(), mixed_watch.digest());

    let (a, b) = (plain.orgs().next().expect("org"), mixed_watch.orgs().next().expect("org"));
    assert_eq!(
        (a.watermark(), a.now(), a.event_ratio_5m(a.now())),
        (b.watermark(), b.now(), b.event_ratio_5m(b.now()))
    );
    assert_eq!(a.event_ratio_1h(a.now()), b.event_ratio_1h(b.now()));
    assert_eq!(a.lags(), b.lags());
    assert_eq!(a.ingest_lag(a.now()).quantile(0.99), b.ingest_lag(b.now()).quantile(0.99));
    assert_eq!((a.series_count(), a.incidents()), (b.series_count(), b.incidents()));

    let extra = mixed.len() as u64 - dated.len() as u64 - 1;
    let (before, after) = (a.counts(), b.counts());
    assert_eq!((before.undated, after.undated, after.duplicates), (0, extra, before.duplicates + 1));
    assert_eq!(after.events_total(), before.events_total() + extra);
    assert_eq!((&after.attempts, &after.steps, after.late), (&before.attempts, &before.steps, before.late));
    let denied = |counts: &Counts| -> u64 {
        counts.events.iter().filter(|(meaning, _)| meaning.outcome == Outcome::Deny).map(|(_, n)| n).sum()
    };
    assert_eq!(denied(after), denied(before) + extra - 1);
    let records = mixed.iter().filter(|input| matches!(input, Input::Event { .. })).count() as u64;
    assert_eq!(records, after.events_total() + after.duplicates + after.rejected.values().sum::<u64>());
}

#[test]
fn series_over_the_cap_fold_into_other() {
    let mut watch = Watch::new();
    let mut config = config();
    config.limits.series = 4;
    watch.handle(&Input::Configure(Box::new(config)));
    for n in 0..10 {
        let mut event = sign_in(n, i64::from(n) * MINUTE, false);
        event.app = Some(crate::event::App { id: format!("0oa{n}").into(), name: format!("App {n}").into() });
        watch.handle(&input(event));
    }
    let org = watch.orgs().next().expect("org");
    assert!(org.counts().limits.contains_key(&Limit::Series));
    assert!(org.series().any(|view| view.key.to_string() == "app=other"));
    let attempts: u32 = org
        .series()
        .filter(|view| view.key.level == crate::window::Level::App)
        .map(|view| view.series.tally(org.now(), Span::hours(4)).all())
        .sum();
    assert_eq!(attempts, 9, "the newest attempt still waits for the watermark");
}

#[test]
fn a_forgotten_person_is_in_no_set() {
    let inputs: Vec<Input> = push_and_rollback().into_iter().take(8_680).map(input).collect();
    let (mut watch, _) = run(&inputs);
    let people = |watch: &Watch| {
        watch
            .orgs()
            .next()
            .expect("org")
            .series()
            .map(|view| view.series.refused_people(Timestamp(49 * 60 * MINUTE), Span::hours(2)))
            .max()
    };
    let before = people(&watch).expect("series");
    watch.forget(&Person::new("00u3"));
    assert_eq!(people(&watch), Some(before - 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_arrival_order_within_l_gives_the_same_counts_incidents_and_digest(
        delays in prop::collection::vec(0i64..20_000, 200),
    ) {
        let log = push_and_rollback();
        let mut shuffled: Vec<(i64, AuthEvent)> =
            log.iter().enumerate().map(|(n, event)| (event.published.expect("a time").0 + delays[n % delays.len()], event.clone())).collect();
        shuffled.sort_by_key(|(arrival, _)| *arrival);
        let in_order: Vec<Input> = log.into_iter().map(input).chain([progress(None, true)]).collect();
        let out_of_order: Vec<Input> =
            shuffled.into_iter().map(|(_, event)| input(event)).chain([progress(None, true)]).collect();
        let ((mut a, told_a), (mut b, told_b)) = (run(&in_order), run(&out_of_order));
        a.finish(); b.finish();
        prop_assert_eq!(told_a, told_b);
        prop_assert_eq!(a.digest(), b.digest());
        let counts = |watch: &Watch| watch.orgs().next().map(|org| (org.counts().clone(), org.incidents()));
        prop_assert_eq!(counts(&a), counts(&b));
    }

    #[test]
    fn a_restart_anywhere_changes_nothing(cut in 0usize..9_130) {
        let inputs: Vec<Input> = push_and_rollback().into_iter().map(input).collect();
        let (whole, told) = run(&inputs);
        let (before, mut told_again) = run(&inputs[..cut]);
        let mut after = Watch::restore(&before.snapshot().expect("snapshot")).expect("restore");
        for input in &inputs[cut..] {
            after.handle(input);
            told_again.extend(std::iter::from_fn(|| after.poll_action()));
        }
        prop_assert_eq!(told, told_again);
        prop_assert_eq!(whole.snapshot().expect("snapshot"), after.snapshot().expect("snapshot"));
    }
}

#[test]
fn a_damaged_or_newer_snapshot_is_refused() {
    let bytes = Watch::new().snapshot().expect("snapshot");
    assert!(matches!(Watch::restore(&bytes[..3]), Err(SnapshotError::Damaged(_))));
    let newer: Vec<u8> = [&[9u8][..], &bytes[1..]].concat();
    assert!(matches!(Watch::restore(&newer), Err(SnapshotError::Version { found: 9 })));
}

/// A sign-in that worked, with what it was made with.
fn with(person: u32, published: i64, credential: Credential, phishing_resistant: bool) -> AuthEvent {
    let phishing_resistant = Some(phishing_resistant);
    AuthEvent { credential, phishing_resistant, ..sign_in(person, published, false) }
}

#[test]
fn adoption_counts_attempts_as_they_came_to_rest_and_leaves_break_glass_out() {
    let day = 24 * 60 * MINUTE;
    let mut config = config();
    let org = config.orgs.get_mut("acme").expect("the org");
    org.break_glass = [Person::new("00u9")].into();
    org.cohorts = vec![Cohort {
        name: "pilot".to_owned(),
        users: [Person::new("00u1"), Person::new("00u2"), Person::new("00u9")].into(),
        groups: BTreeSet::new(),
    }];
    // A policy lets the password pass, then FastPass is asked for in the same flow.
    let password = AuthEvent {
        event_type: "policy.evaluate_sign_on".into(),
        kind: Kind::PolicyEvaluation,
        outcome: Outcome::Allow,
        ..with(1, day, Credential::Password, false)
    };
    let fastpass = AuthEvent { flow: password.flow.clone(), ..with(1, day + 5_000, Credential::Fastpass, true) };
    let enrolled = AuthEvent {
        event_type: "user.mfa.factor.activate".into(),
        kind: Kind::Enrollment,
        credential: Credential::Fastpass,
        flow: None,
        ..sign_in(4, day + 1_000, false)
    };
    let suspended = AuthEvent {
        event_type: "user.mfa.factor.suspend".into(),
        person: Some(Person::new("00u5")),
        ..enrolled.clone()
    };
    let events = [
        password,
        enrolled,
        suspended,
        fastpass,
        with(2, day + 10_000, Credential::Sms, false),
        sign_in(3, day + 20_000, true),
        with(9, day + 30_000, Credential::Password, false),
    ];
    let mut watch = Watch::new();
    watch.handle(&Input::Configure(Box::new(config)));
    // Each record its own id: some are made from one.
    for (n, mut event) in events.into_iter().enumerate() {
        event.id = EventId(n as u128);
        watch.handle(&input(event));
    }
    let funnel = |watch: &Watch, now: i64| watch.orgs().next().expect("org").adoption(Timestamp(now));
    assert_eq!(funnel(&watch, day).all.numbers.resistant_last, 0, "no attempt has come to rest");
    watch.handle(&progress(Some(day + 20 * MINUTE), true));
    let today = funnel(&watch, day + 20 * MINUTE);
    assert_eq!(today.all.numbers.stages().map(|(_, n)| n), [4, 2, 1, 1]);
    assert_eq!(today.all.fallback, [(Credential::Sms, 1)].into());
    assert_eq!(today.cohorts["pilot"].numbers.stages().map(|(_, n)| n), [2, 1, 1, 1]);

    watch.handle(&progress(Some(2 * day + 5 * MINUTE), true));
    assert_eq!(funnel(&watch, 2 * day).history, [], "the day's attempts may still come to rest");
    watch.handle(&progress(Some(2 * day + 11 * MINUTE), true));
    let history = funnel(&watch, 2 * day + 11 * MINUTE).history;
    let [only] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!((only.until, only.all, only.cohorts["pilot"].seen), (Timestamp(2 * day), today.all.numbers, 2));

    let restored = Watch::restore(&watch.snapshot().expect("a snapshot")).expect("restored");
    assert_eq!(funnel(&restored, 2 * day), funnel(&watch, 2 * day));
    watch.forget(&Person::new("00u2"));
    assert_eq!(funnel(&watch, 2 * day).all.fallback_people, 0);
}
