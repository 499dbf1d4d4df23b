//! From the bytes of a chunk as stored to its elements.

use std::{io::Read, num::NonZeroU64, sync::Arc};

use flate2::read::{GzDecoder, ZlibDecoder};
use zarrs::{
    array::{
        ArrayBytes, ArrayToArrayCodecTraits, ArrayToBytesCodecTraits, BytesRepresentation,
        BytesToBytesCodecTraits, CodecChain, CodecOptions, DataType, FillValue,
    },
    plugin::ExtensionName,
};

/// What compression, checksums and headers may add to a chunk, in bytes.
pub(super) const MAX_OVERHEAD: usize = 1 << 16;
/// The codecs that are undone.
pub(super) const KNOWN: &str = "blosc, gzip, zlib, zstd, crc32c, transpose, bytes, vlen-utf8 or \
                                sharding_indexed around these";

/// The codecs of a chunk.
pub(super) struct Chain {
    transpose: Option<Arc<dyn ArrayToArrayCodecTraits>>,
    /// Orders the bytes of numbers; strings have none.
    numbers: Option<Arc<dyn ArrayToBytesCodecTraits>>,
    squeezed: Vec<(Squeeze, Arc<dyn BytesToBytesCodecTraits>)>,
}

/// How bytes were made other bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Squeeze {
    Gzip,
    Zlib,
    Zstd,
    Blosc,
    Crc32c,
}

impl Chain {
    /// The codecs, or the name of one that is not undone.
    pub(super) fn new(chain: &CodecChain) -> Result<Self, String> {
        let ([] | [_]) = chain.array_to_array_codecs() else {
            return Err("two transposes".to_owned());
        };
        let transpose = chain.array_to_array_codecs().first().cloned();
        if let Some(codec) = transpose.as_ref().map(|codec| name(codec.as_ref())) {
            known(&codec, &["transpose"])?;
        }
        let packed = chain.array_to_bytes_codec();
        let packing = name(packed.as_ref());
        known(&packing, &["bytes", "vlen-utf8"])?;
        let squeezed = chain
            .bytes_to_bytes_codecs()
            .iter()
            .map(|codec| Ok((Squeeze::of(&name(codec.as_ref()))?, codec.clone())));
        Ok(Self {
            transpose,
            numbers: (packing == "bytes").then(|| packed.clone()),
            squeezed: squeezed.collect::<Result<_, String>>()?,
        })
    }

    /// Whether the chunks hold strings of any length.
    pub(super) fn holds_texts(&self) -> bool {
        self.numbers.is_none()
    }

    /// Bytes that checksums add; `None` if anything is compressed.
    pub(super) fn n_added(&self) -> Option<u64> {
        let is_checksum = |(squeeze, _): &(Squeeze, _)| *squeeze == Squeeze::Crc32c;
        self.squeezed.iter().all(is_checksum).then_some(4 * self.squeezed.len() as u64)
    }

    /// The elements of a chunk that takes at most `most` bytes: numbers in the
    /// machine's order, strings with the length before each.
    pub(super) fn decode(
        &self,
        mut bytes: Vec<u8>,
        shape: &[NonZeroU64],
        (kind, fill): (&DataType, &FillValue),
        most: usize,
    ) -> Result<Vec<u8>, String> {
        for (squeeze, codec) in self.squeezed.iter().rev() {
            bytes = squeeze.undo(bytes, codec.as_ref(), most + MAX_OVERHEAD)?;
        }
        let Some(numbers) = &self.numbers else { return Ok(bytes) };
        if bytes.len() != most {
            return Err(format!("found a chunk of {} bytes, expected {most}", bytes.len()));
        }
        let options = CodecOptions::default();
        let stored = match &self.transpose {
            Some(codec) => codec.encoded_shape(shape).map_err(text)?,
            None => shape.to_vec(),
        };
        let mut elements: ArrayBytes =
            numbers.decode(bytes.into(), &stored, kind, fill, &options).map_err(text)?;
        if let Some(codec) = &self.transpose {
            elements = codec.decode(elements, shape, kind, fill, &options).map_err(text)?;
        }
        let elements = elements.into_fixed().map_err(text)?.into_owned();
        if elements.len() == most {
            Ok(elements)
        } else {
            Err("a chunk of another size".to_owned())
        }
    }
}

impl Squeeze {
    fn of(name: &str) -> Result<Self, String> {
        Ok(match name {
            "gzip" => Self::Gzip,
            "numcodecs.zlib" => Self::Zlib,
            "zstd" => Self::Zstd,
            "blosc" => Self::Blosc,
            "crc32c" => Self::Crc32c,
            other => return Err(other.to_owned()),
        })
    }

    /// What was squeezed, if it is no more than `most` bytes.
    fn undo(
        self,
        bytes: Vec<u8>,
        codec: &dyn BytesToBytesCodecTraits,
        most: usize,
    ) -> Result<Vec<u8>, String> {
        match self {
            Self::Gzip => read_all(GzDecoder::new(&bytes[..]), most),
            Self::Zlib => read_all(ZlibDecoder::new(&bytes[..]), most),
            Self::Zstd => read_all(zstd::Decoder::with_buffer(&bytes[..]).map_err(text)?, most),
            Self::Blosc if blosc_size(&bytes).is_none_or(|n| n > most) => {
                Err(format!("a blosc chunk without a header or of more than {most} bytes"))
            }
            Self::Blosc | Self::Crc32c => {
                let (size, options) = (BytesRepresentation::UnboundedSize, CodecOptions::default());
                let undone = codec.decode(bytes.into(), &size, &options).map_err(text)?;
                Ok(undone.into_owned())
            }
        }
    }
}

/// Bytes that a blosc chunk says it unpacks to.
fn blosc_size(bytes: &[u8]) -> Option<usize> {
    const HEADER: usize = 16;
    let size = bytes.get(..HEADER)?.get(4..8)?;
    Some(u32::from_le_bytes(size.try_into().ok()?) as usize)
}

fn read_all(stream: impl Read, most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    stream.take(most as u64 + 1).read_to_end(&mut bytes).map_err(text)?;
    if bytes.len() <= most {
        Ok(bytes)
    } else {
        Err(format!("a chunk unpacks to more than {most} bytes"))
    }
}

fn name(codec: &(impl ExtensionName + ?Sized)) -> String {
    codec.name_v3().map_or_else(|| "without a name".to_owned(), |name| name.into_owned())
}

fn known(name: &str, expected: &[&str]) -> Result<(), String> {
    if expected.contains(&name) { Ok(()) } else { Err(name.to_owned()) }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
