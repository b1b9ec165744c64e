//! Rules about the source tree.
