//! The address that a request came from, past the proxies that an org's traffic goes through.
//!
//! It is for a person who asks about one record (`authwatch explain`); no event keeps it. What is written as an address
//! and is none is passed over.

use core::net::IpAddr;

use super::Network;
use crate::decode::okta::LogEvent;

/// Where a request came from: the first hop of `ipChain` that is outside the proxies, else `client.ipAddress`. `None`
/// where neither is an address.
pub fn client_address(event: &LogEvent<'_>, proxies: &[Network]) -> Option<IpAddr> {
    let hops = event.ip_chain().iter().filter_map(|hop| address(hop.ip.get()?));
    let outside = |hop: &IpAddr| !proxies.iter().any(|proxy| proxy.contains(*hop));
    hops.into_iter().find(outside).or_else(|| address(event.client.ip_address.get()?))
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.trim().parse::<IpAddr>().ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    #[track_caller]
    fn check(members: &str, expect: Option<&str>) {
        let proxies = ["198.51.100.0/24", "2001:db8::/32"].map(|text| text.parse::<Network>().expect("a network"));
        let record = format!(r#"{{"eventType":"user.session.start",{members}}}"#);
        let mut found = None;
        decode::record(record.as_bytes(), &mut |read| {
            found = read.ok().and_then(|read| client_address(read.event, &proxies));
        });
        assert_eq!(found.map(|address| address.to_string()).as_deref(), expect, "{members}");
    }

    #[test]
    fn the_client_is_the_first_hop_outside_the_proxies() {
        let client = r#""client":{"ipAddress":"198.51.100.9"}"#;
        let chain = |hops: &str| format!(r#"{client},"request":{{"ipChain":[{hops}]}}"#);
        check(&chain(r#"{"ip":"192.0.2.1"},{"ip":"198.51.100.9"}"#), Some("192.0.2.1"));
        check(&chain(r#"{"ip":"198.51.100.9"},{"ip":"203.0.113.4"},{"ip":"192.0.2.1"}"#), Some("203.0.113.4"));
        check(&chain(r#"{"ip":"2001:db8::5"},{"ip":"::ffff:192.0.2.1"}"#), Some("192.0.2.1"));
        check(&chain(r#"{"ip":"555.555.55.5"},{"ip":"redacted"},{"ip":["192.0.2.1"]},{"ip":null}"#), Some("192.0.2.1"));
        check(&chain(r#"{"ip":"198.51.100.1"},{"ip":"198.51.100.2"}"#), Some("198.51.100.9"));
        check(client, Some("198.51.100.9"));
        check(r#""client":{"ipChain":[{"ip":"192.0.2.1"}],"ipAddress":"198.51.100.9"}"#, Some("192.0.2.1"));
        check(r#""client":{"ipAddress":"null"},"request":{"ipChain":null}"#, None);
        check(r#""client":null"#, None);
    }
}
