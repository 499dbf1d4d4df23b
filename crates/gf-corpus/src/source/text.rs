//! Text files, plain or gzip, as numbered lines of bounded length.
//!
//! Unpacking goes on in a thread of its own, so that it costs the parser
//! nothing where a second core is free.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use flate2::bufread::MultiGzDecoder;
use memchr::memchr;

use crate::error::{Error, Result};

/// Longest line of a table of ids or of a matrix with one entry a line, in bytes.
const MAX_LINE: usize = 1 << 20;
/// Bytes read or unpacked at a time.
const CHUNK: usize = 1 << 17;
/// Unpacked chunks that may wait for the parser.
const QUEUE: usize = 8;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What Windows programs put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Opens a text file, unpacking it if its first bytes say gzip.
pub(crate) fn open_text(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut reader = BufReader::with_capacity(CHUNK, file);
    if reader.fill_buf().map_err(Error::io(path))?.starts_with(&GZIP) {
        return Ok(Box::new(Unpacked::new(MultiGzDecoder::new(reader)).map_err(Error::io(path))?));
    }
    Ok(Box::new(reader))
}

/// The bytes of a reader that another thread reads ahead.
struct Unpacked {
    chunks: Receiver<io::Result<Chunk>>,
    chunk: Chunk,
    at: usize,
    is_done: bool,
    /// Where chunks that are done with go back to be filled again.
    empties: SyncSender<Chunk>,
}

/// Some bytes, the first `n_bytes` of a buffer of [`CHUNK`].
#[derive(Default)]
struct Chunk {
    buffer: Vec<u8>,
    n_bytes: usize,
}

impl Unpacked {
    fn new(reader: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, chunks) = sync_channel(QUEUE);
        let (empties, used) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("unpack".to_owned());
        thread.spawn(move || send_chunks(reader, &sender, &used))?;
        Ok(Self { chunks, chunk: Chunk::default(), at: 0, is_done: false, empties })
    }
}

/// Sends all of a reader and then an empty chunk, or else the error; stops
/// where nobody listens any more.
fn send_chunks(
    mut reader: impl Read,
    sender: &SyncSender<io::Result<Chunk>>,
    used: &Receiver<Chunk>,
) {
    loop {
        let mut chunk = used.try_recv().unwrap_or_default();
        let read = chunk.fill(&mut reader);
        let is_last = read.is_err() || chunk.n_bytes == 0;
        if sender.send(read.map(|()| chunk)).is_err() || is_last {
            return;
        }
    }
}

impl Chunk {
    fn fill(&mut self, reader: &mut impl Read) -> io::Result<()> {
        self.buffer.resize(CHUNK, 0);
        self.n_bytes = 0;
        while self.n_bytes < CHUNK {
            match reader.read(&mut self.buffer[self.n_bytes..]) {
                Ok(0) => break,
                Ok(n_bytes) => self.n_bytes += n_bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl BufRead for Unpacked {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.n_bytes && !self.is_done {
            // A thread that ends without the empty chunk must not look like the end of the file.
            let stopped = |_| Err(io::Error::other("the unpacking thread stopped"));
            let full = self.chunks.recv().unwrap_or_else(stopped)?;
            // Where the way back is full or closed, the chunk is let go.
            self.empties.try_send(std::mem::replace(&mut self.chunk, full)).unwrap_or_default();
            self.at = 0;
            self.is_done = self.chunk.n_bytes == 0;
        }
        Ok(&self.chunk.buffer[self.at..self.chunk.n_bytes])
    }

    fn consume(&mut self, n_bytes: usize) {
        self.at = self.chunk.n_bytes.min(self.at + n_bytes);
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.fill_buf()?.read(buffer)?;
        self.consume(n_bytes);
        Ok(n_bytes)
    }
}

/// Lines of a text file with their numbers, in one reused buffer.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    path: PathBuf,
    max_line: usize,
    /// Bytes read; those before `next` are done with.
    buffer: Vec<u8>,
    next: usize,
    /// The current line without its end.
    line: Range<usize>,
    number: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_wide(path, MAX_LINE)
    }

    /// For files with lines of up to `max_line` bytes.
    pub(crate) fn open_wide(path: &Path, max_line: usize) -> Result<Self> {
        let mut lines = Self {
            reader: open_text(path)?,
            path: path.to_owned(),
            max_line,
            buffer: Vec::new(),
            next: 0,
            line: 0..0,
            number: 0,
        };
        lines.fill()?;
        if lines.buffer.starts_with(BYTE_ORDER_MARK) {
            lines.next = BYTE_ORDER_MARK.len();
        }
        Ok(lines)
    }

    /// The next line without its end; `None` at the end of the file.
    pub(crate) fn next_line(&mut self) -> Result<Option<&[u8]>> {
        let mut n_searched = 0;
        let (end, next) = loop {
            let from = self.next + n_searched;
            if let Some(at) = memchr(b'\n', &self.buffer[from..]) {
                break (from + at, from + at + 1);
            }
            n_searched = self.buffer.len() - self.next;
            if n_searched <= self.max_line && self.fill()? {
                continue;
            }
            if n_searched == 0 {
                self.line = 0..0;
                return Ok(None);
            }
            break (self.buffer.len(), self.buffer.len());
        };
        self.line = self.next..end;
        self.next = next;
        self.number += 1;
        if self.line.len() > self.max_line {
            return Err(self.unexpected(format!("a line of at most {} bytes", self.max_line)));
        }
        while self.line.end > self.line.start && self.buffer[self.line.end - 1] == b'\r' {
            self.line.end -= 1;
        }
        Ok(Some(self.bytes()))
    }

    /// Appends to the buffer what comes next in the file; whether anything came.
    fn fill(&mut self) -> Result<bool> {
        self.buffer.drain(..self.next);
        self.next = 0;
        let more = self.reader.fill_buf().map_err(Error::io(&self.path))?;
        let n_bytes = more.len();
        self.buffer.extend_from_slice(more);
        self.reader.consume(n_bytes);
        Ok(n_bytes > 0)
    }

    /// The bytes after the current line that are in memory already.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.buffer[self.next..]
    }

    /// Passes over some of the lines [`ahead`](Self::ahead), whole ones.
    pub(crate) fn pass(&mut self, n_bytes: usize, n_lines: u64) {
        self.next += n_bytes;
        self.number += n_lines;
        self.line = self.next..self.next;
    }

    /// 1-based number of the current line.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The current line.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.line.clone()]
    }

    /// The current line, as text.
    pub(crate) fn text(&self) -> Result<&str> {
        self.as_text(self.bytes())
    }

    /// A part of the current line, as text.
    pub(crate) fn as_text<'a>(&self, part: &'a [u8]) -> Result<&'a str> {
        if part.contains(&0) {
            return Err(self.unexpected("text without NUL bytes".to_owned()));
        }
        std::str::from_utf8(part).map_err(|_| self.unexpected("UTF-8 text".to_owned()))
    }

    /// The current line is not what the format promises.
    pub(crate) fn unexpected(&self, expected: String) -> Error {
        const SHOWN: usize = 80;
        let line = self.bytes();
        let found = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]).into_owned();
        Error::Line { path: self.path.clone(), line: self.number, found, expected }
    }
}

/// A number of at most 18 digits.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    let mut number = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    Some(number)
}

/// The count that a text stands for, if it stands for one.
pub(super) fn count(text: &[u8]) -> Option<u32> {
    match digits(text) {
        Some(whole) => u32::try_from(whole).ok(),
        None => super::raw_count(std::str::from_utf8(text).ok()?.parse().ok()?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    fn all_lines(path: &Path, max_line: usize) -> Result<Vec<Vec<u8>>> {
        let mut lines = Lines::open_wide(path, max_line)?;
        let mut all = Vec::new();
        while let Some(line) = lines.next_line()? {
            all.push(line.to_vec());
            assert_eq!(lines.number(), all.len() as u64);
        }
        Ok(all)
    }

    #[track_caller]
    fn check(text: &[u8], expected: &[&[u8]]) {
        for bytes in [text.to_vec(), packed(text)] {
            assert_eq!(all_lines(written(&bytes).path(), 100).unwrap(), expected);
        }
    }

    #[test]
    fn lines_end_in_any_way() {
        check(b"", &[]);
        check(b"\n", &[b""]);
        check(b"a\nb", &[b"a", b"b"]);
        check(b"a\r\n\r\nb\r\n", &[b"a", b"", b"b"]);
        check(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", &[b"a", b"\xef\xbb\xbfb"]);
    }

    #[test]
    fn a_line_beyond_the_cap_is_refused() {
        let text = format!("ab\n{}\n", "x".repeat(40));
        assert_eq!(all_lines(written(text.as_bytes()).path(), 40).unwrap()[1].len(), 40);
        let error = all_lines(written(text.as_bytes()).path(), 39).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("at most 39 bytes"), "{error}");
    }

    #[test]
    fn numbers_are_counts_or_nothing() {
        let check = |text: &str, expected| assert_eq!(count(text.as_bytes()), expected, "{text}");
        check("0", Some(0));
        check("4294967295", Some(u32::MAX));
        check("4294967296", None);
        check("2.0000000001", Some(2));
        check("1e3", Some(1000));
        for text in ["", "-1", "0.5", "NA", "nan", "inf", "1e400", "1 2", "\u{661}"] {
            check(text, None);
        }
    }

    proptest! {
        // Lengths around the sizes of chunks, where lines are put together.
        #[test]
        fn lines_do_not_depend_on_chunks(lengths in prop::collection::vec(0..3 * CHUNK, 0..8)) {
            let expected: Vec<Vec<u8>> = lengths.iter().map(|&n| vec![b'x'; n]).collect();
            let text: Vec<u8> = expected.iter().flat_map(|l| [l, &b"\n"[..]].concat()).collect();
            for bytes in [packed(&text), text] {
                let found = all_lines(written(&bytes).path(), 3 * CHUNK).unwrap();
                prop_assert!(found == expected);
            }
        }
    }
}
