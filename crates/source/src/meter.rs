//! How far a source is.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much of a file, or of a folder's pictures, was read: goes into [`SourceOptions::meter`](crate::SourceOptions).
///
/// ```
/// use lumenbus_source::{ReadMeter, SourceOptions, open};
///
/// let meter = ReadMeter::default();
/// let options = SourceOptions { meter: Some(meter.clone()), ..SourceOptions::default() };
/// let _source = open("test:320x240@10,frames=2", &options)?;
/// assert_eq!(meter.share(), None, "a test pattern has no bytes");
/// # Ok::<(), lumenbus_source::SourceError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ReadMeter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    read: AtomicU64,
    whole: AtomicU64,
}

impl ReadMeter {
    /// 0 to 1; `None` where nobody knows how much there is.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn share(&self) -> Option<f64> {
        let whole = self.0.whole.load(Ordering::Relaxed);
        let read = self.0.read.load(Ordering::Relaxed).min(whole);
        (whole > 0).then(|| read as f64 / whole as f64)
    }

    pub(crate) fn begin(&self, whole: u64) {
        self.0.read.store(0, Ordering::Relaxed);
        self.0.whole.store(whole, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, read: u64) {
        self.0.read.fetch_add(read, Ordering::Relaxed);
    }
}

/// A file whose bytes are counted when they are read; where they lie does not matter, as each is read once.
pub(crate) struct Metered<R> {
    reader: R,
    meter: ReadMeter,
}

impl<R> Metered<R> {
    pub(crate) fn new(reader: R, meter: ReadMeter) -> Self {
        Self { reader, meter }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.meter.add(count as u64);
        Ok(count)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}
