//! The harness of the user stories.
