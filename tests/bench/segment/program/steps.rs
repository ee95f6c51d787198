//! The parts into which the time of a segmentation is split, from one report of progress to the next, and the bytes that
//! a part cannot avoid to move.

use crate::segment::{Raster, Step};

/// Bytes of a value of the flattened image.
const FLAT_BYTES: u64 = 4;

/// The part that ends when this percentage is told.
pub fn name(percent: u8) -> String {
    Step::ended_at(percent).map_or_else(|| format!("to {percent} %"), |step| step.name().to_owned())
}

/// What a part must read from memory and write there, were all else in the caches; none where it touches the objects
/// alone, or is not known.
pub fn bytes(name: &str, image: &Raster) -> Option<u64> {
    let plane = image.pixels() * bytes_per_sample(image);
    let flat = image.pixels() * FLAT_BYTES;
    match name {
        "blocks" => Some(plane),
        "flatten" => Some(plane + flat),
        "levels" | "bright objects" | "dark objects" => Some(flat),
        _ => None,
    }
}

/// Bytes of a value of the image.
pub fn bytes_per_sample(image: &Raster) -> u64 {
    match image.samples() {
        crate::segment::Samples::U8(_) => 1,
        crate::segment::Samples::U16(_) => 2,
        crate::segment::Samples::F32(_) => 4,
    }
}
