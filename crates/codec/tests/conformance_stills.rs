//! Picture files that others wrote, and headers that promise too much.

#![expect(clippy::unwrap_used, reason = "tests may")]

use lumenbus_codec::{
    CodecError, DecoderConfig, Encoder, EncoderConfig, Picture, Ticket, decoder, encoder, still_dimensions,
};
use lumenbus_frame::{CaptureTime, Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame};

fn decode(codec: Codec, file: &[u8]) -> Result<Picture, CodecError> {
    let frame = EncodedFrame::new(codec, CaptureTime::arrival(1), file.to_vec().into());
    let mut out = Vec::new();
    decoder(codec, &DecoderConfig::default())?.decode(Ticket(0), &frame, &mut out)?;
    Ok(out.remove(0))
}

fn open(codec: Codec, quality: u8) -> Box<dyn Encoder> {
    let mut config = EncoderConfig::new(codec);
    config.quality = quality;
    encoder(&config).unwrap()
}

fn encoded(codec: Codec, quality: u8, picture: &RawFrame) -> Vec<u8> {
    let mut out = Vec::new();
    open(codec, quality).encode(picture, &mut out).unwrap();
    out[0].payload.to_vec()
}

fn filled(format: PixelFormat, width: u32, height: u32, fill: impl Fn(usize) -> u8) -> RawFrame {
    let size = Dimensions::new(width, height);
    let pixels: Vec<u8> = (0..format.frame_bytes(size).unwrap()).map(fill).collect();
    RawFrame::new(format, size, pixels.into(), CaptureTime::arrival(0)).unwrap()
}

/// Mean squared error as a ratio to the largest value.
fn psnr(a: &RawFrame, b: &RawFrame) -> f64 {
    assert_eq!((a.format(), a.dimensions()), (b.format(), b.dimensions()));
    let square = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b)).powi(2);
    let mean = a.pixels().iter().zip(b.pixels()).map(square).sum::<f64>() / a.pixels().len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

#[test]
fn files_of_another_encoder_show_the_same_picture() {
    let png = decode(Codec::Png, include_bytes!("../../source/tests/data/still.png")).unwrap().frame;
    assert_eq!(png.format(), PixelFormat::Rgb8);
    let others: [(Codec, &[u8]); 2] = [
        (Codec::Webp, include_bytes!("../../source/tests/data/still.webp")),
        (Codec::Jpeg2000, include_bytes!("../../source/tests/data/still.jp2")),
    ];
    for (codec, file) in others {
        assert_eq!(still_dimensions(codec, file).unwrap(), png.dimensions());
        let quality = psnr(&png, &decode(codec, file).unwrap().frame);
        // Both have chroma at half the resolution, and the pattern has sharp colours.
        assert!(quality > 20.0, "{codec}: {quality} dB");
    }
}

/// A picture with edges, colour and detail.
fn scene() -> RawFrame {
    filled(PixelFormat::Rgb8, 301, 203, |at| {
        let (x, y, channel) = (at / 3 % 301, at / 3 / 301, at % 3);
        let wave = (x * (channel + 3) / 7 + y * y / 90) % 160;
        let edge = if (x / 40 + y / 30) % 2 == 0 { 70 } else { 0 };
        u8::try_from(wave + edge).unwrap()
    })
}

#[test]
fn quality_is_worth_its_bytes_and_100_loses_nothing() {
    let scene = scene();
    for codec in [Codec::Webp, Codec::Jpeg2000] {
        let files = [30, 60, 85, 95].map(|quality| encoded(codec, quality, &scene));
        let errors = files.each_ref().map(|file| psnr(&scene, &decode(codec, file).unwrap().frame));
        assert!(files.is_sorted_by_key(Vec::len), "{codec}: {errors:?}");
        assert!(errors.is_sorted() && errors[0] > 18.0 && errors[2] > 28.0, "{codec}: {errors:?}");
        let exact = decode(codec, &encoded(codec, 100, &scene)).unwrap().frame;
        assert_eq!(exact.pixels(), scene.pixels(), "{codec}");
    }
}

#[test]
fn deep_gray_keeps_its_depth() {
    // Every byte value, low and high, and no smooth run for an encoder to rely on.
    let deep = filled(PixelFormat::Gray16Le, 129, 67, |at| u8::try_from(at * 7919 % 251).unwrap());
    for codec in [Codec::Png, Codec::Jpeg2000] {
        let back = decode(codec, &encoded(codec, 100, &deep)).unwrap().frame;
        assert_eq!((back.format(), back.pixels()), (PixelFormat::Gray16Le, deep.pixels()), "{codec}");
    }
    // Half of the step that quality 85 permits, in each direction, after the inverse transform.
    let smooth =
        filled(
            PixelFormat::Gray16Le,
            128,
            96,
            |at| if at % 2 == 1 { u8::try_from(at / 256 % 96 + 80).unwrap() } else { 0 },
        );
    let lossy = decode(Codec::Jpeg2000, &encoded(Codec::Jpeg2000, 85, &smooth)).unwrap().frame;
    let word =
        |frame: &RawFrame, at: usize| i32::from(u16::from_le_bytes([frame.pixels()[at], frame.pixels()[at + 1]]));
    let worst = (0..smooth.pixels().len()).step_by(2).map(|at| (word(&smooth, at) - word(&lossy, at)).abs()).max();
    assert!(worst.unwrap() < 3000, "{worst:?}");
    for codec in [Codec::Jpeg, Codec::Webp] {
        let message = open(codec, 85).encode(&deep, &mut Vec::new()).unwrap_err().to_string();
        assert!(message.contains("gray16le") && message.contains("it takes gray8, rgb8 and i420"), "{message}");
    }
}

fn patched(mut file: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn position(file: &[u8], of: &[u8]) -> usize {
    file.windows(of.len()).position(|window| window == of).unwrap()
}

#[test]
fn headers_that_promise_too_much_are_refused_before_anything_is_allocated() {
    let gray = filled(PixelFormat::Gray8, 64, 48, |at| u8::try_from(at % 200).unwrap());
    let png = patched(encoded(Codec::Png, 85, &gray), 16, &[0, 0, 0x40, 0, 0, 0, 0x20, 0]);
    // The header's checksum is right: only its numbers are wrong.
    let crc = png_crc(&png[12..29]);
    let png = patched(png, 29, &crc);
    let lossless = encoded(Codec::Webp, 100, &gray);
    let lossy = encoded(Codec::Webp, 85, &gray);
    let jp2 = encoded(Codec::Jpeg2000, 85, &gray);
    let siz = position(&jp2, &[0xFF, 0x51]);
    let files = [
        (Codec::Png, png),
        (Codec::Webp, patched(lossless, 21, &[0xFF; 4])),
        (Codec::Webp, patched(lossy, 26, &[0xFF, 0x3F, 0xFF, 0x3F])),
        (Codec::Jpeg2000, patched(jp2, siz + 6, &[0, 0, 0x40, 0, 0, 0, 0x20, 0])),
    ];
    for (codec, file) in files {
        let error = decode(codec, &file).unwrap_err();
        assert!(matches!(error, CodecError::TooLarge { .. }), "{codec}: {error}");
        assert!(still_dimensions(codec, &file).is_err(), "{codec}");
    }
}

/// ISO/IEC 15948, annex D.
fn png_crc(bytes: &[u8]) -> [u8; 4] {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xEDB8_8320 })
    });
    (!crc).to_be_bytes()
}

#[test]
fn what_a_file_is_that_cannot_be_shown_is_said() {
    let rgb = filled(PixelFormat::Rgb8, 64, 48, |at| u8::try_from(at % 200).unwrap());
    let jp2 = encoded(Codec::Jpeg2000, 100, &rgb);
    let (siz, cod) = (position(&jp2, &[0xFF, 0x51]), position(&jp2, &[0xFF, 0x52]));
    let cases = [
        (patched(jp2.clone(), siz + 40, &[0x87]), "signed"),
        (patched(jp2.clone(), siz + 38, &[0, 9]), "more than four"),
        (patched(jp2.clone(), cod + 9, &[40]), "coding style"),
        (jp2[..jp2.len() - 2].to_vec(), "truncated"),
        (patched(jp2.clone(), siz - 6, b"free"), "without a codestream"),
        (b"RIFF".to_vec(), "does not begin"),
    ];
    for (file, what) in cases {
        let message = decode(Codec::Jpeg2000, &file).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    }
    let tall = filled(PixelFormat::Gray8, 2, 16_384, |_| 9);
    let message = open(Codec::Webp, 85).encode(&tall, &mut Vec::new()).unwrap_err().to_string();
    assert!(message.contains("16383"), "{message}");
}

#[test]
fn a_large_picture_in_tiny_pieces_is_refused() {
    // 8192 × 4096 in code-blocks of 4 × 4, and in precincts of one pixel: a few bytes that would take gigabytes.
    let gray = filled(PixelFormat::Gray8, 64, 48, |at| u8::try_from(at % 200).unwrap());
    let jp2 = encoded(Codec::Jpeg2000, 100, &gray);
    let (start, siz, cod) =
        (position(&jp2, &[0xFF, 0x4F]), position(&jp2, &[0xFF, 0x51]), position(&jp2, &[0xFF, 0x52]));
    let side = [0, 0, 0x20, 0, 0, 0, 0x10, 0];
    let large = patched(patched(jp2, siz + 6, &side), siz + 22, &side);
    let levels = usize::from(large[cod + 9]);
    let small_blocks = patched(large.clone(), cod + 10, &[0, 0]);
    let mut style = large[cod..cod + 14].to_vec();
    style[3] += u8::try_from(levels + 1).unwrap();
    style[4] = 1;
    style.resize(14 + levels + 1, 0);
    let small_precincts = [&large[start..cod], &style[..], &large[cod + 14..]].concat();
    for file in [small_blocks, small_precincts] {
        let message = decode(Codec::Jpeg2000, &file).unwrap_err().to_string();
        assert!(message.contains("a million pieces"), "{message}");
    }
}

/// A decoder goes by a segment's contents, or by the last of several codestreams; what was checked must be what it reads.
#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let rgb = filled(PixelFormat::Rgb8, 64, 48, |at| u8::try_from(at % 200).unwrap());
    let jp2 = encoded(Codec::Jpeg2000, 85, &rgb);
    let stream = position(&jp2, &[0xFF, 0x4F]);
    let (siz, cod) = (position(&jp2, &[0xFF, 0x51]), position(&jp2, &[0xFF, 0x52]));
    let qcd = position(&jp2, &[0xFF, 0x5C]);
    let codestream = &jp2[stream..];
    let cod = cod - stream;
    let with = |before: &[u8]| [&codestream[..cod], before, &codestream[cod..]].concat();
    // The length of COD says 20 bytes more than its contents; those would be a segment for itself.
    let mut long = [&codestream[..cod + 14], &[0; 20][..], &codestream[cod + 14..]].concat();
    long[cod + 3] += 20;
    let quantisation = [&[0xFF, 0x5C, 0x04, 0x00, 0x40][..], &[8; 1021][..]].concat();
    let box_again =
        [&jp2[..], &u32::try_from(codestream.len() + 8).unwrap().to_be_bytes(), b"jp2c", codestream].concat();
    let cases = [
        ([with(&[0xFF, 0x30]), vec![0; 70_000]].concat(), "baseline"),
        (with(&[0xFF, 0x50, 0, 8, 0, 2, 0, 0, 0, 0]), "baseline"),
        (long, "length"),
        (with(&quantisation), "length"),
        (with(&[&[0xFF, 0x51, 0, 47][..], &codestream[siz - stream + 4..siz - stream + 49]].concat()), "length"),
        (patched(jp2.clone(), siz + 40, &[31]), "16 bits"),
        (patched(jp2.clone(), siz + 3, &[50]), "length"),
        (box_again, "more than one codestream"),
        // One pixel a tile.
        (patched(jp2.clone(), siz + 6, &[0, 0, 1, 0x55, 0, 0, 1, 0x55]), "tiles"),
    ];
    assert!(decode(Codec::Jpeg2000, codestream).is_ok() && qcd > siz);
    for (file, what) in cases {
        let file = if what == "tiles" { patched(file, siz + 22, &[0, 0, 0, 1, 0, 0, 0, 1]) } else { file };
        let message = decode(Codec::Jpeg2000, &file).unwrap_err().to_string();
        assert!(message.contains(what), "{what}: {message}");
    }
}

/// Many quality layers take memory for every code-block.
#[test]
fn layers_count_too() {
    let gray = filled(PixelFormat::Gray8, 1024, 1024, |at| u8::try_from(at % 200).unwrap());
    let jp2 = encoded(Codec::Jpeg2000, 100, &gray);
    let cod = position(&jp2, &[0xFF, 0x52]);
    // Code-blocks of 4 × 4: some 87,000 pieces, which 65,535 layers multiply.
    let blocks = patched(jp2, cod + 10, &[0, 0]);
    let message = decode(Codec::Jpeg2000, &patched(blocks, cod + 6, &[0xFF, 0xFF])).unwrap_err().to_string();
    assert!(message.contains("a million pieces"), "{message}");
}

/// 4 bytes for each of three components would not be read again.
#[test]
fn what_would_not_be_read_again_is_not_written() {
    let large = filled(PixelFormat::Rgb8, 8_192, 2_731, |_| 7);
    let refused = open(Codec::Jpeg2000, 85).encode(&large, &mut Vec::new()).unwrap_err();
    assert!(matches!(refused, CodecError::TooLarge { .. }), "{refused}");
}

/// Only what lies before the end that RIFF tells is decoded.
#[test]
fn what_follows_a_webp_file_is_not_looked_at() {
    let rgb = filled(PixelFormat::Rgb8, 64, 48, |at| u8::try_from(at % 200).unwrap());
    let webp = encoded(Codec::Webp, 85, &rgb);
    // An extended file without a picture, and behind its end a huge one.
    let mut extended = b"RIFF\x16\0\0\0WEBPVP8X\x0A\0\0\0\0\0\0\0\x3F\0\0\x2F\0\0".to_vec();
    extended.extend(patched(webp[12..].to_vec(), 14, &[0xFF, 0x3F, 0xFF, 0x3F]));
    assert!(decode(Codec::Webp, &extended).is_err());
    let followed = [&webp[..], b"anything"].concat();
    assert_eq!(
        decode(Codec::Webp, &followed).unwrap().frame.pixels(),
        decode(Codec::Webp, &webp).unwrap().frame.pixels()
    );
}
