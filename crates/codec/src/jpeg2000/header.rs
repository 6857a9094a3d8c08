//! What decoding a file would take, from its headers (ITU-T T.800, annexes A and I).

use crate::CodecError;
use crate::coder::{MAX_SIDE_PIXELS, check_size};
use lumenbus_frame::{Codec, Dimensions};

const STREAM_START: &[u8] = &[0xFF, 0x4F, 0xFF, 0x51];
const FILE_START: &[u8] = b"\0\0\0\x0CjP  ";

/// Those that a decoder may meet in a header (A.2); no other is let through.
mod marker {
    pub(super) const SIZE: u64 = 0xFF51;
    pub(super) const CODING_STYLE: u64 = 0xFF52;
    pub(super) const COMPONENT_STYLE: u64 = 0xFF53;
    pub(super) const TILE_PART_LENGTHS: u64 = 0xFF55;
    pub(super) const PACKET_LENGTHS: u64 = 0xFF57;
    pub(super) const PACKET_LENGTHS_OF_TILE_PART: u64 = 0xFF58;
    pub(super) const QUANTISATION: u64 = 0xFF5C;
    pub(super) const COMPONENT_QUANTISATION: u64 = 0xFF5D;
    pub(super) const REGION: u64 = 0xFF5E;
    pub(super) const PROGRESSION_CHANGE: u64 = 0xFF5F;
    pub(super) const PACKET_HEADERS: u64 = 0xFF60;
    pub(super) const PACKET_HEADERS_OF_TILE_PART: u64 = 0xFF61;
    pub(super) const COMPONENT_PLACES: u64 = 0xFF63;
    pub(super) const COMMENT: u64 = 0xFF64;
    pub(super) const START_OF_TILE_PART: u64 = 0xFF90;
    pub(super) const START_OF_DATA: u64 = 0xFF93;
    pub(super) const END: u64 = 0xFFD9;
}

/// Most samples of all components together: a decoder keeps four bytes of each about three times.
const MAX_SAMPLES: u64 = 1 << 26;
/// Most tiles, precincts and code-blocks together, a tile counting for eight: a decoder keeps some 200 bytes of each, and as
/// much again for eight quality layers.
const MAX_PIECES: u64 = 1 << 20;
const PIECES_OF_TILE: u64 = 8;
const LAYERS_OF_PIECE: u64 = 8;
/// A.4.2 has 16 bits for a tile's number.
const MAX_TILES: u64 = 65_535;
/// A byte, and two for each of the 97 sub-bands that 32 levels have (A.6.4); every tile has its own copy.
const MAX_QUANTISATION_BYTES: usize = 1 + 2 * 97;
/// Some sixty changes of the order in which packets come; each goes over all packets of a tile.
const MAX_PROGRESSION_BYTES: usize = 448;
/// Three colours and opacity.
const MAX_COMPONENTS: u64 = 4;
const MAX_LEVELS: u64 = 32;

pub(super) fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed { codec: Codec::Jpeg2000, what }
}

pub(super) fn unusual(what: &str) -> CodecError {
    let remedy = "convert the file; its record holds it as it was published";
    CodecError::UnsupportedStream { codec: Codec::Jpeg2000, what: what.to_owned(), remedy }
}

/// A number of `N` bytes, the most significant one first.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<u64, CodecError> {
    let field = at.checked_add(N).and_then(|end| bytes.get(at..end)).ok_or(malformed("it ends inside a header"))?;
    Ok(field.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn length(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The size of the picture in a JP2 file or codestream that is whole, and takes no more memory than we permit.
pub(super) fn check(file: &[u8]) -> Result<Dimensions, CodecError> {
    let stream = codestream(file)?;
    let grid = Grid::read(stream)?;
    check_size(Codec::Jpeg2000, grid.size)?;
    if u64::from(grid.size.width) * u64::from(grid.size.height) * grid.components > MAX_SAMPLES {
        return Err(unusual("of more than 2^26 samples"));
    }
    check_segments(stream, &grid)?;
    Ok(grid.size)
}

/// Refuses to write what would be refused when it is read.
pub(super) fn check_samples(size: Dimensions, components: u64) -> Result<(), CodecError> {
    let max_pixels = MAX_SAMPLES / components;
    if u64::from(size.width) * u64::from(size.height) <= max_pixels {
        return Ok(());
    }
    Err(CodecError::TooLarge { codec: Codec::Jpeg2000, dimensions: size, max_side: MAX_SIDE_PIXELS, max_pixels })
}

/// Walks all headers up to the end marker.
fn check_segments(stream: &[u8], grid: &Grid) -> Result<(), CodecError> {
    let mut pieces = grid.tiles.saturating_mul(grid.components * PIECES_OF_TILE);
    let mut layers = 1;
    let mut at = 2;
    // Where the tile-part ends whose header this is.
    let mut tile_part: Option<usize> = None;
    loop {
        let kind = number::<2>(stream, at)?;
        if kind == marker::END && tile_part.is_none() {
            return Ok(());
        }
        if kind == marker::START_OF_DATA {
            let end = tile_part.take().filter(|end| *end > at && *end <= stream.len());
            at = end.ok_or(malformed("it is truncated, or a tile-part has no place"))?;
            continue;
        }
        let end = at.saturating_add(2).saturating_add(length(number::<2>(stream, at + 2)?));
        let body = stream.get(at + 4..end).ok_or(malformed("a segment is longer than the file"))?;
        let tiles = if tile_part.is_none() { grid.tiles } else { 1 };
        check_length(kind, body, at)?;
        let more = match kind {
            marker::START_OF_TILE_PART => {
                let bytes = length(number::<4>(body, 2)?);
                // Without a length it goes on up to the end marker.
                tile_part = Some(if bytes == 0 { stream.len().saturating_sub(2) } else { at.saturating_add(bytes) });
                0
            }
            marker::CODING_STYLE => {
                layers = layers.max(number::<2>(body, 2)?);
                grid.pieces(body.first().copied(), body.get(5..))?.saturating_mul(grid.components)
            }
            marker::COMPONENT_STYLE => grid.pieces(body.get(1).copied(), body.get(2..))?,
            _ => 0,
        };
        pieces = pieces.saturating_add(more.saturating_mul(tiles));
        if pieces.saturating_mul(1 + layers / LAYERS_OF_PIECE) > MAX_PIECES {
            return Err(unusual("cut into more than a million pieces"));
        }
        at = end;
    }
}

/// A decoder may go by a segment's contents rather than by its length: where the two disagree, it would read what follows
/// as other segments than those that were checked.
fn check_length(kind: u64, body: &[u8], at: usize) -> Result<(), CodecError> {
    let precincts = |style: usize, levels: usize| match (body.get(style), body.get(levels)) {
        (Some(style), Some(levels)) if style & 1 != 0 => usize::from(*levels) + 1,
        _ => 0,
    };
    let length = body.len();
    let is_right = match kind {
        // Its length is checked where it is read; there is one, at the beginning.
        marker::SIZE => at == 2,
        marker::CODING_STYLE => length == 10 + precincts(0, 5),
        marker::COMPONENT_STYLE => length == 7 + precincts(1, 2),
        marker::QUANTISATION => (2..=MAX_QUANTISATION_BYTES).contains(&length),
        marker::COMPONENT_QUANTISATION => (3..=MAX_QUANTISATION_BYTES + 1).contains(&length),
        marker::REGION => length == 3,
        marker::PROGRESSION_CHANGE => length <= MAX_PROGRESSION_BYTES,
        marker::START_OF_TILE_PART => length == 8,
        marker::TILE_PART_LENGTHS
        | marker::PACKET_LENGTHS
        | marker::PACKET_LENGTHS_OF_TILE_PART
        | marker::PACKET_HEADERS
        | marker::PACKET_HEADERS_OF_TILE_PART
        | marker::COMPONENT_PLACES
        | marker::COMMENT => true,
        _ => return Err(unusual("with a segment that baseline files do not have")),
    };
    if is_right { Ok(()) } else { Err(malformed("a segment whose length is not that of its contents")) }
}

/// What the SIZ segment says (A.5.1).
struct Grid {
    size: Dimensions,
    /// Of a whole tile.
    tile: (u64, u64),
    tiles: u64,
    components: u64,
}

impl Grid {
    fn read(stream: &[u8]) -> Result<Self, CodecError> {
        if !stream.starts_with(STREAM_START) {
            return Err(malformed("it does not begin with a codestream's markers"));
        }
        let field = |index: usize| number::<4>(stream, 8 + 4 * index);
        let side = |end: u64, start: u64| {
            let side = end.checked_sub(start).and_then(|side| u32::try_from(side).ok());
            side.ok_or(malformed("a picture that ends before it begins"))
        };
        let (right, bottom) = (field(0)?, field(1)?);
        let size = Dimensions::new(side(right, field(2)?)?, side(bottom, field(3)?)?);
        let (tile_width, tile_height, tile_left, tile_top) = (field(4)?, field(5)?, field(6)?, field(7)?);
        if tile_width == 0 || tile_height == 0 || tile_left > right || tile_top > bottom {
            return Err(malformed("tiles without a place"));
        }
        let components = number::<2>(stream, 40)?;
        if !(1..=MAX_COMPONENTS).contains(&components) {
            return Err(unusual("of no component or of more than four"));
        }
        if number::<2>(stream, 4)? != 38 + 3 * components {
            return Err(malformed("a segment whose length is not that of its contents"));
        }
        for component in 0..length(components) {
            match number::<1>(stream, 42 + 3 * component)? {
                depth if depth & 0x80 != 0 => return Err(unusual("of signed samples")),
                depth if depth >= 16 => return Err(unusual("of more than 16 bits a sample")),
                _ => {}
            }
        }
        let tiles = (right - tile_left).div_ceil(tile_width) * (bottom - tile_top).div_ceil(tile_height);
        if tiles > MAX_TILES {
            return Err(malformed("more tiles than have numbers"));
        }
        Ok(Self { size, tile: (tile_width.min(right), tile_height.min(bottom)), tiles, components })
    }

    /// Precincts and code-blocks of one component of one tile (A.6.1).
    fn pieces(&self, style: Option<u8>, parameters: Option<&[u8]>) -> Result<u64, CodecError> {
        let (Some(style), Some(&[levels, block_width, block_height, _, _, ref precincts @ ..])) = (style, parameters)
        else {
            return Err(malformed("a coding style that is too short"));
        };
        let levels = u64::from(levels);
        if levels > MAX_LEVELS || block_width > 8 || block_height > 8 {
            return Err(malformed("a coding style beyond its limits"));
        }
        let mut pieces = 0_u64;
        for resolution in 0..=levels {
            let precinct = if style & 1 == 0 { 0xFF } else { precincts.get(length(resolution)).copied().unwrap_or(0) };
            // Beyond the coarsest resolution sub-bands are half as large as the picture that they make.
            let half = u32::from(resolution > 0);
            let count = |side: u64, block: u8, precinct: u8| {
                let bits = u32::from(block + 2).min(u32::from(precinct).saturating_sub(half));
                side.div_ceil(1 << (levels - resolution)).div_ceil(1 << half).div_ceil(1 << bits)
            };
            let across = count(self.tile.0, block_width, precinct & 0xF);
            let down = count(self.tile.1, block_height, precinct >> 4);
            pieces = pieces.saturating_add(across.saturating_mul(down).saturating_mul(if half == 0 { 1 } else { 3 }));
        }
        Ok(pieces)
    }
}

/// The codestream in a file: all of it, or the content of its box `jp2c`.
fn codestream(file: &[u8]) -> Result<&[u8], CodecError> {
    if !file.starts_with(FILE_START) {
        return Ok(file);
    }
    // All of them: a decoder may take the last one.
    let mut stream = None;
    for found in Boxes(file) {
        match found? {
            (b"jp2c", _) if stream.is_some() => return Err(unusual("with more than one codestream")),
            (b"jp2c", content) => stream = Some(content),
            (b"jp2h", content) => {
                for inner in Boxes(content) {
                    if let (b"pclr", _) = inner? {
                        return Err(unusual("with a palette"));
                    }
                }
            }
            _ => {}
        }
    }
    stream.ok_or(malformed("a JP2 file without a codestream"))
}

/// The boxes of a file or of another box (I.4): kind and content.
struct Boxes<'a>(&'a [u8]);

impl<'a> Boxes<'a> {
    fn read(&self) -> Result<(usize, usize), CodecError> {
        let (header, size) = match number::<4>(self.0, 0)? {
            0 => (8, self.0.len()),
            1 => (16, length(number::<8>(self.0, 8)?)),
            size => (8, length(size)),
        };
        if size < header || size > self.0.len() {
            return Err(malformed("it is truncated, or a box has no place"));
        }
        Ok((header, size))
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<(&'a [u8; 4], &'a [u8]), CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read().and_then(|(header, size)| {
            let (this, rest) = self.0.split_at(size);
            self.0 = rest;
            let kind = this.get(4..).and_then(<[u8]>::first_chunk).ok_or(malformed("it ends inside a header"))?;
            Ok((kind, &this[header..]))
        });
        if read.is_err() {
            self.0 = &[];
        }
        Some(read)
    }
}
