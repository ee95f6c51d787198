//! Numbers of one object, from its mask and the image's own values.

use super::mask::Mask;
use super::{BoundingBox, Measurements, Micrometres, PixelSize, Polygon, Raster};

/// Measures the object with this mask and outline. µm are given where the image's pixel size can be trusted.
pub(super) fn measure(mask: &Mask, outline: &Polygon, image: &Raster) -> Measurements {
    let area = mask.area();
    let perimeter_px = crofton_perimeter(mask);
    let equivalent_diameter_px = equivalent_diameter(area as f64);
    let bbox_px = mask.bounds().unwrap_or(BoundingBox {
        x: mask.x,
        y: mask.y,
        width: 0,
        height: 0,
    });
    let (centroid_x_px, centroid_y_px) = centroid(mask);
    let intensity = Intensity::under(mask, image);
    let mut measurements = Measurements {
        area_px: area,
        perimeter_px,
        equivalent_diameter_px,
        circularity: circularity(area as f64, perimeter_px),
        centroid_x_px,
        centroid_y_px,
        bbox_px,
        intensity_mean: intensity.mean,
        intensity_min: intensity.min,
        intensity_max: intensity.max,
        touches_border: touches_border(bbox_px, image),
        holes: outline.holes.len() as u32,
        micrometres: None,
    };
    let trusted = image.pixel_size.filter(PixelSize::trusted);
    measurements.micrometres = trusted.map(|size| in_micrometres(&measurements, size));
    measurements
}

/// Diameter of the disk of this area: √(4A/π).
fn equivalent_diameter(area: f64) -> f64 {
    (4.0 * area / std::f64::consts::PI).sqrt()
}

/// 4πA / P²; 0 where there is no boundary.
fn circularity(area: f64, perimeter: f64) -> f64 {
    if perimeter > 0.0 {
        4.0 * std::f64::consts::PI * area / (perimeter * perimeter)
    } else {
        0.0
    }
}

/// Perimeter after Crofton in four directions, holes included, as scikit-image's `perimeter_crofton(directions=4)`:
/// every 2 × 2 neighbourhood has a code (8 its upper left pixel, 4 lower left, 2 upper right, 1 lower right), and every
/// code a weight.
///
/// Source: Legland, Kiêu and Devaux, Image Anal. Stereol. 26 (2007), 83–92.
fn crofton_perimeter(mask: &Mask) -> f64 {
    let mut histogram = [0_u64; 16];
    let (cells, stride) = (mask.cells(), mask.stride());
    for (above, below) in cells
        .chunks_exact(stride)
        .zip(cells.chunks_exact(stride).skip(1))
    {
        let column = |(a, b): (&bool, &bool)| usize::from(*a) << 1 | usize::from(*b);
        let mut left = 0;
        for right in above.iter().zip(below).map(column) {
            histogram[left << 2 | right] += 1;
            left = right;
        }
    }
    histogram
        .iter()
        .zip(crofton_weights())
        .map(|(count, weight)| *count as f64 * weight)
        .sum()
}

fn crofton_weights() -> [f64; 16] {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, SQRT_2};
    // One pixel of the four: both axes and one diagonal are crossed.
    let corner = FRAC_PI_4 * (1.0 + 1.0 / SQRT_2);
    let diagonal = FRAC_PI_4 / SQRT_2;
    let mut weights = [0.0; 16];
    weights[1] = corner;
    weights[2] = diagonal;
    weights[3] = 2.0 * diagonal;
    weights[5] = corner;
    weights[7] = diagonal;
    weights[8] = FRAC_PI_4;
    weights[9] = FRAC_PI_2;
    weights[10] = diagonal;
    weights[11] = diagonal;
    weights[12] = FRAC_PI_4;
    weights[13] = FRAC_PI_2;
    weights
}

/// Mean of the pixels' centres, in the image.
fn centroid(mask: &Mask) -> (f64, f64) {
    let (mut x, mut y, mut count) = (0_u64, 0_u64, 0_u64);
    for (column, row) in mask.pixels() {
        x += column as u64;
        y += row as u64;
        count += 1;
    }
    let mean = |sum: u64, start: u32| f64::from(start) + 0.5 + sum as f64 / count.max(1) as f64;
    (mean(x, mask.x), mean(y, mask.y))
}

struct Intensity {
    mean: f64,
    min: f64,
    max: f64,
}

impl Intensity {
    fn under(mask: &Mask, image: &Raster) -> Self {
        let (mut sum, mut count) = (0.0, 0_u64);
        let (mut min, mut max) = (f32::MAX, f32::MIN);
        for (x, y) in mask.pixels() {
            let value = image.at(mask.x + x as u32, mask.y + y as u32);
            sum += f64::from(value);
            count += 1;
            min = min.min(value);
            max = max.max(value);
        }
        Self {
            mean: sum / count.max(1) as f64,
            min: min.into(),
            max: max.into(),
        }
    }
}

fn touches_border(bbox: BoundingBox, image: &Raster) -> bool {
    bbox.x == 0
        || bbox.y == 0
        || bbox.x + bbox.width == image.width()
        || bbox.y + bbox.height == image.height()
}

fn in_micrometres(pixels: &Measurements, size: PixelSize) -> Micrometres {
    let area_um2 = pixels.area_px as f64 * size.x_um * size.y_um;
    Micrometres {
        area_um2,
        perimeter_um: size.square_um().map(|um| pixels.perimeter_px * um),
        equivalent_diameter_um: equivalent_diameter(area_um2),
        centroid_x_um: pixels.centroid_x_px * size.x_um,
        centroid_y_um: pixels.centroid_y_px * size.y_um,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PixelSizeSource, Samples, contour};
    use super::*;

    fn mask(side: usize, inside: impl Fn(f64, f64) -> bool) -> Mask {
        let mut mask = Mask::new(0, 0, side, side);
        for y in 0..side {
            for x in 0..side {
                mask.set(x, y, inside(x as f64, y as f64));
            }
        }
        mask
    }

    /// All pixels whose centres lie within `radius` of a centre that is `off` pixels off a pixel's own.
    fn disk(radius: f64, off: f64) -> Mask {
        let side = 2 * radius as usize + 11;
        let middle = (side / 2) as f64 + off;
        mask(side, |x, y| {
            (x - middle).powi(2) + (y - middle).powi(2) <= radius * radius
        })
    }

    #[test]
    fn crofton_agrees_with_scikit_image() {
        // scikit-image 0.26, perimeter_crofton(directions=4), computed on the same masks.
        let cases = [
            (disk(10.0, 0.0), 317, 65.197_624_164_341),
            (disk(50.0, 0.0), 7845, 315.262_052_576_366_95),
            (disk(50.0, 0.5), 7860, 313.691_256_249_572_1),
            (disk(200.0, 0.0), 125_629, 1_257.446_542_059_622_7),
            (
                mask(96, |x, y| x < 90.0 && y < 90.0),
                8100,
                340.190_680_894_127_6,
            ),
        ];
        for (mask, area, perimeter) in cases {
            assert_eq!(mask.area(), area);
            assert!(
                (crofton_perimeter(&mask) - perimeter).abs() < 1e-9,
                "area {area}"
            );
        }
    }

    #[test]
    fn crofton_keeps_the_orientation_of_its_codes() {
        let rows = [
            [true, true, false, false],
            [true, false, true, false],
            [false, true, true, true],
        ];
        let mut mask = Mask::new(0, 0, 4, 3);
        rows.iter()
            .enumerate()
            .for_each(|(y, row)| mask.row_mut(y).copy_from_slice(row));
        assert!((crofton_perimeter(&mask) - 12.066_826_776_005_197).abs() < 1e-9);
    }

    #[test]
    fn crofton_does_not_mind_how_an_ellipse_lies() {
        let ellipse = |along: f64, across: f64| {
            mask(201, move |x, y| {
                ((x - 100.0) / along).powi(2) + ((y - 100.0) / across).powi(2) <= 1.0
            })
        };
        for (along, across) in [(80.0, 40.0), (40.0, 80.0)] {
            let perimeter = crofton_perimeter(&ellipse(along, across));
            assert!(
                (perimeter - 388.885_367_024_769_4).abs() < 1e-9,
                "{perimeter}"
            );
        }
    }

    #[test]
    fn a_disk_is_round() {
        let disk = disk(50.0, 0.5);
        let circularity = circularity(disk.area() as f64, crofton_perimeter(&disk));
        assert!((circularity - 1.0).abs() < 0.005, "{circularity}");
        assert!((equivalent_diameter(disk.area() as f64) - 100.0).abs() < 0.1);
    }

    #[test]
    fn a_small_object_by_hand() {
        // A 2 × 3 block at (3, 1) of a 5 × 4 image, two of whose sides it reaches.
        let mut block = Mask::new(3, 1, 2, 3);
        (0..3).for_each(|y| block.row_mut(y).fill(true));
        let mut image = Raster::new(5, 4, Samples::U8((0..20).collect())).unwrap();
        image.pixel_size = Some(PixelSize {
            x_um: 0.5,
            y_um: 0.5,
            source: PixelSizeSource::Imagej,
        });
        let outline = contour::outline(&block).unwrap();
        let found = measure(&block, &outline, &image);
        assert_eq!(found.area_px, 6);
        assert_eq!((found.centroid_x_px, found.centroid_y_px), (4.0, 2.5));
        assert_eq!(
            found.bbox_px,
            BoundingBox {
                x: 3,
                y: 1,
                width: 2,
                height: 3
            }
        );
        assert_eq!((found.intensity_min, found.intensity_max), (8.0, 19.0));
        assert_eq!(found.intensity_mean, 13.5);
        assert!(found.touches_border);
        let micrometres = found.micrometres.unwrap();
        assert_eq!(micrometres.area_um2, 1.5);
        assert_eq!(micrometres.centroid_x_um, 2.0);
        assert!((micrometres.perimeter_um.unwrap() - found.perimeter_px / 2.0).abs() < 1e-12);
    }

    #[test]
    fn an_untrusted_pixel_size_gives_no_micrometres() {
        let mut image = Raster::new(3, 3, Samples::U8(vec![0; 9])).unwrap();
        image.pixel_size = Some(PixelSize {
            x_um: 353.0,
            y_um: 353.0,
            source: PixelSizeSource::Resolution,
        });
        let mut pixel = Mask::new(1, 1, 1, 1);
        pixel.set(0, 0, true);
        let outline = contour::outline(&pixel).unwrap();
        let found = measure(&pixel, &outline, &image);
        assert_eq!((found.micrometres, found.touches_border), (None, false));
    }
}
