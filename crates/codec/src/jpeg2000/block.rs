//! Code-blocks: the bit planes of coefficients, in three passes each (ITU-T T.800, annex D).

use super::arithmetic::{MqEncoder, RUN_LENGTH, UNIFORM};
use super::wavelet::Band;

/// Longest side of a code-block: what every encoder takes, and the largest area there may be.
pub(super) const SIDE: usize = 64;

/// What is known of a coefficient: its own state, and which of its eight neighbours are significant.
mod flag {
    pub(super) const NORTH: u16 = 1;
    pub(super) const SOUTH: u16 = 1 << 1;
    pub(super) const WEST: u16 = 1 << 2;
    pub(super) const EAST: u16 = 1 << 3;
    pub(super) const NORTH_WEST: u16 = 1 << 4;
    pub(super) const NORTH_EAST: u16 = 1 << 5;
    pub(super) const SOUTH_WEST: u16 = 1 << 6;
    pub(super) const SOUTH_EAST: u16 = 1 << 7;
    pub(super) const NEIGHBOURS: u16 = 0xFF;
    /// The nearest neighbours' signs, in the order of the first four: [`SIGN_SHIFT`] above them.
    pub(super) const NORTH_MINUS: u16 = 1 << 8;
    pub(super) const SOUTH_MINUS: u16 = 1 << 9;
    pub(super) const WEST_MINUS: u16 = 1 << 10;
    pub(super) const EAST_MINUS: u16 = 1 << 11;
    pub(super) const SIGNIFICANT: u16 = 1 << 12;
    /// Coded in this bit plane's first pass.
    pub(super) const VISITED: u16 = 1 << 13;
    pub(super) const REFINED: u16 = 1 << 14;
}

const fn has(set: u16, flag: u16) -> u8 {
    (set & flag != 0) as u8
}

/// Table D.1: the context of each set of significant neighbours.
const fn zero_contexts(band: Band) -> [u8; 256] {
    let mut table = [0; 256];
    let mut set = 0_u16;
    while set < 256 {
        let vertical = has(set, flag::NORTH) + has(set, flag::SOUTH);
        let horizontal = has(set, flag::WEST) + has(set, flag::EAST);
        let diagonal = has(set, flag::NORTH_WEST)
            + has(set, flag::NORTH_EAST)
            + has(set, flag::SOUTH_WEST)
            + has(set, flag::SOUTH_EAST);
        table[set as usize] = match band {
            Band::HighHigh => diagonal_context(horizontal + vertical, diagonal),
            Band::HighLow => straight_context(vertical, horizontal, diagonal),
            Band::LowLow | Band::LowHigh => straight_context(horizontal, vertical, diagonal),
        };
        set += 1;
    }
    table
}

const fn straight_context(along: u8, across: u8, diagonal: u8) -> u8 {
    match (along, across, diagonal) {
        (2, _, _) => 8,
        (1, 1.., _) => 7,
        (1, 0, 1..) => 6,
        (1, 0, 0) => 5,
        (_, 2, _) => 4,
        (_, 1, _) => 3,
        (_, _, 2..) => 2,
        (_, _, diagonal) => diagonal,
    }
}

const fn diagonal_context(straight: u8, diagonal: u8) -> u8 {
    match (diagonal, straight) {
        (3.., _) => 8,
        (2, 1..) => 7,
        (2, 0) => 6,
        (1, 2..) => 5,
        (1, 1) => 4,
        (1, 0) => 3,
        (_, 2..) => 2,
        (_, straight) => straight,
    }
}

/// Tables D.2 and D.3: context of a sign and what it is compared with, by the flags of the four nearest neighbours and
/// their signs above them.
const fn sign_contexts() -> [(u8, bool); 256] {
    const fn contribution(set: u16, one: u16, other: u16) -> i8 {
        const fn of(set: u16, flag: u16) -> i8 {
            match (set & flag != 0, set & flag << 4 != 0) {
                (false, _) => 0,
                (true, false) => 1,
                (true, true) => -1,
            }
        }
        of(set, one) + of(set, other)
    }
    let mut table = [(9, false); 256];
    let mut set = 0_u16;
    while set < 256 {
        let vertical = contribution(set, flag::NORTH, flag::SOUTH);
        let horizontal = contribution(set, flag::WEST, flag::EAST);
        table[set as usize] = match (horizontal.signum(), vertical.signum()) {
            (1, 1) => (13, false),
            (1, 0) => (12, false),
            (1, _) => (11, false),
            (0, 1) => (10, false),
            (0, 0) => (9, false),
            (0, _) => (10, true),
            (_, 1) => (11, true),
            (_, 0) => (12, true),
            (_, _) => (13, true),
        };
        set += 1;
    }
    table
}

static ZERO_LOW_HIGH: [u8; 256] = zero_contexts(Band::LowHigh);
static ZERO_HIGH_LOW: [u8; 256] = zero_contexts(Band::HighLow);
static ZERO_HIGH_HIGH: [u8; 256] = zero_contexts(Band::HighHigh);
static SIGNS: [(u8, bool); 256] = sign_contexts();

/// A coded code-block.
#[derive(Debug, Default)]
pub(super) struct CodedBlock {
    /// Magnitude bit planes that hold anything.
    pub(super) planes: u32,
    pub(super) bytes: Vec<u8>,
}

impl CodedBlock {
    /// The first plane has only its last pass.
    pub(super) fn passes(&self) -> u32 {
        (3 * self.planes).saturating_sub(2)
    }
}

/// Codes blocks one after the other; keeps its memory.
pub(super) struct BlockCoder {
    /// With a border of one all round, so that every coefficient has neighbours.
    flags: Vec<u16>,
    width: usize,
    height: usize,
    magnitudes: Vec<u32>,
    is_minus: Vec<bool>,
}

const STRIPE: usize = 4;

impl BlockCoder {
    pub(super) fn new() -> Self {
        Self { flags: Vec::new(), width: 0, height: 0, magnitudes: Vec::new(), is_minus: Vec::new() }
    }

    /// Codes `rows`, which are equally long, in the contexts of `band`.
    pub(super) fn code<'a>(&mut self, rows: impl Iterator<Item = &'a [i32]>, band: Band) -> CodedBlock {
        self.magnitudes.clear();
        self.is_minus.clear();
        self.height = 0;
        for row in rows {
            self.width = row.len();
            self.height += 1;
            self.magnitudes.extend(row.iter().map(|value| value.unsigned_abs()));
            self.is_minus.extend(row.iter().map(|value| *value < 0));
        }
        let planes = u32::BITS - self.magnitudes.iter().fold(0, |all, magnitude| all | magnitude).leading_zeros();
        if planes == 0 {
            return CodedBlock::default();
        }
        self.flags.clear();
        self.flags.resize((self.width + 2) * (self.height + 2), 0);
        let zero = match band {
            Band::LowLow | Band::LowHigh => &ZERO_LOW_HIGH,
            Band::HighLow => &ZERO_HIGH_LOW,
            Band::HighHigh => &ZERO_HIGH_HIGH,
        };
        let mut coder = MqEncoder::new();
        for plane in (0..planes).rev() {
            if plane + 1 < planes {
                self.significance_pass(&mut coder, plane, zero);
                self.refinement_pass(&mut coder, plane);
            }
            self.cleanup_pass(&mut coder, plane, zero);
        }
        CodedBlock { planes, bytes: coder.finish() }
    }

    /// Index of a coefficient among the flags.
    fn at(&self, x: usize, y: usize) -> usize {
        (y + 1) * (self.width + 2) + x + 1
    }

    fn bit(&self, x: usize, y: usize, plane: u32) -> bool {
        self.magnitudes[y * self.width + x] >> plane & 1 != 0
    }

    fn stripes(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let height = self.height;
        (0..height).step_by(STRIPE).map(move |top| top..(top + STRIPE).min(height))
    }

    /// D.3.1: what has significant neighbours.
    fn significance_pass(&mut self, coder: &mut MqEncoder, plane: u32, zero: &[u8; 256]) {
        for rows in self.stripes() {
            for x in 0..self.width {
                for y in rows.clone() {
                    let at = self.at(x, y);
                    let flags = self.flags[at];
                    if flags & flag::NEIGHBOURS == 0 || flags & flag::SIGNIFICANT != 0 {
                        continue;
                    }
                    let bit = self.bit(x, y, plane);
                    coder.encode(zero[usize::from(flags & flag::NEIGHBOURS)], bit);
                    if bit {
                        self.code_sign(coder, x, y);
                    }
                    self.flags[at] |= flag::VISITED;
                }
            }
        }
    }

    /// D.3.3: what was significant before this plane.
    fn refinement_pass(&mut self, coder: &mut MqEncoder, plane: u32) {
        for rows in self.stripes() {
            for x in 0..self.width {
                for y in rows.clone() {
                    let at = self.at(x, y);
                    let flags = self.flags[at];
                    if flags & (flag::SIGNIFICANT | flag::VISITED) != flag::SIGNIFICANT {
                        continue;
                    }
                    let context = match (flags & flag::REFINED != 0, flags & flag::NEIGHBOURS != 0) {
                        (true, _) => 16,
                        (false, true) => 15,
                        (false, false) => 14,
                    };
                    coder.encode(context, self.bit(x, y, plane));
                    self.flags[at] |= flag::REFINED;
                }
            }
        }
    }

    /// D.3.4: everything else, four at once where nothing is known of them.
    fn cleanup_pass(&mut self, coder: &mut MqEncoder, plane: u32, zero: &[u8; 256]) {
        for rows in self.stripes() {
            for x in 0..self.width {
                let mut known = None;
                if rows.len() == STRIPE && rows.clone().all(|y| self.flags[self.at(x, y)] == 0) {
                    let first = rows.clone().position(|y| self.bit(x, y, plane));
                    coder.encode(RUN_LENGTH, first.is_some());
                    let Some(first) = first else { continue };
                    coder.encode(UNIFORM, first & 2 != 0);
                    coder.encode(UNIFORM, first & 1 != 0);
                    known = Some(rows.start + first);
                }
                for y in known.unwrap_or(rows.start)..rows.end {
                    self.clean(coder, (x, y), plane, zero, known == Some(y));
                }
            }
        }
    }

    /// One coefficient of the clean-up pass; `is_known`: the run has told that its bit is one.
    fn clean(&mut self, coder: &mut MqEncoder, (x, y): (usize, usize), plane: u32, zero: &[u8; 256], is_known: bool) {
        let at = self.at(x, y);
        let flags = self.flags[at];
        self.flags[at] = flags & !flag::VISITED;
        if flags & (flag::SIGNIFICANT | flag::VISITED) != 0 {
            return;
        }
        let bit = self.bit(x, y, plane);
        if !is_known {
            coder.encode(zero[usize::from(flags & flag::NEIGHBOURS)], bit);
        }
        if bit {
            self.code_sign(coder, x, y);
        }
    }

    /// Codes the sign of a coefficient that has become significant, and tells its neighbours.
    fn code_sign(&mut self, coder: &mut MqEncoder, x: usize, y: usize) {
        let at = self.at(x, y);
        let flags = self.flags[at];
        let is_minus = self.is_minus[y * self.width + x];
        let (context, expected) = SIGNS[usize::from(flags & 0xF | flags >> 4 & 0xF0)];
        coder.encode(context, is_minus != expected);
        self.flags[at] |= flag::SIGNIFICANT;
        let row = self.width + 2;
        let sign = |minus: u16| if is_minus { minus } else { 0 };
        self.flags[at - row - 1] |= flag::SOUTH_EAST;
        self.flags[at - row] |= flag::SOUTH | sign(flag::SOUTH_MINUS);
        self.flags[at - row + 1] |= flag::SOUTH_WEST;
        self.flags[at - 1] |= flag::EAST | sign(flag::EAST_MINUS);
        self.flags[at + 1] |= flag::WEST | sign(flag::WEST_MINUS);
        self.flags[at + row - 1] |= flag::NORTH_EAST;
        self.flags[at + row] |= flag::NORTH | sign(flag::NORTH_MINUS);
        self.flags[at + row + 1] |= flag::NORTH_WEST;
    }
}
