//! Whether reading has passed a moment, in a stream that says nothing more.

use lumenbus_bus::subscriber::DeliveredFrame;

/// A frame may come so much later than the one before it did.
const MARGIN_MILLIS: i64 = 10_000;

/// The other cameras of the partition tell how far reading is: what they sent when the moment's frame would have been
/// appended is not read to its end.
#[derive(Debug, Default)]
pub(super) struct Passage {
    /// From capture to the log, of the stream's last frame.
    delay_millis: Option<i64>,
}

impl Passage {
    pub(super) fn frame(&mut self, frame: &DeliveredFrame) {
        self.takes(frame.header.capture.unix_nanos, frame.append_unix_millis);
    }

    fn takes(&mut self, capture_unix_nanos: i64, append_unix_millis: Option<i64>) {
        if let Some(append) = append_unix_millis {
            self.delay_millis = Some(append.saturating_sub(capture_unix_nanos / 1_000_000));
        }
    }

    /// By the append time of the record that was read last, whosever it is.
    pub(super) fn is_past(&self, moment_unix_nanos: i64, append_unix_millis: Option<i64>) -> bool {
        let (Some(delay), Some(append)) = (self.delay_millis, append_unix_millis) else { return false };
        append > (moment_unix_nanos / 1_000_000).saturating_add(delay).saturating_add(MARGIN_MILLIS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_others_tell_when_a_moment_is_past() {
        let mut passage = Passage::default();
        assert!(!passage.is_past(0, Some(i64::MAX)), "nothing is known of the stream yet");
        passage.takes(100 * SECOND, Some(103_000));
        assert!(!passage.is_past(110 * SECOND, None));
        // A frame of the moment would have come three seconds after it.
        assert!(!passage.is_past(110 * SECOND, Some(123_000)));
        assert!(passage.is_past(110 * SECOND, Some(123_001)));
        // What was kept back and sent later comes as late as its last frame did.
        passage.takes(104 * SECOND, Some(704_000));
        assert!(!passage.is_past(110 * SECOND, Some(720_000)));
        assert!(passage.is_past(110 * SECOND, Some(720_001)));
        // Without a time of its own a frame changes nothing.
        passage.takes(0, None);
        assert!(passage.is_past(110 * SECOND, Some(720_001)));
    }
}
