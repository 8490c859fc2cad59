//! What rules can ask for beyond device and credential: the network zone and Okta's risk.
//!
//! Source: the fact sheet's sections 4.1 and 4.3. Risk stands in `securityContext.risk` on newer events, as text in
//! `debugData.risk`, and as JSON in `debugData.logOnlySecurityData`; a word for a level that is none of ours says nothing.

use super::evidence::{Ground, Source};
use super::kept;
use crate::decode::okta::{LogEvent, SecurityContext};
use crate::event::{Context, Risk};

/// The context, and what its members rest on.
pub(super) struct Read {
    pub context: Context,
    pub zone: Ground<'static>,
    pub risk: Ground<'static>,
}

pub(super) fn read(event: &LogEvent<'_>) -> Read {
    let zone = event.client.zone.named();
    let (risk, ground) = match risk(event) {
        Some((risk, source)) => (Some(risk), Ground::word(source, risk.as_str())),
        None => (None, Ground::NOTHING),
    };
    Read {
        zone: Ground::of(zone.is_some(), Source::Zone),
        risk: ground,
        context: Context { zone: zone.map(kept), risk },
    }
}

fn risk(event: &LogEvent<'_>) -> Option<(Risk, Source)> {
    let data = &event.debug_context.debug_data;
    let structured = event.security_context.risk.level.get().and_then(level);
    let structured = structured.map(|risk| (risk, Source::SecurityContextRisk));
    let written = || Some((data.risk.get().and_then(written)?, Source::DebugRisk));
    let log_only = || {
        let json = data.log_only_security_data.json()?;
        Some((level(SecurityContext::read(&json).risk.level.get()?)?, Source::LogOnlySecurityData))
    };
    structured.or_else(written).or_else(log_only)
}

/// The level in `{reasons=Anomalous Location, Anomalous Device, level=HIGH}`, or in an object.
fn written(text: &str) -> Option<Risk> {
    let mut parts = text.trim_matches(['{', '}']).split(',').filter_map(|part| part.split_once(['=', ':']));
    parts.find_map(|(key, word)| (key.trim_matches([' ', '"']) == "level").then(|| level(word))?)
}

fn level(word: &str) -> Option<Risk> {
    let word = word.trim_matches([' ', '"']);
    Risk::ALL.iter().copied().find(|risk| risk.as_str().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_a_risk_text_is_read_in_any_order_and_case() {
        for (text, expect) in [
            ("{level=LOW}", Some(Risk::Low)),
            ("{reasons=Anomalous Location, Anomalous Device, level=HIGH}", Some(Risk::High)),
            ("{level=Medium, reasons=Anomalous Location}", Some(Risk::Medium)),
            ("{detectionName=Session Hijacking, level=HIGH}", Some(Risk::High)),
            ("{previousLevel=HIGH, level=LOW}", Some(Risk::Low)),
            ("{previousLevel=HIGH}", None),
            (r#"{"level":"high","reasons":["x"]}"#, Some(Risk::High)),
            ("{level=}", None),
            ("{level=NONE}", None),
            ("level", None),
            ("", None),
        ] {
            assert_eq!(written(text), expect, "{text}");
        }
    }
}
