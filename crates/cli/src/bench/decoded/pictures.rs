//! The raw frames that are measured: in memory before the clock starts, so that reading them costs nothing.

use anyhow::Context as _;
use lumenbus_codec::{Color, DecoderConfig, EncoderConfig, convert, encoder};
use lumenbus_frame::{Dimensions, Epoch, FrameId, FrameRate, PixelFormat, RawFrame, Seq};
use lumenbus_pipeline::decode::{DecodedFrame, Decoding};
use lumenbus_source::{PatternConfig, PatternSource, Source, SourceItem, SourceOptions};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// Two seconds at 30 frames a second; 187 MB at 1080p.
const MAX_PICTURES: usize = 60;
const MAX_BYTES: usize = 400 << 20;
/// Noise of the test pattern: without any it is far cheaper to code than what a camera sees.
const NOISE: u8 = 6;

/// How many pictures are held.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Limits {
    pub(in crate::bench) pictures: usize,
    pub(in crate::bench) bytes: usize,
}

/// I420 pictures of one size.
pub(in crate::bench) struct Pictures {
    pub(in crate::bench) name: String,
    pub(in crate::bench) size: Dimensions,
    pub(in crate::bench) color: Color,
    /// The file's own, or that which was asked for.
    pub(in crate::bench) rate: FrameRate,
    frames: Vec<RawFrame>,
}

impl Pictures {
    /// The first pictures of a file, at its own size, or the test pattern with noise.
    pub(in crate::bench) fn load(source: Option<&str>, size: Dimensions, rate: FrameRate) -> anyhow::Result<Self> {
        let options = SourceOptions::default();
        let limits = Limits { pictures: MAX_PICTURES, bytes: MAX_BYTES };
        let source = match source {
            Some(spec) => lumenbus_source::open(spec, &options)?,
            None => {
                let mut pattern = PatternConfig::new(size, rate);
                pattern.noise = NOISE;
                Box::new(PatternSource::new(pattern, &options)?) as Box<dyn Source>
            }
        };
        Self::of_source(source, Some(rate), limits)
    }

    /// The first pictures of a file, at its own size, and its own rate where none is given.
    pub(in crate::bench) fn of_file(spec: &str, rate: Option<FrameRate>, limits: Limits) -> anyhow::Result<Self> {
        let options = SourceOptions { frame_rate: rate, ..SourceOptions::default() };
        Self::of_source(lumenbus_source::open(spec, &options)?, rate, limits)
    }

    fn of_source(mut source: Box<dyn Source>, rate: Option<FrameRate>, limits: Limits) -> anyhow::Result<Self> {
        let decoded = read(source.as_mut(), limits)?;
        let first = decoded.first().with_context(|| format!("{} gave no picture", source.name()))?;
        let (size, color) = (first.picture.dimensions(), first.color);
        let same_size = decoded.iter().filter(|decoded| decoded.picture.dimensions() == size);
        let frames = same_size
            .map(|decoded| convert(&decoded.picture, PixelFormat::I420, decoded.color))
            .collect::<Result<Vec<_>, _>>()?;
        let rate = rate.or(source.nominal_rate()).unwrap_or(lumenbus_source::DEFAULT_RATE);
        Ok(Self { name: source.name().to_owned(), size, color, rate, frames })
    }

    pub(in crate::bench) fn frames(&self) -> &[RawFrame] {
        &self.frames
    }

    /// There and back again, so that no cut is in it that the footage does not have.
    pub(in crate::bench) fn at(&self, index: u64) -> &RawFrame {
        let count = self.frames.len() as u64;
        let round = (2 * count).saturating_sub(2).max(1);
        let place = index % round;
        let place = if place < count { place } else { round - place };
        &self.frames[usize::try_from(place).expect("below the number of pictures")]
    }

    pub(in crate::bench) fn count(&self) -> usize {
        self.frames.len()
    }

    /// So many frames of them, coded, into a file.
    pub(in crate::bench) fn write_coded(&self, path: &Path, config: &EncoderConfig, frames: u64) -> anyhow::Result<()> {
        let mut encoder = encoder(config)?;
        encoder.set_color(self.color);
        let mut file = BufWriter::new(File::create(path).with_context(|| format!("writing {}", path.display()))?);
        let mut coded = Vec::new();
        for index in 0..frames {
            encoder.encode(self.at(index), &mut coded)?;
            coded.drain(..).try_for_each(|frame| file.write_all(&frame.payload))?;
        }
        Ok(file.flush()?)
    }
}

fn read(source: &mut dyn Source, limits: Limits) -> anyhow::Result<Vec<DecodedFrame>> {
    let mut decoding = Decoding::new(DecoderConfig { pixel_format: Some(PixelFormat::I420) });
    let (mut pictures, mut bytes, mut seq): (Vec<DecodedFrame>, usize, u64) = (Vec::new(), 0, 0);
    while pictures.len() < limits.pictures && bytes < limits.bytes {
        let before = pictures.len();
        let id = FrameId { epoch: Epoch(1), seq: Seq(seq) };
        seq += 1;
        match source.next_frame()? {
            None => {
                decoding.finish(&mut pictures);
                break;
            }
            Some(SourceItem::Encoded { frame, .. }) => decoding.push(id, &frame, &mut pictures)?,
            Some(SourceItem::Raw { frame, .. }) => {
                let color = Color::assumed(frame.dimensions());
                pictures.push(DecodedFrame { id, picture: frame, color });
            }
            Some(_) => {}
        }
        bytes += pictures[before..].iter().map(|decoded| decoded.picture.pixels().len()).sum::<usize>();
    }
    pictures.truncate(limits.pictures);
    Ok(pictures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_go_there_and_back() {
        let rate = FrameRate::per_second(30);
        let mut pictures = Pictures::load(None, Dimensions::new(128, 64), rate).unwrap();
        assert_eq!((pictures.count(), pictures.size), (MAX_PICTURES, Dimensions::new(128, 64)));
        pictures.frames.truncate(3);
        let expected = [0, 1, 2, 1, 0, 1, 2];
        for (index, place) in expected.into_iter().enumerate() {
            assert_eq!(pictures.at(index as u64), &pictures.frames[place]);
        }
        pictures.frames.truncate(1);
        assert_eq!(pictures.at(5), &pictures.frames[0]);
    }
}
