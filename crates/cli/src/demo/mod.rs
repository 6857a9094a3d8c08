//! The parts of `lumenbus demo`.

pub(crate) mod books;
mod broker;
mod buttons;
mod cameras;
mod clips;
mod folder;
mod judge;
mod play;
mod reader;
mod slow;
mod stage;

pub(crate) use cameras::detection;
pub(crate) use clips::CREDITS;
pub(crate) use folder::hold;
pub(crate) use play::Demo;
