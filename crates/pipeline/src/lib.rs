//! Stages wired together: source, encoder, publisher; subscriber, decoder, sink

pub mod decode;
pub mod sink;
