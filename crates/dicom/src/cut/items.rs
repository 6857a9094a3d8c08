//! Encapsulated pixels: an offset table and fragments, each an item (DICOM PS3.5, section A.4).

use crate::element::{ByteOrder, ElementHeader, Encoding, Tag, VrEncoding};
use crate::record::MAX_FRAGMENTS;

pub(super) const ITEM_HEADER_BYTES: usize = 8;
/// As many offsets as fragments can be listed.
const MAX_TABLE_BYTES: usize = MAX_FRAGMENTS * 4;

/// What the bytes just taken are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// Part of an item's header: held.
    Held,
    /// The held header begins an item of so many bytes with it.
    Item { length: u64 },
    /// An item's value.
    Value,
    /// What is held is no item: the end.
    End { finding: Option<&'static str> },
}

#[derive(Debug)]
pub(super) struct Items {
    order: ByteOrder,
    held: [u8; ITEM_HEADER_BYTES],
    held_bytes: usize,
    /// Of the item's value.
    left: u32,
    items: u64,
    table: Vec<u8>,
    table_length: u32,
    lengths: Vec<u32>,
}

impl Items {
    pub(super) fn new(order: ByteOrder) -> Self {
        Self {
            order,
            held: [0; ITEM_HEADER_BYTES],
            held_bytes: 0,
            left: 0,
            items: 0,
            table: Vec::new(),
            table_length: 0,
            lengths: Vec::new(),
        }
    }

    /// Takes some of `bytes`, at least one; says how many and what they are.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> (usize, Fed) {
        if self.left > 0 {
            return (self.value(bytes), Fed::Value);
        }
        let taken = bytes.len().min(ITEM_HEADER_BYTES - self.held_bytes);
        self.held[self.held_bytes..][..taken].copy_from_slice(&bytes[..taken]);
        self.held_bytes += taken;
        let fed = if self.held_bytes < ITEM_HEADER_BYTES { Fed::Held } else { self.header() };
        (taken, fed)
    }

    fn value(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.left as usize);
        // At most what was left, which has 32 bits.
        self.left -= u32::try_from(taken).unwrap_or(self.left);
        if self.items == 1 {
            let room = MAX_TABLE_BYTES.saturating_sub(self.table.len()).min(taken);
            self.table.extend_from_slice(&bytes[..room]);
        }
        taken
    }

    fn header(&mut self) -> Fed {
        let encoding = Encoding::new(VrEncoding::Explicit, self.order);
        let Some(header) = ElementHeader::read(&self.held, encoding) else {
            return Fed::End { finding: Some("missing-sequence-delimiter") };
        };
        match header.tag {
            Tag::ITEM if !header.has_undefined_length() => {
                if self.items == 0 {
                    self.table_length = header.length;
                } else if self.lengths.len() < MAX_FRAGMENTS {
                    self.lengths.push(header.length);
                }
                self.items += 1;
                self.left = header.length;
                Fed::Item { length: u64::from(header.length) + ITEM_HEADER_BYTES as u64 }
            }
            Tag::SEQUENCE_DELIMITER => Fed::End { finding: None },
            _ => Fed::End { finding: Some("missing-sequence-delimiter") },
        }
    }

    /// Bytes of an item's header, or of what is none.
    pub(super) fn held(&self) -> &[u8] {
        &self.held[..self.held_bytes]
    }

    /// The held bytes are taken.
    pub(super) fn release(&mut self) {
        self.held_bytes = 0;
    }

    /// Whether an item's value ended early.
    pub(super) fn is_cut_short(&self) -> bool {
        self.left > 0
    }

    /// Of the first item's value.
    pub(super) fn table_length(&self) -> u32 {
        self.table_length
    }

    /// The basic offset table; nothing when there is none or it is larger than any we list.
    pub(super) fn offsets(&self) -> Option<Vec<u64>> {
        let complete = self.table.len() == self.table_length as usize && self.table.len().is_multiple_of(4);
        let numbers = self.table.chunks_exact(4).filter_map(|number| number.first_chunk::<4>());
        (complete && !self.table.is_empty()).then(|| numbers.map(|&number| u64::from(self.order.u32(number))).collect())
    }

    /// Fragments; the offset table is none.
    pub(super) fn count(&self) -> u64 {
        self.items.saturating_sub(1)
    }

    /// Of the fragments that are listed.
    pub(super) fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    pub(super) fn into_lengths(self) -> Vec<u32> {
        self.lengths
    }
}
