//! The calls themselves: `ioctl`, `mmap`, `munmap`, `poll`, `clock_gettime`.
//!
//! Why they are sound, beyond what each says for itself. An `ioctl` of Video4Linux reads and writes one structure whose
//! size is part of its number; [`Request`] ties number and structure together, and the structures hold integers only, so
//! whatever a driver writes there is a valid value. A driver may be hostile (a virtual device, a broken one): what it
//! says of lengths and indices is never used for memory unless it lies within the mapping that the kernel made.

#![expect(unsafe_code, reason = "the standard library has none of these calls")]

use std::ffi::{c_int, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd as _;
use std::ptr::NonNull;
use std::time::Duration;

/// A structure of `videodev2.h`.
///
/// # Safety
/// `repr(C)`, as the header has it; any bytes, zeros too, are a valid value.
pub(crate) unsafe trait Plain: Sized {
    fn zeroed() -> Self {
        // SAFETY: promised by who implements it.
        unsafe { std::mem::zeroed() }
    }
}

/// What the kernel is asked, by the number that `_IOWR('V', …)` and its like make of it.
pub(crate) struct Request<T> {
    number: u32,
    structure: PhantomData<T>,
}

impl<T: Plain> Request<T> {
    const WRITE: u32 = 1;
    const READ: u32 = 2;

    const fn new(direction: u32, number: u32) -> Self {
        let size = size_of::<T>();
        assert!(size < 1 << 14, "the size of a structure has 14 bits");
        #[expect(clippy::cast_possible_truncation, reason = "just checked")]
        let size = size as u32;
        Self { number: direction << 30 | size << 16 | (b'V' as u32) << 8 | number, structure: PhantomData }
    }
}

pub(crate) const QUERY_CAPABILITY: Request<Capability> = Request::new(Request::<Capability>::READ, 0);
pub(crate) const ENUM_FORMAT: Request<FormatDescription> = Request::new(3, 2);
pub(crate) const GET_FORMAT: Request<Format> = Request::new(3, 4);
pub(crate) const SET_FORMAT: Request<Format> = Request::new(3, 5);
pub(crate) const REQUEST_BUFFERS: Request<BufferRequest> = Request::new(3, 8);
pub(crate) const QUERY_BUFFER: Request<Buffer> = Request::new(3, 9);
pub(crate) const QUEUE: Request<Buffer> = Request::new(3, 15);
pub(crate) const DEQUEUE: Request<Buffer> = Request::new(3, 17);
pub(crate) const STREAM_ON: Request<Kind> = Request::new(Request::<Kind>::WRITE, 18);
pub(crate) const STREAM_OFF: Request<Kind> = Request::new(Request::<Kind>::WRITE, 19);
pub(crate) const GET_PARAMETERS: Request<Parameters> = Request::new(3, 21);
pub(crate) const SET_PARAMETERS: Request<Parameters> = Request::new(3, 22);
pub(crate) const ENUM_SIZES: Request<SizeEntry> = Request::new(3, 74);
pub(crate) const ENUM_INTERVALS: Request<IntervalEntry> = Request::new(3, 75);

#[repr(C)]
pub(crate) struct Capability {
    pub(crate) driver: [u8; 16],
    pub(crate) card: [u8; 32],
    pub(crate) bus: [u8; 32],
    pub(crate) version: u32,
    pub(crate) capabilities: u32,
    pub(crate) device_capabilities: u32,
    reserved: [u32; 3],
}

#[repr(C)]
pub(crate) struct FormatDescription {
    pub(crate) index: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) description: [u8; 32],
    pub(crate) format: u32,
    bus_code: u32,
    reserved: [u32; 3],
}

#[repr(C)]
pub(crate) struct Format {
    pub(crate) kind: u32,
    pub(crate) of: FormatUnion,
}

/// Its pointers (of overlays) give it their alignment.
#[repr(C)]
pub(crate) struct FormatUnion {
    align: [usize; 0],
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) format: u32,
    pub(crate) field: u32,
    pub(crate) bytes_per_line: u32,
    pub(crate) image_bytes: u32,
    rest: [u32; 44],
}

#[repr(C)]
pub(crate) struct BufferRequest {
    pub(crate) count: u32,
    pub(crate) kind: u32,
    pub(crate) memory: u32,
    capabilities: u32,
    reserved: u32,
}

#[repr(C)]
pub(crate) struct Buffer {
    pub(crate) index: u32,
    pub(crate) kind: u32,
    pub(crate) bytes_used: u32,
    pub(crate) flags: u32,
    pub(crate) field: u32,
    pub(crate) timestamp: libc::timeval,
    time_code: [u32; 4],
    pub(crate) sequence: u32,
    pub(crate) memory: u32,
    /// A union: of a mapped buffer the offset, in its first four bytes.
    pub(crate) place: Place,
    pub(crate) length: u32,
    reserved: [u32; 2],
}

#[repr(C)]
pub(crate) struct Place {
    align: [c_ulong; 0],
    pub(crate) offset: u32,
    #[cfg(target_pointer_width = "64")]
    rest: u32,
}

#[repr(C)]
pub(crate) struct Kind(pub(crate) c_int);

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Fraction {
    pub(crate) numerator: u32,
    pub(crate) denominator: u32,
}

#[repr(C)]
pub(crate) struct Parameters {
    pub(crate) kind: u32,
    pub(crate) capability: u32,
    mode: u32,
    pub(crate) interval: Fraction,
    rest: [u32; 46],
}

#[repr(C)]
pub(crate) struct SizeEntry {
    pub(crate) index: u32,
    pub(crate) format: u32,
    pub(crate) kind: u32,
    /// Width and height, or least, greatest and step of each.
    pub(crate) of: [u32; 6],
    reserved: [u32; 2],
}

#[repr(C)]
pub(crate) struct IntervalEntry {
    pub(crate) index: u32,
    pub(crate) format: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) kind: u32,
    /// The interval, or the shortest, the longest and the step.
    pub(crate) of: [Fraction; 3],
    reserved: [u32; 2],
}

// SAFETY: integers in `repr(C)`.
unsafe impl Plain for Capability {}
// SAFETY: as above.
unsafe impl Plain for FormatDescription {}
// SAFETY: as above.
unsafe impl Plain for Format {}
// SAFETY: as above.
unsafe impl Plain for BufferRequest {}
// SAFETY: as above; `timeval` has two integers.
unsafe impl Plain for Buffer {}
// SAFETY: as above.
unsafe impl Plain for Kind {}
// SAFETY: as above.
unsafe impl Plain for Parameters {}
// SAFETY: as above.
unsafe impl Plain for SizeEntry {}
// SAFETY: as above.
unsafe impl Plain for IntervalEntry {}

/// Asks the driver; a signal that comes meanwhile does not count.
pub(crate) fn ask<T: Plain>(device: &File, request: &Request<T>, structure: &mut T) -> io::Result<()> {
    loop {
        // SAFETY: the number demands a structure of this size, which lives and is not used elsewhere meanwhile. No
        // request of this module takes a pointer inside the structure.
        let code = unsafe { libc::ioctl(device.as_raw_fd(), request.number as _, std::ptr::from_mut(structure)) };
        if code != -1 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Waits until there is something to take, or the device says that there never will be; false when nothing came.
pub(crate) fn wait(device: &File, wait: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: device.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: one entry, which lives during the call.
    let code = unsafe { libc::poll(&raw mut entry, 1, millis) };
    match code {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
        count => Ok(count > 0),
    }
}

/// By the clock that drivers stamp with.
pub(crate) fn monotonic_nanos() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes one structure, which lives during the call.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    if code == 0 { nanos(now.tv_sec, now.tv_nsec) } else { 0 }
}

/// Of fields that have 32 or 64 bits, by machine.
pub(crate) fn nanos(seconds: impl Into<i64>, nanos: impl Into<i64>) -> i64 {
    seconds.into().saturating_mul(1_000_000_000).saturating_add(nanos.into())
}

/// A buffer of the driver in this process.
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; nothing but this refers to it.
unsafe impl Send for Mapping {}

impl Mapping {
    pub(crate) fn new(device: &File, offset: u32, length: usize) -> io::Result<Self> {
        let offset = libc::off64_t::from(offset);
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: the kernel chooses a free place, so no memory of this program is replaced.
        let start =
            unsafe { libc::mmap64(std::ptr::null_mut(), length, protection, flags, device.as_raw_fd(), offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(start).map(|start| Self { start, length }).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The first bytes, as many as there are.
    ///
    /// They are copied without a reference to them: the memory is shared, and a driver that writes where it must not
    /// costs the picture, not the rules of references.
    pub(crate) fn copy(&self, bytes: usize) -> Vec<u8> {
        let bytes = bytes.min(self.length);
        let mut copy = Vec::with_capacity(bytes);
        let (from, to) = (self.start.cast::<u8>().as_ptr(), copy.as_mut_ptr());
        // SAFETY: the mapping has `bytes` readable bytes as long as `self` lives, the new memory has room for them, and
        // the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
        // SAFETY: so many bytes have just been written.
        unsafe { copy.set_len(bytes) };
        copy
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this place and length, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers in `videodev2.h` for 64 bits, as its preprocessor makes them.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn requests_have_the_numbers_of_the_header() {
        assert_eq!(QUERY_CAPABILITY.number, 0x8068_5600);
        assert_eq!(ENUM_FORMAT.number, 0xc040_5602);
        assert_eq!((GET_FORMAT.number, SET_FORMAT.number), (0xc0d0_5604, 0xc0d0_5605));
        assert_eq!(REQUEST_BUFFERS.number, 0xc014_5608);
        assert_eq!(QUERY_BUFFER.number, 0xc058_5609);
        assert_eq!((QUEUE.number, DEQUEUE.number), (0xc058_560f, 0xc058_5611));
        assert_eq!((STREAM_ON.number, STREAM_OFF.number), (0x4004_5612, 0x4004_5613));
        assert_eq!((GET_PARAMETERS.number, SET_PARAMETERS.number), (0xc0cc_5615, 0xc0cc_5616));
        assert_eq!(ENUM_SIZES.number, 0xc02c_564a);
        assert_eq!(ENUM_INTERVALS.number, 0xc034_564b);
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn fields_are_where_the_header_has_them() {
        use std::mem::offset_of;
        assert_eq!(offset_of!(Format, of), 8);
        assert_eq!(offset_of!(Buffer, timestamp), 24);
        assert_eq!((offset_of!(Buffer, sequence), offset_of!(Buffer, memory)), (56, 60));
        assert_eq!((offset_of!(Buffer, place), offset_of!(Buffer, length)), (64, 72));
        assert_eq!(offset_of!(Parameters, interval), 12);
    }

    #[test]
    fn a_mapping_gives_what_it_has_and_no_more() {
        let mut file = tempfile();
        std::io::Write::write_all(&mut file, &[7; 4096]).unwrap();
        let mapping = Mapping::new(&file, 0, 4096).unwrap();
        assert_eq!((mapping.copy(3), mapping.copy(usize::MAX).len()), (vec![7; 3], 4096));
        assert!(Mapping::new(&file, 1, 4096).is_err(), "offsets are whole pages");
        assert!(Mapping::new(&file, 0, 0).is_err());
    }

    fn tempfile() -> File {
        let path = std::env::temp_dir().join(format!("lumenbus-v4l2-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }
}
