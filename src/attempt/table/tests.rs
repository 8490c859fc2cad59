//! The attempts on their own: verdicts by order, ends, and what an attempt knows.

use super::*;
use crate::attempt::Circumstances;
use Verdict::{Abandoned, Denied, Failed, PhishDeclined, Success};

fn step(at: i64, signal: Signal) -> Step {
    Step {
        published: Timestamp(at * 1_000),
        id: EventId(at as u128),
        signal,
        person: Some(Person::new("00u1")),
        flow: Flow::new("flow"),
        trace: Trace::None,
        credential: Credential::None,
        phishing_resistant: None,
        reason: Reason::None,
        platform: Platform::Unknown,
        device: None,
        app: None,
        rule: None,
        circumstances: None,
    }
}

fn fold(attempts: &mut Attempts, step: &Step, closed: &mut Vec<Closed>) -> Option<Decision> {
    attempts.fold(step, &mut Nothing, closed)
}

/// An outside that knows nothing.
struct Nothing;

impl Outside for Nothing {
    fn cohort(&self, _: &Step) -> Option<SmolStr> {
        None
    }

    fn evaluate(&mut self, _: &Step, _: &Known<'_>) -> Option<Arc<Evaluation>> {
        None
    }
}

fn verdicts(closed: &[Closed]) -> Vec<Option<Verdict>> {
    closed.iter().map(|closed| closed.verdict).collect()
}

#[track_caller]
fn check(signals: &[(i64, Signal)], expect: Option<Verdict>) {
    let mut forward = Attempts::new(10);
    let mut closed = Vec::new();
    for (at, signal) in signals {
        fold(&mut forward, &step(*at, *signal), &mut closed);
    }
    forward.close_all(&mut closed);
    assert_eq!(verdicts(&closed), [expect], "{signals:?}");
}

#[test]
fn the_latest_terminal_event_wins() {
    let terminal = Signal::Terminal;
    check(&[(1, Signal::Challenge), (2, terminal(Failed)), (3, terminal(Success))], Some(Success));
    check(&[(1, Signal::Progress), (2, terminal(Success)), (3, terminal(Denied))], Some(Denied));
    check(&[(1, terminal(Denied)), (2, terminal(Success))], Some(Success));
    check(&[(1, Signal::Granted), (2, terminal(Denied)), (3, Signal::Granted)], Some(Denied));
    check(&[(1, Signal::Granted)], Some(Success));
    check(&[(1, Signal::Challenge)], Some(Abandoned));
    check(&[(1, Signal::Challenge), (2, terminal(PhishDeclined))], Some(PhishDeclined));
    check(&[(1, Signal::Progress)], None);
}

#[test]
fn arrival_order_does_not_change_the_verdict() {
    let terminal = Signal::Terminal;
    check(&[(3, terminal(Success)), (2, terminal(Denied)), (1, Signal::Challenge)], Some(Success));
    check(&[(3, terminal(Denied)), (2, terminal(Success)), (1, terminal(Failed))], Some(Denied));
}

#[test]
fn ten_quiet_minutes_end_an_attempt_and_a_touch_begins_none() {
    let mut attempts = Attempts::new(10);
    let mut closed = Vec::new();
    assert_eq!(fold(&mut attempts, &step(0, Signal::Touch), &mut closed), None);
    assert!(attempts.is_empty());
    fold(&mut attempts, &step(0, Signal::Terminal(Denied)), &mut closed);
    fold(&mut attempts, &step(599, Signal::Touch), &mut closed);
    attempts.close_quiet(Timestamp(1_198_999), &mut closed);
    assert_eq!((attempts.len(), closed.len()), (1, 0));
    fold(&mut attempts, &step(1_199, Signal::Terminal(Success)), &mut closed);
    assert_eq!(verdicts(&closed), [Some(Denied)]);
    assert_eq!(attempts.len(), 1);
}

#[test]
fn a_changed_verdict_names_the_one_it_replaces() {
    let mut attempts = Attempts::new(10);
    let mut closed = Vec::new();
    let first = fold(&mut attempts, &step(1, Signal::Terminal(Denied)), &mut closed).expect("decided");
    assert_eq!(first.before, None);
    let second = fold(&mut attempts, &step(2, Signal::Terminal(Success)), &mut closed).expect("decided");
    assert_eq!(second.before, first.after);
    assert_eq!(second.after.map(|standing| (standing.verdict, standing.at)), Some((Success, Timestamp(2_000))));
}

#[test]
fn the_attempt_longest_quiet_is_not_the_one_that_began_first() {
    let mut attempts = Attempts::new(10);
    let mut closed = Vec::new();
    let of_flow = |flow: &str, at: i64, signal: Signal| Step { flow: Flow::new(flow), ..step(at, signal) };
    fold(&mut attempts, &of_flow("a", 0, Signal::Terminal(Denied)), &mut closed);
    fold(&mut attempts, &of_flow("b", 1, Signal::Terminal(Success)), &mut closed);
    fold(&mut attempts, &of_flow("a", 500, Signal::Touch), &mut closed);
    fold(&mut attempts, &of_flow("c", 502, Signal::Terminal(Failed)), &mut closed);
    attempts.close_oldest(&mut closed);
    assert_eq!(verdicts(&closed), [Some(Success)]);
    attempts.close_quiet(Timestamp(1_099_999), &mut closed);
    assert_eq!((attempts.len(), closed.len()), (2, 1));
    attempts.close_quiet(Timestamp(1_100_000), &mut closed);
    assert_eq!(verdicts(&closed).last(), Some(&Some(Denied)));
    fold(&mut attempts, &of_flow("c", 503, Signal::Touch), &mut closed);
    attempts.forget(&Person::new("00u1"));
    assert!(attempts.is_empty() && attempts.by_last.is_empty());
    fold(&mut attempts, &of_flow("d", 600, Signal::Terminal(Denied)), &mut closed);
    fold(&mut attempts, &of_flow("d", 601, Signal::Touch), &mut closed);
    fold(&mut attempts, &of_flow("d", 1_300, Signal::Terminal(Success)), &mut closed);
    assert_eq!((closed.len(), attempts.len(), attempts.by_last.len()), (3, 1, 1));
}

#[test]
fn an_attempt_is_as_resistant_as_the_best_method_that_worked() {
    type Part = (Signal, Option<bool>);
    let cases: [(&[Part], Option<bool>); 6] = [
        (&[(Signal::Progress, Some(false)), (Signal::Terminal(Success), None)], Some(false)),
        (&[(Signal::Progress, Some(true)), (Signal::Terminal(Success), Some(false))], Some(true)),
        // FastPass failed, and something else worked.
        (&[(Signal::Terminal(Failed), Some(true)), (Signal::Terminal(Success), Some(false))], Some(false)),
        // A push that was sent is no method that worked.
        (&[(Signal::Progress, None), (Signal::Touch, Some(false)), (Signal::Terminal(Success), None)], None),
        (&[(Signal::Challenge, Some(true)), (Signal::Granted, None)], None),
        (&[(Signal::Granted, Some(true))], Some(true)),
    ];
    for (steps, expect) in cases {
        let mut attempts = Attempts::new(10);
        let mut closed = Vec::new();
        for ((signal, phishing_resistant), at) in steps.iter().zip(1..) {
            let step = Step { phishing_resistant: *phishing_resistant, ..step(at, *signal) };
            fold(&mut attempts, &step, &mut closed);
        }
        attempts.close_all(&mut closed);
        let [Closed { verdict, standing: Some(standing), person: Some(_), last, .. }] = closed.as_slice() else {
            panic!("{steps:?}: {closed:?}");
        };
        assert_eq!((*verdict, standing.phishing_resistant), (Some(Success), expect), "{steps:?}");
        assert_eq!(last.0, 1_000 * steps.len() as i64);
    }
}

#[test]
fn the_table_knows_when_it_is_full() {
    let mut attempts = Attempts::new(2);
    let mut closed = Vec::new();
    for n in 0..3 {
        let mut step = step(n, Signal::Challenge);
        step.flow = Flow::new(format!("flow-{n}"));
        fold(&mut attempts, &step, &mut closed);
    }
    assert!(attempts.is_full());
    attempts.close_oldest(&mut closed);
    assert_eq!((attempts.len(), closed.len(), attempts.is_full()), (2, 1, false));
}

#[test]
fn a_late_abandoned_joins_the_attempt_that_it_ends() {
    let mut attempts = Attempts::new(10);
    let mut closed = Vec::new();
    let abandoned = Signal::Terminal(Abandoned);
    fold(&mut attempts, &step(0, Signal::Progress), &mut closed);
    attempts.close_quiet(Timestamp(700_000), &mut closed);
    assert_eq!(verdicts(&closed), [None]);
    assert_eq!(fold(&mut attempts, &step(1_800, abandoned), &mut closed), None);
    assert_eq!(verdicts(&closed).last(), Some(&Some(Abandoned)));
    assert_eq!(fold(&mut attempts, &step(1_801, abandoned), &mut closed), None);
    assert_eq!((closed.len(), attempts.len()), (2, 0), "counted once");
    attempts.close_quiet(Timestamp(9_000_000), &mut closed);
    assert!(fold(&mut attempts, &step(9_001, abandoned), &mut closed).is_some(), "too long ago to be known");
}

#[test]
fn the_way_in_is_told_by_what_the_flow_holds() {
    for (traces, expect) in [
        (&[Trace::Credential, Trace::SessionStart, Trace::None][..], Entry::SignIn),
        (&[Trace::SessionStart, Trace::Credential], Entry::SignIn),
        (&[Trace::None, Trace::Credential], Entry::Reauthentication),
        (&[Trace::None], Entry::Session),
    ] {
        let mut attempts = Attempts::new(10);
        let mut closed = Vec::new();
        for (at, trace) in (0..).zip(traces) {
            fold(&mut attempts, &Step { trace: *trace, ..step(at, Signal::Granted) }, &mut closed);
        }
        attempts.close_all(&mut closed);
        let found: Vec<_> = closed.iter().map(|closed| (closed.verdict, closed.entry)).collect();
        assert_eq!(found, [(Some(Success), expect)], "{traces:?}");
    }
}

#[test]
fn an_attempt_knows_the_device_of_its_neighbours_and_whether_any_factor_resists_phishing() {
    let mut attempts = Attempts::new(10);
    let mut closed = Vec::new();
    let device = DeviceSignals { id: Some("guo1".into()), os_version: Some("14.5".into()), ..DeviceSignals::default() };
    let partial = DeviceSignals { id: Some("guo1".into()), managed: Some(false), ..DeviceSignals::default() };
    let with = |at, device: &DeviceSignals, resistant| Step {
        device: Some(Arc::new(device.clone())),
        phishing_resistant: resistant,
        ..step(at, Signal::Progress)
    };
    fold(&mut attempts, &with(1, &device, Some(true)), &mut closed);
    fold(&mut attempts, &with(2, &partial, Some(false)), &mut closed);
    let denied = fold(&mut attempts, &step(3, Signal::Terminal(Denied)), &mut closed).and_then(|one| one.after);
    let denied = denied.expect("decided");
    let expect = DeviceSignals { managed: Some(false), ..device };
    assert_eq!((denied.device.as_deref(), denied.phishing_resistant), (Some(&expect), Some(true)));
}

#[test]
fn an_expired_request_undoes_no_decision_in_any_order() {
    let terminal = Signal::Terminal;
    check(&[(1, terminal(Denied)), (300, terminal(Abandoned))], Some(Denied));
    check(&[(300, terminal(Abandoned)), (1, terminal(Denied))], Some(Denied));
    check(&[(1, terminal(Success)), (300, terminal(Abandoned))], Some(Success));
    check(&[(1, terminal(Failed)), (300, terminal(Abandoned))], Some(Abandoned));
}

/// An outside that says which answer it was asked about, in the policy's name.
struct Named;

impl Outside for Named {
    fn cohort(&self, _: &Step) -> Option<SmolStr> {
        None
    }

    fn evaluate(&mut self, step: &Step, _: &Known<'_>) -> Option<Arc<Evaluation>> {
        let uuid = step.circumstances.as_ref()?.uuid.clone();
        Some(Arc::new(Evaluation { policy: Some(uuid), ..Evaluation::none() }))
    }
}

#[test]
fn a_refusal_keeps_its_own_reading_whatever_is_granted_later_in_the_flow() {
    let answer = |at, signal, uuid: &str, granted| Step {
        circumstances: Some(Box::new(Circumstances { uuid: uuid.into(), granted, ..Circumstances::default() })),
        ..step(at, signal)
    };
    let mut attempts = Attempts::new(10);
    let mut closed = Vec::new();
    for step in [
        answer(1, Signal::Granted, "global", true),
        answer(2, Signal::Terminal(Denied), "app", false),
        answer(3, Signal::Granted, "other app", true),
    ] {
        attempts.fold(&step, &mut Named, &mut closed);
    }
    attempts.close_all(&mut closed);
    let posture = closed[0].standing.as_ref().and_then(|standing| standing.posture.as_ref());
    assert_eq!(posture.and_then(|posture| posture.policy.as_deref()), Some("app"));
}
