//! Writes headers bit by bit, for tests of what reads them.

pub(super) use super::bits::BitWriter;
