//! An object at the scale at which it is parted.

use super::super::label;
use super::super::mask::Mask;
use super::depth::depths;

/// The middle of an object lies this many cells deep when it is parted: necks are found, texture is not.
const DEPTH_CELLS: f32 = 16.0;

/// Longest side of the grid on which an object's depth is estimated, in cells.
const ROUGH_CELLS: usize = 48;

/// Heights below this share of the object's own plateau count as this much: a dark centre is no valley to its ground.
const HEIGHT_MIN: f32 = 0.1;

/// An object whose holes make it appear this many times as large is a ring or a cluster of rings, which have no heights in
/// their middle: it is parted by its shape alone.
const HOLLOW: f32 = 1.3;

/// A mask without holes and the heights over it, `factor` pixels to a cell each way.
pub(super) struct Coarse {
    pub mask: Mask,
    /// Relative to the plateau, by the mask's cells.
    pub heights: Vec<f32>,
    factor: usize,
}

impl Coarse {
    /// At the scale that suits the object's largest depth.
    pub fn of(mask: &Mask, heights_at: &impl Fn(usize, usize, &mut [f32])) -> Self {
        let rough_factor = (mask.width.max(mask.height) / ROUGH_CELLS).max(1);
        let rough = reduced(mask, rough_factor);
        let deepest = depths(&rough).into_iter().fold(0.0, f32::max) * rough_factor as f32;
        let factor = ((deepest / DEPTH_CELLS) as usize).max(1);
        let coarse = if factor == rough_factor {
            rough
        } else {
            reduced(mask, factor)
        };
        let hollow = coarse.area() as f32 * (factor * factor) as f32 > HOLLOW * mask.area() as f32;
        let heights = if hollow {
            vec![1.0; coarse.cells().len()]
        } else {
            heights(mask, &coarse, factor, heights_at)
        };
        Self {
            mask: coarse,
            heights,
            factor,
        }
    }

    /// The parts of the full mask, whose cells belong to the owners given (by the mask's cells, `None` outside).
    pub fn parts(&self, mask: &Mask, owners: &[Option<u32>]) -> Vec<Mask> {
        let count = owners
            .iter()
            .flatten()
            .max()
            .map_or(0, |last| *last as usize + 1);
        let mut parts = vec![Mask::new(mask.x, mask.y, mask.width, mask.height); count];
        for (x, y) in mask.pixels() {
            if let Some(owner) = self.owner(owners, x, y) {
                parts[owner as usize].set(x, y, true);
            }
        }
        parts
    }

    /// The owner with the largest weight among the four cells round a pixel, so that seams are smooth lines.
    fn owner(&self, owners: &[Option<u32>], x: usize, y: usize) -> Option<u32> {
        let stride = self.mask.stride();
        let place = |at: usize| (at as f32 + 0.5) / self.factor as f32 + 0.5;
        let (px, py) = (place(x), place(y));
        let (left, top) = (px as usize, py as usize);
        let (right_share, bottom_share) = (px - left as f32, py - top as f32);
        let corners = [
            (left, top, (1.0 - right_share) * (1.0 - bottom_share)),
            (left + 1, top, right_share * (1.0 - bottom_share)),
            (left, top + 1, (1.0 - right_share) * bottom_share),
            (left + 1, top + 1, right_share * bottom_share),
        ];
        let owners =
            corners.map(|(x, y, weight)| (owners.get(y * stride + x).copied().flatten(), weight));
        let weight_of = |wanted: u32| -> f32 {
            owners
                .iter()
                .filter(|(owner, _)| *owner == Some(wanted))
                .map(|(_, weight)| weight)
                .sum()
        };
        let heaviest = |a: &u32, b: &u32| weight_of(*a).total_cmp(&weight_of(*b));
        owners
            .iter()
            .filter_map(|(owner, _)| *owner)
            .max_by(heaviest)
    }
}

/// The mask without holes, `factor` pixels to a cell: set where at least half of the pixels are.
fn reduced(mask: &Mask, factor: usize) -> Mask {
    let (width, height) = (mask.width.div_ceil(factor), mask.height.div_ceil(factor));
    let mut reduced = Mask::new(0, 0, width, height);
    let mut columns = vec![0_u32; mask.width];
    for y in 0..height {
        columns.fill(0);
        for row in y * factor..((y + 1) * factor).min(mask.height) {
            for (count, set) in columns.iter_mut().zip(mask.row(row)) {
                *count += u32::from(*set);
            }
        }
        for (cell, columns) in reduced.row_mut(y).iter_mut().zip(columns.chunks(factor)) {
            *cell = 2 * columns.iter().sum::<u32>() as usize >= factor * factor;
        }
    }
    label::fill_holes(&mut reduced, u64::MAX);
    reduced
}

/// Mean height of the mask's pixels round each cell, relative to the plateau, which is what a tenth of the cells exceed.
fn heights(
    mask: &Mask,
    coarse: &Mask,
    factor: usize,
    heights: &impl Fn(usize, usize, &mut [f32]),
) -> Vec<f32> {
    let stride = coarse.stride();
    let mut sums = vec![0.0_f32; coarse.cells().len()];
    let mut counts = vec![0.0_f32; sums.len()];
    let mut row_heights = vec![0.0; mask.width];
    let mut columns = vec![(0.0_f32, 0.0_f32); mask.width];
    for y in 0..coarse.height {
        columns.fill((0.0, 0.0));
        for row in y * factor..((y + 1) * factor).min(mask.height) {
            heights(mask.x as usize, mask.y as usize + row, &mut row_heights);
            for ((column, set), height) in columns.iter_mut().zip(mask.row(row)).zip(&row_heights) {
                let weight = f32::from(u8::from(*set));
                column.0 += weight * height;
                column.1 += weight;
            }
        }
        let line = (y + 1) * stride + 1;
        let cells = sums[line..].iter_mut().zip(&mut counts[line..]);
        for ((sum, count), columns) in cells.zip(columns.chunks(factor)) {
            *sum = columns.iter().map(|column| column.0).sum();
            *count = columns.iter().map(|column| column.1).sum();
        }
    }
    let mut heights = means(&sums, &counts, stride);
    // Holes in the mask get the heights of what surrounds them, from their rims inwards: a hole is no valley.
    while heights
        .iter()
        .zip(coarse.cells())
        .any(|(height, set)| *set && height.is_nan())
    {
        let known: Vec<f32> = heights
            .iter()
            .map(|height| f32::from(u8::from(!height.is_nan())))
            .collect();
        let values: Vec<f32> = heights
            .iter()
            .map(|height| if height.is_nan() { 0.0 } else { *height })
            .collect();
        if known.iter().all(|known| *known == 0.0) {
            return vec![1.0; heights.len()];
        }
        let filled = means(&values, &known, stride);
        for (height, filled) in heights
            .iter_mut()
            .zip(filled)
            .filter(|(height, _)| height.is_nan())
        {
            *height = filled;
        }
    }
    let known = heights
        .iter()
        .zip(coarse.cells())
        .filter(|(height, set)| **set && height.is_finite());
    let mut known: Vec<f32> = known.map(|(height, _)| *height).collect();
    let at = known.len() * 9 / 10;
    let plateau = known
        .select_nth_unstable_by(at, f32::total_cmp)
        .1
        .max(f32::MIN_POSITIVE);
    for height in &mut heights {
        *height = (*height / plateau).max(HEIGHT_MIN);
    }
    heights
}

/// The mean of each cell and its eight neighbours; not a number where none of them is known.
fn means(sums: &[f32], counts: &[f32], stride: usize) -> Vec<f32> {
    let (sums, counts) = (around(sums, stride), around(counts, stride));
    sums.iter()
        .zip(&counts)
        .map(|(sum, count)| sum / count)
        .collect()
}

/// The sum over each cell and its eight neighbours; the frame counts as it is.
fn around(values: &[f32], stride: usize) -> Vec<f32> {
    let three = |values: &[f32], step: usize| -> Vec<f32> {
        let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
        (0..values.len())
            .map(|index| at(index.wrapping_sub(step)) + at(index) + at(index + step))
            .collect()
    };
    three(&three(values, 1), stride)
}
