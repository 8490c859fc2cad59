//! House rules that a machine can check: files open with their story and stay small, pure rooms stay pure, stages keep
//! their order, documents match the code, and nothing of the machine that builds gets in.
//!
//! Each failure names file and line, the rule, and what to do.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use authwatch::telemetry::metric::Metric;
use authwatch::telemetry::reference;

/// The most production lines of a file: what stands before its `#[cfg(test)]` module.
const MAX_LINES: usize = 500;

/// How every metric begins.
const PREFIX: &str = "authwatch_";

/// The words of the pipeline and its stages, in order: each may use those before it.
const PURE: [&str; 15] = [
    "event", "duration", "yaml", "input", "action", "decode", "classify", "policy", "attempt", "adoption", "window",
    "judge", "slo", "incident", "watch",
];

/// The words: what supports the edges may use these, and no stage.
const WORDS: [&str; 5] = ["event", "duration", "yaml", "input", "action"];

/// What an edge may use besides the pure rooms.
const SUPPORT: [&str; 6] = ["clock", "config", "fault", "http", "secret", "telemetry"];

/// Rooms that talk to the world. Only `app` and `cli` may join them.
const EDGES: [&str; 5] = ["source", "act", "store", "web", "sim"];

/// Uses across that order, each with its reason.
const EXCEPTIONS: [(&str, &str, &str); 3] = [
    ("store", "source", "a position is stored with the batch that moved it, and its type is the source's"),
    (
        "act",
        "store",
        "a worker takes its rows from the outbox and keeps its ledger there, so that a crash loses neither",
    ),
    ("config", "web", "the root holds the section `http`"),
];

/// What pure code must not touch, and what to use.
const IMPURE: [(&str, &str); 14] = [
    ("tokio", "return an action; the edge carries it out"),
    ("reqwest", "return an action; the edge carries it out"),
    ("std::fs", "the edge reads files and passes their content"),
    ("std::net", "the edge talks to the network"),
    ("std::env", "the configuration reads the environment"),
    ("std::time::Instant", "take `now` as an argument"),
    ("std::time::SystemTime", "take `now` as an argument"),
    ("SystemTime::", "take `now` as an argument"),
    ("Instant::now", "take `now` as an argument"),
    ("tracing::", "return the reason; the edge logs it"),
    ("println!", "return the value; the command line prints it"),
    ("print!", "return the value; the command line prints it"),
    ("rand::", "no chance in the core"),
    ("crate::clock", "take `now` as an argument"),
];

#[test]
fn every_file_opens_with_its_story() {
    no_findings(
        rust_files().into_iter().filter(|file| !file.text.starts_with("//!")).map(|file| {
            format!("{}:1: begin with `//!`: what the file is for, what it refuses, how it fails", file.name)
        }),
    );
}

#[test]
fn no_file_grows_past_its_bound() {
    no_findings(rust_files().into_iter().filter(|file| file.name.starts_with("src/")).filter_map(|file| {
        let lines = production(&file.text).lines().count();
        let why = "split it by reason to change";
        (lines > MAX_LINES).then(|| format!("{}: {lines} production lines, at most {MAX_LINES} ({why})", file.name))
    }));
}

#[test]
fn there_is_no_mod_rs() {
    // Below `tests` it is the only name that Cargo does not take for a test of its own.
    let sources = rust_files().into_iter().filter(|file| file.name.starts_with("src/"));
    no_findings(sources.filter(|file| file.name.ends_with("/mod.rs")).map(|file| {
        let folder = file.name.trim_end_matches("/mod.rs");
        format!("{}: move it to `{folder}.rs`", file.name)
    }));
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let forbidden = [concat!("#[", "allow("), concat!("#![", "allow(")];
    no_findings(
        rust_files()
            .into_iter()
            .flat_map(|file| matches(&file, &file.text, &forbidden, "use `#[expect(lint, reason = \"…\")]`")),
    );
}

#[test]
fn pure_rooms_touch_nothing_outside() {
    no_findings(
        rust_files().into_iter().filter(|file| room(&file.name).is_some_and(|room| PURE.contains(&room))).flat_map(
            |file| {
                let code = code(&file.text);
                let touched = IMPURE
                    .iter()
                    .flat_map(|(word, instead)| matches(&file, &code, &[word], instead))
                    .collect::<Vec<_>>();
                touched.into_iter().chain(hash_iteration(&file, &code))
            },
        ),
    );
}

#[test]
fn stages_use_only_what_comes_before_them_and_only_app_and_cli_join_edges() {
    no_findings(rust_files().into_iter().flat_map(|file| {
        let uses = room(&file.name).map(|from| (from, rooms_used(&code(&file.text))));
        let wrong = uses.into_iter().flat_map(|(from, uses)| {
            uses.into_iter().filter(move |(_, to)| !may_use(from, to)).map(move |(line, to)| (line, from, to))
        });
        let name = file.name.clone();
        wrong
            .map(move |(line, from, to)| format!("{name}:{line}: `{from}` must not use `{to}` ({})", order(from)))
            .collect::<Vec<_>>()
    }));
}

#[test]
fn every_exception_is_in_use() {
    let files = rust_files();
    let is_used = |from: &str, to: &str| {
        let mut in_room = files.iter().filter(|file| room(&file.name) == Some(from));
        in_room.any(|file| rooms_used(&code(&file.text)).iter().any(|(_, used)| used == to))
    };
    let stale = EXCEPTIONS.iter().filter(|(from, to, _)| !is_used(from, to));
    no_findings(stale.map(|(from, to, _)| format!("`{from}` does not use `{to}` any more: drop the exception")));
}

#[test]
fn the_metrics_page_is_generated_from_the_code() {
    let path = root().join("docs/metrics.md");
    let expect = reference::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expect).expect("docs/metrics.md is writable");
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    for metric in Metric::ALL {
        let name = metric.name();
        assert!(
            text.contains(&format!("| `{name}` |")),
            "docs/metrics.md lacks `{name}` (UPDATE_DOCS=1 cargo test --test tidy)"
        );
    }
    assert!(text == expect, "docs/metrics.md is not what the code says (UPDATE_DOCS=1 cargo test --test tidy)");
}

#[test]
fn dashboards_and_documents_name_only_metrics_that_exist() {
    let files = tree().into_iter().filter(|file| file.name.starts_with("dashboards/") || file.name.ends_with(".md"));
    no_findings(files.flat_map(|file| {
        let unknown = words(&file.text)
            .filter(|(_, word)| word.len() > PREFIX.len() && word.starts_with(PREFIX) && !is_metric(word));
        let name = file.name.clone();
        unknown.map(move |(line, word)| format!("{name}:{line}: there is no metric `{word}`")).collect::<Vec<_>>()
    }));
}

#[test]
fn decisions_are_numbered_without_a_gap() {
    let mut names: Vec<String> = tree()
        .into_iter()
        .filter_map(|file| file.name.strip_prefix("docs/decisions/").map(str::to_owned))
        .filter(|name| name != "README.md")
        .collect();
    names.sort();
    no_findings(names.iter().zip(1..).filter_map(|(name, number)| {
        let right = name.starts_with(&format!("{number:04}-")) && name.ends_with(".md");
        (!right).then(|| format!("docs/decisions/{name}: expected `{number:04}-what-was-decided.md` here"))
    }));
}

#[test]
fn nothing_of_the_building_machine_gets_in() {
    // Split, so that this file does not find itself.
    let forbidden = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("crates", ".io"),
        concat!("registry", ".npmjs"),
        concat!("pypi", ".org"),
        concat!("proxy.golang", ".org"),
        concat!("deb.debian", ".org"),
    ];
    no_findings(
        tree()
            .into_iter()
            .filter(|file| !file.name.ends_with("Cargo.lock"))
            .flat_map(|file| matches(&file, &file.text, &forbidden, "name no path and no registry of a machine")),
    );
}

#[test]
fn the_rules_here_find_what_they_look_for() {
    let file = |text: &str| File { name: "src/window/ring.rs".to_owned(), text: text.to_owned() };
    assert_eq!(room("src/window/ring.rs"), Some("window"));
    assert_eq!(room("src/judge.rs"), Some("judge"));
    assert_eq!(room("src/lib.rs"), None);
    assert_eq!(
        rooms_used("use crate::{event::Org, judge::{Verdict, spike}};\ncrate::window::Ring"),
        [(1, "event".to_owned()), (1, "judge".to_owned()), (2, "window".to_owned())]
    );
    assert_eq!(
        rooms_used("use crate::{\n    action,\n    input::Input,\n};"),
        [(1, "action".to_owned()), (1, "input".to_owned())]
    );
    for (from, to, expect) in [
        ("judge", "window", true),
        ("window", "judge", false),
        ("watch", "incident", true),
        ("judge", "telemetry", false),
        ("source", "decode", true),
        ("source", "act", false),
        ("classify", "yaml", true),
        ("classify", "config", false),
        ("yaml", "config", false),
        ("config", "yaml", true),
        ("secret", "decode", false),
        ("store", "source", true),
        ("app", "act", true),
        ("decode", "clock", false),
        ("telemetry", "event", true),
        ("telemetry", "web", false),
        ("source", "watch", false),
        ("cli", "app", true),
        ("source", "app", false),
    ] {
        assert_eq!(may_use(from, to), expect, "{from} uses {to}");
    }
    let impure = "fn a() {\n    tracing::info!(\"x\"); // tokio\n}\n#[cfg(test)]\nmod tests { use tokio::x; }\n";
    assert_eq!(code(impure).trim_end(), "fn a() {\n    tracing::info!(\"x\"); \n}");
    for (text, found) in [
        ("seen: HashMap<u8, u8>,\nfor x in &self.seen {", 1),
        ("let mut seen = HashSet::new();\nfor x in seen {", 1),
        ("seen: HashSet<u8>,\nself.seen.into_iter()", 1),
        ("seen: HashMap<u8, u8>,\nself.seen.get(&1)", 0),
        ("seen: BTreeMap<u8, u8>,\nfor x in &self.seen {", 0),
    ] {
        assert_eq!(hash_iteration(&file(text), text).len(), found, "{text}");
    }
    assert!(is_metric("authwatch_events_total") && is_metric("authwatch_store_commit_duration_seconds_bucket"));
    assert!(!is_metric("authwatch_events") && !is_metric("authwatch_events_total_bucket"));
}

/// One file of the tree, by its path from the root.
struct File {
    name: String,
    text: String,
}

#[track_caller]
fn no_findings(findings: impl Iterator<Item = String>) {
    let findings: Vec<String> = findings.collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> Vec<File> {
    let files: Vec<File> = tree().into_iter().filter(|file| file.name.ends_with(".rs")).collect();
    assert!(files.iter().any(|file| file.name == "src/lib.rs"), "the source is not found");
    files
}

/// Every text file, without what git ignores (`.gitignore` names folders and endings only) and test data.
fn tree() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("a readable folder").map(|entry| entry.expect("an entry").path());
        for path in entries {
            if skipped(&path) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
                files.push(File { name, text });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn skipped(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // Git's own, build output, and recorded data: none is written by hand.
    matches!(name, ".git" | "target" | "corpus" | "artifacts" | "proptest-regressions")
}

/// What stands before the test module.
fn production(text: &str) -> &str {
    text.split("\n#[cfg(test)]\n").next().unwrap_or(text)
}

/// Production code without comments; line numbers stay. A `//` inside a string cuts its line, which hides at most
/// the rest of that line.
fn code(text: &str) -> String {
    production(text)
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// The room of a source file: the folder or file below `src`.
fn room(name: &str) -> Option<&str> {
    let below = name.strip_prefix("src/")?;
    let room = below.split('/').next()?.trim_end_matches(".rs");
    (!matches!(room, "lib" | "main")).then_some(room)
}

fn may_use(from: &str, to: &str) -> bool {
    if from == to || EXCEPTIONS.iter().any(|(exempt, used, _)| (*exempt, *used) == (from, to)) {
        return true;
    }
    let place = |room: &str| PURE.iter().position(|pure| *pure == room);
    match place(from) {
        Some(from) => place(to).is_some_and(|to| to < from),
        None if EDGES.contains(&from) => (place(to).is_some() && to != "watch") || SUPPORT.contains(&to),
        None if SUPPORT.contains(&from) => WORDS.contains(&to) || SUPPORT.contains(&to),
        None => true,
    }
}

fn order(room: &str) -> String {
    if PURE.contains(&room) {
        return format!("a stage uses the stages before it: {}", PURE.join(", "));
    }
    format!("an edge uses pure rooms but `watch`, and {}; only `app` and `cli` join edges", SUPPORT.join(", "))
}

/// The rooms named after `crate::`, with the line of the `crate::`.
fn rooms_used(code: &str) -> Vec<(usize, String)> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(group_heads(group).into_iter().map(|head| (line, head))),
            None => rooms.extend(head(rest).map(|head| (line, head))),
        }
    }
    rooms
}

/// The first word of each item of a `use` group, at its own level.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut item) = (0, String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.extend(head(std::mem::take(&mut item).trim())),
            other => item.push(other),
        }
    }
    heads.extend(head(item.trim()));
    heads
}

fn head(path: &str) -> Option<String> {
    let word: String = path.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

fn matches(file: &File, text: &str, forbidden: &[&str], instead: &str) -> Vec<String> {
    let lines = text.lines().zip(1..);
    let found = lines.flat_map(|(line, number)| {
        forbidden.iter().filter(|word| holds(line, word)).map(move |word| (number, *word)).collect::<Vec<_>>()
    });
    found.map(|(number, word)| format!("{}:{number}: `{word}` ({instead})", file.name)).collect()
}

/// Whether the line holds the word, not as the end of a longer one.
fn holds(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !word.starts_with(|c: char| c.is_ascii_alphabetic())
            || before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_')
    })
}

/// Loops over hash maps and sets, which clippy does not see where they hide behind `for`.
fn hash_iteration(file: &File, code: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for name in hash_names(code) {
        let loops = ["", "&", "&mut ", "self.", "&self.", "&mut self."].map(|prefix| format!("in {prefix}{name} {{"));
        let calls = ["into_iter()", "iter_mut()", "values_mut()", "into_keys()", "into_values()"]
            .map(|call| format!("{name}.{call}"));
        let patterns: Vec<&str> = loops.iter().chain(&calls).map(String::as_str).collect();
        findings.extend(matches(file, code, &patterns, "its order is random; use a BTreeMap or sort"));
    }
    findings
}

/// Names of fields and variables whose type is a hash map or set.
fn hash_names(code: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in code.lines() {
        for kind in ["HashMap", "HashSet"] {
            for (at, _) in line.match_indices(kind) {
                let before = line[..at].trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '&' | ':' | '='));
                let before = before
                    .trim_end_matches("std::collections")
                    .trim_end_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '='));
                let name: String =
                    before.chars().rev().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let name: String = name.chars().rev().collect();
                if !name.is_empty() && name != "use" && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    names
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().zip(1..).flat_map(|(line, number)| {
        let parts = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        parts.map(move |word| (number, word))
    })
}

/// A metric's name, or a histogram's with its suffix.
fn is_metric(word: &str) -> bool {
    Metric::ALL.iter().any(|metric| {
        let suffix = word.strip_prefix(metric.name());
        suffix.is_some_and(|suffix| match metric.kind().as_str() {
            "histogram" => matches!(suffix, "" | "_bucket" | "_sum" | "_count"),
            _ => suffix.is_empty(),
        })
    })
}
