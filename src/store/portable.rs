//! A state as one portable file: for `state export` and `state import`, and what `replay` reads as a journal.
//!
//! Layout: the magic, the format (u32), the writer's version (u16 length, text), then frames. A frame is a table tag
//! (u8), the lengths of two texts (u16 each) and of the value (u32), a number (u64), the texts, the value, and an
//! XXH3-64 of all of these seeded with the frame's index. The last frame has tag 0 and counts the frames before it, so
//! a file that was cut, altered or reordered anywhere is refused. Integers are little-endian; values are packed as in
//! the state file. Frames come in the order of [`Tag`], so the base snapshot precedes the journal.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use redb::{ReadTransaction, ReadableTable};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::error::Trouble;
use super::rebuild::Filler;
use super::tables::{
    CURSORS, DEAD, DEAD_FORWARDS, FORMAT, FORWARDS, JOURNAL, LEDGER, META, OUTBOX, POSITIONS, SNAPSHOTS, decode, meta,
    unpack,
};
use super::{Store, StoreError, own};
use crate::input::Input;

const MAGIC: &[u8; 8] = b"AWSTATE\n";

/// The table that a frame belongs to. The numbers are the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tag {
    End = 0,
    Meta = 1,
    Snapshot = 2,
    Journal = 3,
    Position = 4,
    Outbox = 5,
    Ledger = 6,
    DeadLetter = 7,
    Forward = 8,
    Cursor = 9,
    DeadForward = 10,
}

impl Tag {
    const ALL: [Self; 11] = [
        Self::End,
        Self::Meta,
        Self::Snapshot,
        Self::Journal,
        Self::Position,
        Self::Outbox,
        Self::Ledger,
        Self::DeadLetter,
        Self::Forward,
        Self::Cursor,
        Self::DeadForward,
    ];
}

/// One row of one table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) tag: Tag,
    pub(super) name: String,
    pub(super) key: String,
    pub(super) number: u64,
    pub(super) value: Vec<u8>,
}

impl Frame {
    fn new(tag: Tag, name: &str, key: &str, number: u64, value: &[u8]) -> Self {
        Self { tag, name: name.to_owned(), key: key.to_owned(), number, value: value.to_owned() }
    }

    fn write(&self, out: &mut impl Write, index: u64) -> io::Result<()> {
        let short = |text: &str| u16::try_from(text.len()).map_err(|_| io::Error::other("a name is too long"));
        let mut bytes = vec![self.tag as u8];
        bytes.extend(short(&self.name)?.to_le_bytes());
        bytes.extend(short(&self.key)?.to_le_bytes());
        let length = u32::try_from(self.value.len()).map_err(|_| io::Error::other("a value is too long"))?;
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.extend(self.key.as_bytes());
        bytes.extend(&self.value);
        let sum = xxh3_64_with_seed(&bytes, index);
        out.write_all(&bytes)?;
        out.write_all(&sum.to_le_bytes())
    }

    fn read(input: &mut impl Read, index: u64) -> Result<Self, String> {
        const HEAD: usize = 17;
        let cut = |error: io::Error| format!("frame {index} cannot be read ({error})");
        let mut head = [0; HEAD];
        input.read_exact(&mut head).map_err(cut)?;
        let [tag, n0, n1, k0, k1, v0, v1, v2, v3, number @ ..] = head;
        let (name, key) = (usize::from(u16::from_le_bytes([n0, n1])), usize::from(u16::from_le_bytes([k0, k1])));
        let value = u32::from_le_bytes([v0, v1, v2, v3]);
        let rest = name as u64 + key as u64 + u64::from(value);
        // Grows with what is really there, so a damaged length costs no memory.
        let mut bytes = head.to_vec();
        let read = input.by_ref().take(rest).read_to_end(&mut bytes).map_err(cut)?;
        let mut sum = [0; 8];
        input.read_exact(&mut sum).map_err(cut)?;
        if read as u64 != rest || xxh3_64_with_seed(&bytes, index) != u64::from_le_bytes(sum) {
            return Err(format!("frame {index} does not match its checksum"));
        }
        let text = |from: usize, length: usize| {
            let text = String::from_utf8(bytes[from..from + length].to_vec());
            text.map_err(|_| format!("frame {index} has a name that is no text"))
        };
        let known = Tag::ALL.into_iter().find(|known| *known as u8 == tag);
        Ok(Self {
            tag: known.ok_or_else(|| format!("frame {index} is of unknown kind {tag}"))?,
            name: text(HEAD, name)?,
            key: text(HEAD + name, key)?,
            number: u64::from_le_bytes(number),
            value: bytes[HEAD + name + key..].to_vec(),
        })
    }
}

/// Hands every row of the state to `each`, in the order of [`Tag`].
pub(super) fn frames(
    txn: &ReadTransaction,
    journal: bool,
    each: &mut dyn FnMut(Frame) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let meta = txn.open_table(META)?;
    let base = super::tables::number(&meta, meta::BASE)?.unwrap_or(0);
    for row in meta.iter()? {
        let (name, number) = row?;
        each(Frame::new(Tag::Meta, name.value(), "", number.value(), &[]))?;
    }
    for row in txn.open_table(SNAPSHOTS)?.iter()? {
        let (covers, value) = row?;
        each(Frame::new(Tag::Snapshot, "", "", covers.value(), value.value()))?;
    }
    if journal {
        for row in txn.open_table(JOURNAL)?.range(base + 1..)? {
            let (number, value) = row?;
            each(Frame::new(Tag::Journal, "", "", number.value(), value.value()))?;
        }
    }
    for row in txn.open_table(POSITIONS)?.iter()? {
        let (source, value) = row?;
        each(Frame::new(Tag::Position, source.value(), "", 0, value.value()))?;
    }
    for (tag, table) in [(Tag::Outbox, OUTBOX), (Tag::DeadLetter, DEAD)] {
        for row in txn.open_table(table)?.iter()? {
            let (key, value) = row?;
            each(Frame::new(tag, key.value().0, "", key.value().1, value.value()))?;
        }
    }
    for row in txn.open_table(LEDGER)?.iter()? {
        let (key, value) = row?;
        each(Frame::new(Tag::Ledger, key.value().0, key.value().1, 0, value.value()))?;
    }
    for row in txn.open_table(FORWARDS)?.iter()? {
        let (number, value) = row?;
        each(Frame::new(Tag::Forward, "", "", number.value(), value.value()))?;
    }
    for row in txn.open_table(CURSORS)?.iter()? {
        let (sink, place) = row?;
        let (place, topics, dropped) = place.value();
        let value = [&topics.to_le_bytes()[..], &dropped.to_le_bytes()].concat();
        each(Frame::new(Tag::Cursor, sink.value(), "", place, &value))?;
    }
    for row in txn.open_table(DEAD_FORWARDS)?.iter()? {
        let (key, value) = row?;
        each(Frame::new(Tag::DeadForward, key.value().0, "", key.value().1, value.value()))?;
    }
    Ok(())
}

impl Store {
    /// Writes the whole state to one file, complete or not at all; a file of that name is replaced.
    ///
    /// # Errors
    /// Where the state cannot be read or the file cannot be written.
    pub fn export(&self, path: &Path) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { doing: "write", path: path.to_owned(), source };
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let mut out = BufWriter::new(File::create(&partial).map_err(io)?);
        let version = env!("CARGO_PKG_VERSION");
        let head =
            [MAGIC, &(FORMAT as u32).to_le_bytes()[..], &(version.len() as u16).to_le_bytes(), version.as_bytes()];
        out.write_all(&head.concat()).map_err(io)?;
        let mut index = 0;
        self.read("export", |txn| {
            frames(txn, true, &mut |frame| {
                frame.write(&mut out, index).map_err(io)?;
                index += 1;
                Ok(())
            })
        })?;
        Frame::new(Tag::End, "", "", index, &[]).write(&mut out, index).map_err(io)?;
        let file = out.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync_all().map_err(io)?;
        std::fs::rename(&partial, path).map_err(io)
    }

    /// Begins the state in `dir` from an export. The state appears whole, after every checksum was verified.
    ///
    /// # Errors
    /// Where there is a state already, the directory is locked, or the export is damaged, newer or no export.
    pub fn import(dir: &Path, export: &Path) -> Result<(), StoreError> {
        let (_lock, path) = own(dir)?;
        if path.exists() {
            return Err(StoreError::Exists { path });
        }
        let mut frames = Frames::open(export)?;
        let mut filler = Filler::begin(&path)?;
        while let Some(frame) = frames.next()? {
            filler.put(&frame)?;
        }
        filler.publish()
    }
}

/// The frames of an export, each verified before it is handed out.
struct Frames {
    path: PathBuf,
    input: BufReader<File>,
    index: u64,
    done: bool,
    written_by: String,
}

impl Frames {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { doing: "read", path: path.to_owned(), source };
        let mut input = BufReader::new(File::open(path).map_err(io)?);
        let mut head = [0; 14];
        match input.read_exact(&mut head) {
            Ok(()) if head.starts_with(MAGIC) => {}
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(io(error)),
            Ok(()) | Err(_) => return Err(StoreError::NotAnExport { path: path.to_owned() }),
        }
        let [.., f0, f1, f2, f3, v0, v1] = head;
        let mut version = vec![0; usize::from(u16::from_le_bytes([v0, v1]))];
        input.read_exact(&mut version).map_err(io)?;
        let writer = String::from_utf8_lossy(&version).into_owned();
        let found = u64::from(u32::from_le_bytes([f0, f1, f2, f3]));
        if found != FORMAT {
            return Err(StoreError::OtherFormat { path: path.to_owned(), found, known: FORMAT, writer });
        }
        Ok(Self { path: path.to_owned(), input, index: 0, done: false, written_by: writer })
    }

    fn next(&mut self) -> Result<Option<Frame>, StoreError> {
        if self.done {
            return Ok(None);
        }
        let read = Frame::read(&mut self.input, self.index).map_err(|what| self.damaged(what));
        // Nothing after a damaged frame can be trusted.
        self.done = read.as_ref().map_or(true, |frame| frame.tag == Tag::End);
        let frame = read?;
        if frame.tag == Tag::End {
            if frame.number != self.index {
                return Err(self.damaged("frames are missing".to_owned()));
            }
            return Ok(None);
        }
        self.index += 1;
        Ok(Some(frame))
    }

    fn damaged(&self, what: String) -> StoreError {
        StoreError::DamagedExport { path: self.path.clone(), what }
    }
}

/// An export read as a journal: the core as it was before the first retained row, then the inputs, a commit at a time.
///
/// As an iterator it yields each commit's inputs in order, holding one in memory; it ends with an error where the file
/// turns out to be damaged.
pub struct JournalFile {
    /// The snapshot that begins the journal; `None` where the journal is whole.
    pub base: Option<Vec<u8>>,
    /// The version of authwatch that wrote the export.
    pub written_by: String,
    frames: Frames,
    ahead: Option<Frame>,
    next: u64,
}

impl JournalFile {
    /// Whether the file begins like an export; `false` too where it cannot be read.
    pub fn is(path: &Path) -> bool {
        let mut magic = [0; MAGIC.len()];
        File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *MAGIC
    }

    /// Opens an export and reads up to its journal.
    ///
    /// # Errors
    /// Where it cannot be read, is damaged, newer or no export.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut frames = Frames::open(path)?;
        let (mut base, mut bytes, mut ahead) = (None, None, None);
        while let Some(frame) = frames.next()? {
            match frame.tag {
                Tag::Meta if frame.name == meta::BASE => base = Some(frame.number),
                Tag::Meta => {}
                Tag::Snapshot if Some(frame.number) == base => {
                    bytes = Some(unpack(&frame.value).map_err(|trouble| trouble.at(path, "read the base snapshot"))?);
                }
                Tag::Snapshot => {}
                Tag::Journal
                | Tag::Position
                | Tag::Outbox
                | Tag::Ledger
                | Tag::DeadLetter
                | Tag::Forward
                | Tag::Cursor
                | Tag::DeadForward
                | Tag::End => {
                    ahead = Some(frame);
                    break;
                }
            }
        }
        if base.is_some() && bytes.is_none() {
            return Err(frames.damaged("the base snapshot is missing".to_owned()));
        }
        let written_by = frames.written_by.clone();
        Ok(Self { base: bytes, written_by, frames, ahead, next: base.unwrap_or(0) + 1 })
    }

    fn read(&mut self) -> Result<Option<Vec<Input>>, StoreError> {
        loop {
            let frame = match self.ahead.take() {
                Some(frame) => frame,
                None => match self.frames.next()? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if frame.tag == Tag::Journal {
                if frame.number != self.next {
                    return Err(self.frames.damaged(format!("journal row {} is missing", self.next)));
                }
                self.next += 1;
                let inputs = decode(&frame.value);
                return inputs.map(Some).map_err(|trouble| trouble.at(&self.frames.path, "read the journal"));
            }
        }
    }
}

impl Iterator for JournalFile {
    type Item = Result<Vec<Input>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.read();
        if row.is_err() {
            self.frames.done = true;
        }
        row.transpose()
    }
}
