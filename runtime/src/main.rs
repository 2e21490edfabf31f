//! The `wharf-runtime` program.
fn main() {}
