//! Ways to set the lowest level at which a pixel may belong to an object.

use super::super::background::Background;
use super::super::blocks::Blocks;
use super::super::grid::Grid;
use super::super::threshold::Levels;
use super::heights::Heights;

/// Side of the window of the local level, as a share of the image's shorter side: wider than a spheroid that fills half
/// of the field, so that none of them is hollowed out.
const WINDOW_SHARE: f64 = 0.6;

/// How far below the local mean the level lies where nothing varies: Sauvola's k.
const SAUVOLA_K: f32 = 0.2;

/// A level for every pixel of the image.
pub(super) enum Level<'a> {
    /// One for all, from the histogram.
    Global(f32),
    /// Sauvola's, from the mean and the deviation round each pixel; nowhere below the floor.
    Local { field: &'a Grid, floor: f32 },
}

impl Level<'_> {
    /// The level at a pixel.
    pub fn at(&self, heights: &Heights<'_>, x: usize, y: usize) -> f32 {
        match self {
            Self::Global(level) => *level,
            Self::Local { field, floor } => field
                .at(x, y, heights.width(), heights.height())
                .max(*floor),
        }
    }

    /// Marks the pixels of a row that reach the level.
    pub fn reach(&self, heights: &Heights<'_>, y: usize, cells: &mut [bool]) {
        match self {
            Self::Global(level) => heights.reach(y, *level, cells),
            Self::Local { field, floor } => {
                let mut levels = vec![0.0; cells.len()];
                field.row(y, heights.height(), &mut levels);
                levels
                    .iter_mut()
                    .for_each(|level| *level = level.max(*floor));
                heights.reach_each(y, &levels, cells);
            }
        }
    }
}

/// Sauvola's threshold (Sauvola and Pietikäinen, Pattern Recognition 33, 2000): m · (1 + k · (s / R − 1)) for dark objects,
/// where m and s are mean and deviation round the pixel and R is half the range of the image; bright objects are dark ones
/// of the negative. As heights over the background.
pub(super) fn sauvola(
    blocks: &Blocks,
    background: &Background,
    sign: f32,
    levels: &Levels,
) -> Grid {
    let (low, high) = range(&blocks.means());
    let half_range = ((high - low) / 2.0).max(f32::MIN_POSITIVE);
    let radius = (WINDOW_SHARE / 2.0 * blocks.width.min(blocks.height) as f64).ceil() as usize;
    let window = blocks.widened(radius);
    let share = |deviation: f32| 1.0 - SAUVOLA_K * (1.0 - (deviation / half_range).min(1.0));
    let mut values: Vec<f32> = window
        .means()
        .into_iter()
        .zip(window.deviations())
        .map(|(mean, deviation)| {
            if sign < 0.0 {
                mean * share(deviation)
            } else {
                high - (high - mean) * share(deviation)
            }
        })
        .collect();
    background.remove(&mut values, &background.light.values);
    values
        .iter_mut()
        .for_each(|value| *value = sign * *value - levels.background);
    Grid {
        width: blocks.width,
        height: blocks.height,
        values,
    }
}

fn range(values: &[f32]) -> (f32, f32) {
    values
        .iter()
        .fold((f32::MAX, f32::MIN), |(low, high), value| {
            (low.min(*value), high.max(*value))
        })
}
