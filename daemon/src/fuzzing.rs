//! The doorway of the fuzz targets in `tests/fuzz`, built with `--cfg fuzzing` alone.
//!
//! Each function takes bytes as they come from outside and tells in plain values what the daemon makes of them; what must
//! hold of that is for the target to say. The thing to get wrong: a door that does some of the work itself, so that what
//! is fuzzed is the door.

pub mod browser;
pub mod issuer;
pub mod resting;
pub mod settings;
pub mod surface;
