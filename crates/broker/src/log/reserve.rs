//! Room kept for what must be written on a full disk: the start's own notes, and whatever makes room again.
//!
//! Without it a full disk would refuse the start, and then neither retention nor a deletion could ever free it.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::data_dir::DiskSpace;
use super::disk::{self, Disk};
use super::error::LogError;

const FILE_NAME: &str = ".reserve";
/// Enough for the indexes, snapshots and checkpoints that a start after a crash writes.
pub(super) const RESERVE_BYTES: usize = 1 << 20;
/// The last bytes of a disk are the records'.
const REFILL_ABOVE_BYTES: u64 = 4 * RESERVE_BYTES as u64;

/// A file of no use but its size.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All of it is there.
    Held,
    /// The rest of it is to be written when there is room.
    Spent,
    /// As [`State::Spent`], and that it could not be written was said.
    Refused,
}

impl Reserve {
    /// That of a data directory, as the last start left it.
    pub(super) fn of(data_dir: &Path) -> Self {
        let path = data_dir.join(FILE_NAME);
        let is_whole = fs::metadata(&path).is_ok_and(|metadata| metadata.len() == RESERVE_BYTES as u64);
        Self { path, state: Mutex::new(if is_whole { State::Held } else { State::Spent }) }
    }

    /// Does `work`; where the disk is too full for it, again with the room of the reserve.
    pub(super) fn lend<T>(
        &self,
        disk: &dyn Disk,
        mut work: impl FnMut() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        match work() {
            Err(full) if full.is_disk_full() && self.spend(disk) => {
                tracing::warn!(%full, "the reserve in the data directory is used for it");
                let done = work();
                // Most needs are small, and records must not get what is over.
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                *state = self.write(disk).map_or(State::Spent, |()| State::Held);
                done
            }
            done => done,
        }
    }

    /// Whether there was something to give up.
    fn spend(&self, disk: &dyn Disk) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_there = self.path.exists() && disk.remove(&self.path).is_ok();
        if was_there {
            *state = State::Spent;
        }
        was_there
    }

    /// Writes it anew where it is not whole and there is room.
    pub(super) fn refill(&self, disk: &dyn Disk, space: &dyn Fn() -> Result<DiskSpace, LogError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Held || space().is_ok_and(|space| space.free_bytes < REFILL_ABOVE_BYTES) {
            return;
        }
        match self.write(disk) {
            Ok(()) => *state = State::Held,
            Err(error) => {
                // What there is of it serves as well.
                if *state != State::Refused {
                    tracing::warn!(path = %self.path.display(), %error, "no room is kept for a full disk");
                }
                *state = State::Refused;
            }
        }
    }

    /// As much of it as the disk takes.
    fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let file = disk.open(File::options().create(true).write(true).truncate(true), &self.path)?;
        disk::write_all(disk, &file, &mut [IoSlice::new(&incompressible())])
    }
}

/// Bytes that take their room also where the file system compresses (xorshift64).
fn incompressible() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(RESERVE_BYTES);
    while bytes.len() < RESERVE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
