//! Secrets within texts: in queries and paths of addresses, after a name and `=`, and words that look like tokens.

use super::WITHHELD;

/// Parameters of addresses whose values are harmless where they are short and plain.
const HARMLESS: [&str; 27] = [
    "activate",
    "autopush",
    "clientid",
    "codechallengemethod",
    "expand",
    "granttype",
    "kind",
    "limit",
    "locale",
    "maxage",
    "message",
    "method",
    "prompt",
    "provider",
    "rememberdevice",
    "responsemode",
    "responsetype",
    "scope",
    "sendemail",
    "since",
    "sortorder",
    "status",
    "type",
    "until",
    "updatephone",
    "version",
    "errorcode",
];

/// Names whose value is a secret, wherever they stand before a `=`.
const SECRET: [&str; 23] = [
    "statetoken",
    "sessiontoken",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "recoverytoken",
    "activationtoken",
    "resettoken",
    "devicetoken",
    "token",
    "clientsecret",
    "devicesecret",
    "secret",
    "password",
    "passcode",
    "otp",
    "clientassertion",
    "assertion",
    "samlresponse",
    "samlrequest",
    "relaystate",
    "statehandle",
    "interactionhandle",
];

/// Schemes of an `Authorization` header; what follows is a secret.
const SCHEMES: [&str; 5] = ["bearer", "ssws", "dpop", "basic", "splunk"];

/// Segments of a path after which a token stands.
const BEFORE_TOKEN: [&str; 10] = [
    "welcome",
    "token",
    "tokens",
    "reset-password",
    "reset_password",
    "recovery",
    "activate",
    "unlock",
    "unlock-account",
    "verify-email",
];

/// The longest harmless value of a parameter.
const SHORT: usize = 64;

/// Words at least this long, of letters and digits mixed, are tokens. Okta's ids have 20 characters, UUIDs are known.
const TOKEN: usize = 32;

/// A text without its secrets, each of which is told to `note`; `None` where it has none.
pub(super) fn cleaned(text: &str, note: &mut dyn FnMut(&str)) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut after_scheme = false;
    for part in text.split_inclusive(is_gap) {
        let word = part.trim_end_matches(is_gap);
        let gap = &part[word.len()..];
        if after_scheme && !word.is_empty() {
            note(word);
            out.push_str(WITHHELD);
        } else {
            push_word(&mut out, word, note);
        }
        out.push_str(gap);
        if !word.is_empty() {
            after_scheme = SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
        }
    }
    (out != text).then_some(out)
}

fn is_gap(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | ',' | ';' | '(' | ')' | '[' | ']' | '{' | '}' | '|')
}

fn push_word(out: &mut String, word: &str, note: &mut dyn FnMut(&str)) {
    let (address, fragment) = split(word, '#');
    let (path, query) = split(address, '?');
    if query.is_none() && fragment.is_none() && !path.contains('/') {
        return push_pair(out, word, false, note);
    }
    push_path(out, path, note);
    for (mark, pairs) in [('?', query), ('#', fragment)] {
        let Some(pairs) = pairs else { continue };
        out.push(mark);
        for (index, pair) in pairs.split('&').enumerate() {
            if index > 0 {
                out.push('&');
            }
            push_pair(out, pair, true, note);
        }
    }
}

fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// `name=value`, or a bare word. In an address, only what is known to be harmless stays.
fn push_pair(out: &mut String, pair: &str, is_query: bool, note: &mut dyn FnMut(&str)) {
    let (name, value) = named(pair);
    let Some(value) = value else {
        let shown = if is_token(pair) { WITHHELD } else { pair };
        if shown != pair {
            note(pair);
        }
        return out.push_str(shown);
    };
    let plain_name = super::plain(name);
    let is_secret = plain_name == "code" || SECRET.iter().any(|secret| plain_name.ends_with(secret));
    let is_plain = value.len() <= SHORT && !value.contains("://") && !is_token(value);
    let stays =
        if is_query { HARMLESS.contains(&plain_name.as_str()) && is_plain } else { !is_secret && !is_token(value) };
    out.push_str(&pair[..pair.len() - value.len()]);
    if stays || value.is_empty() {
        return out.push_str(value);
    }
    note(value);
    out.push_str(WITHHELD);
}

/// A name and its value; the sign between them may be escaped, once or twice.
fn named(pair: &str) -> (&str, Option<&str>) {
    let lower = pair.to_ascii_lowercase();
    let found = ["=", "%3d", "%253d"].iter().filter_map(|sign| Some((lower.find(sign)?, sign.len()))).min();
    match found {
        Some((at, length)) => (&pair[..at], Some(&pair[at + length..])),
        None => (pair, None),
    }
}

fn push_path(out: &mut String, path: &str, note: &mut dyn FnMut(&str)) {
    let mut before = "";
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        let follows = BEFORE_TOKEN.iter().any(|word| before.eq_ignore_ascii_case(word));
        if follows && segment.bytes().any(|byte| byte.is_ascii_digit()) {
            note(segment);
            out.push_str(WITHHELD);
        } else {
            push_pair(out, segment, false, note);
        }
        before = segment;
    }
}

/// Whether a word looks like a token: a state token, a JWT, or long and of letters and digits mixed.
fn is_token(word: &str) -> bool {
    if word.starts_with("02.id.") || (word.starts_with("eyJ") && word.len() >= TOKEN) {
        return true;
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'+' | b'%');
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    word.len() >= TOKEN && is_mixed && word.bytes().all(is_part) && !is_uuid(word)
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A text without every occurrence of `secret` as a whole word, in any case; `None` where there is none.
pub(super) fn without(text: &str, secret: &str) -> Option<String> {
    let is_inner = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut out = String::new();
    let mut done = 0;
    for (at, _) in text.char_indices() {
        let Some(found) = text.get(at..at + secret.len()).filter(|found| found.eq_ignore_ascii_case(secret)) else {
            continue;
        };
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        if at < done || is_inner(before) || is_inner(after) {
            continue;
        }
        out.push_str(&text[done..at]);
        out.push_str(WITHHELD);
        done = at + found.len();
    }
    if done == 0 {
        return None;
    }
    out.push_str(&text[done..]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(cleaned(text, &mut |_| {}).as_deref().unwrap_or(text), expect, "{text}");
    }

    #[test]
    fn queries_keep_only_what_is_known_to_be_harmless() {
        check("/login/token/redirect?stateToken=02.id.MwmzJt_2erQ99a6kny", "/login/token/redirect?stateToken=redacted");
        check("/idp/idx/identify?", "/idp/idx/identify?");
        check(
            "/api/v1/logs?since=2023-09-21T17%3A04%3A22Z&limit=1000&after=1714675441520_1",
            "/api/v1/logs?since=2023-09-21T17%3A04%3A22Z&limit=1000&after=redacted",
        );
        check("/x?fromURI=%2Flogin%3FstateToken%3D02.id.abc&locale=en", "/x?fromURI=redacted&locale=en");
        check(
            "https://a.example/cb#access_token=abc&scope=openid",
            "https://a.example/cb#access_token=redacted&scope=openid",
        );
        check(
            "/authorize?scope=openid+email&state=abc&code_challenge=x",
            "/authorize?scope=openid+email&state=redacted&code_challenge=redacted",
        );
        check("/x?hunter2hunter2", "/x?hunter2hunter2");
        check("/x?redirect_uri=https://a.example/?token=1", "/x?redirect_uri=redacted");
        check(
            "/x?message=login_page_messages.session_has_expired",
            "/x?message=login_page_messages.session_has_expired",
        );
    }

    #[test]
    fn paths_keep_ids_and_words_and_lose_tokens() {
        check(
            "/api/v1/users/00u1abvz4pYqdM8ms4x6/lifecycle/suspend?",
            "/api/v1/users/00u1abvz4pYqdM8ms4x6/lifecycle/suspend?",
        );
        check("/welcome/XE6wE17zmphl3KqAPFxO", "/welcome/redacted");
        check("/login/token/redirect", "/login/token/redirect");
        check("/a/b3aeede3-4f67-11ea-abd3-1f5d113f2546", "/a/b3aeede3-4f67-11ea-abd3-1f5d113f2546");
        check("/a/20111aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789", "/a/redacted");
    }

    #[test]
    fn words_that_are_secrets_go_wherever_they_stand() {
        check("retry with stateToken=abc, please", "retry with stateToken=redacted, please");
        check("stateToken%3D02.id.abc%26x", "stateToken%3Dredacted");
        check("sent 'Authorization: SSWS 00abcdef' again", "sent 'Authorization: SSWS redacted' again");
        check("got eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "got redacted");
        check("{New Geo-Location=NEGATIVE, New Device=POSITIVE}", "{New Geo-Location=NEGATIVE, New Device=POSITIVE}");
        check(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:72.0) Gecko/20100101 Firefox/72.0",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:72.0) Gecko/20100101 Firefox/72.0",
        );
        check("Sign-on policy evaluation resulted in DENIED", "Sign-on policy evaluation resulted in DENIED");
        check("okta_password:password:aut4oewi7rc5cRsK25d7", "okta_password:password:aut4oewi7rc5cRsK25d7");
    }

    #[test]
    fn a_withheld_word_is_found_whole_and_in_any_case() {
        assert_eq!(
            without("User HUNTER2! failed (hunter2!)", "hunter2!").as_deref(),
            Some("User redacted failed (redacted)")
        );
        assert_eq!(without("hunter22", "hunter2"), None);
        assert_eq!(without("été hunter2é", "hunter2"), None);
        assert_eq!(without("ünter2", "ünter2").as_deref(), Some("redacted"));
    }
}
