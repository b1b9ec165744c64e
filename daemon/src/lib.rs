//! The code map of keyfobd, in reading order. A module uses only modules above it.
