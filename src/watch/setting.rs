//! What one org is told with every call, what its attempts may ask, and what waits for the watermark.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::posture::Postures;
use crate::attempt::{Known, Outside, Step};
use crate::event::{AuthEvent, Person};
use crate::input::{CoreConfig, OrgConfig};
use crate::policy::{Evaluation, Groups};

/// What waits for the watermark, so that it is folded in the order of event time.
#[derive(Clone, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are steps, and a box would cost every one of them an allocation"
)]
pub(super) enum Waiting {
    /// A step of a sign-in.
    Step(Step),
    /// A change of policies or of a membership, which decides how the steps after it read.
    Change(Box<AuthEvent>),
}

impl Waiting {
    pub(super) fn is_about(&self, person: &Person) -> bool {
        match self {
            Self::Step(step) => step.person.as_ref() == Some(person),
            Self::Change(event) => event.change.as_ref().is_some_and(|change| change.person.as_ref() == Some(person)),
        }
    }
}

/// What an org is told about its configuration with every call.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) core: &'a CoreConfig,
    pub(super) org: &'a OrgConfig,
}

impl Setting<'_> {
    pub(super) fn cohort_of(&self, person: &Person, groups: &Groups) -> Option<SmolStr> {
        groups.cohort_of(&self.org.cohorts, person)
    }

    pub(super) fn is_break_glass(&self, person: &Person, groups: &Groups) -> bool {
        self.org.break_glass.contains(person) || groups.has_in_any(&self.org.break_glass_groups, person)
    }
}

/// What the attempts may ask: the policies and groups of the org, under its configuration.
pub(super) struct Asked<'a> {
    pub(super) postures: &'a mut Postures,
    pub(super) setting: Setting<'a>,
}

impl Outside for Asked<'_> {
    fn cohort(&self, step: &Step) -> Option<SmolStr> {
        self.setting.cohort_of(step.person.as_ref()?, &self.postures.groups)
    }

    fn evaluate(&mut self, step: &Step, known: &Known<'_>) -> Option<Arc<Evaluation>> {
        self.postures.ask(step, known, self.setting.org)
    }
}
