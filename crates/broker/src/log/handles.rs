//! Open files of closed segments: a bounded cache, so that a day of segments does not hold a day of descriptors.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::index::IndexFile;

/// The open files of one closed segment.
#[derive(Debug)]
pub(crate) struct Handles {
    pub(crate) log: Arc<File>,
    pub(crate) offsets: IndexFile,
    pub(crate) times: IndexFile,
}

/// Least recently used goes first. Readers keep what they hold beyond the eviction.
#[derive(Debug)]
pub(crate) struct HandleCache {
    capacity: usize,
    clock: AtomicU64,
    entries: Mutex<HashMap<u64, (u64, Arc<Handles>)>>,
}

impl HandleCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), clock: AtomicU64::new(0), entries: Mutex::default() }
    }

    pub(crate) fn get(&self, segment: u64) -> Option<Arc<Handles>> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.lock();
        let (used, handles) = entries.get_mut(&segment)?;
        *used = now;
        Some(Arc::clone(handles))
    }

    pub(crate) fn insert(&self, segment: u64, handles: &Arc<Handles>) {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.lock();
        entries.insert(segment, (now, Arc::clone(handles)));
        if entries.len() > self.capacity
            && let Some(oldest) = entries.iter().min_by_key(|(_, (used, _))| *used).map(|(segment, _)| *segment)
        {
            entries.remove(&oldest);
        }
    }

    pub(crate) fn remove(&self, segment: u64) {
        self.lock().remove(&segment);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (u64, Arc<Handles>)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
