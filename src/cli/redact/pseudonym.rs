//! Stand-ins: the same text has the same one throughout a run, and none can be turned back.
//!
//! They are keyed with a secret that is drawn for the run and written nowhere. Ids keep their kind's prefix, their
//! length and their separators; addresses come from the ranges for documentation (RFC 5737, RFC 3849), names are
//! numbered in the order in which they appear.
//!
//! Bounded: at most [`MAX_ENTRIES`] of each kind are remembered. Beyond it names lose their number, and short ids may
//! meet; ids of 12 characters and more need no memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest as _, Sha256};

/// Stand-ins remembered of each kind.
const MAX_ENTRIES: usize = 1_000_000;

/// The longest stand-in of an id.
const MAX_ID: usize = 128;

/// With fewer characters than these, two ids could get the same stand-in by chance.
const LONG_ID: usize = 12;

/// How Okta's ids begin, by what they name; kept, since they tell a rule of an app's policy from a global one.
const PREFIXES: [&str; 40] = [
    "00u", "00g", "00o", "00T", "00t", "00p", "00s", "0oa", "0pr", "0ua", "rul", "rst", "guo", "aut", "opf", "fpr",
    "trs", "idx", "102", "103", "req", "nzo", "bhv", "pae", "who", "evt", "emf", "sms", "clf", "ufs", "uft", "mbl",
    "ost", "rct", "das", "pfd", "tx", "dev", "lae", "iam",
];

/// Whether a text has the form of one of Okta's ids.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 20
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

/// What a name is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Class {
    Person,
    App,
    Rule,
    Policy,
    Group,
    Device,
    Authenticator,
    Behavior,
    Zone,
    Other,
}

impl Class {
    const fn word(self) -> &'static str {
        match self {
            Self::Person => "Person",
            Self::App => "App",
            Self::Rule => "Rule",
            Self::Policy => "Policy",
            Self::Group => "Group",
            Self::Device => "Device",
            Self::Authenticator => "Authenticator",
            Self::Behavior => "Behavior",
            Self::Zone => "Zone",
            Self::Other => "Name",
        }
    }
}

/// The stand-ins of one run.
pub(super) struct Pseudonyms {
    secret: [u8; 32],
    names: BTreeMap<(Class, String), usize>,
    counts: BTreeMap<Class, usize>,
    keys: BTreeMap<String, usize>,
    addresses: BTreeMap<IpAddr, u32>,
    short: BTreeMap<String, String>,
    taken: BTreeSet<String>,
}

impl Pseudonyms {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            names: BTreeMap::new(),
            counts: BTreeMap::new(),
            keys: BTreeMap::new(),
            addresses: BTreeMap::new(),
            short: BTreeMap::new(),
            taken: BTreeSet::new(),
        }
    }

    /// `App 1`, `App 2`, ….
    pub(super) fn name(&mut self, class: Class, text: &str) -> String {
        let key = (class, text.to_owned());
        if let Some(number) = self.names.get(&key) {
            return format!("{} {number}", class.word());
        }
        if self.names.len() >= MAX_ENTRIES {
            return class.word().to_owned();
        }
        let count = self.counts.entry(class).or_default();
        *count += 1;
        let number = *count;
        self.names.insert(key, number);
        format!("{} {number}", class.word())
    }

    /// The stand-in of a member's name.
    pub(super) fn key(&mut self, name: &str) -> String {
        let next = self.keys.len() + 1;
        if let Some(number) = self.keys.get(name) {
            return format!("key_{number}");
        }
        if next > MAX_ENTRIES {
            return "key".to_owned();
        }
        self.keys.insert(name.to_owned(), next);
        format!("key_{next}")
    }

    /// An address of the documentation ranges. There are 762 of IPv4; further ones meet.
    pub(super) fn address(&mut self, address: IpAddr) -> String {
        let next = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        let number = match self.addresses.get(&address) {
            Some(number) => *number,
            None if self.addresses.len() >= MAX_ENTRIES => 0,
            None => {
                self.addresses.insert(address, next);
                next
            }
        };
        match address {
            IpAddr::V4(_) => {
                const NETS: [[u8; 3]; 3] = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
                let [a, b, c] = NETS[(number / 254) as usize % NETS.len()];
                let host = u8::try_from(number % 254).unwrap_or_default() + 1;
                Ipv4Addr::new(a, b, c, host).to_string()
            }
            IpAddr::V6(_) => {
                let [high, low] = [number >> 16, number & 0xffff].map(|part| u16::try_from(part).unwrap_or_default());
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, high, low.wrapping_add(1)).to_string()
            }
        }
    }

    /// An e-mail address at example.com.
    pub(super) fn email(&self, text: &str) -> String {
        let mut stream = self.stream("email", &text.to_ascii_lowercase());
        let number: String = (0..5).map(|_| format!("{:02x}", stream.next_byte())).collect();
        format!("person-{number}@example.com")
    }

    /// A UUID, in the case of the original; two that differ in case only are the same.
    pub(super) fn uuid(&self, text: &str) -> String {
        let mut stream = self.stream("uuid", &text.to_ascii_lowercase());
        let is_upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
        let digits: &[u8; 16] = if is_upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        let digit = |c: char, stream: &mut Stream| match c {
            '-' => '-',
            _ => char::from(digits[usize::from(stream.next_byte() % 16)]),
        };
        text.chars().map(|c| digit(c, &mut stream)).collect()
    }

    /// An id of the same kind and length.
    pub(super) fn id(&mut self, text: &str) -> String {
        let prefix = PREFIXES.iter().find(|prefix| text.len() > prefix.len() && text.starts_with(**prefix));
        let prefix = prefix.copied().unwrap_or_default();
        let rest = &text[prefix.len()..];
        if rest.chars().count() >= LONG_ID {
            return format!("{prefix}{}", self.letters(text, rest, 0));
        }
        if let Some(known) = self.short.get(text) {
            return known.clone();
        }
        let mut found = String::new();
        for salt in 0..64 {
            // Where all of one length are taken, a longer one is not.
            let room = if salt < 32 { String::new() } else { "x".repeat(4) };
            found = format!("{prefix}{}", self.letters(text, &format!("{rest}{room}"), salt));
            if found != text && !self.taken.contains(&found) {
                break;
            }
        }
        if self.short.len() < MAX_ENTRIES {
            self.taken.insert(found.clone());
            self.short.insert(text.to_owned(), found.clone());
        }
        found
    }

    /// The same for an id that is a number.
    pub(super) fn number(&mut self, text: &str) -> u64 {
        let mut stream = self.stream("number", text);
        let digits = text.chars().filter(char::is_ascii_digit).count().clamp(1, 15);
        (0..digits).fold(0, |number, place| {
            let digit = stream.next_byte() % if place == 0 { 9 } else { 10 } + u8::from(place == 0);
            number * 10 + u64::from(digit)
        })
    }

    /// As many characters as in `shape`, from the whole `text`.
    fn letters(&self, text: &str, shape: &str, salt: u8) -> String {
        const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut stream = self.stream("id", text);
        stream.salt = salt;
        let letter = |c: char, stream: &mut Stream| match c {
            '-' | '_' | '.' => c,
            _ => char::from(ALPHABET[usize::from(stream.next_byte()) % ALPHABET.len()]),
        };
        shape.chars().take(MAX_ID).map(|c| letter(c, &mut stream)).collect()
    }

    fn stream(&self, kind: &str, text: &str) -> Stream {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(kind.as_bytes());
        hash.update([0]);
        hash.update(text.as_bytes());
        Stream { seed: hash.finalize().into(), salt: 0, block: [0; 32], at: 0, blocks: 0 }
    }
}

/// Bytes that depend on the secret and the text.
struct Stream {
    seed: [u8; 32],
    salt: u8,
    block: [u8; 32],
    at: usize,
    blocks: u32,
}

impl Stream {
    fn next_byte(&mut self) -> u8 {
        if self.at == 0 {
            let mut hash = Sha256::new();
            hash.update(self.seed);
            hash.update([self.salt]);
            hash.update(self.blocks.to_le_bytes());
            self.block = hash.finalize().into();
            self.blocks += 1;
        }
        let byte = self.block[self.at];
        self.at = (self.at + 1) % self.block.len();
        byte
    }
}
