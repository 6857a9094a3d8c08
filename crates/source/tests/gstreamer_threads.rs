//! Alone in its program, since it counts the program's threads.

#![cfg(feature = "gstreamer")]

use lumenbus_source::{SourceItem, SourceOptions, open};
use std::time::{Duration, Instant};

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("a process lists its threads").count()
}

fn round(spec: &str) {
    let mut source = open(spec, &SourceOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    while matches!(source.next_frame().expect("it runs"), Some(SourceItem::Nothing)) {}
}

#[test]
fn pipelines_that_are_left_leave_no_threads() {
    let live = "gst:videotestsrc is-live=true ! openh264enc ! queue ! h264parse ! appsink";
    // Stopped while its thread waits for room.
    let waiting = "gst:videotestsrc ! video/x-raw,format=I420,width=1920,height=1080 ! queue ! appsink";
    let broken = "gst:videotestsrc ! video/x-raw,format=NV12 ! appsink";
    let mut most = 0;
    for number in 0..12 {
        round(live);
        round(waiting);
        assert!(open(broken, &SourceOptions::default()).is_err());
        // GStreamer keeps a few for the next pipeline.
        if number == 3 {
            most = threads() + 4;
        }
    }
    // Its pools end theirs a moment later.
    let since = Instant::now();
    while threads() > most {
        assert!(since.elapsed() < PATIENCE, "{} threads, {most} at most after the first rounds", threads());
        std::thread::sleep(Duration::from_millis(50));
    }
}
