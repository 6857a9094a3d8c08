//! Pictures with what is in them and what was found: people look rather than read.

use anyhow::Context as _;
use lumenbus_codec::{EncoderConfig, convert, encoder};
use lumenbus_frame::{Codec, PixelFormat, RawFrame};
use lumenbus_pipeline::decode::DecodedFrame;
use lumenbus_vision::Bounds;
use lumenbus_vision::evaluate::{LabelledBox, Matches};
use std::path::{Path, PathBuf};

const FOUND: [u8; 3] = [0, 200, 0];
const MISSED: [u8; 3] = [230, 0, 0];
const RIGHT: [u8; 3] = [255, 220, 0];
const WRONG: [u8; 3] = [40, 80, 255];
const IGNORED: [u8; 3] = [150, 150, 150];

/// A folder of them.
pub(super) struct Drawings(PathBuf);

impl Drawings {
    pub(super) fn into_folder(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder.to_owned()))
    }

    pub(super) fn write(
        &self,
        seq: u64,
        decoded: &DecodedFrame,
        labelled: &[LabelledBox],
        found: &[Bounds],
        matches: &Matches,
    ) -> anyhow::Result<()> {
        let picture = convert(&decoded.picture, PixelFormat::Rgb8, decoded.color)?;
        let mut pixels = picture.pixels().to_vec();
        let width = picture.dimensions().width as usize;
        for (index, label) in labelled.iter().enumerate() {
            let color = if label.ignore {
                IGNORED
            } else if matches.missed.contains(&index) {
                MISSED
            } else {
                FOUND
            };
            outline(&mut pixels, width, &label.bounds(), color);
        }
        for (index, bounds) in found.iter().enumerate() {
            outline(&mut pixels, width, bounds, if matches.wrong.contains(&index) { WRONG } else { RIGHT });
        }
        let drawn = RawFrame::new(PixelFormat::Rgb8, picture.dimensions(), pixels.into(), picture.capture)?;
        let mut coded = Vec::new();
        encoder(&EncoderConfig::new(Codec::Jpeg))?.encode(&drawn, &mut coded)?;
        let path = self.0.join(format!("{seq:06}.jpg"));
        let file = coded.first().context("the encoder gave no picture")?;
        std::fs::write(&path, &file.payload).with_context(|| format!("writing {}", path.display()))
    }
}

/// One pixel wide, inside of the picture.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounds are clipped to the picture")]
fn outline(pixels: &mut [u8], width: usize, bounds: &Bounds, color: [u8; 3]) {
    let height = pixels.len() / 3 / width;
    let (left, top) = (bounds.x as usize, bounds.y as usize);
    let (right, bottom) = ((bounds.right() as usize).min(width), (bounds.bottom() as usize).min(height));
    let mut paint = |x: usize, y: usize| {
        let at = 3 * (y * width + x);
        if let Some(pixel) = pixels.get_mut(at..at + 3) {
            pixel.copy_from_slice(&color);
        }
    };
    for x in left..right {
        paint(x, top);
        paint(x, bottom.saturating_sub(1));
    }
    for y in top..bottom {
        paint(left, y);
        paint(right.saturating_sub(1), y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_is_inside_of_its_box() {
        let mut pixels = vec![0; 3 * 6 * 5];
        outline(&mut pixels, 6, &Bounds::new(1.0, 1.0, 4.0, 3.0), [9, 9, 9]);
        let rows: Vec<String> = pixels
            .chunks(18)
            .map(|row| row.chunks(3).map(|rgb| if rgb[0] == 9 { '#' } else { '.' }).collect())
            .collect();
        assert_eq!(rows, ["......", ".####.", ".#..#.", ".####.", "......"]);
        outline(&mut pixels, 6, &Bounds::new(3.0, 2.0, 3.0, 3.0), [8, 8, 8]);
        assert_eq!(pixels[pixels.len() - 3..], [8, 8, 8]);
    }
}
