//! Placeholder-free until its modules land.
