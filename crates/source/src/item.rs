//! The source trait and what sources give.

use crate::SourceError;
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, FrameRate, RawFrame, StreamParameters};
use std::sync::Arc;
use std::time::Duration;

/// What a source gives next.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceItem {
    /// A coded frame, in decode order.
    Encoded {
        /// The frame.
        frame: EncodedFrame,
        /// When it is due, counted from the source's beginning; never decreases.
        media_time: Duration,
    },
    /// Pixels, in presentation order.
    Raw {
        /// The frame.
        frame: RawFrame,
        /// When it is due, counted from the source's beginning; never decreases.
        media_time: Duration,
        /// Whether time or content jumped before this frame.
        is_discontinuity: bool,
    },
    /// Something in the source could not be used; the source goes on behind it.
    Damaged {
        /// What and where.
        error: SourceError,
        /// Frames lost; `None` when nobody can know.
        frames: Option<u64>,
    },
    /// A camera has given nothing for a moment; ask again.
    Nothing,
}

impl SourceItem {
    /// When the item is due; `None` where there is no frame.
    #[must_use]
    pub fn media_time(&self) -> Option<Duration> {
        match self {
            Self::Encoded { media_time, .. } | Self::Raw { media_time, .. } => Some(*media_time),
            Self::Damaged { .. } | Self::Nothing => None,
        }
    }

    /// Replaces the capture time: a caller that paces a file stamps the frame when it hands it on.
    pub fn stamp(&mut self, capture: CaptureTime) {
        match self {
            Self::Encoded { frame, .. } => frame.capture = capture,
            Self::Raw { frame, .. } => frame.capture = capture,
            Self::Damaged { .. } | Self::Nothing => {}
        }
    }
}

/// Something that gives frames when asked.
///
/// A file is given as fast as it is asked for, with the media time of each item beside it ([`Paced`](crate::Paced)
/// waits). Capture times are those of the injected clock at the moment of reading. A live source
/// ([`Source::is_live`]) gives frames as they come, [`SourceItem::Nothing`] about every tenth of a second while none
/// comes, and an error when the camera is gone; it has no end.
pub trait Source: Send {
    /// The file or specification, for messages.
    fn name(&self) -> &str;

    /// Codec, size, timebase and nominal rate; may change at a keyframe, which then carries the new ones.
    fn parameters(&self) -> &Arc<StreamParameters>;

    /// The next item; `None` at the end, and from then on.
    ///
    /// An error is final: the source cannot go on. What it can go on behind is [`SourceItem::Damaged`].
    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError>;

    /// How the frames are coded; [`Codec::Raw`] for pixels.
    fn codec(&self) -> Codec {
        self.parameters().codec
    }

    /// Frames per second, when the source says so.
    fn nominal_rate(&self) -> Option<FrameRate> {
        self.parameters().frame_rate
    }

    /// Media time of the next item, when known before reading it; lets live patterns be stamped when they are due.
    fn next_media_time(&self) -> Option<Duration> {
        None
    }

    /// Whether frames come when they are taken: they are due at once, with the capture time that they have.
    fn is_live(&self) -> bool {
        false
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        (**self).parameters()
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        (**self).next_frame()
    }

    fn codec(&self) -> Codec {
        (**self).codec()
    }

    fn nominal_rate(&self) -> Option<FrameRate> {
        (**self).nominal_rate()
    }

    fn next_media_time(&self) -> Option<Duration> {
        (**self).next_media_time()
    }

    fn is_live(&self) -> bool {
        (**self).is_live()
    }
}

/// The moment at which the `index`th frame of a steady stream is due.
pub(crate) fn due(index: u64, rate: FrameRate) -> Duration {
    let nanos = u128::from(index) * u128::from(rate.seconds.max(1)) * 1_000_000_000 / u128::from(rate.frames.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The pts of the `index`th frame of a steady stream on the 90 kHz clock.
pub(crate) fn ticks(index: u64, rate: FrameRate) -> i64 {
    let ticks = u128::from(index) * u128::from(rate.seconds.max(1)) * 90_000 / u128::from(rate.frames.max(1));
    i64::try_from(ticks).unwrap_or(i64::MAX)
}
