//! The configuration as an operator meets it: what is accepted, and what is said of what is not.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use authwatch::act;
use authwatch::app::parts::Parts;
use authwatch::config::{Config, Environment};
use authwatch::event::{Org, Person, SourceName, Span};
use authwatch::input::{CoreConfig, PolicySource};
use authwatch::secret::SecretRef;
use authwatch::yaml::section;
use serde::Deserialize;

fn parse(yaml: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment: Environment = environment.iter().copied().collect();
    Config::parse(yaml, Path::new("a.yaml"), &environment).map_err(|error| error.to_string())
}

#[track_caller]
fn accepted(yaml: &str) -> Config {
    parse(yaml, &[]).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// Each case: what is wrong, and what is said.
#[track_caller]
fn refused(cases: &[(&str, &str)]) {
    for (yaml, expect) in cases {
        match parse(yaml, &[]) {
            Ok(_) => panic!("accepted:\n{yaml}"),
            Err(error) => assert_eq!(&error, expect, "{yaml}"),
        }
    }
}

#[test]
fn an_org_is_enough_and_everything_else_has_its_default() {
    let config = accepted("org: acme\n");
    assert_eq!(config.org, Org::new("acme"));
    assert_eq!(config.state_dir, Path::new("/var/lib/authwatch"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.log.level.to_string(), "info");
    assert_eq!((config.rules, config.http.token), (None, None));
    assert_eq!(config.warnings, []);
    let config = accepted("org: acme\n");
    assert_eq!(config.core(&BTreeMap::new()), CoreConfig::default());
}

#[test]
fn the_shipped_example_is_valid_and_shows_the_defaults() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/authwatch.example.yaml"));
    let example = Config::load(path, &Environment::default()).expect("the example");
    let default = accepted("org: acme\n");
    assert_eq!(example.warnings, []);
    assert_eq!(example.sources.iter().map(|source| source.kind).collect::<Vec<_>>(), ["okta"]);
    assert_eq!(example.sinks.iter().map(|sink| sink.kind).collect::<Vec<_>>(), ["servicenow"]);
    let parts = Parts::of(&example).expect("the example's parts");
    assert_eq!(parts.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["okta:acme"]);
    assert_eq!(parts.sinks.iter().map(act::Config::name).collect::<Vec<_>>(), ["servicenow"]);
    assert_eq!(parts.warnings, []);
    let missing: Vec<String> = parts.missing(&|_| None).iter().map(|warning| warning.text.clone()).collect();
    for (text, name) in missing.iter().zip(["`OKTA_API_TOKEN`", "`SN_USER`", "`SN_PASSWORD`"]) {
        assert!(text.contains(name), "{text}");
    }
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert_eq!(example.people.cohorts[0].users.len(), 2);
    assert_eq!(example.core(&BTreeMap::new()), default.core(&BTreeMap::new()));
    assert_eq!(
        (&example.state_dir, example.listen, &example.log, example.shutdown_grace),
        (&default.state_dir, default.listen, &default.log, default.shutdown_grace)
    );
}

/// Keys of sources and sinks stand six spaces deep in the example.
#[test]
fn the_optional_keys_of_the_example_are_real_and_show_their_defaults() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/authwatch.example.yaml"));
    let text = std::fs::read_to_string(path).expect("the example");
    let switched_on = text.replace("\n      # ", "\n      ");
    let parts = |text: &str| {
        let config = Config::parse(text, path, &Environment::default()).expect("valid");
        Parts::of(&config).unwrap_or_else(|error| panic!("{error}"))
    };
    let (plain, full) = (parts(&text), parts(&switched_on));
    let mut sources = full.sources;
    for source in &mut sources {
        match &mut source.config {
            authwatch::source::Config::Okta(okta) => assert_eq!(okta.org.take().as_deref(), Some("acme")),
            authwatch::source::Config::File(_) => panic!("the example reads no file"),
        }
    }
    assert_eq!((sources, full.sinks), (plain.sources, plain.sinks));
}

/// The keys of a section, from what is said of an unknown one.
fn keys<T: serde::de::DeserializeOwned + std::fmt::Debug>(yaml: &str) -> Vec<String> {
    let error = authwatch::yaml::read::<T>(yaml, Path::new("a.yaml")).expect_err("an unknown key").to_string();
    let (_, expected) = error.split_once("(expected one of ").unwrap_or_else(|| panic!("{error}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_documents_name_every_key_of_sources_and_sinks() {
    let read = |name: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).expect("a document")
    };
    let (page, example) = (read("configuration.md"), read("authwatch.example.yaml"));
    let okta = keys::<authwatch::source::Config>("okta: { zzzzzzzz: 1 }");
    let servicenow = keys::<act::Config>("servicenow: { zzzzzzzz: 1 }");
    assert!(okta.len() >= 10 && servicenow.len() >= 17, "{okta:?} {servicenow:?}");
    for key in okta.iter().chain(&servicenow) {
        assert!(page.contains(&format!("`{key}`")), "docs/configuration.md lacks `{key}`");
        assert!(example.contains(&format!(" {key}: ")), "docs/authwatch.example.yaml lacks `{key}`");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_key() {
    refused(&[
        ("org: a\nlisen: x\n", "a.yaml:2:1: unknown key `lisen` (did you mean `listen`?)"),
        ("org: a\njudge:\n  min_poeple: 5\n", "a.yaml:3:3: unknown key `min_poeple` (did you mean `min_people`?)"),
        (
            "org: a\nlog: { level: info, colour: no }\n",
            "a.yaml:2:21: unknown key `colour` (expected one of `format`, `level`)",
        ),
        ("org: a\nsinks:\n  - service_now: {}\n", "a.yaml:3:5: unknown key `service_now` (did you mean `servicenow`?)"),
        ("org: a\ncohorts: { pilot: { user: [] } }\n", "a.yaml:2:21: unknown word `user` (did you mean `users`?)"),
        ("org: a\norgs: { b: { cohort: {} } }\n", "a.yaml:2:14: unknown key `cohort` (did you mean `cohorts`?)"),
        (
            "org: a\n<<: { b: 1 }\n",
            "a.yaml:2:1: unknown key `<<` (expected one of `org`, `state_dir`, `listen`, `rules`, \
            `sources`, `sinks`, `cohorts`, `break_glass`, `policies`, `orgs`, `proxies`, `http`, `judge`, `incidents`, `lateness`, \
            `limits`, `log`, `shutdown_grace`)",
        ),
    ]);
}

#[test]
fn a_missing_key_is_named_with_its_parent() {
    refused(&[
        ("", "a.yaml:1:1: missing key `org`"),
        ("listen: 127.0.0.1:1\n", "a.yaml:1:1: missing key `org`"),
        ("org: a\nbreak_glass: {}\n", "a.yaml:2:14: `break_glass` names nobody (write `users`, `groups` or both)"),
        ("org: a\npolicies: {}\n", "a.yaml:2:11: `policies` names no file (write `file`, `releases` or both)"),
    ]);
}

#[test]
fn a_value_of_another_type_is_told_by_type_and_never_repeated() {
    refused(&[
        ("org: [a]\n", "a.yaml:1:6: found a list, expected text"),
        ("org:\n", "a.yaml:1:4: found nothing, expected text"),
        (
            "org: a\njudge: { min_people: many }\n",
            "a.yaml:2:22: found text, expected a whole number from 0 to 4294967295",
        ),
        (
            "org: a\njudge: { min_people: \"5\" }\n",
            "a.yaml:2:22: found text, expected a whole number from 0 to 4294967295",
        ),
        (
            "org: a\njudge: { min_people: -1 }\n",
            "a.yaml:2:22: found a value out of range, expected a whole number from 0 to 4294967295",
        ),
        ("org: a\njudge: { min_people: 0 }\n", "a.yaml:2:22: must be at least 1"),
        (
            "org: a\njudge: { false_alarms: 1 in 90d }\n",
            "a.yaml:2:24: `…` is no budget of false incidents (write one such as `1 per 90d`)",
        ),
        (
            "org: a\njudge: { false_alarms: 1 }\n",
            "a.yaml:2:24: found a whole number, expected a number of incidents in a time (as `1 per 90d`)",
        ),
        (
            "org: a\njudge: { prior_refused: 1 }\n",
            "a.yaml:2:25: must be more than 0 and less than 1 (a share: `0.01` is 1 %)",
        ),
        ("org: a\njudge: 5\n", "a.yaml:2:8: found a whole number, expected a mapping"),
        ("org: a\njudge: [5]\n", "a.yaml:2:8: found a list, expected a mapping"),
        ("org: a\nsources: {}\n", "a.yaml:2:10: found a mapping, expected a list"),
        ("org: a\nsources: [okta]\n", "a.yaml:2:11: each source is a mapping with one key, its kind (as `okta`)"),
        (
            "org: a\nsources:\n  - okta: {}\n    file: {}\n",
            "a.yaml:3:5: each source is a mapping with one key, its kind (as `okta`)",
        ),
        ("org: a\ncohorts: [pilot]\n", "a.yaml:2:10: found a list, expected a mapping"),
        ("org: a\nlog: { format: xml }\n", "a.yaml:2:16: unknown word (expected one of `text`, `json`)"),
        ("org: a\nlog: { format: jsno }\n", "a.yaml:2:16: unknown word `jsno` (did you mean `json`?)"),
        (
            "org: a\nlog: { level: loud }\n",
            "a.yaml:2:15: unknown level (expected one of `off`, `error`, `warn`, `info`, `debug`, `trace`, or `target=level`)",
        ),
        ("org: a\nlateness: 20\n", "a.yaml:2:11: duration `20` has no unit (add one of ms, s, m, h, d, w)"),
        ("org: a\nlisten: localhost:9464\n", "a.yaml:2:9: expected an IP address and a port (as `127.0.0.1:9464`)"),
        ("org: a b\n", "a.yaml:1:6: the name of an org must have 1 to 64 of letters, digits, `-`, `_` and `.`"),
    ]);
}

#[test]
fn numbers_keep_their_text_where_text_is_meant() {
    assert_eq!(accepted("org: 0123\n").org, Org::new("0123"));
    let config = accepted("org: a\nbreak_glass: { users: [0042, true] }\n");
    assert_eq!(config.people.break_glass.users, BTreeSet::from([Person::new("0042"), Person::new("true")]));
}

#[test]
fn a_section_whose_keys_are_all_commented_out_is_empty() {
    let config = accepted(
        "org: a\nsources:\n  # - okta: {}\ncohorts:\njudge:\nbreak_glass:\nhttp:\norgs:\npolicies:\nproxies:\n",
    );
    assert_eq!(config.sources, []);
    assert_eq!(config.judge, authwatch::config::Judge::default());
}

#[test]
fn a_secret_written_as_a_value_is_refused_and_not_shown() {
    for yaml in [
        "org: a\nhttp: { token: canary-secret }\n",
        "org: a\nhttp: { token: { canary-secret: x } }\n",
        "org: a\nhttp: { token: { env: [canary-secret] } }\n",
        "org: a\nhttp: { token: [canary-secret] }\n",
        "org: a\njudge: canary-secret\n",
        "org: a\nlisten: canary-secret\n",
        "org: a\nlog: canary-secret\n",
    ] {
        let error = parse(yaml, &[]).expect_err(yaml);
        assert!(error.starts_with("a.yaml:2:") && !error.contains("canary"), "{error}");
    }
    let config = accepted("org: a\nsinks: [{ servicenow: { password: canary-secret } }]\n");
    assert!(!format!("{config:?}").contains("canary"), "{config:?}");
}

#[test]
fn listening_beyond_loopback_needs_a_token() {
    let why =
        "other machines can reach this address, so reading needs a token (set `http.token`, or listen on `127.0.0.1`)";
    for (listen, loopback) in [
        ("127.0.0.1:1", true),
        ("127.8.0.1:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("192.0.2.1:1", false),
    ] {
        let yaml = format!("org: a\nlisten: \"{listen}\"\n");
        let expect = if loopback { None } else { Some(format!("a.yaml:2:9: {why}")) };
        assert_eq!(parse(&yaml, &[]).err(), expect, "{listen}");
        let config = accepted(&format!("{yaml}http: {{ token: {{ env: T }} }}\n"));
        assert_eq!(config.http.token, Some(SecretRef::Env("T".into())));
    }
}

#[test]
fn what_is_not_built_yet_is_accepted_with_one_warning_each() {
    let config = accepted(
        "org: a\nsources:\n  - kafka: { brokers: [x] }\n  - okta: {}\n  - kafka: {}\nsinks:\n  - splunk: {}\n  - slack: {}\n",
    );
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "a.yaml:3:5: the source `kafka` is not built yet and is ignored",
            "a.yaml:7:5: the sink `splunk` is not built yet and is ignored",
            "a.yaml:8:5: the sink `slack` is not built yet and is ignored",
        ]
    );
    assert_eq!(config.sources.len(), 1);
}

/// A document of policies as `policies.file` names one; the rule is for the people of one group.
fn document(group: &str) -> String {
    let rule = serde_json::json!({
        "id": "rul1", "name": "Staff", "priority": 0, "status": "ACTIVE", "system": false,
        "conditions": {"people": {"groups": {"include": [group]}}},
        "actions": {"appSignOn": {"access": "ALLOW", "verificationMethod": {"type": "ASSURANCE", "factorMode": "2FA"}}},
    });
    let policy = serde_json::json!({"id": "rst1", "name": "Mail sign-in", "status": "ACTIVE", "type": "ACCESS_POLICY"});
    let releases = serde_json::json!({"macos": ["13.7.2"], "ios": ["18.1"]});
    let parts = serde_json::json!({
        "policies": [policy], "rules": {"rst1": [rule]}, "device_assurances": [], "releases": releases,
    });
    parts.to_string()
}

/// A folder with files beside `a.yaml`.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("write");
    }
    folder
}

fn parts_in(folder: &tempfile::TempDir, yaml: &str) -> Result<Parts, String> {
    let config = Config::parse(yaml, &folder.path().join("a.yaml"), &Environment::default()).expect("valid");
    Parts::of(&config).map_err(|error| error.to_string())
}

const OKTA: &str = "okta: { url: \"https://x\", auth: { ssws: { env: T } }";

#[test]
fn policies_come_from_a_file_of_the_org_that_names_it_and_from_no_other() {
    let folder = folder(&[
        ("p.json", &document("00gstaff")),
        ("q.json", &document("00gother")),
        ("r.json", r#"{"macos": ["14.7.1", "15.2.0"]}"#),
    ]);
    let yaml = format!(
        "org: a\nsources:\n  - {OKTA} }}\n  - file: {{ paths: [\"-\"], org: b }}\n  - file: {{ paths: [\"-\"], org: c }}\n\
         policies: {{ file: p.json, releases: r.json }}\norgs:\n  b: {{ policies: {{ file: q.json }} }}\n  c: {{}}\n\
         cohorts: {{ pilot: {{ groups: [00gpilot] }} }}\nbreak_glass: {{ groups: [00gglass], users: [00u1] }}\n"
    );
    let parts = parts_in(&folder, &yaml).expect("parts");
    let org = |name: &str| &parts.core.orgs[&Org::new(name)];
    assert_eq!(parts.policies.keys().map(Org::as_str).collect::<Vec<_>>(), ["a", "b"]);
    let hash = |name: &str| match org(name).policies {
        Some(PolicySource::File(hash)) => Some(hash),
        Some(PolicySource::Api) | None => None,
    };
    assert!(hash("a").is_some() && hash("b").is_some() && hash("a") != hash("b"));
    assert_eq!(org("c").policies, None);
    // Those of the document, and before them those of the file that is for releases.
    let releases = |name: &str| ["macos", "ios"].map(|platform| org(name).releases.0[platform].join(" "));
    assert_eq!(releases("a"), ["15.2.0 14.7.1", "18.1"]);
    assert_eq!(releases("b"), ["13.7.2", "18.1"]);
    assert_eq!(org("c").releases, authwatch::input::Releases::default());
    assert_eq!(org("a").break_glass_groups, BTreeSet::from(["00gglass".into()]));
    let wanted = authwatch::app::parts::groups(&parts.core, &parts.policies);
    let groups = |name: &str| wanted[&Org::new(name)].iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(groups("a"), ["00gglass", "00gpilot", "00gstaff"]);
    assert_eq!(groups("b"), ["00gglass", "00gother", "00gpilot"]);
    // Only `a` has a source that reads groups.
    let warnings: Vec<String> = parts.warnings.iter().map(ToString::to_string).collect();
    let expect = |org| {
        format!(
            "`{org}` has no `okta` source that could read groups, so they hold nobody: cohort `pilot`, `break_glass.groups`"
        )
    };
    assert_eq!(warnings, [expect("b"), expect("c")]);
}

#[test]
fn a_bad_file_of_policies_or_releases_is_told_where_it_is_named() {
    let folder = folder(&[("p.json", "{\"policies\": ["), ("r.json", "{\"macos\": [\"Sequoia\"]}")]);
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (section, expect) in [
        ("file: p.json", format!("{}:4:19: `{}`: ", at("a.yaml"), at("p.json"))),
        ("file: gone.json", format!("{}:4:19: cannot read `{}`", at("a.yaml"), at("gone.json"))),
        ("releases: r.json", format!("{}:4:23: `{}`: `Sequoia` of `macos` is no version", at("a.yaml"), at("r.json"))),
    ] {
        let yaml = format!("org: a\nsources:\n  - {OKTA} }}\npolicies: {{ {section} }}\n");
        let error = parts_in(&folder, &yaml).expect_err(section);
        assert!(error.starts_with(&expect), "{error}\n{expect}");
    }
}

#[test]
fn oktas_own_policies_go_before_a_file_and_one_source_of_an_org_reads_them() {
    let folder = folder(&[("p.json", &document("00gstaff")), ("r.json", r#"{"macos": ["15.2.0"]}"#)]);
    let yaml = format!(
        "org: a\nsources:\n  - {OKTA} }}\n  - {OKTA}, policies: true }}\npolicies: {{ file: p.json, releases: r.json }}\n"
    );
    let parts = parts_in(&folder, &yaml).expect("parts");
    let core = &parts.core.orgs[&Org::new("a")];
    assert_eq!((core.policies, parts.policies.len()), (Some(PolicySource::Api), 0));
    assert_eq!(core.releases.0.keys().collect::<Vec<_>>(), ["ios", "macos"], "releases are no policies");
    let warnings: Vec<String> = parts.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["`okta:a-2` reads the policies from Okta, so those of the file are not used"]);
    let readers: Vec<bool> = parts.sources.iter().map(|part| part.reads_groups).collect();
    assert_eq!(readers, [false, true], "who reads the policies reads the groups that they name");

    let yaml = format!("org: a\nsources:\n  - {OKTA}, policies: true }}\n  - {OKTA}, policies: true }}\n");
    let error = parts_in(&folder, &yaml).expect_err("two readers");
    let expect = "4:69: `okta:a` reads the policies of `a` already (leave `policies` on one of them)";
    assert!(error.ends_with(expect), "{error}");
}

#[test]
fn proxies_are_networks() {
    let config = accepted("org: a\nproxies: [192.0.2.0/24, 198.51.100.7]\n");
    let inside = |address: &str| {
        let address = address.parse().expect("an address");
        config.proxies.iter().any(|network| network.contains(address))
    };
    assert_eq!(["192.0.2.9", "198.51.100.7", "198.51.100.8"].map(inside), [true, true, false]);
    refused(&[
        ("org: a\nproxies: 192.0.2.0/24\n", "a.yaml:2:10: found text, expected a list"),
        (
            "org: a\nproxies: [192.0.2.0/24, proxy.example.com]\n",
            "a.yaml:2:25: `…` is no network (write one such as `192.0.2.0/24`)",
        ),
        (
            "org: a\nproxies: [192.0.2.7/24]\n",
            "a.yaml:2:11: `…` has bits beyond its prefix (write `192.0.2.0/24` for the whole network)",
        ),
    ]);
}

#[test]
fn cohorts_keep_the_order_of_the_file_and_read_people_from_files() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("z.txt"), "# the pilot\n00u1\n\n  00u2  # with a note\n00u1\n").expect("write");
    let path = folder.path().join("a.yaml");
    let load = |yaml: &str| {
        std::fs::write(&path, yaml).expect("write");
        Config::load(&path, &Environment::default())
    };
    let config =
        load("org: a\ncohorts:\n  z: { file: z.txt }\n  a: { users: [00u3] }\n  m: { users: [] }\n").expect("valid");
    let names: Vec<&str> = config.people.cohorts.iter().map(|cohort| cohort.name.as_str()).collect();
    assert_eq!(names, ["z", "a", "m"]);
    assert_eq!(config.people.cohorts[0].users, BTreeSet::from([Person::new("00u1"), Person::new("00u2")]));

    std::fs::write(folder.path().join("z.txt"), "00u1\nann@acme.example\n").expect("write");
    let error = load("org: a\ncohorts:\n  z: { file: z.txt }\n").expect_err("an address").to_string();
    assert!(error.contains("a.yaml:3:14: line 2 of `"), "{error}");
    assert!(error.ends_with("a person is named by Okta's id (`00u…`), not by an address"), "{error}");

    let error = load("org: a\ncohorts:\n  z: { file: gone.txt }\n").expect_err("no file");
    assert!(error.to_string().contains("a.yaml:3:14: cannot read `"), "{error}");
    assert!(std::error::Error::source(&error).is_some(), "the cause is kept");
}

#[test]
fn cohorts_have_bounds() {
    refused(&[
        (
            "org: a\ncohorts:\n  \"\": { users: [] }\n",
            "a.yaml:3:3: the name of a cohort must have 1 to 64 bytes and no control character",
        ),
        ("org: a\ncohorts:\n  x: { groups: [] }\n", "a.yaml:3:3: `x` names no group"),
        (
            "org: a\ncohorts:\n  x: { groups: [00g1, \"\"] }\n",
            "a.yaml:3:23: a group's id (`00g…`) must have 1 to 64 bytes and no white space",
        ),
        (
            "org: a\ncohorts:\n  x: { users: [a b] }\n",
            "a.yaml:3:16: a person's id must have 1 to 64 bytes and no white space",
        ),
        ("org: a\ncohorts:\n  x: { users: [], file: y }\n", "a.yaml:3:6: expected one key, found 2"),
    ]);
    let many = |count: usize| {
        (0..count).fold("org: a\ncohorts:\n".to_owned(), |yaml, i| yaml + &format!("  c{i}: {{ users: [] }}\n"))
    };
    assert_eq!(accepted(&many(64)).people.cohorts.len(), 64);
    refused(&[(&many(65), "a.yaml:67:3: more than 64 cohorts (each is a value of a metric label)")]);
}

#[test]
fn a_missing_or_oversized_file_is_told_without_a_place() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("gone.yaml");
    let error = Config::load(&path, &Environment::default()).expect_err("no file");
    assert_eq!(error.to_string(), format!("cannot read `{}`", path.display()));
    std::fs::write(&path, "#".repeat((1 << 20) + 1)).expect("write");
    let error = Config::load(&path, &Environment::default()).expect_err("too large");
    assert_eq!(error.to_string(), format!("`{}` is larger than 1048576 bytes", path.display()));
}

#[test]
fn the_environment_reaches_values_and_overrides_win() {
    let yaml = "org: ${ORG}\njudge: { min_people: \"${MIN:-7}\", prior_refused: 0.02 }\n";
    let config =
        parse(yaml, &[("ORG", "acme"), ("AUTHWATCH_JUDGE__PRIOR_REFUSED", "0.05"), ("AUTHWATCH_LATENESS", "45s")]);
    let config = config.expect("valid");
    assert_eq!((config.org.as_str(), config.judge.min_people, config.judge.prior_refused), ("acme", 7, 0.05));
    assert_eq!(config.lateness, Span::seconds(45));
    for (environment, expect) in [
        (&[][..], "a.yaml:1:6: environment variable `ORG` is not set (export it, or write `${ORG:-default}`)"),
        (&[("ORG", "acme"), ("MIN", "few")], "a.yaml:2:22: found text, expected a whole number from 0 to 4294967295"),
        (
            &[("ORG", "acme"), ("AUTHWATCH_JUDGE__MIN_PEOPLE", "few")],
            "environment variable `AUTHWATCH_JUDGE__MIN_PEOPLE`: found text, expected a whole number from 0 to 4294967295",
        ),
        (
            &[("ORG", "acme"), ("AUTHWATCH_JUDGE__MIN_POEPLE", "5")],
            "environment variable `AUTHWATCH_JUDGE__MIN_POEPLE`: unknown key `min_poeple` (did you mean `min_people`?)",
        ),
        (
            &[("ORG", "acme"), ("AUTHWATCH_LISTEN", "0.0.0.0:1")],
            "environment variable `AUTHWATCH_LISTEN`: other machines can reach this address, so reading needs a token \
             (set `http.token`, or listen on `127.0.0.1`)",
        ),
        (
            &[("ORG", "acme"), ("AUTHWATCH_HTTP", "{token: {env: [}")],
            "environment variable `AUTHWATCH_HTTP`: not valid YAML: while parsing a node, did not find expected node content",
        ),
    ] {
        assert_eq!(parse(yaml, environment).err().as_deref(), Some(expect), "{environment:?}");
    }
}

#[test]
fn an_expanded_value_cannot_add_keys() {
    let config = parse("org: ${ORG}\nhttp: { token: { env: \"${NAME}\" } }\n", &[("ORG", "a"), ("NAME", "x }, y: {")]);
    assert_eq!(config.expect("valid").http.token, Some(SecretRef::Env("x }, y: {".into())));
}

#[test]
fn the_core_gets_each_orgs_own_people() {
    let config = accepted(
        "org: a\ncohorts: { all: { users: [00u1] } }\nbreak_glass: { users: [00u9] }\n\
         orgs:\n  b: { cohorts: { own: { users: [00u2] } } }\n  c: { break_glass: { users: [] } }\n",
    );
    let source = |org: &str| (Org::new(org), BTreeSet::from([SourceName::new(format!("okta:{org}"))]));
    let core = config.core(&["a", "b", "c"].map(source).into());
    let seen = core.orgs.iter().map(|(org, own)| {
        (
            org.as_str(),
            own.cohorts[0].name.as_str(),
            own.break_glass.len(),
            own.sources.first().expect("source").as_str(),
        )
    });
    assert_eq!(
        seen.collect::<Vec<_>>(),
        [("a", "all", 1, "okta:a"), ("b", "own", 1, "okta:b"), ("c", "all", 0, "okta:c")]
    );
}

#[test]
fn each_kind_that_is_built_is_read_by_its_part_and_every_other_is_left_out() {
    let config = accepted(
        "org: a\nsources:\n  - okta: { url: \"https://x\", auth: { ssws: { env: T } }, policies: true }\n  \
         - file: { paths: [\"-\"], org: b }\n  - kafka: { brokers: [] }\n  - hook: {}\n  \
         - okta: { url: \"https://x\", auth: { ssws: { env: T } } }\n",
    );
    let parts = Parts::of(&config).expect("parts");
    let names: Vec<&str> = parts.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["okta:a", "file:b", "okta:a-2"]);
    let kinds: Vec<&str> = parts.sources.iter().map(|source| source.config.kind()).collect();
    assert_eq!(kinds, config.sources.iter().map(|source| source.kind).collect::<Vec<_>>());
    assert_eq!(parts.warnings, []);
    assert_eq!(parts.core.orgs.keys().map(Org::as_str).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_relative_path_begins_at_the_file() {
    let config = Config::parse(
        "org: a\nrules: rules/\nstate_dir: state\nhttp: { token: { file: token } }\n",
        Path::new("/etc/aw/a.yaml"),
        &Environment::default(),
    )
    .expect("valid");
    assert_eq!(config.rules.as_deref(), Some(Path::new("/etc/aw/rules/")));
    assert_eq!(config.state_dir, Path::new("/etc/aw/state"));
    assert_eq!(config.http.token, Some(SecretRef::File("/etc/aw/token".into())));
    let config = Config::parse(
        "org: a\nsources: [{ file: { paths: [\"-\", a.ndjson, /b.ndjson] } }]\n",
        Path::new("/etc/aw/a.yaml"),
        &Environment::default(),
    );
    let mut parts = Parts::of(&config.expect("valid")).expect("parts");
    assert_eq!(parts.sources[0].config.files(), ["-", "/etc/aw/a.ndjson", "/b.ndjson"].map(Path::new));
}

/// What a source looks like to its owner.
#[derive(PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Okta(Okta),
}

#[derive(PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Okta {
    url: url::Url,
    auth: Auth,
    #[serde(default)]
    policies: bool,
    org: Option<String>,
    limit: Option<std::num::NonZeroU16>,
}

#[derive(PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Auth {
    Ssws(SecretRef),
    Oauth { client_id: String, dpop: bool },
    None,
}

#[test]
fn an_owner_reads_its_section_with_the_same_errors() {
    let read = |okta: &str| {
        let config = accepted(&format!("org: a\nsources:\n  - okta: {okta}\n"));
        section::<Source>(&config.sources[0].node).map_err(|error| error.to_string())
    };
    let url = "url: \"https://x.example\"";
    let Source::Okta(okta) =
        read(&format!("{{ {url}, auth: {{ ssws: {{ env: T }} }}, policies: yes, limit: 5 }}").replace("yes", "true"))
            .expect("valid");
    assert_eq!(
        (okta.auth, okta.policies, okta.org, okta.limit.map(|limit| limit.get())),
        (Auth::Ssws(SecretRef::Env("T".into())), true, None, Some(5))
    );
    let Source::Okta(okta) =
        read(&format!("{{ {url}, auth: {{ oauth: {{ client_id: 0oa, dpop: true }} }}, org: ~ }}")).expect("valid");
    assert_eq!((okta.auth, okta.org), (Auth::Oauth { client_id: "0oa".into(), dpop: true }, None));
    assert!(
        read(&format!("{{ {url}, auth: none }}")).is_ok() && read(&format!("{{ {url}, auth: {{ none: }} }}")).is_ok()
    );
    for (okta, expect) in [
        ("", "a.yaml:3:5: missing key `url` in `okta`"),
        ("{ url: x }", "a.yaml:3:18: relative URL without a base: \"x\""),
        ("{ url: canary-secret }", "a.yaml:3:18: relative URL without a base: …"),
        ("{ url: \"https://x\" }", "a.yaml:3:5: missing key `auth` in `okta`"),
        (
            "{ url: \"https://x\", pol: 1 }",
            "a.yaml:3:31: unknown key `pol` (expected one of `url`, `auth`, `policies`, `org`, `limit`)",
        ),
        (
            "{ url: \"https://x\", auth: { swss: { env: T } } }",
            "a.yaml:3:39: unknown word `swss` (did you mean `ssws`?)",
        ),
        (
            "{ url: \"https://x\", auth: { ssws: T } }",
            "a.yaml:3:45: a secret is written as a reference (`{env: NAME}` or `{file: /run/name}`), never as the secret itself",
        ),
        ("{ url: \"https://x\", auth: { oauth: { client_id: x } } }", "a.yaml:3:39: missing key `dpop` in `oauth`"),
        (
            "{ url: \"https://x\", auth: { oauth: { client_id: x, dpop: 1 } } }",
            "a.yaml:3:68: found a whole number, expected `true` or `false`",
        ),
        ("{ url: \"https://x\", auth: { none: 1 } }", "a.yaml:3:39: `none` takes no value"),
        ("{ url: \"https://x\", auth: [] }", "a.yaml:3:37: found a list, expected a word, or a mapping with one key"),
        (
            "{ url: \"https://x\", auth: none, limit: 0 }",
            "a.yaml:3:50: found a value out of range, expected a nonzero u16",
        ),
        (
            "{ url: \"https://x\", auth: none, policies: \"true\" }",
            "a.yaml:3:53: found text, expected `true` or `false`",
        ),
    ] {
        assert_eq!(read(okta).err().as_deref(), Some(expect), "{okta}");
    }
}
