//! The light of an image without its objects.
//!
//! The background is what most of the image looks like: a quadratic surface, fitted to the smooth parts of a reduced
//! image, and refitted without what deviates, so that objects weigh nothing; what then remains of uneven light among
//! the background's own pixels is blurred and added. A vignette is quadratic, and a surface with six coefficients
//! cannot swallow an object.

use super::blocks::Blocks;
use super::convolve::{convolve, gaussian};
use super::grid::Grid;
use super::surface::Surface;

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
/// The light, on a reduced grid.
pub(super) struct Background {
    /// The light itself, in the image's scale.
    pub light: Grid,
    /// The mean light where it is divided out, so that the scale stays the image's.
    divide_by_mean: Option<f32>,
}

impl Background {
    /// Estimates it.
    pub fn estimate(blocks: &Blocks) -> Self {
        let (width, height) = (blocks.width, blocks.height);
        let reduced = blocks.means();
        // Objects have texture and edges, the ground has neither.
        let smooth = smoothest(&blocks.deviations(), width);
        let mut inlier = near_middle(&reduced, &smooth);
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
        let light = Grid {
            width,
            height,
            values,
        };
        Self {
            light,
            divide_by_mean,
        }
    }

    /// Takes the light away from a row.
    pub fn remove(&self, row: &mut [f32], light: &[f32]) {
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

/// The mean light, where it passes through the sample and is nowhere near darkness.
fn transmitted(reduced: &[f32], light: &[f32]) -> Option<f32> {
    let brightest = reduced.iter().copied().fold(f32::MIN, f32::max);
    let darkest_light = light.iter().copied().fold(f32::MAX, f32::min);
    let mean = light.iter().sum::<f32>() / light.len() as f32;
    let bright = f64::from(mean) > TRANSMITTED_SHARE * f64::from(brightest);
    (bright && darkest_light > 0.2 * mean).then_some(mean)
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

/// The marked values near their median. A quadratic surface would happily follow the dark corners outside a well; what
/// of a vignette is left out here comes back in when the surface has been fitted to the rest.
fn near_middle(values: &[f32], marked: &[bool]) -> Vec<bool> {
    let kept = values.iter().zip(marked).filter(|(_, marked)| **marked);
    let mut sorted: Vec<f32> = kept.map(|(value, _)| *value).collect();
    let middle = sorted.len() / 2;
    let median = f64::from(*sorted.select_nth_unstable_by(middle, f32::total_cmp).1);
    let off: Vec<f64> = values
        .iter()
        .map(|value| f64::from(*value) - median)
        .collect();
    let limit = OUTLIER_DEVIATIONS * deviation(&off, marked).max(1e-6);
    off.iter()
        .zip(marked)
        .map(|(off, marked)| *marked && off.abs() <= limit)
        .collect()
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
    let weights: Vec<f32> = marked
        .iter()
        .map(|marked| f32::from(u8::from(*marked)))
        .collect();
    let weighted: Vec<f32> = values
        .iter()
        .zip(&weights)
        .map(|(value, weight)| *value as f32 * weight)
        .collect();
    let weighted = blur_small(&weighted, width, height, &kernel);
    let weights = blur_small(&weights, width, height, &kernel);
    weighted
        .iter()
        .zip(&weights)
        .map(|(value, weight)| f64::from(*value) / (f64::from(*weight) + PRIOR))
        .collect()
}

/// Gaussian blur of a small plane, along its rows and then across them; beyond its edges the outermost values go on.
fn blur_small(values: &[f32], width: usize, height: usize, kernel: &[f32]) -> Vec<f32> {
    let radius = kernel.len() - 1;
    let mut along = vec![0.0; values.len()];
    let mut padded = vec![0.0; width + 2 * radius];
    for (out, row) in along
        .chunks_exact_mut(width)
        .zip(values.chunks_exact(width))
    {
        padded[..radius].fill(row[0]);
        padded[radius..radius + width].copy_from_slice(row);
        padded[radius + width..].fill(row[width - 1]);
        convolve(out, kernel, |i| {
            (&padded[radius - i..], &padded[radius + i..])
        });
    }
    let row = |y: usize| &along[y * width..(y + 1) * width];
    let mut across = vec![0.0; values.len()];
    for (y, out) in across.chunks_exact_mut(width).enumerate() {
        convolve(out, kernel, |i| {
            (row(y.saturating_sub(i)), row((y + i).min(height - 1)))
        });
    }
    across
}
