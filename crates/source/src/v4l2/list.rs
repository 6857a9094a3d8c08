//! The devices that are there.

use crate::v4l2::LocalDevice;
use crate::v4l2::choice::offer;
use lumenbus_v4l2::Device;
use std::path::Path;

/// More are not listed.
const MAX_DEVICES: usize = 64;

pub(super) fn all() -> Vec<LocalDevice> {
    let names = std::fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let number = |name: std::ffi::OsString| name.to_str()?.strip_prefix("video")?.parse::<u32>().ok();
    let mut numbers: Vec<_> = names.filter_map(number).collect();
    numbers.sort_unstable();
    numbers.iter().filter_map(|number| device(&format!("/dev/video{number}"))).take(MAX_DEVICES).collect()
}

/// `None` for nodes that give no frames: cameras have some for metadata, too.
fn device(path: &str) -> Option<LocalDevice> {
    let failed = |error: std::io::Error| LocalDevice {
        path: path.to_owned(),
        card: String::new(),
        driver: String::new(),
        formats: Err(super::fault::of_device(Path::new(path), error).to_string()),
    };
    let device = match Device::open(Path::new(path)) {
        Ok(device) => device,
        Err(error) => return Some(failed(error)),
    };
    let capability = device.capability().ok()?;
    if !capability.is_capture() {
        return None;
    }
    let formats = offer(&device, None).map(|offer| offer.lines).map_err(|error| error.to_string());
    Some(LocalDevice { path: path.to_owned(), card: capability.card, driver: capability.driver, formats })
}
