//! A small grey picture of an image, its contrast stretched: what a page shows before there is a result.

use std::io::Write;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::segment::{Raster, SegmentError};

/// How many values the contrast is judged by.
const CONTRAST_SAMPLES: usize = 50_000;

/// Shares of the darkest and brightest values that are drawn black and white, in thousandths.
const CLIPPED_PER_MILLE: usize = 3;

/// Writes the picture as an 8-bit grey PNG whose longer side has at most `side_max_px` pixels. A pixel of it is the mean
/// of the square of image pixels that it stands for.
///
/// # Errors
/// [`SegmentError::Io`] where writing fails.
pub fn write(image: &Raster, side_max_px: u32, writer: impl Write) -> Result<(), SegmentError> {
    let longer = image.width().max(image.height());
    let step = longer.div_ceil(side_max_px.max(1)).max(1);
    let (width, height) = (image.width().div_ceil(step), image.height().div_ceil(step));
    PngEncoder::new_with_quality(writer, CompressionType::Fast, FilterType::Sub)
        .write_image(&greys(image, step), width, height, ExtendedColorType::L8)
        .map_err(|error| SegmentError::Io(std::io::Error::other(error)))
}

/// The image in grey, its contrast stretched, one pixel for each square of `step` pixels.
pub(super) fn greys(image: &Raster, step: u32) -> Vec<u8> {
    let (black, white) = contrast(image);
    let scale = 255.0 / (white - black).max(f32::MIN_POSITIVE);
    let mut greys = Vec::new();
    for top in (0..image.height()).step_by(step as usize) {
        // The cast saturates at 0 and 255.
        let row = mean_row(image, top, step);
        greys.extend(row.iter().map(|mean| ((mean - black) * scale) as u8));
    }
    greys
}

/// The values drawn black and white.
fn contrast(image: &Raster) -> (f32, f32) {
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

/// Means of squares of `step` pixels, of which the first begins at (0, `top`); those at the frame are cut off by it.
fn mean_row(image: &Raster, top: u32, step: u32) -> Vec<f32> {
    let rows = top..(top + step).min(image.height());
    let mut row = vec![0.0; image.width() as usize];
    let mut sums = vec![0.0_f32; image.width().div_ceil(step) as usize];
    for y in rows.clone() {
        image.copy_row(y, &mut row);
        for (sum, values) in sums.iter_mut().zip(row.chunks(step as usize)) {
            *sum += values.iter().sum::<f32>() / values.len() as f32;
        }
    }
    sums.iter_mut().for_each(|sum| *sum /= rows.len() as f32);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Samples;

    #[test]
    fn squares_become_their_means_between_black_and_white() {
        // Three squares of 2 × 2 and a half one: 0, 100, 200, 200.
        let top = [0, 0, 50, 150, 200, 200, 200];
        let samples = [top, top].concat();
        let image = Raster::new(7, 2, Samples::U8(samples)).unwrap();
        let mut file = Vec::new();
        write(&image, 4, &mut file).unwrap();
        let picture = image::load_from_memory(&file).unwrap().into_luma8();
        assert_eq!(picture.dimensions(), (4, 1));
        assert_eq!(picture.into_raw(), [0, 127, 255, 255]);
    }
}
