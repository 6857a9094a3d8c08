//! The MQ coder: adaptive binary arithmetic coding (ITU-T T.800, annex C).

/// A row of table C.2.
struct State {
    /// Estimated probability of the less probable symbol.
    qe: u32,
    /// The next row after the more probable symbol, and after the other.
    next: [u8; 2],
    /// Whether the less probable symbol becomes the more probable one.
    switches: bool,
}

const fn row(qe: u32, next_more: u8, next_less: u8, switches: bool) -> State {
    State { qe, next: [next_more, next_less], switches }
}

const STATES: [State; 47] = [
    row(0x5601, 1, 1, true),
    row(0x3401, 2, 6, false),
    row(0x1801, 3, 9, false),
    row(0x0AC1, 4, 12, false),
    row(0x0521, 5, 29, false),
    row(0x0221, 38, 33, false),
    row(0x5601, 7, 6, true),
    row(0x5401, 8, 14, false),
    row(0x4801, 9, 14, false),
    row(0x3801, 10, 14, false),
    row(0x3001, 11, 17, false),
    row(0x2401, 12, 18, false),
    row(0x1C01, 13, 20, false),
    row(0x1601, 29, 21, false),
    row(0x5601, 15, 14, true),
    row(0x5401, 16, 14, false),
    row(0x5101, 17, 15, false),
    row(0x4801, 18, 16, false),
    row(0x3801, 19, 17, false),
    row(0x3401, 20, 18, false),
    row(0x3001, 21, 19, false),
    row(0x2801, 22, 19, false),
    row(0x2401, 23, 20, false),
    row(0x2201, 24, 21, false),
    row(0x1C01, 25, 22, false),
    row(0x1801, 26, 23, false),
    row(0x1601, 27, 24, false),
    row(0x1401, 28, 25, false),
    row(0x1201, 29, 26, false),
    row(0x1101, 30, 27, false),
    row(0x0AC1, 31, 28, false),
    row(0x09C1, 32, 29, false),
    row(0x08A1, 33, 30, false),
    row(0x0521, 34, 31, false),
    row(0x0441, 35, 32, false),
    row(0x02A1, 36, 33, false),
    row(0x0221, 37, 34, false),
    row(0x0141, 38, 35, false),
    row(0x0111, 39, 36, false),
    row(0x0085, 40, 37, false),
    row(0x0049, 41, 38, false),
    row(0x0025, 42, 39, false),
    row(0x0015, 43, 40, false),
    row(0x0009, 44, 41, false),
    row(0x0005, 45, 42, false),
    row(0x0001, 45, 43, false),
    row(0x5601, 46, 46, false),
];

/// Contexts of a code-block: 0 to 8 zero coding, 9 to 13 signs, 14 to 16 refinement, run length, uniform.
pub(super) const CONTEXTS: usize = 19;
pub(super) const RUN_LENGTH: u8 = 17;
pub(super) const UNIFORM: u8 = 18;

/// Where a context stands: a row of the table, and the more probable symbol.
#[derive(Clone, Copy, Default)]
struct Context {
    state: u8,
    more_probable: bool,
}

/// Table D.7.
fn initial_contexts() -> [Context; CONTEXTS] {
    let mut contexts = [Context::default(); CONTEXTS];
    contexts[0].state = 4;
    contexts[usize::from(RUN_LENGTH)].state = 3;
    contexts[usize::from(UNIFORM)].state = 46;
    contexts
}

/// Registers as the standard names them.
pub(super) struct MqEncoder {
    a: u32,
    c: u32,
    /// Shifts until a byte is complete.
    ct: u32,
    /// The last byte written; a carry may still change it.
    last: u8,
    /// Whether `last` is a byte of the output: there is none before the first.
    has_last: bool,
    bytes: Vec<u8>,
    contexts: [Context; CONTEXTS],
}

impl MqEncoder {
    pub(super) fn new() -> Self {
        let contexts = initial_contexts();
        Self { a: 0x8000, c: 0, ct: 12, last: 0, has_last: false, bytes: Vec::new(), contexts }
    }

    /// Codes one decision.
    #[inline]
    pub(super) fn encode(&mut self, context: u8, bit: bool) {
        let context = &mut self.contexts[usize::from(context)];
        let state = &STATES[usize::from(context.state)];
        self.a -= state.qe;
        if bit == context.more_probable {
            if self.a & 0x8000 != 0 {
                self.c += state.qe;
                return;
            }
            context.state = state.next[0];
            if self.a < state.qe {
                self.a = state.qe;
            } else {
                self.c += state.qe;
            }
        } else {
            context.state = state.next[1];
            context.more_probable ^= state.switches;
            if self.a < state.qe {
                self.c += state.qe;
            } else {
                self.a = state.qe;
            }
        }
        self.renormalise();
    }

    fn renormalise(&mut self) {
        let mut shifts = self.a.leading_zeros() - 16;
        self.a <<= shifts;
        while shifts >= self.ct {
            self.c <<= self.ct;
            shifts -= self.ct;
            self.byte_out();
        }
        self.c <<= shifts;
        self.ct -= shifts;
    }

    fn put(&mut self, byte: u32) {
        if self.has_last {
            self.bytes.push(self.last);
        }
        self.has_last = true;
        self.last = byte.to_le_bytes()[0];
    }

    fn byte_out(&mut self) {
        if self.last != 0xFF && self.c >= 0x0800_0000 {
            self.last += 1;
            // In front of a stuffed bit the carry has been spent.
            self.c &= 0x07FF_FFFF;
        }
        if self.last == 0xFF {
            self.put(self.c >> 20);
            self.c &= 0x000F_FFFF;
            self.ct = 7;
        } else {
            self.put(self.c >> 19);
            self.c &= 0x0007_FFFF;
            self.ct = 8;
        }
    }

    /// The code, ended so that it needs no more bytes than it has.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let limit = self.c + self.a;
        self.c |= 0xFFFF;
        if self.c >= limit {
            self.c -= 0x8000;
        }
        for _ in 0..2 {
            self.c <<= self.ct;
            self.byte_out();
        }
        if self.has_last && self.last != 0xFF {
            self.bytes.push(self.last);
        }
        self.bytes
    }
}
