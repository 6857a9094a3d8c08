//! The calls into the shim.
//!
//! Why they are sound, beyond what each says for itself: a coder is made by `lb_open_…`, belongs to one [`Coder`] and is freed
//! when that is dropped; nothing of it is kept elsewhere. FFmpeg's contexts may be used by any thread, one at a time, which
//! `&mut` shows. The declarations repeat `shim.h`; the structures are plain numbers and pointers, for which any bit
//! pattern that C writes is valid.

#![expect(unsafe_code, reason = "FFmpeg has a C interface only")]

use crate::{DecoderCodec, Error, Packet, Picture, Settings};
use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;

#[repr(C)]
struct Opaque {
    _private: [u8; 0],
}

#[repr(C)]
struct RawSettings {
    library: *const c_char,
    options: *const c_char,
    width: i32,
    height: i32,
    rate: i32,
    rate_base: i32,
    bits_per_second: i64,
    gop: i32,
    threads: i32,
    is_full_range: i32,
    is_bt709: i32,
}

#[repr(C)]
#[derive(Default)]
struct RawPicture {
    ticket: i64,
    width: i32,
    height: i32,
    is_full_range: i32,
    is_bt709: i32,
}

#[repr(C)]
struct RawPacket {
    bytes: *const u8,
    length: usize,
    ticket: i64,
    is_keyframe: i32,
}

unsafe extern "C" {
    fn lb_has_encoder(library: *const c_char) -> i32;
    safe fn lb_has_decoder(codec: i32) -> i32;
    safe fn lb_version() -> *const c_char;
    safe fn lb_license() -> *const c_char;
    fn lb_error_text(code: i32, text: *mut c_char, length: usize);
    fn lb_open_encoder(settings: *const RawSettings, code: *mut i32) -> *mut Opaque;
    fn lb_open_decoder(codec: i32, max_pixels: i64, code: *mut i32) -> *mut Opaque;
    fn lb_close(coder: *mut Opaque);
    fn lb_forget(coder: *mut Opaque);
    fn lb_encode(coder: *mut Opaque, i420: *const u8, length: usize, ticket: i64, is_keyframe: i32) -> i32;
    fn lb_next_packet(coder: *mut Opaque, packet: *mut RawPacket) -> i32;
    fn lb_decode(coder: *mut Opaque, bytes: *const u8, length: usize, ticket: i64) -> i32;
    fn lb_next_picture(coder: *mut Opaque, picture: *mut RawPicture) -> i32;
    fn lb_pixels(coder: *mut Opaque, i420: *mut u8, length: usize) -> i32;
}

/// Whether the FFmpeg at hand holds this encoder.
#[must_use]
pub fn has_encoder(library: &str) -> bool {
    let Ok(library) = CString::new(library) else { return false };
    // SAFETY: the name ends in a zero byte and is read during the call.
    unsafe { lb_has_encoder(library.as_ptr()) != 0 }
}

/// Whether the FFmpeg at hand decodes this codec in software.
#[must_use]
pub fn has_decoder(codec: DecoderCodec) -> bool {
    lb_has_decoder(number(codec)) != 0
}

/// FFmpeg's version, as it calls itself.
#[must_use]
pub fn version() -> &'static str {
    constant(lb_version())
}

/// The licence that the FFmpeg at hand is under, which is then that of the program as a whole.
#[must_use]
pub fn license() -> &'static str {
    constant(lb_license())
}

fn constant(text: *const c_char) -> &'static str {
    if text.is_null() {
        return "unknown";
    }
    // SAFETY: FFmpeg returns a constant that ends in a zero byte.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().unwrap_or("unknown")
}

fn number(codec: DecoderCodec) -> i32 {
    match codec {
        DecoderCodec::H264 => 0,
        DecoderCodec::H265 => 1,
        DecoderCodec::Av1 => 2,
    }
}

fn failed(what: &'static str, code: i32) -> Error {
    let mut text = [0; 128];
    // SAFETY: the shim writes at most so many bytes, the last of them zero.
    unsafe { lb_error_text(code, text.as_mut_ptr(), text.len()) };
    // A C `char` has a sign on some machines.
    let text: Vec<u8> = text.iter().map(|byte| byte.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    Error::Failed { what, text: String::from_utf8_lossy(&text).into_owned() }
}

fn checked(what: &'static str, code: i32) -> Result<(), Error> {
    if code < 0 { Err(failed(what, code)) } else { Ok(()) }
}

struct Coder(NonNull<Opaque>);

// SAFETY: FFmpeg's contexts belong to no thread, and `&mut self` lets one thread at a time use them.
unsafe impl Send for Coder {}

impl Coder {
    fn new(what: &'static str, coder: *mut Opaque, code: i32) -> Result<Self, Error> {
        NonNull::new(coder).map(Self).ok_or_else(|| failed(what, code))
    }
}

impl Drop for Coder {
    fn drop(&mut self) {
        // SAFETY: it is alive until here, and nobody has it any more.
        unsafe { lb_close(self.0.as_ptr()) }
    }
}

/// An encoder for pictures of one size.
pub struct Encoder(Coder);

impl Encoder {
    /// Opens the library with its settings.
    ///
    /// # Errors
    /// Where the FFmpeg at hand does not hold it, or it refuses the settings.
    pub fn open(settings: &Settings<'_>) -> Result<Self, Error> {
        let text = |what, text: &str| CString::new(text).map_err(|_| Error::Setting { what });
        let signed = |what, number: u32| i32::try_from(number).map_err(|_| Error::Setting { what });
        let (library, options) = (text("the encoder's name", settings.library)?, text("an option", settings.options)?);
        let raw = RawSettings {
            library: library.as_ptr(),
            options: options.as_ptr(),
            width: signed("the width", settings.size.0)?,
            height: signed("the height", settings.size.1)?,
            rate: signed("the frame rate", settings.rate.0.max(1))?,
            rate_base: signed("the frame rate", settings.rate.1.max(1))?,
            bits_per_second: i64::from(settings.bits_per_second),
            gop: signed("the keyframe interval", settings.gop)?,
            threads: signed("the number of threads", settings.threads)?,
            is_full_range: settings.is_full_range.into(),
            is_bt709: settings.is_bt709.into(),
        };
        let mut code = 0;
        // SAFETY: all pointers are to values that outlive the call.
        let coder = unsafe { lb_open_encoder(&raw const raw, &raw mut code) };
        Coder::new("open the encoder", coder, code).map(Self)
    }

    /// Codes a picture of packed I420, whose length must be what the size takes.
    ///
    /// # Errors
    /// Where it is another length, or the library fails.
    pub fn encode(&mut self, i420: &[u8], ticket: i64, is_keyframe: bool) -> Result<(), Error> {
        // SAFETY: the shim reads so many bytes at most, during the call.
        let code = unsafe { lb_encode(self.0.0.as_ptr(), i420.as_ptr(), i420.len(), ticket, is_keyframe.into()) };
        checked("encode a picture", code)
    }

    /// What is finished, packet by packet.
    ///
    /// # Errors
    /// Where the library fails.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, Error> {
        let mut raw = RawPacket { bytes: std::ptr::null(), length: 0, ticket: 0, is_keyframe: 0 };
        // SAFETY: the shim writes all of it, or nothing where it answers another number than 1.
        let code = unsafe { lb_next_packet(self.0.0.as_ptr(), &raw mut raw) };
        checked("encode a picture", code)?;
        if code == 0 || raw.bytes.is_null() {
            return Ok(None);
        }
        // SAFETY: the packet has so many bytes, which live until the next call with this coder: `self` is borrowed.
        let bytes = unsafe { std::slice::from_raw_parts(raw.bytes, raw.length) }.to_vec();
        Ok(Some(Packet { bytes, ticket: raw.ticket, is_keyframe: raw.is_keyframe != 0 }))
    }
}

/// A decoder of one stream.
pub struct Decoder(Coder);

impl Decoder {
    /// Opens FFmpeg's decoder, which refuses pictures of more than so many pixels before it allocates anything for them.
    ///
    /// # Errors
    /// Where the FFmpeg at hand holds none.
    pub fn open(codec: DecoderCodec, max_pixels: u64) -> Result<Self, Error> {
        let (mut code, most) = (0, i64::try_from(max_pixels).unwrap_or(i64::MAX));
        // SAFETY: the pointer is to a value that outlives the call.
        let coder = unsafe { lb_open_decoder(number(codec), most, &raw mut code) };
        Coder::new("open the decoder", coder, code).map(Self)
    }

    /// Decodes one coded frame; [`next_picture`](Self::next_picture) gives what came of it and has to be asked until it gives no more.
    ///
    /// # Errors
    /// Where the bytes are damaged: references are, too, from then on.
    pub fn decode(&mut self, bytes: &[u8], ticket: i64) -> Result<(), Error> {
        if bytes.is_empty() {
            return Err(Error::Setting { what: "a frame without bytes" });
        }
        self.send(bytes, ticket)
    }

    /// The end of the stream: what is held back comes out. Only [`forget`](Self::forget) may follow.
    ///
    /// # Errors
    /// Where the decoder fails.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.send(&[], 0)
    }

    fn send(&mut self, bytes: &[u8], ticket: i64) -> Result<(), Error> {
        // SAFETY: the shim copies so many bytes during the call.
        let code = unsafe { lb_decode(self.0.0.as_ptr(), bytes.as_ptr(), bytes.len(), ticket) };
        checked("decode a frame", code)
    }

    /// The next picture in output order.
    ///
    /// # Errors
    /// Where it is damaged.
    pub fn next_picture(&mut self) -> Result<Option<Picture>, Error> {
        let mut raw = RawPicture::default();
        // SAFETY: the shim writes all of it, or nothing where it answers another number than 1.
        let code = unsafe { lb_next_picture(self.0.0.as_ptr(), &raw mut raw) };
        checked("decode a frame", code)?;
        if code == 0 {
            return Ok(None);
        }
        let side = |pixels: i32| u32::try_from(pixels).map_err(|_| Error::Setting { what: "a negative size" });
        let size = (side(raw.width)?, side(raw.height)?);
        let (width, height) = (size.0 as usize, size.1 as usize);
        let mut i420 = vec![0; width * height + 2 * width.div_ceil(2) * height.div_ceil(2)];
        // SAFETY: the shim writes exactly so many bytes or answers an error.
        let code = unsafe { lb_pixels(self.0.0.as_ptr(), i420.as_mut_ptr(), i420.len()) };
        checked("hand out a picture", code)?;
        let said = |number: i32| (number >= 0).then_some(number == 1);
        let (is_full_range, is_bt709) = (said(raw.is_full_range), said(raw.is_bt709));
        Ok(Some(Picture { i420, size, ticket: raw.ticket, is_full_range, is_bt709 }))
    }

    /// Forgets everything; a keyframe has to come next.
    pub fn forget(&mut self) {
        // SAFETY: the coder is alive and a decoder.
        unsafe { lb_forget(self.0.0.as_ptr()) }
    }
}
