//! The messages of an Arrow IPC stream: where the batches lie, and the parts that one column has in
//! one of them.
//!
//! A message is `ff ff ff ff`, the length of its header (i32), the header (a flatbuffer) and a body
//! of the length the header tells. The stream is a schema, then batches of rows (and dictionaries),
//! then a header of length 0. No slice is taken before its bounds are checked.
//! Source: <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use arrow_format::ipc::{
    DictionaryBatchRef, Endianness, MessageHeaderRef, MessageRef, RecordBatchRef, SchemaRef,
    planus::{self, ReadAsRoot},
};

use super::{
    column::{Column, Parts},
    layout::{Layout, LayoutError, Size},
};
use crate::error::ArrowFault;

const MARKER: [u8; 4] = [0xff; 4];
const PREFIX_LEN: usize = 8;
/// Most headers are shorter, so that one read takes them whole.
const COMMON_HEADER_BYTES: usize = 2048;
/// A longer header is none: a schema of a hundred thousand columns takes less.
const MAX_HEADER_BYTES: usize = 1 << 26;

/// A stretch of bytes of the file.
pub(super) type Span = Range<usize>;

/// Which dictionary holds where the batch is reached.
type Dictionaries = Arc<HashMap<i64, Place>>;

/// Columns and batches of one file.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) fields: Vec<Field>,
    pub(super) batches: Vec<Batch>,
    /// Dictionaries that were checked, by their place and the field they are of.
    checked: Mutex<HashMap<(usize, usize), Arc<Column>>>,
}

/// A column of the schema.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) layout: Layout,
    idx: usize,
    /// Entries of the columns before it.
    skip: Size,
}

/// A batch of rows in the file.
#[derive(Debug)]
pub(super) struct Batch {
    /// Rows of the file before it.
    pub(super) first_row: usize,
    pub(super) n_rows: usize,
    place: Place,
    dictionaries: Dictionaries,
}

/// Where a message lies.
#[derive(Clone, Debug)]
struct Place {
    at: usize,
    header: Span,
    body: Span,
}

impl Stream {
    /// Walks the message headers of a file of `len` bytes. They are read, not mapped: a mapped page
    /// brings its neighbours into memory, which would be much of the file.
    pub(super) fn index(file: &File, len: usize) -> Result<Self, ArrowFault> {
        let mut headers = Headers { file, len, buffer: Vec::new() };
        let (fields, mut next) = match headers.at(0)? {
            Some((place, MessageHeaderRef::Schema(schema))) => {
                (read_schema(schema, place.at)?, place.body.end)
            }
            _ => return Err(message_fault(0, "expected the schema")),
        };
        let mut stream = Self { fields, batches: Vec::new(), checked: Mutex::default() };
        let mut dictionaries = Dictionaries::default();
        while let Some((place, header)) = headers.at(next)? {
            next = place.body.end;
            match header {
                MessageHeaderRef::RecordBatch(batch) => {
                    let n_rows = count_rows(batch.length(), place.at, len)?;
                    stream.add_batch(n_rows, place, &dictionaries);
                }
                MessageHeaderRef::DictionaryBatch(batch) => {
                    let id = dictionary_id(batch, place.at)?;
                    Arc::make_mut(&mut dictionaries).insert(id, place);
                }
                _ => return Err(message_fault(place.at, "expected rows or a dictionary")),
            }
        }
        Ok(stream)
    }

    /// The field of a name.
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Names of the columns.
    pub(super) fn names(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.name.clone()).collect()
    }

    /// Reads and checks one column of a batch.
    pub(super) fn column(
        &self,
        bytes: &[u8],
        batch: &Batch,
        field: &Field,
    ) -> Result<Column, ArrowFault> {
        let Place { at, body, .. } = &batch.place;
        let MessageHeaderRef::RecordBatch(record) = batch.place.header(bytes)? else {
            return Err(message_fault(*at, "expected rows"));
        };
        let parts = parts(record, field.skip, *at)?;
        let parts = Parts::new(bytes, body.clone(), parts, &field.name, batch.first_row);
        let dictionary = |id| self.dictionary(bytes, batch, field, id);
        Column::read(parts, &field.layout, batch.n_rows, &dictionary)
    }

    /// The values of a dictionary as it stands before a batch.
    fn dictionary(
        &self,
        bytes: &[u8],
        batch: &Batch,
        field: &Field,
        id: i64,
    ) -> Result<Arc<Column>, ArrowFault> {
        let missing = || message_fault(batch.place.at, &format!("dictionary {id} is missing"));
        let place = batch.dictionaries.get(&id).ok_or_else(missing)?;
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(values) = checked.get(&(place.at, field.idx)) {
            return Ok(Arc::clone(values));
        }
        let values = Arc::new(read_dictionary(bytes, place, batch.first_row, field)?);
        checked.insert((place.at, field.idx), Arc::clone(&values));
        Ok(values)
    }

    fn add_batch(&mut self, n_rows: usize, place: Place, dictionaries: &Dictionaries) {
        let first_row = self.batches.last().map_or(0, |last| last.first_row + last.n_rows);
        let dictionaries = Arc::clone(dictionaries);
        self.batches.push(Batch { first_row, n_rows, place, dictionaries });
    }
}

impl Place {
    fn header<'a>(&self, bytes: &'a [u8]) -> Result<MessageHeaderRef<'a>, ArrowFault> {
        let message =
            MessageRef::read_as_root(&bytes[self.header.clone()]).map_err(corrupt(self.at))?;
        let header = message.header().map_err(corrupt(self.at))?;
        header.ok_or_else(|| message_fault(self.at, "no content"))
    }
}

fn read_dictionary(
    bytes: &[u8],
    place: &Place,
    first_row: usize,
    field: &Field,
) -> Result<Column, ArrowFault> {
    let missing = || message_fault(place.at, "expected a dictionary");
    let (MessageHeaderRef::DictionaryBatch(batch), Layout::Dictionary { values, .. }) =
        (place.header(bytes)?, &field.layout)
    else {
        return Err(missing());
    };
    let data = batch.data().map_err(corrupt(place.at))?.ok_or_else(missing)?;
    let n_values = count_rows(data.length(), place.at, bytes.len())?;
    let parts = parts(data, Size::default(), place.at)?;
    let parts = Parts::new(bytes, place.body.clone(), parts, &field.name, first_row);
    Column::read(parts, values, n_values, &|_| {
        Err(message_fault(place.at, "a dictionary of dictionaries"))
    })
}

/// The arrays (length, missing values) and buffers (start, length) of a batch after the first few.
pub(super) type PartLists = (Vec<(i64, i64)>, Vec<(i64, i64)>);

fn parts(batch: RecordBatchRef<'_>, skip: Size, at: usize) -> Result<PartLists, ArrowFault> {
    if batch.compression().map_err(corrupt(at))?.is_some() {
        return Err(ArrowFault::Unsupported { at, what: "compressed buffers" });
    }
    let nodes = batch.nodes().map_err(corrupt(at))?.into_iter().flatten();
    let buffers = batch.buffers().map_err(corrupt(at))?.into_iter().flatten();
    let nodes = nodes.skip(skip.nodes).map(|node| (node.length(), node.null_count()));
    let buffers = buffers.skip(skip.buffers).map(|buffer| (buffer.offset(), buffer.length()));
    Ok((nodes.collect(), buffers.collect()))
}

/// The rows a batch says it has; no row takes less than a byte of the file.
fn count_rows(
    length: planus::Result<i64>,
    at: usize,
    file_len: usize,
) -> Result<usize, ArrowFault> {
    let length = length.map_err(corrupt(at))?;
    let n_rows = usize::try_from(length).ok().filter(|&n_rows| n_rows <= file_len);
    n_rows.ok_or_else(|| message_fault(at, &format!("{length} rows in a file of {file_len} bytes")))
}

fn read_schema(schema: SchemaRef<'_>, at: usize) -> Result<Vec<Field>, ArrowFault> {
    if schema.endianness().map_err(corrupt(at))? != Endianness::Little {
        return Err(ArrowFault::Unsupported { at, what: "big-endian numbers" });
    }
    let mut skip = Size::default();
    let mut fields = Vec::new();
    for (idx, field) in schema.fields().map_err(corrupt(at))?.into_iter().flatten().enumerate() {
        let field = field.map_err(corrupt(at))?;
        let name = field.name().map_err(corrupt(at))?.unwrap_or_default().to_owned();
        let layout = Layout::of(field).map_err(|error| match error {
            LayoutError::Header(error) => corrupt(at)(error),
            LayoutError::Unsupported(what) => {
                ArrowFault::UnsupportedColumn { column: name.clone(), what }
            }
        })?;
        let next = skip + layout.size();
        fields.push(Field { name, layout, idx, skip });
        skip = next;
    }
    Ok(fields)
}

fn dictionary_id(batch: DictionaryBatchRef<'_>, at: usize) -> Result<i64, ArrowFault> {
    match batch.is_delta().map_err(corrupt(at))? {
        true => Err(ArrowFault::Unsupported { at, what: "a dictionary that grows" }),
        false => batch.id().map_err(corrupt(at)),
    }
}

/// The message headers of a file, one at a time.
struct Headers<'a> {
    file: &'a File,
    len: usize,
    buffer: Vec<u8>,
}

impl Headers<'_> {
    /// The message at a byte, or nothing at the end marker.
    fn at(&mut self, at: usize) -> Result<Option<(Place, MessageHeaderRef<'_>)>, ArrowFault> {
        let prefix = span(self.len, at, at, PREFIX_LEN as i64)?;
        self.read(at, prefix.start..self.len.min(at + COMMON_HEADER_BYTES))?;
        let mut marker = [0; 4];
        let mut length = [0; 4];
        marker.copy_from_slice(&self.buffer[..4]);
        length.copy_from_slice(&self.buffer[4..PREFIX_LEN]);
        if marker != MARKER {
            return Err(ArrowFault::Marker { at, found: marker });
        }
        let length = i32::from_le_bytes(length);
        if length == 0 {
            return Ok(None);
        }
        let header = span(self.len, at, prefix.end, length.into())?;
        if header.len() > MAX_HEADER_BYTES {
            return Err(ArrowFault::Unsupported { at, what: "a header of more than 64 MiB" });
        }
        if header.end - at > self.buffer.len() {
            self.read(at, at..header.end)?;
        }
        let bytes = &self.buffer[PREFIX_LEN..header.end - at];
        let message = MessageRef::read_as_root(bytes).map_err(corrupt(at))?;
        let body_len = message.body_length().map_err(corrupt(at))?;
        let body = span(self.len, at, header.end, body_len)?;
        let content = message.header().map_err(corrupt(at))?;
        let content = content.ok_or_else(|| message_fault(at, "no content"))?;
        Ok(Some((Place { at, header, body }, content)))
    }

    fn read(&mut self, at: usize, span: Span) -> Result<(), ArrowFault> {
        self.buffer.resize(span.len(), 0);
        let place = self.file.seek(SeekFrom::Start(span.start as u64));
        place
            .and_then(|_| self.file.read_exact(&mut self.buffer))
            .map_err(|source| ArrowFault::Read { at, source })
    }
}

/// The bytes from `start`, if a file of `len` bytes has so many.
fn span(len: usize, at: usize, start: usize, length: i64) -> Result<Span, ArrowFault> {
    let length =
        usize::try_from(length).map_err(|_| message_fault(at, &format!("length {length}")))?;
    match start.checked_add(length) {
        Some(end) if end <= len => Ok(start..end),
        _ => Err(ArrowFault::Truncated {
            at,
            expected: (start - at).saturating_add(length),
            found: len - at,
        }),
    }
}

fn corrupt(at: usize) -> impl Fn(planus::Error) -> ArrowFault {
    move |error| message_fault(at, &error.to_string())
}

fn message_fault(at: usize, what: &str) -> ArrowFault {
    ArrowFault::Message { at, what: what.to_owned() }
}
