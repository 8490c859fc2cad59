//! A network of addresses, for hops that are not the client's.
//!
//! Written as an address and the length of its prefix (`10.0.0.0/8`); a bare address is a network of one. An address
//! with bits beyond the prefix is refused: one of the two is a slip.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// A network of addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address lies in it. An IPv4 address mapped into IPv6 is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix) == bits(self.first)
    }

    fn read(text: &str) -> Result<Self, String> {
        let usage = || format!("`{text}` is no network (write one such as `192.0.2.0/24`)");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| usage())?;
        let longest = width(first);
        let prefix = prefix.map_or(Ok(longest), str::parse::<u8>).map_err(|_| usage())?;
        if prefix > longest {
            return Err(format!("`{text}` has a prefix longer than {longest} bits"));
        }
        let network = Self { first, prefix };
        if masked(first, prefix) != bits(first) {
            let whole = Self { first: whole(first, prefix), prefix };
            return Err(format!("`{text}` has bits beyond its prefix (write `{whole}` for the whole network)"));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn masked(address: IpAddr, prefix: u8) -> u128 {
    let beyond = u32::from(width(address).saturating_sub(prefix));
    let mask = u128::MAX.checked_shl(beyond).unwrap_or(0);
    bits(address) & mask
}

fn whole(address: IpAddr, prefix: u8) -> IpAddr {
    let first = masked(address, prefix);
    match address {
        IpAddr::V4(_) => IpAddr::V4((first as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(first.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, inside: &[&str], outside: &[&str]) {
        let read = Network::read(network).expect(network);
        let has = |address: &&&str| read.contains(address.parse().expect("an address"));
        assert_eq!(inside.iter().filter(has).count(), inside.len(), "{network} {inside:?}");
        assert_eq!(outside.iter().filter(has).count(), 0, "{network} {outside:?}");
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_other() {
        check("192.0.2.0/24", &["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7"], &["192.0.3.0", "2001:db8::"]);
        check("198.51.100.7", &["198.51.100.7"], &["198.51.100.6", "198.51.100.8"]);
        check("0.0.0.0/0", &["203.0.113.1"], &["2001:db8::1"]);
        check("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::", "192.0.2.1"]);
        check("::/0", &["2001:db8::1"], &["192.0.2.1"]);
    }

    #[test]
    fn what_is_no_network_is_refused_with_one_that_is() {
        for (text, expect) in [
            ("proxy", "`proxy` is no network (write one such as `192.0.2.0/24`)"),
            ("192.0.2.0/x", "`192.0.2.0/x` is no network (write one such as `192.0.2.0/24`)"),
            ("192.0.2.0/33", "`192.0.2.0/33` has a prefix longer than 32 bits"),
            ("192.0.2.7/24", "`192.0.2.7/24` has bits beyond its prefix (write `192.0.2.0/24` for the whole network)"),
            (
                "2001:db8::1/32",
                "`2001:db8::1/32` has bits beyond its prefix (write `2001:db8::/32` for the whole network)",
            ),
        ] {
            assert_eq!(Network::read(text).expect_err(text), expect);
        }
    }
}
