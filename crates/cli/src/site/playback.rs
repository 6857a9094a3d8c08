//! What a codec string means, and who can play it.

use lumenbus_frame::{Codec, StreamParameters};

/// Whether a browser can show a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Playback {
    pub(crate) verdict: Verdict,
    /// By what means or why not.
    pub(crate) how: &'static str,
    /// What WebCodecs and Media Source are asked with.
    pub(crate) codec_string: Option<String>,
    pub(crate) mime: Option<String>,
    /// What to do where it cannot.
    pub(crate) remedy: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    /// By browser and hardware.
    Some,
    No,
}

impl Verdict {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Some => "some",
            Self::No => "no",
        }
    }
}

const USE_H264: &str = "set the camera to H.264 (Baseline, Main or High, 8 bit, 4:2:0), or use its second stream";
const TRANSCODE: &str = "set codec = \"h264\" for it, or the camera itself to High profile, 8 bit, 4:2:0";

/// Can a browser play these coded frames?
pub(crate) fn playback(parameters: &StreamParameters) -> Playback {
    let string = parameters.codec_string.clone();
    let (verdict, how, remedy) = match parameters.codec {
        Codec::H264 if is_common_h264(string.as_deref()) => (Verdict::Yes, "WebCodecs, and Media Source", None),
        Codec::H264 => (Verdict::No, "no browser decodes this profile in hardware, most not at all", Some(TRANSCODE)),
        Codec::H265 => {
            (Verdict::Some, "Safari, and Chromium or Edge where the hardware decodes it; never Firefox", Some(USE_H264))
        }
        Codec::Av1 => (Verdict::Some, "Chromium and Firefox; Safari with the newest hardware only", Some(USE_H264)),
        Codec::Jpeg | Codec::Png | Codec::Webp => (Verdict::Yes, "as a picture", None),
        Codec::Jpeg2000 => {
            (Verdict::No, "no current browser reads JPEG 2000", Some("set codec = \"jpeg\" or \"webp\" for it"))
        }
        Codec::Raw => (Verdict::Yes, "after encoding", None),
        _ => (Verdict::No, "an unknown codec", None),
    };
    let is_video = !parameters.codec.is_intra_only();
    let mime = string.as_ref().filter(|_| is_video).map(|string| format!("video/mp4; codecs=\"{string}\""));
    Playback { verdict, how, codec_string: string.filter(|_| is_video), mime, remedy }
}

/// 8 bit, 4:2:0: Baseline, Main, High.
fn is_common_h264(string: Option<&str>) -> bool {
    let profile = string.and_then(|string| string.strip_prefix("avc1.")).and_then(|digits| digits.get(..2));
    profile.is_some_and(|profile| matches!(profile.to_ascii_uppercase().as_str(), "42" | "4D" | "64"))
}

/// `High profile, level 3.1` of `avc1.64001F`; `None` where the string says nothing.
pub(crate) fn profile_and_level(codec_string: &str) -> Option<String> {
    match codec_string.split_once('.')? {
        ("avc1" | "avc3", digits) => h264_words(digits),
        ("hev1" | "hvc1", rest) => h265_words(rest),
        _ => None,
    }
}

/// RFC 6381: profile_idc, constraint flags and level_idc in hexadecimal.
fn h264_words(digits: &str) -> Option<String> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let (profile, flags, level) = (byte(0)?, byte(2)?, byte(4)?);
    let name = match (profile, flags & 0x40) {
        (0x42, 0) => "Baseline",
        (0x42, _) => "Constrained Baseline",
        (0x4d, _) => "Main",
        (0x58, _) => "Extended",
        (0x64, _) => "High",
        (0x6e, _) => "High 10",
        (0x7a, _) => "High 4:2:2",
        (0xf4, _) => "High 4:4:4 Predictive",
        _ => return Some(format!("profile {profile}, level {}", level_text(level, 10))),
    };
    Some(format!("{name} profile, level {}", level_text(level, 10)))
}

/// ISO/IEC 14496-15, annex E: `1.6.L93.B0`.
fn h265_words(rest: &str) -> Option<String> {
    let mut parts = rest.split('.');
    let profile = match parts.next()?.trim_start_matches(['A', 'B', 'C']) {
        "1" => "Main",
        "2" => "Main 10",
        "3" => "Main Still Picture",
        "4" => "Range Extensions",
        _ => "another",
    };
    let tier_and_level = parts.nth(1)?;
    let tier = if tier_and_level.starts_with('H') { "High" } else { "Main" };
    let level = tier_and_level.get(1..)?.parse::<u8>().ok()?;
    Some(format!("{profile} profile, {tier} tier, level {}", level_text(level, 30)))
}

fn level_text(level: u8, per_step: u8) -> String {
    let tenths = u32::from(level) * 10 / u32::from(per_step);
    if tenths % 10 == 0 { format!("{}", tenths / 10) } else { format!("{}.{}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::Dimensions;

    #[test]
    fn codec_strings_in_words() {
        let check = |string: &str, words: &str| assert_eq!(profile_and_level(string).as_deref(), Some(words));
        check("avc1.64001F", "High profile, level 3.1");
        check("avc1.42E01E", "Constrained Baseline profile, level 3");
        check("avc1.4d0028", "Main profile, level 4");
        check("hev1.1.6.L93.B0", "Main profile, Main tier, level 3.1");
        check("hev1.2.4.H150.B0", "Main 10 profile, High tier, level 5");
        for wrong in ["avc1.64", "avc1.64001", "hev1.1", "hev1.1.6", "hev1.1.6.L", "av01.0.04M.08", "", "avc1.日本語"]
        {
            assert_eq!(profile_and_level(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_browsers_play() {
        let of = |codec, string: &str| {
            let mut parameters = StreamParameters::new(codec, Dimensions::new(640, 480));
            parameters.codec_string = Some(string.to_owned()).filter(|string| !string.is_empty());
            playback(&parameters)
        };
        let high = of(Codec::H264, "avc1.64001F");
        assert_eq!((high.verdict, high.mime.as_deref()), (Verdict::Yes, Some("video/mp4; codecs=\"avc1.64001F\"")));
        assert_eq!(of(Codec::H264, "avc1.6E001F").verdict, Verdict::No);
        assert!(of(Codec::H265, "hev1.1.6.L93.B0").remedy.is_some_and(|remedy| remedy.contains("H.264")));
        assert_eq!(of(Codec::Jpeg, "").verdict, Verdict::Yes);
    }
}
