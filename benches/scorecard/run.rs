//! One deployment: the generator's attempts through the product's own board and incidents, tick by tick as the core does
//! it, and the same people through the rules of today.

use std::sync::Arc;

use authwatch::action::{IncidentAction, IncidentStep};
use authwatch::event::{
    Check, CheckVerdict, Credential, Org, Platform, PostureCheck, PostureSource, Reason, Span, Timestamp,
};
use authwatch::incident::{Incidents, Moment, Mood, Refusal, RefusalLog};
use authwatch::input::CoreConfig;
use authwatch::judge::{Attempt, Board, Case, Door, Ended, Firing, Learning, Scope, Thresholds, Why};
use authwatch::policy::Evaluation;
use authwatch::window::SeriesKey;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use smol_str::{SmolStr, format_smolstr};

use crate::null::{CHECKS, Null, Shape, Try};
use crate::rivals::Rivals;

pub(crate) const TICK: Span = Span::seconds(5);
/// How long after a tick it can be known.
pub(crate) const LATENESS: Span = Span::seconds(20);
pub(crate) const HOUR: Span = Span::hours(1);
/// A Monday, 00:00 UTC, in hours of the epoch.
pub(crate) const MONDAY: i64 = 492_336;
pub(crate) const WEEK: i64 = 168;
pub(crate) const COHORTS: [&str; 3] = ["pilot", "wave-1", "everyone-else"];
const PLATFORMS: [Platform; 6] =
    [Platform::Macos, Platform::Windows, Platform::Ios, Platform::Android, Platform::Chromeos, Platform::Unknown];

/// What is the same for all deployments of a shape.
pub(crate) struct Names {
    org: Org,
    pub(crate) cohorts: Vec<SmolStr>,
    pub(crate) apps: Vec<SmolStr>,
    pub(crate) rules: Vec<SmolStr>,
    pub(crate) checks: Vec<SmolStr>,
    postures: Vec<Arc<Evaluation>>,
    config: CoreConfig,
}

impl Names {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            org: Org::new("acme"),
            cohorts: COHORTS.map(SmolStr::new).into(),
            apps: (0..shape.apps).map(|n| format_smolstr!("0oa{n:04}")).collect(),
            rules: (0..shape.apps).map(|n| format_smolstr!("rul{n:04}")).collect(),
            checks: CHECKS.map(|(word, _)| SmolStr::new(word)).into(),
            postures: CHECKS.iter().map(|(word, _)| Arc::new(posture(word))).collect(),
            config: CoreConfig::default(),
        }
    }
}

/// What the policies would say of a refusal for a check.
fn posture(word: &str) -> Evaluation {
    let reason = match word {
        "network_zone" => Reason::NetworkZone,
        "risk" => Reason::Risk,
        _ => Reason::DevicePosture,
    };
    let known = PostureCheck::ALL.iter().find(|check| check.as_str() == word);
    let check = known.map(|check| Check {
        check: *check,
        detail: SmolStr::default(),
        required: SmolStr::default(),
        actual: None,
        result: CheckVerdict::Fail,
    });
    let checks = check.into_iter().collect();
    Evaluation { source: PostureSource::Derived, reason: Some(reason), checks, ..Evaluation::none() }
}

/// How a deployment is judged.
#[derive(Clone, Copy)]
pub(crate) struct Judging {
    pub(crate) thresholds: Thresholds,
    pub(crate) learning: Learning,
    /// Whether the checks of refusals are known; else the rules stand for them.
    pub(crate) by_check: bool,
    /// Whether firings make incidents; else they are only noted, for tuning.
    pub(crate) incidents: bool,
    /// Innocent changes in scope, per week.
    pub(crate) changes_a_week: f64,
}

/// What came of an hour.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) told: Vec<IncidentAction>,
    pub(crate) firings: Vec<(Timestamp, Firing)>,
}

/// One deployment.
#[derive(Clone)]
pub(crate) struct Deployment<'a> {
    names: &'a Names,
    judging: Judging,
    pub(crate) null: Null,
    pub(crate) board: Board,
    pub(crate) incidents: Incidents,
    refusals: RefusalLog,
    pub(crate) rivals: Option<Rivals>,
    last_tick: Timestamp,
    rng: ChaCha8Rng,
    pub(crate) hour: i64,
    /// Sign-ins relative to the usual by office, for look-alikes.
    pub(crate) surge: [f64; 4],
    /// What was looked for was found: only the rivals still look.
    pub(crate) is_deaf: bool,
    /// Refusals and attempts.
    pub(crate) counted: (u64, u64),
}

impl<'a> Deployment<'a> {
    pub(crate) fn new(names: &'a Names, shape: Shape, judging: Judging, seed: u64, rivals: bool) -> Self {
        let mut board = Board::default();
        let limits = &names.config.limits;
        board.configure(limits.series, names.config.judge.prior_refused);
        board.judge_by_check(judging.by_check, Timestamp::MIN);
        // Deployments begin in different weeks, so that holidays and four-week blocks do not fall together.
        let hour = MONDAY + WEEK * (seed % 53) as i64;
        Self {
            names,
            judging,
            null: Null::new(shape, seed),
            board,
            incidents: Incidents::default(),
            refusals: RefusalLog::default(),
            rivals: rivals.then(|| Rivals::new(shape.apps)),
            last_tick: Timestamp(hour * HOUR.0),
            rng: ChaCha8Rng::seed_from_u64(seed.wrapping_add(0xc4a6)),
            hour,
            surge: [1.0; 4],
            is_deaf: false,
            counted: (0, 0),
        }
    }

    /// Goes on with other luck, from here, judged in another way.
    pub(crate) fn turn(&mut self, seed: u64, judging: Judging) {
        self.judging = judging;
        self.null.reseed(seed);
        self.rng = ChaCha8Rng::seed_from_u64(seed);
    }

    /// Lives through weeks; nobody listens.
    pub(crate) fn warm_up(&mut self, weeks: i64) {
        for _ in 0..weeks * WEEK {
            self.live_hour(&mut |_| {});
        }
    }

    /// Lives through an hour; `alter` may change its attempts.
    pub(crate) fn live_hour(&mut self, alter: &mut dyn FnMut(&mut Vec<Try>)) -> Heard {
        let mut tries = self.null.hour(self.hour, self.surge);
        alter(&mut tries);
        self.live_through(&tries)
    }

    /// Lives through an hour with these attempts.
    pub(crate) fn live_through(&mut self, tries: &[Try]) -> Heard {
        let mut heard = Heard::default();
        let change = self.innocent_change(tries.len());
        let mut change = change.into_iter().peekable();
        for attempt in tries {
            self.run_ticks(Timestamp(attempt.at), &mut heard);
            if let Some(door) = change.next_if(|door: &Door| door.at.0 <= attempt.at) {
                self.board.open(door);
            }
            self.take(attempt);
        }
        self.hour += 1;
        self.run_ticks(Timestamp(self.hour * HOUR.0), &mut heard);
        if let Some(rivals) = &mut self.rivals {
            rivals.end_hour(self.hour - 1);
        }
        heard
    }

    /// About as often as people work, somebody changes a policy that refuses nobody new.
    fn innocent_change(&mut self, tries: usize) -> Option<Door> {
        let mean = self.judging.changes_a_week * tries as f64 / 132_000.0 * 3_500.0 / f64::from(self.null.shape.seats);
        if !self.rng.random_bool(mean.clamp(0.0, 1.0)) {
            return None;
        }
        let at = Timestamp(self.hour * HOUR.0 + self.rng.random_range(0..HOUR.0));
        let cohort = self.rng.random_range(0..4_usize);
        // What refuses often is changed often.
        let check = self.names.checks[usize::from(crate::null::draw_check(&mut self.rng))].clone();
        let cohorts = self.names.cohorts.get(cohort).map(|cohort| [cohort.clone()].into());
        let mut scope = Scope { cohorts, ..Scope::default() };
        if self.judging.by_check {
            scope.checks.insert(check);
        } else {
            scope.cohorts = None;
            scope.rules.insert(self.names.rules[self.rng.random_range(0..self.names.rules.len())].clone());
        }
        Some(Door { change: format_smolstr!("change-{}", at.0), at, scope })
    }

    pub(crate) fn take(&mut self, attempt: &Try) {
        let who = &self.null.people[attempt.person as usize];
        let at = Timestamp(attempt.at);
        let (cohort, app) = (&self.names.cohorts[usize::from(who.cohort)], &self.names.apps[usize::from(attempt.app)]);
        let (platform, rule) = (PLATFORMS[usize::from(attempt.platform)], &self.names.rules[usize::from(attempt.app)]);
        let ended = if attempt.check.is_some() { Ended::Denied } else { Ended::Succeeded };
        let (credential, cohort, app, rule) = (Credential::None, Some(cohort), Some(app), Some(rule));
        self.board.count(&Attempt { at, ended, cohort, app, rule, platform, credential }, 1);
        self.counted.1 += 1;
        let Some(check) = attempt.check.map(usize::from) else { return };
        self.counted.0 += 1;
        let person = u64::from(attempt.person).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let refusal = Refusal {
            at,
            person,
            app: app.cloned(),
            rule: rule.cloned(),
            platform,
            os_version: None,
            cohort: cohort.cloned(),
            posture: self.judging.by_check.then(|| self.names.postures[check].clone()),
        };
        let why = refusal.checks().map_or(Why::Rule, Why::Checks);
        if !self.is_deaf {
            self.board.refuse(&Case { at, person, cohort, app, rule, platform, why });
        }
        if self.judging.incidents && !self.is_deaf {
            self.incidents.refused(&refusal);
            self.refusals.push(refusal);
        }
        if let Some(rivals) = &mut self.rivals {
            let board = &self.board;
            let who = (who.cohort, attempt.app, attempt.platform);
            let names = (self.names.cohorts.as_slice(), self.names.apps.as_slice(), platform.as_str());
            rivals.refused(attempt.at, attempt.person, who, &|level, minutes| {
                board.attempts(&crate::rivals::key(level, who, names), at - Span::minutes(minutes), at)
            });
        }
    }

    /// Runs the ticks that lie before or at `until`.
    pub(crate) fn run_ticks(&mut self, until: Timestamp, heard: &mut Heard) {
        let newest = until.floor(TICK);
        if self.is_deaf {
            return;
        }
        while self.last_tick < newest {
            let next = self.last_tick + TICK;
            let is_needed = self.board.is_touched() || self.incidents.need_ticks();
            self.last_tick = if is_needed { next } else { newest };
            self.tick(self.last_tick, heard);
        }
    }

    /// What `watch` does at a tick.
    fn tick(&mut self, tick: Timestamp, heard: &mut Heard) {
        let Judging { thresholds, learning, .. } = &self.judging;
        let incidents = &self.incidents;
        self.board.settle(tick, &|hour| incidents.cover_hour(hour), learning);
        self.refusals.expire(tick);
        let rested = self.incidents.rested().map_or(Timestamp::MIN, |at| at - LATENESS);
        let firing = self.board.judge(tick, rested, thresholds, learning);
        if !self.judging.incidents {
            heard.firings.extend(firing.into_iter().map(|firing| (tick, firing)));
            return;
        }
        let board = &self.board;
        let moment = Moment {
            org: &self.names.org,
            tick,
            known_at: tick + LATENESS,
            held: false,
            config: &self.names.config.incident,
            rested,
            least_people: thresholds.least_people,
            refusals: &self.refusals,
            mood: &|key, window, below| {
                if !board.is_calm(key, window, below, tick, learning) {
                    return Mood::Restless;
                }
                let tried = board.attempts(&SeriesKey::org(), tick - window, tick) > 0.0;
                if tried { Mood::Calm } else { Mood::Silent }
            },
            expected_since: &|key, since| board.expected(key, since, tick),
            name: &|key| key.to_string(),
        };
        self.incidents.tick(&moment, firing, &mut heard.told);
    }
}

impl Heard {
    /// The incidents that opened.
    pub(crate) fn opened(&self) -> impl Iterator<Item = &IncidentAction> {
        self.told.iter().filter(|action| action.step == IncidentStep::Open)
    }
}
