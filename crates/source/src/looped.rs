//! A source that begins again: at its end, or when it is told to.

use crate::{Source, SourceError, SourceItem};
use lumenbus_frame::{FrameRate, StreamParameters};
use std::sync::Arc;
use std::time::Duration;

/// How a [`Looped`] source opens its source again.
type Reopen = Box<dyn FnMut() -> Result<Box<dyn Source>, SourceError> + Send>;

/// Repeats a source: for ever, or whenever [`Looped::restart`] says so.
///
/// The first frame of each round after the first is marked as a discontinuity; pts and media time go on behind those
/// of the round before. A round without a single frame ends the source.
pub struct Looped {
    reopen: Reopen,
    is_endless: bool,
    source: Box<dyn Source>,
    at_seam: bool,
    has_frames: bool,
    pts_shift: i64,
    time_shift: Duration,
    next_pts: i64,
    next_time: Duration,
    is_done: bool,
}

impl Looped {
    /// Opens the source for the first time; at its end it begins again.
    pub fn new(
        reopen: impl FnMut() -> Result<Box<dyn Source>, SourceError> + Send + 'static,
    ) -> Result<Self, SourceError> {
        Self::open(reopen, true)
    }

    /// Opens the source for the first time; it ends at its end, and only [`Looped::restart`] begins it again.
    pub fn once(
        reopen: impl FnMut() -> Result<Box<dyn Source>, SourceError> + Send + 'static,
    ) -> Result<Self, SourceError> {
        Self::open(reopen, false)
    }

    fn open(
        mut reopen: impl FnMut() -> Result<Box<dyn Source>, SourceError> + Send + 'static,
        is_endless: bool,
    ) -> Result<Self, SourceError> {
        let source = reopen()?;
        Ok(Self {
            reopen: Box::new(reopen),
            is_endless,
            source,
            at_seam: false,
            has_frames: false,
            pts_shift: 0,
            time_shift: Duration::ZERO,
            next_pts: 0,
            next_time: Duration::ZERO,
            is_done: false,
        })
    }

    /// Opens the source anew and begins at its beginning, wherever it was.
    ///
    /// # Errors
    /// As opening; a live source is left by then, any other stays as it was. This can be tried again.
    pub fn restart(&mut self) -> Result<(), SourceError> {
        self.begin_again()?;
        self.is_done = false;
        Ok(())
    }

    /// Ends the connection of a live source: it gives nothing until [`Looped::restart`]. Any other stays as it is.
    pub fn leave(&mut self) {
        self.is_done |= self.source.is_live();
        self.disconnect();
    }

    fn disconnect(&mut self) {
        if self.source.is_live() {
            self.source = Box::new(Left::of(self.source.as_ref()));
        }
    }

    fn begin_again(&mut self) -> Result<(), SourceError> {
        // Some cameras serve one connection only.
        self.disconnect();
        self.source = (self.reopen)()?;
        self.at_seam = true;
        self.has_frames = false;
        self.pts_shift = self.next_pts;
        self.time_shift = self.next_time;
        Ok(())
    }

    /// Time of one frame, as ticks and as a duration.
    fn interval(&self) -> (i64, Duration) {
        let parameters = self.source.parameters();
        let rate = self.source.nominal_rate().unwrap_or(crate::DEFAULT_RATE);
        let base = parameters.timebase;
        let ticks = u64::from(rate.seconds) * u64::from(base.denominator)
            / (u64::from(rate.frames.max(1)) * u64::from(base.numerator.max(1)));
        (i64::try_from(ticks).unwrap_or(1).max(1), rate.interval())
    }

    /// Moves a frame behind the rounds before it, and remembers where the next round must begin.
    fn shift(&mut self, pts: &mut Option<i64>, media_time: &mut Duration) {
        let (ticks, interval) = self.interval();
        if let Some(pts) = pts {
            *pts = pts.saturating_add(self.pts_shift);
            self.next_pts = self.next_pts.max(pts.saturating_add(ticks));
        }
        *media_time = media_time.saturating_add(self.time_shift);
        self.next_time = self.next_time.max(media_time.saturating_add(interval));
        self.has_frames = true;
        self.at_seam = false;
    }
}

impl Source for Looped {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        self.source.parameters()
    }

    fn next_media_time(&self) -> Option<Duration> {
        self.source.next_media_time().map(|time| time.saturating_add(self.time_shift))
    }

    fn is_live(&self) -> bool {
        self.source.is_live()
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if self.is_done {
            return Ok(None);
        }
        let mut item = self.source.next_frame()?;
        if item.is_none() && self.has_frames && self.is_endless {
            self.begin_again()?;
            item = self.source.next_frame()?;
        }
        let at_seam = self.at_seam;
        match &mut item {
            None => self.is_done = true,
            Some(SourceItem::Encoded { frame, media_time }) => {
                frame.is_discontinuity |= at_seam;
                self.shift(&mut frame.pts, media_time);
            }
            Some(SourceItem::Raw { frame, media_time, is_discontinuity }) => {
                *is_discontinuity |= at_seam;
                self.shift(&mut frame.pts, media_time);
            }
            Some(SourceItem::Damaged { .. } | SourceItem::Nothing) => {}
        }
        Ok(item)
    }
}

/// What is known of a live source that was left.
struct Left {
    name: String,
    parameters: Arc<StreamParameters>,
    rate: Option<FrameRate>,
}

impl Left {
    fn of(source: &dyn Source) -> Self {
        let parameters = Arc::clone(source.parameters());
        Self { name: source.name().to_owned(), parameters, rate: source.nominal_rate() }
    }
}

impl Source for Left {
    fn name(&self) -> &str {
        &self.name
    }

    fn parameters(&self) -> &Arc<StreamParameters> {
        &self.parameters
    }

    fn nominal_rate(&self) -> Option<FrameRate> {
        self.rate
    }

    fn is_live(&self) -> bool {
        true
    }

    fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{CaptureTime, Codec, Dimensions, EncodedFrame};

    struct Live {
        parameters: Arc<StreamParameters>,
        _counted: Arc<()>,
    }

    impl Source for Live {
        fn name(&self) -> &str {
            "live"
        }

        fn parameters(&self) -> &Arc<StreamParameters> {
            &self.parameters
        }

        fn is_live(&self) -> bool {
            true
        }

        fn next_frame(&mut self) -> Result<Option<SourceItem>, SourceError> {
            let mut frame = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(0), vec![0].into());
            frame.pts = Some(0);
            Ok(Some(SourceItem::Encoded { frame, media_time: Duration::ZERO }))
        }
    }

    fn pts(source: &mut Looped) -> Option<i64> {
        match source.next_frame().unwrap()? {
            SourceItem::Encoded { frame, .. } => frame.pts,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_live_source_is_connected_once_at_most() {
        let count = Arc::new(());
        let (counted, mut openings) = (Arc::clone(&count), 0);
        let reopen = move || -> Result<Box<dyn Source>, SourceError> {
            assert_eq!(Arc::strong_count(&counted), 2, "the one before is gone");
            openings += 1;
            if openings == 3 {
                return Err(SourceError::Empty { name: Arc::from("live") });
            }
            let parameters = StreamParameters::new(Codec::Jpeg, Dimensions::new(16, 16));
            Ok(Box::new(Live { parameters: Arc::new(parameters), _counted: Arc::clone(&counted) }))
        };
        let mut source = Looped::new(reopen).unwrap();
        let first = pts(&mut source).unwrap();
        source.restart().unwrap();
        let second = pts(&mut source).unwrap();
        assert!(second > first);
        source.leave();
        assert_eq!((Arc::strong_count(&count), pts(&mut source)), (2, None));
        assert_eq!((source.name(), source.codec(), source.is_live()), ("live", Codec::Jpeg, true));
        assert!(source.restart().is_err());
        source.restart().unwrap();
        assert!(pts(&mut source).unwrap() > second, "pts go on");
    }
}
