//! The builtin segmenter: an image file in, outlines and measurements out. No model, no network, one thread per image.
//!
//! In reading order, each step a file:
//!
//! | step | file | what it does |
//! |---|---|---|
//! | header | `inspect` | format, size, pages and pixel size from the header alone, under [`Limits`] |
//! | decode | `decode/` | one page as a [`Raster`], sniffed by content, refused before it can hurt |
//! | normalise | `normalise` | evens out the light, removes pixel noise |
//! | threshold | `threshold` | Otsu, triangle, the noise level |
//! | label | `label` | connected components, holes filled, specks dropped |
//! | candidates | `candidates` | both polarities, scored; which objects, or why none |
//! | split | `split` | parts objects that touch |
//! | contour | `contour` | the outline on pixel corners, whose area is the mask's exactly |
//! | measure | `measure` | numbers per object |
//! | export | `export/` | one file per format |
//!
//! `scene` draws synthetic images with their exact truth, for tests and for trying the program out.
//!
//! Coordinates: x to the right, y down, in pixels, on pixel *corners*: the top left pixel is the square from
//! (0, 0) to (1, 1) and its centre is (0.5, 0.5).

mod contour;
mod decode;
mod error;
mod inspect;
mod label;
mod mask;
mod measure;
mod normalise;
mod parameters;
mod polygon;
mod raster;
mod segmentation;
mod threshold;

pub use decode::decode;
pub use error::SegmentError;
pub use inspect::{Format, Inspection, Limits, inspect};
pub use parameters::{Parameters, Polarity};
pub use polygon::{Point, Polygon, Ring};
pub use raster::{Raster, Samples};
pub use segmentation::{
    BoundingBox, Measurements, Micrometres, Object, Part, PixelSize, PixelSizeSource, Segmentation,
};

use std::ops::ControlFlow;

/// The name under which this segmenter is recorded on its results.
pub const SEGMENTER: &str = "builtin";

/// What a progress callback answers with [`ControlFlow::Break`] to stop the segmentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

/// Told the share of the work that is done, in percent, between steps; it may stop the work there.
pub type Progress<'a> = dyn FnMut(u8) -> ControlFlow<Cancelled> + 'a;
