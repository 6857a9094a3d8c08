//! Consumer groups: the state machine, the tasks that wait on it, and committed offsets.

mod coordinator;
mod member;
mod offsets;
mod records;
mod state;

pub(crate) use coordinator::Coordinator;
pub(crate) use member::{Admission, GroupView, Join, JoinRefused, Joined};
pub(crate) use offsets::{CommitError, OFFSETS_TOPIC, OffsetStore};
pub(crate) use records::{Committed, TopicPartition};
pub(crate) use state::EMPTY;
