//! The three calls by raw pointer.
//!
//! Why they are sound, beyond what each says for itself: the binding owns the library's encoder and frees it when it is
//! dropped; a `&mut Encoder` shows that it is alive and that nobody else, no coded picture either, is using it, since
//! a coded picture borrows it. `SetOption` and `GetOption` read and write exactly the type that `codec_app_def.h` names
//! for the option, during the call only. Before the encoder is initialised they refuse every option but the trace
//! level's, by a code. `SetOption` checks all parameters, and answers a code where it does not take them.

#![expect(unsafe_code, reason = "the binding has no safe call for these options")]

use crate::Error;
use openh264::encoder::Encoder;
use openh264_sys2::{ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, ENCODER_OPTION_TRACE_LEVEL, SEncParamExt};
use std::os::raw::c_int;

fn checked(what: &'static str, code: c_int) -> Result<(), Error> {
    if code == 0 { Ok(()) } else { Err(Error::Refused { what, code }) }
}

pub(crate) fn set_trace_level(encoder: &mut Encoder, mut level: c_int) -> Result<(), Error> {
    // SAFETY: no parameter that the binding relies on is touched through it; see below.
    let raw = unsafe { encoder.raw_api() };
    // SAFETY: the option's type is `int`, which is read during the call.
    let code = unsafe { raw.set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast()) };
    checked("be quiet", code)
}

pub(crate) fn parameters(encoder: &mut Encoder) -> Result<SEncParamExt, Error> {
    let mut parameters = SEncParamExt::default();
    // SAFETY: nothing is set through it.
    let raw = unsafe { encoder.raw_api() };
    // SAFETY: the option's type is `SEncParamExt`. It holds numbers, C enumerations (integers in the binding) and C++
    // `bool`s, which are 0 or 1: whatever the library writes there is a valid value.
    let code = unsafe { raw.get_option(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, (&raw mut parameters).cast()) };
    checked("tell its parameters", code).map(|()| parameters)
}

pub(crate) fn set_parameters(encoder: &mut Encoder, parameters: &mut SEncParamExt) -> Result<(), Error> {
    // SAFETY: the binding relies on the size of pictures, which `Tuned` sets to that which the binding has seen, and on
    // the library's coded picture, which no borrow can reach here.
    let raw = unsafe { encoder.raw_api() };
    // SAFETY: the option's type is `SEncParamExt`, which is copied during the call.
    let code = unsafe { raw.set_option(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, std::ptr::from_mut(parameters).cast()) };
    checked("take its parameters", code)
}
