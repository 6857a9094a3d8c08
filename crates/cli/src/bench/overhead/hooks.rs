//! What metrics and traces do for a frame that is not traced, alone on one thread: the figure that other programs on the
//! machine disturb least.

use super::Observer;
use bytes::Bytes;
use lumenbus_bus::FrameTracer;
use lumenbus_bus::subscriber::{DeliveredFrame, Event, FrameRole};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, Epoch, FrameId, Seq, StreamId, TopicName};
use lumenbus_wire::Header;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Each as long as a time slice or so; the quickest one is the one that nobody interrupted.
const ROUNDS: usize = 40;
const FRAMES: usize = 50_000;
/// Different frames, of which one after the other is observed.
const KINDS: usize = 64;
/// Frames of one camera that come one after the other.
const IN_A_ROW: usize = 8;
/// Within the buckets' bounds, a frame takes so much longer than the one before.
const STEP_NANOS: i64 = 3_700_000;

/// Nanoseconds for each frame, of its publisher and its reader together.
pub(super) fn nanos_per_frame(observer: &Observer) -> anyhow::Result<f64> {
    let frames = (0..KINDS / IN_A_ROW).map(of_camera).collect::<anyhow::Result<Vec<_>>>()?.concat();
    let submitted = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), Bytes::new());
    let (tracer, mut reader) = (observer.tracer(), observer.reader());
    let mut tracers: Vec<Option<Arc<dyn FrameTracer>>> = Vec::new();
    for event in &frames {
        let Event::Frame(frame) = event else { continue };
        tracers.push(tracer.as_ref().and_then(|tracer| tracer.of_stream(&frame.stream)));
    }
    let mut quickest = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for (event, of_stream) in frames.iter().zip(&tracers).cycle().take(FRAMES) {
            let Event::Frame(frame) = event else { continue };
            if let (Some(tracer), Some(of_stream)) = (&tracer, of_stream) {
                publish(&**of_stream, frame, &submitted);
                tracer.received(frame);
            }
            if let Some(reader) = &mut reader {
                reader.observe(event);
            }
        }
        quickest = quickest.min(began.elapsed());
    }
    Ok(quickest.as_secs_f64() * 1e9 / FRAMES as f64)
}

fn publish(tracer: &dyn FrameTracer, frame: &DeliveredFrame, submitted: &EncodedFrame) {
    black_box(tracer.submitted(&frame.stream, frame.id(), submitted));
    let after = frame.received_unix_nanos.unsigned_abs();
    tracer.acknowledged(&frame.stream, Duration::from_nanos(after));
}

fn of_camera(camera: usize) -> anyhow::Result<Vec<Event>> {
    let stream = Arc::new(StreamId::main(format!("camera-{camera}").parse()?, TopicName::new("raw_video")?));
    (camera * IN_A_ROW..(camera + 1) * IN_A_ROW).map(|kind| delivered(&stream, kind)).collect()
}

fn delivered(stream: &Arc<StreamId>, kind: usize) -> anyhow::Result<Event> {
    let received_unix_nanos = i64::try_from(kind)? * STEP_NANOS;
    let mut header = Header::new(FrameId { epoch: Epoch(1), seq: Seq(kind as u64) }, CaptureTime::arrival(0));
    (header.submit_micros, header.queue_micros) = (Some(17), Some(230));
    Ok(Event::Frame(DeliveredFrame {
        stream: Arc::clone(stream),
        header,
        header_bytes: Bytes::new(),
        codec: Codec::H264,
        payload: Bytes::from_static(&[0x5a; 100]),
        parameters: None,
        trace: None,
        role: FrameRole::Current,
        partition: 0,
        offset: 0,
        append_unix_millis: Some(received_unix_nanos / 2_000_000),
        received_unix_nanos,
    }))
}
