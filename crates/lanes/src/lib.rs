//! Byte-bounded frame queues that drop whole GOPs and say so
