//! The test pattern: its marker survives coding, and there is work for a codec in it.

#![expect(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

mod support;

use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Dimensions, ManualClock, PixelFormat, RawFrame};
use lumenbus_source::{Marker, Source, SourceItem, SourceOptions, open, read_marker};
use openh264::decoder::Decoder;
use openh264::encoder::{BitRate, Encoder, EncoderConfig};
use openh264::formats::{YUVBuffer, YUVSource};
use std::sync::Arc;

const BEGIN: i64 = 1_700_000_000_123_456_789;

fn pattern(spec: &str, clock: &Arc<ManualClock>) -> Box<dyn Source> {
    open(spec, &SourceOptions { clock: clock.clone(), ..SourceOptions::default() }).unwrap()
}

fn next_raw(source: &mut dyn Source) -> RawFrame {
    match source.next_frame().unwrap() {
        Some(SourceItem::Raw { frame, .. }) => frame,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_format_and_size_carries_its_marker() {
    for size in ["128x48", "321x241", "640x480", "1920x1080", "200x1000"] {
        for format in ["i420", "gray8", "gray16le", "rgb8"] {
            let clock = Arc::new(ManualClock::at(BEGIN));
            let mut source = pattern(&format!("test:{size}@30,noise=9,format={format}"), &clock);
            for counter in 0..3 {
                let unix_nanos = BEGIN + i64::from(counter) * 33_000_000;
                let frame = next_raw(&mut source);
                assert_eq!(read_marker(&frame), Some(Marker { counter, unix_nanos }), "{size} {format}");
                assert_eq!(frame.capture, CaptureTime::sensor(unix_nanos));
                clock.advance(std::time::Duration::from_millis(33));
            }
        }
    }
}

#[test]
fn a_frame_without_marker_has_none() {
    let size = Dimensions::new(640, 480);
    for value in [0, 128, 255] {
        let grey = Bytes::from(vec![value; 640 * 480]);
        let frame = RawFrame::new(PixelFormat::Gray8, size, grey, CaptureTime::arrival(0)).unwrap();
        assert_eq!(read_marker(&frame), None);
    }
}

#[test]
fn frames_differ_and_end_where_asked() {
    let clock = Arc::new(ManualClock::at(BEGIN));
    let mut source = pattern("test:320x240@25,frames=3", &clock);
    let frames: Vec<_> = (0..3).map(|_| next_raw(&mut source)).collect();
    assert!(source.next_frame().unwrap().is_none());
    let changed = frames[1].pixels().iter().zip(frames[2].pixels()).filter(|(a, b)| a != b).count();
    assert!(changed * 4 > frames[1].pixels().len(), "the picture moves: {changed} bytes changed");
    assert_eq!(frames.iter().map(|frame| frame.pts.unwrap()).collect::<Vec<_>>(), [0, 3600, 7200]);
}

#[test]
fn the_marker_survives_jpeg_at_low_quality() {
    for (spec, size) in
        [("test:640x480@30,noise=20,format=rgb8", (640, 480)), ("test:160x120@30,format=rgb8", (160, 120))]
    {
        let clock = Arc::new(ManualClock::at(BEGIN));
        let frame = next_raw(&mut pattern(spec, &clock));
        let mut jpeg = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 15);
        encoder.encode(frame.pixels(), size.0, size.1, jpeg_encoder::ColorType::Rgb).unwrap();
        let pixels = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(&jpeg)).decode().unwrap();
        let decoded =
            RawFrame::new(PixelFormat::Rgb8, frame.dimensions(), Bytes::from(pixels), CaptureTime::arrival(0)).unwrap();
        assert_eq!(read_marker(&decoded), Some(Marker { counter: 0, unix_nanos: BEGIN }), "{spec}");
    }
}

/// Luma without row padding.
fn luma_of(picture: &impl YUVSource, size: Dimensions) -> Bytes {
    let (stride, _, _) = picture.strides();
    let rows = picture.y().chunks(stride).take(size.height as usize);
    Bytes::from(rows.flat_map(|row| row[..size.width as usize].to_vec()).collect::<Vec<_>>())
}

#[test]
fn the_marker_survives_h264_at_a_low_rate() {
    let clock = Arc::new(ManualClock::at(BEGIN));
    let mut source = pattern("test:640x480@30,noise=10", &clock);
    let config = EncoderConfig::new().bitrate(BitRate::from_bps(300_000)).skip_frames(false);
    let mut encoder = Encoder::with_api_config(openh264::OpenH264API::from_source(), config).unwrap();
    let mut decoder = Decoder::new().unwrap();
    let mut read = Vec::new();
    for _ in 0..20 {
        let frame = next_raw(&mut source);
        let coded = encoder.encode(&YUVBuffer::from_vec(frame.pixels().to_vec(), 640, 480)).unwrap().to_vec();
        if let Some(picture) = decoder.decode(&coded).unwrap() {
            let luma = luma_of(&picture, frame.dimensions());
            let decoded = RawFrame::new(PixelFormat::Gray8, frame.dimensions(), luma, CaptureTime::arrival(0)).unwrap();
            read.push(read_marker(&decoded).map(|marker| marker.counter));
        }
    }
    assert_eq!(read, (0..20).map(Some).collect::<Vec<_>>());
}
