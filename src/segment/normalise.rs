//! Evens out the light and removes pixel noise, in one pass over the image.

use super::Raster;
use super::background::Background;
use super::convolve::{convolve, gaussian};

/// An image with the background at 0.
#[derive(Debug, Clone)]
pub(super) struct Flat {
    pub width: usize,
    pub height: usize,
    /// Row by row, in the image's own scale.
    pub values: Vec<f32>,
}

/// Smooths with a Gaussian of this standard deviation in pixels, and takes the background away.
pub(super) fn flatten(image: &Raster, background: &Background, smoothing_px: f64) -> Flat {
    let kernel = gaussian(smoothing_px);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let radius = kernel.len() - 1;
    let mut values = vec![0.0; width * height];
    let mut window = RowWindow::new(image, &kernel);
    let mut light = vec![0.0; width];
    for (y, row) in values.chunks_exact_mut(width).enumerate() {
        window.fill_to((y + radius).min(height - 1));
        window.blur_column(y, row);
        background.light.row(y, height, &mut light);
        background.remove(row, &light);
    }
    Flat {
        width,
        height,
        values,
    }
}

/// The rows round the present one, blurred along x, in a ring: the whole plane is never held twice. Beyond its edges
/// the image goes on as its mirror image.
struct RowWindow<'a> {
    image: &'a Raster,
    kernel: &'a [f32],
    rows: Vec<Vec<f32>>,
    padded: Vec<f32>,
    filled: usize,
}

impl<'a> RowWindow<'a> {
    fn new(image: &'a Raster, kernel: &'a [f32]) -> Self {
        let width = image.width() as usize;
        let rows = vec![vec![0.0; width]; 2 * kernel.len()];
        Self {
            image,
            kernel,
            rows,
            padded: vec![0.0; width + 2 * (kernel.len() - 1)],
            filled: 0,
        }
    }

    fn fill_to(&mut self, last: usize) {
        while self.filled <= last {
            let slot = self.filled % self.rows.len();
            self.blur_row(self.filled as u32, slot);
            self.filled += 1;
        }
    }

    fn blur_row(&mut self, y: u32, slot: usize) {
        let radius = self.kernel.len() - 1;
        let width = self.image.width() as usize;
        self.image
            .copy_row(y, &mut self.padded[radius..radius + width]);
        for i in 1..=radius {
            let from = (i - 1).min(width - 1);
            self.padded[radius - i] = self.padded[radius + from];
            self.padded[radius + width - 1 + i] = self.padded[radius + width - 1 - from];
        }
        let padded = &self.padded;
        convolve(&mut self.rows[slot], self.kernel, |i| {
            (&padded[radius - i..], &padded[radius + i..])
        });
    }

    fn blur_column(&self, y: usize, out: &mut [f32]) {
        let last = self.image.height() as usize - 1;
        let row = |y: usize| self.rows[y % self.rows.len()].as_slice();
        convolve(out, self.kernel, |i| {
            (row(y.saturating_sub(i)), row((y + i).min(last)))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::Samples;
    use super::super::blocks::Blocks;
    use super::*;

    fn flattened(image: &Raster, smoothing_px: f64) -> Flat {
        flatten(
            image,
            &Background::estimate(&Blocks::of(image).halved()),
            smoothing_px,
        )
    }

    fn image(width: u32, height: u32, value: impl Fn(f32, f32) -> f32) -> Raster {
        let at = |index: u32| value((index % width) as f32, (index / width) as f32);
        let values = (0..width * height).map(at).collect();
        Raster::new(width, height, Samples::F32(values)).unwrap()
    }

    #[test]
    fn a_vignette_disappears_and_an_object_stays() {
        let vignette = |x: f32, y: f32| {
            200.0 - 80.0 * ((x / 150.0 - 1.0).powi(2) + (y / 100.0 - 1.0).powi(2)) / 2.0
        };
        let object = |x: f32, y: f32| (x - 200.0).hypot(y - 90.0) < 40.0;
        let dimmed = |x, y| vignette(x, y) * if object(x, y) { 0.5 } else { 1.0 };
        let flat = flattened(&image(300, 200, dimmed), 1.0);
        for (index, value) in flat.values.iter().enumerate() {
            let (x, y) = ((index % 300) as f32, (index / 300) as f32);
            let distance = (x - 200.0).hypot(y - 90.0);
            if distance > 46.0 {
                assert!(value.abs() < 4.0, "background {value} at {x} {y}");
            } else if distance < 34.0 {
                assert!(*value < -60.0, "object {value} at {x} {y}");
            }
        }
    }

    #[test]
    fn smoothing_keeps_the_mean_and_lowers_the_noise() {
        let flat = flattened(&image(64, 64, |x, y| 100.0 + ((x + y) % 2.0) * 10.0), 2.0);
        assert!(flat.values.iter().all(|value| value.abs() < 1.0));
    }

    #[test]
    fn images_of_one_pixel_row_or_column_are_images() {
        for (width, height) in [(1, 1), (1, 50), (50, 1), (2, 3)] {
            let flat = flattened(&image(width, height, |x, _| x), 2.0);
            assert_eq!(flat.values.len(), (width * height) as usize);
            assert!(flat.values.iter().all(|value| value.is_finite()));
        }
    }
}
