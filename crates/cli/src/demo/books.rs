//! The end of the demo in numbers: per stream and in total, published = delivered + explained.

use crate::demo::slow::SlowBook;
use crate::detection::CrewStatus;
use lumenbus_bus::publisher::{LatencySummary, StreamSummary};
use lumenbus_frame::{GapReason, StreamId};
use lumenbus_pipeline::tally::{StreamTally, Tally};
use lumenbus_web::{ComparedSsim, Percentiles, ViewerSnapshot};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// One stream's account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamBook {
    pub(crate) camera: String,
    pub(crate) topic: String,
    pub(crate) codec: String,
    /// Frames that the publisher gave a number.
    pub(crate) published: u64,
    /// The same number as the ends in the log tell it.
    pub(crate) published_by_log: u64,
    pub(crate) delivered: u64,
    pub(crate) bytes: u64,
    /// Frames that are missing or were equal to the one before, by reason.
    pub(crate) explained: BTreeMap<&'static str, u64>,
    /// Gaps without a known length: somebody died.
    pub(crate) open_gaps: u64,
    /// Frames that the reader found missing without a word.
    pub(crate) silent: u64,
}

impl StreamBook {
    /// What the publisher said of a stream against what the reader saw of it.
    pub(crate) fn new(stream: &StreamId, summary: Option<&StreamSummary>, tally: Option<&StreamTally>) -> Self {
        let mut book = Self {
            camera: stream.camera.as_str().to_owned(),
            topic: stream.topic.as_str().to_owned(),
            published: summary.map_or(0, |summary| summary.stats.submitted_frames),
            ..Self::default()
        };
        let Some(tally) = tally else { return book };
        let known = tally.missing.iter().filter(|(reason, frames)| **reason != GapReason::Unexplained && **frames > 0);
        book.codec = tally.codec.map_or_else(String::new, |codec| codec.as_str().to_owned());
        book.published_by_log = tally.ended.values().sum();
        book.delivered = tally.frames;
        book.bytes = tally.bytes;
        book.explained = known.map(|(reason, frames)| (reason.as_str(), *frames)).collect();
        if tally.repeated > 0 {
            book.explained.insert(GapReason::Repeated.as_str(), tally.repeated);
        }
        book.open_gaps = tally.open_gaps;
        book.silent = tally.unexplained_frames();
        book
    }

    fn explained_frames(&self) -> u64 {
        self.explained.values().sum()
    }

    /// Frames that no account has, or that one has too many.
    pub(crate) fn unexplained(&self) -> u64 {
        let account = self.delivered + self.explained_frames();
        self.published.abs_diff(account).max(self.published.abs_diff(self.published_by_log)).max(self.silent)
            + self.open_gaps
    }
}

/// Quantiles of one part of the way, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stretch {
    /// For programs, and where there is little room.
    pub(crate) key: &'static str,
    /// For people.
    pub(crate) name: &'static str,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Stretch {
    /// From submission to acknowledgement, beside the way to a reader.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn acknowledged(latency: &LatencySummary) -> Option<Self> {
        let millis = |micros: u64| micros as f64 / 1e3;
        let (p50_ms, p99_ms) = (millis(latency.p50_micros), millis(latency.p99_micros));
        (latency.count > 0).then_some(Self { key: "acknowledge", name: "acknowledge", p50_ms, p99_ms })
    }
}

/// What pages have told of the last seconds: the median camera's median, and the worst camera's 99th percentile.
pub(crate) fn shown_stretches(snapshot: &ViewerSnapshot) -> Vec<Stretch> {
    let stretch = |(key, name): (&'static str, &'static str)| {
        let streams = snapshot.streams.iter();
        let mut told: Vec<Percentiles> = streams.filter_map(|stream| stream.stages.get(key).copied()).collect();
        told.sort_by(|a, b| a.p50_ms.total_cmp(&b.p50_ms));
        let p50_ms = told.get(told.len().saturating_sub(1) / 2)?.p50_ms;
        let p99_ms = told.iter().map(|told| told.p99_ms).fold(0.0, f64::max);
        Some(Stretch { key, name, p50_ms, p99_ms })
    };
    let parts =
        [("send", "to a page"), ("decode", "decode"), ("shown", "wait for the screen"), ("total", "capture → shown")];
    parts.into_iter().filter_map(stretch).collect()
}

/// Two cameras with the same footage, one coded as video and one as JPEG.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AgainstJpeg {
    pub(crate) coded: String,
    pub(crate) coded_mbit: f64,
    pub(crate) jpeg: String,
    pub(crate) jpeg_mbit: f64,
    /// How close either comes to the footage.
    pub(crate) ssim: Option<ComparedSsim>,
}

impl AgainstJpeg {
    /// How many times less.
    pub(crate) fn ratio(&self) -> f64 {
        self.jpeg_mbit / self.coded_mbit
    }

    /// By bytes per frame, at the frame rate of the footage.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn of(
        books: &[StreamBook],
        coded: &str,
        jpeg: &str,
        fps: f64,
        ssim: Option<ComparedSsim>,
    ) -> Option<Self> {
        let mbit = |camera: &str| {
            let book = books.iter().find(|book| book.camera == camera && book.delivered > 0)?;
            Some(book.bytes as f64 * 8e-6 / book.delivered as f64 * fps)
        };
        let (coded_mbit, jpeg_mbit) = (mbit(coded)?, mbit(jpeg)?);
        Some(Self { coded: coded.to_owned(), coded_mbit, jpeg: jpeg.to_owned(), jpeg_mbit, ssim })
    }

    fn line(&self) -> String {
        let Self { coded, coded_mbit, jpeg, jpeg_mbit, ssim } = self;
        let at = |ssim: Option<f64>| ssim.map_or_else(String::new, |ssim| format!(" at SSIM {ssim:.3}"));
        let (coded_ssim, jpeg_ssim) = (at(ssim.map(|ssim| ssim.coded)), at(ssim.map(|ssim| ssim.jpeg)));
        let ratio = self.ratio();
        format!(
            "Against JPEG: {coded} {coded_mbit:.2} Mbit/s{coded_ssim}, {jpeg} {jpeg_mbit:.2} Mbit/s{jpeg_ssim}: {ratio:.1} times less for the same pictures."
        )
    }
}

/// Everything that is told at the end.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Books {
    pub(crate) lasted: Duration,
    pub(crate) streams: Vec<StreamBook>,
    /// Cameras whose stream did not end as it should, and why.
    pub(crate) failures: Vec<(String, String)>,
    pub(crate) slow: Vec<SlowBook>,
    pub(crate) broker_kills: u64,
    /// `None` where nobody looked.
    pub(crate) detection: Option<DetectionBook>,
    /// From the start of the broker's process until it served, at most, after a kill.
    pub(crate) slowest_recovery: Option<Duration>,
    pub(crate) against_jpeg: Option<AgainstJpeg>,
    pub(crate) stretches: Vec<Stretch>,
    /// From the start of the command.
    pub(crate) first_frame: Option<Duration>,
    /// From the start of the command until a browser had shown a picture.
    pub(crate) first_shown: Option<Duration>,
    /// How to type this program's name here.
    pub(crate) program: String,
}

/// What the detector did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DetectionBook {
    pub(crate) detector: String,
    /// Pictures that it looked at.
    pub(crate) pictures: u64,
    pub(crate) found: u64,
    /// Results in committed transactions.
    pub(crate) results: u64,
}

impl DetectionBook {
    pub(crate) fn of(crew: &CrewStatus) -> Self {
        let (counts, written) = (&crew.sums.counts, &crew.sums.written);
        let (pictures, found, results) = (counts.analysed, counts.detections, written.results);
        Self { detector: crew.detector.clone(), pictures, found, results }
    }

    fn line(&self) -> String {
        let Self { detector, pictures, found, results } = self;
        format!(
            "Detection ({detector}) looked at {pictures} pictures and found {found}; {results} results are in analysis_results."
        )
    }
}

/// What to type next, without the program's name, and why.
pub(crate) const NEXT: [(&str, &str); 3] = [
    ("init", "writes a commented lumenbus.toml for your own cameras"),
    ("up", "broker, cameras and viewer from that file"),
    ("size --cameras 40 --mbit 4 --keep 24h", "what forty cameras need"),
];

impl Books {
    /// Every stream's account of these two sides.
    pub(crate) fn balance(summaries: &[StreamSummary], tally: &Tally) -> Vec<StreamBook> {
        let mut books: Vec<StreamBook> = Vec::new();
        for summary in summaries {
            let stream = &summary.stats.stream;
            let read = tally.streams().find(|(id, _)| ***id == *stream).map(|(_, tally)| tally);
            books.push(StreamBook::new(stream, Some(summary), read));
        }
        let is_known = |id: &StreamId| summaries.iter().any(|summary| summary.stats.stream == *id);
        // A stream that only the reader knows would be a defect; it must show.
        let unknown = tally.streams().filter(|(id, _)| !is_known(id));
        books.extend(unknown.map(|(id, tally)| StreamBook::new(id, None, Some(tally))));
        books
    }

    fn total(&self) -> StreamBook {
        let mut total = StreamBook { camera: "total".to_owned(), ..StreamBook::default() };
        for book in &self.streams {
            total.published += book.published;
            total.published_by_log += book.published_by_log;
            total.delivered += book.delivered;
            total.bytes += book.bytes;
            for (reason, frames) in &book.explained {
                *total.explained.entry(reason).or_default() += frames;
            }
        }
        total
    }

    /// Frames without an explanation, of the cameras and of the slow readers.
    pub(crate) fn unexplained(&self) -> u64 {
        let streams: u64 = self.streams.iter().map(StreamBook::unexplained).sum();
        streams + self.slow.iter().map(|book| book.unexplained).sum::<u64>()
    }

    /// Whether everything adds up and every stream ended.
    pub(crate) fn is_clean(&self) -> bool {
        self.unexplained() == 0 && self.failures.is_empty()
    }

    /// For people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{:<13}{:>10} {:>12} {:>12} {:>12}",
            "CAMERA", "PUBLISHED", "= DELIVERED", "+ EXPLAINED", "UNEXPLAINED"
        )];
        lines.extend(self.streams.iter().map(|book| account(book, book.unexplained())));
        lines.push(account(&self.total(), self.streams.iter().map(StreamBook::unexplained).sum()));
        lines.extend(self.failures.iter().map(|(camera, why)| format!("{camera} did not end as it should: {why}")));
        lines.push(String::new());
        lines.push(self.broker_line());
        lines.extend(self.slow.iter().map(slow_line));
        lines.extend(self.detection.iter().map(DetectionBook::line));
        if let Some(against) = &self.against_jpeg {
            lines.push(against.line());
        }
        for Stretch { name, p50_ms, p99_ms, .. } in &self.stretches {
            lines.push(format!("{name:<22} p50 {p50_ms:>7.1} ms, p99 {p99_ms:>7.1} ms"));
        }
        lines.push(self.first_line());
        lines.push(String::new());
        lines.push("Next:".to_owned());
        let commands = NEXT.map(|(arguments, why)| (format!("{} {arguments}", self.program), why));
        let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        lines.extend(commands.iter().map(|(command, why)| format!("  {command:<width$}  # {why}")));
        lines
    }

    fn broker_line(&self) -> String {
        let killed = match self.broker_kills {
            0 => return "The broker was not killed.".to_owned(),
            1 => "once".to_owned(),
            kills => format!("{kills} times"),
        };
        match self.slowest_recovery {
            None => format!("The broker was killed {killed}."),
            Some(time) => format!(
                "The broker was killed {killed} and, started again, had checked its files and served after {} ms.",
                time.as_millis()
            ),
        }
    }

    fn first_line(&self) -> String {
        let after = |time: Option<Duration>| time.map(|time| format!("{:.2} s", time.as_secs_f64()));
        let frame = after(self.first_frame).unwrap_or_else(|| "never".to_owned());
        let shown = after(self.first_shown);
        let shown = shown.map_or_else(|| "no browser was there".to_owned(), |shown| format!("in a browser {shown}"));
        format!("After the start: first frame delivered {frame}, first picture {shown}.")
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let stream = |book: &StreamBook| {
            json!({
                "camera": book.camera, "topic": book.topic, "codec": book.codec, "published": book.published,
                "published_by_log": book.published_by_log, "delivered": book.delivered, "bytes": book.bytes,
                "explained": book.explained, "unexplained": book.unexplained(),
            })
        };
        let total = self.total();
        let slow = |book: &SlowBook| {
            let missing: Value =
                book.missing.iter().map(|(reason, frames)| (reason.to_string(), json!(frames))).collect();
            json!({ "camera": book.camera, "frames": book.frames, "missing": missing, "unexplained": book.unexplained })
        };
        let against = self.against_jpeg.as_ref().map(|against| {
            json!({
                "coded": against.coded, "coded_mbit": against.coded_mbit, "jpeg": against.jpeg,
                "jpeg_mbit": against.jpeg_mbit, "ratio": against.ratio(),
                "coded_ssim": against.ssim.map(|ssim| ssim.coded),
                "jpeg_ssim": against.ssim.map(|ssim| ssim.jpeg),
            })
        });
        let stretches: Value = (self.stretches.iter())
            .map(|stretch| (stretch.key.to_owned(), json!({ "p50": stretch.p50_ms, "p99": stretch.p99_ms })))
            .collect();
        let detection = self.detection.as_ref().map(|DetectionBook { detector, pictures, found, results }| {
            json!({ "detector": detector, "pictures": pictures, "found": found, "results": results })
        });
        let failures: Value = self.failures.iter().map(|(camera, why)| (camera.clone(), json!(why))).collect();
        json!({
            "seconds": self.lasted.as_secs_f64(), "streams": self.streams.iter().map(stream).collect::<Vec<_>>(),
            "total": {
                "published": total.published, "delivered": total.delivered, "explained": total.explained_frames(),
                "by_reason": total.explained, "unexplained": self.unexplained(),
            },
            "failures": failures, "slow_readers": self.slow.iter().map(slow).collect::<Vec<_>>(),
            "broker_kills": self.broker_kills, "detection": detection,
            "broker_recovery_ms": self.slowest_recovery.map(|time| time.as_secs_f64() * 1e3), "against_jpeg": against, "stages_ms": stretches,
            "first_frame_seconds": self.first_frame.map(|time| time.as_secs_f64()),
            "first_picture_seconds": self.first_shown.map(|time| time.as_secs_f64()),
            "next": NEXT.map(|(arguments, _)| format!("{} {arguments}", self.program)),
        })
    }
}

fn account(book: &StreamBook, unexplained: u64) -> String {
    let StreamBook { camera, published, delivered, .. } = book;
    let explained = book.explained_frames();
    let reasons: Vec<String> = book.explained.iter().map(|(reason, frames)| format!("{reason} {frames}")).collect();
    let line = format!("{camera:<13}{published:>10} {delivered:>12} {explained:>12} {unexplained:>12}");
    if reasons.is_empty() { line } else { format!("{line}  {}", reasons.join(", ")) }
}

fn slow_line(book: &SlowBook) -> String {
    let (reasons, SlowBook { camera, frames, unexplained, .. }) = (book.reasons(), book);
    format!(
        "The slow reader of {camera} took {frames} frames and knows what it left out: {reasons}; {unexplained} unexplained."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(published: u64, delivered: u64, lost: u64) -> StreamBook {
        let explained = (lost > 0).then_some(("source-lost", lost)).into_iter().collect();
        StreamBook {
            camera: "flower".to_owned(),
            published,
            published_by_log: published,
            delivered,
            bytes: delivered * 1_000,
            explained,
            ..StreamBook::default()
        }
    }

    #[test]
    fn what_adds_up_is_explained() {
        assert_eq!(book(10, 7, 3).unexplained(), 0);
        assert_eq!(book(10, 7, 2).unexplained(), 1, "one is nowhere");
        assert_eq!(book(10, 9, 3).unexplained(), 2, "too many are as wrong as too few");
        assert_eq!(StreamBook { silent: 1, ..book(10, 10, 0) }.unexplained(), 1);
        assert_eq!(StreamBook { open_gaps: 1, ..book(10, 10, 0) }.unexplained(), 1);
        assert_eq!(StreamBook { published_by_log: 8, ..book(10, 10, 0) }.unexplained(), 2, "the log says otherwise");
    }

    #[test]
    fn a_failure_or_a_frame_without_an_account_is_not_clean() {
        let clean = Books { streams: vec![book(10, 7, 3)], ..Books::default() };
        assert!(clean.is_clean());
        assert!(!Books { streams: vec![book(10, 7, 2)], ..Books::default() }.is_clean());
        let failures = vec![("flower".to_owned(), "stuck".to_owned())];
        assert!(!Books { failures, ..clean.clone() }.is_clean());
        let slow = vec![SlowBook { unexplained: 1, ..SlowBook::default() }];
        assert!(!Books { slow, ..clean }.is_clean());
    }

    #[test]
    fn the_words() {
        let mut jpeg = book(100, 100, 0);
        (jpeg.camera, jpeg.bytes) = ("plaza-jpeg".to_owned(), 10_000_000);
        let streams = vec![book(300, 288, 12), jpeg];
        let books = Books {
            against_jpeg: AgainstJpeg::of(
                &streams,
                "flower",
                "plaza-jpeg",
                10.0,
                Some(ComparedSsim { coded: 0.9714, jpeg: 0.9685 }),
            ),
            streams,
            broker_kills: 1,
            slowest_recovery: Some(Duration::from_millis(23)),
            slow: vec![SlowBook {
                camera: "flower".to_owned(),
                frames: 9,
                missing: [(GapReason::Lagging, 210)].into(),
                ..SlowBook::default()
            }],
            stretches: vec![Stretch { key: "delivered", name: "capture → delivered", p50_ms: 2.31, p99_ms: 7.0 }],
            first_frame: Some(Duration::from_millis(412)),
            program: "lumenbus".to_owned(),
            ..Books::default()
        };
        let expected = "\
CAMERA        PUBLISHED  = DELIVERED  + EXPLAINED  UNEXPLAINED
flower              300          288           12            0  source-lost 12
plaza-jpeg          100          100            0            0
total               400          388           12            0  source-lost 12

The broker was killed once and, started again, had checked its files and served after 23 ms.
The slow reader of flower took 9 frames and knows what it left out: lagging 210; 0 unexplained.
Against JPEG: flower 0.08 Mbit/s at SSIM 0.971, plaza-jpeg 8.00 Mbit/s at SSIM 0.969: 100.0 times less for the same pictures.
capture → delivered    p50     2.3 ms, p99     7.0 ms
After the start: first frame delivered 0.41 s, first picture no browser was there.

Next:
  lumenbus init                                   # writes a commented lumenbus.toml for your own cameras
  lumenbus up                                     # broker, cameras and viewer from that file
  lumenbus size --cameras 40 --mbit 4 --keep 24h  # what forty cameras need";
        assert_eq!(books.lines().join("\n"), expected);
        let json = books.json();
        assert_eq!((&json["total"]["published"], &json["total"]["unexplained"]), (&400.into(), &0.into()));
    }
}
