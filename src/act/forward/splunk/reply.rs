//! What a collector's answer means: its code first, its status where it gave none.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::act::retry::{Class, Failure, Reason};
use crate::act::wire::Reply;

/// The body of an answer. Codes: 0 success; 1 to 4, 16, 21, 22 the token; 5, 6, 12, 13, 15 the events; 7 the index; 8
/// internal; 9 busy; 10, 11, 14 the channel; 17 healthy; 18 to 20 queues full.
#[derive(Deserialize)]
struct Body {
    code: u16,
    #[serde(default)]
    text: String,
    #[serde(rename = "invalid-event-number")]
    invalid_event: Option<usize>,
    #[serde(rename = "ackId")]
    ack_id: Option<u64>,
}

/// A batch was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Said {
    /// By which its acknowledgement is asked for.
    pub(super) ack_id: Option<u64>,
}

/// A batch was not accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    pub(super) failure: Failure,
    /// The event that is at fault, counted from 0, where the collector says so.
    pub(super) event: Option<usize>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, event: None }
    }
}

/// What the answer to a batch means.
pub(super) fn judge(who: &str, reply: Reply) -> Result<Said, Refused> {
    match body(who, reply)? {
        (_, Body { code: 0, ack_id, .. }, _) => Ok(Said { ack_id }),
        (status, body, wait) => {
            let failure = refusal(who, status, &body).after(wait);
            Err(Refused { failure, event: body.invalid_event })
        }
    }
}

/// What the answer to the question for its health means.
pub(super) fn health(who: &str, reply: Reply) -> Result<(), Failure> {
    match body(who, reply)? {
        (_, Body { code: 0 | 17, .. }, _) => Ok(()),
        (status, body, wait) => Err(refusal(who, status, &body).after(wait)),
    }
}

/// What the answer to a batch of nothing means: a token that may write is told that there is no data.
pub(super) fn token(who: &str, reply: Reply) -> Result<(), Failure> {
    match body(who, reply)? {
        (_, Body { code: 0 | 5, .. }, _) => Ok(()),
        (status, body, wait) => Err(refusal(who, status, &body).after(wait)),
    }
}

/// Whether the batch `id` is stored.
pub(super) fn acks(who: &str, reply: Reply, id: u64) -> Result<bool, Failure> {
    #[derive(Deserialize)]
    struct Acks {
        acks: BTreeMap<String, bool>,
    }
    let read = reply.body.as_deref().ok().and_then(|body| serde_json::from_slice::<Acks>(body).ok());
    match read.filter(|_| reply.status.is_success()) {
        Some(Acks { acks }) => Ok(acks.get(&id.to_string()).copied().unwrap_or(false)),
        None => match body(who, reply)? {
            (status, body, wait) if body.code != 0 => Err(refusal(who, status, &body).after(wait)),
            _ => Err(Failure::retry(Reason::BadBody, format!("{who} gives no acknowledgements"))),
        },
    }
}

/// The body of a collector's answer, with its status and the delay asked for; a failure where there is none.
fn body(who: &str, reply: Reply) -> Result<(u16, Body, Option<std::time::Duration>), Failure> {
    let status = reply.status.as_u16();
    let lost = || Failure::retry(Reason::ConnectionLost, format!("the connection to {who} broke"));
    if reply.is_page && reply.status.is_success() {
        let detail = format!("{who} answers with a page instead of data (a proxy's sign-in? Is `url` right?)");
        return Err(Failure::fix(Reason::BadBody, detail));
    }
    let bytes = reply.body.as_deref().map_err(|_| lost());
    if let Some(body) = bytes.as_ref().ok().and_then(|bytes| serde_json::from_slice::<Body>(bytes).ok()) {
        // A success that is none, or none that is one: what cannot be has no meaning.
        if (body.code == 0) != reply.status.is_success() && body.code != 17 {
            return Err(Failure::retry(Reason::BadBody, format!("{who} answered {status} with code {}", body.code)));
        }
        return Ok((status, body, reply.wait));
    }
    if reply.status.is_success() {
        bytes?;
        return Err(Failure::retry(Reason::BadBody, format!("{who} answered {status} without a code")));
    }
    let failure = reply.refused(&who);
    // Without a code it is not the collector that refuses, so no record is at fault, unless the batch is too large.
    let is_ours = failure.class != Class::GiveUp || status == 413;
    Err(if is_ours { failure } else { Failure { class: Class::FixConfiguration, ..failure } })
}

/// What a code other than success means.
fn refusal(who: &str, status: u16, Body { code, text, .. }: &Body) -> Failure {
    let words: String = text.chars().filter(|c| !c.is_control()).take(120).collect();
    let what = |more: &str| format!("{who} answered {status} with code {code}, {words}{more}");
    match code {
        1 | 22 => Failure::fix(Reason::Forbidden, what(" (enable the token)")),
        2..=4 | 21 => Failure::fix(Reason::Unauthorized, what(" (check `token`)")),
        16 => Failure::fix(Reason::Unauthorized, what(" (is `url` right?)")),
        5 => {
            Failure::fix(Reason::Invalid, what(" (does something on the way drop or unpack bodies? Try `gzip: false`)"))
        }
        6 | 12 | 13 | 15 => Failure::give_up(Reason::Invalid, what("")),
        7 => Failure::fix(Reason::Invalid, what(" (let the token write to `index`)")),
        8 => Failure::retry(Reason::ServerError, what("")),
        9 | 18..=20 => Failure::retry(Reason::RateLimited, what("")),
        10 | 11 => Failure::fix(Reason::Invalid, what(" (the token wants acknowledgement: set `ack: true`)")),
        14 => Failure::fix(Reason::Invalid, what(" (the token has no acknowledgement: set `ack: false`)")),
        _ if status == 429 => Failure::retry(Reason::RateLimited, what("")),
        _ if (400..500).contains(&status) => Failure::give_up(Reason::Invalid, what("")),
        _ => Failure::retry(Reason::ServerError, what("")),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, class: Class, reason: Reason) {
        let status = StatusCode::from_u16(status).expect("a status");
        let reply = Reply {
            status,
            wait: None,
            reset: None,
            is_page: body.starts_with('<'),
            body: Ok(body.as_bytes().to_vec()),
        };
        let Refused { failure, .. } = judge("splunk", reply).expect_err("refused");
        assert_eq!((failure.class, failure.reason), (class, reason), "{status} {body}: {}", failure.detail);
    }

    #[test]
    fn every_documented_code_has_its_class() {
        use Class::{FixConfiguration as Fix, GiveUp, Retry};
        for (status, code, class, reason) in [
            (403, 1, Fix, Reason::Forbidden),
            (401, 2, Fix, Reason::Unauthorized),
            (401, 3, Fix, Reason::Unauthorized),
            (403, 4, Fix, Reason::Unauthorized),
            (400, 5, Fix, Reason::Invalid),
            (400, 6, GiveUp, Reason::Invalid),
            (400, 7, Fix, Reason::Invalid),
            (500, 8, Retry, Reason::ServerError),
            (503, 9, Retry, Reason::RateLimited),
            (400, 10, Fix, Reason::Invalid),
            (400, 11, Fix, Reason::Invalid),
            (400, 12, GiveUp, Reason::Invalid),
            (400, 13, GiveUp, Reason::Invalid),
            (400, 14, Fix, Reason::Invalid),
            (400, 15, GiveUp, Reason::Invalid),
            (400, 16, Fix, Reason::Unauthorized),
            (503, 18, Retry, Reason::RateLimited),
            (503, 19, Retry, Reason::RateLimited),
            (503, 20, Retry, Reason::RateLimited),
            (400, 21, Fix, Reason::Unauthorized),
            (400, 22, Fix, Reason::Forbidden),
            (400, 99, GiveUp, Reason::Invalid),
            (500, 99, Retry, Reason::ServerError),
            (429, 99, Retry, Reason::RateLimited),
        ] {
            check(status, &format!(r#"{{"text":"no","code":{code}}}"#), class, reason);
        }
    }

    #[test]
    fn trap_a_success_is_a_status_and_a_code() {
        use Class::{FixConfiguration as Fix, GiveUp, Retry};
        check(200, "<html>Sign in</html>", Fix, Reason::BadBody);
        check(200, "ok", Retry, Reason::BadBody);
        check(200, r#"{"text":"no","code":6}"#, Retry, Reason::BadBody);
        check(400, r#"{"text":"Success","code":0}"#, Retry, Reason::BadBody);
        // Not the collector: no record is to blame.
        check(400, "<html>Bad request</html>", Fix, Reason::Invalid);
        check(404, "<html>Not found</html>", Fix, Reason::NotFound);
        check(413, "<html>Too large</html>", GiveUp, Reason::Invalid);
        check(502, "<html>Bad gateway</html>", Retry, Reason::ServerError);
        check(503, "", Retry, Reason::ServerError);
    }

    #[test]
    fn an_acknowledgement_is_for_its_own_batch() {
        let stored = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            acks(
                "splunk",
                Reply { status, wait: None, reset: None, is_page: false, body: Ok(body.as_bytes().to_vec()) },
                7,
            )
        };
        assert_eq!(stored(200, r#"{"acks":{"7":true}}"#), Ok(true));
        assert_eq!(stored(200, r#"{"acks":{"7":false,"8":true}}"#), Ok(false));
        assert_eq!(stored(200, r#"{"acks":{}}"#), Ok(false));
        let class = |status, body| stored(status, body).map_err(|failure| failure.class);
        assert_eq!(class(400, r#"{"text":"ACK is disabled","code":14}"#), Err(Class::FixConfiguration));
        assert_eq!(class(503, r#"{"text":"Server is busy","code":9}"#), Err(Class::Retry));
        assert_eq!(class(200, r#"{"text":"Success","code":0}"#), Err(Class::Retry));
    }
}
