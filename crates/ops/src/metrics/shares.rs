//! Values that one writer each counts into, without locks and without locked instructions; a scrape adds them up.
//!
//! A frame of 100 bytes takes five microseconds from publisher to reader, a locked instruction five to twenty
//! nanoseconds, and a reader counts a dozen things of each frame.

use super::{Bounded, MAX_CAMERAS, OTHER, lock};
use lumenbus_frame::{CameraId, StreamId};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Streams that a reader remembers; beyond them it begins to learn anew.
const MAX_STREAMS: usize = 4_096;

/// A count that anybody reads and one thread at a time writes. Two that write at once would lose counts, so it is added to
/// only by the owner of a [`Shares`]' share, or with a lock held.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// From any number of threads; not together with [`add`](Self::add).
    pub(crate) fn add_shared(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The shares of a value: as many as there were writers at once.
#[derive(Debug)]
pub(crate) struct Shares<T>(Vec<Arc<T>>);

impl<T> Default for Shares<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Shares<T> {
    /// One that nobody else writes: of a writer that is gone, with what it counted, or a new one.
    pub(crate) fn take(&mut self, new: impl FnOnce() -> T) -> Arc<T> {
        // A share in use is also with its writer; `get_mut` sees all of what the last one wrote.
        let free = self.0.iter_mut().position(|share| Arc::get_mut(share).is_some());
        let at = free.unwrap_or_else(|| {
            self.0.push(Arc::new(new()));
            self.0.len() - 1
        });
        Arc::clone(&self.0[at])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|share| &**share)
    }
}

/// The same value of each camera, in shares.
pub(crate) type CameraShares<T> = Bounded<Shares<T>>;

/// A reader's shares by stream. Frames of a stream point to the same [`StreamId`], which is found faster than its name.
#[derive(Debug)]
pub(crate) struct ByStream<T> {
    known: Vec<Known<T>>,
    /// Address of a stream → its place in `known`.
    places: HashMap<usize, usize, BuildHasherDefault<AddressHasher>>,
    /// Frames of a stream often come one after the other.
    last: (usize, usize),
    /// For all cameras beyond the limit.
    other: Option<Arc<T>>,
}

/// The pointer keeps the address from being used for another stream.
#[derive(Debug)]
struct Known<T> {
    _stream: Arc<StreamId>,
    share: Arc<T>,
}

impl<T> Default for ByStream<T> {
    fn default() -> Self {
        // Nothing is at address 0.
        Self { known: Vec::new(), places: HashMap::default(), last: (0, 0), other: None }
    }
}

impl<T> ByStream<T> {
    /// This reader's share of a stream's camera; always of the same cameras.
    pub(crate) fn of(&mut self, stream: &Arc<StreamId>, cameras: &Mutex<CameraShares<T>>, new: fn() -> T) -> &T {
        let address = Arc::as_ptr(stream).addr();
        if self.last.0 != address {
            let place = self.places.get(&address).copied();
            self.last = (address, place.unwrap_or_else(|| self.learn(stream, cameras, new)));
        }
        &self.known[self.last.1].share
    }

    #[cold]
    fn learn(&mut self, stream: &Arc<StreamId>, cameras: &Mutex<CameraShares<T>>, new: fn() -> T) -> usize {
        if self.known.len() >= MAX_STREAMS {
            self.known.clear();
            self.places.clear();
        }
        let share = share(&mut self.other, &stream.camera, cameras, new);
        self.places.insert(Arc::as_ptr(stream).addr(), self.known.len());
        self.known.push(Known { _stream: Arc::clone(stream), share });
        self.known.len() - 1
    }
}

fn share<T>(other: &mut Option<Arc<T>>, camera: &CameraId, cameras: &Mutex<CameraShares<T>>, new: fn() -> T) -> Arc<T> {
    let mut cameras = lock(cameras);
    if !cameras.is_beyond(camera.as_str(), MAX_CAMERAS) {
        return cameras.of(camera.as_str(), MAX_CAMERAS).take(new);
    }
    let other = other.get_or_insert_with(|| cameras.of(OTHER, MAX_CAMERAS).take(new));
    Arc::clone(other)
}

/// Addresses are different in their middle bits; a map wants the differences at both ends.
#[derive(Debug, Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::TopicName;

    #[test]
    fn a_share_has_one_writer_and_outlives_it() {
        let mut shares = Shares::<Tally>::default();
        let (first, second) = (shares.take(Tally::default), shares.take(Tally::default));
        assert!(!Arc::ptr_eq(&first, &second));
        first.add(3);
        second.add(4);
        drop(first);
        let heir = shares.take(Tally::default);
        heir.add(1);
        assert_eq!(shares.iter().map(Tally::get).collect::<Vec<_>>(), [4, 4]);
    }

    #[test]
    fn writers_that_come_and_go_lose_nothing_while_others_read() {
        let shares = std::sync::Mutex::new(Shares::<Tally>::default());
        let sum = || shares.lock().unwrap().iter().map(Tally::get).sum::<u64>();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let share = shares.lock().unwrap().take(Tally::default);
                        (0..50).for_each(|_| share.add(1));
                    }
                });
            }
            let mut last = 0;
            for _ in 0..100 {
                let now = sum();
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
        });
        assert_eq!(sum(), 4 * 200 * 50);
        assert!(shares.lock().unwrap().0.len() <= 4);
    }

    #[test]
    fn streams_are_known_by_their_pointer_and_bounded() {
        let stream = |number: usize| {
            let topic = TopicName::new("raw_video").unwrap();
            Arc::new(StreamId::main(format!("camera-{number}").parse().unwrap(), topic))
        };
        let (cameras, mut reader) = (Mutex::default(), ByStream::default());
        let streams: Vec<_> = (0..MAX_STREAMS + 10).map(stream).collect();
        for _ in 0..2 {
            for stream in &streams {
                for _ in 0..2 {
                    reader.of(stream, &cameras, Tally::default).add(1);
                }
            }
        }
        assert!(reader.known.len() <= MAX_STREAMS);
        let cameras = cameras.into_inner().unwrap();
        let rows = cameras.rows();
        let counts: Vec<u64> = rows.iter().map(|row| row.1.iter().map(Tally::get).sum()).collect();
        assert_eq!((rows.len(), counts[0]), (MAX_CAMERAS + 1, 4));
        assert_eq!(counts.iter().sum::<u64>(), 4 * streams.len() as u64);
        assert!(rows.iter().all(|row| row.1.0.len() == 1), "one writer, one share");
    }
}
