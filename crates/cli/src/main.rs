//! The `lumenbus` command.
fn main() {}
