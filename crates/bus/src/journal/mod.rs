//! Topics of one partition that are a book: what is written comes in whole entries or not at all, by one writer per name,
//! and is read from the beginning.
//!
//! A [`JournalWriter`] writes transactions. Opening one under a name fences whoever wrote under it before: what that one
//! had under way is finished or undone by then, and nothing of it comes later. So a process that goes on where a killed
//! one stopped reads the log, and knows where that was.

mod reader;
mod writer;

pub use reader::{JournalEntry, JournalReader, Turned};
pub use writer::{Appended, JournalWriter};
