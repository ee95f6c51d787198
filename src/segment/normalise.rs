//! Evens out the light and removes pixel noise, in one pass over the image.
//!
//! The background is what most of the image looks like: a quadratic surface, fitted to a reduced image so that objects
//! weigh little, and refitted without what deviates, so that they weigh nothing; what then remains of uneven light
//! among the background's own pixels is blurred and added. A vignette is quadratic, and a surface with six
//! coefficients cannot swallow an object.

use super::Raster;

/// Longest side of the reduced image on which the background is estimated, in pixels.
const REDUCED_SIDE_PX: usize = 128;

/// Share of the reduced image's pixels, the smoothest, that may be background.
const SMOOTH_SHARE: f64 = 0.5;

/// The same for each tile of the reduced image.
const SMOOTH_SHARE_OF_TILE: f64 = 0.25;

/// Tiles along the longer side.
const TILES: usize = 5;

/// Rounds of fitting and leaving out.
const FIT_ROUNDS: usize = 6;

/// A reduced pixel further from the surface than this many robust standard deviations is no background.
const OUTLIER_DEVIATIONS: f64 = 2.5;

/// Standard deviation of the blur of what remains, as a share of the reduced image's side.
const RESIDUAL_BLUR_SHARE: f64 = 0.12;

/// Light that passes through the sample dims objects in proportion; light that objects emit adds to the background.
/// A background above this share of the image's brightest values is taken for light that passes through.
const TRANSMITTED_SHARE: f64 = 0.25;

/// An image with the background at 0.
#[derive(Debug, Clone)]
pub(super) struct Flat {
    pub width: usize,
    pub height: usize,
    /// Row by row, in the image's own scale.
    pub values: Vec<f32>,
}

/// Smooths with a Gaussian of this standard deviation in pixels, and takes the background away.
pub(super) fn flatten(image: &Raster, smoothing_px: f64) -> Flat {
    let background = Background::estimate(image);
    let kernel = gaussian(smoothing_px);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let radius = kernel.len() - 1;
    let mut values = vec![0.0; width * height];
    let mut window = RowWindow::new(image, &kernel);
    let mut light = vec![0.0; width];
    for (y, row) in values.chunks_exact_mut(width).enumerate() {
        window.fill_to((y + radius).min(height - 1));
        window.blur_column(y, row);
        background.row(y, height, &mut light);
        background.remove(row, &light);
    }
    Flat {
        width,
        height,
        values,
    }
}

/// Half of a symmetric kernel, the middle first; it sums to 1. Cut at three standard deviations.
fn gaussian(sigma: f64) -> Vec<f32> {
    if sigma <= 0.0 {
        return vec![1.0];
    }
    let radius = (3.0 * sigma).ceil() as usize;
    let weight = |i: usize| (-0.5 * (i as f64 / sigma).powi(2)).exp();
    let sum = weight(0) + 2.0 * (1..=radius).map(weight).sum::<f64>();
    (0..=radius).map(|i| (weight(i) / sum) as f32).collect()
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
        let row = &mut self.rows[slot];
        weigh(
            row,
            &self.padded[radius..],
            &self.padded[radius..],
            self.kernel[0] / 2.0,
            true,
        );
        for (i, weight) in self.kernel.iter().enumerate().skip(1) {
            weigh(
                row,
                &self.padded[radius - i..],
                &self.padded[radius + i..],
                *weight,
                false,
            );
        }
    }

    fn blur_column(&self, y: usize, out: &mut [f32]) {
        let last = self.image.height() as usize - 1;
        let row = |y: usize| self.rows[y % self.rows.len()].as_slice();
        weigh(out, row(y), row(y), self.kernel[0] / 2.0, true);
        for (i, weight) in self.kernel.iter().enumerate().skip(1) {
            weigh(
                out,
                row(y.saturating_sub(i)),
                row((y + i).min(last)),
                *weight,
                false,
            );
        }
    }
}

/// `out (+)= weight · (a + b)`: the loop the compiler turns into vector instructions.
fn weigh(out: &mut [f32], a: &[f32], b: &[f32], weight: f32, first: bool) {
    if first {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = weight * (a + b);
        }
    } else {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out += weight * (a + b);
        }
    }
}

/// The light, on a reduced grid.
struct Background {
    width: usize,
    height: usize,
    values: Vec<f32>,
    /// The mean light where it is divided out, so that the scale stays the image's.
    divide_by_mean: Option<f32>,
}

impl Background {
    fn estimate(image: &Raster) -> Self {
        let Reduced {
            width,
            height,
            means: reduced,
            deviations,
        } = Reduced::of(image);
        // Objects have texture and edges, the ground has neither.
        let smooth = smoothest(&deviations, width);
        let mut inlier = smooth.clone();
        let mut surface = Surface::default();
        for _ in 0..FIT_ROUNDS {
            surface = Surface::fit(&reduced, &inlier, width, height);
            let residuals = surface.residuals(&reduced, width, height);
            let limit = OUTLIER_DEVIATIONS * deviation(&residuals, &inlier).max(1e-6);
            for ((inlier, smooth), residual) in inlier.iter_mut().zip(&smooth).zip(&residuals) {
                *inlier = *smooth && residual.abs() <= limit;
            }
        }
        let residuals = surface.residuals(&reduced, width, height);
        let sigma = RESIDUAL_BLUR_SHARE * width.max(height) as f64;
        let remaining = blur_where(&residuals, &inlier, width, height, sigma);
        let values: Vec<f32> = reduced
            .iter()
            .zip(residuals.iter().zip(&remaining))
            .map(|(value, (residual, remaining))| (f64::from(*value) - residual + remaining) as f32)
            .collect();
        let divide_by_mean = transmitted(&reduced, &values);
        Self {
            width,
            height,
            values,
            divide_by_mean,
        }
    }

    /// The light along a row of the full image, by bilinear interpolation between the reduced pixels' centres.
    fn row(&self, y: usize, full_height: usize, light: &mut [f32]) {
        let (top, bottom, down) = between(y, full_height, self.height);
        let value = |x: usize| {
            let (a, b) = (
                self.values[top * self.width + x],
                self.values[bottom * self.width + x],
            );
            a + (b - a) * down
        };
        let column: Vec<f32> = (0..self.width).map(value).collect();
        let full_width = light.len();
        for (x, light) in light.iter_mut().enumerate() {
            let (left, right, along) = between(x, full_width, self.width);
            *light = column[left] + (column[right] - column[left]) * along;
        }
    }

    fn remove(&self, row: &mut [f32], light: &[f32]) {
        match self.divide_by_mean {
            Some(mean) => {
                for (value, light) in row.iter_mut().zip(light) {
                    *value = (*value / light - 1.0) * mean;
                }
            }
            None => {
                for (value, light) in row.iter_mut().zip(light) {
                    *value -= light;
                }
            }
        }
    }
}

/// The two grid points round a pixel's centre, and how far it is from the first to the second.
fn between(at: usize, full: usize, reduced: usize) -> (usize, usize, f32) {
    let position = ((at as f32 + 0.5) * reduced as f32 / full as f32 - 0.5).max(0.0);
    let first = (position as usize).min(reduced - 1);
    (
        first,
        (first + 1).min(reduced - 1),
        (position - first as f32).min(1.0),
    )
}

/// The mean light, where it passes through the sample and is nowhere near darkness.
fn transmitted(reduced: &[f32], light: &[f32]) -> Option<f32> {
    let brightest = reduced.iter().copied().fold(f32::MIN, f32::max);
    let darkest_light = light.iter().copied().fold(f32::MAX, f32::min);
    let mean = light.iter().sum::<f32>() / light.len() as f32;
    let bright = f64::from(mean) > TRANSMITTED_SHARE * f64::from(brightest);
    (bright && darkest_light > 0.2 * mean).then_some(mean)
}

/// Blocks of the image, at most [`REDUCED_SIDE_PX`] to a side.
struct Reduced {
    width: usize,
    height: usize,
    means: Vec<f32>,
    /// Standard deviation within each block.
    deviations: Vec<f32>,
}

impl Reduced {
    fn of(image: &Raster) -> Self {
        let (full_width, full_height) = (image.width() as usize, image.height() as usize);
        let factor = full_width.max(full_height).div_ceil(REDUCED_SIDE_PX);
        let (width, height) = ((full_width / factor).max(1), (full_height / factor).max(1));
        let (across, down) = (
            full_width as f64 / width as f64,
            full_height as f64 / height as f64,
        );
        let mut blocks = vec![Block::default(); width * height];
        let mut row = vec![0.0; full_width];
        for y in 0..full_height {
            image.copy_row(y as u32, &mut row);
            let line = ((y as f64 / down) as usize).min(height - 1) * width;
            for (index, block) in blocks[line..line + width].iter_mut().enumerate() {
                let from = (index as f64 * across).ceil() as usize;
                let to = (((index + 1) as f64 * across).ceil() as usize).min(full_width);
                block.add(&row[from..to]);
            }
        }
        let means = blocks.iter().map(|block| block.mean() as f32).collect();
        let deviations = blocks
            .iter()
            .map(|block| block.deviation() as f32)
            .collect();
        Self {
            width,
            height,
            means,
            deviations,
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Block {
    sum: f64,
    squares: f64,
    count: u32,
}

impl Block {
    fn add(&mut self, values: &[f32]) {
        self.sum += f64::from(values.iter().sum::<f32>());
        self.squares += values
            .iter()
            .map(|value| f64::from(*value).powi(2))
            .sum::<f64>();
        self.count += values.len() as u32;
    }

    fn mean(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }

    fn deviation(&self) -> f64 {
        let mean = self.mean();
        (self.squares / f64::from(self.count.max(1)) - mean * mean)
            .max(0.0)
            .sqrt()
    }
}

/// The smoother share of all blocks, and of each tile: light is noisier where it is brighter, and every region has to
/// have its say.
fn smoothest(deviations: &[f32], width: usize) -> Vec<bool> {
    let height = deviations.len() / width;
    let mut smooth = vec![false; deviations.len()];
    mark_smoothest(
        deviations,
        (0..deviations.len()).collect(),
        SMOOTH_SHARE,
        &mut smooth,
    );
    let tile = width.max(height).div_ceil(TILES).max(1);
    for top in (0..height).step_by(tile) {
        for left in (0..width).step_by(tile) {
            let rows = top..(top + tile).min(height);
            let right = (left + tile).min(width);
            let inside = rows
                .flat_map(|y| y * width + left..y * width + right)
                .collect();
            mark_smoothest(deviations, inside, SMOOTH_SHARE_OF_TILE, &mut smooth);
        }
    }
    smooth
}

fn mark_smoothest(deviations: &[f32], mut among: Vec<usize>, share: f64, smooth: &mut [bool]) {
    let at = ((among.len() as f64 * share) as usize).min(among.len() - 1);
    let by = |a: &usize, b: &usize| deviations[*a].total_cmp(&deviations[*b]);
    let limit = deviations[*among.select_nth_unstable_by(at, by).1];
    among
        .iter()
        .filter(|index| deviations[**index] <= limit)
        .for_each(|index| smooth[*index] = true);
}

/// A quadratic surface over coordinates from -1 to 1: c · (1, x, y, x², xy, y²).
#[derive(Debug, Clone, Copy, Default)]
struct Surface([f64; 6]);

impl Surface {
    /// Least squares over the pixels marked, by the normal equations.
    fn fit(values: &[f32], marked: &[bool], width: usize, height: usize) -> Self {
        let mut matrix = [[0.0; 7]; 6];
        for (index, value) in values
            .iter()
            .enumerate()
            .filter(|(index, _)| marked[*index])
        {
            let terms = terms(index, width, height);
            for (row, a) in matrix.iter_mut().zip(terms) {
                for (cell, b) in row.iter_mut().zip(terms) {
                    *cell += a * b;
                }
                row[6] += a * f64::from(*value);
            }
        }
        Self(solve(matrix))
    }

    fn residuals(&self, values: &[f32], width: usize, height: usize) -> Vec<f64> {
        let at = |index: usize| -> f64 {
            terms(index, width, height)
                .iter()
                .zip(self.0)
                .map(|(term, c)| term * c)
                .sum()
        };
        values
            .iter()
            .enumerate()
            .map(|(index, value)| f64::from(*value) - at(index))
            .collect()
    }
}

fn terms(index: usize, width: usize, height: usize) -> [f64; 6] {
    let centred = |at: usize, side: usize| (2.0 * at as f64 + 1.0) / side as f64 - 1.0;
    let (x, y) = (
        centred(index % width, width),
        centred(index / width, height),
    );
    [1.0, x, y, x * x, x * y, y * y]
}

/// Gaussian elimination with pivoting; a coefficient that the data leave open (an image one pixel wide) becomes 0.
fn solve(mut matrix: [[f64; 7]; 6]) -> [f64; 6] {
    for column in 0..6 {
        let pivot = (column..6).max_by(|a, b| {
            matrix[*a][column]
                .abs()
                .total_cmp(&matrix[*b][column].abs())
        });
        matrix.swap(column, pivot.unwrap_or(column));
        let scale = matrix[column][column];
        if scale.abs() < 1e-9 {
            matrix[column] = [0.0; 7];
            continue;
        }
        matrix[column] = matrix[column].map(|cell| cell / scale);
        let pivot_row = matrix[column];
        for (index, row) in matrix.iter_mut().enumerate() {
            if index != column {
                let factor = row[column];
                row.iter_mut()
                    .zip(pivot_row)
                    .for_each(|(cell, pivot)| *cell -= factor * pivot);
            }
        }
    }
    matrix.map(|row| row[6])
}

/// A robust standard deviation about 0 of the marked values: 1.4826 × the median of their magnitudes.
fn deviation(residuals: &[f64], marked: &[bool]) -> f64 {
    let kept = residuals.iter().zip(marked).filter(|(_, marked)| **marked);
    let mut magnitudes: Vec<f64> = kept.map(|(residual, _)| residual.abs()).collect();
    if magnitudes.is_empty() {
        return 0.0;
    }
    let middle = magnitudes.len() / 2;
    *magnitudes.select_nth_unstable_by(middle, f64::total_cmp).1 * 1.4826
}

/// Gaussian blur of the marked values alone; far from any of them it tends to 0.
fn blur_where(
    values: &[f64],
    marked: &[bool],
    width: usize,
    height: usize,
    sigma: f64,
) -> Vec<f64> {
    /// Weight of the assumption that nothing remains, beside the weights of the marked pixels.
    const PRIOR: f64 = 0.02;
    let kernel = gaussian(sigma);
    let weights: Vec<f64> = marked
        .iter()
        .map(|marked| f64::from(u8::from(*marked)))
        .collect();
    let weighted: Vec<f64> = values
        .iter()
        .zip(&weights)
        .map(|(value, weight)| value * weight)
        .collect();
    let weighted = blur_small(&weighted, width, height, &kernel);
    let weights = blur_small(&weights, width, height, &kernel);
    weighted
        .iter()
        .zip(&weights)
        .map(|(value, weight)| value / (weight + PRIOR))
        .collect()
}

fn blur_small(values: &[f64], width: usize, height: usize, kernel: &[f32]) -> Vec<f64> {
    let radius = kernel.len() as isize - 1;
    let blur = |values: &[f64], along_x: bool| -> Vec<f64> {
        let one = |index: usize| -> f64 {
            let (x, y) = ((index % width) as isize, (index / width) as isize);
            let tap = |i: isize| {
                let (x, y) = if along_x { (x + i, y) } else { (x, y + i) };
                let x = x.clamp(0, width as isize - 1) as usize;
                let y = y.clamp(0, height as isize - 1) as usize;
                f64::from(kernel[i.unsigned_abs()]) * values[y * width + x]
            };
            (-radius..=radius).map(tap).sum()
        };
        (0..values.len()).map(one).collect()
    };
    blur(&blur(values, true), false)
}

#[cfg(test)]
mod tests {
    use super::super::Samples;
    use super::*;

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
        let flat = flatten(&image(300, 200, dimmed), 1.0);
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
        let flat = flatten(&image(64, 64, |x, y| 100.0 + ((x + y) % 2.0) * 10.0), 2.0);
        assert!(flat.values.iter().all(|value| value.abs() < 1.0));
    }

    #[test]
    fn images_of_one_pixel_row_or_column_are_images() {
        for (width, height) in [(1, 1), (1, 50), (50, 1), (2, 3)] {
            let flat = flatten(&image(width, height, |x, _| x), 2.0);
            assert_eq!(flat.values.len(), (width * height) as usize);
            assert!(flat.values.iter().all(|value| value.is_finite()));
        }
    }
}
