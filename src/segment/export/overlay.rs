//! The image with outlines and numbers: what somebody looks at to see whether the result is right. The numbers are
//! those of the table's rows.

use std::io::Write;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::digits;
use crate::segment::{Object, Part, Point, Raster, SegmentError, Segmentation};

/// Longest side of an overlay in pixels; larger images are drawn smaller.
const SIDE_MAX_PX: u32 = 4_096;

/// An outline is one pixel wide per this many pixels of the longer side.
const PX_PER_LINE_WIDTH: usize = 900;

/// A digit's cell is at most this part of its object's diameter.
const OBJECT_PER_CELL: f64 = 18.0;

/// Shares of the darkest and brightest values that are drawn black and white, in thousandths.
const CLIPPED_PER_MILLE: usize = 3;

/// How many values the contrast is judged by.
const CONTRAST_SAMPLES: usize = 50_000;

const WHOLE: [u8; 3] = [255, 200, 0];
const CORE: [u8; 3] = [0, 200, 255];
const NUMBER: [u8; 3] = [255, 255, 255];
const BEHIND_NUMBER: [u8; 3] = [0, 0, 0];

/// Writes the overlay as an RGB PNG.
///
/// # Errors
/// [`SegmentError::Io`] where writing fails.
pub fn write(
    image: &Raster,
    result: &Segmentation,
    writer: impl Write,
) -> Result<(), SegmentError> {
    let mut canvas = Canvas::of(image);
    for object in &result.objects {
        canvas.outline(object);
    }
    // Numbers last, so that no outline runs through them.
    for object in &result.objects {
        canvas.number(object);
    }
    let (width, height) = (canvas.width as u32, canvas.height as u32);
    PngEncoder::new_with_quality(writer, CompressionType::Fast, FilterType::Sub)
        .write_image(&canvas.pixels, width, height, ExtendedColorType::Rgb8)
        .map_err(|error| SegmentError::Io(std::io::Error::other(error)))
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    /// Image pixels per canvas pixel.
    reduction: f64,
    line: usize,
}

impl Canvas {
    /// The image in grey, its contrast stretched, every `reduction`-th pixel of it.
    fn of(image: &Raster) -> Self {
        let step = image
            .width()
            .max(image.height())
            .div_ceil(SIDE_MAX_PX)
            .max(1);
        let (width, height) = (
            image.width().div_ceil(step) as usize,
            image.height().div_ceil(step) as usize,
        );
        let (black, white) = contrast(image);
        let scale = 255.0 / (white - black).max(f32::MIN_POSITIVE);
        let mut pixels = Vec::with_capacity(3 * width * height);
        let mut row = vec![0.0; image.width() as usize];
        for y in 0..height {
            image.copy_row(y as u32 * step, &mut row);
            for value in row.iter().step_by(step as usize) {
                // The cast saturates at 0 and 255.
                pixels.extend([((value - black) * scale) as u8; 3]);
            }
        }
        let line = (width.max(height) / PX_PER_LINE_WIDTH).max(1);
        Self {
            width,
            height,
            pixels,
            reduction: f64::from(step),
            line,
        }
    }

    fn outline(&mut self, object: &Object) {
        let color = match object.part {
            Part::Whole => WHOLE,
            Part::Core => CORE,
        };
        for ring in object.polygon.rings() {
            ring.edges()
                .for_each(|(from, to)| self.segment(from, to, color));
        }
    }

    fn segment(&mut self, from: Point, to: Point, color: [u8; 3]) {
        let [x, y] = from.map(|c| c / self.reduction);
        let [to_x, to_y] = to.map(|c| c / self.reduction);
        // An edge has no more steps than the canvas has pixels along it, whatever its coordinates say.
        let length = (to_x - x).abs().max((to_y - y).abs());
        let steps = length.ceil().min((2 * (self.width + self.height)) as f64);
        let half = self.line as f64 / 2.0;
        for step in 0..=steps as usize {
            let t = if steps > 0.0 {
                step as f64 / steps
            } else {
                0.0
            };
            let (x, y) = (x + (to_x - x) * t - half, y + (to_y - y) * t - half);
            self.block(x.round() as isize, y.round() as isize, self.line, color);
        }
    }

    /// The number in the middle of its object, white on a dark rim; a core's at the core's lower edge, so that it does
    /// not cover that of the whole.
    fn number(&mut self, object: &Object) {
        let found = &object.measurements;
        // As large as the object allows, from one pixel to two line widths per cell.
        let room = found.equivalent_diameter_px / self.reduction / OBJECT_PER_CELL;
        let cell = (room as usize).clamp(1, 2 * self.line);
        let (width, height) = (digits::width(object.number) * cell, digits::HEIGHT * cell);
        let middle_y = match object.part {
            Part::Whole => found.centroid_y_px,
            Part::Core => f64::from(found.bbox_px.y + found.bbox_px.height),
        };
        let place = |at: f64, length: usize, side: usize| {
            let start = at / self.reduction - length as f64 / 2.0;
            (start.max(0.0) as usize).min(side.saturating_sub(length)) as isize
        };
        let x = place(found.centroid_x_px, width, self.width);
        let y = place(middle_y, height, self.height);
        let cells = digits::cells(object.number);
        let at =
            |column: usize, row: usize| (x + (column * cell) as isize, y + (row * cell) as isize);
        for (column, row) in &cells {
            let (x, y) = at(*column, *row);
            let rim = cell.div_ceil(2);
            self.block(
                x - rim as isize,
                y - rim as isize,
                cell + 2 * rim,
                BEHIND_NUMBER,
            );
        }
        for (column, row) in &cells {
            let (x, y) = at(*column, *row);
            self.block(x, y, cell, NUMBER);
        }
    }

    fn block(&mut self, x: isize, y: isize, side: usize, color: [u8; 3]) {
        let range = |from: isize, end: usize| {
            let clip = |at: isize| at.clamp(0, end as isize) as usize;
            clip(from)..clip(from.saturating_add(side as isize))
        };
        for row in range(y, self.height) {
            for column in range(x, self.width) {
                let at = 3 * (row * self.width + column);
                self.pixels[at..at + 3].copy_from_slice(&color);
            }
        }
    }
}

/// The values drawn black and white.
pub(super) fn contrast(image: &Raster) -> (f32, f32) {
    let samples = image.samples();
    let step = (samples.len() / CONTRAST_SAMPLES).max(1);
    let mut values: Vec<f32> = (0..samples.len())
        .step_by(step)
        .map(|i| samples.at(i))
        .collect();
    values.sort_unstable_by(f32::total_cmp);
    let clipped = values.len() * CLIPPED_PER_MILLE / 1000;
    (values[clipped], values[values.len() - 1 - clipped])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Samples;
    use crate::segment::export::geojson::tests::two_objects;

    fn overlay(image: &Raster, result: &Segmentation) -> image::RgbImage {
        let mut file = Vec::new();
        write(image, result, &mut file).unwrap();
        image::load_from_memory(&file).unwrap().into_rgb8()
    }

    fn with(color: [u8; 3], picture: &image::RgbImage) -> usize {
        picture.pixels().filter(|pixel| pixel.0 == color).count()
    }

    #[test]
    fn outline_and_number_are_drawn_in_the_image() {
        let image = Raster::new(60, 50, Samples::U16(vec![500; 3000])).unwrap();
        let mut result = two_objects();
        result.objects[0].measurements.centroid_x_px = 40.0;
        result.objects[0].measurements.centroid_y_px = 30.0;
        result.objects.truncate(1);
        let picture = overlay(&image, &result);
        assert_eq!(picture.dimensions(), (60, 50));
        assert!(with(WHOLE, &picture) >= 16 + 4, "outer ring and hole");
        let one = digits::cells(1).len();
        assert_eq!(
            with(NUMBER, &picture),
            one,
            "the digit 1, one pixel to a cell"
        );
    }

    #[test]
    fn an_outline_beyond_the_image_is_cut_off() {
        let image = Raster::new(10, 10, Samples::U8(vec![7; 100])).unwrap();
        let mut result = two_objects();
        result.objects[0].polygon.outer.0[0] = [-1e15, 1e15];
        assert_eq!(overlay(&image, &result).dimensions(), (10, 10));
    }

    #[test]
    fn a_wide_image_is_drawn_smaller() {
        let image = Raster::new(9_000, 2, Samples::U8(vec![7; 18_000])).unwrap();
        let mut result = two_objects();
        result.objects.clear();
        assert_eq!(overlay(&image, &result).dimensions(), (3_000, 1));
    }
}
