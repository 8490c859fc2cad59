//! Streaming records over many files, in constant memory.

use std::io;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use thiserror::Error;

use super::open;
use super::split::{Piece, SplitError, Splitter};
use crate::source::Position;

/// Why a file gives no further records.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be opened.
    #[error("cannot open `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a directory.
    #[error("`{}` is a directory (name the files in it)", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be read on.
    #[error("cannot read `{}` on after {offset} bytes of its plain content (the file may be cut off)", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// How many bytes, after decompression, were read before.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// It ends inside a JSON array.
    #[error("the JSON array in `{}` is not closed after {offset} bytes (the file may be cut off)", path.display())]
    Unclosed {
        /// The file.
        path: PathBuf,
        /// How many bytes, after decompression, it has.
        offset: u64,
    },
    /// The files hold less than the stored position.
    #[error(
        "the files end before the stored position, {records} records into file {file} (they must not change while a position is stored)"
    )]
    Shorter {
        /// The file of the position, from 1.
        file: u64,
        /// The records of it that should be there.
        records: u64,
    },
    /// The position was stored by another kind of source.
    #[error("the stored position is not one in files (give the source another name, or reset the state)")]
    OtherPosition,
}

/// One record and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its bytes.
    pub body: Body<'a>,
    /// The file, as named by the caller.
    pub file: &'a Path,
    /// Its place among the records of the file, from 1.
    pub number: u64,
}

/// The bytes of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// All of them, without white space around them; not checked to be JSON.
    Whole(&'a [u8]),
    /// More than 1 MiB; skipped.
    TooLarge,
}

/// The records of files, in order.
pub struct Records {
    paths: Vec<PathBuf>,
    files_done: usize,
    records_done: u64,
    current: Option<Splitter>,
    bar: ProgressBar,
}

impl Records {
    /// Checks that every file is there and readable; `-` is standard input. Reads nothing yet.
    ///
    /// # Errors
    /// Where one is not, or is a directory.
    pub fn open(paths: &[PathBuf]) -> Result<Self, FileError> {
        for path in paths.iter().filter(|path| !open::is_stdin(path)) {
            let failed = |source| FileError::Open { path: path.clone(), source };
            let metadata = std::fs::metadata(path).map_err(failed)?;
            if metadata.is_dir() {
                return Err(FileError::Directory { path: path.clone() });
            }
            // Opening a pipe to look at it would take its writer away.
            if metadata.is_file() {
                std::fs::File::open(path).map_err(failed)?;
            }
        }
        let bar = ProgressBar::hidden();
        Ok(Self { paths: paths.to_vec(), files_done: 0, records_done: 0, current: None, bar })
    }

    /// Shows on standard error how far it is, in bytes of the files as they are stored; does nothing where standard
    /// error is no terminal. Call it before the first record.
    #[must_use]
    pub fn with_progress(mut self) -> Self {
        if io::stderr().is_terminal() {
            let sizes = self.paths.iter().map(|path| std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file));
            let total: Option<u64> = sizes.map(|size| size.map(|size| size.len())).sum();
            self.bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let template = match total {
                Some(_) => "{bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
                None => "{spinner} {bytes} {bytes_per_sec}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
        }
        self
    }

    /// The next record; `None` after the last one of the last file.
    ///
    /// # Errors
    /// Where the current file cannot be read on; everything whole in it was returned before. The next call goes on with
    /// the file after it.
    #[expect(clippy::should_implement_trait, reason = "a record borrows from the reader, so this is no Iterator")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, FileError> {
        let piece = loop {
            let Some(path) = self.paths.get(self.files_done) else {
                self.bar.finish_and_clear();
                return Ok(None);
            };
            let splitter = match &mut self.current {
                Some(splitter) => splitter,
                closed => match begin(path, &self.bar) {
                    Ok(splitter) => closed.insert(splitter),
                    Err(error) => {
                        self.next_file();
                        return Err(error);
                    }
                },
            };
            match splitter.next() {
                Ok(Some(piece)) => break piece,
                Ok(None) => self.next_file(),
                Err(error) => {
                    let (path, offset) = (path.clone(), splitter.offset());
                    self.next_file();
                    return Err(match error {
                        SplitError::Io(source) => FileError::Read { path, offset, source },
                        SplitError::Unclosed => FileError::Unclosed { path, offset },
                    });
                }
            }
        };
        self.records_done += 1;
        Ok(self.current.as_ref().map(|splitter| Record {
            body: match piece {
                Piece::Whole => Body::Whole(splitter.bytes()),
                Piece::TooLarge => Body::TooLarge,
            },
            file: &self.paths[self.files_done],
            number: self.records_done,
        }))
    }

    /// The position after the record returned last.
    pub fn position(&self) -> Position {
        Position::File { files_done: self.files_done as u64, records_done: self.records_done }
    }

    /// Goes on after `position`; reads over the records before it.
    ///
    /// # Errors
    /// Where the position is of another kind of source, the files end before it, or cannot be read up to it.
    pub fn skip_to(&mut self, position: &Position) -> Result<(), FileError> {
        let Position::File { files_done, records_done } = *position else { return Err(FileError::OtherPosition) };
        let shorter = FileError::Shorter { file: files_done.saturating_add(1), records: records_done };
        let file = usize::try_from(files_done).unwrap_or(usize::MAX);
        if file > self.paths.len() {
            return Err(shorter);
        }
        self.files_done = file;
        self.records_done = 0;
        self.current = None;
        while self.records_done < records_done {
            if self.next()?.is_none() || self.files_done != file {
                return Err(shorter);
            }
        }
        Ok(())
    }

    fn next_file(&mut self) {
        self.current = None;
        self.files_done += 1;
        self.records_done = 0;
    }
}

fn begin(path: &Path, bar: &ProgressBar) -> Result<Splitter, FileError> {
    let raw = open::raw(path, bar).map_err(|source| FileError::Open { path: path.to_owned(), source })?;
    let plain = open::plain(raw).map_err(|source| FileError::Read { path: path.to_owned(), offset: 0, source })?;
    Ok(Splitter::new(plain))
}
