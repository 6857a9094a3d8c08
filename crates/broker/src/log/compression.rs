//! Batch contents in and out of compression, for compaction and time lookups only; both under a byte limit.

use std::borrow::Cow;
use std::io::{self, Read, Write};

const NONE: i16 = 0;
const GZIP: i16 = 1;
const SNAPPY: i16 = 2;
const LZ4: i16 = 3;
const ZSTD: i16 = 4;

/// Header of the snappy-java block stream that Kafka clients write: magic, version, compatible version.
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

/// The records of a batch, decompressed; an error of kind `FileTooLarge` when they exceed `limit` bytes.
pub(crate) fn decompress(codec: i16, body: &[u8], limit: usize) -> io::Result<Cow<'_, [u8]>> {
    match codec {
        NONE if body.len() > limit => Err(too_large()),
        NONE => Ok(Cow::Borrowed(body)),
        GZIP => bounded(flate2::read::MultiGzDecoder::new(body), limit),
        SNAPPY => unsnap(body, limit),
        LZ4 => bounded(lz4_flex::frame::FrameDecoder::new(body), limit),
        ZSTD => bounded(zstd::stream::read::Decoder::with_buffer(body)?, limit),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "unknown compression codec")),
    }
}

/// The records of a batch, compressed.
pub(crate) fn compress(codec: i16, contents: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        NONE => Ok(contents.to_vec()),
        GZIP => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(contents)?;
            encoder.finish()
        }
        SNAPPY => snap_blocks(contents),
        LZ4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(contents)?;
            encoder.finish().map_err(io::Error::other)
        }
        ZSTD => zstd::stream::encode_all(contents, 0),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "unknown compression codec")),
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "batch contents exceed the limit for decompression")
}

fn bounded(reader: impl Read, limit: usize) -> io::Result<Cow<'static, [u8]>> {
    let mut contents = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut contents)?;
    if contents.len() > limit { Err(too_large()) } else { Ok(Cow::Owned(contents)) }
}

/// Snappy as Kafka clients write it: one raw block, or the snappy-java stream of length-prefixed blocks.
fn unsnap(body: &[u8], limit: usize) -> io::Result<Cow<'static, [u8]>> {
    let Some(mut blocks) = body.strip_prefix(&XERIAL_HEADER[..8]).and_then(|rest| rest.get(8..)) else {
        return unsnap_block(body, limit).map(Cow::Owned);
    };
    let mut contents = Vec::new();
    while let Some((length, rest)) = blocks.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(io::Error::other)?;
        let block = rest.get(..length).ok_or(io::ErrorKind::UnexpectedEof)?;
        contents.extend_from_slice(&unsnap_block(block, limit - contents.len())?);
        blocks = &rest[length..];
    }
    Ok(Cow::Owned(contents))
}

fn unsnap_block(block: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    if snap::raw::decompress_len(block)? > limit {
        return Err(too_large());
    }
    Ok(snap::raw::Decoder::new().decompress_vec(block)?)
}

fn snap_blocks(contents: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = XERIAL_HEADER.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for chunk in contents.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder.compress_vec(chunk)?;
        out.extend_from_slice(&u32::try_from(block.len()).map_err(io::Error::other)?.to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_round_trips_and_keeps_its_limit() {
        let contents: Vec<u8> = (0..100_000_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
        for codec in [NONE, GZIP, SNAPPY, LZ4, ZSTD] {
            let packed = compress(codec, &contents).unwrap();
            assert_eq!(decompress(codec, &packed, contents.len()).unwrap(), contents, "codec {codec}");
            let refused = decompress(codec, &packed, contents.len() - 1).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge, "codec {codec}");
            if codec != NONE {
                assert!(decompress(codec, &packed[..packed.len() / 2], contents.len()).is_err(), "codec {codec}");
            }
        }
        assert!(decompress(5, &contents, usize::MAX).is_err());
    }

    #[test]
    fn raw_snappy_is_read_too() {
        let packed = snap::raw::Encoder::new().compress_vec(b"plain block").unwrap();
        assert_eq!(&decompress(SNAPPY, &packed, 100).unwrap()[..], b"plain block");
    }
}
