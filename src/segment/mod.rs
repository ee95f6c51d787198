//! The builtin segmenter: an image file in, outlines and measurements out. No model, no network, one thread per image.
//!
//! In reading order, each step a file:
//!
//! | step | file | what it does |
//! |---|---|---|
//! | header | `inspect` | format, size, pages and pixel size from the header alone, under [`Limits`] |
//! | decode | `decode/` | one page as a [`Raster`], sniffed by content, refused before it can hurt |
//! | normalise | `blocks`, `background`, `surface`, `grid`, `normalise`, `convolve` | evens out the light, removes pixel noise |
//! | threshold | `threshold` | Otsu, triangle, the noise level |
//! | label | `label` | connected components, holes filled, specks dropped |
//! | candidates | `candidates/`, `frame`, `shape` | both polarities, two ways to set the level, scored; which objects, or why none |
//! | texture | `texture` | bodies and gaps that brightness does not show |
//! | split | `split/` | parts objects that touch |
//! | contour | `contour`, `bits` | the outline on pixel corners, whose area is the mask's exactly |
//! | outlines | `outlines` | the same for the label masks of other segmenters |
//! | measure | `measure/`, `summary` | numbers per object, totals per image |
//! | export | `export/` | one file per format |
//!
//! `remote/` lets a service find the objects and measures them here.
//!
//! `scene` draws synthetic images with their exact truth, for tests and for trying the program out.
//!
//! Coordinates: x to the right, y down, in pixels, on pixel *corners*: the top left pixel is the square from
//! (0, 0) to (1, 1) and its centre is (0.5, 0.5).

mod background;
mod bits;
mod blocks;
mod candidates;
mod contour;
mod convolve;
mod decode;
mod error;
pub mod export;
mod frame;
mod grid;
mod inspect;
mod label;
mod mask;
mod measure;
mod normalise;
mod outlines;
mod parameters;
mod polygon;
mod raster;
pub mod remote;
pub mod scene;
mod segmentation;
mod shape;
mod split;
mod step;
mod summary;
mod surface;
mod texture;
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
    Shape, ShapeMicrometres,
};
pub use step::Step;
pub use summary::{CoreTotals, Disintegration, Summary, SummaryMicrometres};

use std::ops::ControlFlow;

use background::Background;
use blocks::Blocks;
use candidates::Candidate;
use mask::Mask;

/// The name under which this segmenter is recorded on its results.
pub const SEGMENTER: &str = "builtin";

/// What a progress callback answers with [`ControlFlow::Break`] to stop the segmentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

/// Told the share of the work that is done, in percent, between steps; it may stop the work there.
pub type Progress<'a> = dyn FnMut(u8) -> ControlFlow<Cancelled> + 'a;

/// Memory that decoding and segmenting a page takes at most, in bytes, for admission to the compute pool: what a JPEG's
/// decoder holds beside the plane, the plane, its flattened copy, and a few masks of an object as large as the image.
pub const fn bytes_needed(width: u64, height: u64, bits_per_sample: u64) -> u64 {
    const DECODER: u64 = 3;
    const FLAT: u64 = 4;
    const MASKS: u64 = 5;
    let sample = if bits_per_sample > 8 {
        bits_per_sample.div_ceil(8)
    } else {
        1
    };
    let per_pixel = DECODER + sample + FLAT + MASKS;
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
    let blocks = Blocks::of(image);
    progress(Step::Blocks.percent())?;
    let background = Background::estimate(&blocks.halved());
    progress(Step::Background.percent())?;
    let flat = normalise::flatten(image, &background, parameters.smoothing_px);
    progress(Step::Flatten.percent())?;
    let scene = candidates::Scene {
        image,
        blocks: &blocks,
        background: &background,
        flat: &flat,
        parameters,
    };
    let found = candidates::find(&scene, progress)?;
    drop(flat);
    let (candidates, note) = match found {
        Ok(candidates) => (candidates, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let outlined = outline(&candidates);
    progress(Step::Contours.percent())?;
    let objects: Vec<Object> = outlined
        .into_iter()
        .map(|outlined| outlined.measured(image))
        .collect();
    progress(Step::Measurements.percent())?;
    ControlFlow::Continue(Segmentation {
        width: image.width(),
        height: image.height(),
        pixel_size: image.pixel_size,
        segmenter: SEGMENTER.to_owned(),
        summary: Summary::of(&objects, image.pixel_size),
        objects,
        note,
        simplified_px: None,
    })
}

/// An object with its number and its outline.
struct Outlined<'a> {
    number: u32,
    core_of: Option<u32>,
    confidence: Option<f64>,
    mask: &'a Mask,
    polygon: Polygon,
}

/// Traces and numbers the objects: each whole one, then its cores.
fn outline(candidates: &[Candidate]) -> Vec<Outlined<'_>> {
    let mut outlined: Vec<Outlined<'_>> = Vec::new();
    for candidate in candidates {
        let whole = outlined.len() as u32 + 1;
        let cores = candidate.cores.iter().map(|core| (core, Some(whole)));
        for (mask, core_of) in std::iter::once((&candidate.whole, None)).chain(cores) {
            let number = outlined.len() as u32 + 1;
            outlined.extend(contour::outline(mask).map(|polygon| Outlined {
                number,
                core_of,
                confidence: Some(candidate.confidence),
                mask,
                polygon,
            }));
        }
    }
    outlined
}

impl Outlined<'_> {
    fn measured(self, image: &Raster) -> Object {
        Object {
            number: self.number,
            part: if self.core_of.is_some() {
                Part::Core
            } else {
                Part::Whole
            },
            core_of: self.core_of,
            confidence: self.confidence,
            measurements: measure::measure(self.mask, &self.polygon, image),
            polygon: self.polygon,
        }
    }
}

#[cfg(test)]
mod tests;
