//! Colours as red, green and blue (PS3.3, C.7.6.3.1.2 and C.7.9).

use super::{NoPicture, tag};
use crate::element::Tag;
use crate::record::Metadata;

/// Longest lookup table.
const MAX_ENTRIES: usize = 1 << 16;

/// Red, green and blue by stored value.
#[derive(Debug, Clone)]
pub(super) struct Palette {
    /// Of each colour the first value mapped, and what it and those behind it become.
    tables: [(i32, Vec<u8>); 3],
}

impl Palette {
    pub(super) fn of(metadata: &Metadata) -> Result<Self, NoPicture> {
        let table = |color: usize| table(metadata, tag::PALETTE_DESCRIPTORS[color], tag::PALETTE_DATA[color]);
        Ok(Self { tables: [table(0)?, table(1)?, table(2)?] })
    }

    /// Values outside have the colours of the ends.
    pub(super) fn color(&self, value: i32) -> [u8; 3] {
        let of = |(first, table): &(i32, Vec<u8>)| {
            let at = usize::try_from(value.saturating_sub(*first)).unwrap_or(0).min(table.len() - 1);
            table[at]
        };
        [of(&self.tables[0]), of(&self.tables[1]), of(&self.tables[2])]
    }
}

fn table(metadata: &Metadata, descriptor: Tag, data: Tag) -> Result<(i32, Vec<u8>), NoPicture> {
    const WRONG: NoPicture = NoPicture::Damaged { what: "its palette is missing or incomplete" };
    let attributes = &metadata.attributes;
    let order = attributes.byte_order;
    let words = attributes.value(descriptor).ok_or(WRONG)?;
    let &[a, b, c, d, e, f] = words.first_chunk::<6>().ok_or(WRONG)?;
    let (entries, first, bits) = (order.u16([a, b]), order.u16([c, d]), order.u16([e, f]));
    // 65,536 entries are written as 0.
    let entries = if entries == 0 { MAX_ENTRIES } else { usize::from(entries) };
    let is_signed = attributes.u16(tag::PIXEL_REPRESENTATION) == Some(1);
    let first = if is_signed { i32::from(first.cast_signed()) } else { i32::from(first) };
    let attribute = attributes.list.iter().find(|attribute| attribute.tag == data).ok_or(WRONG)?;
    let from_header = || {
        let start = usize::try_from(attribute.offset).ok()?;
        metadata.header.get(start..start.checked_add(usize::try_from(attribute.length).ok()?)?)
    };
    // Long values are places in the file.
    let bytes = attribute.value.as_deref().or_else(from_header).ok_or(WRONG)?;
    let table: Vec<u8> = if bytes.len() >= entries * 2 {
        let words = bytes.chunks_exact(2).take(entries).map(|pair| order.u16([pair[0], pair[1]]));
        // Some files say 16 bits and have 8 of them.
        let words = words.collect::<Vec<_>>();
        let shift = if bits > 8 && words.iter().any(|word| *word > 0xFF) { 8 } else { 0 };
        words.into_iter().map(|word| u8::try_from(word >> shift).unwrap_or(u8::MAX)).collect()
    } else if bits <= 8 && bytes.len() >= entries {
        bytes[..entries].to_vec()
    } else {
        return Err(WRONG);
    };
    Ok((first, table))
}

/// From the full range of Y, Cb and Cr.
pub(super) fn rgb_of_ybr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(byte)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn byte(value: f32) -> u8 {
    (value + 0.5) as u8
}
