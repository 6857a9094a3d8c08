//! One run: paced pictures → encoder → publisher → broker → subscriber → decoder.
//!
//! The broker is a process of its own; publisher and subscriber are in this one, on threads of their own, so that one
//! clock measures both ends.

use super::pictures::Pictures;
use super::timeline::Timeline;
use crate::bench::environment::Environment;
use crate::bench::usage::{self, Machine};
use anyhow::Context as _;
use lumenbus_bus::publisher::{Publisher, PublisherConfig, StreamHandle, StreamOptions};
use lumenbus_bus::subscriber::{Event, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_codec::{DecoderConfig, EncoderConfig, encoder};
use lumenbus_frame::{CaptureTime, Clock as _, EncodedFrame, FrameRate, PixelFormat, RawFrame, StreamId, TopicName};
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::decode::Decoding;
use lumenbus_pipeline::subscribe::encoded;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Frames at the beginning that do not count: buffers, caches and the partition's leader come into place.
pub(in crate::bench) const WARM_UP: u64 = 30;
/// The last frame has to be decoded by then.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is measured.
pub(in crate::bench) struct Plan {
    pub(in crate::bench) encoder: EncoderConfig,
    pub(in crate::bench) rate: FrameRate,
    /// What the decoder hands out.
    pub(in crate::bench) to: PixelFormat,
    /// Frames of a run, without the warm-up.
    pub(in crate::bench) frames: u64,
    /// Whether what was sent is wanted afterwards.
    pub(in crate::bench) keeps_frames: bool,
}

/// What came of a run.
pub(in crate::bench) struct Round {
    pub(in crate::bench) timeline: Timeline,
    /// Processor time per frame of this process, and of the broker.
    pub(in crate::bench) client_cpu_millis: f64,
    pub(in crate::bench) broker_cpu_millis: Option<f64>,
    /// Share of the machine that other processes used meanwhile, 0 to 1.
    pub(in crate::bench) others: Option<f64>,
    /// What was sent, the warm-up included, where the plan keeps it.
    pub(in crate::bench) coded: Vec<EncodedFrame>,
}

pub(in crate::bench) fn run(environment: &mut Environment, plan: &Plan, pictures: &Pictures) -> anyhow::Result<Round> {
    let topic = TopicName::new(&environment.topic(1)?)?;
    let total = WARM_UP + plan.frames;
    let timeline = Timeline::new(total);
    let mut config = PublisherConfig::new(environment.bus.clone());
    config.tracer = Some(Arc::new(timeline.clone()));
    let publisher = Publisher::open(config)?;
    let id = StreamId::main("bench".parse()?, topic.clone());
    let stream = publisher.stream(id, StreamOptions::new(plan.encoder.codec))?;
    let stop = Arc::new(Shutdown::default());
    let (reading, over) = sync_channel(0);
    let reader =
        reader(environment.bus.clone(), topic, plan.to, &timeline, Turn { total, stop: Arc::clone(&stop), reading })?;

    let mut sender = Sender::open(plan, pictures, &stream, &timeline)?;
    let mut clocks = None;
    sender.send(total, || clocks = Some(Clocks::begin(environment)))?;
    // Disconnected as soon as the last picture is decoded, or reading has failed.
    let _ = over.recv_timeout(PATIENCE);
    let coded = sender.coded;
    let clocks = clocks.context("the run has no frames")?;
    let (client_cpu_millis, broker_cpu_millis, others) = clocks.end(plan.frames);
    let summary = stream.finish(PATIENCE)?;
    stop.request();
    reader.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))??;
    drop(publisher.close(Duration::from_secs(10)));
    let complete = timeline.complete(0).len() as u64;
    let dropped = summary.stats.dropped_frames();
    anyhow::ensure!(
        complete == total,
        "{complete} of {total} frames were decoded ({dropped} dropped by the publisher)"
    );
    Ok(Round { timeline, client_cpu_millis, broker_cpu_millis, others, coded })
}

/// The camera's side.
struct Sender<'a> {
    pictures: &'a Pictures,
    stream: &'a StreamHandle,
    timeline: &'a Timeline,
    encoder: Box<dyn lumenbus_codec::Encoder>,
    interval: Duration,
    keeps_frames: bool,
    coded: Vec<EncodedFrame>,
}

impl<'a> Sender<'a> {
    fn open(
        plan: &Plan,
        pictures: &'a Pictures,
        stream: &'a StreamHandle,
        timeline: &'a Timeline,
    ) -> anyhow::Result<Self> {
        let mut encoder = encoder(&plan.encoder)?;
        encoder.set_color(pictures.color);
        let (interval, keeps_frames) = (plan.rate.interval(), plan.keeps_frames);
        Ok(Self { pictures, stream, timeline, encoder, interval, keeps_frames, coded: Vec::new() })
    }

    /// `on_warm` is called before the first frame that counts.
    fn send(&mut self, total: u64, mut on_warm: impl FnMut()) -> anyhow::Result<()> {
        let rhythm =
            Rhythm { began: Instant::now(), began_unix_nanos: SystemClock.unix_nanos(), interval: self.interval };
        let mut coded = Vec::new();
        for seq in 0..total {
            let captured = rhythm.wait(u32::try_from(seq)?);
            if seq == WARM_UP {
                on_warm();
            }
            let begun = SystemClock.unix_nanos();
            self.timeline.note(seq, |times| (times.captured, times.begun) = (captured, begun));
            let picture = stamped(self.pictures.at(seq), captured)?;
            self.encoder.encode(&picture, &mut coded)?;
            anyhow::ensure!(coded.len() == 1, "the encoder held frame {seq} back");
            for frame in coded.drain(..) {
                self.timeline.note(seq, |times| times.payload_bytes = frame.payload.len());
                if self.keeps_frames {
                    self.coded.push(frame.clone());
                }
                self.stream.submit(frame)?;
            }
        }
        Ok(())
    }
}

/// A camera's: it does not wait for an encoder that is late, and unlike a source's rhythm it does not begin anew.
struct Rhythm {
    began: Instant,
    began_unix_nanos: i64,
    interval: Duration,
}

impl Rhythm {
    /// Waits until picture `number` is due and tells when that was, Unix nanoseconds, even if it is long ago: else a
    /// picture that had to wait for those before it would count as taken when its turn came.
    fn wait(&self, number: u32) -> i64 {
        let due = self.interval.saturating_mul(number);
        // A matter of time alone: there is nothing to wait for.
        std::thread::sleep(due.saturating_sub(self.began.elapsed()));
        self.began_unix_nanos.saturating_add(i64::try_from(due.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// The same pixels, captured then.
fn stamped(picture: &RawFrame, captured: i64) -> anyhow::Result<RawFrame> {
    let capture = CaptureTime::arrival(captured);
    Ok(RawFrame::new(picture.format(), picture.dimensions(), picture.pixels().clone(), capture)?)
}

/// How long to read.
struct Turn {
    total: u64,
    stop: Arc<Shutdown>,
    /// Dropped when there is nothing more to come.
    reading: SyncSender<()>,
}

fn reader(
    bus: BusConfig,
    topic: TopicName,
    to: PixelFormat,
    timeline: &Timeline,
    turn: Turn,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let mut config = SubscriberConfig::new(bus, vec![topic]);
    config.start = Start::Earliest;
    let mut subscriber = Subscriber::open(config)?;
    let mut decoding = Decoding::new(DecoderConfig { pixel_format: Some(to) });
    let timeline = timeline.clone();
    Ok(std::thread::spawn(move || {
        let (mut pictures, mut done) = (Vec::new(), 0);
        while done < turn.total && !turn.stop.is_requested() {
            let Some(Event::Frame(frame)) = subscriber.recv(Duration::from_millis(20))? else { continue };
            decoding.push(frame.id(), &encoded(&frame), &mut pictures)?;
            let decoded = SystemClock.unix_nanos();
            for picture in pictures.drain(..) {
                anyhow::ensure!(picture.id == frame.id(), "the decoder held picture {} back", picture.id.seq);
                timeline.note(picture.id.seq.0, |times| {
                    times.received = frame.received_unix_nanos;
                    // The middle of the broker's millisecond.
                    times.appended = frame.append_unix_millis.unwrap_or(0) * 1_000_000 + 500_000;
                    times.decoded = decoded;
                });
                done += 1;
            }
        }
        drop(turn.reading);
        subscriber.close();
        Ok(())
    }))
}

/// Processor time since the first frame that counts.
struct Clocks {
    client: Duration,
    broker: Option<(u32, Duration)>,
    machine: Option<Machine>,
}

impl Clocks {
    fn begin(environment: &Environment) -> Self {
        let broker = environment.broker_pid().map(|pid| (pid, usage::cpu(pid)));
        Self { client: usage::cpu(std::process::id()), broker, machine: Machine::now() }
    }

    #[expect(clippy::cast_precision_loss, reason = "frames of a run")]
    fn end(self, frames: u64) -> (f64, Option<f64>, Option<f64>) {
        let since = |pid, then| usage::cpu(pid).saturating_sub(then);
        let client = since(std::process::id(), self.client);
        let broker = self.broker.map(|(pid, then)| since(pid, then));
        let own = client + broker.unwrap_or_default();
        let others = self.machine.and_then(|then| Some(Machine::now()?.others_since(&then, own)));
        let per_frame = |spent: Duration| spent.as_secs_f64() * 1e3 / frames.max(1) as f64;
        (per_frame(client), broker.map(per_frame), others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_as_old_as_it_was_due_however_late_its_turn() {
        let (began_unix_nanos, interval) = (7_000_000_000, Duration::from_millis(40));
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let late = Rhythm { began: long_ago, began_unix_nanos, interval };
        assert_eq!([0, 1, 25].map(|number| late.wait(number)), [7_000_000_000, 7_040_000_000, 8_000_000_000]);
        let began = Instant::now();
        let early = Rhythm { began, began_unix_nanos, interval };
        assert_eq!(early.wait(1), 7_040_000_000);
        assert!(began.elapsed() >= interval, "it waits until then");
    }
}
