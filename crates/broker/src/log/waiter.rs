use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// One waiting fetch: register it with every partition it wants, then look, then wait.
///
/// A wake-up between looking and waiting is kept (the [`Notify`] stores it), so none is lost.
/// An append wakes it only when the bytes appended since [`Waiter::rearm`] reach the wanted number.
#[derive(Debug)]
pub struct Waiter {
    missing_bytes: AtomicI64,
    notify: Notify,
}

impl Waiter {
    /// A waiter that wakes once `min_bytes` (at least 1) were appended to its partitions together.
    #[must_use]
    pub fn new(min_bytes: u64) -> Arc<Self> {
        Arc::new(Self { missing_bytes: AtomicI64::new(clamp(min_bytes)), notify: Notify::new() })
    }

    /// Asks for a further `missing_bytes` before the next wake-up.
    ///
    /// Call it before looking at the partitions; what is appended in between counts, at worst as an early wake-up.
    pub fn rearm(&self, missing_bytes: u64) {
        self.missing_bytes.store(clamp(missing_bytes), Ordering::SeqCst);
    }

    /// Completes after enough was appended, or a partition was deleted or moved its start. Cancel-safe.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Wakes the waiting task at once, whatever is missing (for shutdown and group changes).
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    fn appended(&self, bytes: i64) {
        if self.missing_bytes.fetch_sub(bytes, Ordering::SeqCst) <= bytes {
            self.notify.notify_one();
        }
    }
}

fn clamp(bytes: u64) -> i64 {
    i64::try_from(bytes.max(1)).unwrap_or(i64::MAX)
}

/// The waiters of one partition; its own small lock, so that others' appends never meet it.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    next_key: AtomicU64,
    entries: Mutex<HashMap<u64, Arc<Waiter>>>,
}

impl Waiters {
    pub(crate) fn register(self: &Arc<Self>, waiter: &Arc<Waiter>) -> Watch {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(key, Arc::clone(waiter));
        Watch { waiters: Arc::clone(self), key }
    }

    pub(crate) fn appended(&self, bytes: u64) {
        let bytes = clamp(bytes);
        for waiter in self.lock().values() {
            waiter.appended(bytes);
        }
    }

    pub(crate) fn wake_all(&self) {
        for waiter in self.lock().values() {
            waiter.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Waiter>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiter's registration with one partition; dropping it deregisters.
#[derive(Debug)]
#[must_use = "dropping the registration ends it"]
pub struct Watch {
    waiters: Arc<Waiters>,
    key: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.waiters.lock().remove(&self.key);
    }
}
