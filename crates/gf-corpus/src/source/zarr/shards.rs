//! Files that hold many chunks, with an index of where each begins.

use std::{
    fs::File,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
};

use zarrs::{
    array::{CodecChain, DataType, FillValue, data_type},
    metadata_ext::codec::sharding::{ShardingCodecConfigurationV1, ShardingIndexLocation},
};

use super::{chunks::read_at, codecs::Chain};

/// Bytes of a chunk's entry: where it begins and how long it is.
const ENTRY: usize = 16;
/// Most chunks of a shard.
const MAX_CHUNKS: u64 = 1 << 20;

/// The place of a shard and the offsets and lengths in its index.
type Index = (Vec<u64>, Arc<Vec<u8>>);

/// How the chunks of a shard are found.
pub(super) struct Shards {
    /// Chunks along each dimension.
    pub(super) n_chunks: Vec<NonZeroU64>,
    codecs: Chain,
    is_first: bool,
    kind: DataType,
    fill: FillValue,
    /// The index read last, and whose it is.
    held: Mutex<Option<Index>>,
}

impl Shards {
    /// From the shape of a shard and what its codec says; else what it should say.
    pub(super) fn new(
        shard: &[NonZeroU64],
        config: &ShardingCodecConfigurationV1,
    ) -> Result<Self, String> {
        let chunk = &config.chunk_shape;
        let along = |(shard, chunk): (&NonZeroU64, &NonZeroU64)| {
            (shard.get() % chunk.get() == 0).then(|| NonZeroU64::new(shard.get() / chunk.get()))?
        };
        let n_chunks: Option<Vec<_>> = shard.iter().zip(chunk).map(along).collect();
        let n_chunks = n_chunks.filter(|_| shard.len() == chunk.len());
        let n_chunks = n_chunks.ok_or("shards of whole chunks")?;
        if product(&n_chunks) > MAX_CHUNKS {
            return Err(format!("at most {MAX_CHUNKS} chunks in a shard"));
        }
        let codecs = CodecChain::from_metadata(&config.index_codecs);
        let codecs = codecs.map_err(|reason| reason.to_string()).and_then(|c| Chain::new(&c));
        let codecs = codecs.ok().filter(|codecs| codecs.n_added().is_some());
        Ok(Self {
            n_chunks,
            codecs: codecs.ok_or("an index of the codecs bytes and crc32c")?,
            is_first: config.index_location == ShardingIndexLocation::Start,
            kind: data_type::uint64(),
            fill: FillValue::from(u64::MAX),
            held: Mutex::default(),
        })
    }

    /// Where a chunk lies in the file of its shard, and its bytes; `None` if
    /// it was not written.
    pub(super) fn find(
        &self,
        file: &File,
        shard: &[u64],
        within: &[u64],
    ) -> Result<Option<(u64, u64)>, String> {
        let index = self.index(file, shard)?;
        let place = within.iter().zip(&self.n_chunks).fold(0, |at, (i, n)| at * n.get() + i);
        let entry = index.chunks_exact(ENTRY).nth(place as usize).ok_or("a short index")?;
        let (start, n) = entry.split_at(ENTRY / 2);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte));
        let (start, n) = (number(start), number(n));
        Ok((start != u64::MAX || n != u64::MAX).then_some((start, n)))
    }

    fn index(&self, file: &File, shard: &[u64]) -> Result<Arc<Vec<u8>>, String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, index)) = &*held
            && of == shard
        {
            return Ok(index.clone());
        }
        let most = product(&self.n_chunks) as usize * ENTRY;
        let n = most as u64 + self.codecs.n_added().unwrap_or(0);
        let len = file.metadata().map_err(|error| error.to_string())?.len();
        let start = if self.is_first { 0 } else { len.checked_sub(n).ok_or("no index")? };
        let bytes = read_at(file, start, n)?;
        let mut shape = self.n_chunks.clone();
        shape.extend(NonZeroU64::new(2));
        let index = self.codecs.decode(bytes, &shape, (&self.kind, &self.fill), most)?;
        let index = Arc::new(index);
        *held = Some((shard.to_vec(), index.clone()));
        Ok(index)
    }
}

fn product(dims: &[NonZeroU64]) -> u64 {
    dims.iter().fold(1, |n, dim| n.saturating_mul(dim.get()))
}
