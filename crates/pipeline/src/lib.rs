//! Stages wired together: source, encoder, publisher; subscriber, decoder, sink
