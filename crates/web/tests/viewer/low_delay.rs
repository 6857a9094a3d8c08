//! H.264 whose parameter sets let a decoder believe that pictures are reordered.

use crate::support::{Socket, World, video};
use lumenbus_codec::{DecoderConfig, Ticket, decoder};
use lumenbus_frame::bitstream::{NalCodec, NalKind, nal_units};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Reads a baseline set as far as the flag in front of what is optional.
struct Bits<'a>(&'a [u8], usize);

impl Bits<'_> {
    fn flag(&mut self) -> bool {
        let bit = self.0[self.1 / 8] >> (7 - self.1 % 8) & 1 == 1;
        self.1 += 1;
        bit
    }

    fn ue(&mut self) -> u32 {
        let zeros = (0..).take_while(|_| !self.flag()).count();
        (0..zeros).fold(1, |value, _| value << 1 | u32::from(self.flag())) - 1
    }
}

/// The set without anything optional, as cheap cameras write it.
fn bare(set: &[u8]) -> Vec<u8> {
    assert!(!set.windows(2).take(12).any(|pair| pair == [0, 0]), "nothing is escaped in this part");
    let mut bits = Bits(set, 32);
    bits.ue(); // id
    bits.ue(); // frame numbers
    match bits.ue() {
        0 => {
            bits.ue();
        }
        2 => {}
        other => panic!("order coding {other}"),
    }
    bits.ue(); // reference frames
    bits.flag();
    bits.ue();
    bits.ue();
    assert!(bits.flag(), "no fields");
    bits.flag();
    if bits.flag() {
        for _ in 0..4 {
            bits.ue();
        }
    }
    let end = bits.1;
    let mut bare: Vec<bool> = (0..end).map(|at| Bits(set, at).flag()).collect();
    bare.extend([false, true]);
    bare.chunks(8)
        .map(|byte| byte.iter().enumerate().fold(0, |sum, (at, bit)| sum | u8::from(*bit) << (7 - at)))
        .collect()
}

fn stripped(frame: &EncodedFrame) -> EncodedFrame {
    let mut payload = Vec::new();
    for nal in nal_units(&frame.payload) {
        payload.extend([0, 0, 0, 1]);
        match NalCodec::H264.kind(nal) {
            Some(NalKind::SequenceParameters) => payload.extend(bare(nal)),
            _ => payload.extend(nal),
        }
    }
    EncodedFrame { payload: payload.into(), ..frame.clone() }
}

/// Every picture as pixels, each out before the next one goes in.
fn pictures(units: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut decoder = decoder(Codec::H264, &DecoderConfig::default()).unwrap();
    let mut all = Vec::new();
    for (at, unit) in units.iter().enumerate() {
        let mut frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), unit.clone().into());
        frame.is_keyframe = at == 0;
        let mut out = Vec::new();
        decoder.decode(Ticket(at as u64), &frame, &mut out).unwrap();
        assert_eq!(out.len(), 1, "picture {at} is held back");
        all.push(out[0].frame.pixels().to_vec());
    }
    all
}

/// By another decoder, where there is one.
fn by_ffmpeg(units: &[Vec<u8>]) -> Option<Vec<u8>> {
    let line = ["-v", "error", "-f", "h264", "-i", "-", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"];
    let child = Command::new("ffmpeg").args(line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: there is no ffmpeg");
        return None;
    };
    child.stdin.take().unwrap().write_all(&units.concat()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(output.stdout)
}

#[test]
fn decoders_of_pages_hold_nothing_back_and_show_the_same_pictures() {
    let world = World::new();
    let stream = world.stream("gate", "raw_video");
    let published: Vec<EncodedFrame> = video(6).iter().map(stripped).collect();
    world.submit(&stream, published.iter().cloned());
    let mut client = Socket::open(world.addr());
    client.watch(0, "annexb");
    let shown: Vec<Vec<u8>> = published.iter().map(|_| client.media().payload.to_vec()).collect();
    let sent: Vec<Vec<u8>> = published.iter().map(|frame| frame.payload.to_vec()).collect();
    assert_ne!(shown[0], sent[0], "the keyframe has another parameter set");
    assert_eq!(shown[1..], sent[1..], "all else is as published");
    assert_eq!(pictures(&shown), pictures(&sent));
    assert_eq!(by_ffmpeg(&shown), by_ffmpeg(&sent));
}
