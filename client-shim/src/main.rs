//! Arguments to a request, an answer to an exit code.

fn main() {}
