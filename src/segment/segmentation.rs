//! The result of a segmentation, as it is stored and served: a stable JSON format.
//!
//! Fields may be added; none changes its name, unit or meaning. Absent optional fields are left out.

use serde::{Deserialize, Serialize};

use super::Polygon;

/// Everything found in one page of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segmentation {
    /// Width of the image in pixels.
    pub width: u32,
    /// Height of the image in pixels.
    pub height: u32,
    /// The edge lengths of a pixel, where the file or the user says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_size: Option<PixelSize>,
    /// The segmenter that ran: `builtin`, or the name of a remote one.
    pub segmenter: String,
    /// The objects, in the order of their numbers.
    pub objects: Vec<Object>,
    /// Why there is no object, or what else a reader of the result should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One object: outline and measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Number from 1: the row in the table, the number in the overlay, the value in the label mask.
    pub number: u32,
    /// Whether the outline is that of the whole object or of its dense core.
    pub part: Part,
    /// Of a core: the number of the whole object that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_of: Option<u32>,
    /// The outline on pixel corners.
    pub polygon: Polygon,
    /// What was measured on the object's mask.
    pub measurements: Measurements,
}

/// Which outline of an object is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// All of it, with its loose rim.
    Whole,
    /// The dense middle alone.
    Core,
}

impl Part {
    /// The name in tables and files: `whole` or `core`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Core => "core",
        }
    }
}

/// The edge lengths of a pixel, in micrometres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PixelSize {
    /// Width in µm.
    pub x_um: f64,
    /// Height in µm.
    pub y_um: f64,
    /// Where the figures come from.
    pub source: PixelSizeSource,
}

/// Where a pixel size comes from, the most trustworthy first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelSizeSource {
    /// A person gave it.
    User,
    /// `PhysicalSizeX` and `PhysicalSizeY` of OME-XML.
    OmeXml,
    /// `unit` of ImageJ with the resolution tags.
    Imagej,
    /// Resolution in a file's header alone: often the screen's or the printer's, so not to be trusted unseen.
    Resolution,
}

impl PixelSize {
    /// Whether measurements may be given in µm without asking anybody.
    pub fn trusted(&self) -> bool {
        self.source != PixelSizeSource::Resolution
    }

    /// The edge length in µm where pixels are square (within 1 %), which lengths in µm need.
    pub fn square_um(&self) -> Option<f64> {
        let mean = (self.x_um + self.y_um) / 2.0;
        ((self.x_um - self.y_um).abs() <= 0.01 * mean).then_some(mean)
    }
}

/// Numbers of one object, in pixels; the formulae stand in `measure`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// Number of pixels of the mask, holes not counted; equals the polygon's area exactly.
    pub area_px: u64,
    /// Length of the boundary in pixels, holes' boundaries included (Crofton, four directions).
    pub perimeter_px: f64,
    /// Diameter of the disk with the same area, in pixels.
    pub equivalent_diameter_px: f64,
    /// 4π·area / perimeter²: 1 for a disk; not clamped, so that a small object may exceed 1.
    pub circularity: f64,
    /// Centre of mass, x, in pixels from the image's left edge (a pixel's own centre lies at +0.5).
    pub centroid_x_px: f64,
    /// Centre of mass, y, in pixels from the image's top edge.
    pub centroid_y_px: f64,
    /// The smallest upright box round the object.
    pub bbox_px: BoundingBox,
    /// Mean of the image's own values under the mask, in the file's intensity scale.
    pub intensity_mean: f64,
    /// Smallest value under the mask.
    pub intensity_min: f64,
    /// Largest value under the mask.
    pub intensity_max: f64,
    /// Whether the object reaches the image's frame, so that part of it may be missing.
    pub touches_border: bool,
    /// Number of holes (inner rings).
    pub holes: u32,
    /// The same in µm, where a trusted pixel size is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micrometres: Option<Micrometres>,
}

/// A box on pixel corners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// Left edge in pixels.
    pub x: u32,
    /// Top edge in pixels.
    pub y: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Measurements in physical units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Micrometres {
    /// Area in µm².
    pub area_um2: f64,
    /// Perimeter in µm; absent where pixels are not square.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perimeter_um: Option<f64>,
    /// Diameter of the disk with the same area, in µm.
    pub equivalent_diameter_um: f64,
    /// Centre of mass, x, in µm from the image's left edge.
    pub centroid_x_um: f64,
    /// Centre of mass, y, in µm from the image's top edge.
    pub centroid_y_um: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_format_is_frozen() {
        let written = r#"{"width":4,"height":3,"pixel_size":{"x_um":0.5,"y_um":0.5,"source":"imagej"},"segmenter":"builtin","objects":[{"number":1,"part":"whole","polygon":{"outer":[[0,0],[2,0],[2,1],[0,1]],"holes":[]},"measurements":{"area_px":2,"perimeter_px":5.5,"equivalent_diameter_px":1.5,"circularity":0.75,"centroid_x_px":1.0,"centroid_y_px":0.5,"bbox_px":{"x":0,"y":0,"width":2,"height":1},"intensity_mean":7.0,"intensity_min":6.0,"intensity_max":8.0,"touches_border":true,"holes":0}}]}"#;
        let parsed: Segmentation = serde_json::from_str(written).unwrap();
        assert_eq!(parsed.objects[0].part, Part::Whole);
        assert_eq!(serde_json::to_string(&parsed).unwrap(), written);
    }

    #[test]
    fn lengths_need_square_pixels() {
        let source = PixelSizeSource::OmeXml;
        assert_eq!(
            PixelSize {
                x_um: 0.5,
                y_um: 0.5,
                source
            }
            .square_um(),
            Some(0.5)
        );
        assert_eq!(
            PixelSize {
                x_um: 0.5,
                y_um: 0.6,
                source
            }
            .square_um(),
            None
        );
    }
}
