//! Reading text files with a bound on their size.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::error::{ConfigError, Problem};

/// The text of a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<String, Problem> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > limit => Err(Problem::TooLarge { path: path.to_owned(), limit }),
        Ok(_) => Ok(text),
        Err(source) => Err(ConfigError::unreadable(path, source)),
    }
}
