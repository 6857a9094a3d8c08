//! openh264 with its rate control off: each picture's quantiser comes from [`RateControl`].

use super::change::{Change, ChangeMeter};
use super::options::H264Options;
use super::rate::{Budget, Kind, RateControl};
use super::source::I420Source;
use super::syntax::nal_units;
use crate::{CodecError, Direction};
use bytes::Bytes;
use lumenbus_frame::{Codec, RawFrame};
use lumenbus_openh264::{Options, Tuned};
use openh264::encoder::{Complexity, EncoderConfig as LibraryConfig, IntraFramePeriod, QpRange, RateControlMode};
use openh264::{OpenH264API, Timestamp};

/// What the library uses when it is opened without rate control.
const OPENING_QP: u8 = 26;

pub(super) struct BudgetSession {
    tuned: Tuned,
    rate: RateControl,
    gop: u32,
    /// Pictures since the newest keyframe, that one included; 0 before the first.
    since_key: u32,
    is_keyframe_asked: bool,
    change: ChangeMeter,
    has_cuts: bool,
}

impl BudgetSession {
    /// `settings` hold size-independent choices; rate control and keyframes are overridden.
    pub(super) fn open(
        settings: LibraryConfig,
        options: H264Options,
        budget: Budget,
        first: &RawFrame,
    ) -> Result<Self, CodecError> {
        let settings = settings
            .rate_control_mode(RateControlMode::Off)
            .skip_frames(false)
            // Keyframes are asked for one by one.
            .intra_frame_period(IntraFramePeriod::auto())
            .qp(QpRange::new(10, 51))
            // Background detection leaves noise uncoded until the next keyframe, however fine the quantiser.
            .background_detection(false)
            .complexity(Complexity::Medium);
        let coder = openh264::encoder::Encoder::with_api_config(OpenH264API::from_source(), settings)
            .map_err(|source| CodecError::H264 { direction: Direction::Encode, source })?;
        let tuned = Tuned::open(
            coder,
            &I420Source(first),
            Options {
                entropy: options.entropy,
                slices: if options.two_slices { 2 } else { 1 },
                temporal_layers: if options.two_layers { 2 } else { 1 },
                qp: OPENING_QP,
            },
        )
        .map_err(|source| CodecError::H264Options { source })?;
        let rate = RateControl::new(budget, OPENING_QP, bits(tuned.opening_bytes()));
        Ok(Self {
            tuned,
            rate,
            gop: budget.gop.max(1),
            since_key: 0,
            is_keyframe_asked: false,
            change: ChangeMeter::default(),
            has_cuts: options.scene_cuts,
        })
    }

    pub(super) fn encode(&mut self, picture: &RawFrame, at: Timestamp) -> Result<Bytes, CodecError> {
        let change = self.change.next(picture);
        let is_cut = self.has_cuts && change == Change::Cut;
        let is_due = self.since_key == 0 || self.since_key >= self.gop || self.is_keyframe_asked || is_cut;
        let qp = self.rate.next_qp(if is_due { Kind::Keyframe } else { Kind::Delta(change) });
        self.tuned.set_qp(qp).map_err(|source| CodecError::H264Options { source })?;
        if is_due {
            self.tuned.encoder().force_intra_frame();
        }
        let coded = self.tuned.encoder().encode_at(&I420Source(picture), at);
        let unit = coded.map_err(|source| CodecError::H264 { direction: Direction::Encode, source })?.to_vec();
        if unit.is_empty() {
            return Err(CodecError::NoOutput { codec: Codec::H264 });
        }
        let is_keyframe = nal_units(&unit).any(|nal| nal[0] & 0x1F == 5);
        self.rate.coded(is_keyframe, qp, bits(unit.len()));
        if is_keyframe {
            (self.since_key, self.is_keyframe_asked) = (1, false);
        } else {
            self.since_key += 1;
        }
        Ok(unit.into())
    }

    pub(super) fn force_keyframe(&mut self) {
        self.is_keyframe_asked = true;
    }
}

#[expect(clippy::cast_precision_loss, reason = "the size of a picture")]
fn bits(bytes: usize) -> f64 {
    bytes as f64 * 8.0
}
