//! Finds the records in a stream of plain bytes, without reading what is in them.
//!
//! What the first byte says decides: `[` opens a JSON array whose elements are the records, pretty-printed or not, and
//! after it closes the question is open again; a first line of nothing but `{` means pretty-printed objects one after
//! another, as `jq .` writes them; anything else is NDJSON. Nothing is validated: a record may turn out to be no JSON.

use std::io::{self, BufRead, Read};

use thiserror::Error;

use super::open::Plain;

/// The longest record; a longer one is skipped and said to be too large.
pub(super) const LIMIT: usize = 1 << 20;

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    /// A record; [`Splitter::bytes`] has it until the next call.
    Whole,
    /// A record over the limit.
    TooLarge,
}

/// Why there is no next record although the stream should have one.
#[derive(Debug, Error)]
pub(super) enum SplitError {
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The stream ended inside an array.
    #[error("the array never closes")]
    Unclosed,
}

/// The records of one stream. After an error it must not be asked again.
pub(super) struct Splitter {
    input: Plain,
    mode: Mode,
    record: Vec<u8>,
    /// Plain bytes taken from the stream.
    offset: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Undecided,
    Lines,
    Array,
    Documents,
}

impl Splitter {
    pub(super) fn new(input: Plain) -> Self {
        Self { input, mode: Mode::Undecided, record: Vec::new(), offset: 0 }
    }

    /// The record found last, without white space around it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.record.trim_ascii()
    }

    /// How many plain bytes were read; on an error, where it struck.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Finds the next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, SplitError> {
        loop {
            match self.mode {
                Mode::Lines => return Ok(self.line()?),
                Mode::Undecided => match self.skip(|byte| byte.is_ascii_whitespace())? {
                    None => return Ok(None),
                    Some(b'[') => {
                        self.consume(1);
                        self.mode = Mode::Array;
                    }
                    Some(_) => return self.first_line(),
                },
                Mode::Array => match self.skip(|byte| byte.is_ascii_whitespace() || byte == b',')? {
                    None => return Err(SplitError::Unclosed),
                    Some(b']') => {
                        self.consume(1);
                        self.mode = Mode::Undecided;
                    }
                    Some(_) => {
                        self.record.clear();
                        return Ok(Some(self.value(Scan::new(true))?));
                    }
                },
                Mode::Documents => match self.skip(|byte| byte.is_ascii_whitespace() || byte == b',')? {
                    None => return Ok(None),
                    Some(_) => {
                        self.record.clear();
                        return Ok(Some(self.value(Scan::new(false))?));
                    }
                },
            }
        }
    }

    fn first_line(&mut self) -> Result<Option<Piece>, SplitError> {
        self.mode = Mode::Lines;
        let piece = self.line()?;
        if piece == Some(Piece::Whole) && self.bytes() == b"{" {
            self.mode = Mode::Documents;
            return Ok(Some(self.value(Scan { depth: 1, ..Scan::new(false) })?));
        }
        Ok(piece)
    }

    /// The next line that is not blank.
    fn line(&mut self) -> io::Result<Option<Piece>> {
        // Room for the longest record with a carriage return and a newline behind it.
        const MOST: usize = LIMIT + 2;
        loop {
            self.record.clear();
            let read = (&mut self.input).take(MOST as u64).read_until(b'\n', &mut self.record);
            self.offset += self.record.len() as u64;
            read?;
            if self.record.is_empty() {
                return Ok(None);
            }
            if self.record.len() == MOST && self.record.last() != Some(&b'\n') {
                self.offset += self.input.skip_until(b'\n')? as u64;
                return Ok(Some(Piece::TooLarge));
            }
            match self.bytes().len() {
                0 => {}
                1..=LIMIT => return Ok(Some(Piece::Whole)),
                _ => return Ok(Some(Piece::TooLarge)),
            }
        }
    }

    /// The rest of a JSON value, up to its end or the stream's.
    fn value(&mut self, mut scan: Scan) -> io::Result<Piece> {
        let mut piece = Piece::Whole;
        loop {
            let chunk = fill(&mut self.input)?;
            let (used, done) = scan.feed(chunk);
            if self.record.len() + used > LIMIT {
                piece = Piece::TooLarge;
                self.record.clear();
            }
            if piece == Piece::Whole {
                self.record.extend_from_slice(&chunk[..used]);
            }
            self.consume(used);
            if done || used == 0 {
                return Ok(piece);
            }
        }
    }

    /// Skips what `unwanted` knows; the first other byte stays unread.
    fn skip(&mut self, unwanted: impl Fn(u8) -> bool) -> io::Result<Option<u8>> {
        loop {
            let chunk = fill(&mut self.input)?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let skipped = chunk.iter().position(|byte| !unwanted(*byte)).unwrap_or(chunk.len());
            let found = chunk.get(skipped).copied();
            self.consume(skipped);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.offset += count as u64;
    }
}

/// Like `fill_buf`, but a signal is no failure.
fn fill(input: &mut Plain) -> io::Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    // Filled above, so this hands out the buffer without another read.
    input.fill_buf()
}

/// Where in a JSON value the scan stands.
#[derive(Clone, Copy, Debug)]
struct Scan {
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// Whether a `]` outside every bracket of the value closes the array around it.
    in_array: bool,
}

impl Scan {
    fn new(in_array: bool) -> Self {
        Self { depth: 0, in_string: false, escaped: false, in_array }
    }

    /// Takes bytes up to the value's end; returns how many belong to it and whether it ended.
    fn feed(&mut self, chunk: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            if self.in_string {
                at += self.in_string(&chunk[at..]);
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b']' if self.depth == 0 && self.in_array => return (at, true),
                b',' if self.depth == 0 => return (at, true),
                _ if self.depth == 0 && byte.is_ascii_whitespace() => return (at, true),
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return (at + 1, true);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        (at, false)
    }

    /// Takes the bytes of a string up to and with its closing quote.
    fn in_string(&mut self, chunk: &[u8]) -> usize {
        if self.escaped {
            self.escaped = false;
            return 1;
        }
        let Some(at) = chunk.iter().position(|byte| matches!(byte, b'"' | b'\\')) else { return chunk.len() };
        if chunk[at] == b'"' {
            self.in_string = false;
        } else {
            self.escaped = true;
        }
        at + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::file::open::plain;

    /// Hands out at most `most` bytes at a time, as a slow pipe does.
    struct Slow<'a> {
        left: &'a [u8],
        most: usize,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.most).min(self.left.len());
            let (now, left) = self.left.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.left = left;
            Ok(count)
        }
    }

    /// All records of `text`, with `…` for one that is too large and the error's text at the end.
    fn split(text: &[u8], most: usize) -> Vec<String> {
        let text: &'static [u8] = text.to_vec().leak();
        let mut splitter = Splitter::new(plain(Box::new(Slow { left: text, most })).expect("opens"));
        let mut found = Vec::new();
        loop {
            match splitter.next() {
                Ok(Some(Piece::Whole)) => found.push(String::from_utf8_lossy(splitter.bytes()).into_owned()),
                Ok(Some(Piece::TooLarge)) => found.push("…".to_owned()),
                Ok(None) => return found,
                Err(error) => {
                    found.push(error.to_string());
                    return found;
                }
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        for most in [1, 2, 3, 7, usize::MAX] {
            assert_eq!(split(text.as_bytes(), most), expect, "{text:?} by {most}");
        }
    }

    #[test]
    fn lines_are_records() {
        check("", &[]);
        check(" \r\n\n", &[]);
        check("{\"a\":1}\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"]);
        check("{\"a\":1}\r\n\r\n \t\n{\"b\":2}", &["{\"a\":1}", "{\"b\":2}"]);
        check("\u{feff}{\"a\":1}\n", &["{\"a\":1}"]);
        check("{\"a\":1\n{\"b\":2}\n", &["{\"a\":1", "{\"b\":2}"]);
        check("no json\n[1]\n", &["no json", "[1]"]);
    }

    #[test]
    fn the_elements_of_an_array_are_records() {
        check("[]", &[]);
        check("[{\"a\":1},{\"b\":[2,{}]}]", &["{\"a\":1}", "{\"b\":[2,{}]}"]);
        check(
            "\u{feff}\n [\n  {\n    \"a\": 1\n  },\n  2,\n  \"x, ]\"\n]\n",
            &["{\n    \"a\": 1\n  }", "2", "\"x, ]\""],
        );
        check(r#"[{"a":"]}\"\\"},{"b":"[{\\\""}]"#, &[r#"{"a":"]}\"\\"}"#, r#"{"b":"[{\\\""}"#]);
        check("[1,2]\n[3]{\"a\":1}\n4", &["1", "2", "3", "{\"a\":1}", "4"]);
    }

    #[test]
    fn what_is_wrong_in_an_array_stays_one_record() {
        check("[1,,nonsense here,}{,2]", &["1", "nonsense", "here", "}{,2]", "the array never closes"]);
        check("[{\"a\":1},{\"b\"", &["{\"a\":1}", "{\"b\"", "the array never closes"]);
        check("[{\"a\":1},", &["{\"a\":1}", "the array never closes"]);
        check("[", &["the array never closes"]);
    }

    #[test]
    fn pretty_printed_objects_one_after_another_are_records() {
        check("{\n \"a\": 1\n}\n{\n \"b\": \"}\"\n}\n", &["{\n \"a\": 1\n}", "{\n \"b\": \"}\"\n}"]);
        check("{\r\n \"a\": 1\r\n},\r\n{}", &["{\r\n \"a\": 1\r\n}", "{}"]);
        check("{\n1}\n]\n{\n2}", &["{\n1}", "]", "{\n2}"]);
        check("{\n \"a\":", &["{\n \"a\":"]);
    }

    #[test]
    fn a_record_over_the_limit_is_skipped_and_the_next_one_found() {
        let fits = "x".repeat(LIMIT);
        let over = "x".repeat(LIMIT + 1);
        let longer = "x".repeat(3 * LIMIT);
        for (text, expect) in [
            (format!("{fits}\r\n1"), vec![fits.as_str(), "1"]),
            (fits.clone(), vec![fits.as_str()]),
            (format!("{over}\r\n1\n"), vec!["…", "1"]),
            (format!("{over}\n1\n"), vec!["…", "1"]),
            (format!("0\n{longer}\n1\n"), vec!["0", "…", "1"]),
            (longer.clone(), vec!["…"]),
            (format!("[{fits},1]"), vec![fits.as_str(), "1"]),
            (format!("[{over},1]"), vec!["…", "1"]),
            (format!("[[\"{longer}\"],1]"), vec!["…", "1"]),
        ] {
            assert!(split(text.as_bytes(), usize::MAX) == expect, "{} bytes", text.len());
            assert!(split(text.as_bytes(), 4_099) == expect, "{} bytes, slowly", text.len());
        }
    }

    #[test]
    fn memory_does_not_grow_with_a_record_over_the_limit() {
        let text: &'static [u8] = format!("[\"{}\"]", "x".repeat(8 * LIMIT)).into_bytes().leak();
        let mut splitter = Splitter::new(plain(Box::new(text)).expect("opens"));
        assert_eq!(splitter.next().expect("no error"), Some(Piece::TooLarge));
        assert!(splitter.record.capacity() <= 2 * LIMIT, "{}", splitter.record.capacity());
        assert_eq!(splitter.offset(), text.len() as u64 - 1);
    }

    proptest! {
        /// Records survive every form they can be written in.
        #[test]
        fn what_is_written_is_found(values in prop::collection::vec(json(), 1..8), most in 1_usize..40) {
            let compact: Vec<String> = values.iter().map(ToString::to_string).collect();
            prop_assert_eq!(&split((compact.join("\n") + "\n").as_bytes(), most), &compact);
            let array = serde_json::Value::Array(values.clone());
            prop_assert_eq!(&split(array.to_string().as_bytes(), most), &compact);
            for text in [
                serde_json::to_string_pretty(&array).expect("writes"),
                values.iter().map(|value| serde_json::to_string_pretty(value).expect("writes") + "\n").collect(),
            ] {
                let read = split(text.as_bytes(), most);
                let read: Vec<serde_json::Value> = read.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
                prop_assert_eq!(&read, &values);
            }
        }

        /// Whatever comes, it ends, and by any step the same is found.
        #[test]
        fn any_bytes_are_split_the_same_by_any_step(text in "[\\[\\]{}\",:\\\\ \na1]{0,60}") {
            prop_assert_eq!(split(text.as_bytes(), 1), split(text.as_bytes(), usize::MAX));
        }
    }

    /// Objects that begin a line of their own when pretty-printed, with strings full of brackets, quotes and escapes.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let text = "[\\[\\]{}\",\\\\\n\u{e9} a]{0,12}";
        prop::collection::btree_map(text, prop::collection::vec(text, 0..3), 1..4)
            .prop_map(|map| serde_json::json!(map))
    }
}
