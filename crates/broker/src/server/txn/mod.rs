//! Transactions: the state machine of a transactional id, its records, and the coordinator that carries decisions out.

mod coordinator;
mod records;
mod state;

pub(crate) use coordinator::{Transactions, World};
pub(crate) use records::TRANSACTIONS_TOPIC;
pub(crate) use state::{ProducerRef, Status};
