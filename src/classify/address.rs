//! The address that a request came from, past the proxies that an org's traffic goes through.
//!
//! It is for a person who asks about one record (`authwatch explain`); no event keeps it. What is written as an address
//! and is none is passed over, and a range that is none is refused with what is right.

use core::net::IpAddr;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::decode::okta::LogEvent;

/// A range of addresses, written as `192.0.2.0/24`, `2001:db8::/32` or one address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

/// A text is no range of addresses.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("`{0}` is no range of addresses (write for example `192.0.2.0/24` or `2001:db8::/32`)")]
pub struct NetworkError(String);

impl Network {
    /// Whether an address lies in the range. An IPv4 address in IPv6 form counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (base, other) = (self.base, address.to_canonical());
        base.is_ipv4() == other.is_ipv4() && masked(base, self.bits) == masked(other, self.bits)
    }
}

/// The leading bits of an address, and its width.
fn masked(address: IpAddr, bits: u8) -> u128 {
    let (value, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    value.checked_shr(width - u32::from(bits)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.trim().parse().ok().filter(|bits| *bits <= width).ok_or_else(wrong)?,
            None => width,
        };
        Ok(Self { base, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

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
    fn network(text: &str, inside: &[&str], outside: &[&str]) {
        let network: Network = text.parse().expect("a range");
        for (addresses, expect) in [(inside, true), (outside, false)] {
            for address in addresses {
                assert_eq!(network.contains(address.parse().expect("an address")), expect, "{address} in {network}");
            }
        }
    }

    #[test]
    fn a_range_holds_what_shares_its_leading_bits() {
        network("192.0.2.0/24", &["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7"], &["192.0.3.0", "2001:db8::1"]);
        network("192.0.2.129/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127"]);
        network("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]);
        network("0.0.0.0/0", &["192.0.2.7", "255.255.255.255"], &["::1"]);
        network("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::1", "192.0.2.1"]);
        network("::/0", &["2001:db8::1"], &["192.0.2.1"]);
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_would_be() {
        for text in ["", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2/24", "2001:db8::/129", "a", "192.0.2.0/", "/24"] {
            let error = text.parse::<Network>().expect_err(text);
            assert!(error.to_string().starts_with(&format!("`{text}` is no range of addresses (write")), "{error}");
        }
    }

    #[track_caller]
    fn check(members: &str, expect: Option<&str>) {
        let proxies = ["198.51.100.0/24", "2001:db8::/32"].map(|text| text.parse().expect("a range"));
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
