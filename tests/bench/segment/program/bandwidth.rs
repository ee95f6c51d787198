//! What the machine's memory gives to one thread: the limit under every step that touches each pixel.

use std::hint::black_box;

use serde::Serialize;

use super::timing::timed;

/// Far more than any cache holds.
const BYTES: usize = 256 << 20;
/// The best of so many passes counts: a noisy neighbour can only slow a pass down.
const PASSES: usize = 5;

/// Bytes per second, in GB (10⁹).
#[derive(Serialize)]
pub struct Bandwidth {
    /// Read alone: every word added up.
    pub read_gb_s: f64,
    /// Copied: as many bytes read as written, both counted.
    pub copy_gb_s: f64,
}

/// Measures it, with 256 MiB and plain loops.
pub fn measure() -> Bandwidth {
    let from = vec![1_u64; BYTES / 8];
    let mut to = vec![0_u64; BYTES / 8];
    let read = best(|| {
        black_box(
            black_box(&from)
                .iter()
                .fold(0_u64, |sum, word| sum.wrapping_add(*word)),
        );
    });
    let copy = best(|| black_box(&mut to).copy_from_slice(black_box(&from)));
    Bandwidth {
        read_gb_s: BYTES as f64 / read / 1e6,
        copy_gb_s: 2.0 * BYTES as f64 / copy / 1e6,
    }
}

/// The shortest time of a pass in milliseconds.
fn best(mut pass: impl FnMut()) -> f64 {
    (0..PASSES)
        .map(|_| timed(&mut pass).1)
        .fold(f64::INFINITY, f64::min)
}
