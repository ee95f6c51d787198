//! The image with outlines and numbers: what somebody looks at to see whether the result is right. The numbers are
//! those of the table's rows.
//!
//! Lines, numbers, legend and scale bar grow with the picture. Small images are enlarged, so that their numbers can be
//! read, and large ones are made smaller. Whole objects are outlined in yellow, cores in blue dashes. Legend and scale
//! bar stand below the image, so that they hide nothing of it.

mod foot;

use std::io::Write;

use super::canvas::{Canvas, Color};
use super::{lettering, placing, preview};
use crate::segment::{Object, Part, Point, Polygon, Raster, Ring, SegmentError, Segmentation};

/// Longest side of an overlay in pixels; larger images are drawn smaller.
const SIDE_MAX_PX: u32 = 4_096;

/// An image whose longer side is shorter than this is enlarged, a whole number of times, …
const SIDE_MIN_PX: u32 = 1_200;
/// … but not more often than this.
const ENLARGED_MAX: u32 = 8;

/// An outline is one pixel wide per this many pixels of the longer side, …
const PX_PER_LINE_WIDTH: f64 = 700.0;
/// … and at least this wide.
const LINE_WIDTH_MIN: f64 = 2.0;

/// Heights of a number: the part of its object's diameter that it would like to have, the least that can be read, and
/// the most, as a part of the picture's longer side.
const NUMBER_PER_DIAMETER: f64 = 0.3;
const NUMBER_MIN_PX: f64 = 10.0;
const NUMBERS_PER_SIDE: f64 = 45.0;

/// Thickness of letters, and of the dark rim round them, in parts of their height.
const LETTER_THICKNESS: f64 = 0.16;
const LETTER_RIM: f64 = 0.14;

/// An outline is drawn through points this near to it, in pixels of the picture and of the image: a slanted one without
/// the stairs of its pixels, whose corners lie 1/√2 off.
const SMOOTHED_PX: f64 = 0.75;

/// Lengths of a dash and of the gap after it, in line widths.
const DASH: f64 = 4.0;
const DASH_GAP: f64 = 3.0;
/// A ring with more dashes than this is drawn without.
const DASHES_MAX: f64 = 20_000.0;

const WHOLE: Color = [255, 200, 0];
const CORE: Color = [0, 200, 255];
const WHITE: Color = [255, 255, 255];
const DARK: Color = [0, 0, 0];
/// How much of what is behind them the rims of lines hide.
const RIM_STRENGTH: f64 = 0.45;

/// Writes the overlay as an RGB PNG.
///
/// # Errors
/// [`SegmentError::Io`] where writing fails.
pub fn write(
    image: &Raster,
    result: &Segmentation,
    writer: impl Write,
) -> Result<(), SegmentError> {
    let mut picture = Picture::of(image);
    for part in [Part::Whole, Part::Core] {
        picture.outlines(result, part);
    }
    // Numbers last, so that no outline runs through them.
    picture.numbers(result);
    picture.foot(result, image.pixel_size);
    picture.canvas.write(writer)
}

struct Picture {
    canvas: Canvas,
    /// Pixels of the picture per pixel of the image.
    scale: f64,
    line_width: f64,
}

/// A number with the place of its upper left corner.
struct Number {
    text: String,
    at: Point,
    height: f64,
}

impl Picture {
    /// The image in grey, its contrast stretched.
    fn of(image: &Raster) -> Self {
        let longer = image.width().max(image.height());
        let step = longer.div_ceil(SIDE_MAX_PX).max(1);
        let times = (SIDE_MIN_PX / longer).clamp(1, ENLARGED_MAX);
        let greys = preview::greys(image, step);
        let width = image.width().div_ceil(step) as usize;
        let rows = greys.chunks_exact(width);
        let canvas = if times == 1 {
            Canvas::of_greys(width, greys.iter().copied())
        } else {
            let times = times as usize;
            let repeated = rows.flat_map(|row| std::iter::repeat_n(row, times));
            let enlarged = repeated
                .flatten()
                .flat_map(|grey| std::iter::repeat_n(*grey, times));
            Canvas::of_greys(width * times, enlarged)
        };
        let longer = canvas.width.max(canvas.height) as f64;
        Self {
            line_width: (longer / PX_PER_LINE_WIDTH).max(LINE_WIDTH_MIN),
            scale: f64::from(times) / f64::from(step),
            canvas,
        }
    }

    /// The outlines of all objects of a kind, on a dark rim.
    fn outlines(&mut self, result: &Segmentation, part: Part) {
        let color = match part {
            Part::Whole => WHOLE,
            Part::Core => CORE,
        };
        let of_part = result.objects.iter().filter(|object| object.part == part);
        let tolerance = SMOOTHED_PX * (1.0 / self.scale).max(1.0);
        let smooth = of_part.map(|object| object.polygon.simplified(tolerance));
        let rings: Vec<Vec<Point>> = smooth
            .flat_map(|polygon| self.closed_rings(&polygon))
            .collect();
        for (width, color, strength) in [
            (2.0 * self.line_width, DARK, RIM_STRENGTH),
            (self.line_width, color, 1.0),
        ] {
            for ring in &rings {
                match part {
                    Part::Whole => self.canvas.line(ring, width),
                    Part::Core => self.dashes(ring, width),
                }
            }
            self.canvas.paint(color, strength);
        }
    }

    fn closed_rings(&self, polygon: &Polygon) -> Vec<Vec<Point>> {
        let scaled = |point: &Point| point.map(|at| at * self.scale);
        let closed = |ring: &Ring| ring.0.iter().chain(ring.0.first()).map(scaled).collect();
        polygon.rings().map(closed).collect()
    }

    fn dashes(&mut self, ring: &[Point], width: f64) {
        let length: f64 = ring.windows(2).map(|side| apart(side[0], side[1])).sum();
        let period = (DASH + DASH_GAP) * self.line_width;
        if length > DASHES_MAX * period {
            return self.canvas.line(ring, width);
        }
        let dash = DASH * self.line_width;
        let mut passed = 0.0;
        for side in ring.windows(2) {
            let length = apart(side[0], side[1]);
            let at = |along: f64| {
                let share = along / length;
                [0, 1].map(|axis| side[0][axis] + (side[1][axis] - side[0][axis]) * share)
            };
            let mut start = (passed / period).floor() * period;
            while start < passed + length {
                let from = (start - passed).max(0.0);
                let to = (start + dash - passed).min(length);
                if from < to {
                    self.canvas.line(&[at(from), at(to)], width);
                }
                start += period;
            }
            passed += length;
        }
    }

    /// Every object's number, white on a dark rim, as large as the object allows.
    fn numbers(&mut self, result: &Segmentation) {
        let written: Vec<Number> = result
            .objects
            .iter()
            .map(|object| self.number(object, result))
            .collect();
        for (rim, color) in [(true, DARK), (false, WHITE)] {
            for number in &written {
                self.letters(&number.text, number.at, number.height, rim);
            }
            self.canvas.paint(color, 1.0);
        }
    }

    /// An object's number well inside the object, and inside the picture with its rim.
    fn number(&self, object: &Object, result: &Segmentation) -> Number {
        let longer = self.canvas.width.max(self.canvas.height) as f64;
        let largest = (longer / NUMBERS_PER_SIDE).max(NUMBER_MIN_PX);
        let diameter = object.measurements.equivalent_diameter_px * self.scale;
        let wanted = (NUMBER_PER_DIAMETER * diameter).clamp(NUMBER_MIN_PX, largest);
        let text = object.number.to_string();
        let width_per_height = lettering::width(&text) / lettering::HEIGHT;
        let room_per_height = width_per_height.hypot(1.0) / 2.0;
        let cores = result
            .objects
            .iter()
            .filter(|core| core.core_of == Some(object.number));
        let cores = cores.map(|core| &core.polygon);
        let (middle, room) = placing::place(object, cores, room_per_height * wanted / self.scale);
        let height = wanted
            .min(room * self.scale / room_per_height)
            .max(NUMBER_MIN_PX);
        let size = [width_per_height * height, height];
        let sides = [self.canvas.width, self.canvas.height];
        let at = [0, 1].map(|axis| {
            let rim = 2.0 * LETTER_RIM * height;
            let end = (sides[axis] as f64 - rim - size[axis]).max(rim);
            (middle[axis] * self.scale - size[axis] / 2.0).clamp(rim, end)
        });
        Number { text, at, height }
    }

    /// Gathers a text whose upper left corner is here.
    fn letters(&mut self, text: &str, at: Point, height: f64, rim: bool) {
        let unit = height / lettering::HEIGHT;
        let thickness = LETTER_THICKNESS + if rim { 2.0 * LETTER_RIM } else { 0.0 };
        for line in lettering::lines(text) {
            let line: Vec<Point> = line
                .iter()
                .map(|point| [at[0] + point[0] * unit, at[1] + point[1] * unit])
                .collect();
            self.canvas.line(&line, thickness * height);
        }
    }
}

fn apart(a: Point, b: Point) -> f64 {
    (b[0] - a[0]).hypot(b[1] - a[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::export::geojson::tests::two_objects;
    use crate::segment::{BoundingBox, PixelSize, PixelSizeSource, Samples};

    fn overlay(image: &Raster, result: &Segmentation) -> image::RgbImage {
        let mut file = Vec::new();
        write(image, result, &mut file).unwrap();
        image::load_from_memory(&file).unwrap().into_rgb8()
    }

    fn with(color: Color, picture: &image::RgbImage) -> usize {
        picture.pixels().filter(|pixel| pixel.0 == color).count()
    }

    fn black(width: u32, height: u32) -> Raster {
        let samples = Samples::U16(vec![500; (width * height) as usize]);
        Raster::new(width, height, samples).unwrap()
    }

    /// The two objects, a hundred times as large.
    fn large_objects() -> Segmentation {
        let mut result = two_objects();
        for object in &mut result.objects {
            let polygon = &mut object.polygon;
            for ring in std::iter::once(&mut polygon.outer).chain(&mut polygon.holes) {
                ring.0.iter_mut().flatten().for_each(|at| *at *= 100.0);
            }
            let found = &mut object.measurements;
            found.centroid_x_px *= 100.0;
            found.centroid_y_px *= 100.0;
            found.equivalent_diameter_px *= 100.0;
            let bbox = &mut found.bbox_px;
            for at in [&mut bbox.x, &mut bbox.y, &mut bbox.width, &mut bbox.height] {
                *at *= 100;
            }
        }
        result
    }

    #[test]
    fn outlines_numbers_and_foot_are_drawn() {
        let mut image = black(1300, 700);
        let picture = overlay(&image, &large_objects());
        assert_eq!(picture.width(), 1300);
        assert!(
            picture.height() > 740,
            "a legend below: {}",
            picture.height()
        );
        // Outer ring and hole, about two pixels wide; three sides of the core beside its gaps.
        assert!(with(WHOLE, &picture) > 2 * (4 * 400 + 4 * 200) - 400);
        assert!(
            (200..800).contains(&with(CORE, &picture)),
            "{}",
            with(CORE, &picture)
        );
        let white = with(WHITE, &picture);
        assert!(white > 100, "numbers and words");
        image.pixel_size = Some(PixelSize {
            x_um: 0.5,
            y_um: 0.5,
            source: PixelSizeSource::Imagej,
        });
        assert!(
            with(WHITE, &overlay(&image, &large_objects())) > white + 200,
            "a bar"
        );
    }

    #[test]
    fn a_number_stays_inside_the_picture() {
        let image = black(1300, 700);
        let mut result = large_objects();
        result.objects.truncate(1);
        result.objects[0].polygon.holes.clear();
        // As small as numbers get, wherever it stands.
        result.objects[0].measurements.equivalent_diameter_px = 1.0;
        // Letters alone are both red and blue; smooth ones are seldom white.
        let letters = |result: &Segmentation| -> u32 {
            let picture = overlay(&image, result);
            let both = picture.pixels().map(|pixel| pixel.0[0].min(pixel.0[2]));
            both.map(u32::from).sum()
        };
        let alone = letters(&result);
        let found = &mut result.objects[0].measurements;
        (found.centroid_x_px, found.centroid_y_px) = (1e9, -1e9);
        found.bbox_px = BoundingBox {
            x: 5_000,
            y: 0,
            width: 1,
            height: 1,
        };
        let moved = letters(&result);
        assert!(
            alone > 2_000 && moved.abs_diff(alone) * 10 < alone,
            "{moved}, not {alone}"
        );
    }

    #[test]
    fn an_outline_beyond_the_image_is_cut_off() {
        let mut result = two_objects();
        result.objects[0].polygon.outer.0[0] = [-1e15, 1e15];
        result.objects[1].polygon.outer.0[0] = [-1e15, 1e15];
        assert_eq!(overlay(&black(1300, 10), &result).width(), 1300);
    }

    #[test]
    fn sizes_suit_the_eye() {
        let mut result = two_objects();
        result.objects.clear();
        assert_eq!(overlay(&black(9_000, 3), &result).dimensions(), (3_000, 1));
        assert_eq!(
            overlay(&black(256, 100), &result).dimensions(),
            (1_024, 400)
        );
        assert_eq!(overlay(&black(2, 1), &result).dimensions(), (16, 8));
    }
}
