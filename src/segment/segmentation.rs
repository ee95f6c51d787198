//! The result of a segmentation, as it is stored and served: a stable JSON format.
//!
//! Fields may be added; none changes its name, unit or meaning. Absent optional fields are left out.

use serde::{Deserialize, Serialize};

use super::{Polygon, Summary};

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
    /// Totals over the image; absent where there is no object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// The outlines are not the measured ones but simplified for display: no point of an outline left out lies farther
    /// from what is drawn than this, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simplified_px: Option<f64>,
}

impl Segmentation {
    /// A copy for display, with fewer points. Its measurements are still those of the exact outlines.
    pub fn simplified(mut self, tolerance_px: f64) -> Self {
        for object in &mut self.objects {
            object.polygon = object.polygon.simplified(tolerance_px);
        }
        self.simplified_px = Some(tolerance_px);
        self
    }
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
    /// How sure the segmenter is of the object, from 0 to 1, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
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

impl PixelSizeSource {
    /// The name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::OmeXml => "ome_xml",
            Self::Imagej => "imagej",
            Self::Resolution => "resolution",
        }
    }
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
    /// Standard deviation of the values under the mask, as a whole population; absent in results from before it was
    /// measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intensity_sd: Option<f64>,
    /// Smallest value under the mask.
    pub intensity_min: f64,
    /// Largest value under the mask.
    pub intensity_max: f64,
    /// Whether the object reaches the image's frame, so that part of it may be missing.
    pub touches_border: bool,
    /// Number of holes (inner rings).
    pub holes: u32,
    /// What is known of the form; absent in results from before it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// The same in µm, where a trusted pixel size is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micrometres: Option<Micrometres>,
}

/// The form of an object, in pixels. Columns named after a tool follow that tool's convention, to compare with its
/// tables.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Length of the boundary as scikit-image's `perimeter`, in pixels, holes included.
    pub perimeter_skimage_px: f64,
    /// Length of the outer boundary as ImageJ's particle analyser gives it, in pixels.
    pub perimeter_imagej_px: f64,
    /// 4π·area / perimeter² by ImageJ's perimeter, at most 1, as ImageJ clamps it.
    pub circularity_imagej: f64,
    /// Longest distance between two points of the outline, in pixels (ImageJ's `Feret`).
    pub feret_max_px: f64,
    /// Smallest distance between two parallels that hold the object between them, in pixels (ImageJ's `MinFeret`).
    pub feret_min_px: f64,
    /// scikit-image's `feret_diameter_max`, in pixels: between middles of pixel sides instead of corners.
    pub feret_max_skimage_px: f64,
    /// Major axis of the ellipse with the same second moments, in pixels (scikit-image's convention).
    pub major_axis_px: f64,
    /// Minor axis of that ellipse, in pixels; 0 for a line of single pixels.
    pub minor_axis_px: f64,
    /// Eccentricity of that ellipse: 0 for a disk, towards 1 for a line.
    pub eccentricity: f64,
    /// Degrees from the x axis to the major axis, counterclockwise, 0 to 180; absent where no axis is the longer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orientation_deg: Option<f64>,
    /// Area divided by that of the convex hull of the pixels' corners (ImageJ's `Solidity`).
    pub solidity: f64,
    /// Area divided by the pixel count of scikit-image's convex hull image.
    pub solidity_skimage: f64,
    /// Area divided by that of the box.
    pub extent: f64,
    /// π·equivalent diameter / perimeter, which is √circularity.
    pub sphericity: f64,
    /// Volume of the sphere with the equivalent diameter, in cubic pixels.
    pub volume_sphere_px3: f64,
    /// Volume of the prolate spheroid with the ellipse's axes, in cubic pixels.
    pub volume_prolate_px3: f64,
    /// Objects less holes, pixels connected at corners too: 1 less the holes.
    pub euler_number: i64,
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
    /// The form; absent in results from before it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<ShapeMicrometres>,
}

/// The form of an object in physical units. Feret's diameters and the axes are right for pixels that are not square,
/// too; perimeters need square ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShapeMicrometres {
    /// scikit-image's perimeter in µm; absent where pixels are not square.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perimeter_skimage_um: Option<f64>,
    /// ImageJ's perimeter in µm; absent where pixels are not square.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perimeter_imagej_um: Option<f64>,
    /// Longest distance between two points of the outline, in µm.
    pub feret_max_um: f64,
    /// Smallest distance between two parallels that hold the object, in µm.
    pub feret_min_um: f64,
    /// Major axis of the ellipse with the same second moments, in µm.
    pub major_axis_um: f64,
    /// Minor axis of that ellipse, in µm.
    pub minor_axis_um: f64,
    /// Volume of the sphere with the equivalent diameter, in µm³.
    pub volume_sphere_um3: f64,
    /// Volume of the prolate spheroid with the ellipse's axes, in µm³.
    pub volume_prolate_um3: f64,
}

#[cfg(test)]
mod tests {
    use super::super::export::geojson::tests::two_objects;
    use super::*;

    #[test]
    fn the_json_format_is_frozen_and_results_stored_before_additions_are_read() {
        let written = r#"{"width":4,"height":3,"pixel_size":{"x_um":0.5,"y_um":0.5,"source":"imagej"},"segmenter":"builtin","objects":[{"number":1,"part":"whole","polygon":{"outer":[[0,0],[2,0],[2,1],[0,1]],"holes":[]},"measurements":{"area_px":2,"perimeter_px":5.5,"equivalent_diameter_px":1.5,"circularity":0.75,"centroid_x_px":1.0,"centroid_y_px":0.5,"bbox_px":{"x":0,"y":0,"width":2,"height":1},"intensity_mean":7.0,"intensity_min":6.0,"intensity_max":8.0,"touches_border":true,"holes":0}}]}"#;
        let parsed: Segmentation = serde_json::from_str(written).unwrap();
        assert_eq!(parsed.objects[0].part, Part::Whole);
        assert_eq!(serde_json::to_string(&parsed).unwrap(), written);
    }

    #[test]
    fn what_was_added_later_is_written_and_read() {
        let mut result = two_objects().simplified(0.5);
        result.objects[0].confidence = Some(0.75);
        let written = serde_json::to_string(&result).unwrap();
        let read: Segmentation = serde_json::from_str(&written).unwrap();
        assert_eq!(
            (read.simplified_px, read.summary.unwrap().cores),
            (Some(0.5), 1)
        );
        let (object, expected) = (&read.objects[0], &result.objects[0]);
        assert_eq!(object.confidence, Some(0.75));
        let feret = |object: &Object| object.measurements.shape.unwrap().feret_min_px;
        assert_eq!(feret(object), feret(expected));
        let micrometres = object.measurements.micrometres.unwrap().shape.unwrap();
        assert_eq!(micrometres.feret_min_um, feret(expected) / 2.0);
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
