//! The codecs that Kafka's batches may have, as librdkafka has them.

use std::fmt;
use std::io::{Read as _, Write as _};

/// A codec, with its level where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Snappy,
    Lz4,
    Zstd(i32),
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snappy => f.write_str("snappy"),
            Self::Lz4 => f.write_str("lz4"),
            Self::Zstd(level) => write!(f, "zstd-{level}"),
        }
    }
}

impl Transport {
    /// Three is librdkafka's own level.
    pub(super) const ALL: [Self; 5] = [Self::Snappy, Self::Lz4, Self::Zstd(1), Self::Zstd(3), Self::Zstd(9)];

    pub(super) fn compress(self, batch: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Snappy => snap::raw::Encoder::new().compress_vec(batch)?,
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(batch)?;
                encoder.finish()?
            }
            Self::Zstd(level) => zstd::bulk::compress(batch, level)?,
        })
    }

    pub(super) fn decompress(self, compressed: &[u8], length: usize) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Snappy => snap::raw::Decoder::new().decompress_vec(compressed)?,
            Self::Lz4 => {
                let mut batch = Vec::with_capacity(length);
                lz4_flex::frame::FrameDecoder::new(compressed).read_to_end(&mut batch)?;
                batch
            }
            Self::Zstd(_) => zstd::bulk::decompress(compressed, length)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let batch: Vec<u8> = (0..20_000_u32).map(|at| (at / 7 % 50).to_le_bytes()[0]).collect();
        for transport in Transport::ALL {
            let compressed = transport.compress(&batch).unwrap();
            assert!(compressed.len() < batch.len() / 2, "{transport}");
            assert_eq!(transport.decompress(&compressed, batch.len()).unwrap(), batch, "{transport}");
        }
    }
}
