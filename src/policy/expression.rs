//! The part of Okta's Expression Language that rules use for devices and risk, in three-valued logic.
//!
//! Read: `device.provider.<vendor>.<signal>`, the attributes of `device.profile` that events hold,
//! `device.assurance.screenLockType` and `security.risk.level`, compared with a literal by `== != < <= > >=` or their
//! words, joined by `&& || !`, `AND OR NOT` and parentheses. Anything else is unknown; what is not even understood makes
//! the whole expression unknown. What is not about the device (the person, the risk, the platform) is kept apart: a rule
//! that is for somebody else does not blame a device. A `!` is carried down to the comparisons, so that every check says
//! what must hold. Source: Okta's pages on the language in Identity Engine and its attributes for devices and EDR.

use smol_str::{SmolStr, format_smolstr};

use super::assurance::{Context, unreadable, yes_or_no};
use super::integrators::Signal;
use super::logic::{and, known, or};
use crate::event::{Check, CheckVerdict, Platform, PostureCheck, Risk};

/// Parentheses and negations within each other.
const DEPTH: u32 = 32;

/// How an expression came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    /// Whether what is not about the device holds.
    pub(super) request: CheckVerdict,
    /// Whether the device meets what is asked of it.
    pub(super) device: CheckVerdict,
    /// The comparisons with the device that matter; none where the request fails already.
    pub(super) checks: Vec<Check>,
    /// Whether it asks anything of the device.
    pub(super) asks_device: bool,
}

/// Reads an expression against one sign-in.
pub(super) fn evaluate(text: &str, context: &Context<'_>, risk: Option<Risk>) -> Reading {
    let mut parser = Parser { rest: text, context, risk, asks_device: false };
    let node = parser.any(false, 0).filter(|_| parser.rest.trim().is_empty());
    let unread = Node { request: CheckVerdict::Unknown, device: CheckVerdict::Unknown, checks: Vec::new() };
    let Node { request, device, checks } = node.unwrap_or(unread);
    // What is not understood may ask for the device all the same.
    let asks_device = parser.asks_device || text.contains("device.");
    Reading { request, device, checks, asks_device }
}

/// A part of an expression that has been read.
struct Node {
    request: CheckVerdict,
    device: CheckVerdict,
    checks: Vec<Check>,
}

impl Node {
    /// A part that is not about the device.
    fn bare(request: CheckVerdict) -> Self {
        Self { request, device: CheckVerdict::Pass, checks: Vec::new() }
    }

    fn verdict(&self) -> CheckVerdict {
        and(self.request, self.device)
    }

    fn and(mut self, other: Self) -> Self {
        let request = and(self.request, other.request);
        self.checks.extend(other.checks);
        if request == CheckVerdict::Fail {
            self.checks.clear();
        }
        Self { request, device: and(self.device, other.device), checks: self.checks }
    }

    /// A failing alternative says nothing where another one holds or may hold.
    fn or(mut self, mut other: Self) -> Self {
        let verdict = or(self.verdict(), other.verdict());
        if self.checks.is_empty() && other.checks.is_empty() {
            return Self::bare(verdict);
        }
        for side in [&mut self, &mut other] {
            match verdict {
                CheckVerdict::Pass if side.verdict() != CheckVerdict::Pass => side.checks.clear(),
                CheckVerdict::Unknown => {
                    for check in side.checks.iter_mut().filter(|check| check.result == CheckVerdict::Fail) {
                        check.result = CheckVerdict::Unknown;
                    }
                }
                CheckVerdict::Pass | CheckVerdict::Fail => {}
            }
        }
        self.checks.extend(other.checks);
        Self { request: CheckVerdict::Pass, device: verdict, checks: self.checks }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Op {
    const SIGNS: [(&'static str, Self); 6] =
        [("==", Self::Eq), ("!=", Self::Ne), ("<=", Self::Le), (">=", Self::Ge), ("<", Self::Lt), (">", Self::Gt)];
    const WORDS: [(&'static str, Self); 6] =
        [("eq", Self::Eq), ("ne", Self::Ne), ("le", Self::Le), ("ge", Self::Ge), ("lt", Self::Lt), ("gt", Self::Gt)];

    /// The opposite.
    const fn not(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Ge,
            Self::Le => Self::Gt,
            Self::Gt => Self::Le,
            Self::Ge => Self::Lt,
        }
    }

    /// The same with the sides swapped.
    const fn flipped(self) -> Self {
        match self {
            Self::Eq | Self::Ne => self,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    /// Whether it holds for two numbers.
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Eq => a == b,
            Self::Ne => a != b,
            Self::Lt => a < b,
            Self::Le => a <= b,
            Self::Gt => a > b,
            Self::Ge => a >= b,
        }
    }

    /// How a check writes it; equality goes without saying.
    const fn sign(self) -> &'static str {
        match self {
            Self::Eq => "",
            Self::Ne => "!= ",
            Self::Lt => "< ",
            Self::Le => "<= ",
            Self::Gt => "> ",
            Self::Ge => ">= ",
        }
    }
}

/// One side of a comparison.
#[derive(Clone, Copy)]
enum Operand<'e> {
    /// An attribute.
    Path(&'e str),
    /// A text.
    Text(&'e str),
    /// A number as written.
    Number(&'e str),
    /// True or false.
    Flag(bool),
    /// Nothing.
    Null,
    /// A call, a list: stepped over.
    Opaque,
}

struct Parser<'e, 'c> {
    rest: &'e str,
    context: &'c Context<'c>,
    risk: Option<Risk>,
    asks_device: bool,
}

impl<'e> Parser<'e, '_> {
    fn any(&mut self, negated: bool, depth: u32) -> Option<Node> {
        let mut node = self.all(negated, depth)?;
        while self.eat("||") || self.eat_word("or") {
            let other = self.all(negated, depth)?;
            node = if negated { node.and(other) } else { node.or(other) };
        }
        Some(node)
    }

    fn all(&mut self, negated: bool, depth: u32) -> Option<Node> {
        let mut node = self.one(negated, depth)?;
        while self.eat("&&") || self.eat_word("and") {
            let other = self.one(negated, depth)?;
            node = if negated { node.or(other) } else { node.and(other) };
        }
        Some(node)
    }

    fn one(&mut self, negated: bool, depth: u32) -> Option<Node> {
        if depth >= DEPTH {
            return None;
        }
        if self.eat("!") || self.eat_word("not") {
            return self.one(!negated, depth + 1);
        }
        if self.eat("(") {
            let node = self.any(negated, depth + 1)?;
            return self.eat(")").then_some(node);
        }
        self.comparison(negated)
    }

    fn comparison(&mut self, negated: bool) -> Option<Node> {
        let left = self.operand()?;
        let Some(op) = self.op() else {
            let op = if negated { Op::Ne } else { Op::Eq };
            return Some(match left {
                Operand::Flag(flag) => Node::bare(known(Some(flag != negated))),
                left => self.compare(left, op, Operand::Flag(true)),
            });
        };
        let right = self.operand()?;
        let op = if negated { op.not() } else { op };
        Some(match (left, right) {
            (Operand::Path(_) | Operand::Opaque, _) => self.compare(left, op, right),
            (_, right) => self.compare(right, op.flipped(), left),
        })
    }

    fn compare(&mut self, attribute: Operand<'e>, op: Op, literal: Operand<'e>) -> Node {
        for operand in [attribute, literal] {
            if let Operand::Opaque = operand {
                return Node::bare(CheckVerdict::Unknown);
            }
        }
        let (Operand::Path(path), false) = (attribute, matches!(literal, Operand::Path(_))) else {
            return Node::bare(CheckVerdict::Unknown);
        };
        if path == "security.risk.level" {
            let level = self.risk.map(|risk| SmolStr::new(risk.as_str().to_ascii_uppercase()));
            return Node::bare(known(level.and_then(|level| holds(&level, op, literal))));
        }
        if path == "device.profile.platform" {
            let platform = platform(self.context.platform);
            return Node::bare(known(platform.and_then(|platform| holds(platform, op, literal))));
        }
        let Some(node) = self.device(path, op, literal) else {
            return Node::bare(CheckVerdict::Unknown);
        };
        self.asks_device = true;
        node
    }

    fn device(&self, path: &str, op: Op, literal: Operand<'e>) -> Option<Node> {
        let signals = self.context.signals;
        let flag = |read: fn(&crate::event::DeviceSignals) -> Option<bool>| {
            signals.and_then(read).map_or(Signal::Absent, |flag| Signal::Value(yes_or_no(flag)))
        };
        let (what, detail, signal) = match path {
            "device.profile.registered" => {
                (PostureCheck::NotRegistered, "required", flag(|signals| signals.registered))
            }
            "device.profile.managed" => (PostureCheck::NotManaged, "required", flag(|signals| signals.managed)),
            "device.profile.secureHardwarePresent" => {
                (PostureCheck::SecureHardware, "present", flag(|signals| signals.secure_hardware))
            }
            "device.profile.integrityJailbreak" => {
                (PostureCheck::Jailbreak, "not_allowed", flag(|signals| signals.jailbreak))
            }
            "device.profile.diskEncryptionType" => {
                let value = signals.and_then(|signals| signals.disk_encryption.as_deref());
                (PostureCheck::DiskEncryption, "any_of", value.map_or(Signal::Absent, Signal::Value))
            }
            "device.assurance.screenLockType" => {
                let value = signals.and_then(|signals| signals.screen_lock.as_deref());
                (PostureCheck::ScreenLock, "any_of", value.map_or(Signal::Absent, Signal::Value))
            }
            _ => {
                let (vendor, member) = path.strip_prefix("device.provider.")?.split_once('.')?;
                let what = vendor_check(vendor)?;
                (what, member, self.context.signal(what, member))
            }
        };
        let required = required(op, literal);
        if matches!(what, PostureCheck::NotManaged | PostureCheck::NotRegistered) && required == "false" {
            // A rule for devices that are none of the company's: one that is has done nothing wrong.
            let is_so = match signal {
                Signal::Value(value) => Some(value == yes_or_no(false)),
                Signal::Absent | Signal::Unreadable(_) => None,
            };
            return Some(Node::bare(known(is_so)));
        }
        let check = |actual: Option<&str>, result| Node {
            request: CheckVerdict::Pass,
            device: result,
            checks: vec![Check {
                check: what,
                detail: SmolStr::new(detail),
                required: required.clone(),
                actual: actual.map(SmolStr::new),
                result,
            }],
        };
        Some(match signal {
            Signal::Absent => check(None, CheckVerdict::Unknown),
            // Nothing is unlike everything: that a text which was not read differs is no finding.
            Signal::Unreadable(text) if op == Op::Ne => check(Some(text), CheckVerdict::Unknown),
            Signal::Unreadable(text) => {
                let checks = vec![unreadable(what, detail, required, text)];
                Node { request: CheckVerdict::Pass, device: CheckVerdict::Fail, checks }
            }
            Signal::Value(value) => check(Some(value), known(holds(value, op, literal))),
        })
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, sign: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(sign) {
            // `!=` is no negation.
            Some(rest) if sign != "!" || !rest.starts_with('=') => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// A word of the language in any case, not the beginning of a longer name.
    fn eat_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let is_word = self.rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let ends = self.rest.get(word.len()..).is_some_and(|rest| !rest.starts_with(is_name));
        if is_word && ends {
            self.rest = self.rest.get(word.len()..).unwrap_or_default();
        }
        is_word && ends
    }

    fn op(&mut self) -> Option<Op> {
        let signs = Op::SIGNS.into_iter().find(|(sign, _)| self.eat(sign));
        signs.or_else(|| Op::WORDS.into_iter().find(|(word, _)| self.eat_word(word))).map(|(_, op)| op)
    }

    fn operand(&mut self) -> Option<Operand<'e>> {
        self.skip_space();
        let text = self.rest;
        let first = text.chars().next()?;
        match first {
            '\'' | '"' => {
                let end = text.get(1..)?.find(first)?;
                self.rest = text.get(end + 2..)?;
                // A doubled quote stands for one inside the text: not worth reading.
                (!self.rest.starts_with(first)).then(|| text.get(1..=end).map(Operand::Text))?
            }
            '0'..='9' | '-' => {
                let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-')).unwrap_or(text.len());
                let (number, rest) = text.split_at(end);
                self.rest = rest;
                number.parse::<f64>().ok().map(|_| Operand::Number(number))
            }
            '{' => {
                self.skip_brackets()?;
                Some(Operand::Opaque)
            }
            c if is_name(c) => self.name(text),
            _ => None,
        }
    }

    /// A name with dots; a call or an index makes it opaque.
    fn name(&mut self, text: &'e str) -> Option<Operand<'e>> {
        let end = text.find(|c: char| !is_name(c) && c != '.' && c != '?').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        self.rest = rest;
        if self.rest.starts_with(['(', '[', '{']) {
            while self.rest.starts_with(['(', '[', '{', '.', '?']) {
                if self.rest.starts_with(['.', '?']) {
                    let end = self.rest.find(|c: char| !is_name(c) && c != '.' && c != '?');
                    self.rest = end.and_then(|end| self.rest.get(end..)).unwrap_or_default();
                } else {
                    self.skip_brackets()?;
                }
            }
            return Some(Operand::Opaque);
        }
        Some(match name {
            "true" => Operand::Flag(true),
            "false" => Operand::Flag(false),
            "null" => Operand::Null,
            name => Operand::Path(name),
        })
    }

    /// Over a bracket and what it holds, to the one that closes it.
    fn skip_brackets(&mut self) -> Option<()> {
        let (mut depth, mut quote) = (0_u32, None);
        for (at, c) in self.rest.char_indices() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, '(' | '[' | '{') => depth += 1,
                (None, ')' | ']' | '}') => depth = depth.checked_sub(1)?,
                (None, _) => {}
            }
            if depth == 0 && quote.is_none() {
                self.rest = self.rest.get(at + c.len_utf8()..)?;
                return Some(());
            }
        }
        None
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

fn vendor_check(vendor: &str) -> Option<PostureCheck> {
    Some(match vendor {
        "zta" => PostureCheck::Crowdstrike,
        "wsc" => PostureCheck::WindowsSecurityCenter,
        "azt" => PostureCheck::AndroidZeroTrust,
        "dtc" => PostureCheck::ChromeDeviceTrust,
        _ => return None,
    })
}

/// The language's word for a platform; `None` where it has none or nothing is known.
fn platform(platform: Platform) -> Option<&'static str> {
    Some(match platform {
        Platform::Macos => "MACOS",
        Platform::Windows => "WINDOWS",
        Platform::Ios => "IOS",
        Platform::Android => "ANDROID",
        Platform::Chromeos => "CHROMEOS",
        Platform::Linux => "DESKTOP_OTHER",
        Platform::Other | Platform::Unknown => return None,
    })
}

/// Whether a value stands to a literal as asked; `None` where they do not compare.
fn holds(value: &str, op: Op, literal: Operand<'_>) -> Option<bool> {
    match literal {
        Operand::Number(number) => Some(op.holds(value.parse().ok()?, number.parse().ok()?)),
        Operand::Text(text) => same(op, value == text),
        Operand::Flag(flag) => match value {
            "true" | "false" => same(op, (value == "true") == flag),
            _ => None,
        },
        Operand::Null => same(op, false),
        Operand::Path(_) | Operand::Opaque => None,
    }
}

const fn same(op: Op, is_same: bool) -> Option<bool> {
    match op {
        Op::Eq => Some(is_same),
        Op::Ne => Some(!is_same),
        Op::Lt | Op::Le | Op::Gt | Op::Ge => None,
    }
}

fn required(op: Op, literal: Operand<'_>) -> SmolStr {
    let word = match literal {
        Operand::Text(text) | Operand::Number(text) | Operand::Path(text) => text,
        Operand::Flag(flag) => yes_or_no(if op == Op::Ne { !flag } else { flag }),
        Operand::Null | Operand::Opaque => "null",
    };
    match (op, literal) {
        (Op::Eq, _) | (Op::Ne, Operand::Flag(_)) => SmolStr::new(word),
        (op, _) => format_smolstr!("{}{word}", op.sign()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::DeviceSignals;
    use crate::input::Releases;
    use CheckVerdict::{Fail, Pass, Unknown};

    const SIGNALS: &str = r#"{"CROWDSTRIKE":{"overall":45,"os":90},"WSC":"genericError(TIMEOUT)"}"#;

    fn read(text: &str) -> Reading {
        let device = DeviceSignals {
            managed: Some(true),
            registered: Some(true),
            disk_encryption: Some("FULL".into()),
            integrators: Some(SIGNALS.into()),
            ..DeviceSignals::default()
        };
        let releases = Releases::default();
        evaluate(text, &Context::new(Platform::Macos, Some(&device), &releases), Some(Risk::Low))
    }

    #[track_caller]
    fn check(text: &str, verdict: CheckVerdict, checks: &[&str]) {
        let reading = read(text);
        let found: Vec<String> = reading
            .checks
            .iter()
            .map(|check| {
                let actual = check.actual.as_deref().unwrap_or("-");
                format!("{}/{} [{}] {actual} {}", check.check, check.detail, check.required, check.result)
            })
            .collect();
        let found = (and(reading.request, reading.device), found);
        assert_eq!(found, (verdict, checks.iter().map(|row| (*row).to_owned()).collect()), "{text}");
    }

    #[test]
    fn comparisons_become_checks() {
        check("device.provider.zta.overall >= 60", Fail, &["crowdstrike/overall [>= 60] 45 fail"]);
        check("60 <= device.provider.zta.os", Pass, &["crowdstrike/os [>= 60] 90 pass"]);
        check("device.provider.zta.os gt 89.5", Pass, &["crowdstrike/os [> 89.5] 90 pass"]);
        check("device.provider.zta.sensorConfig == 1", Unknown, &["crowdstrike/sensorConfig [1] - unknown"]);
        check("device.profile.managed", Pass, &["not_managed/required [true] true pass"]);
        check("device.profile.registered == false", Fail, &[]);
        check("!device.profile.managed", Fail, &[]);
        check("device.profile.diskEncryptionType != 'NONE'", Pass, &["disk_encryption/any_of [!= NONE] FULL pass"]);
        check(
            "device.provider.wsc.fireWall == \"GOOD\"",
            Fail,
            &["signal_unreadable/windows_security_center.fireWall [GOOD] genericError(TIMEOUT) fail"],
        );
        check(
            "device.provider.wsc.fireWall != 'POOR'",
            Unknown,
            &["windows_security_center/fireWall [!= POOR] genericError(TIMEOUT) unknown"],
        );
        check("security.risk.level == 'LOW'", Pass, &[]);
        check("security.risk.level == 'HIGH' || device.profile.platform == 'IOS'", Fail, &[]);
    }

    #[test]
    fn a_negation_is_carried_down() {
        check("!(device.provider.zta.overall < 60)", Fail, &["crowdstrike/overall [>= 60] 45 fail"]);
        check(
            "NOT (device.provider.zta.overall < 60 OR device.profile.managed == false)",
            Fail,
            &["crowdstrike/overall [>= 60] 45 fail", "not_managed/required [true] true pass"],
        );
        check("!!device.profile.managed", Pass, &["not_managed/required [true] true pass"]);
        check("!true", Fail, &[]);
    }

    #[test]
    fn an_alternative_that_fails_matters_only_where_all_fail() {
        let low = "device.provider.zta.overall >= 60";
        check(&format!("{low} || device.profile.managed"), Pass, &["not_managed/required [true] true pass"]);
        check(
            &format!("{low} || device.provider.zta.x == 1"),
            Unknown,
            &["crowdstrike/overall [>= 60] 45 unknown", "crowdstrike/x [1] - unknown"],
        );
        check(
            &format!("({low} or !device.profile.managed) and security.risk.level == 'LOW'"),
            Fail,
            &["crowdstrike/overall [>= 60] 45 fail"],
        );
    }

    #[test]
    fn what_is_not_about_the_device_blames_no_device() {
        let low = "device.provider.zta.overall >= 60";
        for (text, request, device, checks) in [
            (format!("security.risk.level == 'HIGH' && {low}"), Fail, Fail, 0),
            (format!("{low} && device.profile.platform == 'WINDOWS'"), Fail, Fail, 0),
            (format!("user.profile.department == 'IT' && {low}"), Unknown, Fail, 1),
            (format!("security.risk.level == 'LOW' && {low}"), Pass, Fail, 1),
            (format!("security.risk.level == 'LOW' || {low}"), Pass, Pass, 0),
            (format!("device.profile.managed == false && {low}"), Fail, Fail, 0),
        ] {
            let reading = read(&text);
            let found = (reading.request, reading.device, reading.checks.len());
            assert_eq!(found, (request, device, checks), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_unknown() {
        for (text, request, device) in [
            ("user.isMemberOf({'group.id': '00g1)('})", Unknown, Pass),
            ("device.provider.oktaVerify.version.versionGreaterThan('9.4') == true", Unknown, Pass),
            ("device.provider.zta.csSerialNumber == device.profile.serialNumber", Unknown, Pass),
            ("device.profile.managed ? true : false", Unknown, Unknown),
            ("", Unknown, Unknown),
            ("device.profile.managed &&", Unknown, Unknown),
            ("'open", Unknown, Unknown),
            ("'it''s' == device.profile.name", Unknown, Unknown),
            ("\u{e9} == 1", Unknown, Unknown),
        ] {
            let reading = read(text);
            assert_eq!((reading.request, reading.device), (request, device), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(read(&"(".repeat(100_000)).device, Unknown);
        assert_eq!(read(&format!("{}true", "!".repeat(100_000))).device, Unknown);
        assert_eq!(read(&format!("{}true{}", "(".repeat(20), ")".repeat(20))).request, Pass);
    }
}
