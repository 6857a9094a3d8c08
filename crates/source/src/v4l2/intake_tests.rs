//! Buffers as drivers describe them, honest and not.

use super::*;
use crate::frame_queue::Taken;
use lumenbus_frame::{CaptureSource, ManualClock};

const UNIX: i64 = 1_750_000_000_000_000_000;
const MONOTONIC: i64 = 5_000_000_000_000;
const MILLISECOND: i64 = 1_000_000;
const TWO_PICTURES: &[u8] = include_bytes!("../../tests/data/two.mjpeg");

fn picture() -> Vec<u8> {
    jpeg::complete(&Bytes::from_static(TWO_PICTURES)).unwrap().bytes.to_vec()
}

struct Stand {
    intake: Intake,
    queue: Arc<Queue>,
    clock: Arc<ManualClock>,
    sequence: u32,
}

fn stand(format: DeviceFormat, queue_bytes: usize) -> Stand {
    let name: Arc<str> = Arc::from("/dev/video0");
    let queue = Arc::new(Queue::new(Arc::clone(&name), queue_bytes));
    let clock = Arc::new(ManualClock::at(UNIX));
    let rate = Some(FrameRate::per_second(25));
    let setting = Setting { format, size: Dimensions::new(4, 2), bytes_per_line: 0, rate };
    let intake = Intake::new(name, Arc::clone(&queue), clock.clone(), &setting).unwrap();
    Stand { intake, queue, clock, sequence: 0 }
}

impl Stand {
    /// 40 ms after the one before; stamped 5 ms before it came.
    fn facts(&mut self, bytes: &[u8]) -> Facts {
        self.clock.advance(Duration::from_millis(40));
        self.sequence += 1;
        let now_nanos = MONOTONIC + i64::from(self.sequence) * 40 * MILLISECOND;
        let taken_nanos = Some(now_nanos - 5 * MILLISECOND);
        let (bytes_used, sequence) = (bytes.len(), self.sequence);
        Facts { bytes_used, capacity: bytes.len() + 100, sequence, is_error: false, taken_nanos, now_nanos }
    }

    fn good(&mut self, bytes: &[u8]) {
        let facts = self.facts(bytes);
        self.intake.take(&facts, bytes.to_vec()).unwrap();
    }

    fn item(&self) -> SourceItem {
        match self.queue.take(Duration::ZERO) {
            Taken::Item(waiting) => waiting.item,
            other => panic!("{other:?}"),
        }
    }

    fn damage(&self) -> (String, u64) {
        match self.item() {
            SourceItem::Damaged { error, frames } => (error.to_string(), frames.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn capture(&self) -> CaptureTime {
        match self.item() {
            SourceItem::Encoded { frame, .. } => frame.capture,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_the_driver_says_wrong_costs_the_frame_only() {
    let mut stand = stand(DeviceFormat::Mjpeg, 1 << 20);
    let whole = picture();
    // Padding behind the picture is cut off.
    stand.good(&[&whole[..], &[0; 64]].concat());
    let SourceItem::Encoded { frame, .. } = stand.item() else { panic!("a picture") };
    assert_eq!((&*frame.payload, frame.pts), (&whole[..], Some(0)));
    type Wrong = fn(&mut Facts, &mut Vec<u8>);
    let wrong: [(&str, Wrong); 5] = [
        ("more bytes than its buffer", |facts, _| facts.bytes_used = usize::MAX),
        ("marked it as damaged", |facts, _| facts.is_error = true),
        ("no bytes", |_, bytes| bytes.clear()),
        ("ends before its end marker", |_, bytes| bytes.truncate(bytes.len() / 2)),
        ("not the beginning", |_, bytes| bytes.fill(0xff)),
    ];
    for (what, make) in wrong {
        let (mut facts, mut bytes) = (stand.facts(&whole), whole.clone());
        make(&mut facts, &mut bytes);
        stand.intake.take(&facts, bytes).unwrap();
        let (error, frames) = stand.damage();
        // Nothing but fill bytes may be a picture that has only begun.
        let is_told = error.contains(what) || what == "not the beginning" && error.contains("a JPEG");
        assert!(is_told && frames == 1, "{error}");
        stand.good(&whole);
        assert!(matches!(stand.item(), SourceItem::Encoded { .. }));
    }
}

#[test]
fn nothing_but_damage_is_the_end() {
    let mut stand = stand(DeviceFormat::Gray8, 1 << 20);
    stand.good(&[1; 8]);
    let ended = (0..MAX_BAD_IN_A_ROW).find_map(|_| {
        let facts = stand.facts(&[1; 7]);
        stand.intake.take(&facts, vec![1; 7]).err()
    });
    let Some(Stop::Fault(CameraFault::Garbage { frames, what })) = ended else { panic!("{ended:?}") };
    assert_eq!((frames, what), (MAX_BAD_IN_A_ROW, "it has too few bytes for its size"));
}

#[test]
fn frames_that_the_driver_dropped_are_counted_by_its_numbers() {
    let mut stand = stand(DeviceFormat::Gray8, 1 << 20);
    let at = |stand: &mut Stand, sequence| {
        let mut facts = stand.facts(&[1; 8]);
        facts.sequence = sequence;
        stand.intake.take(&facts, vec![1; 8]).unwrap();
    };
    for sequence in [u32::MAX - 1, 2, 3, 900_000_000, 0, 1] {
        at(&mut stand, sequence);
    }
    let is_raw = |item| matches!(item, SourceItem::Raw { .. });
    assert!(is_raw(stand.item()));
    assert_eq!(stand.damage().1, 3, "the number goes around");
    assert!((0..5).all(|_| is_raw(stand.item())), "a number that begins again says nothing");
}

#[test]
fn a_reader_that_is_slow_costs_its_own_frames_and_knows_how_many() {
    let mut stand = stand(DeviceFormat::Mjpeg, 3 * (picture().len() + 1024));
    (0..10).for_each(|_| stand.good(&picture()));
    (0..3).for_each(|_| assert!(matches!(stand.item(), SourceItem::Encoded { .. })));
    let (error, frames) = stand.damage();
    assert!(error.contains("faster than they were taken") && frames == 7, "{error}");
    stand.queue.close();
    let facts = stand.facts(&picture());
    assert!(matches!(stand.intake.take(&facts, picture()), Err(Stop::Closed)));
}

#[test]
fn stamps_count_where_they_can_be_right() {
    let mut stand = stand(DeviceFormat::Mjpeg, 1 << 20);
    stand.good(&picture());
    let first = UNIX + 35 * MILLISECOND;
    assert_eq!(stand.capture(), CaptureTime::sensor(first));
    stand.good(&picture());
    assert_eq!(stand.capture(), CaptureTime::sensor(first + 40 * MILLISECOND));
    for wrong in [None, Some(0), Some(i64::MIN), Some(i64::MAX), Some(MONOTONIC + 3_600_000 * MILLISECOND)] {
        let mut facts = stand.facts(&picture());
        facts.taken_nanos = wrong;
        stand.intake.take(&facts, picture()).unwrap();
        let SourceItem::Encoded { frame, .. } = stand.item() else { panic!("a picture") };
        assert_eq!(frame.capture, CaptureTime::arrival(UNIX + i64::from(stand.sequence) * 40 * MILLISECOND));
        assert!(!frame.is_discontinuity && frame.pts.is_some_and(|pts| pts > 0), "{frame:?}");
    }
    // The machine's clock is set: a jump of time, and frames go on.
    stand.clock.step_to(UNIX - 3_600_000 * MILLISECOND);
    stand.good(&picture());
    let SourceItem::Encoded { frame, .. } = stand.item() else { panic!("a picture") };
    assert!(frame.is_discontinuity && frame.capture.source == CaptureSource::Sensor, "{frame:?}");
}
