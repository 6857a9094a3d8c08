//! Our side: a publisher with a stream per camera, and a subscriber.

use super::environment::Environment;
use super::load::{Load, Measured, Received};
use super::overhead::Observer;
use super::usage;
use bytes::Bytes;
use lumenbus_bus::publisher::{BatchLimits, Publisher, PublisherConfig, StreamHandle, StreamOptions};
use lumenbus_bus::subscriber::{Event, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_frame::{CaptureTime, Clock as _, Codec, EncodedFrame, StreamId, TopicName};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What may wait in a lane before an unpaced sender waits.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

pub(super) fn run(environment: &mut Environment, load: &Load) -> anyhow::Result<Measured> {
    measure(environment, load, None)
}

/// The same, looked at by somebody.
pub(super) fn run_observed(environment: &mut Environment, load: &Load, observer: Observer) -> anyhow::Result<Measured> {
    measure(environment, load, Some(observer))
}

fn measure(environment: &mut Environment, load: &Load, observer: Option<Observer>) -> anyhow::Result<Measured> {
    let topic = TopicName::new(&environment.topic(load.partitions)?)?;
    let bus = environment.bus.clone();
    let bus = observer.as_ref().map_or_else(|| bus.clone(), |observer| observer.bus(bus.clone()));
    let mut config = PublisherConfig::new(bus.clone());
    config.tracer = observer.as_ref().and_then(Observer::tracer);
    let (publisher, streams) = open(config, load, &topic)?;
    let publisher = Arc::new(publisher);
    let clock = Instant::now();
    let received = Arc::new(Received::new(load, clock));
    let reader = reader(bus, load, topic, &received, observer.clone())?;
    let scraper = observer.map(|observer| observer.scrape(&publisher));
    warm_up(&streams)?;
    received.wait_warm(u64::try_from(load.cameras)?)?;
    let run = Run::begin(environment);
    send(&streams, load, clock)?;
    received.wait()?;
    let measured = run.end(load, &received);
    for stream in streams {
        let summary = stream.finish(Duration::from_secs(30))?;
        let dropped = summary.stats.dropped_frames();
        anyhow::ensure!(dropped == 0, "{dropped} frames were dropped: the measurement is void");
    }
    drop(scraper);
    drop(Arc::into_inner(publisher).map(|publisher| publisher.close(Duration::from_secs(10))));
    drop(reader.join());
    Ok(measured)
}

pub(super) fn open_streams(
    bus: &BusConfig,
    load: &Load,
    topic: &TopicName,
) -> anyhow::Result<(Publisher, Vec<StreamHandle>)> {
    open(PublisherConfig::new(bus.clone()), load, topic)
}

fn open(mut config: PublisherConfig, load: &Load, topic: &TopicName) -> anyhow::Result<(Publisher, Vec<StreamHandle>)> {
    config.batching = (load.batch > 1).then_some(BatchLimits { frames: load.batch, ..BatchLimits::THROUGHPUT });
    let publisher = Publisher::open(config)?;
    let mut streams = Vec::new();
    for camera in 0..load.cameras {
        let id = StreamId::main(format!("camera-{camera}").parse()?, topic.clone());
        let mut options = StreamOptions::new(Codec::H264);
        options.partition = u32::try_from(camera).ok().map(|camera| camera % load.partitions.unsigned_abs());
        streams.push(publisher.stream(id, options)?);
    }
    Ok((publisher, streams))
}

/// As on the bare side.
fn warm_up(streams: &[StreamHandle]) -> anyhow::Result<()> {
    for stream in streams {
        let capture = CaptureTime::arrival(SystemClock.unix_nanos());
        stream.submit(EncodedFrame::new(Codec::H264, capture, Bytes::new()).keyframe())?;
        anyhow::ensure!(stream.flush(Duration::from_secs(30)), "the warm-up frame of {} did not arrive", stream.id());
    }
    Ok(())
}

fn reader(
    bus: BusConfig,
    load: &Load,
    topic: TopicName,
    received: &Arc<Received>,
    observer: Option<Observer>,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let mut config = SubscriberConfig::new(bus, vec![topic]);
    config.tracer = observer.as_ref().and_then(Observer::tracer);
    config.start = Start::Earliest;
    config.consumers = load.consumers;
    let mut subscriber = Subscriber::open(config)?;
    if let Some(observer) = &observer {
        observer.watch(&subscriber);
    }
    let received = Arc::clone(received);
    let mut metrics = observer.and_then(|observer| observer.reader());
    Ok(std::thread::spawn(move || {
        while !received.is_complete() {
            let Ok(Some(event)) = subscriber.recv(Duration::from_millis(20)) else { continue };
            if let Some(metrics) = &mut metrics {
                metrics.observe(&event);
            }
            if let Event::Frame(frame) = event {
                if frame.payload.is_empty() {
                    received.warm();
                } else {
                    received.frame(&frame.payload);
                }
            }
        }
        subscriber.close();
    }))
}

fn send(streams: &[StreamHandle], load: &Load, clock: Instant) -> anyhow::Result<()> {
    let began = Instant::now();
    for frame in 0..load.frames {
        load.wait(frame, began);
        let stream = &streams[load.camera(frame)];
        while load.interval.is_none() && stream.queued_bytes() > WAITING_BYTES {
            // The lane does not tell when it has room again.
            std::thread::sleep(Duration::from_micros(200));
        }
        stream.submit(encoded(load, frame, clock))?;
    }
    Ok(())
}

pub(super) fn encoded(load: &Load, frame: u64, clock: Instant) -> EncodedFrame {
    let payload = Bytes::from(load.payload(clock));
    let coded = EncodedFrame::new(Codec::H264, CaptureTime::arrival(SystemClock.unix_nanos()), payload);
    if load.is_keyframe(frame) { coded.keyframe() } else { coded }
}

/// Clocks of one run.
pub(super) struct Run {
    began: Instant,
    client_cpu: Duration,
    broker: Option<(u32, Duration)>,
}

impl Run {
    pub(super) fn begin(environment: &Environment) -> Self {
        let broker = environment.broker_pid().map(|pid| (pid, usage::cpu(pid)));
        Self { began: Instant::now(), client_cpu: usage::cpu(std::process::id()), broker }
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes and counts of a run")]
    pub(super) fn end(self, load: &Load, received: &Received) -> Measured {
        let seconds = self.began.elapsed().as_secs_f64();
        let megabytes = load.bytes() as f64 / 1e6;
        let per_megabyte = |now: Duration, then: Duration| (now.saturating_sub(then)).as_secs_f64() * 1e3 / megabytes;
        Measured {
            p50_millis: received.millis(0.5),
            p99_millis: received.millis(0.99),
            megabytes_per_second: megabytes / seconds,
            frames_per_second: load.frames as f64 / seconds,
            client_cpu_millis_per_megabyte: per_megabyte(usage::cpu(std::process::id()), self.client_cpu),
            broker_cpu_millis_per_megabyte: self.broker.map_or(0.0, |(pid, then)| per_megabyte(usage::cpu(pid), then)),
        }
    }
}
