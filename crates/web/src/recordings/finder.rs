//! What analysis found in recorded frames: results are read beside the frames, a little ahead of them.

use crate::hub::Found;
use axum::extract::ws::Utf8Bytes;
use lumenbus_bus::results::{ResultScan, Scanned};
use lumenbus_bus::subscriber::DeliveredFrame;
use lumenbus_bus::{BusConfig, BusError};
use lumenbus_frame::{FrameId, StreamId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A result is looked for where the log is so much later than the frame: slower detectors come too late here.
const AHEAD_MILLIS: i64 = 3_000;
/// Clocks of brokers and of those who write results differ by less.
const BEFORE_MILLIS: i64 = 1_000;
/// A longer way is not read through but jumped over.
const JUMP_MILLIS: i64 = 30_000;
/// Results held, in bytes of their messages.
const MAX_HELD_BYTES: usize = 2 << 20;
/// How long one frame may be held up; the first one of a reading, until Kafka has answered anything.
const PATIENCE: Duration = Duration::from_millis(500);
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_millis(20);

/// Where results come from. Kafka, or a test's.
pub(super) trait Results: Send {
    fn next(&self, wait: Duration) -> Result<Scanned, BusError>;
}

impl Results for ResultScan {
    fn next(&self, wait: Duration) -> Result<Scanned, BusError> {
        Self::next(self, wait)
    }
}

/// Opens results of streams whose frames are in this partition, from this time on.
type Open = Box<dyn Fn(i32, i64) -> Result<Box<dyn Results>, BusError> + Send>;

/// Finds the results of one stream's frames, which are asked for in their order.
pub(super) struct Finder {
    n: u16,
    open: Open,
    scan: Option<Box<dyn Results>>,
    /// Results cannot be read: the pictures are shown without.
    is_given_up: bool,
    /// How far the log was read, Unix milliseconds.
    read_until: i64,
    is_at_end: bool,
    held: BTreeMap<FrameId, Vec<Utf8Bytes>>,
    bytes: usize,
}

impl Finder {
    /// For messages about stream `n`.
    pub(super) fn new(bus: BusConfig, n: u16) -> Self {
        Self::with(n, Box::new(move |partition, from| Ok(Box::new(ResultScan::open(&bus, partition, from)?))))
    }

    fn with(n: u16, open: Open) -> Self {
        let (scan, held) = (None, BTreeMap::new());
        Self { n, open, scan, is_given_up: false, read_until: 0, is_at_end: false, held, bytes: 0 }
    }

    /// Messages about this frame. Returns early where nobody plays it any more.
    pub(super) fn find(&mut self, frame: &DeliveredFrame, is_over: impl Fn() -> bool) -> Vec<Utf8Bytes> {
        let appended = frame.append_unix_millis.unwrap_or(frame.header.capture.unix_nanos / 1_000_000);
        if self.is_given_up {
            return Vec::new();
        }
        if let Err(error) = self.read(&frame.stream, frame.id(), frame.partition, appended, is_over) {
            tracing::debug!(stream = %frame.stream, %error, "a recording is shown without what was found in it");
            self.is_given_up = true;
        }
        self.forget_before(frame.id());
        let found = self.held.remove(&frame.id()).unwrap_or_default();
        self.bytes -= found.iter().map(|message| message.len()).sum::<usize>();
        found
    }

    fn read(
        &mut self,
        stream: &StreamId,
        id: FrameId,
        partition: i32,
        appended: i64,
        is_over: impl Fn() -> bool,
    ) -> Result<(), BusError> {
        let is_far = appended > self.read_until.saturating_add(JUMP_MILLIS) && !self.is_at_end;
        let mut patience = PATIENCE;
        let scan = match self.scan.take().filter(|_| !is_far) {
            Some(scan) => self.scan.insert(scan),
            None => {
                patience = FIRST_PATIENCE;
                let from = appended.saturating_sub(BEFORE_MILLIS);
                (self.read_until, self.is_at_end) = (from, false);
                self.scan.insert((self.open)(partition, from)?)
            }
        };
        let deadline = Instant::now() + patience;
        while self.read_until < appended.saturating_add(AHEAD_MILLIS) && self.bytes < MAX_HELD_BYTES && !is_over() {
            // At the log's end what has come since is taken, and nothing waited for.
            let wait = if self.is_at_end { Duration::ZERO } else { WAIT };
            match scan.next(wait)? {
                Scanned::Result(result, written) => {
                    self.read_until = self.read_until.max(written);
                    if result.stream == *stream && result.id >= id {
                        let message = Found::new(self.n, &result).message;
                        self.bytes += message.len();
                        self.held.entry(result.id).or_default().push(message);
                    }
                }
                Scanned::Other(written) => self.read_until = self.read_until.max(written),
                Scanned::AtEnd => self.is_at_end = true,
                Scanned::Nothing if self.is_at_end || Instant::now() >= deadline => break,
                Scanned::Nothing => {}
            }
        }
        Ok(())
    }

    fn forget_before(&mut self, id: FrameId) {
        let kept = self.held.split_off(&id);
        let gone = std::mem::replace(&mut self.held, kept);
        self.bytes -= gone.into_values().flatten().map(|message| message.len()).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::delivered;
    use lumenbus_frame::{CaptureTime, Epoch, Seq};
    use lumenbus_wire::{AnalysisResult, Model};
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    /// A log of results: stream, seq, when it was written.
    #[derive(Clone)]
    struct Log(Arc<Vec<(&'static str, u64, i64)>>);

    struct Reading(Mutex<VecDeque<Scanned>>);

    impl Results for Reading {
        fn next(&self, _wait: Duration) -> Result<Scanned, BusError> {
            Ok(self.0.lock().unwrap().pop_front().unwrap_or(Scanned::Nothing))
        }
    }

    fn stream(camera: &str) -> StreamId {
        StreamId::main(camera.parse().unwrap(), "raw_video".parse().unwrap())
    }

    fn id(seq: u64) -> FrameId {
        FrameId { epoch: Epoch(1), seq: Seq(seq) }
    }

    fn frame(seq: u64, at_millis: i64) -> DeliveredFrame {
        DeliveredFrame { append_unix_millis: Some(at_millis), ..delivered("gate", seq, at_millis * 1_000_000) }
    }

    /// A finder on this log, and from where it was opened each time.
    fn finder(log: &[(&'static str, u64, i64)]) -> (Finder, Arc<Mutex<Vec<i64>>>) {
        let (log, opened) = (Log(Arc::new(log.to_vec())), Arc::new(Mutex::new(Vec::new())));
        let at = Arc::clone(&opened);
        let open = move |_: i32, from: i64| {
            at.lock().unwrap().push(from);
            let of = |(camera, seq, written): &(&str, u64, i64)| {
                let model = Model::new("motion", "1");
                let result = AnalysisResult::new(stream(camera), id(*seq), CaptureTime::arrival(0), model);
                Scanned::Result(Box::new(result), *written)
            };
            let after = log.0.iter().filter(|(.., written)| *written >= from).map(of);
            Ok(Box::new(Reading(Mutex::new(after.chain([Scanned::AtEnd]).collect()))) as Box<dyn Results>)
        };
        (Finder::with(3, Box::new(open)), opened)
    }

    fn seqs(messages: &[Utf8Bytes]) -> Vec<u64> {
        let seq = |text: &Utf8Bytes| serde_json::from_str::<serde_json::Value>(text).unwrap()["seq"].as_u64().unwrap();
        messages.iter().map(seq).collect()
    }

    #[test]
    fn each_frame_gets_its_own_results_though_they_were_written_later() {
        let log =
            [("gate", 0, 10_200), ("yard", 0, 10_210), ("gate", 2, 10_300), ("gate", 1, 10_400), ("gate", 2, 12_000)];
        let (mut finder, opened) = finder(&log);
        let mut find = |seq, at| seqs(&finder.find(&frame(seq, at), || false));
        assert_eq!(find(0, 10_000), [0]);
        assert_eq!(find(1, 10_040), [1]);
        assert_eq!(find(2, 10_080), [2, 2]);
        assert!(find(3, 10_120).is_empty());
        assert_eq!(*opened.lock().unwrap(), [9_000]);
        assert_eq!((finder.bytes, finder.held.len()), (0, 0));
    }

    #[test]
    fn a_long_hole_is_jumped_over_and_what_was_missed_is_forgotten() {
        let log = [("gate", 0, 10_100), ("gate", 1, 20_000), ("gate", 9, 500_050)];
        let (mut finder, opened) = finder(&log);
        assert_eq!(seqs(&finder.find(&frame(0, 10_000), || false)), [0]);
        assert_eq!(seqs(&finder.find(&frame(9, 500_000), || false)), [9]);
        assert_eq!(*opened.lock().unwrap(), [9_000, 499_000]);
        assert_eq!(finder.bytes, 0);
    }

    #[test]
    fn without_results_pictures_come_all_the_same() {
        let asked = Arc::new(Mutex::new(0));
        let count = Arc::clone(&asked);
        let refuse = move |_: i32, _: i64| {
            *count.lock().unwrap() += 1;
            Err(BusError::UnknownTopic { topic: "analysis_results".to_owned(), brokers: String::new() })
        };
        let mut finder = Finder::with(0, Box::new(refuse));
        assert!((0..3).all(|seq| finder.find(&frame(seq, 0), || false).is_empty()));
        assert_eq!(*asked.lock().unwrap(), 1, "asked once, not for every frame");
    }
}
