//! Elements as the bytes they are stored in, a window of a vector at a time.

use rust_hdf5::{DatatypeMessage, H5Type, Hdf5Error};

use super::{Data, MAX_STRING, error, heap};
use crate::error::Result;

/// An element of N bytes, whatever it means.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Wide<const N: usize>([u8; N]);

impl<const N: usize> H5Type for Wide<N> {
    fn hdf5_type() -> DatatypeMessage {
        DatatypeMessage::fixed_string(N as u32)
    }

    fn element_size() -> usize {
        N
    }
}

impl Data {
    /// Bytes of one element.
    pub(in super::super) fn width(&self) -> usize {
        self.kind.element_size() as usize
    }

    /// Some elements of a vector as stored, end to end.
    ///
    /// Elements of up to 64 bytes are read window by window. The reader has no
    /// window of wider ones, nor of tables with big-endian members: those are
    /// read once and kept, up to [`MAX_READ`](super::MAX_READ).
    pub(in super::super) fn stored(&self, start: usize, n: usize) -> Result<Vec<u8>> {
        self.check_read(n)?;
        let end = start.saturating_add(n);
        if self.shape().len() != 1 || end > self.len() || self.width() == 0 {
            return Err(self.encoding(&format!("a vector of {end} elements")));
        }
        if n == 0 {
            return Ok(Vec::new());
        }
        if self.whole.get().is_none() {
            match self.window(start, n) {
                Some(Err(Hdf5Error::TypeMismatch(_))) | None => {}
                Some(read) => return read.map_err(error(&self.path, &self.object)),
            }
        }
        let whole = match self.whole.get() {
            Some(whole) => whole,
            None => {
                let bytes = self.bytes()?;
                self.whole.get_or_init(|| bytes)
            }
        };
        let bytes = whole.get(start * self.width()..end * self.width());
        Ok(bytes.ok_or_else(|| self.encoding("as many elements as its shape says"))?.to_vec())
    }

    fn window(&self, start: usize, n: usize) -> Option<rust_hdf5::Result<Vec<u8>>> {
        macro_rules! widths {
            ($($width:literal)+) => {
                match self.width() {
                    $($width => Some(self.wide::<$width>(start, n)),)+
                    _ => None,
                }
            };
        }
        widths!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
            32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60
            61 62 63 64)
    }

    fn wide<const N: usize>(&self, start: usize, n: usize) -> rust_hdf5::Result<Vec<u8>> {
        let elements: Vec<Wide<N>> = self.dataset.read_slice(&[start], &[n])?;
        Ok(elements.into_iter().flat_map(|element| element.0).collect())
    }

    /// The strings in some stored elements, or parts of elements, of a type;
    /// `None` if the type is none of strings.
    pub(in super::super) fn texts<'a>(
        &self,
        kind: &DatatypeMessage,
        cells: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<Vec<String>>> {
        match kind {
            DatatypeMessage::VarLenString { .. } => heap::texts(self, cells).map(Some),
            DatatypeMessage::FixedString { size, padding, .. } => {
                let size = *size as usize;
                if size > MAX_STRING {
                    return Err(self.encoding(&format!("strings of at most {MAX_STRING} bytes")));
                }
                let text = |cell: &[u8]| trimmed(&cell[..cell.len().min(size)], *padding);
                Ok(Some(cells.map(text).collect()))
            }
            _ => Ok(None),
        }
    }
}

/// The text of a fixed-width cell: up to the first zero (padding 0), or
/// without the zeros (1) or blanks (2) at its end.
fn trimmed(cell: &[u8], padding: u8) -> String {
    let text = match padding {
        0 => cell.split(|&byte| byte == 0).next().unwrap_or_default(),
        _ => cell,
    };
    let text = String::from_utf8_lossy(text);
    let end: &[char] = if padding == 2 { &['\0', ' '] } else { &['\0'] };
    text.trim_end_matches(end).to_owned()
}
