//! Writes headers bit by bit, for tests of what reads them.

#[derive(Default)]
pub(super) struct BitWriter {
    bits: Vec<bool>,
}

impl BitWriter {
    pub(super) fn flag(&mut self, value: bool) {
        self.bits.push(value);
    }

    pub(super) fn bits(&mut self, value: u32, count: u32) {
        (0..count).rev().for_each(|bit| self.bits.push(value >> bit & 1 == 1));
    }

    pub(super) fn ue(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let length = 64 - code.leading_zeros();
        (1..length).for_each(|_| self.bits.push(false));
        (0..length).rev().for_each(|bit| self.bits.push(code >> bit & 1 == 1));
    }

    /// With the RBSP stop bit and emulation prevention.
    pub(super) fn finish_escaped(mut self) -> Vec<u8> {
        self.bits.push(true);
        let raw = self
            .bits
            .chunks(8)
            .map(|chunk| chunk.iter().enumerate().fold(0_u8, |byte, (at, &bit)| byte | u8::from(bit) << (7 - at)));
        let mut out = Vec::new();
        let mut zeros = 0;
        for byte in raw {
            if zeros >= 2 && byte <= 3 {
                out.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            out.push(byte);
        }
        out
    }
}
