//! Results on stdout. A reader that has gone away (`| head`) ends the command quietly.

use std::io::{self, Write};

use serde::Serialize;

/// Writes results; a closed pipe is no error, and nothing is written after it.
pub struct Output<W: Write> {
    to: W,
    closed: bool,
}

impl Output<io::BufWriter<io::StdoutLock<'static>>> {
    /// To stdout, buffered: call [`Output::finish`] at the end.
    pub fn stdout() -> Self {
        Self::new(io::BufWriter::new(io::stdout().lock()))
    }
}

impl<W: Write> Output<W> {
    /// To any writer.
    pub fn new(to: W) -> Self {
        Self { to, closed: false }
    }

    /// Whether the reader has gone away: there is no need to go on.
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// One line of text.
    ///
    /// # Errors
    /// Where the line cannot be written for another reason than a closed pipe.
    pub fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        self.write(|to| writeln!(to, "{text}"))
    }

    /// One value as one line of JSON.
    ///
    /// # Errors
    /// Where the value is no JSON, or as for [`Output::line`].
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(text)
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// As for [`Output::line`].
    pub fn finish(mut self) -> io::Result<()> {
        self.write(Write::flush)
    }

    fn write(&mut self, write: impl FnOnce(&mut W) -> io::Result<()>) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        match write(&mut self.to) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
        let mut output = Output::new(Broken(io::ErrorKind::BrokenPipe));
        assert!(output.line("x").is_ok() && output.closed() && output.finish().is_ok());
        assert!(Output::new(Broken(io::ErrorKind::StorageFull)).line("x").is_err());
    }

    #[test]
    fn one_document_is_one_line() {
        let mut bytes = Vec::new();
        let mut output = Output::new(&mut bytes);
        output.json(&serde_json::json!({"a": "b\nc"})).expect("json");
        output.finish().expect("flush");
        assert_eq!(bytes, b"{\"a\":\"b\\nc\"}\n");
    }
}
