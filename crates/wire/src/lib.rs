//! Frames, control records and the directory as bytes: the frozen wire format
