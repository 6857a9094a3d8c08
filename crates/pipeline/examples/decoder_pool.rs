//! How decoding many streams grows with threads: `cargo run --release -p lumenbus-pipeline --example decoder_pool -- CLIP [STREAMS]`.

use lumenbus_codec::DecoderConfig;
use lumenbus_frame::{EncodedFrame, Epoch, FrameId, Seq};
use lumenbus_pipeline::pool::{DecoderPool, Outcome, PoolConfig, PoolStream};
use lumenbus_source::{Source, SourceItem, SourceOptions, open};
use std::error::Error;
use std::num::NonZeroUsize;
use std::time::Instant;

/// Frames of the clip that each stream is made of.
const FRAMES: usize = 120;
const STREAMS: usize = 8;
/// Each count of threads so often, in turns; the best counts, which others on the machine disturb least.
const ROUNDS: usize = 3;

fn frames(clip: &str) -> Result<Vec<EncodedFrame>, Box<dyn Error>> {
    let mut source: Box<dyn Source> = open(clip, &SourceOptions::default())?;
    let mut frames = Vec::new();
    while frames.len() < FRAMES {
        match source.next_frame()? {
            Some(SourceItem::Encoded { frame, .. }) => frames.push(frame),
            Some(_) => {}
            None => break,
        }
    }
    Ok(frames)
}

/// Feeds a stream and takes its pictures; how many there were.
fn through(stream: &PoolStream, frames: &[EncodedFrame]) -> usize {
    let feed = || {
        for (frame, seq) in frames.iter().zip(0..) {
            if stream.submit(FrameId { epoch: Epoch(1), seq: Seq(seq) }, frame.clone()).is_err() {
                return;
            }
        }
        stream.finish();
    };
    std::thread::scope(|scope| {
        scope.spawn(feed);
        std::iter::from_fn(|| stream.next()).filter(|outcome| matches!(outcome, Outcome::Picture(_))).count()
    })
}

fn pictures_per_second(threads: NonZeroUsize, streams: usize, frames: &[EncodedFrame]) -> f64 {
    let pool = DecoderPool::new(&PoolConfig { threads, ..PoolConfig::default() });
    let streams: Vec<_> = (0..streams).map(|_| pool.stream(DecoderConfig::default())).collect();
    let began = Instant::now();
    let pictures: usize = std::thread::scope(|scope| {
        let running: Vec<_> = streams.iter().map(|stream| scope.spawn(|| through(stream, frames))).collect();
        running.into_iter().filter_map(|running| running.join().ok()).sum()
    });
    f64::from(u32::try_from(pictures).unwrap_or(u32::MAX)) / began.elapsed().as_secs_f64()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let clip = arguments.next().ok_or("the path of a clip is needed")?;
    let streams = arguments.next().map_or(Ok(STREAMS), |streams| streams.parse())?;
    let frames = frames(&clip)?;
    let counts = [1, 2, 4].map(|count| NonZeroUsize::MIN.saturating_add(count - 1));
    let mut best = [0.0_f64; 3];
    for _ in 0..ROUNDS {
        for (threads, best) in counts.iter().zip(&mut best) {
            *best = best.max(pictures_per_second(*threads, streams, &frames));
        }
    }
    let lines = counts.iter().zip(best).map(|(threads, rate)| {
        format!(
            "{streams} streams on {threads} threads: {rate:.0} pictures a second, {:.2} of one thread's",
            rate / best[0]
        )
    });
    lines.for_each(|line| eprintln!("{line}"));
    Ok(())
}
