//! The bounded compute pool.
