//! Encoders and decoders behind one trait and a registry
