//! The builtin segmenter: an image file in, outlines and measurements out. No model, no network, one thread per image.
//!
//! In reading order, each step a file:
//!
//! | step | file | what it does |
//! |---|---|---|
//! | header | `inspect` | format, size, pages and pixel size from the header alone, under [`Limits`] |
//! | decode | `decode/` | one page as a [`Raster`], sniffed by content, refused before it can hurt |
//! | normalise | `normalise`, `background`, `surface` | evens out the light, removes pixel noise |
//! | threshold | `threshold` | Otsu, triangle, the noise level |
//! | label | `label` | connected components, holes filled, specks dropped |
//! | candidates | `candidates`, `frame`, `shape` | both polarities, scored; which objects, or why none |
//! | split | `split` | parts objects that touch |
//! | contour | `contour` | the outline on pixel corners, whose area is the mask's exactly |
//! | outlines | `outlines` | the same for the label masks of other segmenters |
//! | measure | `measure` | numbers per object |
//! | export | `export/` | one file per format |
//!
//! `scene` draws synthetic images with their exact truth, for tests and for trying the program out.
//!
//! Coordinates: x to the right, y down, in pixels, on pixel *corners*: the top left pixel is the square from
//! (0, 0) to (1, 1) and its centre is (0.5, 0.5).

mod background;
mod candidates;
mod contour;
mod decode;
mod error;
pub mod export;
mod frame;
mod inspect;
mod label;
mod mask;
mod measure;
mod normalise;
mod outlines;
mod parameters;
mod polygon;
mod raster;
pub mod scene;
mod segmentation;
mod shape;
mod split;
mod surface;
mod threshold;

pub use decode::decode;
pub use error::SegmentError;
pub use inspect::{Format, Inspection, Limits, inspect};
pub use outlines::{Outline, outlines};
pub use parameters::{Parameters, Polarity};
pub use polygon::{Point, Polygon, Ring};
pub use raster::{Raster, Samples};
pub use segmentation::{
    BoundingBox, Measurements, Micrometres, Object, Part, PixelSize, PixelSizeSource, Segmentation,
};

use std::ops::ControlFlow;

use candidates::Candidate;
use mask::Mask;

/// The name under which this segmenter is recorded on its results.
pub const SEGMENTER: &str = "builtin";

/// What a progress callback answers with [`ControlFlow::Break`] to stop the segmentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

/// Told the share of the work that is done, in percent, between steps; it may stop the work there.
pub type Progress<'a> = dyn FnMut(u8) -> ControlFlow<Cancelled> + 'a;

/// Memory that decoding and segmenting a page takes at most, in bytes, for admission to the compute pool: the decoder's
/// own buffer, the plane, its flattened copy, and a few masks as large as the image.
pub const fn bytes_needed(width: u64, height: u64, bits_per_sample: u64) -> u64 {
    const SAMPLES_PER_PIXEL_MAX: u64 = 4;
    const MASKS: u64 = 5;
    let sample = if bits_per_sample > 8 {
        bits_per_sample.div_ceil(8)
    } else {
        1
    };
    let per_pixel = SAMPLES_PER_PIXEL_MAX * sample + sample + 4 + MASKS;
    width.saturating_mul(height).saturating_mul(per_pixel)
}

/// Finds the objects of an image and measures them. Nothing found is a result without objects and with a note that says
/// why. Progress is reported between steps, from 0 to 100.
///
/// # Errors
/// [`SegmentError::Parameter`] before any work, [`SegmentError::Cancelled`] where the callback says so.
pub fn segment(
    image: &Raster,
    parameters: &Parameters,
    progress: &mut Progress<'_>,
) -> Result<Segmentation, SegmentError> {
    parameters.validate()?;
    match run(image, parameters, progress) {
        ControlFlow::Continue(segmentation) => Ok(segmentation),
        ControlFlow::Break(Cancelled) => Err(SegmentError::Cancelled),
    }
}

fn run(
    image: &Raster,
    parameters: &Parameters,
    progress: &mut Progress<'_>,
) -> ControlFlow<Cancelled, Segmentation> {
    progress(0)?;
    let flat = normalise::flatten(image, parameters.smoothing_px);
    progress(40)?;
    let found = candidates::find(&flat, image, parameters, progress)?;
    drop(flat);
    let (candidates, note) = match found {
        Ok(candidates) => (candidates, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let objects = outline_and_measure(&candidates, image);
    progress(100)?;
    ControlFlow::Continue(Segmentation {
        width: image.width(),
        height: image.height(),
        pixel_size: image.pixel_size,
        segmenter: SEGMENTER.to_owned(),
        objects,
        note,
    })
}

/// Numbers the objects: each whole one, then its cores.
fn outline_and_measure(candidates: &[Candidate], image: &Raster) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for candidate in candidates {
        let whole = objects.len() as u32 + 1;
        objects.extend(object(&candidate.whole, whole, None, image));
        for core in &candidate.cores {
            let number = objects.len() as u32 + 1;
            objects.extend(object(core, number, Some(whole), image));
        }
    }
    objects
}

fn object(mask: &Mask, number: u32, core_of: Option<u32>, image: &Raster) -> Option<Object> {
    let polygon = contour::outline(mask)?;
    let measurements = measure::measure(mask, &polygon, image);
    let part = if core_of.is_some() {
        Part::Core
    } else {
        Part::Whole
    };
    Some(Object {
        number,
        part,
        core_of,
        polygon,
        measurements,
    })
}

#[cfg(test)]
mod tests;
