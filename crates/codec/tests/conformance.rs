//! One suite for every codec of the build: round trip, times, wrong codecs, truncated, damaged and random bytes,
//! odd and hostile dimensions.

#![expect(clippy::unwrap_used, reason = "tests may")]

use lumenbus_codec::{
    CodecError, Color, Decoder, DecoderConfig, Encoder, EncoderConfig, Library, MAX_SIDE_PIXELS, Matrix, Picture,
    Range, Ticket, decoder, encoder, library_support, support,
};
use lumenbus_frame::{
    CaptureTime, Codec, Dimensions, EncodedFrame, FrameRate, PixelFormat, RawFrame, StreamParameters,
};
use proptest::prelude::*;
use std::sync::Arc;

/// How a codec must behave where codecs differ.
#[derive(Clone, Copy)]
struct Traits {
    codec: Codec,
    library: Option<Library>,
    quality: u8,
    formats: &'static [PixelFormat],
    odd_sizes: bool,
    /// Largest mean error of a smooth picture.
    tolerance: f64,
    /// The same where chroma has half the resolution.
    tolerance_of_i420: f64,
    /// Whether every strict prefix of a frame must be an error.
    truncation_is_seen: bool,
}

impl Traits {
    fn tolerance(&self, format: PixelFormat) -> f64 {
        if format == PixelFormat::I420 { self.tolerance_of_i420 } else { self.tolerance }
    }

    /// A codec whose frames are files; I420 may become RGB in them.
    const fn of_files(codec: Codec, quality: u8, formats: &'static [PixelFormat], tolerance: f64) -> Self {
        let tolerance_of_i420 = tolerance + 1.0;
        Self {
            codec,
            library: None,
            quality,
            formats,
            odd_sizes: true,
            tolerance,
            tolerance_of_i420,
            truncation_is_seen: true,
        }
    }

    const fn of_video(codec: Codec, library: Library) -> Self {
        Self {
            codec,
            library: Some(library),
            quality: 85,
            formats: VISIBLE,
            odd_sizes: false,
            tolerance: 4.0,
            tolerance_of_i420: 4.0,
            truncation_is_seen: false,
        }
    }

    fn encoder(&self) -> Box<dyn Encoder> {
        let mut config = EncoderConfig::new(self.codec);
        config.library = self.library;
        config.bits_per_second = Some(4_000_000);
        config.quality = self.quality;
        encoder(&config).unwrap()
    }
}

const VISIBLE: &[PixelFormat] = &[PixelFormat::Gray8, PixelFormat::Rgb8, PixelFormat::I420];
const ANY: &[PixelFormat] = &[PixelFormat::Gray8, PixelFormat::Gray16Le, PixelFormat::Rgb8, PixelFormat::I420];

const BUILT_IN: [Traits; 8] = [
    Traits::of_files(Codec::Jpeg, 85, VISIBLE, 3.0),
    Traits::of_files(Codec::Png, 85, ANY, 0.0),
    Traits::of_files(Codec::Webp, 85, VISIBLE, 3.0),
    Traits::of_files(Codec::Webp, 100, VISIBLE, 0.0),
    Traits::of_files(Codec::Jpeg2000, 85, VISIBLE, 3.0),
    Traits::of_files(Codec::Jpeg2000, 100, ANY, 0.0),
    Traits { tolerance_of_i420: 0.0, ..Traits::of_files(Codec::Raw, 85, ANY, 0.0) },
    Traits::of_video(Codec::H264, Library::OpenH264),
];

/// Those that this build and this machine's FFmpeg hold.
fn all() -> Vec<Traits> {
    let system = [
        Traits::of_video(Codec::H264, Library::X264),
        Traits::of_video(Codec::Av1, Library::Aom),
        Traits::of_video(Codec::Av1, Library::SvtAv1),
    ];
    let is_live =
        |traits: &Traits| library_support(traits.library.unwrap()).is_ok() && traits.library != Some(Library::SvtAv1);
    BUILT_IN.into_iter().chain(system.into_iter().filter(is_live)).collect()
}

fn open_encoder(codec: Codec) -> Box<dyn Encoder> {
    BUILT_IN.iter().find(|traits| traits.codec == codec).unwrap().encoder()
}

fn open_decoder(codec: Codec, pixel_format: Option<PixelFormat>) -> Box<dyn Decoder> {
    decoder(codec, &DecoderConfig { pixel_format }).unwrap()
}

/// A smooth picture that moves with `index`.
fn picture(format: PixelFormat, size: Dimensions, index: i64) -> RawFrame {
    let bytes = format.frame_bytes(size).unwrap();
    let (width, luma) = (size.width as usize, (size.width * size.height) as usize);
    let shift = usize::try_from(index).unwrap() * 2;
    let shade = |x: usize, y: usize| u8::try_from(60 + (x + y + shift) % 128).unwrap();
    let pixels: Vec<u8> = match format {
        PixelFormat::Rgb8 => (0..bytes).map(|at| shade(at / 3 % width, at / 3 / width)).collect(),
        _ => (0..bytes).map(|at| if at < luma { shade(at % width, at / width) } else { 128 }).collect(),
    };
    let mut frame = RawFrame::new(format, size, pixels.into(), CaptureTime::sensor(1_000_000 + index)).unwrap();
    frame.pts = Some(index * 3000);
    frame
}

fn mean_error(a: &RawFrame, b: &RawFrame) -> f64 {
    assert_eq!((a.format(), a.dimensions()), (b.format(), b.dimensions()));
    let sum: u64 = a.pixels().iter().zip(b.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.pixels().len() as f64
}

fn decode_all(decoder: &mut dyn Decoder, frames: &[EncodedFrame]) -> Vec<Picture> {
    let mut out = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        decoder.decode(Ticket(index as u64), frame, &mut out).unwrap();
        assert_eq!(out.len(), index + 1, "frame n is out before n + 1 goes in");
    }
    decoder.flush(&mut out).unwrap();
    out
}

fn sizes(odd: bool) -> Vec<Dimensions> {
    let even = [(16, 16), (64, 48), (320, 180)];
    let strange: &[(u32, u32)] = if odd { &[(1, 1), (17, 33), (33, 2), (255, 1)] } else { &[] };
    even.iter().chain(strange).map(|&(width, height)| Dimensions::new(width, height)).collect()
}

#[test]
fn the_suite_covers_every_codec_that_is_built_in() {
    for row in support() {
        let covered = all().iter().any(|traits| traits.codec == row.codec);
        // What is only decoded is in footage/system.rs.
        assert_eq!(covered, row.encode.is_ok(), "{}", row.codec);
    }
}

#[test]
fn pictures_come_back_with_their_times() {
    for traits in &all() {
        for &format in traits.formats {
            for size in sizes(traits.odd_sizes) {
                let pictures: Vec<_> = (0..5).map(|index| picture(format, size, index)).collect();
                let (mut encoder, mut frames) = (traits.encoder(), Vec::new());
                encoder.set_color(Color::JPEG); // what JPEG gives back, so that samples can be compared
                pictures.iter().for_each(|picture| encoder.encode(picture, &mut frames).unwrap());
                assert_eq!(frames.len(), 5);
                assert!(frames[0].is_keyframe && frames[0].codec == traits.codec);
                let said = frames[0].parameters.as_ref().unwrap();
                assert_eq!((said.dimensions, Some(said)), (size, encoder.parameters()));
                let back = decode_all(open_decoder(traits.codec, Some(format)).as_mut(), &frames);
                for (index, (original, back)) in pictures.iter().zip(&back).enumerate() {
                    assert_eq!(back.ticket, Ticket(index as u64));
                    assert_eq!((back.frame.capture, back.frame.pts), (original.capture, original.pts));
                    let error = mean_error(original, &back.frame);
                    assert!(error <= traits.tolerance(format), "{} {format} {size}: {error}", traits.codec);
                }
            }
        }
    }
}

#[test]
fn a_decoder_refuses_other_codecs_and_goes_on() {
    for traits in &all() {
        let mut frames = Vec::new();
        let size = Dimensions::new(64, 48);
        let mut encoder = traits.encoder();
        encoder.encode(&picture(PixelFormat::I420, size, 0), &mut frames).unwrap();
        let mut foreign = frames[0].clone();
        foreign.codec = if traits.codec == Codec::Av1 { Codec::H265 } else { Codec::Av1 };
        let (mut decoder, mut out) = (open_decoder(traits.codec, None), Vec::new());
        let error = decoder.decode(Ticket(0), &foreign, &mut out).unwrap_err();
        assert!(matches!(error, CodecError::WrongCodec { got, .. } if got == foreign.codec), "{error}");
        decoder.decode(Ticket(1), &frames[0], &mut out).unwrap();
        assert_eq!(out.len(), 1);
    }
}

#[test]
fn truncated_frames_never_panic_and_the_decoder_recovers() {
    for traits in &all() {
        let size = Dimensions::new(64, 48);
        let mut frames = Vec::new();
        let mut encoder = traits.encoder();
        encoder.encode(&picture(PixelFormat::I420, size, 0), &mut frames).unwrap();
        let mut decoder = open_decoder(traits.codec, None);
        for length in 0..frames[0].payload.len() {
            let mut cut = frames[0].clone();
            cut.payload = cut.payload.slice(..length);
            let mut out = Vec::new();
            let decoded = decoder.decode(Ticket(0), &cut, &mut out);
            assert!(decoded.is_err() || !traits.truncation_is_seen, "{} cut to {length}", traits.codec);
        }
        let mut out = Vec::new();
        decoder.decode(Ticket(9), &frames[0], &mut out).unwrap();
        assert_eq!(out.last().unwrap().ticket, Ticket(9));
    }
}

#[test]
fn hostile_sizes_are_refused_before_allocation() {
    for traits in &all() {
        let wide = Dimensions::new(MAX_SIDE_PIXELS + 2, 16);
        let strip = picture(PixelFormat::Gray8, wide, 0);
        let error = traits.encoder().encode(&strip, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, CodecError::TooLarge { .. } | CodecError::Size { .. }), "{error}");
    }
    let mut parameters = StreamParameters::new(Codec::Raw, Dimensions::new(u32::MAX, u32::MAX));
    parameters.pixel_format = Some(PixelFormat::Rgb8);
    let frame = EncodedFrame::new(Codec::Raw, CaptureTime::arrival(0), vec![0; 12].into());
    let hostile = frame.clone().with_parameters(Arc::new(parameters));
    let mut decoder = open_decoder(Codec::Raw, None);
    assert!(matches!(decoder.decode(Ticket(0), &hostile, &mut Vec::new()), Err(CodecError::TooLarge { .. })));
    let nothing_known = open_decoder(Codec::Raw, None).decode(Ticket(0), &frame, &mut Vec::new());
    assert!(matches!(nothing_known, Err(CodecError::NoParameters)));
}

#[test]
fn h264_says_which_sizes_it_takes() {
    for (width, height, rule) in [(17, 32, "even"), (32, 17, "even"), (14, 64, "at least 16"), (3842, 64, "3840x2160")]
    {
        let picture = picture(PixelFormat::Gray8, Dimensions::new(width, height), 0);
        let message = open_encoder(Codec::H264).encode(&picture, &mut Vec::new()).unwrap_err().to_string();
        assert!(message.contains(rule) && message.contains("jpeg"), "{message}");
    }
}

#[test]
fn settings_outside_their_range_are_refused_by_name() {
    for codec in [Codec::Jpeg, Codec::Png, Codec::Webp, Codec::Jpeg2000] {
        for quality in [0, 101] {
            let mut still = EncoderConfig::new(codec);
            still.quality = quality;
            let message = encoder(&still).err().unwrap().to_string();
            assert!(message.contains(&format!("is {quality}; it must be 1 to 100")), "{message}");
        }
    }
    let mut h264 = EncoderConfig::new(Codec::H264);
    h264.bits_per_second = Some(100);
    assert!(encoder(&h264).err().unwrap().to_string().contains("bit rate"));
    h264 = EncoderConfig::new(Codec::H264);
    h264.frame_rate = FrameRate { frames: 0, seconds: 1 };
    assert!(encoder(&h264).err().unwrap().to_string().contains("frame rate"));
}

/// NAL unit types of an access unit.
fn nal_types(unit: &[u8]) -> Vec<u8> {
    unit.windows(4).filter(|w| w[..3] == [0, 0, 1]).map(|w| w[3] & 0x1F).collect()
}

#[test]
fn h264_keyframes_come_in_time_on_request_and_with_parameter_sets() {
    let mut config = EncoderConfig::new(Codec::H264);
    config.frame_rate = FrameRate::per_second(10);
    let mut encoder = encoder(&config).unwrap();
    let mut frames = Vec::new();
    for index in 0..50 {
        if index == 27 {
            encoder.force_keyframe();
        }
        encoder.encode(&picture(PixelFormat::I420, Dimensions::new(320, 180), index), &mut frames).unwrap();
    }
    assert_eq!(frames.len(), 50, "no frame is skipped");
    let keyframes: Vec<usize> = (0..50).filter(|&at| frames[at].is_keyframe).collect();
    assert!(keyframes.starts_with(&[0, 20, 27]) && keyframes.len() == 4, "{keyframes:?}");
    for frame in &frames {
        let types = nal_types(&frame.payload);
        assert!(frame.payload.starts_with(&[0, 0, 0, 1]) || frame.payload.starts_with(&[0, 0, 1]));
        assert_eq!(frame.is_keyframe, types.contains(&7) && types.contains(&8) && types.contains(&5), "{types:?}");
        assert_eq!(frame.is_keyframe, frame.parameters.is_some());
    }
    let codec_string = frames[0].parameters.as_ref().unwrap().codec_string.clone().unwrap();
    assert!(codec_string.starts_with("avc1.42"), "{codec_string}");
}

/// What no encoder can code at a low rate.
fn noise(size: Dimensions, index: u32) -> RawFrame {
    let mut state = index.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        96 + state.to_le_bytes()[0] / 4
    };
    let pixels: Vec<u8> = (0..PixelFormat::I420.frame_bytes(size).unwrap()).map(|_| next()).collect();
    RawFrame::new(PixelFormat::I420, size, pixels.into(), CaptureTime::sensor(i64::from(index))).unwrap()
}

#[test]
fn h264_beyond_its_rate_leaves_no_picture_out_and_keeps_its_keyframes() {
    let mut config = EncoderConfig::new(Codec::H264);
    config.frame_rate = FrameRate::per_second(10);
    // At the second rate the library is soon opened anew, which begins with a keyframe of its own.
    for (bits, width, height) in [(1_000_000, 320, 180), (10_000, 640, 360)] {
        config.bits_per_second = Some(bits);
        let (mut encoder, mut frames) = (encoder(&config).unwrap(), Vec::new());
        for index in 0..50 {
            if index == 27 {
                encoder.force_keyframe();
            }
            encoder.encode(&noise(Dimensions::new(width, height), index), &mut frames).unwrap();
            assert_eq!(frames.len(), index as usize + 1, "at {bits} bit/s");
        }
        let keyframes: Vec<usize> = (0..50).filter(|&at| frames[at].is_keyframe).collect();
        let is_kept = keyframes.starts_with(&[0, 20, 27]) || bits == 10_000 && keyframes.contains(&27);
        assert!(is_kept, "at {bits} bit/s: {keyframes:?}");
        let back = decode_all(open_decoder(Codec::H264, None).as_mut(), &frames);
        assert!(back.iter().zip(0..).all(|(picture, index)| picture.frame.capture == CaptureTime::sensor(index)));
    }
}

fn all_video() -> Vec<Traits> {
    all().into_iter().filter(|traits| !traits.codec.is_intra_only()).collect()
}

#[test]
fn a_new_size_begins_with_a_keyframe() {
    for traits in &all_video() {
        let (mut encoder, mut frames) = (traits.encoder(), Vec::new());
        for (index, width) in [(0, 64), (1, 64), (2, 96), (3, 96)] {
            encoder.encode(&picture(PixelFormat::I420, Dimensions::new(width, 48), index), &mut frames).unwrap();
        }
        assert_eq!([0, 1, 2, 3].map(|at: usize| frames[at].is_keyframe), [true, false, true, false]);
        let back = decode_all(open_decoder(traits.codec, None).as_mut(), &frames);
        assert_eq!(back.iter().map(|picture| picture.frame.dimensions().width).collect::<Vec<_>>(), [64, 64, 96, 96]);
    }
}

/// One picture in, its frame out, whatever the encoder and however long it has run: nothing is held back, and a keyframe
/// comes with the picture for which it was asked.
#[test]
fn every_video_encoder_gives_a_frame_before_it_takes_the_next_picture() {
    for traits in &all_video() {
        let (mut encoder, mut frames) = (traits.encoder(), Vec::new());
        for index in 0..40 {
            if index == 17 {
                encoder.force_keyframe();
            }
            encoder.encode(&picture(PixelFormat::I420, Dimensions::new(320, 180), index), &mut frames).unwrap();
            let newest = frames.last().unwrap();
            assert_eq!(frames.len(), usize::try_from(index).unwrap() + 1, "{:?}", traits.library);
            assert_eq!(newest.pts, Some(index * 3000));
            assert_eq!(newest.is_keyframe, index == 0 || index == 17, "{:?} {index}", traits.library);
        }
        let said = frames[17].parameters.as_ref().unwrap().codec_string.clone().unwrap();
        let begins = if traits.codec == Codec::H264 { "avc1." } else { "av01.0." };
        assert!(said.starts_with(begins), "{said}");
        // Decoding begins at the keyframe that was asked for as well as at the first.
        for from in [0, 17] {
            assert_eq!(decode_all(open_decoder(traits.codec, None).as_mut(), &frames[from..]).len(), 40 - from);
        }
    }
}

#[test]
fn video_carries_its_colour() {
    for traits in &all_video() {
        for matrix in [Matrix::Bt601, Matrix::Bt709] {
            for range in [Range::Limited, Range::Full] {
                let color = Color { matrix, range };
                let (mut encoder, mut frames) = (traits.encoder(), Vec::new());
                encoder.set_color(color);
                encoder.encode(&picture(PixelFormat::Rgb8, Dimensions::new(64, 48), 0), &mut frames).unwrap();
                let back = decode_all(open_decoder(traits.codec, None).as_mut(), &frames);
                assert_eq!(back[0].color, color, "{:?}", traits.library);
            }
        }
    }
}

#[test]
fn a_library_is_chosen_by_name_or_said_to_be_missing() {
    for library in Library::ALL {
        let mut config = EncoderConfig::new(library.codec());
        config.library = Some(library);
        match library_support(library) {
            Ok(()) => assert_eq!(encoder(&config).unwrap().codec(), library.codec()),
            Err(reason) => {
                let message = encoder(&config).err().unwrap().to_string();
                assert!(message.contains(reason) && reason.contains("ffmpeg") | reason.contains("FFmpeg"), "{message}");
            }
        }
        config.codec = Codec::Jpeg;
        let message = encoder(&config).err().unwrap().to_string();
        assert!(message.contains(library.as_str()) && message.contains("jpeg"), "{message}");
    }
}

#[test]
fn jpeg_of_hd_video_keeps_its_colours() {
    // A saturated BT.709 limited-range red must come out as the same red, not as BT.601 would show it.
    let size = Dimensions::new(1280, 720);
    let rgb: Vec<u8> = [200, 30, 40].repeat(1280 * 720);
    let red = RawFrame::new(PixelFormat::Rgb8, size, rgb.into(), CaptureTime::arrival(0)).unwrap();
    let i420 = lumenbus_codec::convert(&red, PixelFormat::I420, Color::assumed(size)).unwrap();
    let mut frames = Vec::new();
    open_encoder(Codec::Jpeg).encode(&i420, &mut frames).unwrap();
    let back = decode_all(open_decoder(Codec::Jpeg, None).as_mut(), &frames);
    assert!(mean_error(&red, &back[0].frame) < 3.0);
}

/// Numbers that look random and are always the same.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit
    }
}

/// Bits flipped, a part missing, a part twice, two parts exchanged, bytes of one value.
fn damage(bytes: &mut Vec<u8>, random: &mut Seeded) {
    let (from, length) = (random.below(bytes.len()), 1 + random.below(64));
    let to = (from + length).min(bytes.len());
    match random.below(5) {
        0 => (0..1 + length / 8).for_each(|_| {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }),
        1 => drop(bytes.drain(from..to)),
        2 => bytes.extend_from_within(from..to),
        3 => {
            let half = (to - from) / 2;
            let (first, second) = bytes[from..to].split_at_mut(half);
            first.swap_with_slice(&mut second[..half]);
        }
        _ => bytes[from..to].fill([0, 0xFF][random.below(2)]),
    }
}

#[test]
fn damaged_frames_are_an_error_or_a_picture_of_their_size() {
    let size = Dimensions::new(97, 65);
    for traits in &all() {
        let size = if traits.odd_sizes { size } else { Dimensions::new(96, 64) };
        for &format in traits.formats {
            let mut frames = Vec::new();
            traits.encoder().encode(&picture(format, size, 0), &mut frames).unwrap();
            let (mut decoder, mut random) = (open_decoder(traits.codec, None), Seeded(0x9E37_79B9_7F4A_7C15));
            for round in 0..200 {
                let (mut damaged, mut out) = (frames[0].clone(), Vec::new());
                let mut bytes = damaged.payload.to_vec();
                damage(&mut bytes, &mut random);
                damaged.payload = bytes.into();
                let done = decoder.decode(Ticket(round), &damaged, &mut out);
                assert!(done.is_ok() || out.is_empty() || !traits.codec.is_intra_only(), "{} {round}", traits.codec);
                for picture in out {
                    let bytes = picture.frame.format().frame_bytes(picture.frame.dimensions()).unwrap();
                    assert_eq!((picture.ticket, picture.frame.pixels().len()), (Ticket(round), bytes));
                }
            }
            let mut out = Vec::new();
            decoder.decode(Ticket(1000), &frames[0], &mut out).unwrap();
            assert_eq!(out.last().unwrap().frame.dimensions(), size, "{}", traits.codec);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), keyframe in any::<bool>()) {
        for traits in &all() {
            let mut frame = EncodedFrame::new(traits.codec, CaptureTime::arrival(0), bytes.clone().into());
            frame.is_keyframe = keyframe;
            let _ = open_decoder(traits.codec, None).decode(Ticket(0), &frame, &mut Vec::new());
        }
    }

    #[test]
    fn flipped_bytes_never_panic_nor_mix_times(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), which in 0_usize..4) {
        for traits in &all() {
            let (mut encoder, mut frames) = (traits.encoder(), Vec::new());
            for index in 0..4 {
                encoder.encode(&picture(PixelFormat::I420, Dimensions::new(64, 48), index), &mut frames).unwrap();
            }
            let mut bytes = frames[which].payload.to_vec();
            for (at, mask) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            frames[which].payload = bytes.into();
            let (mut decoder, mut out) = (open_decoder(traits.codec, None), Vec::new());
            for (index, frame) in frames.iter().enumerate() {
                let _ = decoder.decode(Ticket(index as u64), frame, &mut out);
            }
            decoder.flush(&mut out).ok();
            for picture in out {
                let index = i64::try_from(picture.ticket.0).unwrap();
                prop_assert_eq!(picture.frame.pts, Some(index * 3000));
                prop_assert_eq!(picture.frame.capture, CaptureTime::sensor(1_000_000 + index));
            }
        }
    }
}
