//! What is checked of an Arrow file before arrow2 reads it.
//!
//! arrow2 takes a file's word for its types and spans: a list of fixed size 0
//! or a sum of lengths beyond 2⁶⁴ makes it panic.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use arrow_format::ipc::{self, MessageHeaderRef, MessageRef, planus::ReadAsRoot};
use arrow2::{
    datatypes::{DataType, PhysicalType},
    io::ipc::read::FileMetadata,
};

use super::broken;
use crate::error::{Error, Result};

/// What a message begins with, before its length.
const MARKER: [u8; 4] = [0xff; 4];

/// Refuses types that no file of ours has, and batches that lead out of the file.
pub(super) fn check(
    path: &Path,
    file: &mut BufReader<File>,
    metadata: &FileMetadata,
) -> Result<()> {
    let types = metadata.schema.fields.iter().map(|field| &field.data_type);
    if let Some(kind) = types.into_iter().find(|kind| !is_ours(kind)) {
        return Err(broken(path, format!("found a column of {kind:?}, expected another type")));
    }
    if !metadata.ipc_schema.is_little_endian {
        return Err(broken(path, "found big-endian numbers, expected little-endian".to_owned()));
    }
    let n_bytes = file.get_ref().metadata().map_err(Error::io(path))?.len();
    for (place, block) in metadata.blocks.iter().enumerate() {
        let Some(header) = Span::of(block, n_bytes) else {
            return Err(broken(path, format!("batch {place} leads out of the file")));
        };
        let message = header.read(file).map_err(Error::io(path))?;
        header
            .check_batch(&message)
            .map_err(|why| broken(path, format!("batch {place}: {why}")))?;
    }
    Ok(())
}

fn is_ours(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) => is_number(&item.data_type),
        kind => matches!(kind, DataType::Utf8 | DataType::Boolean) || is_number(kind),
    }
}

/// Whether it is a plain number; a dictionary is one only by its keys.
fn is_number(kind: &DataType) -> bool {
    matches!(kind.to_physical_type(), PhysicalType::Primitive(_))
}

/// A batch inside its file, in bytes.
struct Span {
    at: u64,
    n_header: u64,
    n_body: u64,
}

impl Span {
    fn of(block: &ipc::Block, n_file: u64) -> Option<Self> {
        let at = u64::try_from(block.offset).ok()?;
        let n_header = u64::try_from(block.meta_data_length).ok()?;
        let n_body = u64::try_from(block.body_length).ok()?;
        let end = at.checked_add(n_header)?.checked_add(n_body)?;
        (end <= n_file).then_some(Self { at, n_header, n_body })
    }

    /// The header, as arrow2 finds it: behind a marker, if there is one, and its length.
    fn read(&self, file: &mut BufReader<File>) -> std::io::Result<Vec<u8>> {
        let mut four = [0; 4];
        file.seek(SeekFrom::Start(self.at))?;
        file.read_exact(&mut four)?;
        if four == MARKER {
            file.read_exact(&mut four)?;
        }
        let n_bytes = u64::from(u32::from_le_bytes(four)).min(self.n_header);
        let mut header = Vec::new();
        file.take(n_bytes).read_to_end(&mut header)?;
        Ok(header)
    }

    /// Checks that every buffer lies inside the body.
    fn check_batch(&self, header: &[u8]) -> Result<(), String> {
        let message = MessageRef::read_as_root(header).map_err(|e| e.to_string())?;
        let Some(MessageHeaderRef::RecordBatch(batch)) =
            message.header().map_err(|e| e.to_string())?
        else {
            return Err("found another message, expected cells".to_owned());
        };
        if batch.compression().map_err(|e| e.to_string())?.is_some() {
            return Err("found compressed columns, expected plain ones".to_owned());
        }
        let buffers = batch.buffers().map_err(|e| e.to_string())?;
        let is_inside = |buffer: ipc::BufferRef<'_>| {
            let (at, n) = (u64::try_from(buffer.offset()), u64::try_from(buffer.length()));
            let end = at.ok().zip(n.ok()).and_then(|(at, n)| at.checked_add(n));
            end.is_some_and(|end| end <= self.n_body)
        };
        match buffers.into_iter().flatten().all(is_inside) {
            true => Ok(()),
            false => Err(format!("a column leads out of its {} bytes", self.n_body)),
        }
    }
}
