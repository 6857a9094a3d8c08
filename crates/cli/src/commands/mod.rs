//! One file per command: arguments → library configuration → run → words and numbers.

pub(crate) mod broker;
pub(crate) mod publish;
pub(crate) mod subscribe;
pub(crate) mod topics;
