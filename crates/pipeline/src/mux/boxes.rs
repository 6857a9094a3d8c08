//! Boxes of ISO/IEC 14496-12, 4.2: a length, a name, content.

/// A buffer that boxes are written into.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    out: Vec<u8>,
}

impl Boxes {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn zeros(&mut self, count: usize) {
        self.out.resize(self.out.len() + count, 0);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Overwrites a 32-bit field written before.
    pub(super) fn put_u32(&mut self, at: usize, value: u32) {
        self.out[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// A box; its length is filled in afterwards. What is written here is far below 4 GiB.
    pub(super) fn boxed(&mut self, name: &[u8; 4], content: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        self.zeros(4);
        self.bytes(name);
        content(self);
        let length = u32::try_from(self.out.len() - start).unwrap_or(u32::MAX);
        self.put_u32(start, length);
    }

    /// A box with version and flags.
    pub(super) fn full(&mut self, name: &[u8; 4], version: u8, flags: u32, content: impl FnOnce(&mut Self)) {
        self.boxed(name, |boxes| {
            boxes.u32(u32::from(version) << 24 | flags & 0x00ff_ffff);
            content(boxes);
        });
    }
}
