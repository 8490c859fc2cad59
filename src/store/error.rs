//! What can go wrong with the state, in words that say what to do.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the state cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process owns the state directory.
    #[error(
        "state directory `{}` is in use by {} (stop it, or give this one another `state_dir`)",
        dir.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The holder, where it recorded itself.
        pid: Option<u32>,
    },
    /// The state file is damaged. It is never replaced by an empty one in silence.
    #[error(
        "state file `{}` is corrupt (move it aside: `mv {} {}`, then start again: events since the cold-start \
         window are read again)",
        path.display(), path.display(), aside(path).display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was seen.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The state was written by an authwatch that stores other things.
    #[error(
        "state file `{}` has format {found}, written by authwatch {writer}; this is {} and knows format {known} \
         (run the one that wrote it, or move it aside: `mv {} {}`)",
        path.display(), env!("CARGO_PKG_VERSION"), path.display(), aside(path).display()
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The format that this build knows.
        known: u64,
        /// The version that wrote it.
        writer: String,
    },
    /// A file or directory cannot be read or written.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was tried (`open`, `create`).
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database refused an operation; the state on disk is what the last good commit left.
    #[error("cannot {doing} in state file `{}`", path.display())]
    Database {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// A value could not be encoded.
    #[error("cannot encode for state file `{}`", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The journal no longer holds what was asked for.
    #[error("the journal begins after number {base} and cannot be read from {from} (start from the base snapshot)")]
    Pruned {
        /// What was asked for.
        from: u64,
        /// The number that the base snapshot covers.
        base: u64,
    },
    /// A snapshot that does not fit the journal.
    #[error("a snapshot that covers {covers} does not fit a journal from {newest} to {last} (take a fresh one)")]
    Snapshot {
        /// What it covers.
        covers: u64,
        /// What the newest snapshot covers.
        newest: u64,
        /// The newest journal number.
        last: u64,
    },
    /// An import would overwrite a state.
    #[error("`{}` already holds a state (export it if it matters, then `authwatch state reset`)", path.display())]
    Exists {
        /// The state file in the way.
        path: PathBuf,
    },
    /// The file is not an export of ours.
    #[error("`{}` is no authwatch state export (make one with `authwatch state export`)", path.display())]
    NotAnExport {
        /// The file.
        path: PathBuf,
    },
    /// An export that was cut short or altered.
    #[error("export `{}` is damaged: {what} (export it again)", path.display())]
    DamagedExport {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Where a damaged file is best moved.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".aside");
    PathBuf::from(name)
}

/// A failure below the public surface, before it is known which file it is about.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The database said no.
    Database(Box<redb::Error>),
    /// What was stored cannot be read back.
    Decode(Box<dyn std::error::Error + Send + Sync>),
    /// A value cannot be stored.
    Encode(Box<dyn std::error::Error + Send + Sync>),
    /// Already in words.
    Known(StoreError),
}

macro_rules! from_redb {
    ($($error:ty),+) => {
        $(impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        })+
    };
}
from_redb!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError, redb::DatabaseError);

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Known(error)
    }
}

impl Trouble {
    /// Says which file it was and what was tried.
    pub(super) fn at(self, path: &Path, doing: &'static str) -> StoreError {
        let path = path.to_owned();
        match self {
            Self::Known(error) => error,
            Self::Decode(source) => StoreError::Corrupt { path, source },
            Self::Encode(source) => StoreError::Encode { path, source },
            Self::Database(source) if is_damage(&source) => StoreError::Corrupt { path, source },
            Self::Database(source) => StoreError::Database { doing, path, source },
        }
    }
}

/// Whether the database means "this file is not what I wrote", as against "the disk is full".
fn is_damage(error: &redb::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        redb::Error::Corrupted(_)
        | redb::Error::RepairAborted
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. } => true,
        redb::Error::Io(error) => matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof),
        // redb's enum is open: what it adds later is a failed operation until we know better.
        _ => false,
    }
}
