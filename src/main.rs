//! The barista program.
fn main() {}
