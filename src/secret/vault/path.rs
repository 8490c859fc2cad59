//! `mount/path#field`: where in a vault a secret is.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The longest reference.
const LONGEST: usize = 512;

/// A field of a secret in a KV version 2 engine, written `mount/path#field` and without the `data/` of the API.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct VaultPath {
    path: String,
    field: String,
}

impl VaultPath {
    /// Mount and path, without the field.
    pub fn whole(&self) -> &str {
        &self.path
    }

    /// The key in the secret's data.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Mount and path, where so many segments are the mount; at least one is left to the path.
    pub(super) fn split(&self, mount: usize) -> (String, String) {
        let segments: Vec<&str> = self.path.split('/').collect();
        let (mount, path) = segments.split_at(mount.min(segments.len() - 1));
        (mount.join("/"), path.join("/"))
    }

    /// The path of the API, below `/v1/`; the one that a policy must name.
    pub(super) fn api(&self, mount: usize) -> String {
        let (mount, path) = self.split(mount);
        format!("{mount}/data/{path}")
    }

    /// Whether the path lies below this mount.
    pub(super) fn begins_with(&self, mount: &str) -> bool {
        self.path.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for VaultPath {
    type Err = &'static str;

    /// Nothing of the text is in the error: it could be a secret in the wrong place.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, field) = text.split_once('#').ok_or(
            "a secret in a vault is written `mount/path#field` (as `secret/okta/admin-api#token`), with the field",
        )?;
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '?' | '%' | '\\');
        if text.len() > LONGEST || !text.chars().all(plain) || field.is_empty() || field.contains('#') {
            return Err(
                "a path in a vault has no white space and no `?`, `%`, `\\` or second `#`, and a field at its end",
            );
        }
        if path.starts_with("v1/") {
            return Err("a path in a vault begins with the mount (leave out `v1/`)");
        }
        let segments: Vec<&str> = path.split('/').collect();
        if segments.len() < 2 || segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return Err("a path in a vault is a mount and a path below it (as `secret/okta/admin-api#token`)");
        }
        Ok(Self { path: path.to_owned(), field: field.to_owned() })
    }
}

impl TryFrom<String> for VaultPath {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for VaultPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.path, self.field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_mount_and_a_field() {
        let path: VaultPath = "team/kv/okta/api#token".parse().expect("a path");
        assert_eq!((path.whole(), path.field()), ("team/kv/okta/api", "token"));
        assert_eq!(path.to_string(), "team/kv/okta/api#token");
        for (mount, api) in [(1, "team/data/kv/okta/api"), (2, "team/kv/data/okta/api"), (9, "team/kv/okta/data/api")] {
            assert_eq!(path.api(mount), api, "{mount}");
        }
        assert!(path.begins_with("team/kv") && path.begins_with("team") && !path.begins_with("team/k"));
    }

    #[test]
    fn what_is_no_path_is_refused_and_not_repeated() {
        for (text, expect) in [
            ("hunter2-canary", "with the field"),
            ("secret/hunter2-canary", "with the field"),
            ("secret/a#", "a field at its end"),
            ("secret/a b#hunter2-canary", "no white space"),
            ("secret/a?version=1#hunter2-canary", "no white space and no `?`"),
            ("secret#hunter2-canary", "a mount and a path below it"),
            ("/secret/a#hunter2-canary", "a mount and a path below it"),
            ("secret/../sys#hunter2-canary", "a mount and a path below it"),
            ("v1/secret/data/a#hunter2-canary", "leave out `v1/`"),
        ] {
            let error = text.parse::<VaultPath>().expect_err(text);
            assert!(error.contains(expect) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
