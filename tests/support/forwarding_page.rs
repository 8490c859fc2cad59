//! The examples of a page about a receiver of forwarded records, read as a daemon would.

use std::path::Path;

use authwatch::act::forward;
use authwatch::app::parts::Parts;
use authwatch::config::{Config, Environment};

/// Checks every YAML block of `docs/integrations/<kind>.md` that holds `sinks:`. There are at least two, a minimal and a
/// full one, and the full one names every key of the section.
#[track_caller]
pub fn check(kind: &str) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/integrations");
    let page = std::fs::read_to_string(docs.join(format!("{kind}.md"))).expect("a page");
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 2, "a minimal and a full example");
    for block in &blocks {
        let text = format!("org: a\nsources: [{{ file: {{ paths: [\"-\"] }} }}]\n{block}");
        let config = Config::parse(&text, &docs.join("a.yaml"), &Environment::default()).expect("a configuration");
        let parts = Parts::of(&config).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!((parts.forwards.len(), parts.warnings.len()), (1, 0), "{text}");
    }
    let unknown = format!("{kind}: {{ zzzzzzzz: 1 }}");
    let error = authwatch::yaml::read::<forward::Config>(&unknown, Path::new("a.yaml")).expect_err("unknown");
    let error = error.to_string();
    let (_, keys) = error.split_once("(expected one of ").unwrap_or_else(|| panic!("{error}"));
    for key in keys.split('`').skip(1).step_by(2) {
        assert!(blocks.iter().any(|block| block.contains(&format!("{key}:"))), "no example has `{key}`");
    }
}
