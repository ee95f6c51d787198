//! A picture to draw smooth lines on.

use std::io::Write;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::segment::polygon::distance;
use crate::segment::{Point, SegmentError};

/// Red, green, blue.
pub(super) type Color = [u8; 3];

/// An RGB picture; (0, 0) is the upper left corner of its first pixel.
pub(super) struct Canvas {
    pub width: usize,
    pub height: usize,
    pixels: Vec<u8>,
    /// How much of each pixel the lines cover that are being drawn, in 255ths. Lines are gathered here before they get
    /// their colour, so that where they overlap nothing shows twice.
    coverage: Vec<u8>,
    /// The rows in which something is covered.
    rows: std::ops::Range<usize>,
}

impl Canvas {
    /// A picture in these greys, row by row.
    pub fn of_greys(width: usize, greys: impl Iterator<Item = u8>) -> Self {
        let pixels: Vec<u8> = greys.flat_map(|grey| [grey; 3]).collect();
        let height = pixels.len() / 3 / width.max(1);
        Self {
            coverage: vec![0; width * height],
            width,
            height,
            pixels,
            rows: 0..0,
        }
    }

    /// Gathers a line of this thickness through these points, with round ends.
    pub fn line(&mut self, points: &[Point], thickness: f64) {
        for pair in points.windows(2) {
            self.stroke(pair[0], pair[1], thickness / 2.0);
        }
    }

    /// Gives what was gathered this colour; `strength` is 1 for an opaque one.
    pub fn paint(&mut self, color: Color, strength: f64) {
        let cells = self.rows.start * self.width..self.rows.end * self.width;
        let pixels = self.pixels[3 * cells.start..3 * cells.end].chunks_exact_mut(3);
        for (pixel, coverage) in pixels.zip(&mut self.coverage[cells]) {
            if *coverage > 0 {
                blend(pixel, color, strength * f64::from(*coverage) / 255.0);
                *coverage = 0;
            }
        }
        self.rows = 0..0;
    }

    /// Adds rows of this colour below.
    pub fn extend(&mut self, rows: usize, color: Color) {
        self.height += rows;
        self.pixels
            .extend(std::iter::repeat_n(color, rows * self.width).flatten());
        self.coverage.resize(self.width * self.height, 0);
    }

    /// Writes the picture as a PNG.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn write(self, writer: impl Write) -> Result<(), SegmentError> {
        let (width, height) = (self.width as u32, self.height as u32);
        drop(self.coverage);
        PngEncoder::new_with_quality(writer, CompressionType::Fast, FilterType::Sub)
            .write_image(&self.pixels, width, height, ExtendedColorType::Rgb8)
            .map_err(|error| SegmentError::Io(std::io::Error::other(error)))
    }

    /// Row by row, only where the line can be: a long one costs as much as it covers.
    fn stroke(&mut self, a: Point, b: Point, radius: f64) {
        let reach = radius + 1.0;
        let clip = |at: f64, end: usize| (at.max(0.0) as usize).min(end);
        let (top, bottom) = (a[1].min(b[1]) - reach, a[1].max(b[1]) + reach);
        let rows = clip(top, self.height)..clip(bottom.ceil(), self.height);
        for y in rows.clone() {
            let centre = y as f64 + 0.5;
            let (from, to) = reached(a, b, centre, reach);
            for x in clip(from, self.width)..clip(to.ceil(), self.width) {
                let off = distance([x as f64 + 0.5, centre], (a, b));
                let covered = (radius + 0.5 - off).clamp(0.0, 1.0);
                let cell = &mut self.coverage[y * self.width + x];
                *cell = (*cell).max((covered * 255.0) as u8);
            }
        }
        if !rows.is_empty() {
            let empty = self.rows.is_empty();
            let start = if empty {
                rows.start
            } else {
                self.rows.start.min(rows.start)
            };
            self.rows = start..self.rows.end.max(rows.end);
        }
    }
}

/// The x between which a line comes as near as `reach` to the row whose centre is at `y`.
fn reached(a: Point, b: Point, y: f64, reach: f64) -> (f64, f64) {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let at = |row: f64| {
        let share = if dy == 0.0 {
            0.0
        } else {
            ((row - a[1]) / dy).clamp(0.0, 1.0)
        };
        a[0] + share * dx
    };
    let (one, two) = if dy == 0.0 {
        (a[0], b[0])
    } else {
        (at(y - reach), at(y + reach))
    };
    (one.min(two) - reach, one.max(two) + reach)
}

fn blend(pixel: &mut [u8], color: Color, strength: f64) {
    for (channel, color) in pixel.iter_mut().zip(color) {
        let (old, new) = (f64::from(*channel), f64::from(color));
        *channel = (old + (new - old) * strength).round() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(width: usize, height: usize) -> Canvas {
        Canvas::of_greys(width, (0..width * height).map(|_| 0))
    }

    fn red(canvas: &Canvas) -> Vec<u8> {
        canvas
            .pixels
            .chunks_exact(3)
            .map(|pixel| pixel[0])
            .collect()
    }

    #[test]
    fn a_line_covers_what_its_thickness_says() {
        let mut canvas = canvas(9, 5);
        canvas.line(&[[2.5, 2.5], [6.5, 2.5]], 1.0);
        canvas.line(&[[4.5, 2.5], [5.5, 2.5]], 1.0);
        canvas.paint([200, 0, 0], 0.5);
        let row: Vec<u8> = red(&canvas)[18..27].to_vec();
        assert_eq!(
            row,
            [0, 0, 100, 100, 100, 100, 100, 0, 0],
            "nothing shows twice"
        );
        assert_eq!(red(&canvas)[9..18], [0; 9]);
    }

    #[test]
    fn a_slanted_line_covers_about_its_length() {
        let mut canvas = canvas(60, 60);
        canvas.line(&[[10.0, 10.0], [50.0, 40.0]], 3.0);
        canvas.paint([255, 0, 0], 1.0);
        let covered: f64 = red(&canvas).iter().map(|red| f64::from(*red) / 255.0).sum();
        // 50 px of 3 px, and two half disks.
        let expected = 150.0 + std::f64::consts::PI * 2.25;
        assert!((covered - expected).abs() < 3.0, "{covered}");
    }

    #[test]
    fn what_lies_outside_is_cut_off() {
        let mut canvas = canvas(10, 10);
        canvas.line(
            &[[-1e15, -1e15], [1e15, 1e15], [1e15, 5.0], [-1e15, 5.0]],
            2.0,
        );
        canvas.paint([255, 0, 0], 1.0);
        assert!(red(&canvas)[40..60].iter().all(|red| *red > 0));
        canvas.extend(2, [7; 3]);
        assert_eq!((canvas.height, red(&canvas)[119]), (12, 7));
    }
}
