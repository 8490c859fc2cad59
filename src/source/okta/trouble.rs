//! What can go wrong between the source and Okta, as a closed list; and how long to wait after each.

use std::time::Duration;

use thiserror::Error;

use super::auth::AuthError;
use super::budget::{LONGEST_WAIT, RateHeaders};
use crate::event::{Span, Timestamp};
use crate::http::root_cause;
use crate::secret::SecretError;

/// Why a request brought no page. Shown to people as it stands: it holds no token, no cursor and nothing of a body.
#[derive(Debug, Error)]
pub enum Trouble {
    /// The token cannot be had.
    #[error("the API token or key cannot be read: {0}")]
    Secret(#[source] SecretError),
    /// The token has a character that no header can carry.
    #[error("the API token holds a line break or another control character (store the bare token)")]
    MalformedSecret,
    /// The service app has no authorization.
    #[error("{0}")]
    Authorization(#[source] AuthError),
    /// 401 to an access token that was granted just now.
    #[error("Okta refuses the access token that it granted{} (is the app active, and `dpop` as the app demands?)", code(.0))]
    GrantRefused(Option<String>),
    /// 400 because of the DPoP proof, which is not about the address.
    #[error(
        "Okta refused the DPoP proof of a request ({0}; check the host's clock, and that no proxy changes the address)"
    )]
    ProofRefused(&'static str),
    /// 403 to a service app.
    #[error("the service app may not read the System Log{} (a super administrator grants it `okta.logs.read` and assigns it an admin role such as Read-only Administrator)", code(.0))]
    AppForbidden(Option<String>),
    /// 401.
    #[error("Okta refused the API token{} (make a new one; tokens die after 30 days without use or with their owner's account)", code(.0))]
    TokenRefused(Option<String>),
    /// 403.
    #[error("the API token may not read the System Log{} (give its owner a role such as read-only administrator, and check the token's network zone)", code(.0))]
    Forbidden(Option<String>),
    /// 403 on something else than the log.
    #[error("Okta does not let us read {what}{} (a super administrator grants {grant} to the service app, or gives the API token's owner a role such as Read-only Administrator)", code(.error_code))]
    Withheld {
        /// What was asked for.
        what: &'static str,
        /// The scope that covers it.
        grant: &'static str,
        /// Okta's error code.
        error_code: Option<String>,
    },
    /// 429.
    #[error("Okta's rate limit is reached")]
    RateLimited {
        /// How long the reply asks to wait; zero where it does not say.
        wait: Duration,
        /// Whether too many requests were in flight in the whole org, which is no matter of speed.
        concurrency: bool,
        /// Whether the headers still showed room, so that another ceiling must have been met.
        room_left: bool,
    },
    /// 400 or 410 on a stored link.
    #[error("Okta no longer accepts the stored position{}", code(.0))]
    CursorRefused(Option<String>),
    /// 400 on an address of our own making.
    #[error("Okta refused the query{} (check `start` and the host's clock)", code(.0))]
    BadRequest(Option<String>),
    /// A redirect: following it could carry the token elsewhere.
    #[error("the address redirects (set `url` to the org's own address)")]
    Redirected,
    /// Any other status that is neither success nor the server's fault.
    #[error("unexpected status {0} (check `url`)")]
    Status(u16),
    /// 5xx.
    #[error("Okta failed with status {0}")]
    Server(u16),
    /// No whole reply in time.
    #[error("no whole reply within the time-out")]
    TimedOut,
    /// No connection, with the innermost cause: name, network, TLS.
    #[error("Okta cannot be reached: {0} (check name resolution, network, proxy and certificates)")]
    Unreachable(String),
    /// The connection broke, or its compression did.
    #[error("the reply broke off")]
    BrokenOff,
    /// The page is longer than the bound.
    #[error("the page is too large")]
    TooLarge,
    /// HTML where a page of events should be: a proxy or a maintenance page.
    #[error("the reply is a web page, not JSON (check `url` and any proxy)")]
    NotJson,
    /// 404 on an id.
    #[error("Okta no longer has what was asked for among {0}")]
    Missing(&'static str),
    /// JSON that is cut off, or no list.
    #[error("the reply is no whole list of {0}")]
    BadList(&'static str),
    /// A list longer than the bound.
    #[error("there are more than {most} {what} (nothing of them is used)")]
    TooMany {
        /// What was listed.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// Policies whose sense cannot be made out.
    #[error("the policies cannot be understood: {0}")]
    BadPolicies(String),
    /// JSON that is cut off, or no page of events.
    #[error("the page is not a whole list of events")]
    BadPage,
    /// A page without `rel="next"`: where to go on is unknown.
    #[error("the page has no usable `next` link")]
    NoNextLink,
    /// A next link to another host, scheme or port: the token must not go there.
    #[error("the `next` link points to another origin, `{0}`")]
    ForeignLink(String),
}

fn code(code: &Option<String>) -> String {
    code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default()
}

impl Trouble {
    /// A 429 with these headers.
    pub(super) fn rate_limited(headers: RateHeaders, server_now: Timestamp) -> Self {
        let concurrency = headers.is_concurrency();
        let room_left = !concurrency && headers.remaining.is_some_and(|left| left > 0);
        Self::RateLimited { wait: headers.wait_asked(server_now), concurrency, room_left }
    }

    /// Where the transport failed before or in a reply.
    pub(super) fn transport(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::TimedOut
        } else if error.is_connect() {
            Self::Unreachable(root_cause(error))
        } else {
            Self::BrokenOff
        }
    }

    /// The label in `authwatch_source_requests_total`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Secret(_) | Self::MalformedSecret => "no_token",
            Self::Authorization(error) => error.label(),
            Self::TokenRefused(_) | Self::GrantRefused(_) | Self::ProofRefused(_) => "token_refused",
            Self::Forbidden(_) | Self::AppForbidden(_) | Self::Withheld { .. } => "forbidden",
            Self::RateLimited { concurrency: false, .. } => "rate_limited",
            Self::RateLimited { concurrency: true, .. } => "concurrency_limited",
            Self::CursorRefused(_) => "cursor_refused",
            Self::BadRequest(_) => "bad_request",
            Self::Redirected => "redirected",
            Self::Status(_) => "unexpected_status",
            Self::Server(_) => "server_error",
            Self::TimedOut => "timed_out",
            Self::Unreachable(_) => "unreachable",
            Self::BrokenOff => "broken_off",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::Missing(_) => "missing",
            Self::BadList(_) => "bad_list",
            Self::TooMany { .. } => "too_many",
            Self::BadPolicies(_) => "bad_policies",
            Self::BadPage => "bad_page",
            Self::NoNextLink => "no_next_link",
            Self::ForeignLink(_) => "foreign_link",
        }
    }

    /// Who must act for it to end.
    pub(super) fn patience(&self) -> Patience {
        match self {
            Self::Authorization(AuthError::RateLimited(_)) => Patience::RateLimit,
            Self::Authorization(error) if error.passes() => Patience::Passing,
            Self::Authorization(_)
            | Self::Secret(_)
            | Self::MalformedSecret
            | Self::TokenRefused(_)
            | Self::GrantRefused(_)
            | Self::ProofRefused(_)
            | Self::Forbidden(_)
            | Self::AppForbidden(_)
            | Self::Withheld { .. } => Patience::Token,
            Self::BadRequest(_)
            | Self::Redirected
            | Self::ForeignLink(_)
            | Self::TooMany { .. }
            | Self::BadPolicies(_) => Patience::Operator,
            Self::RateLimited { .. } => Patience::RateLimit,
            Self::CursorRefused(_)
            | Self::Status(_)
            | Self::Server(_)
            | Self::TimedOut
            | Self::Unreachable(_)
            | Self::BrokenOff
            | Self::TooLarge
            | Self::NotJson
            | Self::Missing(_)
            | Self::BadList(_)
            | Self::BadPage
            | Self::NoNextLink => Patience::Passing,
        }
    }
}

/// How a trouble is met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// Someone must give another token or more rights: retried slowly, at once with a new token.
    Token,
    /// Someone must change something else: retried slowly.
    Operator,
    /// The server says when.
    RateLimit,
    /// It passes: retried with growing waits.
    Passing,
}

impl Patience {
    /// The label in `authwatch_source_wait_seconds_total`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Operator => "operator",
            Self::RateLimit => "rate_limit",
            Self::Passing => "backoff",
        }
    }
}

/// The waits of the source. The defaults are for production; tests shorten them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Timing {
    /// The least wait after any trouble; 1 s. Doubles with every further one.
    pub least: Duration,
    /// The longest wait after a trouble that passes by itself; 1 min.
    pub most: Duration,
    /// The first wait after a trouble that a person must end; 30 s.
    pub slow_least: Duration,
    /// The longest such wait; 5 min.
    pub slow_most: Duration,
    /// How often, in such a wait, the token is read again to see whether it is a new one; 5 s.
    pub token_check: Duration,
    /// The part of a wait that chance may add; 0.2.
    pub jitter: f64,
    /// From this difference on, the server's clock and not the host's decides where a cold start begins; 1 min.
    pub clocks_differ: Span,
    /// How long no further change may pass in the log before policies are read again; 1 s.
    pub quiet: Duration,
    /// The longest that a change waits for such a quiet; 10 s.
    pub restless: Duration,
    /// How often policies are read again without a change; 1 h.
    pub policies_every: Duration,
    /// How often groups are read again; 24 h.
    pub groups_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            least: Duration::from_secs(1),
            most: Duration::from_secs(60),
            slow_least: Duration::from_secs(30),
            slow_most: Duration::from_secs(300),
            token_check: Duration::from_secs(5),
            jitter: 0.2,
            clocks_differ: Span::minutes(1),
            quiet: Duration::from_secs(1),
            restless: Duration::from_secs(10),
            policies_every: Duration::from_secs(60 * 60),
            groups_every: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Timing {
    /// How long to wait after `trouble`, the `nth` in a row from 1; `chance` from 0 to 1 spreads many pollers.
    pub(super) fn wait(&self, trouble: &Trouble, nth: u32, chance: f64) -> Duration {
        let (first, most) = match trouble.patience() {
            Patience::Token | Patience::Operator => (self.slow_least, self.slow_most),
            Patience::RateLimit | Patience::Passing => (self.least, self.most),
        };
        let doubled = first.saturating_mul(1 << nth.saturating_sub(1).min(16)).min(most);
        // The server's word holds; the doubling only speaks where it asks for less than that.
        let asked = match trouble {
            Trouble::RateLimited { wait, .. } | Trouble::Authorization(AuthError::RateLimited(wait)) => *wait,
            _ => Duration::ZERO,
        };
        let wait = doubled.max(asked).min(LONGEST_WAIT);
        wait.mul_f64(1.0 + self.jitter * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: Timestamp = Timestamp(1_785_225_600_000);

    fn seconds(trouble: &Trouble, waits: [u32; 4]) -> [u64; 4] {
        waits.map(|nth| Timing::default().wait(trouble, nth, 0.0).as_secs())
    }

    fn limited(limit: u32, remaining: u32, reset_in: i64) -> Trouble {
        let reset = Some(Timestamp(DATE.0 + reset_in * 1_000));
        let headers = RateHeaders { limit: Some(limit), remaining: Some(remaining), reset, retry_after: None };
        Trouble::rate_limited(headers, DATE)
    }

    #[test]
    fn waits_grow_to_a_bound() {
        assert_eq!(seconds(&Trouble::Server(502), [1, 2, 6, 7]), [1, 2, 32, 60]);
        assert_eq!(seconds(&Trouble::TimedOut, [0, 1, 100, u32::MAX]), [1, 1, 60, 60]);
        assert_eq!(seconds(&Trouble::TokenRefused(None), [1, 2, 4, 5]), [30, 60, 240, 300]);
    }

    #[test]
    fn a_429_waits_as_long_as_it_asks_and_never_less_than_a_second() {
        assert_eq!(seconds(&limited(60, 0, 17), [1, 2, 5, 6]), [17, 17, 17, 32]);
        assert_eq!(seconds(&limited(60, 0, -3_600), [1, 2, 3, 9]), [1, 2, 4, 60]);
        assert_eq!(seconds(&limited(60, 0, 86_400), [1, 2, 3, 9]), [900; 4]);
        assert_eq!(seconds(&limited(0, 0, 50), [1, 2, 3, 4]), [1, 2, 4, 8], "a suggestion is not waited for");
        let silent = Trouble::rate_limited(RateHeaders::default(), DATE);
        assert_eq!(seconds(&silent, [1, 2, 3, 4]), [1, 2, 4, 8]);
    }

    #[test]
    fn only_a_429_with_room_left_points_to_another_ceiling() {
        let room_left = |trouble| matches!(trouble, Trouble::RateLimited { room_left: true, .. });
        assert!(room_left(limited(60, 12, 17)));
        assert!(!room_left(limited(60, 0, 17)));
        assert!(!room_left(limited(0, 0, 17)));
        assert!(!room_left(Trouble::rate_limited(RateHeaders::default(), DATE)));
    }

    #[test]
    fn chance_only_ever_adds() {
        let timing = Timing::default();
        assert_eq!(timing.wait(&Trouble::Server(500), 1, 1.0), Duration::from_millis(1_200));
    }

    #[test]
    fn a_trouble_says_what_to_do() {
        let trouble = Trouble::TokenRefused(Some("E0000011".into()));
        let expect = "Okta refused the API token (E0000011) (make a new one; tokens die after 30 days without use or with their owner's account)";
        assert_eq!(trouble.to_string(), expect);
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_in_time_is_told_apart_from_one_that_is_not_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}", listener.local_addr().expect("has an address"));
        let client = crate::http::client(Duration::from_millis(50)).expect("builds");
        let error = client.get(&url).send().await.expect_err("nobody answers");
        assert_eq!(Trouble::transport(&error).label(), "timed_out");
        drop(listener);
        let client = crate::http::client(Duration::from_secs(10)).expect("builds");
        let error = client.get(&url).send().await.expect_err("nobody is there");
        let trouble = Trouble::transport(&error);
        assert_eq!(trouble.label(), "unreachable");
        let said = trouble.to_string();
        assert!(said.starts_with("Okta cannot be reached: Connection refused (os error "), "{said}");
    }
}
