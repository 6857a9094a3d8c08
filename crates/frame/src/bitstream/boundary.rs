//! Where one access unit ends and the next begins (H.264 7.4.1.2.3 and 7.4.1.2.4, H.265 7.4.2.4.4).

use super::h264::Structure;
use super::parameter_sets::Slice;
use super::{NalCodec, NalKind, ParameterSets, h264, h265};

/// Looks at NAL units one by one and says where units are to be cut.
#[derive(Debug)]
pub(super) struct BoundaryDetector {
    sets: ParameterSets,
    /// Header of the newest H.264 slice.
    previous: Option<h264::Slice>,
    /// Whether the current unit holds one field of a frame.
    has_lone_field: bool,
    has_picture: bool,
    /// Where the next unit begins if a new picture follows: its delimiter, parameter sets or messages come first.
    candidate: Option<usize>,
}

/// What a slice unit says about its place.
struct Place {
    begins_picture: bool,
    is_at_top: bool,
    completes_frame: bool,
    is_field: bool,
    header: Option<h264::Slice>,
}

impl BoundaryDetector {
    pub(super) fn new(codec: NalCodec) -> Self {
        Self {
            sets: ParameterSets::new(codec),
            previous: None,
            has_lone_field: false,
            has_picture: false,
            candidate: None,
        }
    }

    /// The parameter sets seen so far.
    pub(super) fn sets(&self) -> &ParameterSets {
        &self.sets
    }

    /// Takes the next NAL unit, whose start code is at `at`; returns where to cut before it, if anywhere.
    pub(super) fn on_nal(&mut self, at: usize, nal: &[u8]) -> Option<usize> {
        let kind = self.sets.codec().kind(nal)?;
        if kind == NalKind::Slice {
            return self.on_slice(at, nal);
        }
        if kind.is_parameter_set() {
            // A damaged set is reported by whoever needs it; here it only costs precision.
            self.sets.insert(nal).ok();
        }
        if self.has_picture && kind.begins_unit() {
            self.candidate.get_or_insert(at);
        }
        None
    }

    fn on_slice(&mut self, at: usize, nal: &[u8]) -> Option<usize> {
        let place = self.place(nal);
        let candidate = self.candidate.take();
        let begins = self.has_picture && (place.begins_picture || (candidate.is_some() && place.is_at_top));
        self.previous = place.header;
        if begins && self.has_lone_field && place.completes_frame {
            self.has_lone_field = false;
            return None;
        }
        if begins || !self.has_picture {
            self.has_lone_field = place.is_field;
        }
        self.has_picture = true;
        begins.then_some(candidate.unwrap_or(at))
    }

    fn place(&self, nal: &[u8]) -> Place {
        if self.sets.codec() == NalCodec::H265 {
            let first = h265::is_first_segment(nal);
            return Place {
                begins_picture: first,
                is_at_top: first,
                completes_frame: false,
                is_field: false,
                header: None,
            };
        }
        match self.sets.slice(nal) {
            Some(Slice::H264(slice, _)) => Place {
                begins_picture: self.previous.is_none_or(|previous| slice.begins_picture_after(&previous)),
                is_at_top: slice.first_mb == 0,
                completes_frame: self.previous.is_some_and(|previous| slice.completes_frame_of(&previous)),
                is_field: slice.structure != Structure::Frame,
                header: Some(slice),
            },
            // Without its parameter sets: `first_mb_in_slice` is the first code, and 0 is a single one bit.
            _ => {
                let first = nal.get(1).is_some_and(|&byte| byte & 0x80 != 0);
                Place { begins_picture: first, is_at_top: first, completes_frame: false, is_field: false, header: None }
            }
        }
    }
}
