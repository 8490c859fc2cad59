//! Tells the core of sources that say nothing, by the host's steady clock: the core has none, and a source that does not
//! answer brings no input that could tell it.
//!
//! The time begins anew with the process, so that a restart is no silence. It counts silence only: a source that
//! answers without news speaks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::event::{SourceName, Span};
use crate::input::Input;
use crate::watch::Watch;

/// How long a source may say nothing before the core is told, and how often it is told again.
const EVERY: Duration = Duration::from_secs(60);

/// When each source was last heard.
#[derive(Default)]
pub(super) struct Ears(BTreeMap<SourceName, Heard>);

struct Heard {
    last: Instant,
    told: Instant,
}

impl Ears {
    /// A source spoke.
    pub(super) fn heard(&mut self, source: &SourceName, now: Instant) {
        self.0.insert(source.clone(), Heard { last: now, told: now });
    }

    /// What the core is to be told at `now` of the sources that it waits for.
    pub(super) fn due(&mut self, watch: &Watch, now: Instant) -> Vec<Input> {
        let mut inputs = Vec::new();
        for org in watch.orgs() {
            let sources = watch.config().orgs.get(org.name()).into_iter().flat_map(|org| &org.sources);
            for source in sources.filter(|source| !org.has_ended(source)) {
                let heard = self.0.entry(source.clone()).or_insert(Heard { last: now, told: now });
                if now.duration_since(heard.told) >= EVERY {
                    heard.told = now;
                    let silent = i64::try_from(now.duration_since(heard.last).as_millis()).unwrap_or(i64::MAX);
                    inputs.push(Input::Unheard { source: source.clone(), silent: Span(silent) });
                }
            }
        }
        inputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::event::Org;
    use crate::input::{CoreConfig, OrgConfig};

    #[test]
    fn silence_is_told_every_minute_from_the_first_listening_on_and_not_of_what_has_ended() {
        let (okta, file) = (SourceName::new("okta:acme"), SourceName::new("file:acme"));
        let org = OrgConfig { sources: [okta.clone(), file.clone()].into(), ..OrgConfig::default() };
        let config = CoreConfig { orgs: [(Org::new("acme"), org)].into(), ..CoreConfig::default() };
        let mut watch = Watch::new();
        watch.handle(&Input::Configure(Box::new(config)));
        watch.handle(&Input::Progress { source: file, now: None, caught_up: true });
        let (mut ears, start) = (Ears::default(), clock::monotonic());
        let told = |ears: &mut Ears, seconds| -> Vec<(SourceName, Span)> {
            let inputs = ears.due(&watch, start + Duration::from_secs(seconds));
            let of = |input| match input {
                Input::Unheard { source, silent } => Some((source, silent)),
                _ => None,
            };
            inputs.into_iter().filter_map(of).collect()
        };
        assert_eq!(told(&mut ears, 0), []);
        assert_eq!(told(&mut ears, 59), []);
        assert_eq!(told(&mut ears, 60), [(okta.clone(), Span::seconds(60))]);
        assert_eq!(told(&mut ears, 61), []);
        assert_eq!(told(&mut ears, 125), [(okta.clone(), Span::seconds(125))]);
        ears.heard(&okta, start + Duration::from_secs(130));
        assert_eq!(told(&mut ears, 189), []);
        assert_eq!(told(&mut ears, 190), [(okta, Span::seconds(60))]);
    }
}
