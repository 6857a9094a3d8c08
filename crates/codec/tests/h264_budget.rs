//! The H.264 encoder with this crate's rate control: keyframes, layers, slices, budget.

#![expect(clippy::unwrap_used, reason = "tests may")]

use lumenbus_codec::quality::QualityMeter;
use lumenbus_codec::{DecoderConfig, EncoderConfig, Entropy, RateControl, Ticket, decoder, encoder};
use lumenbus_frame::{CaptureTime, Codec, Dimensions, EncodedFrame, FrameRate, PixelFormat, RawFrame};
use std::time::Duration;

const SIZE: Dimensions = Dimensions { width: 320, height: 192 };

fn config() -> EncoderConfig {
    let mut config = EncoderConfig::new(Codec::H264);
    config.frame_rate = FrameRate::per_second(10);
    config.bits_per_second = Some(300_000);
    config.keyframe_interval = Duration::from_secs(2);
    config.h264.rate_control = RateControl::Budget;
    config
}

/// A texture that moves by so many samples a picture, with a little noise on it; another one for each scene.
fn picture(index: u32, speed: u32, scene: u32) -> RawFrame {
    noisy(index, speed, scene, 4)
}

fn noisy(index: u32, speed: u32, scene: u32, levels: u32) -> RawFrame {
    let mut noise = index.wrapping_mul(2_654_435_761) | 1;
    let luma = (0..SIZE.width * SIZE.height).map(|at| {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        let (x, y) = (at % SIZE.width + index * speed, at / SIZE.width);
        let cell = (x / 12).wrapping_mul(40_503 + scene * 977) ^ (y / 12).wrapping_mul(10_007 + scene * 31);
        u8::try_from(60 + cell.wrapping_mul(2_654_435) % 120 + noise % levels + scene * 20).unwrap()
    });
    let mut pixels: Vec<u8> = luma.collect();
    pixels.resize(pixels.len() * 3 / 2, 128);
    let mut picture = RawFrame::new(PixelFormat::I420, SIZE, pixels.into(), CaptureTime::arrival(0)).unwrap();
    picture.pts = Some(i64::from(index));
    picture
}

fn code(config: &EncoderConfig, pictures: impl IntoIterator<Item = RawFrame>) -> Vec<EncodedFrame> {
    let (mut encoder, mut coded) = (encoder(config).unwrap(), Vec::new());
    for (index, picture) in pictures.into_iter().enumerate() {
        encoder.encode(&picture, &mut coded).unwrap();
        assert_eq!(coded.len(), index + 1, "each picture comes out with its own call");
        assert_eq!(coded[index].pts, picture.pts);
    }
    coded
}

/// Mean SSIM of luma; each frame has to give its picture at once.
fn ssim(coded: &[EncodedFrame], original: impl Fn(u32) -> RawFrame) -> f64 {
    let (mut decoder, mut meter) = (decoder(Codec::H264, &DecoderConfig::default()).unwrap(), QualityMeter::default());
    for frame in coded {
        let mut out = Vec::new();
        decoder.decode(Ticket(0), frame, &mut out).unwrap();
        assert_eq!(out.len(), 1);
        meter.add(&original(u32::try_from(frame.pts.unwrap()).unwrap()), &out[0].frame).unwrap();
    }
    meter.quality().unwrap().ssim
}

fn keyframes(coded: &[EncodedFrame]) -> Vec<usize> {
    coded.iter().enumerate().filter(|(_, frame)| frame.is_keyframe).map(|(index, _)| index).collect()
}

fn total(coded: &[EncodedFrame]) -> usize {
    coded.iter().map(|frame| frame.payload.len()).sum()
}

#[test]
fn keyframes_come_at_their_interval_and_when_asked() {
    let (mut encoder, mut coded) = (encoder(&config()).unwrap(), Vec::new());
    encoder.force_keyframe();
    for index in 0..50 {
        if index == 27 {
            encoder.force_keyframe();
        }
        encoder.encode(&picture(index, 1, 0), &mut coded).unwrap();
    }
    // The interval counts from the one that was asked for.
    assert_eq!(keyframes(&coded), [0, 20, 27, 47]);
    for frame in &coded {
        assert_eq!(frame.parameters.is_some(), frame.is_keyframe);
        assert!(!frame.is_discardable);
    }
}

#[test]
fn a_cut_begins_with_a_keyframe_where_that_is_asked_for() {
    let pictures = || (0..16).map(|index| picture(index, 1, u32::from(index >= 9)));
    let mut config = config();
    assert_eq!(keyframes(&code(&config, pictures())), [0]);
    config.h264.scene_cuts = true;
    assert_eq!(keyframes(&code(&config, pictures())), [0, 9]);
}

#[test]
fn the_budget_is_kept_over_a_minute() {
    // What rests costs less than it may.
    for (speed, bits, least) in [(0, 80_000, 0.0), (1, 150_000, 0.85), (3, 400_000, 0.85)] {
        let mut config = config();
        config.bits_per_second = Some(bits);
        let coded = code(&config, (0..900).map(|index| noisy(index, speed, 0, 24)));
        // The first half minute is for finding out.
        let bytes = total(&coded[300..]);
        let part = f64::from(u32::try_from(bytes).unwrap()) * 8.0 / (f64::from(bits) * 60.0);
        assert!((least..=1.1).contains(&part), "{bits} bit/s at speed {speed}: {part}");
    }
}

#[test]
fn the_upper_of_two_layers_can_be_left_out() {
    let mut config = config();
    config.h264.two_layers = true;
    let coded = code(&config, (0..40).map(|index| picture(index, 1, 0)));
    let upper: Vec<_> = coded.iter().enumerate().filter(|(_, frame)| frame.is_discardable).map(|(at, _)| at).collect();
    assert_eq!(upper, (0..40).filter(|index| index % 2 == 1).collect::<Vec<_>>());
    assert_eq!(keyframes(&coded), [0, 20]);
    let whole = ssim(&coded, |index| picture(index, 1, 0));
    let lower: Vec<_> = coded.into_iter().filter(|frame| !frame.is_discardable).collect();
    let without = ssim(&lower, |index| picture(index, 1, 0));
    assert!(whole > 0.8 && without > whole - 0.02, "{whole} {without}");
}

#[test]
fn two_slices_are_one_picture() {
    let mut config = config();
    let one = code(&config, (0..20).map(|index| picture(index, 1, 0)));
    config.h264.two_slices = true;
    let two = code(&config, (0..20).map(|index| picture(index, 1, 0)));
    let slices = |frame: &EncodedFrame| {
        frame.payload.windows(4).filter(|window| window[..3] == [0, 0, 1] && matches!(window[3] & 0x1F, 1 | 5)).count()
    };
    assert!(one.iter().all(|frame| slices(frame) == 1) && two.iter().all(|frame| slices(frame) == 2));
    assert!(ssim(&two, |index| picture(index, 1, 0)) > 0.8);
    // The same input gives the same stream, whichever thread is first.
    let again = code(&config, (0..20).map(|index| picture(index, 1, 0)));
    assert!(two.iter().zip(&again).all(|(a, b)| a.payload == b.payload));
}

#[test]
fn cabac_says_main_profile_and_cavlc_baseline() {
    let profile = |entropy| {
        let mut config = config();
        config.h264.entropy = entropy;
        let coded = code(&config, [picture(0, 1, 0), picture(1, 1, 0)]);
        assert!(ssim(&coded, |index| picture(index, 1, 0)) > 0.8);
        coded[0].parameters.as_ref().unwrap().codec_string.clone().unwrap()
    };
    let (cabac, cavlc) = (profile(Entropy::Cabac), profile(Entropy::Cavlc));
    assert!(cabac.starts_with("avc1.4D") || cabac.starts_with("avc1.4d"), "{cabac}");
    assert!(cavlc.starts_with("avc1.42"), "{cavlc}");
}

#[test]
fn another_size_begins_with_a_keyframe() {
    let small = |index: u32| {
        let size = Dimensions::new(128, 96);
        let pixels = vec![u8::try_from(index).unwrap(); 128 * 96 * 3 / 2];
        RawFrame::new(PixelFormat::I420, size, pixels.into(), CaptureTime::arrival(0)).unwrap()
    };
    let coded = code(&config(), [picture(0, 1, 0), picture(1, 1, 0), small(1), small(2), picture(2, 1, 0)]);
    assert_eq!(keyframes(&coded), [0, 2, 4]);
    assert_eq!(coded[2].parameters.as_ref().unwrap().dimensions, Dimensions::new(128, 96));
}
