//! Arguments, environment, wiring, exit code.

fn main() {}
