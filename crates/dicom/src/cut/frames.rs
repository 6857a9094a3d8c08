//! Which bytes of the pixels are which frame.

use super::items::{ITEM_HEADER_BYTES, Items};
use crate::attributes::Attributes;
use crate::element::Tag;
use crate::record::{Grouping, MAX_FRAGMENTS};

/// Bytes of one native frame, where Rows, Columns, Samples per Pixel, Bits Allocated and Number of Frames agree with the
/// value's length, padded or not.
pub(super) fn native_frame_bytes(attributes: &Attributes, length: u64) -> Option<u64> {
    let number = |tag| attributes.u16(tag).map(u64::from);
    let frames = attributes.integer(Tag::NUMBER_OF_FRAMES).unwrap_or(1);
    let photometric = attributes.value(Tag::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
    // PS3.3, section C.7.6.3.1.2: two pixels share their chrominance.
    let samples =
        if photometric.starts_with(b"YBR_FULL_422") { 2 } else { number(Tag::SAMPLES_PER_PIXEL).unwrap_or(1) };
    let pixels = number(Tag::ROWS)?.checked_mul(number(Tag::COLUMNS)?)?.checked_mul(samples)?;
    let frame_bits = pixels.checked_mul(number(Tag::BITS_ALLOCATED)?)?;
    let bytes = frame_bits.checked_mul(frames)?.div_ceil(8);
    let whole = frame_bits > 0 && frame_bits.is_multiple_of(8);
    (whole && (length == bytes || length == bytes + bytes % 2)).then_some(frame_bits / 8)
}

/// The Extended Offset Table (7FE0,0001), which is in the header.
pub(super) fn extended_offsets(attributes: &Attributes, header: &[u8]) -> Option<Vec<u64>> {
    let table = attributes.list.iter().find(|attribute| attribute.tag == Tag::EXTENDED_OFFSET_TABLE)?;
    let (offset, length) = (usize::try_from(table.offset).ok()?, usize::try_from(table.length).ok()?);
    let value = header.get(offset..offset.checked_add(length)?)?;
    if value.is_empty() || !value.len().is_multiple_of(8) || value.len() / 8 > MAX_FRAGMENTS {
        return None;
    }
    let numbers = value.chunks_exact(8).filter_map(|number| number.first_chunk::<8>());
    Some(numbers.map(|&number| attributes.byte_order.u64(number)).collect())
}

/// The extended table counts, else the basic one, else what the numbers leave no choice in.
pub(super) fn group(items: &Items, frames: u64, extended: Option<&[u64]>) -> Grouping {
    let basic = items.offsets();
    let by_table = [extended, basic.as_deref()].into_iter().flatten().find_map(|offsets| {
        let fits = offsets.len() as u64 == frames && items.count() == items.lengths().len() as u64;
        fits.then(|| counts(items.lengths(), offsets)).flatten()
    });
    match by_table {
        _ if frames == 1 => Grouping::Single,
        Some(counts) if counts.iter().all(|&count| count == 1) => Grouping::OnePerFrame,
        Some(counts) => Grouping::Counts(counts),
        None if frames == items.count() => Grouping::OnePerFrame,
        None => Grouping::Unknown,
    }
}

/// Fragments of each frame; nothing unless each offset is a fragment's beginning and the first is 0.
fn counts(lengths: &[u32], offsets: &[u64]) -> Option<Vec<u32>> {
    let mut starts = offsets.iter().peekable();
    let mut counts: Vec<u32> = Vec::new();
    let mut at = 0;
    for &length in lengths {
        if starts.next_if(|&&start| start == at).is_some() {
            counts.push(0);
        }
        *counts.last_mut()? += 1;
        at += ITEM_HEADER_BYTES as u64 + u64::from(length);
    }
    starts.peek().is_none().then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_grouped_by_offsets_that_fit() {
        let check = |offsets: &[u64], expected: Option<Vec<u32>>| {
            assert_eq!(counts(&[10, 20, 30], offsets), expected, "{offsets:?}");
        };
        check(&[0, 18, 46], Some(vec![1, 1, 1]));
        check(&[0, 46], Some(vec![2, 1]));
        check(&[0], Some(vec![3]));
        check(&[18, 46], None);
        check(&[0, 17], None);
        check(&[0, 46, 18], None);
        check(&[0, 46, 84], None);
    }
}
