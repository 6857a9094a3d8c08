//! Packets: which code-blocks follow, and how long they are (ITU-T T.800, annex B.9 and B.10).

use super::block::CodedBlock;

/// The code-blocks of a sub-band, row by row.
pub(super) struct BandBlocks {
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Bit planes that decoders expect.
    pub(super) planes: u32,
    pub(super) blocks: Vec<CodedBlock>,
}

/// Writes the packet of a resolution of one component: its only layer, its only precinct.
pub(super) fn write(out: &mut Vec<u8>, bands: &[BandBlocks]) {
    let mut header = BitWriter::default();
    let blocks = || bands.iter().flat_map(|band| &band.blocks);
    let has_data = blocks().any(|block| block.planes > 0);
    header.put(u32::from(has_data), 1);
    if has_data {
        bands.iter().for_each(|band| write_band(&mut header, band));
    }
    out.extend_from_slice(&header.finish());
    blocks().for_each(|block| out.extend_from_slice(&block.bytes));
}

fn write_band(header: &mut BitWriter, band: &BandBlocks) {
    let tree = |value: fn(&CodedBlock, u32) -> u32| {
        let values = band.blocks.iter().map(|block| value(block, band.planes)).collect();
        TagTree::new(band.columns, band.rows, values)
    };
    // The first layer in which a block appears: this one, or none.
    let mut inclusion = tree(|block, _| u32::from(block.planes == 0));
    let mut empty_planes = tree(|block, planes| planes - block.planes);
    for (at, block) in band.blocks.iter().enumerate() {
        inclusion.write(header, at, 1);
        if block.planes == 0 {
            continue;
        }
        empty_planes.write(header, at, u32::MAX);
        write_passes(header, block.passes());
        write_length(header, block);
    }
}

/// Table B.4.
fn write_passes(header: &mut BitWriter, passes: u32) {
    match passes {
        0 | 1 => header.put(0, 1),
        2 => header.put(0b10, 2),
        3..=5 => header.put(0b1100 | (passes - 3), 4),
        6..=36 => header.put(0b1111 << 5 | (passes - 6), 9),
        _ => header.put(0x1FF << 7 | (passes - 37), 16),
    }
}

/// B.10.7: how many bits the length has, in addition to what the passes let expect, and the length.
fn write_length(header: &mut BitWriter, block: &CodedBlock) {
    const EXPECTED: u32 = 3;
    let length = u32::try_from(block.bytes.len()).expect("a code-block has at most 4096 coefficients");
    let usual = EXPECTED + block.passes().ilog2();
    let needed = u32::BITS - length.leading_zeros();
    let more = needed.saturating_sub(usual);
    (0..more).for_each(|_| header.put(1, 1));
    header.put(0, 1);
    header.put(length, usual + more);
}

/// Bits from the most significant one on; after a byte FF comes a zero bit, so that no marker can appear.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    current: u32,
    used: u32,
}

impl BitWriter {
    fn put(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            self.current = self.current << 1 | (value >> at & 1);
            self.used += 1;
            if self.used == self.room() {
                self.end_byte();
            }
        }
    }

    fn room(&self) -> u32 {
        if self.bytes.last() == Some(&0xFF) { 7 } else { 8 }
    }

    fn end_byte(&mut self) {
        self.bytes.push(self.current.to_le_bytes()[0]);
        (self.current, self.used) = (0, 0);
    }

    fn finish(mut self) -> Vec<u8> {
        while self.used != 0 || self.bytes.last() == Some(&0xFF) {
            self.put(0, 1);
        }
        self.bytes
    }
}

/// Numbers of a grid, told by ever smaller parts of it (B.10.2).
struct TagTree {
    nodes: Vec<Node>,
    /// Each level's first node and its columns; the leaves first.
    levels: Vec<(usize, usize)>,
}

#[derive(Clone, Copy)]
struct Node {
    /// The smallest number below it.
    value: u32,
    /// What the reader knows: the value is not smaller.
    told: u32,
    is_known: bool,
}

impl TagTree {
    fn new(columns: usize, rows: usize, values: Vec<u32>) -> Self {
        let node = |value| Node { value, told: 0, is_known: false };
        let mut nodes: Vec<Node> = values.into_iter().map(node).collect();
        let (mut levels, mut columns, mut rows) = (vec![(0, columns)], columns, rows);
        while columns * rows > 1 {
            let (start, wide) = (nodes.len() - columns * rows, columns);
            let below = nodes[start..].to_vec();
            (columns, rows) = (columns.div_ceil(2), rows.div_ceil(2));
            levels.push((nodes.len(), columns));
            nodes.resize(nodes.len() + columns * rows, node(u32::MAX));
            let (base, _) = levels[levels.len() - 1];
            for (at, child) in below.iter().enumerate() {
                let parent = &mut nodes[base + at / wide / 2 * columns + at % wide / 2];
                parent.value = parent.value.min(child.value);
            }
        }
        Self { nodes, levels }
    }

    /// Tells the reader of a leaf whether its value is below `limit`, and which it is then.
    fn write(&mut self, header: &mut BitWriter, leaf: usize, limit: u32) {
        let (x, y) = (leaf % self.levels[0].1, leaf / self.levels[0].1);
        let mut told = 0;
        for (level, (base, columns)) in self.levels.iter().enumerate().rev() {
            let node = &mut self.nodes[base + (y >> level) * columns + (x >> level)];
            node.told = node.told.max(told);
            while node.told < limit && !node.is_known {
                node.is_known = node.told == node.value;
                header.put(u32::from(node.is_known), 1);
                node.told += u32::from(!node.is_known);
            }
            told = node.told;
        }
    }
}
