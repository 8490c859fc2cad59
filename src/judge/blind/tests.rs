//! Signs of blindness against stretches made by hand.

use super::*;

const MINUTE: Span = Span::minutes(1);
/// A Monday, 00:00 UTC.
const MONDAY: Timestamp = Timestamp(1_772_409_600_000);

/// Events in an hour of the day: none at night, many by day, a fifth of that on weekends.
fn usual(hour: i64) -> u32 {
    let (of_day, weekend) = (hour.rem_euclid(24), (hour.div_euclid(24) + 3).rem_euclid(7) >= 5);
    match (of_day, weekend) {
        (0..=5, _) => 0,
        (_, false) => 600,
        (_, true) => 120,
    }
}

/// A source that told a fortnight, polled every minute, up to `until`.
fn fortnight(until: Timestamp) -> Sense {
    let mut sense = Sense::default();
    tell(&mut sense, until - Span::hours(24 * 14), until, 1.0);
    sense
}

/// Tells the usual times `share`, minute by minute; `from` and `until` are whole minutes.
fn tell(sense: &mut Sense, from: Timestamp, until: Timestamp, share: f64) {
    let (mut at, mut owed) = (from, 0.0);
    while at < until {
        owed += f64::from(usual(at.index(Span::hours(1)))) / 60.0 * share;
        while owed >= 1.0 {
            sense.event(at);
            owed -= 1.0;
        }
        at = at + MINUTE;
        sense.spoke(at, at - Span::seconds(20), None);
    }
}

#[track_caller]
fn sign(sense: &Sense, expect: Option<Sign>) -> Option<Verdict> {
    let verdict = sense.judge(None);
    assert_eq!(verdict.map(|verdict| verdict.sign), expect, "{verdict:?}");
    verdict
}

#[test]
fn a_source_that_does_not_speak_is_blind_after_five_minutes() {
    let mut sense = fortnight(MONDAY + Span::hours(10));
    sign(&sense, None);
    sense.silent(Span::seconds(299));
    sign(&sense, None);
    sense.silent(Span::seconds(300));
    let verdict = sign(&sense, Some(Sign::NoData)).expect("a verdict");
    assert_eq!((verdict.since, verdict.measured), (MONDAY + Span::hours(10), 300.0));
    sense.spoke(MONDAY + Span::hours(11), MONDAY + Span::hours(11), None);
    assert_ne!(sense.judge(None).map(|verdict| verdict.sign), Some(Sign::NoData));
}

#[test]
fn a_gap_by_day_is_seen_at_the_pace_of_the_quietest_day_and_a_quiet_night_is_none() {
    let mut sense = fortnight(MONDAY + Span::hours(10));
    // 120 an hour on the quietest day: twenty in ten minutes.
    for minute in 1..=30 {
        let now = MONDAY + Span::hours(10) + Span::minutes(minute);
        sense.spoke(now, now - Span::seconds(20), None);
        assert_eq!(sense.judge(None).is_some(), minute >= 10, "{minute}: {:?}", sense.judge(None));
    }
    assert_eq!(sense.judge(None).map(|verdict| verdict.sign), Some(Sign::Gap));
    let mut night = fortnight(MONDAY + Span::hours(24));
    for minute in (0..7 * 60).step_by(5) {
        let now = MONDAY + Span::hours(24) + Span::minutes(minute);
        night.spoke(now, now - Span::seconds(20), None);
        assert_eq!(night.judge(None), None, "{minute}");
    }
}

#[test]
fn a_holiday_is_no_fault_and_a_trickle_is() {
    for (share, expect) in [(0.2, None), (0.04, Some(Sign::Volume))] {
        let mut sense = fortnight(MONDAY + Span::hours(10));
        tell(&mut sense, MONDAY + Span::hours(10), MONDAY + Span::hours(14), share);
        let verdict = sign(&sense, expect);
        if let Some(verdict) = verdict {
            assert!(verdict.measured < 30.0 && (verdict.expected - 120.0).abs() < 2.0, "{verdict:?}");
        }
    }
}

#[test]
fn low_volume_lets_go_later_than_it_takes_hold() {
    let mut sense = fortnight(MONDAY + Span::hours(10));
    tell(&mut sense, MONDAY + Span::hours(10), MONDAY + Span::hours(12), 0.08);
    sign(&sense, None);
    assert!(sense.judge(Some(Sign::Volume)).is_some());
    assert!(sense.judge(Some(Sign::Lag)).is_none());
}

#[test]
fn a_lag_that_stays_is_blind_and_a_backlog_that_is_caught_up_is_not() {
    let now = MONDAY + Span::hours(10);
    let mut stuck = fortnight(now);
    let mut catching_up = stuck.clone();
    for minute in 1..=40 {
        let clock = now + Span::hours(2) + Span::minutes(minute);
        stuck.spoke(clock, now, None);
        // Two hours behind at first, a tenth less every minute.
        let behind = Span(Span::hours(2).0 * 9_i64.pow(minute.min(9) as u32) / 10_i64.pow(minute.min(9) as u32));
        let left = if minute < 30 { behind } else { Span::seconds(20) };
        if minute <= 9 || minute >= 30 {
            catching_up.spoke(clock, clock - left, None);
        }
        assert_eq!(stuck.judge(None).is_some_and(|verdict| verdict.sign == Sign::Lag), minute >= 11, "{minute}");
        assert!(catching_up.judge(None).is_none_or(|verdict| verdict.sign != Sign::Lag), "{minute}");
    }
}

#[test]
fn nothing_is_judged_by_a_season_before_a_week_is_known() {
    let start = MONDAY + Span::hours(10);
    let mut sense = Sense::default();
    tell(&mut sense, start, start + Span::hours(24 * 6), 1.0);
    assert!(!sense.knows_a_week());
    let later = start + Span::hours(24 * 6 + 5);
    sense.spoke(later, later, None);
    sign(&sense, None);
}

#[test]
fn blind_hours_are_not_learnt() {
    let start = MONDAY + Span::hours(10);
    let (mut seeing, mut blind) = (fortnight(start), fortnight(start));
    for hour in 1..=24 * 21 {
        let now = start + Span::hours(hour);
        blind.spoke(now, now, Some(start));
        seeing.spoke(now, now, None);
    }
    sign(&blind, Some(Sign::Gap));
    sign(&seeing, None);
}

#[test]
fn it_survives_being_stored() {
    let sense = fortnight(MONDAY);
    let bytes = postcard::to_stdvec(&sense).expect("encodes");
    assert_eq!(postcard::from_bytes::<Sense>(&bytes).expect("decodes"), sense);
    assert!(bytes.len() < 4_000, "{}", bytes.len());
}
