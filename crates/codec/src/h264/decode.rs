//! H.264 decoding: one access unit in, pictures in output order out, each with its own frame's times.
//!
//! openh264 reorders pictures without saying which is which, and flushing it after every access unit leaks its
//! picture buffers. It does not reorder in the Baseline profiles, so it is told that every stream is one of those
//! ([`in_decode_order`]): each access unit then gives exactly its own picture, output order is made here
//! ([`super::order`]), and no time can be mixed up. After any error the library is thrown away, since its
//! references are damaged.
//!
//! Pictures are bit-exact without B-frames; with them the library rounds weighted prediction in its own way, which
//! costs one or two levels in some samples.

use super::order::{Counter, Place, Reorder};
use super::syntax::{Pps, Slice, Sps, malformed, nal_units, slice_start};
use crate::coder::check_frame;
use crate::{CodecError, Decoder, DecoderConfig, Direction, Picture, Ticket, convert};
use bytes::Bytes;
use lumenbus_frame::{Codec, Dimensions, EncodedFrame, PixelFormat, RawFrame};
use openh264::OpenH264API;
use openh264::decoder::{DecodeOptions, DecodedYUV, Flush};
use openh264::formats::YUVSource;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Largest coded picture: level 5.2, the library's last (table A-1): 9.4 megapixels, 4096 × 2304.
const MAX_MACROBLOCKS: u32 = 36_864;
const REMEDY: &str = "the `ffmpeg` feature can; coded frames still pass through";

pub(crate) struct H264Decoder {
    config: DecoderConfig,
    /// None until the first keyframe and after an error.
    coder: Option<openh264::decoder::Decoder>,
    sets: ParameterSets,
    counter: Counter,
    reorder: Reorder<Picture>,
}

/// The parameter sets of the stream, at most 32 and 256 (7.4.2.1.1, 7.4.2.2).
#[derive(Default)]
struct ParameterSets {
    sequence: BTreeMap<u32, Sps>,
    picture: BTreeMap<u32, Pps>,
}

impl ParameterSets {
    fn of_slice(&self, nal: &[u8]) -> Result<(&Sps, Pps), CodecError> {
        let (_, pps_id) = slice_start(nal)?;
        let pps = self.picture.get(&pps_id).ok_or_else(|| malformed("a slice without its picture parameter set"))?;
        let sps = self.sequence.get(&pps.sps_id);
        Ok((sps.ok_or_else(|| malformed("a slice without its sequence parameter set"))?, *pps))
    }
}

/// What an access unit turned out to hold.
struct Unit {
    slice: Slice,
    sps: Sps,
}

impl H264Decoder {
    pub(crate) fn new(config: &DecoderConfig) -> Result<Self, CodecError> {
        if config.pixel_format.is_some_and(|format| format == PixelFormat::Gray16Le) {
            let (codec, direction, format) = (Codec::H264, Direction::Decode, PixelFormat::Gray16Le);
            return Err(CodecError::Format { codec, direction, format, supported: "i420, rgb8 and gray8" });
        }
        Ok(Self {
            config: *config,
            coder: None,
            sets: ParameterSets::default(),
            counter: Counter::default(),
            reorder: Reorder::default(),
        })
    }

    /// Coded size of the unit's picture; `None` when it holds none.
    pub(super) fn dimensions(&mut self, payload: &[u8]) -> Result<Option<Dimensions>, CodecError> {
        Ok(self.inspect(payload)?.map(|unit| unit.sps.coded))
    }

    /// Reads the unit's headers, refuses what cannot be decoded, and keeps the parameter sets.
    ///
    /// `None` when it holds no picture.
    fn inspect(&mut self, payload: &[u8]) -> Result<Option<Unit>, CodecError> {
        let mut first_slice = None;
        let (mut has_units, mut has_slices) = (false, false);
        for nal in nal_units(payload) {
            has_units = true;
            match nal[0] & 0x1F {
                7 => {
                    let sps = Sps::parse(nal)?;
                    check_supported(&sps)?;
                    self.sets.sequence.insert(sps.id, sps);
                }
                8 => {
                    let pps = Pps::parse(nal)?;
                    self.sets.picture.insert(pps.id, pps);
                }
                2..=4 => {
                    return Err(unsupported("data partitioned (Extended profile)".to_owned()));
                }
                1 | 5 => {
                    has_slices = true;
                    if slice_start(nal)?.0 == 0 && first_slice.replace(nal).is_some() {
                        return Err(malformed("two pictures in one access unit"));
                    }
                }
                _ => {}
            }
        }
        match first_slice {
            Some(nal) => {
                let (sps, pps) = self.sets.of_slice(nal)?;
                Ok(Some(Unit { slice: Slice::parse(nal, sps, pps)?, sps: sps.clone() }))
            }
            None if has_slices => Err(malformed("a picture without its first slice")),
            None if !has_units => Err(malformed("no start codes: it is not in Annex B form")),
            None => Ok(None),
        }
    }

    fn decode_unit(&mut self, ticket: Ticket, frame: &EncodedFrame, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        check_frame(Codec::H264, frame)?;
        let Some(unit) = self.inspect(&frame.payload)? else {
            return Ok(()); // parameter sets alone: they are repeated before the next keyframe's slices
        };
        // The library cannot begin at a recovery point, only at an IDR picture.
        if self.coder.is_none() && !unit.slice.is_idr {
            return Err(CodecError::NeedsKeyframe { codec: Codec::H264 });
        }
        self.reorder.configure(&unit.sps);
        let place = self.counter.next(&unit.sps, &unit.slice);
        let picture = self.picture(ticket, frame, &unit.sps)?;
        self.put_out(place, unit.slice.is_bidirectional, picture, out)
    }

    /// Runs the library over the unit; it gives exactly one picture or an error.
    fn picture(&mut self, ticket: Ticket, frame: &EncodedFrame, sps: &Sps) -> Result<Picture, CodecError> {
        let failed = |source| CodecError::H264 { direction: Direction::Decode, source };
        if self.coder.is_none() {
            let api = OpenH264API::from_source();
            let config = openh264::decoder::DecoderConfig::new();
            self.coder = Some(openh264::decoder::Decoder::with_api_config(api, config).map_err(failed)?);
        }
        let coder = self.coder.as_mut().expect("opened above");
        let options = DecodeOptions::new().flush_after_decode(Flush::NoFlush);
        let payload = in_decode_order(&frame.payload);
        let decoded = coder.decode_with_options(&payload, options).map_err(failed)?;
        let decoded = decoded.ok_or_else(|| malformed("an access unit gave no picture"))?;
        let (size, pixels) = copy_planes(&decoded)?;
        if !coder.flush_remaining().map_err(failed)?.is_empty() {
            return Err(malformed("an access unit gave more than one picture"));
        }
        let color = sps.color(size);
        let mut i420 = RawFrame::new(PixelFormat::I420, size, pixels, frame.capture)?;
        i420.pts = frame.pts;
        let frame = convert(&i420, self.config.pixel_format.unwrap_or(PixelFormat::I420), color)?;
        Ok(Picture { ticket, frame, color })
    }

    fn put_out(
        &mut self,
        place: Place,
        bidirectional: bool,
        picture: Picture,
        out: &mut Vec<Picture>,
    ) -> Result<(), CodecError> {
        if self.reorder.push(place, bidirectional, picture, |picture| out.push(picture)) {
            return Ok(());
        }
        Err(CodecError::Late { codec: Codec::H264 })
    }
}

impl Decoder for H264Decoder {
    fn codec(&self) -> Codec {
        Codec::H264
    }

    fn decode(&mut self, ticket: Ticket, frame: &EncodedFrame, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        let done = self.decode_unit(ticket, frame, out);
        if matches!(&done, Err(error) if !matches!(error, CodecError::NeedsKeyframe { .. } | CodecError::Late { .. })) {
            self.reset();
        }
        done
    }

    fn flush(&mut self, out: &mut Vec<Picture>) -> Result<(), CodecError> {
        self.reorder.flush(|picture| out.push(picture));
        self.reset();
        Ok(())
    }

    fn reset(&mut self) {
        self.coder = None;
        self.reorder.reset();
        self.counter = Counter::default();
    }
}

/// The access unit with the profile of its sequence parameter sets exchanged for one of the same syntax in which
/// the library does not reorder: 66 (Baseline) for Main and Extended, 83 (Scalable Baseline) for High.
fn in_decode_order(payload: &Bytes) -> Cow<'_, [u8]> {
    let mut unit = Cow::Borrowed(&payload[..]);
    for nal in nal_units(payload).filter(|nal| nal[0] & 0x1F == 7 && nal.len() > 1) {
        let profile = if nal[1] == 100 { 83 } else { 66 };
        let at = nal.as_ptr().addr() - payload.as_ptr().addr() + 1;
        unit.to_mut()[at] = profile;
    }
    unit
}

fn unsupported(what: String) -> CodecError {
    CodecError::UnsupportedStream { codec: Codec::H264, what, remedy: REMEDY }
}

/// Names what the library would refuse with a bare number.
fn check_supported(sps: &Sps) -> Result<(), CodecError> {
    let chroma = ["4:0:0 (monochrome)", "4:2:0", "4:2:2", "4:4:4"][sps.chroma_format as usize];
    if sps.chroma_format != 1 {
        return Err(unsupported(format!("{chroma} ({})", profile_name(sps.profile))));
    }
    if sps.bit_depth != 8 {
        return Err(unsupported(format!("{} bits deep ({})", sps.bit_depth, profile_name(sps.profile))));
    }
    if !sps.frames_only {
        return Err(unsupported("interlaced (frame_mbs_only_flag is 0)".to_owned()));
    }
    if !matches!(sps.profile, 66 | 77 | 88 | 100) {
        return Err(unsupported(format!("of {}", profile_name(sps.profile))));
    }
    if sps.macroblocks() > MAX_MACROBLOCKS {
        return Err(unsupported(format!("{} large, beyond level 5.2", sps.coded)));
    }
    Ok(())
}

fn profile_name(profile: u8) -> String {
    match profile {
        66 => "Baseline profile".to_owned(),
        77 => "Main profile".to_owned(),
        88 => "Extended profile".to_owned(),
        100 => "High profile".to_owned(),
        110 => "High 10 profile".to_owned(),
        122 => "High 4:2:2 profile".to_owned(),
        244 => "High 4:4:4 Predictive profile".to_owned(),
        other => format!("profile {other}"),
    }
}

/// The library's padded planes → tightly packed I420.
fn copy_planes(decoded: &DecodedYUV<'_>) -> Result<(Dimensions, Bytes), CodecError> {
    let (width, height) = decoded.dimensions();
    let (luma_stride, chroma_stride, _) = decoded.strides();
    let side = |pixels: usize| u32::try_from(pixels).map_err(|_| malformed("the picture has an impossible size"));
    let size = Dimensions::new(side(width)?, side(height)?);
    let bytes = PixelFormat::I420.frame_bytes(size).ok_or_else(|| malformed("the picture has an impossible size"))?;
    let mut pixels = Vec::with_capacity(bytes);
    let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
    let planes = [
        (decoded.y(), luma_stride, width, height),
        (decoded.u(), chroma_stride, chroma_width, chroma_height),
        (decoded.v(), chroma_stride, chroma_width, chroma_height),
    ];
    for (plane, stride, columns, rows) in planes {
        if stride < columns || plane.len() < stride * rows {
            return Err(malformed("the decoder gave planes that are too small"));
        }
        plane.chunks_exact(stride).take(rows).for_each(|row| pixels.extend_from_slice(&row[..columns]));
    }
    Ok((size, pixels.into()))
}
