//! The reading side's gate: nobody hands an undecodable frame to a decoder.

/// What the gate says of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It may go on.
    Open,
    /// Not before the next keyframe.
    Closed,
}

/// Open from a keyframe on until something is missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameGate {
    is_open: bool,
}

impl FrameGate {
    /// Whether a frame may pass; a keyframe opens the gate.
    pub fn pass(&mut self, is_keyframe: bool) -> Passage {
        self.is_open |= is_keyframe;
        if self.is_open { Passage::Open } else { Passage::Closed }
    }

    /// Something that others refer to is missing.
    pub fn close(&mut self) {
        self.is_open = false;
    }

    /// Whether a delta frame would pass.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_keyframe_opens() {
        let mut gate = FrameGate::default();
        assert_eq!(gate.pass(false), Passage::Closed);
        assert_eq!(gate.pass(true), Passage::Open);
        assert_eq!(gate.pass(false), Passage::Open);
        gate.close();
        assert_eq!(gate.pass(false), Passage::Closed);
    }
}
