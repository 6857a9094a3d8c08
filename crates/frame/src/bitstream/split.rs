//! Cuts an Annex B byte stream into access units.

use super::boundary::BoundaryDetector;
use super::nal::{find_start_code, trim_zeros};
use super::normalise::is_keyframe;
use super::{BitstreamError, NalCodec};
use bytes::{Buf, Bytes, BytesMut};

/// Largest access unit that is assembled: a raw 4K picture is smaller.
pub const MAX_ACCESS_UNIT_BYTES: usize = 32 * 1024 * 1024;

/// Position of a NAL unit whose end has not been seen yet.
#[derive(Debug, Clone, Copy)]
struct OpenNal {
    code: usize,
    payload: usize,
}

/// Scans bytes for NAL units and finds where to cut; offsets are relative to the current unit's first byte.
#[derive(Debug)]
struct Scanner {
    detector: BoundaryDetector,
    open: Option<OpenNal>,
    scanned: usize,
}

impl Scanner {
    fn new(codec: NalCodec) -> Self {
        Self { detector: BoundaryDetector::new(codec), open: None, scanned: 0 }
    }

    /// The next place to cut, as far as `bytes` show it.
    fn find_cut(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(at) = find_start_code(bytes, self.scanned) {
            let floor = self.open.map_or(0, |open| open.payload);
            let code = if at > floor && bytes[at - 1] == 0 { at - 1 } else { at };
            let cut = self.close_nal(bytes, code);
            self.open = Some(OpenNal { code, payload: at + 3 });
            self.scanned = at + 3;
            if cut.is_some() {
                return cut;
            }
        }
        self.scanned = self.scanned.max(bytes.len().saturating_sub(2));
        None
    }

    /// The open NAL unit ends at `end`.
    fn close_nal(&mut self, bytes: &[u8], end: usize) -> Option<usize> {
        let open = self.open.take()?;
        self.detector.on_nal(open.code, trim_zeros(&bytes[open.payload..end]))
    }

    /// The first `count` bytes are gone.
    fn shift(&mut self, count: usize) {
        self.scanned = self.scanned.saturating_sub(count);
        if let Some(open) = &mut self.open {
            open.code = open.code.saturating_sub(count);
            open.payload = open.payload.saturating_sub(count);
        }
    }
}

/// Cuts a byte stream that comes in pieces into access units, in decode order.
///
/// Call [`push`](Self::push), then [`next_unit`](Self::next_unit) until it gives `None`; after the last piece call
/// [`finish`](Self::finish) and then `next_unit` once more until `None`. A unit is complete when the next one's first
/// slice has been seen. Holds at most one unit and what was pushed; a unit above the limit is given up together with
/// all that follow it up to the next keyframe, and [`BitstreamError::TooLarge`] says so once.
#[derive(Debug)]
pub struct AccessUnitSplitter {
    codec: NalCodec,
    scanner: Scanner,
    buffer: BytesMut,
    limit_bytes: usize,
    has_ended: bool,
    skip: Option<Skip>,
    pending: Option<Bytes>,
}

/// Looking for a keyframe after an oversized unit.
#[derive(Debug)]
struct Skip {
    lost_units: u64,
    /// Whether the oversized unit's rest is still coming.
    in_remainder: bool,
}

impl AccessUnitSplitter {
    /// A splitter with the limit [`MAX_ACCESS_UNIT_BYTES`].
    #[must_use]
    pub fn new(codec: NalCodec) -> Self {
        Self::with_limit(codec, MAX_ACCESS_UNIT_BYTES)
    }

    /// A splitter that gives up units of more than `limit_bytes`.
    #[must_use]
    pub fn with_limit(codec: NalCodec, limit_bytes: usize) -> Self {
        Self {
            codec,
            scanner: Scanner::new(codec),
            buffer: BytesMut::new(),
            limit_bytes,
            has_ended: false,
            skip: None,
            pending: None,
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.buffer.len() + self.pending.as_ref().map_or(0, Bytes::len)
    }

    /// Appends the stream's next bytes.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// Says that no more bytes will come: the last unit is complete.
    pub fn finish(&mut self) {
        self.has_ended = true;
    }

    /// The next complete access unit, starting with its start code.
    pub fn next_unit(&mut self) -> Result<Option<Bytes>, BitstreamError> {
        if let Some(unit) = self.pending.take() {
            return Ok(Some(unit));
        }
        while let Some(unit) = self.cut_unit() {
            if let Some(unit) = self.admit(unit)? {
                return Ok(Some(unit));
            }
        }
        if let Some(unit) = self.give_up_if_too_large()? {
            return Ok(Some(unit));
        }
        match self.skip.take_if(|_| self.has_ended) {
            Some(skip) => Err(self.too_large(skip.lost_units + u64::from(skip.in_remainder))),
            None => Ok(None),
        }
    }

    fn cut_unit(&mut self) -> Option<Bytes> {
        if let Some(cut) = self.scanner.find_cut(&self.buffer) {
            return Some(self.take_front(cut));
        }
        if !self.has_ended {
            return None;
        }
        let end = self.buffer.len();
        let cut = self.scanner.close_nal(&self.buffer, end).unwrap_or(end);
        self.scanner.scanned = end;
        Some(self.take_front(cut)).filter(|unit| !unit.is_empty())
    }

    /// Removes the first `cut` bytes, without what lies before their first start code.
    fn take_front(&mut self, cut: usize) -> Bytes {
        let mut unit = self.buffer.split_to(cut).freeze();
        self.scanner.shift(cut);
        match find_start_code(&unit, 0) {
            Some(code) => unit.advance(code.saturating_sub(1)),
            None => unit.clear(),
        }
        unit
    }

    fn too_large(&self, lost_units: u64) -> BitstreamError {
        BitstreamError::TooLarge { limit_bytes: self.limit_bytes, lost_units }
    }

    /// Lets a unit through, unless it is too large or comes after one that was and is not a keyframe.
    fn admit(&mut self, unit: Bytes) -> Result<Option<Bytes>, BitstreamError> {
        let fits = unit.len() <= self.limit_bytes;
        let Some(mut skip) = self.skip.take() else {
            if fits {
                return Ok(Some(unit));
            }
            self.skip = Some(Skip { lost_units: 1, in_remainder: false });
            return Ok(None);
        };
        if fits && !skip.in_remainder && is_keyframe(self.codec, &unit, self.scanner.detector.sets()) {
            self.pending = Some(unit);
            return Err(self.too_large(skip.lost_units));
        }
        skip.lost_units += 1;
        skip.in_remainder = false;
        self.skip = Some(skip);
        Ok(None)
    }

    /// Lets go of an open unit that has become too large; gives the unit before it, if that was still held.
    fn give_up_if_too_large(&mut self) -> Result<Option<Bytes>, BitstreamError> {
        let end = self.buffer.len();
        if end <= self.limit_bytes {
            return Ok(None);
        }
        let held_nal = self.scanner.open.is_some();
        // The open NAL unit's beginning tells already whether it belongs to the next picture.
        let cut = self.scanner.close_nal(&self.buffer, end);
        let before = cut.map_or(Ok(None), |cut| {
            let unit = self.take_front(cut);
            self.admit(unit)
        });
        // The last three bytes may be the beginning of a start code.
        self.buffer.advance(self.buffer.len().saturating_sub(3));
        self.scanner.scanned = 0;
        if held_nal || self.skip.is_some() {
            let skip = self.skip.get_or_insert(Skip { lost_units: 0, in_remainder: false });
            skip.in_remainder = true;
        }
        before
    }
}

/// The access units of a whole byte stream as slices of its allocation, without a limit on their size.
pub fn split_access_units(codec: NalCodec, stream: &Bytes) -> impl Iterator<Item = Bytes> {
    let mut scanner = Scanner::new(codec);
    let mut rest = stream.slice(find_start_code(stream, 0).map_or(stream.len(), |at| at.saturating_sub(1))..);
    std::iter::from_fn(move || {
        let cut = match scanner.find_cut(&rest) {
            Some(cut) => cut,
            None => scanner.close_nal(&rest, rest.len()).unwrap_or(rest.len()),
        };
        scanner.shift(cut);
        Some(rest.split_to(cut)).filter(|unit| !unit.is_empty())
    })
}
