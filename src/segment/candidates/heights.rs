//! The flattened image seen in one direction: how far each pixel stands out from the background.

use super::super::mask::Mask;
use super::super::normalise::Flat;
use super::super::threshold::Levels;

/// How far an edge's two sides are probed from the outline, in pixels.
pub(super) const PROBE_PX: isize = 3;

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

    /// The height that a tenth of the mask exceeds.
    pub fn plateau(&self, mask: &Mask) -> f32 {
        let mut heights: Vec<f32> = self.of(mask).collect();
        let at = heights.len() * 9 / 10;
        *heights.select_nth_unstable_by(at, f32::total_cmp).1
    }

    pub fn mean(&self, mask: &Mask) -> f32 {
        let heights = self.of(mask).map(f64::from);
        let (sum, count) = heights.fold((0.0, 0_u64), |(sum, count), height| {
            (sum + height, count + 1)
        });
        (sum / count.max(1) as f64) as f32
    }

    /// The heights of a mask's pixels.
    pub fn of(&self, mask: &Mask) -> impl Iterator<Item = f32> {
        let rows = (0..mask.height).flat_map(move |y| {
            let values = self.values(mask.x as usize, mask.y as usize + y, mask.width);
            values.iter().zip(mask.row(y)).filter(|(_, set)| **set)
        });
        rows.map(|(value, _)| self.sign * value - self.background)
    }

    /// The mean step from a little outside to a little inside, along the outline.
    pub fn edge(&self, mask: &Mask) -> f32 {
        let (mut sum, mut count) = (0.0_f64, 0_u64);
        for side in sides(mask) {
            let (inside, outside) = (self.beside(side, 1 - PROBE_PX), self.beside(side, PROBE_PX));
            sum += f64::from(self.at(inside.0, inside.1) - self.at(outside.0, outside.1));
            count += 1;
        }
        (sum / count.max(1) as f64) as f32
    }

    /// Places a little outside of the outline, one for every pixel side.
    pub fn places_outside(&self, mask: &Mask) -> impl Iterator<Item = (usize, usize)> {
        sides(mask).map(|side| self.beside(side, PROBE_PX))
    }

    /// The place so many pixels out from a side, or the nearest one within the image.
    fn beside(&self, ((x, y), (dx, dy)): Side, distance: isize) -> (usize, usize) {
        let x = (x + dx * distance).clamp(0, self.flat.width as isize - 1);
        let y = (y + dy * distance).clamp(0, self.flat.height as isize - 1);
        (x as usize, y as usize)
    }

    fn values(&self, x: usize, y: usize, count: usize) -> &'a [f32] {
        let start = y * self.flat.width + x;
        &self.flat.values[start..start + count]
    }
}

/// A pixel of an object, and the direction in which the outline lies next to it.
type Side = ((isize, isize), (isize, isize));

/// The sides of a mask's pixels that make up its outline.
fn sides(mask: &Mask) -> impl Iterator<Item = Side> {
    let around = [(1, 0), (-1, 0), (0, 1), (0, -1)];
    let at_outline = mask.pixels().filter(move |(x, y)| !mask.is_inner(*x, *y));
    at_outline.flat_map(move |(x, y)| {
        let open = around
            .into_iter()
            .filter(move |(dx, dy)| !mask.at(x as isize + dx, y as isize + dy));
        let place = (
            (mask.x as usize + x) as isize,
            (mask.y as usize + y) as isize,
        );
        open.map(move |direction| (place, direction))
    })
}
