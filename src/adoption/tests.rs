//! The funnel, case by case.

use super::*;

const HOUR: i64 = 3_600_000;

fn at(day: i64, hour: i64) -> Timestamp {
    Timestamp(day * DAY.0 + hour * HOUR)
}

fn person(n: u32) -> Person {
    Person::new(format!("00u{n}"))
}

/// Even numbers are the pilot.
fn cohort(person: &Person) -> Option<SmolStr> {
    person.as_str().ends_with(['0', '2', '4', '6', '8']).then(|| SmolStr::new("pilot"))
}

fn numbers(adoption: &Adoption, now: Timestamp) -> [u32; 4] {
    adoption.funnel(now, &cohort).all.numbers.stages().map(|(_, n)| n)
}

/// Closes every day that has ended.
fn close(adoption: &mut Adoption, now: Timestamp) {
    while let Some(until) = adoption.day_due(now) {
        adoption.close_day(until, &cohort);
    }
}

/// One person's sign-ins as (day, credential, resistant); then seen, fastpass, resistant last, resistant only on day 100,
/// and what they fall back to.
#[track_caller]
fn check(sign_ins: &[(i64, Credential, Option<bool>)], expect: [u32; 4], fallback: &[Credential]) {
    for backwards in [false, true] {
        let mut adoption = Adoption::default();
        let mut order: Vec<_> = sign_ins.iter().zip(0_i64..).collect();
        if backwards {
            order.reverse();
        }
        for ((day, credential, resistant), hour) in order {
            adoption.saw_sign_in(&person(1), at(*day, hour), *credential, *resistant);
        }
        let funnel = adoption.funnel(at(100, 23), &cohort);
        assert_eq!(funnel.all.numbers.stages().map(|(_, n)| n), expect, "{sign_ins:?} backwards: {backwards}");
        let found: Vec<_> = funnel.all.fallback.iter().map(|(credential, n)| (*credential, *n)).collect();
        let wanted: Vec<_> = fallback.iter().map(|credential| (*credential, 1)).collect();
        assert_eq!(found, wanted, "{sign_ins:?} backwards: {backwards}");
        assert_eq!(funnel.all.fallback_people, u32::from(!fallback.is_empty()));
    }
}

#[test]
fn a_fallback_is_a_sign_in_without_a_resistant_method() {
    use Credential::{Fastpass, Idp, None as Nothing, OktaTotp, Password, Push, Sms, Webauthn};
    check(&[(100, Fastpass, Some(true))], [1, 1, 1, 1], &[]);
    check(&[(100, Password, Some(false))], [1, 0, 0, 0], &[Password]);
    // The password came last in a flow that FastPass was part of.
    check(&[(100, Password, Some(true))], [1, 0, 1, 1], &[]);
    check(&[(100, Webauthn, Some(true))], [1, 0, 1, 1], &[]);
    // FastPass without phishing resistance is FastPass, and a fallback all the same.
    check(&[(100, Fastpass, Some(false))], [1, 1, 0, 0], &[Fastpass]);
    check(&[(99, Fastpass, Some(true)), (99, OktaTotp, Some(false))], [1, 1, 0, 0], &[OktaTotp]);
    check(&[(99, Push, Some(false)), (99, Sms, Some(false)), (100, Fastpass, Some(true))], [1, 1, 1, 0], &[Push, Sms]);
    // Unknown is neither.
    check(&[(100, Idp, None)], [1, 0, 0, 0], &[]);
    check(&[(99, Idp, None), (100, Fastpass, Some(true))], [1, 1, 1, 0], &[]);
    // An app reached within a session is no sign-in.
    check(&[(99, Fastpass, Some(true)), (100, Nothing, None)], [1, 1, 1, 1], &[]);
    check(&[(100, Nothing, None)], [1, 0, 0, 0], &[]);
}

#[test]
fn lately_is_the_last_fourteen_days_with_the_one_under_way() {
    use Credential::{Fastpass, Push};
    check(&[(87, Push, Some(false)), (100, Fastpass, Some(true))], [1, 1, 1, 0], &[Push]);
    check(&[(86, Push, Some(false)), (100, Fastpass, Some(true))], [1, 1, 1, 1], &[]);
    check(&[(86, Fastpass, Some(true))], [1, 1, 1, 0], &[]);
    check(&[(20, Push, Some(false)), (100, Fastpass, Some(true))], [1, 1, 1, 1], &[]);
    let mut adoption = Adoption::default();
    adoption.saw_sign_in(&person(1), at(71, 0), Push, Some(false));
    adoption.saw_sign_in(&person(1), at(100, 0), Fastpass, Some(true));
    for (days, only) in [(30, 0), (29, 1), (200, 0), (0, 1)] {
        adoption.set_window_days(days);
        assert_eq!(numbers(&adoption, at(100, 0))[3], only, "{days}");
    }
}

#[test]
fn an_enrolment_of_fastpass_is_known_before_it_is_used() {
    let mut adoption = Adoption::default();
    adoption.saw_enrollment(&person(1), at(5, 0), Credential::Fastpass);
    adoption.saw_enrollment(&person(2), at(5, 0), Credential::Webauthn);
    adoption.saw(&person(3), at(5, 0));
    assert_eq!(numbers(&adoption, at(6, 0)), [3, 1, 0, 0]);
    adoption.saw_sign_in(&person(1), at(4, 0), Credential::Fastpass, Some(true));
    assert_eq!(adoption.people[&person(1)].fastpass_since, Some(at(4, 0)));
}

#[test]
fn people_are_counted_in_their_cohort_and_in_all() {
    let mut adoption = Adoption::default();
    adoption.saw_sign_in(&person(1), at(5, 0), Credential::Password, Some(false));
    adoption.saw_sign_in(&person(2), at(5, 0), Credential::Fastpass, Some(true));
    adoption.saw_sign_in(&person(4), at(5, 0), Credential::Sms, Some(false));
    let funnel = adoption.funnel(at(5, 0), &cohort);
    let pilot = &funnel.cohorts["pilot"];
    assert_eq!(funnel.all.numbers, Numbers { seen: 3, fastpass: 1, resistant_last: 1, resistant_only: 1 });
    assert_eq!(pilot.numbers, Numbers { seen: 2, fastpass: 1, resistant_last: 1, resistant_only: 1 });
    assert_eq!(pilot.fallback, [(Credential::Sms, 1)].into());
    assert_eq!(funnel.all.fallback, [(Credential::Password, 1), (Credential::Sms, 1)].into());
    assert_eq!((funnel.all.fallback_people, pilot.fallback_people), (2, 1));
    assert!(funnel.clone().only("wave-1").cohorts.is_empty());
    assert_eq!(funnel.clone().only("pilot").cohorts, funnel.cohorts);
}

#[test]
fn every_day_that_ended_is_in_the_history_once() {
    let mut adoption = Adoption::default();
    close(&mut adoption, at(5, 1));
    assert_eq!(adoption.history.len(), 0, "nobody was seen yet");
    adoption.saw_sign_in(&person(2), at(5, 1), Credential::Sms, Some(false));
    close(&mut adoption, at(5, 2));
    assert_eq!(adoption.day_due(at(5, 23)), None);
    assert_eq!(adoption.day_due(at(6, 0)), Some(at(6, 0)));
    close(&mut adoption, at(6, 0));
    close(&mut adoption, at(6, 1));
    adoption.close_day(at(6, 0), &cohort);
    assert_eq!(adoption.history.len(), 1);
    // Known before the day before it was closed: not part of that day.
    adoption.saw_enrollment(&person(4), at(9, 0), Credential::Fastpass);
    adoption.saw_sign_in(&person(2), at(6, 2), Credential::Fastpass, Some(true));
    close(&mut adoption, at(9, 0));
    let funnel = adoption.funnel(at(9, 0), &cohort);
    let days: Vec<_> = funnel.history.iter().map(|day| (day.until, day.all.resistant_last)).collect();
    assert_eq!(days, [(at(6, 0), 0), (at(7, 0), 1), (at(8, 0), 1), (at(9, 0), 1)]);
    assert!(funnel.history.iter().all(|day| day.cohorts["pilot"] == day.all));
}

#[test]
fn history_people_and_their_time_are_bounded() {
    let mut adoption = Adoption::new(2);
    assert!(!adoption.saw(&person(1), at(10, 0)));
    assert!(!adoption.saw(&person(2), at(50, 0)));
    assert!(adoption.saw(&person(3), at(50, 0)), "there is no room");
    assert!(adoption.saw_sign_in(&person(3), at(50, 0), Credential::Sms, Some(false)));
    assert!(adoption.saw_enrollment(&person(3), at(50, 0), Credential::Fastpass));
    assert!(!adoption.saw(&person(1), at(11, 0)), "they are known");
    close(&mut adoption, at(50, 0));
    assert_eq!(numbers(&adoption, at(100, 23))[0], 2, "the day is not over before its last hour");
    assert_eq!(numbers(&adoption, at(101, 0))[0], 1, "ninety days after the eleventh");
    close(&mut adoption, at(102, 0));
    assert_eq!(adoption.len(), 1);
    assert!(!adoption.saw(&person(3), at(102, 0)), "somebody's time ran out");
    close(&mut adoption, at(2_000, 0));
    assert_eq!(adoption.history.len(), Adoption::HISTORY_DAYS);
    assert_eq!(adoption.history.back().map(|day| day.until), Some(at(2_000, 0)));
    assert!(adoption.is_empty());
}

#[test]
fn a_forgotten_person_is_in_no_number_and_a_snapshot_brings_all_back() {
    let mut adoption = Adoption::default();
    adoption.saw_sign_in(&person(1), at(5, 0), Credential::Password, Some(false));
    adoption.saw_sign_in(&person(2), at(5, 0), Credential::Fastpass, Some(true));
    close(&mut adoption, at(5, 0));
    close(&mut adoption, at(6, 0));
    let bytes = postcard::to_stdvec(&adoption).expect("bytes");
    assert_eq!(postcard::from_bytes::<Adoption>(&bytes).expect("a snapshot"), adoption);
    adoption.forget(&person(1));
    assert_eq!(numbers(&adoption, at(6, 0)), [1, 1, 1, 1]);
    assert_eq!(adoption.funnel(at(6, 0), &cohort).all.fallback_people, 0);
}
