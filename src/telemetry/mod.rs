//! What a process tells about itself: log lines and the recorder behind `/metrics`.
//!
//! Leaves out which metrics there are (`kit::metrics`) and who serves them (`ops`).

mod line;
pub mod logs;
pub mod metrics;
