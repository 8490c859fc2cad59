//! The board on hand-made attempts: what it learns, what it judges, and that it stays within its bounds.

use super::learn::SHARE_OF_CHECK;
use super::*;
use crate::input::CoreConfig;
use crate::judge::Scope;

const MINUTE: i64 = 60_000;

fn at(minute: i64) -> Timestamp {
    Timestamp(minute * MINUTE)
}

struct World {
    board: Board,
    apps: Vec<SmolStr>,
    cohorts: Vec<SmolStr>,
    rule: SmolStr,
}

impl World {
    fn new(capacity: u32) -> Self {
        let mut board = Board::default();
        board.configure(capacity, 0.01);
        board.judge_by_check(true, Timestamp::MIN);
        let apps = ["mail", "chat", "code"].map(SmolStr::new).into();
        Self { board, apps, cohorts: ["pilot", "rest"].map(SmolStr::new).into(), rule: "rul1".into() }
    }

    fn attempt(&mut self, minute: i64, person: u64, refused: Option<&'static str>) {
        let cohort = &self.cohorts[usize::from(!person.is_multiple_of(10))];
        let app = &self.apps[(person % 3) as usize];
        let attempt = Attempt {
            at: at(minute),
            ended: if refused.is_some() { Ended::Denied } else { Ended::Succeeded },
            cohort: Some(cohort),
            app: Some(app),
            rule: Some(&self.rule),
            platform: Platform::Macos,
            credential: Credential::Fastpass,
        };
        self.board.count(&attempt, 1);
        if let Some(check) = refused {
            let why = Why::Checks(vec![SmolStr::new_static(check)]);
            let (cohort, app, rule) = (Some(cohort), Some(app), Some(&self.rule));
            self.board.refuse(&Case { at: at(minute), person, cohort, app, rule, platform: Platform::Macos, why });
        }
    }

    fn settle(&mut self, minute: i64) {
        self.board.settle(at(minute), &|_| false, &Learning::default());
    }

    /// Days of two attempts a minute, one in a hundred refused for `risk`, learnt as they pass.
    fn live(&mut self, days: i64) {
        for minute in 0..days * 1_440 {
            let n = minute as u64;
            self.attempt(minute, n * 13 % 1_000, None);
            self.attempt(minute, n * 7 % 1_000, (n % 50 == 49).then_some("risk"));
            if minute % 60 == 0 {
                self.settle(minute);
                self.judge(minute);
            }
        }
    }

    fn judge(&mut self, minute: i64) -> Vec<Firing> {
        let thresholds = Thresholds::new(&CoreConfig::default().judge, 1, 0.0);
        self.board.judge(at(minute), Timestamp::MIN, &thresholds, &Learning::default())
    }
}

#[test]
fn a_usual_day_fires_nothing_and_its_rates_are_learnt() {
    let mut world = World::new(1_000);
    world.live(8);
    assert!(world.judge(8 * 1_440).is_empty());
    let rate = |world: &World, key: &SeriesKey| world.board.rate(key, 3);
    let org = rate(&world, &SeriesKey::org());
    assert!((org - 0.01).abs() < 0.001, "{org}");
    let check = rate(&world, &SeriesKey::one(Level::Check, "risk"));
    assert!(check > 0.008 && check < org, "{check}: nearly all of them, leaning on its share of the org's");
    let pair = rate(&world, &SeriesKey::two(Level::CohortCheck, "pilot", "never seen"));
    assert!(pair < 0.002, "{pair}");
}

#[test]
fn five_people_of_a_cohort_with_one_check_fire_where_the_check_is_rare() {
    let mut world = World::new(1_000);
    world.live(8);
    let begin = 8 * 1_440;
    for n in 0..5 {
        world.attempt(begin + n, n as u64 * 10, Some("os_version"));
    }
    let firing = world.judge(begin + 5);
    let first = firing.iter().max_by(|a, b| a.excess().total_cmp(&b.excess())).expect("it fires");
    assert_eq!(first.key, SeriesKey::two(Level::CohortCheck, "pilot", "os_version"));
    assert_eq!((first.look.people, first.people.len(), &first.change), (5, 5, &None));
    assert!(world.judge(begin + 6).is_empty(), "nobody was refused since");
}

#[test]
fn after_a_change_in_scope_the_third_person_fires_and_outside_it_nobody() {
    let mut world = World::new(1_000);
    world.live(8);
    let begin = 8 * 1_440;
    for n in 0..400 {
        world.attempt(begin + n % 6, 1_001 + n as u64, None);
    }
    world.attempt(begin, 10, Some("os_version"));
    let pilot: BTreeSet<SmolStr> = ["pilot".into()].into();
    let scope = Scope { checks: ["os_version".into()].into(), cohorts: Some(pilot), ..Scope::default() };
    world.board.open(Door { change: "uuid-1".into(), at: at(begin + 1), scope });
    for n in 2..4 {
        world.attempt(begin + n, n as u64 * 10, Some("os_version"));
    }
    for n in 2..5 {
        world.attempt(begin + n, n as u64 * 10 + 1, Some("disk_encryption"));
    }
    assert!(world.judge(begin + 4).is_empty(), "who was refused before the change does not count");
    world.attempt(begin + 5, 990, Some("os_version"));
    let firing = world.judge(begin + 6);
    let keys: Vec<String> = firing.iter().map(|firing| firing.key.to_string()).collect();
    assert_eq!(keys, ["cohort=pilot,check=os_version"]);
    assert_eq!((firing[0].change.as_deref(), firing[0].look.people), (Some("uuid-1"), 3));
    assert_eq!(firing[0].people.len(), 3);
}

#[test]
fn an_hour_of_an_incident_is_never_learnt() {
    let mut world = World::new(1_000);
    for n in 0..200u64 {
        world.attempt(30, n, Some("risk"));
    }
    world.board.settle(at(60 * 10), &|hour| hour == 0, &Learning::default());
    assert!((world.board.rate(&SeriesKey::org(), 0) - 0.01).abs() < 1e-12);
}

#[test]
fn what_has_no_room_is_told_and_not_judged() {
    let mut world = World::new(3);
    world.attempt(1, 1, None);
    assert_eq!(world.board.len(), 3 + 5, "one catch-all for every level that had no room");
    for n in 0..50 {
        world.attempt(2, n, Some("risk"));
    }
    let judged: Vec<String> = world.judge(3).iter().map(|firing| firing.key.to_string()).collect();
    assert!(judged.iter().all(|key| !key.contains("other")), "{judged:?}");
}

#[test]
fn when_policies_become_known_the_reasons_are_learnt_afresh() {
    let mut world = World::new(1_000);
    world.live(2);
    let key = SeriesKey::one(Level::Check, "risk");
    assert!(world.board.holds(&key));
    world.board.judge_by_check(false, at(2 * 1_440));
    assert!(!world.board.holds(&key));
    world.board.judge_by_check(true, at(3 * 1_440));
    let rate = world.board.rate(&key, 0);
    let org = world.board.rate(&SeriesKey::org(), 0);
    assert!((rate - org * SHARE_OF_CHECK).abs() < 1e-9, "{rate}: the org's attempts before do not count");
}

#[test]
fn series_without_a_past_are_dropped_and_the_state_survives_its_encoding() {
    let mut world = World::new(1_000);
    world.live(2);
    let bytes = postcard::to_stdvec(&world.board).expect("encode");
    let mut stored: Board = postcard::from_bytes(&bytes).expect("decode");
    stored.places = world.board.places.clone();
    assert_eq!(stored, world.board);
    let gone = world.board.settle(at(1_440 * 1_000), &|_| false, &Learning::default());
    assert!(gone.contains(&SeriesKey::one(Level::App, "mail")), "{gone:?}");
    assert!(world.board.is_empty());
}

#[test]
fn a_refusal_taken_back_leaves_no_trace_even_if_its_reason_came_late() {
    let mut world = World::new(1_000);
    world.attempt(1, 30, None);
    let (cohort, app, rule) = ("pilot".into(), "mail".into(), "rul1".into());
    let mut case = Case {
        at: at(1),
        person: 30,
        cohort: Some(&cohort),
        app: Some(&app),
        rule: Some(&rule),
        platform: Platform::Macos,
        why: Why::Unknown,
    };
    world.board.refuse(&case);
    case.why = Why::Checks(vec!["os_version".into()]);
    world.board.explain(&case);
    let key = SeriesKey::two(Level::CohortCheck, "pilot", "os_version");
    assert_eq!(world.board.refused(&key, at(0), at(2)), 1);
    world.board.unrefuse(&case);
    assert!(world.board.iter().all(|(_, series)| series.refused_people(at(2), Span::minutes(5)) == 0));
}
