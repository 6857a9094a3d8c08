//! Consumer groups: the state machine, the tasks that wait on it, committed offsets, and what is kept of
//! all that in `__consumer_offsets`.

mod coordinator;
mod member;
mod members;
mod offsets;
mod records;
mod state;
mod subscription;

pub(crate) use coordinator::Coordinator;
pub(crate) use member::{Admission, Caller, GroupView, Join, JoinRefused, Joined, ReturnOfLeader};
pub(crate) use offsets::{CommitError, OFFSETS_TOPIC, OffsetStore};
pub(crate) use records::{Committed, MAX_NAME_BYTES, TopicPartition};
pub(crate) use state::{EMPTY, Sync};
