//! Counter and time as blocks of black and white that survive coding.

use lumenbus_frame::{Dimensions, PixelFormat, RawFrame};

/// Blocks in a row and rows of blocks.
const COLUMNS: u32 = 32;
const ROWS: u32 = 4;
/// First sixteen bits: what a frame without marker will hardly show.
const SYNC: u16 = 0xb5c3;
/// Luma of a 1 and of a 0, and between them.
const WHITE: u8 = 235;
const BLACK: u8 = 16;
const THRESHOLD: u32 = 126;

/// What is written into a test picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Number of the frame, from 0; wraps at 2³².
    pub counter: u32,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub unix_nanos: i64,
}

/// Where the blocks lie: at the lower left, two blocks' height from the edge at most.
#[derive(Debug, Clone, Copy)]
struct Grid {
    left: u32,
    top: u32,
    cell: u32,
}

impl Grid {
    /// Four pixels a block at least: below 128 × 32 there is no room.
    fn of(size: Dimensions) -> Option<Self> {
        let cell = (size.width / COLUMNS).min(size.height / (3 * ROWS)).min(32) & !1;
        if cell < 4 {
            return None;
        }
        // On block borders of the usual codecs where possible.
        let top = (size.height - ROWS * cell) & !7;
        Some(Self { left: 0, top, cell })
    }
}

/// Smallest width and height that a marker fits in.
pub(super) const MIN_SIZE: Dimensions = Dimensions { width: 128, height: 48 };

impl Marker {
    fn to_bits(self) -> u128 {
        let words = u128::from(SYNC) << 112
            | u128::from(self.counter) << 80
            | u128::from(self.unix_nanos.cast_unsigned()) << 16;
        words | u128::from(checksum(words))
    }

    fn from_bits(bits: u128) -> Option<Self> {
        let bytes = bits.to_be_bytes();
        let is_marker = bytes[..2] == SYNC.to_be_bytes() && bytes[14..] == checksum(bits).to_be_bytes();
        let counter = u32::from_be_bytes(*bytes[2..].first_chunk()?);
        let unix_nanos = i64::from_be_bytes(*bytes[6..].first_chunk()?);
        is_marker.then_some(Self { counter, unix_nanos })
    }

    /// Draws the blocks into a luma plane.
    pub(super) fn draw(self, luma: &mut [u8], size: Dimensions) {
        let Some(grid) = Grid::of(size) else { return };
        let bits = self.to_bits();
        for index in 0..COLUMNS * ROWS {
            let value = if bits >> (127 - index) & 1 == 1 { WHITE } else { BLACK };
            let (left, top) = (grid.left + index % COLUMNS * grid.cell, grid.top + index / COLUMNS * grid.cell);
            for row in top..(top + grid.cell).min(size.height) {
                let at = row as usize * size.width as usize + left as usize;
                luma[at..at + grid.cell as usize].fill(value);
            }
        }
    }
}

/// CRC-16/CCITT-FALSE of all but the last two bytes.
fn checksum(bits: u128) -> u16 {
    bits.to_be_bytes()[..14].iter().fold(0xffff, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

/// Reads the marker of a test picture, also after lossy coding; `None` when there is none or it is damaged.
///
/// The frame must have the size it was made with.
#[must_use]
pub fn read_marker(frame: &RawFrame) -> Option<Marker> {
    let size = frame.dimensions();
    let grid = Grid::of(size)?;
    let mut bits = 0_u128;
    for index in 0..COLUMNS * ROWS {
        let (left, top) = (grid.left + index % COLUMNS * grid.cell, grid.top + index / COLUMNS * grid.cell);
        bits = bits << 1 | u128::from(mean_luma(frame, left, top, grid.cell) > THRESHOLD);
    }
    Marker::from_bits(bits)
}

/// Mean over a block's inner half, which coding blurs least.
fn mean_luma(frame: &RawFrame, left: u32, top: u32, cell: u32) -> u32 {
    let (inset, side) = (cell / 4, cell - cell / 4 * 2);
    let (mut sum, mut count) = (0, 0);
    for y in top + inset..(top + inset + side).min(frame.dimensions().height) {
        for x in left + inset..left + inset + side {
            sum += luma_at(frame, x, y);
            count += 1;
        }
    }
    sum / count.max(1)
}

fn luma_at(frame: &RawFrame, x: u32, y: u32) -> u32 {
    let pixels = frame.pixels();
    let at = y as usize * frame.dimensions().width as usize + x as usize;
    let byte = |at: usize| u32::from(pixels[at]);
    match frame.format() {
        PixelFormat::Gray16Le => byte(2 * at + 1),
        PixelFormat::Rgb8 => (byte(3 * at) * 77 + byte(3 * at + 1) * 150 + byte(3 * at + 2) * 29) >> 8,
        _ => byte(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_round_trip_and_one_wrong_bit_is_noticed() {
        for marker in [
            Marker { counter: 0, unix_nanos: 0 },
            Marker { counter: u32::MAX, unix_nanos: i64::MIN },
            Marker { counter: 1234, unix_nanos: 1_700_000_000_123_456_789 },
        ] {
            assert_eq!(Marker::from_bits(marker.to_bits()), Some(marker));
            for bit in 0..128 {
                assert_eq!(Marker::from_bits(marker.to_bits() ^ 1 << bit), None);
            }
        }
    }
}
