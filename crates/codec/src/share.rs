//! Work on one picture shared between threads that live no longer than it.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// A picture is coded in few milliseconds: more threads than this only cost.
const MAX_THREADS: usize = 4;

/// Threads for one picture where nobody says how many.
pub(crate) fn usual_threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_THREADS)
}

/// Runs `work` here and on so many helpers, and waits for all of them.
///
/// `work` takes pieces until none is left: where the system gives no thread, this one does everything.
pub(crate) fn share(helpers: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            if std::thread::Builder::new().spawn_scoped(scope, &work).is_err() {
                break;
            }
        }
        work();
    });
}

/// The next piece of work.
pub(crate) fn next<T>(waiting: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once() {
        for helpers in [0, 1, 5] {
            let mut pieces = [0; 40];
            let waiting = Mutex::new(pieces.iter_mut());
            share(helpers, || {
                while let Some(piece) = next(&waiting) {
                    *piece += 1;
                }
            });
            assert_eq!(pieces, [1; 40]);
        }
    }
}
