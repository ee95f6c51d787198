//! The flattened image seen in one direction: how far each pixel stands out from the background.

use super::super::label;
use super::super::mask::Mask;
use super::super::normalise::Flat;
use super::super::threshold::Levels;

/// How far an edge's two sides are probed from the outline, in pixels.
pub(super) const PROBE_PX: i32 = 3;

/// Pixels of an object, or sides of its outline, that suffice to know what is typical of it.
const SAMPLES: u64 = 4096;

/// Heights over the background; bright objects stand out for a sign of 1, dark ones for −1.
#[derive(Clone, Copy)]
pub(super) struct Heights<'a> {
    flat: &'a Flat,
    sign: f32,
    background: f32,
}

impl<'a> Heights<'a> {
    pub fn new(flat: &'a Flat, sign: f32, levels: &Levels) -> Self {
        Self {
            flat,
            sign,
            background: levels.background,
        }
    }

    pub fn width(&self) -> usize {
        self.flat.width
    }

    pub fn height(&self) -> usize {
        self.flat.height
    }

    pub fn at(&self, x: usize, y: usize) -> f32 {
        self.sign * self.flat.values[y * self.flat.width + x] - self.background
    }

    /// Pixels of row `y` whose height reaches the level.
    pub fn reach(&self, y: usize, level: f32, cells: &mut [bool]) {
        let limit = level + self.background;
        for (cell, value) in cells.iter_mut().zip(self.values(0, y, self.flat.width)) {
            *cell = self.sign * value >= limit;
        }
    }

    /// Pixels of row `y` whose height reaches the level of their column.
    pub fn reach_each(&self, y: usize, levels: &[f32], cells: &mut [bool]) {
        let values = self.values(0, y, self.flat.width).iter().zip(levels);
        for (cell, (value, level)) in cells.iter_mut().zip(values) {
            *cell = self.sign * value - self.background >= *level;
        }
    }

    /// The part of a mask that reaches the level.
    pub fn above(&self, mask: &Mask, level: f32) -> Mask {
        let mut above = mask.clone();
        let limit = level + self.background;
        for y in 0..mask.height {
            let values = self.values(mask.x as usize, mask.y as usize + y, mask.width);
            for (cell, value) in above.row_mut(y).iter_mut().zip(values) {
                *cell &= self.sign * value >= limit;
            }
        }
        above
    }

    /// The heights from a place on to the right.
    pub fn copy(&self, x: usize, y: usize, heights: &mut [f32]) {
        let values = self.values(x, y, heights.len());
        for (height, value) in heights.iter_mut().zip(values) {
            *height = self.sign * value - self.background;
        }
    }

    /// What is typical of the heights under a mask.
    pub fn typical(&self, mask: &Mask) -> Typical {
        let every = (mask.area() / SAMPLES).max(1) as usize;
        let mut heights: Vec<f32> = Vec::new();
        for y in (0..mask.height).step_by(every) {
            let values = self.values(mask.x as usize, mask.y as usize + y, mask.width);
            let set = values.iter().zip(mask.row(y)).filter(|(_, set)| **set);
            heights.extend(set.map(|(value, _)| self.sign * value - self.background));
        }
        let sum: f64 = heights.iter().map(|height| f64::from(*height)).sum();
        let mean = (sum / heights.len().max(1) as f64) as f32;
        let at = heights.len() * 9 / 10;
        let plateau = if heights.is_empty() {
            0.0
        } else {
            *heights.select_nth_unstable_by(at, f32::total_cmp).1
        };
        Typical { plateau, mean }
    }

    /// The mean step from a little outside to a little inside, along the outline.
    pub fn step(&self, outline: &[Side]) -> f32 {
        let (mut sum, mut count) = (0.0_f64, 0_u64);
        for side in sampled(outline) {
            let (inside, outside) = (self.beside(side, 1 - PROBE_PX), self.beside(side, PROBE_PX));
            sum += f64::from(self.at(inside.0, inside.1) - self.at(outside.0, outside.1));
            count += 1;
        }
        (sum / count.max(1) as f64) as f32
    }

    /// Places a little outside of the outline.
    pub fn places_outside(&self, outline: &[Side]) -> impl Iterator<Item = (usize, usize)> {
        sampled(outline).map(|side| self.beside(side, PROBE_PX))
    }

    /// The place so many pixels out from a side, or the nearest one within the image.
    fn beside(&self, side: &Side, distance: i32) -> (usize, usize) {
        let (dx, dy) = side.outwards;
        let along = |at: u32, d: i32, end: usize| {
            let at = i64::from(at) + i64::from(d * distance);
            at.clamp(0, end as i64 - 1) as usize
        };
        (
            along(side.x, dx, self.flat.width),
            along(side.y, dy, self.flat.height),
        )
    }

    fn values(&self, x: usize, y: usize, count: usize) -> &'a [f32] {
        let start = y * self.flat.width + x;
        &self.flat.values[start..start + count]
    }
}

/// What is typical of the heights under a mask, from a sample of its rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typical {
    /// The height that a tenth of the pixels exceeds.
    pub plateau: f32,
    pub mean: f32,
}

/// A pixel at the outline of an object, and the direction in which the outline lies next to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side {
    x: u32,
    y: u32,
    outwards: (i32, i32),
}

/// The sides of a mask's pixels that make up its outline, its holes' outlines included.
pub(super) fn outline(mask: &Mask) -> Vec<Side> {
    let mut sides = Vec::new();
    let mut at_outline = vec![false; mask.width];
    for y in 0..mask.height {
        mask.mark_outline(y, &mut at_outline);
        let mut from = 0;
        while let Some(x) = label::find(&at_outline, from, true) {
            for outwards in [(1, 0), (-1, 0), (0, 1), (0, -1)] {
                if !mask.at(
                    x as isize + outwards.0 as isize,
                    y as isize + outwards.1 as isize,
                ) {
                    let (x, y) = (mask.x + x as u32, mask.y + y as u32);
                    sides.push(Side { x, y, outwards });
                }
            }
            from = x + 1;
        }
    }
    sides
}

fn sampled(outline: &[Side]) -> impl Iterator<Item = &Side> {
    outline
        .iter()
        .step_by((outline.len() / SAMPLES as usize).max(1))
}
