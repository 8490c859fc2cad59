//! From a path to a stream of plain bytes: standard input for `-`, and gzip or zstd by their first bytes, whatever the
//! name says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;

/// The size of every buffer on the way; large, so that a read is worth its system call.
const BUFFER: usize = 128 << 10;

/// How many bytes tell the formats apart.
const MAGIC: usize = 4;

/// A stream of plain bytes.
pub(super) type Plain = BufReader<Box<dyn Read + Send>>;

/// Whether the path means standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens `path` as it is stored; the bar counts its bytes.
pub(super) fn raw(path: &Path, bar: &ProgressBar) -> io::Result<Box<dyn Read + Send>> {
    if is_stdin(path) {
        return Ok(Box::new(bar.wrap_read(io::stdin())));
    }
    Ok(Box::new(bar.wrap_read(File::open(path)?)))
}

/// Undoes compression. Several gzip members or zstd frames in a row are one stream.
pub(super) fn plain(mut raw: Box<dyn Read + Send>) -> io::Result<Plain> {
    let mut magic = Vec::with_capacity(MAGIC);
    raw.by_ref().take(MAGIC as u64).read_to_end(&mut magic)?;
    let compression = Compression::of(&magic);
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(magic).chain(raw));
    let plain: Box<dyn Read + Send> = match compression {
        None => Box::new(whole),
        Some(Compression::Gzip) => Box::new(MultiGzDecoder::new(whole)),
        Some(Compression::Zstd) => Box::new(zstd::stream::read::Decoder::with_buffer(whole)?),
    };
    let mut plain = BufReader::with_capacity(BUFFER, plain);
    skip_byte_order_mark(&mut plain)?;
    Ok(plain)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// RFC 1952, section 2.3.1; RFC 8878, sections 3.1.1 and 3.1.2 (a stream may begin with a skippable frame).
    fn of(magic: &[u8]) -> Option<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Skips UTF-8's mark. A plain stream shows its first four bytes at once, so the mark is never torn.
fn skip_byte_order_mark(plain: &mut Plain) -> io::Result<()> {
    if plain.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        plain.consume(3);
    }
    Ok(())
}
