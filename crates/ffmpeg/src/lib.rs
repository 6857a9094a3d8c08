//! H.264, H.265 and AV1 by the system's FFmpeg, behind a safe interface: pictures one by one, nothing held back, no
//! words on standard error.
//!
//! FFmpeg is reached through a shim in C (`shim/`) that is compiled against the headers of the machine, so that one
//! source fits every FFmpeg from 5.0 on and no layout of its structures is repeated here. Everything `unsafe` is in
//! `raw.rs`. Without the feature `system` this crate is empty.
//!
//! A program with it is linked with the system's libraries. Debian's FFmpeg holds x264 and x265 and is under the GPL, and so then
//! is the program as a whole: `license` tells what the FFmpeg at hand is under.
#![cfg_attr(
    feature = "system",
    doc = r#"
```
use lumenbus_ffmpeg::{Decoder, DecoderCodec, Encoder, Settings, has_encoder};

if has_encoder("libx264") {
    let settings = Settings {
        library: "libx264",
        options: "preset=veryfast:tune=zerolatency",
        size: (64, 48),
        rate: (30, 1),
        bits_per_second: 200_000,
        gop: 60,
        threads: 1,
        is_full_range: false,
        is_bt709: false,
    };
    let mut encoder = Encoder::open(&settings)?;
    encoder.encode(&[90; 64 * 48 * 3 / 2], 7, false)?;
    let packet = encoder.next_packet()?.expect("nothing is held back");
    assert!(packet.is_keyframe && packet.ticket == 7);

    let mut decoder = Decoder::open(DecoderCodec::H264, 1 << 20)?;
    decoder.decode(&packet.bytes, packet.ticket)?;
    assert_eq!(decoder.next_picture()?.expect("nothing is held back").size, (64, 48));
}
# Ok::<(), lumenbus_ffmpeg::Error>(())
```
"#
)]

#[cfg(feature = "system")]
mod raw;

#[cfg(feature = "system")]
pub use raw::{Decoder, Encoder, has_decoder, has_encoder, license, version};

/// What a decoder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderCodec {
    /// H.264, Annex B.
    H264,
    /// H.265, Annex B.
    H265,
    /// AV1, OBUs of a temporal unit.
    Av1,
}

/// Settings of an encoder.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Name of the encoder in FFmpeg, such as `libx264`.
    pub library: &'a str,
    /// Options of its own, as `name=value:name=value`; one that it does not know is an error.
    pub options: &'a str,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Pictures in so many seconds.
    pub rate: (u32, u32),
    /// Target.
    pub bits_per_second: u32,
    /// Most pictures from one keyframe to the next.
    pub gop: u32,
    /// Threads of one picture.
    pub threads: u32,
    /// Luma from 0 to 255.
    pub is_full_range: bool,
    /// BT.709, else BT.601.
    pub is_bt709: bool,
}

/// A coded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// An access unit in Annex B form, or a temporal unit.
    pub bytes: Vec<u8>,
    /// As given with the picture.
    pub ticket: i64,
    /// Whether decoding can begin here.
    pub is_keyframe: bool,
}

/// A decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Packed I420 of 8 bits, whatever the stream holds.
    pub i420: Vec<u8>,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// As given with the coded frame.
    pub ticket: i64,
    /// Luma from 0 to 255; `None` where the stream does not say.
    pub is_full_range: Option<bool>,
    /// BT.709, else BT.601; `None` where the stream says neither.
    pub is_bt709: Option<bool>,
}

/// FFmpeg refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of FFmpeg's own.
    #[error("FFmpeg could not {what}: {text}")]
    Failed {
        /// What it should have done.
        what: &'static str,
        /// Its words.
        text: String,
    },
    /// A number or a name that FFmpeg cannot be given.
    #[error("{what} cannot be handed to FFmpeg")]
    Setting {
        /// Which.
        what: &'static str,
    },
}
