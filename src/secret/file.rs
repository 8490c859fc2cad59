//! A secret in a file, which another program writes: an agent's template, a mounted Kubernetes secret.
//!
//! Refuses what such a program leaves behind by accident: an empty file, `<no value>` of a template whose key is
//! missing, a file that was cut off or is being written. Whether the old secret is kept is the caller's matter.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use super::{Secret, SecretError};

/// The longest file that is read: keys are a few kilobytes.
const LONGEST: u64 = 64 << 10;

/// What Go's templates write for a key that is not there (`error_on_missing_key` is off by default in Vault's agent).
const NO_VALUE: &str = "<no value>";

/// What tells one state of a file from the next without reading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    length: u64,
    file: (u64, u64),
}

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) secret: Secret,
    pub(super) stamp: Stamp,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            length: metadata.len(),
            file: (metadata.dev(), metadata.ino()),
        }
    }
}

/// Reads a file; where its stamp is `known`'s, only the stamp. Blocks.
pub(super) fn read(path: &Path, known: Option<&Read>) -> Result<Read, SecretError> {
    let unreadable = |source: io::Error| SecretError::Unreadable { path: path.to_owned(), source: Arc::new(source) };
    let unfit = |why| SecretError::Unfit { path: path.to_owned(), why };
    // Asked first: to open a pipe would wait for its writer.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unfit("is no regular file"));
    }
    let stamp = Stamp::of(&metadata);
    if let Some(known) = known.filter(|known| known.stamp == stamp) {
        return Ok(known.clone());
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(unreadable)?;
    let length = (&mut file).take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if length as u64 > LONGEST {
        return Err(unfit("is larger than 64 KiB"));
    }
    if Stamp::of(&file.metadata().map_err(unreadable)?) != stamp {
        return Err(unfit("changed while it was read (it is read again at the next use)"));
    }
    let text = String::from_utf8(bytes).map_err(|_| unfit("is not UTF-8"))?;
    check(&text, known.map(|known| &known.secret)).map_err(unfit)?;
    Ok(Read { secret: Secret::new(text.trim_end()), stamp })
}

fn check(text: &str, before: Option<&Secret>) -> Result<(), &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty");
    }
    if text.contains(NO_VALUE) {
        return Err("holds `<no value>`: the template's key is missing (see `error_on_missing_key`)");
    }
    if text.starts_with("-----BEGIN ") && !text.contains("-----END ") || text.starts_with('{') && !text.ends_with('}') {
        return Err("is cut off");
    }
    if before.is_some_and(|before| before.expose() != text && before.expose().starts_with(text)) {
        return Err("holds only the beginning of the secret that it held: it seems cut off");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(text: &str, before: &str, expect: Result<(), &str>) {
        let before = Secret::new(before);
        let found = check(text, Some(&before));
        assert_eq!(found.map_err(|why| why.chars().take(20).collect::<String>()), expect.map_err(str::to_owned));
    }

    #[test]
    fn what_a_template_leaves_behind_by_accident_is_no_secret() {
        check_text("new\n", "old", Ok(()));
        check_text("old\n", "old", Ok(()));
        check_text("older", "old", Ok(()));
        check_text("", "old", Err("is empty"));
        check_text(" \n", "old", Err("is empty"));
        check_text("<no value>", "old", Err("holds `<no value>`: "));
        check_text("Bearer <no value>\n", "old", Err("holds `<no value>`: "));
        check_text("abc", "abcdef", Err("holds only the begin"));
        check_text("-----BEGIN PRIVATE KEY-----\nMIIE", "old", Err("is cut off"));
        check_text("{\"kty\":\"EC\",", "old", Err("is cut off"));
        check_text("{\"kty\":\"EC\"}\n", "old", Ok(()));
    }

    #[test]
    fn what_is_no_file_is_refused_without_opening_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = read(folder.path(), None).expect_err("a folder");
        assert!(error.to_string().ends_with("is no regular file"), "{error}");
        let path = folder.path().join("large");
        fs::write(&path, vec![b'x'; LONGEST as usize + 1]).expect("writes");
        let error = read(&path, None).expect_err("too large");
        assert!(error.to_string().ends_with("is larger than 64 KiB"), "{error}");
        fs::write(&path, [0xff, 0xfe]).expect("writes");
        assert!(read(&path, None).expect_err("no text").to_string().ends_with("is not UTF-8"));
    }
}
