use super::*;
use bytes::Bytes;
use lumenbus_codec::{EncoderConfig, encoder};
use lumenbus_frame::{CaptureTime, Codec, Dimensions, Epoch, GapReason, PixelFormat, RawFrame, Seq};

const SIZE: Dimensions = Dimensions { width: 64, height: 48 };

fn id(seq: u64) -> FrameId {
    FrameId { epoch: Epoch(1), seq: Seq(seq) }
}

/// H.264 with a keyframe every five frames; capture time is camera and index.
fn coded(camera: i64, count: i64) -> Vec<EncodedFrame> {
    let (mut encoder, mut frames) = (encoder(&EncoderConfig::new(Codec::H264)).unwrap(), Vec::new());
    for index in 0..count {
        if index % 5 == 0 {
            encoder.force_keyframe();
        }
        let shade = u8::try_from(40 + index % 20 + camera * 20).unwrap();
        let capture = CaptureTime::sensor(camera * 1_000 + index);
        let picture = RawFrame::new(PixelFormat::Gray8, SIZE, vec![shade; 64 * 48].into(), capture).unwrap();
        encoder.encode(&picture, &mut frames).unwrap();
    }
    frames
}

fn pool(threads: usize) -> DecoderPool {
    DecoderPool::new(&PoolConfig { threads: NonZeroUsize::new(threads).unwrap(), ..PoolConfig::default() })
}

fn feed(stream: &PoolStream, frames: Vec<EncodedFrame>) {
    for (frame, seq) in frames.into_iter().zip(0..) {
        stream.submit(id(seq), frame).unwrap();
    }
    stream.finish();
}

/// Seqs of pictures; each must carry its own camera's and frame's capture time.
fn seqs(stream: &PoolStream, camera: i64) -> Vec<u64> {
    let mut seqs = Vec::new();
    while let Some(outcome) = stream.next() {
        if let Outcome::Picture(decoded) = outcome {
            let seq = i64::try_from(decoded.id.seq.0).unwrap();
            assert_eq!(decoded.picture.capture.unix_nanos, camera * 1_000 + seq);
            seqs.push(decoded.id.seq.0);
        }
    }
    seqs
}

#[test]
fn each_camera_comes_in_its_own_order() {
    for threads in [1, 3] {
        let pool = pool(threads);
        let streams: Vec<_> = (0..6).map(|_| pool.stream(DecoderConfig::default())).collect();
        streams.iter().zip(0..).for_each(|(stream, camera)| feed(stream, coded(camera, 30)));
        for (stream, camera) in streams.iter().zip(0..) {
            assert_eq!(seqs(stream, camera), (0..30).collect::<Vec<_>>(), "camera {camera} on {threads} threads");
        }
    }
}

#[test]
fn a_picture_is_out_before_the_next_frame_goes_in() {
    let (pool, mut last) = (pool(2), None);
    let stream = pool.stream(DecoderConfig::default());
    for (frame, seq) in coded(0, 12).into_iter().zip(0..) {
        stream.submit(id(seq), frame).unwrap();
        let Some(Outcome::Picture(decoded)) = stream.next() else { panic!("no picture of {seq}") };
        assert_eq!(decoded.id, id(seq));
        last = Some(seq);
    }
    assert_eq!(last, Some(11));
}

#[test]
fn a_camera_that_is_damaged_or_not_listened_to_costs_the_others_nothing() {
    // Room for one picture: the deaf stream stops after it, with frames waiting.
    let config = PoolConfig { threads: NonZeroUsize::MIN, coded_bytes: 1 << 20, picture_bytes: 1 };
    let pool = DecoderPool::new(&config);
    let streams: Vec<_> = (0..3).map(|_| pool.stream(DecoderConfig::default())).collect();
    let [deaf, damaged, fine] = &streams[..] else { unreachable!() };
    feed(deaf, coded(0, 10));
    let mut frames = coded(1, 10);
    frames[2].payload = Bytes::from_static(b"\0\0\0\x01\x41");
    feed(damaged, frames);
    feed(fine, coded(2, 10));
    assert_eq!(seqs(fine, 2), (0..10).collect::<Vec<_>>());
    assert_eq!(seqs(damaged, 1), [0, 1, 5, 6, 7, 8, 9]);
    let state = pool.shared.lock();
    let waiting = &state.streams[&deaf.key];
    assert_eq!((waiting.outcomes.len(), waiting.jobs.len()), (1, 10), "one picture, nine frames and the end wait");
    drop(state);
    assert_eq!(seqs(deaf, 0), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_panic_is_the_trouble_of_one_stream() {
    let pool = pool(1);
    let (bad, fine) = (pool.stream(DecoderConfig::default()), pool.stream(DecoderConfig::default()));
    let mut frames = coded(0, 8).into_iter().zip(0..);
    for (frame, seq) in frames.by_ref().take(3) {
        bad.submit(id(seq), frame).unwrap();
    }
    bad.push(&mut bad.shared.lock(), Job::Panic);
    frames.for_each(|(frame, seq)| bad.submit(id(seq), frame).unwrap());
    bad.finish();
    feed(&fine, coded(1, 5));
    assert_eq!(seqs(&fine, 1), [0, 1, 2, 3, 4]);
    // What the decoder knew is gone: it waits for a keyframe.
    assert_eq!(seqs(&bad, 0), [0, 1, 2, 5, 6, 7]);
}

#[test]
fn bytes_are_bounded_and_a_gap_waits_for_a_keyframe() {
    let frames = coded(0, 10);
    let room = frames[..3].iter().map(|frame| frame.payload.len() + BYTES_PER_ITEM).sum();
    let config = PoolConfig { threads: NonZeroUsize::MIN, coded_bytes: room, picture_bytes: 1 };
    let pool = DecoderPool::new(&config);
    let stream = pool.stream(DecoderConfig::default());
    stream.submit(id(0), frames[0].clone()).unwrap();
    let Some(Outcome::Picture(_)) = stream.next() else { panic!("no picture") };
    // Nobody takes the next picture, so frames pile up until there is no room.
    let mut taken = 0;
    for (frame, seq) in frames[1..].iter().zip(1..) {
        match stream.try_submit(id(seq), frame.clone()) {
            Ok(()) => taken = seq,
            Err(SubmitError::Full(back)) => {
                assert_eq!(back.payload, frame.payload);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!((3..8).contains(&taken), "{taken} frames were taken");
    stream.gap(Gap::new(Seq(taken + 1), Seq(taken + 1), GapReason::Overflow));
    let rest = frames.iter().zip(0..).skip(usize::try_from(taken).unwrap() + 2);
    let shown: Vec<Outcome> = std::thread::scope(|scope| {
        scope.spawn(|| {
            rest.for_each(|(frame, seq)| stream.submit(id(seq), frame.clone()).unwrap());
            stream.finish();
        });
        std::iter::from_fn(|| stream.next()).collect()
    });
    let seq = |outcome: &Outcome| match outcome {
        Outcome::Picture(decoded) => decoded.id.seq.0,
        Outcome::Failed(error) => panic!("{error}"),
    };
    let shown: Vec<u64> = shown.iter().map(seq).collect();
    let expected: Vec<u64> = (1..=taken).chain(if taken + 1 < 5 { 5..10 } else { 10..10 }).collect();
    assert_eq!(shown, expected);
}

#[test]
fn gaps_that_break_nothing_break_nothing_in_a_row_either() {
    let told = |first, last, reason| Gap::new(Seq(first), Seq(last), reason);
    let repeated = |seq| told(seq, seq, GapReason::Repeated);
    // One picture fills the stream, so that what follows waits together.
    let config = PoolConfig { threads: NonZeroUsize::MIN, coded_bytes: 1 << 20, picture_bytes: 1 };
    for (gaps, next, expected) in [
        ([repeated(1), repeated(2)], 3, vec![0, 3]),
        ([repeated(1), told(2, 2, GapReason::Overflow)], 3, vec![0]),
        ([told(1, 2, GapReason::Overflow), repeated(3)], 4, vec![0]),
        ([repeated(1), repeated(3)], 4, vec![0]),
        ([Gap { is_discardable: true, ..told(1, 1, GapReason::Overflow) }, repeated(2)], 3, vec![0, 3]),
    ] {
        let pool = DecoderPool::new(&config);
        let (stream, frames) = (pool.stream(DecoderConfig::default()), coded(0, 2));
        stream.submit(id(0), frames[0].clone()).unwrap();
        gaps.iter().for_each(|gap| stream.gap(*gap));
        stream.submit(id(next), frames[1].clone()).unwrap();
        stream.finish();
        let shown = std::iter::from_fn(|| stream.next()).map(|outcome| match outcome {
            Outcome::Picture(decoded) => decoded.id.seq.0,
            Outcome::Failed(error) => panic!("{error}"),
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{gaps:?}");
    }
}

#[test]
fn a_pool_that_is_dropped_ends_its_streams() {
    let pool = pool(2);
    let stream = pool.stream(DecoderConfig::default());
    let waiting = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| stream.next().is_none());
        drop(pool);
        waiter.join().unwrap()
    });
    assert!(waiting);
    let refused = stream.try_submit(id(0), coded(0, 1).remove(0));
    assert!(matches!(refused, Err(SubmitError::Ended(_))));
    stream.finish();
    assert!(stream.next().is_none());
}
