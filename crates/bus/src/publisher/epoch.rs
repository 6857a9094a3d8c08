//! Epochs of publisher sessions.

use crate::publisher::core::Now;
use lumenbus_frame::Epoch;

/// The epoch of a session that begins now.
pub(crate) fn next_epoch(last: Option<Epoch>, now: Now) -> Epoch {
    let millis = u64::try_from(now.unix_nanos / 1_000_000).unwrap_or(0);
    Epoch::next(last, millis, rand::random())
}
