//! Numbers of one object, from its mask and the image's own values.
//!
//! | file | what it measures |
//! |---|---|
//! | `moments` | area, centre, axes |
//! | `perimeter` | perimeters, Euler number |
//! | `hull` | Feret's diameters, solidity |
//! | `intensity` | the image's values |
//! | `distances` | distances from a core's centre, for the image's `summary` |
//!
//! scikit-image's and ImageJ's numbers are theirs on the same mask: `tests/golden/measurements.json` holds what they give.

pub(super) mod distances;
pub(super) mod hull;
mod intensity;
mod moments;
mod perimeter;

use std::f64::consts::PI;

use super::bits::Bits;
use super::mask::Mask;
use super::{
    BoundingBox, Measurements, Micrometres, PixelSize, Polygon, Raster, Shape, ShapeMicrometres,
};
use hull::{Hull, HullImage, RowEnds};
use intensity::Intensity;
use moments::{Ellipse, Moments};
use perimeter::Quads;

/// Measures the object with this mask and outline, which is not empty. µm are given where the image's pixel size can be
/// trusted.
pub(super) fn measure(mask: &Mask, outline: &Polygon, image: &Raster) -> Measurements {
    let object = Object::of(mask);
    let (x, y) = object.moments.centroid();
    let bbox_px = mask.bounds().unwrap_or(BoundingBox {
        x: mask.x,
        y: mask.y,
        width: 0,
        height: 0,
    });
    let intensity = Intensity::under(mask, &object.bits, image);
    let mut measurements = Measurements {
        area_px: object.moments.count,
        perimeter_px: object.perimeter,
        equivalent_diameter_px: equivalent_diameter(object.area()),
        circularity: circularity(object.area(), object.perimeter),
        centroid_x_px: f64::from(mask.x) + x,
        centroid_y_px: f64::from(mask.y) + y,
        bbox_px,
        intensity_mean: intensity.mean,
        intensity_sd: Some(intensity.sd),
        intensity_min: intensity.min,
        intensity_max: intensity.max,
        touches_border: touches_border(bbox_px, image),
        holes: outline.holes.len() as u32,
        shape: Some(object.shape(outline, bbox_px)),
        micrometres: None,
    };
    let trusted = image.pixel_size.filter(PixelSize::trusted);
    measurements.micrometres = trusted.map(|size| object.micrometres(&measurements, size));
    measurements
}

/// Diameter of the disk of this area: √(4A/π).
pub(super) fn equivalent_diameter(area: f64) -> f64 {
    (4.0 * area / PI).sqrt()
}

/// 4πA / P² (Cox, J. Paleontol. 1 (1927), 179–183); 0 where there is no boundary.
fn circularity(area: f64, perimeter: f64) -> f64 {
    if perimeter > 0.0 {
        4.0 * PI * area / (perimeter * perimeter)
    } else {
        0.0
    }
}

/// Volume of the spheroid with this axis and two of that other length: π/6·L·W². With L = W the sphere.
fn spheroid(length: f64, width: f64) -> f64 {
    PI / 6.0 * length * width * width
}

/// A mask with what several measurements are taken from.
struct Object {
    bits: Bits,
    moments: Moments,
    rows: Vec<RowEnds>,
    hull: Hull,
    quads: Quads,
    perimeter: f64,
}

impl Object {
    fn of(mask: &Mask) -> Self {
        let bits = Bits::of(mask);
        let rows = hull::rows_of(mask);
        let quads = Quads::of(&bits);
        Self {
            moments: Moments::of(&bits),
            hull: Hull::of_corners(&rows),
            perimeter: quads.crofton(),
            bits,
            rows,
            quads,
        }
    }

    fn area(&self) -> f64 {
        self.moments.count as f64
    }

    fn shape(&self, outline: &Polygon, bbox: BoundingBox) -> Shape {
        let area = self.area();
        let perimeter_imagej_px = perimeter::imagej(&outline.outer);
        let feret = self.hull.feret([1.0, 1.0]);
        let hull_image = HullImage::of(&self.rows);
        let ellipse = self.moments.ellipse([1.0, 1.0]);
        let diameter = equivalent_diameter(area);
        Shape {
            perimeter_skimage_px: perimeter::skimage(&self.bits),
            perimeter_imagej_px,
            circularity_imagej: circularity(area, perimeter_imagej_px).min(1.0),
            feret_max_px: feret.max,
            feret_min_px: feret.min,
            feret_max_skimage_px: hull_image.feret_max,
            major_axis_px: ellipse.major,
            minor_axis_px: ellipse.minor,
            eccentricity: ellipse.eccentricity,
            orientation_deg: ellipse.orientation_deg,
            solidity: area / self.hull.area(),
            solidity_skimage: area / hull_image.area as f64,
            extent: area / (f64::from(bbox.width) * f64::from(bbox.height)),
            sphericity: PI * diameter / self.perimeter,
            volume_sphere_px3: spheroid(diameter, diameter),
            volume_prolate_px3: spheroid(ellipse.major, ellipse.minor),
            euler_number: self.quads.euler_number(),
        }
    }

    fn micrometres(&self, pixels: &Measurements, size: PixelSize) -> Micrometres {
        let area_um2 = self.area() * size.x_um * size.y_um;
        Micrometres {
            area_um2,
            perimeter_um: size.square_um().map(|um| pixels.perimeter_px * um),
            equivalent_diameter_um: equivalent_diameter(area_um2),
            centroid_x_um: pixels.centroid_x_px * size.x_um,
            centroid_y_um: pixels.centroid_y_px * size.y_um,
            shape: pixels
                .shape
                .map(|shape| self.shape_micrometres(&shape, size)),
        }
    }

    /// Hull and moments are scaled before they are measured, so that pixels need not be square.
    fn shape_micrometres(&self, pixels: &Shape, size: PixelSize) -> ShapeMicrometres {
        let pixel = [size.x_um, size.y_um];
        let feret = self.hull.feret(pixel);
        let Ellipse { major, minor, .. } = self.moments.ellipse(pixel);
        let diameter = equivalent_diameter(self.area() * size.x_um * size.y_um);
        let square = size.square_um();
        ShapeMicrometres {
            perimeter_skimage_um: square.map(|um| pixels.perimeter_skimage_px * um),
            perimeter_imagej_um: square.map(|um| pixels.perimeter_imagej_px * um),
            feret_max_um: feret.max,
            feret_min_um: feret.min,
            major_axis_um: major,
            minor_axis_um: minor,
            volume_sphere_um3: spheroid(diameter, diameter),
            volume_prolate_um3: spheroid(major, minor),
        }
    }
}

fn touches_border(bbox: BoundingBox, image: &Raster) -> bool {
    bbox.x == 0
        || bbox.y == 0
        || bbox.x + bbox.width == image.width()
        || bbox.y + bbox.height == image.height()
}

#[cfg(test)]
mod tests;
