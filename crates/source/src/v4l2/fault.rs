//! What the kernel refuses, in words that say what to do.

use crate::CameraFault;
use std::io;
use std::path::Path;

// Numbers of Linux that `io::ErrorKind` does not tell apart.
const EIO: i32 = 5;
const ENXIO: i32 = 6;
const ENODEV: i32 = 19;
const ENOTTY: i32 = 25;
const ENOSPC: i32 = 28;

/// Of a call that opens or sets up a device.
pub(super) fn of_device(path: &Path, error: io::Error) -> CameraFault {
    use io::ErrorKind::{NotFound, PermissionDenied, ResourceBusy};
    let shown = path.display();
    let remedy = match (error.kind(), error.raw_os_error()) {
        (NotFound, _) | (_, Some(ENXIO | ENODEV)) => {
            "plug it in, or name another one; `lumenbus cameras discover` lists those that are there".to_owned()
        }
        (PermissionDenied, _) => "let this user use it (`usermod -aG video USER`, then log in again); a container has \
             to be given the device, such as by `--device`"
            .to_owned(),
        (ResourceBusy, _) => {
            format!("another program is using it; `fuser -v {shown}` says which")
        }
        (_, Some(ENOTTY)) => "it is no device of Video4Linux".to_owned(),
        (_, Some(ENOSPC)) => {
            "its bus has no bandwidth left for this; ask for less by ?format=mjpeg, size= or fps=, or use another \
                 port"
                .to_owned()
        }
        (_, Some(EIO)) => "plug it out and in again".to_owned(),
        _ => "the kernel's log (`dmesg`) may say more".to_owned(),
    };
    CameraFault::Device { source: error, remedy }
}

/// Whether it is a moment's trouble (`EIO`), and not the end.
pub(super) fn is_passing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EIO)
}

/// Of a call while frames come: mostly somebody has pulled the plug.
pub(super) fn of_stream(path: &Path, error: io::Error) -> CameraFault {
    if matches!(error.raw_os_error(), Some(ENODEV | ENXIO)) {
        return CameraFault::Unplugged;
    }
    of_device(path, error)
}
