//! `/dev/video0?format=mjpeg&size=1280x720&fps=30`.

use crate::SourceError;
use lumenbus_frame::{Dimensions, FrameRate};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a device gives its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceFormat {
    /// Access units of H.264, as byte stream.
    H264,
    /// Access units of H.265, as byte stream.
    H265,
    /// JPEG pictures.
    Mjpeg,
    /// Planes Y, U, V.
    I420,
    /// Plane Y, then U and V interleaved.
    Nv12,
    /// Y, U, Y, V.
    Yuyv,
    /// U, Y, V, Y.
    Uyvy,
    /// R, G, B.
    Rgb,
    /// B, G, R.
    Bgr,
    /// Luma only, 8 bit.
    Gray8,
    /// Luma only, 16 bit.
    Gray16,
}

impl DeviceFormat {
    /// What is preferred comes first: coded in the device, so that nothing here has to; H.264 before JPEG, for a tenth
    /// of the bytes. H.265 is last of the coded, since fewer programs read it.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "devices are of Linux"))]
    pub(super) const ALL: [Self; 11] = [
        Self::H264,
        Self::Mjpeg,
        Self::H265,
        Self::I420,
        Self::Nv12,
        Self::Yuyv,
        Self::Uyvy,
        Self::Rgb,
        Self::Bgr,
        Self::Gray8,
        Self::Gray16,
    ];

    const NAMES: [(&'static str, Self); 17] = [
        ("h264", Self::H264),
        ("h265", Self::H265),
        ("mjpeg", Self::Mjpeg),
        ("i420", Self::I420),
        ("nv12", Self::Nv12),
        ("yuyv422", Self::Yuyv),
        ("uyvy422", Self::Uyvy),
        ("rgb8", Self::Rgb),
        ("bgr24", Self::Bgr),
        ("gray8", Self::Gray8),
        ("gray16le", Self::Gray16),
        // Names of others for the same.
        ("hevc", Self::H265),
        ("yuv420p", Self::I420),
        ("yuyv", Self::Yuyv),
        ("uyvy", Self::Uyvy),
        ("rgb24", Self::Rgb),
        ("gray", Self::Gray8),
    ];

    /// The name in an address.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|row| row.1 == self).map_or("", |row| row.0)
    }

    fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|row| row.0 == name).map(|row| row.1)
    }
}

impl fmt::Display for DeviceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A capture device of Video4Linux, and what is wished of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAddress {
    pub(super) path: PathBuf,
    pub(super) format: Option<DeviceFormat>,
    pub(super) size: Option<Dimensions>,
    pub(super) rate: Option<FrameRate>,
    pub(super) name: Arc<str>,
}

/// Major number of character devices of Video4Linux.
#[cfg(target_os = "linux")]
const MAJOR: u64 = 81;

impl DeviceAddress {
    /// Whether `spec` names such a device: `/dev/videoN`, something in `/dev/v4l`, or a node of that kind elsewhere in
    /// `/dev`, such as a link that a rule of udev has made.
    pub(crate) fn is_one(spec: &str) -> bool {
        let path = spec.split_once('?').map_or(spec, |(path, _)| path);
        let Some(rest) = path.strip_prefix("/dev/") else { return false };
        let is_numbered =
            rest.strip_prefix("video").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        is_numbered || rest.starts_with("v4l/") || is_node(Path::new(path))
    }

    /// Reads an address.
    ///
    /// # Errors
    /// [`SourceError::Specification`] with what is wrong.
    pub fn parse(spec: &str) -> Result<Self, SourceError> {
        let refuse = |why| SourceError::Specification { spec: spec.chars().take(200).collect(), why };
        let (path, wishes) = spec.split_once('?').map_or((spec, None), |(path, wishes)| (path, Some(wishes)));
        let mut address =
            Self { path: PathBuf::from(path), format: None, size: None, rate: None, name: Arc::from(path) };
        for wish in wishes.into_iter().flat_map(|wishes| wishes.split('&')) {
            match wish.split_once('=') {
                Some(("format", name)) if address.format.is_none() => {
                    let why = "format is one of h264, h265, mjpeg, i420, nv12, yuyv422, uyvy422, rgb8, bgr24, gray8, \
                               gray16le";
                    address.format = Some(DeviceFormat::named(name).ok_or_else(|| refuse(why))?);
                }
                Some(("size", size)) if address.size.is_none() => {
                    address.size = Some(sides(size).ok_or_else(|| refuse("size is WIDTHxHEIGHT, such as 1280x720"))?);
                }
                Some(("fps", fps)) if address.rate.is_none() => {
                    address.rate = Some(rate(fps).ok_or_else(|| refuse("fps is a number such as 30 or 30000/1001"))?);
                }
                _ => {
                    return Err(refuse(
                        "behind ? stand format=, size= and fps=, each once and with & between them, such as \
                         /dev/video0?format=mjpeg&size=1280x720&fps=30",
                    ));
                }
            }
        }
        Ok(address)
    }

    /// The device, for messages.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

#[cfg(target_os = "linux")]
fn is_node(path: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    path.metadata().is_ok_and(|facts| facts.file_type().is_char_device() && (facts.rdev() >> 8) & 0xfff == MAJOR)
}

#[cfg(not(target_os = "linux"))]
fn is_node(_path: &Path) -> bool {
    false
}

fn sides(text: &str) -> Option<Dimensions> {
    let (width, height) = text.split_once('x')?;
    let side = |text: &str| text.parse().ok().filter(|side| (1..=16_384).contains(side));
    Some(Dimensions::new(side(width)?, side(height)?))
}

fn rate(text: &str) -> Option<FrameRate> {
    let (frames, seconds) = text.split_once('/').unwrap_or((text, "1"));
    let rate = FrameRate { frames: frames.parse().ok()?, seconds: seconds.parse().ok()? };
    let is_right = rate.frames > 0 && rate.seconds > 0 && u64::from(rate.frames) <= 1000 * u64::from(rate.seconds);
    is_right.then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_what_is_wished() {
        let address = DeviceAddress::parse("/dev/video2?fps=30000/1001&size=1280x720&format=yuyv").unwrap();
        assert_eq!((address.path.as_path(), &**address.name()), (Path::new("/dev/video2"), "/dev/video2"));
        assert_eq!((address.format, address.size), (Some(DeviceFormat::Yuyv), Some(Dimensions::new(1280, 720))));
        assert_eq!(address.rate, Some(FrameRate { frames: 30_000, seconds: 1001 }));
        assert_eq!(DeviceAddress::parse("/dev/video0").unwrap().format, None);
        for bad in [
            "?",
            "?format=vp8",
            "?size=0x1",
            "?size=1280",
            "?size=99999x9",
            "?fps=0",
            "?fps=1/0",
            "?fps=9999",
            "?fps=nan",
            "?x=1",
            "?fps=1&fps=2",
            "?format=mjpeg,fps=3",
        ] {
            let error = DeviceAddress::parse(&format!("/dev/video0{bad}")).unwrap_err().to_string();
            assert!(error.contains("/dev/video0") && error.len() < 600, "{error}");
        }
        assert!(DeviceFormat::ALL.iter().all(|&format| DeviceFormat::named(format.as_str()) == Some(format)));
    }

    #[test]
    fn devices_are_told_from_files() {
        for (spec, is_one) in [
            ("/dev/video0", true),
            ("/dev/video12?format=h264", true),
            ("/dev/v4l/by-id/usb-Desk_Camera-video-index0", true),
            ("/dev/shm/video0", false),
            ("/dev/videos.mp4", false),
            ("/dev/null", false),
            ("video0", false),
        ] {
            assert_eq!(DeviceAddress::is_one(spec), is_one, "{spec}");
        }
    }
}
