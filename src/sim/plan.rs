//! Sign-in flows over time: who signs in where, with what, and how it ends.
//!
//! A [`Plan`] is an iterator in order of time. It draws one hour at a time and holds that hour and the retries that are
//! still to come, so a year streams in the memory of an hour (about 3,000 flows of a 3,500-seat org; retries are bounded
//! by [`MOST_RETRIES`] a flow).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Distribution, Poisson};
use serde::Serialize;

use super::chance;
use super::fleet::Platform;
use super::org::{OFFICES, Org};
use super::push::Check;
use super::rhythm;
use super::scenario::{Surge, Timeline};
use crate::event::{Span, Timestamp};

/// The most retries of one refused person after one flow.
pub const MOST_RETRIES: u8 = 6;

const CLUSTERS_A_WEEK: f64 = 2.0;

/// How a person signs in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Okta FastPass.
    Fastpass,
    /// A password and an Okta Verify push.
    Push,
    /// A password and a code.
    PasswordOtp,
    /// A security key.
    Webauthn,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::Fastpass, Self::Push, Self::PasswordOtp, Self::Webauthn];
}

/// How a flow ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowResult {
    /// Signed in.
    Success,
    /// A wrong password or code first, then signed in.
    MistypedThenSuccess,
    /// The app's policy refused.
    Denied(Check),
    /// Wrong password or code; gave up.
    Failed,
    /// Wrong password until the account was locked.
    Locked,
    /// The person refused the push.
    PushDenied,
    /// Walked away; the log says so five minutes later.
    Abandoned,
    /// FastPass declined a phishing page.
    PhishingDeclined,
}

impl FlowResult {
    /// The word in `truth.json`'s `attempts`.
    pub const fn verdict(self) -> &'static str {
        match self {
            Self::Success | Self::MistypedThenSuccess => "success",
            Self::Denied(_) => "denied",
            Self::Failed | Self::Locked | Self::PushDenied => "failed",
            Self::Abandoned => "abandoned",
            Self::PhishingDeclined => "phishing_declined",
        }
    }
}

/// Why a flow is in the plan and, if refused, by whose fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Ordinary life.
    Null,
    /// An innocent cluster of colleagues with one small common cause.
    Cluster,
    /// Push number n of the timeline.
    Push(u16),
    /// The retry storm.
    Storm,
}

/// One sign-in flow, which is one attempt: every event of it carries the same `authnRequestId`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Flow {
    /// Unique in a run; the same in every run that covers its hour.
    pub id: u64,
    /// The first event.
    pub at: Timestamp,
    /// The event that decides the flow (`DENY`, `verify`, the last failure, `ABANDONED`).
    pub decided_at: Timestamp,
    /// Index into [`Org::people`].
    pub person: u32,
    /// Index into [`Org::devices`]; none where no device answered.
    pub device: Option<u32>,
    /// Index into [`Org::apps`].
    pub app: u16,
    /// How.
    pub method: Method,
    /// How it ends.
    pub result: FlowResult,
    /// 0 for a first try, n for the n-th retry of a refused person.
    pub retry: u8,
    /// Why.
    pub cause: Cause,
}

/// A try before its end is known: ordered by time, then number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Try {
    at: Timestamp,
    id: u64,
    person: u32,
    device: Option<u32>,
    app: u16,
    method: Method,
    refused: Option<(Check, Cause)>,
    retry: u8,
}

/// The flows of a span of time, in order of [`Flow::at`].
pub struct Plan {
    org: Arc<Org>,
    timeline: Timeline,
    start: Timestamp,
    until: Timestamp,
    next_hour: Timestamp,
    waiting: BinaryHeap<Reverse<Try>>,
    offices: Vec<(Vec<u32>, Option<WeightedAliasIndex<f64>>, f64)>,
    propensity: (i64, Vec<f64>),
    app_weights: Vec<f64>,
}

impl Plan {
    /// The flows that start in `start..until`. Two plans of one org and timeline agree where they overlap, but for the
    /// retries of people refused before the later one's start.
    pub fn new(org: Arc<Org>, timeline: Timeline, start: Timestamp, until: Timestamp) -> Self {
        let offices = (0..OFFICES.len())
            .map(|office| {
                let of = |person: &u32| usize::from(org.people[*person as usize].office) == office;
                let people: Vec<u32> = (0..org.people.len() as u32).filter(of).collect();
                let weights: Vec<f64> = people.iter().map(|person| org.people[*person as usize].weight).collect();
                let total = weights.iter().sum();
                (people, WeightedAliasIndex::new(weights).ok(), total)
            })
            .collect();
        let app_weights = org.apps.iter().map(|app| app.weight).collect();
        Self {
            next_hour: start.floor(Span::hours(1)),
            propensity: (i64::MIN, Vec::new()),
            waiting: BinaryHeap::new(),
            org,
            timeline,
            start,
            until,
            offices,
            app_weights,
        }
    }

    fn draw_hour(&mut self, hour: Timestamp) {
        let block = hour.index(Span::hours(24 * 28));
        if self.propensity.0 != block {
            let seed = self.org.seed;
            let people = 0..self.org.people.len() as u32;
            self.propensity = (block, people.map(|person| rhythm::propensity(seed, person, hour)).collect());
        }
        let index = hour.index(Span::hours(1)) as u64;
        let mut rng = chance::rng(self.org.seed, "tries", index);
        let rates = rhythm::refusal_rates(self.org.seed, hour);
        let mut number = index << 24;
        let overlaps = |surge: &&Surge| surge.from < hour + Span::hours(1) && hour < surge.until;
        let surge = self.timeline.surge.as_ref().filter(overlaps).map(|surge| surge.factor);
        let peak = surge.map_or(1.0, |factor| factor.max(1.0));
        for office in 0..OFFICES.len() {
            let (_, people, weight) = &self.offices[office];
            let Some(people) = people.clone() else { continue };
            let share = rhythm::share_of_week(self.org.seed, office, hour);
            let mean = weight * rhythm::TRIES_A_WEEK * share * peak;
            let tries = Poisson::new(mean).map_or(0.0, |poisson| poisson.sample(&mut rng)) as u64;
            for _ in 0..tries {
                let person = self.offices[office].0[people.sample(&mut rng)];
                number += 1;
                let attempt = self.draw_try(&mut rng, number, hour, person, &rates);
                if surge.is_none() || rng.random::<f64>() < self.surge_at(attempt.at) / peak {
                    self.add(attempt);
                }
            }
        }
        self.draw_clusters(hour, index);
        self.draw_storm(hour);
    }

    fn surge_at(&self, at: Timestamp) -> f64 {
        let surge = self.timeline.surge.as_ref().filter(|surge| surge.from <= at && at < surge.until);
        surge.map_or(1.0, |surge| surge.factor)
    }

    fn draw_try(&self, rng: &mut ChaCha8Rng, id: u64, hour: Timestamp, person: u32, rates: &[f64; 8]) -> Try {
        let who = &self.org.people[person as usize];
        let second = who.devices.get(1).copied().filter(|_| rng.random_bool(0.1));
        let device = second.or(who.devices.first().copied());
        let app = chance::pick(rng, &self.app_weights) as u16;
        let usual = rng.random_bool(0.9);
        let method = if usual { who.method } else { Method::ALL[rng.random_range(0..4)] };
        let at = hour + Span(rng.random_range(0..Span::hours(1).0));
        let refused = self.draw_refusal(rng, person, app, rates);
        Try { at, id, person, device, app, method, refused: refused.map(|c| (c, Cause::Null)), retry: 0 }
    }

    fn draw_refusal(&self, rng: &mut ChaCha8Rng, person: u32, app: u16, rates: &[f64; 8]) -> Option<Check> {
        let luck = rng.random::<f64>();
        if !self.org.apps[usize::from(app)].gated {
            return None;
        }
        let propensity = self.propensity.1[person as usize];
        let mut reached = 0.0;
        for ((check, _), rate) in Check::NULL_MIX.iter().zip(rates) {
            reached += rate * propensity;
            if luck < reached {
                return Some(*check);
            }
        }
        None
    }

    /// About two clusters a week: 2 to 4 people of one team, one check, spread over 40 minutes of the working day.
    fn draw_clusters(&mut self, hour: Timestamp, index: u64) {
        let mut rng = chance::rng(self.org.seed, "clusters", index);
        for (office, site) in OFFICES.iter().enumerate() {
            let mean = CLUSTERS_A_WEEK * site.share * rhythm::share_of_week(self.org.seed, office, hour);
            let people = &self.offices[office].0;
            if people.is_empty() || rng.random::<f64>() >= mean {
                continue;
            }
            let mut size = 2;
            while size < 4 && rng.random_bool(0.5) {
                size += 1;
            }
            let team = self.org.people[people[rng.random_range(0..people.len())] as usize].team;
            let team = people.iter().filter(|person| self.org.people[**person as usize].team == team);
            let check = [Check::OsVersion, Check::ScreenLock, Check::Crowdstrike][rng.random_range(0..3)];
            let members: Vec<u32> = team.copied().take(size).collect();
            for (number, person) in (0_u64..).zip(members) {
                let at = hour + Span(rng.random_range(0..Span::minutes(40).0));
                let who = &self.org.people[person as usize];
                let id = (index << 24) | 0x00f0_0000 | (office as u64) << 8 | number;
                let (device, method) = (who.devices.first().copied(), Method::Fastpass);
                let refused = Some((check, Cause::Cluster));
                self.add(Try { at, id, person, device, app: 0, method, refused, retry: 0 });
            }
        }
    }

    fn draw_storm(&mut self, hour: Timestamp) {
        let Some(storm) = self.timeline.storm.clone() else { return };
        let device = self.org.people[storm.person as usize].devices.first().copied();
        for number in 0..storm.attempts {
            let at = storm.from + Span(storm.every.0 * i64::from(number));
            if at.floor(Span::hours(1)) != hour {
                continue;
            }
            let refused = Some((Check::OsVersion, Cause::Storm));
            let id = (1 << 46) | u64::from(number);
            let method = Method::Fastpass;
            self.add(Try { at, id, person: storm.person, device, app: 0, method, refused, retry: 0 });
        }
    }

    fn add(&mut self, attempt: Try) {
        if attempt.at >= self.start && attempt.at < self.until {
            self.waiting.push(Reverse(attempt));
        }
    }

    /// Decides how a try ends, with a generator of its own, and plans the retry of a refused person.
    fn decide(&mut self, attempt: Try) -> Flow {
        let Try { at, id, person, mut device, app, mut method, refused, retry } = attempt;
        let mut rng = chance::rng(self.org.seed, "flow", id);
        let refused = refused.map(|(check, cause)| (self.possible(check, device), cause));
        if matches!(refused, Some((Check::NoDeviceContext, _))) {
            device = None;
            method = if method == Method::Fastpass { Method::PasswordOtp } else { method };
        } else if refused.is_some() || retry > 0 {
            method = Method::Fastpass;
        }
        let median = match method {
            Method::Fastpass => 3.5,
            Method::Webauthn => 7.0,
            Method::Push => 11.0,
            Method::PasswordOtp => 16.0,
        };
        let length = Span((chance::around(&mut rng, median, 0.4) * 1_000.0) as i64);
        let pushed = self.pushed(at + length, person, device, app);
        let (result, cause) = match (pushed, refused) {
            (Some((check, cause)), _) | (None, Some((check, cause))) => (FlowResult::Denied(check), cause),
            (None, None) if retry > 0 => (FlowResult::Success, Cause::Null),
            (None, None) => (ordinary(&mut rng, method), Cause::Null),
        };
        let extra = match result {
            FlowResult::Abandoned => Span::minutes(5),
            FlowResult::MistypedThenSuccess => Span::seconds(9),
            FlowResult::Success
            | FlowResult::Denied(_)
            | FlowResult::Failed
            | FlowResult::Locked
            | FlowResult::PushDenied
            | FlowResult::PhishingDeclined => Span(0),
        };
        let flow = Flow { id, at, decided_at: at + length + extra, person, device, app, method, result, retry, cause };
        self.plan_retry(&mut rng, &attempt, &flow);
        flow
    }

    /// The check itself, or one that the device can fail: Chromebooks have no version that a policy reads, phones no
    /// CrowdStrike, iOS no choice of disk encryption.
    fn possible(&self, check: Check, device: Option<u32>) -> Check {
        let Some(device) = device else { return check };
        let platform = self.org.devices[device as usize].platform;
        let able = match check {
            Check::NetworkZone | Check::Risk | Check::NoDeviceContext | Check::NotManaged => true,
            Check::OsVersion | Check::ScreenLock => platform != Platform::Chromeos,
            Check::Crowdstrike | Check::SignalUnreadable => platform.is_desktop(),
            Check::DiskEncryption => platform.is_desktop() || platform == Platform::Android,
        };
        match platform {
            _ if able => check,
            Platform::Chromeos => Check::NoDeviceContext,
            Platform::Macos | Platform::Windows | Platform::Ios | Platform::Android => Check::OsVersion,
        }
    }

    fn pushed(&self, at: Timestamp, person: u32, device: Option<u32>, app: u16) -> Option<(Check, Cause)> {
        self.timeline.pushes.iter().zip(0_u16..).filter(|(push, _)| push.is_active(at)).find_map(|(push, number)| {
            let check = push.refuses(&self.org, person, device, app)?;
            Some((check, Cause::Push(number)))
        })
    }

    fn plan_retry(&mut self, rng: &mut ChaCha8Rng, attempt: &Try, flow: &Flow) {
        let FlowResult::Denied(_) = flow.result else { return };
        let (chance, refused) = match flow.cause {
            Cause::Null | Cause::Cluster => (0.28, attempt.refused),
            // Whether the push still refuses is asked anew when the retry comes.
            Cause::Push(_) => (0.7, None),
            Cause::Storm => return,
        };
        if flow.retry < MOST_RETRIES && rng.random_bool(chance) {
            let wait = Span((chance::around(rng, 60.0, 0.8).clamp(5.0, 1_200.0) * 1_000.0) as i64);
            let id = flow.id + (1 << 48);
            let retry = flow.retry + 1;
            self.add(Try { at: flow.decided_at + wait, id, refused, retry, ..*attempt });
        }
    }
}

impl Iterator for Plan {
    type Item = Flow;

    fn next(&mut self) -> Option<Flow> {
        loop {
            let drawn = self.next_hour;
            match self.waiting.peek() {
                Some(Reverse(attempt)) if attempt.at < drawn || drawn >= self.until => {
                    let Reverse(attempt) = self.waiting.pop()?;
                    return Some(self.decide(attempt));
                }
                None if drawn >= self.until => return None,
                Some(_) | None => {
                    self.next_hour = drawn + Span::hours(1);
                    self.draw_hour(drawn);
                }
            }
        }
    }
}

fn ordinary(rng: &mut ChaCha8Rng, method: Method) -> FlowResult {
    let luck = rng.random::<f64>();
    let (mistyped, failed, push_denied, abandoned, phishing) = match method {
        Method::Fastpass => (0.0, 0.002, 0.0, 0.004, 0.000_03),
        Method::Webauthn => (0.0, 0.004, 0.0, 0.006, 0.0),
        Method::Push => (0.04, 0.012, 0.002, 0.02, 0.0),
        Method::PasswordOtp => (0.07, 0.016, 0.0, 0.012, 0.0),
    };
    let steps = [
        (FlowResult::MistypedThenSuccess, mistyped),
        (FlowResult::Failed, failed * 0.95),
        (FlowResult::Locked, failed * 0.05),
        (FlowResult::PushDenied, push_denied),
        (FlowResult::Abandoned, abandoned),
        (FlowResult::PhishingDeclined, phishing),
    ];
    let mut reached = 0.0;
    for (result, chance) in steps {
        reached += chance;
        if luck < reached {
            return result;
        }
    }
    FlowResult::Success
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::sim::scenario::Scenario;

    fn monday() -> Timestamp {
        Timestamp::parse("2026-03-02T00:00:00.000Z").expect("a time")
    }

    fn plan(seed: u64, seats: u32, scenario: Scenario, hours: std::ops::Range<i64>) -> Plan {
        let org = Arc::new(Org::new(seed, seats));
        let timeline = scenario.timeline(&org, monday() + scenario.usual_offset());
        Plan::new(org, timeline, monday() + Span::hours(hours.start), monday() + Span::hours(hours.end))
    }

    #[test]
    fn flows_come_in_order_of_time_with_unique_numbers_and_the_same_for_the_same_seed() {
        let flows: Vec<Flow> = plan(1, 300, Scenario::Rollback, 0..48).collect();
        assert!(flows.len() > 1_500, "{}", flows.len());
        assert!(flows.is_sorted_by_key(|flow| flow.at));
        assert_eq!(flows.iter().map(|flow| flow.id).collect::<BTreeSet<_>>().len(), flows.len());
        assert!(plan(1, 300, Scenario::Rollback, 0..48).eq(flows.iter().copied()));
        assert!(!plan(2, 300, Scenario::Rollback, 0..48).eq(flows.iter().copied()));
    }

    #[test]
    fn a_plan_that_starts_later_has_the_same_first_tries() {
        let first = |flow: &Flow| flow.retry == 0 && flow.at >= monday() + Span::hours(14);
        let whole: Vec<Flow> = plan(1, 300, Scenario::QuietWeek, 0..24).filter(first).collect();
        let late: Vec<Flow> = plan(1, 300, Scenario::QuietWeek, 14..24).filter(first).collect();
        assert_eq!(whole, late);
    }

    #[test]
    fn four_quiet_weeks_of_3500_seats_have_the_rates_of_the_null() {
        let (mut tries, mut refused, mut retries) = (0_f64, 0_f64, 0_f64);
        let mut mix: BTreeMap<Check, f64> = BTreeMap::new();
        for flow in plan(11, 3_500, Scenario::QuietWeek, 0..4 * 168) {
            let denied = matches!(flow.result, FlowResult::Denied(_));
            if flow.retry > 0 {
                retries += 1.0;
                continue;
            }
            tries += 1.0;
            refused += f64::from(u8::from(denied));
            if let FlowResult::Denied(check) = flow.result {
                *mix.entry(check).or_default() += 1.0;
            }
        }
        assert!((125_000.0..140_000.0).contains(&(tries / 4.0)), "tries a week: {}", tries / 4.0);
        let share = refused / tries * 100.0;
        assert!((0.68..0.90).contains(&share), "refused first tries: {share} %");
        let retry_share = retries / refused;
        assert!((0.33..0.45).contains(&retry_share), "retries per refused try: {retry_share}");
        for (check, wanted) in Check::NULL_MIX {
            let share = mix[&check] / refused;
            assert!((share - wanted).abs() < 0.04, "{check:?}: {share}, wanted {wanted}");
        }
        assert_eq!(mix.get(&Check::NotManaged), None);
    }

    #[test]
    fn refusals_by_the_hour_are_as_uneven_as_the_study_found() {
        let mut hours = vec![0.0_f64; 8 * 168];
        for flow in plan(5, 3_500, Scenario::QuietWeek, 0..8 * 168) {
            if flow.retry == 0 && matches!(flow.result, FlowResult::Denied(_)) {
                hours[((flow.at - monday()).0 / Span::hours(1).0) as usize] += 1.0;
            }
        }
        let (mut over, mut square) = (0.0, 0.0);
        for slot in 0..168 {
            let same: Vec<f64> = (0..8).map(|week| hours[week * 168 + slot]).collect();
            let mean = same.iter().sum::<f64>() / 8.0;
            if mean >= 4.0 {
                let variance = same.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 7.0;
                over += variance - mean;
                square += mean * mean;
            }
        }
        let phi = over / square;
        assert!((0.10..0.35).contains(&phi), "{phi}");
    }

    #[test]
    fn a_bad_push_refuses_most_people_until_its_rollback_and_nobody_before() {
        let push = monday() + Span::hours(14);
        let rollback = push + Span::minutes(30);
        let flows: Vec<Flow> = plan(1, 2_000, Scenario::Rollback, 13..16).collect();
        let by_push = |flow: &&Flow| flow.cause == Cause::Push(0);
        assert!(flows.iter().filter(by_push).all(|flow| flow.decided_at >= push && flow.decided_at < rollback));
        let during: Vec<&Flow> = flows
            .iter()
            .filter(|flow| flow.decided_at >= push && flow.decided_at < rollback && flow.retry == 0)
            .collect();
        let refused = during.iter().copied().filter(by_push).count() as f64;
        assert!(refused / during.len() as f64 > 0.5, "{refused} of {}", during.len());
    }

    #[test]
    fn one_person_is_refused_500_times() {
        let storm: Vec<Flow> =
            plan(1, 200, Scenario::OnePerson500, 12..20).filter(|flow| flow.cause == Cause::Storm).collect();
        assert_eq!(storm.len(), 500);
        assert_eq!(storm.iter().map(|flow| flow.person).collect::<BTreeSet<_>>().len(), 1);
        assert!(storm.iter().all(|flow| matches!(flow.result, FlowResult::Denied(_))));
    }

    #[test]
    fn a_surge_has_two_and_a_half_times_the_flows() {
        let count = |scenario| plan(1, 3_500, scenario, 8..11).filter(|flow| flow.retry == 0).count() as f64;
        let ratio = count(Scenario::MondaySurge) / count(Scenario::QuietWeek);
        assert!((2.4..2.6).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_surge_may_start_within_an_hour_and_may_be_an_outage() {
        let org = Arc::new(Org::new(1, 3_500));
        let count = |factor, from: i64| {
            let from = monday() + Span::minutes(from);
            let surge = Some(Surge { from, until: from + Span::minutes(30), factor });
            let timeline = Timeline { surge, ..Timeline::default() };
            let plan = Plan::new(Arc::clone(&org), timeline, monday() + Span::hours(14), monday() + Span::hours(16));
            plan.filter(|flow| flow.retry == 0 && flow.at >= from && flow.at < from + Span::minutes(30)).count() as f64
        };
        let usual = count(1.0, 14 * 60 + 45);
        assert!(usual > 500.0, "{usual}");
        assert!((2.6..3.4).contains(&(count(3.0, 14 * 60 + 45) / usual)));
        assert_eq!(count(0.0, 14 * 60 + 45), 0.0);
    }

    #[test]
    fn innocent_clusters_have_two_to_four_colleagues() {
        let mut hours: BTreeMap<i64, BTreeSet<u32>> = BTreeMap::new();
        for flow in plan(3, 3_500, Scenario::QuietWeek, 0..8 * 168) {
            if flow.cause == Cause::Cluster {
                hours.entry(flow.at.index(Span::hours(1))).or_default().insert(flow.person);
            }
        }
        assert!((6..30).contains(&hours.len()), "{}", hours.len());
        assert!(hours.values().all(|people| people.len() <= 8));
    }
}
