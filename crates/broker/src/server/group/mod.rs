//! Consumer groups: the state machine, the tasks that wait on it, committed offsets, and what is kept of
//! all that in `__consumer_offsets`.

mod coordinator;
mod member;
mod members;
mod offsets;
mod pending;
mod records;
mod state;
mod subscription;

pub(crate) use coordinator::Coordinator;
pub(crate) use member::{Admission, Caller, GroupView, Join, JoinRefused, Joined, ReturnOfLeader};
pub(crate) use offsets::{CommitError, Loaded as KeptGroups, OFFSETS_TOPIC, OffsetStore};
pub(crate) use records::{Committed, MAX_NAME_BYTES, StoredGroup, StoredMember, TopicPartition, encode_batch};
pub(crate) use state::{Commit, EMPTY, Sync};
