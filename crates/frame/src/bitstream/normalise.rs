//! Access units in either form → Annex B access units that can be joined at every keyframe.

use super::nal::find_start_code;
use super::parameter_sets::Slice;
use super::{
    BitstreamError, DecoderConfiguration, LengthSize, NalCodec, NalKind, NalUnits, ParameterSets, PictureOrder,
    SequenceParameters, h264, h264_order, h265, nal_units,
};
use bytes::Bytes;

/// How the NAL units of an access unit are delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Start codes (annex B).
    AnnexB,
    /// A big-endian length before each unit (AVCC, HVCC).
    LengthPrefixed(LengthSize),
}

/// One access unit in Annex B, in decode order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// The NAL units with start codes; a keyframe begins with its parameter sets (after a delimiter, if there is one).
    pub payload: Bytes,
    /// Whether decoding can begin here: IDR or IRAP, or an H.264 picture of I slices with a recovery point of count 0.
    pub is_keyframe: bool,
    /// Whether no other picture refers to this one. In H.265 only claimed for the highest temporal layer.
    pub is_discardable: bool,
    /// Whether this unit brought a parameter set that differs from the one known before.
    pub parameters_changed: bool,
    /// Position in output order; `None` while the parameter sets are unknown.
    pub order: Option<PictureOrder>,
}

/// What the slices and messages of one unit say together.
#[derive(Debug, Default)]
struct Facts {
    pictures: u32,
    has_unknown_slice: bool,
    is_random_access: bool,
    has_recovery_point: bool,
    has_inter_slice: bool,
    is_referred_to: bool,
}

impl Facts {
    /// Whether the unit may be joined at, given that its parameter sets are known.
    fn is_keyframe(&self) -> bool {
        self.is_random_access || (self.has_recovery_point && self.pictures > 0 && !self.has_inter_slice)
    }

    fn observe(&mut self, codec: NalCodec, nal: &[u8], sets: &ParameterSets) {
        match codec.kind(nal) {
            Some(NalKind::Slice) => self.observe_slice(codec, nal, sets.slice(nal)),
            Some(NalKind::Supplemental) if codec == NalCodec::H264 => {
                self.has_recovery_point |= h264::has_recovery_point_zero(nal);
            }
            _ => {}
        }
    }

    fn observe_slice(&mut self, codec: NalCodec, nal: &[u8], slice: Option<Slice<'_>>) {
        self.pictures += 1;
        match slice {
            Some(Slice::H264(slice, _)) => {
                self.is_random_access |= slice.idr.is_some();
                self.has_inter_slice |= !slice.is_intra;
                self.is_referred_to |= slice.is_reference;
            }
            Some(Slice::H265(slice, sps)) => {
                self.is_random_access |= slice.is_irap();
                let is_top = slice.temporal_id >= sps.max_temporal_id;
                self.is_referred_to |= !(is_top && slice.is_sub_layer_non_reference());
            }
            None => {
                self.has_unknown_slice = true;
                self.has_inter_slice = true;
                self.is_referred_to = true;
                self.is_random_access |= is_random_access_type(codec, nal);
            }
        }
    }
}

/// By the NAL unit header alone.
fn is_random_access_type(codec: NalCodec, nal: &[u8]) -> bool {
    let header = nal.first().copied().unwrap_or(0);
    match codec {
        NalCodec::H264 => header & 0x1f == 5,
        NalCodec::H265 => (16..=23).contains(&(header >> 1 & 0x3f)),
    }
}

/// Whether an Annex B unit can be joined at, as far as `sets` let its slices be read.
pub(super) fn is_keyframe(codec: NalCodec, unit: &[u8], sets: &ParameterSets) -> bool {
    let mut facts = Facts::default();
    nal_units(unit).for_each(|nal| facts.observe(codec, nal, sets));
    facts.is_keyframe()
}

/// The NAL units of one access unit, whatever its framing.
enum Units<'a> {
    AnnexB(NalUnits<'a>),
    Prefixed { rest: &'a [u8], size: LengthSize, total: usize },
}

impl<'a> Units<'a> {
    fn new(framing: Framing, unit: &'a [u8]) -> Self {
        match framing {
            Framing::AnnexB => Self::AnnexB(nal_units(unit)),
            Framing::LengthPrefixed(size) => Self::Prefixed { rest: unit, size, total: unit.len() },
        }
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = Result<&'a [u8], BitstreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::AnnexB(units) => units.next().map(Ok),
            Self::Prefixed { rest, size, total } => next_prefixed(rest, *size, *total).transpose(),
        }
    }
}

/// The next unit that is not empty.
fn next_prefixed<'a>(rest: &mut &'a [u8], size: LengthSize, total: usize) -> Result<Option<&'a [u8]>, BitstreamError> {
    while !rest.is_empty() {
        let offset = total - rest.len();
        let bad = |claimed: u64, left: usize| BitstreamError::BadLength { offset, claimed, left };
        let (prefix, after) = rest.split_at_checked(size.bytes()).ok_or_else(|| bad(0, rest.len()))?;
        let claimed = prefix.iter().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        let length = usize::try_from(claimed).unwrap_or(usize::MAX);
        let (nal, after) = after.split_at_checked(length).ok_or_else(|| bad(claimed, after.len()))?;
        *rest = after;
        if !nal.is_empty() {
            return Ok(Some(nal));
        }
    }
    Ok(None)
}

enum OrderCounter {
    H264(h264_order::OrderCounter),
    H265(h265::OrderCounter),
}

impl OrderCounter {
    fn next(&mut self, slice: &Slice<'_>) -> Option<PictureOrder> {
        match (self, slice) {
            (Self::H264(counter), Slice::H264(slice, sps)) => {
                Some(PictureOrder { count: counter.next(sps, slice), restarts: slice.idr.is_some() })
            }
            (Self::H265(counter), Slice::H265(slice, sps)) => {
                let (count, restarts) = counter.next(sps, slice);
                Some(PictureOrder { count, restarts })
            }
            _ => None,
        }
    }
}

/// Takes the access units of one stream in decode order and gives them in Annex B, with the parameter sets in front
/// of every keyframe that does not bring them.
///
/// A unit that needs no change keeps its allocation. Leading pictures and units before the first keyframe are given
/// too: what to leave out is the receiver's decision.
pub struct Normaliser {
    codec: NalCodec,
    framing: Framing,
    sets: ParameterSets,
    counter: OrderCounter,
    sequence: Option<SequenceParameters>,
}

impl Normaliser {
    /// For a stream whose units come with start codes.
    #[must_use]
    pub fn annex_b(codec: NalCodec) -> Self {
        let counter = match codec {
            NalCodec::H264 => OrderCounter::H264(h264_order::OrderCounter::default()),
            NalCodec::H265 => OrderCounter::H265(h265::OrderCounter::default()),
        };
        Self { codec, framing: Framing::AnnexB, sets: ParameterSets::new(codec), counter, sequence: None }
    }

    /// For a stream whose units come with lengths, as the record says.
    pub fn length_prefixed(record: &DecoderConfiguration) -> Result<Self, BitstreamError> {
        let mut normaliser = Self::annex_b(record.codec);
        normaliser.apply(record)?;
        Ok(normaliser)
    }

    /// Takes over another record in the middle of the stream.
    pub fn apply(&mut self, record: &DecoderConfiguration) -> Result<(), BitstreamError> {
        self.framing = Framing::LengthPrefixed(record.length_size);
        for nal in &record.nal_units {
            self.sets.insert(nal)?;
        }
        Ok(())
    }

    /// Takes over a parameter set that came beside the stream, such as in a session description.
    pub fn learn(&mut self, nal: &[u8]) -> Result<(), BitstreamError> {
        self.sets.insert(nal).map(drop)
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> NalCodec {
        self.codec
    }

    /// The newest parameter sets.
    #[must_use]
    pub fn sets(&self) -> &ParameterSets {
        &self.sets
    }

    /// What the sequence parameter set of the newest keyframe says; before one, that of the first set known.
    #[must_use]
    pub fn sequence(&self) -> Option<SequenceParameters> {
        self.sequence.clone().or_else(|| self.sets.first_sequence())
    }

    /// How many pictures may be reordered, by the sequence of the newest keyframe; 0 while nothing is known.
    #[must_use]
    pub fn sequence_reorder(&self) -> usize {
        self.sequence.as_ref().map_or(0, |sequence| sequence.max_reorder)
    }

    /// The next access unit.
    ///
    /// Errors concern this unit only; the next one may be good.
    pub fn normalise(&mut self, unit: &Bytes) -> Result<AccessUnit, BitstreamError> {
        let mut facts = Facts::default();
        let mut parameters_changed = false;
        let mut order = None;
        for nal in Units::new(self.framing, unit) {
            let nal = nal?;
            parameters_changed |= self.sets.insert(nal)?;
            let is_first_slice = facts.pictures == 0;
            facts.observe(self.codec, nal, &self.sets);
            if is_first_slice && facts.pictures > 0 {
                order = self.sets.slice(nal).and_then(|slice| self.counter.next(&slice));
                self.describe_keyframe(&facts, nal);
            }
        }
        if facts.pictures == 0 {
            return Err(BitstreamError::NoPicture { bytes: unit.len() });
        }
        let is_keyframe = facts.is_keyframe();
        if is_keyframe && facts.has_unknown_slice {
            return Err(BitstreamError::NoParameterSets);
        }
        let payload = self.payload(unit, is_keyframe)?;
        Ok(AccessUnit { payload, is_keyframe, is_discardable: !facts.is_referred_to, parameters_changed, order })
    }

    fn describe_keyframe(&mut self, facts: &Facts, nal: &[u8]) {
        if facts.is_keyframe() || self.sequence.is_none() {
            self.sequence = self.sets.slice(nal).map(|slice| slice.describe()).or_else(|| self.sequence.take());
        }
    }

    fn payload(&self, unit: &Bytes, is_keyframe: bool) -> Result<Bytes, BitstreamError> {
        let missing = if is_keyframe { self.missing(unit)? } else { Vec::new() };
        match self.framing {
            Framing::AnnexB if missing.is_empty() => {
                let code = find_start_code(unit, 0).unwrap_or(0);
                Ok(unit.slice(code.saturating_sub(1)..))
            }
            _ => self.write(unit, &missing),
        }
    }

    /// The sets that the unit does not hold itself.
    fn missing(&self, unit: &Bytes) -> Result<Vec<(&Bytes, bool)>, BitstreamError> {
        let units = Units::new(self.framing, unit).collect::<Result<Vec<_>, _>>()?;
        Ok(self.sets.in_order().filter(|(set, _)| !units.iter().any(|nal| nal == set)).collect())
    }

    /// Order: delimiter, missing video and sequence sets, the unit's own sets, missing picture sets, the rest.
    fn write(&self, unit: &Bytes, missing: &[(&Bytes, bool)]) -> Result<Bytes, BitstreamError> {
        let added: usize = missing.iter().map(|(set, _)| set.len() + 4).sum();
        let mut out = Vec::with_capacity(unit.len() + added + 64);
        let mut pending = [false, true].map(|picture| missing.iter().filter(move |set| set.1 == picture));
        for nal in Units::new(self.framing, unit) {
            let nal = nal?;
            let kind = self.codec.kind(nal);
            if kind != Some(NalKind::Delimiter) {
                pending[0].by_ref().for_each(|(set, _)| append(&mut out, set));
                if !kind.is_some_and(NalKind::is_parameter_set) {
                    pending[1].by_ref().for_each(|(set, _)| append(&mut out, set));
                }
            }
            append(&mut out, nal);
        }
        Ok(Bytes::from(out))
    }
}

fn append(out: &mut Vec<u8>, nal: &[u8]) {
    out.extend_from_slice(&[0, 0, 0, 1]);
    out.extend_from_slice(nal);
}
