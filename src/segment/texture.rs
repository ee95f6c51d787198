//! What differs from the ground by its texture alone: bodies as bright as the ground, and gaps in a sheet of cells.
//!
//! The texture of a place is the standard deviation within a block of pixels and its neighbours. The smoothest quarter of
//! the image says how rough the ground is.

use super::blocks::Blocks;
use super::frame::Frame;
use super::grid::Grid;
use super::label;
use super::mask::Mask;
use super::shape;

/// Neighbours of a block that count as its texture, each way.
const WIDENED_BLOCKS: usize = 1;

/// A rough place has at least this many times the deviation of the ground.
const ROUGH: f32 = 2.5;

/// The ground's deviation is at least this share of the image's range: below lies what a camera or a compressor adds.
const GROUND_MIN_SHARE: f32 = 0.004;

/// Rough places this many blocks apart are one body.
const CLOSING_BLOCKS: usize = 3;

/// A body of texture fills at least this share of its convex hull.
const BODY_SOLIDITY: f64 = 0.8;

/// A body covers at least this share of the image: less is the edge of something.
const BODY_SHARE: f64 = 0.01;

/// A gap covers at least this share of the image …
const GAP_SHARE: f64 = 0.05;

/// … fills this share of its convex hull …
const GAP_SOLIDITY: f64 = 0.75;

/// … and at least this share of what is not gap is rough.
const SHEET_SHARE: f64 = 0.6;

/// Where the image is rough.
pub(super) struct Texture {
    rough: Mask,
}

impl Texture {
    /// Looks at the blocks; `None` where all of the image is about as rough.
    pub fn of(blocks: &Blocks) -> Option<Self> {
        let deviations = blocks.widened(WIDENED_BLOCKS).deviations();
        let mut sorted = deviations.clone();
        let quarter = sorted.len() / 4;
        let ground = *sorted.select_nth_unstable_by(quarter, f32::total_cmp).1;
        let means = blocks.means();
        let (low, high) = means
            .iter()
            .fold((f32::MAX, f32::MIN), |(low, high), mean| {
                (low.min(*mean), high.max(*mean))
            });
        let limit = ROUGH * ground.max(GROUND_MIN_SHARE * (high - low));
        let mut rough = Mask::new(0, 0, blocks.width, blocks.height);
        for y in 0..blocks.height {
            let row = &deviations[y * blocks.width..(y + 1) * blocks.width];
            for (cell, deviation) in rough.row_mut(y).iter_mut().zip(row) {
                *cell = *deviation >= limit;
            }
        }
        (rough.area() > 0).then(|| Self {
            // A block next to a rough one is rough because its neighbours are looked at too.
            rough: spread(&closed(&rough, CLOSING_BLOCKS), WIDENED_BLOCKS, false),
        })
    }

    /// Rough bodies that lie free in the image, in its own pixels.
    pub fn bodies(&self, frame: Frame) -> Vec<Mask> {
        let blocks = self.rough.width * self.rough.height;
        let least = (BODY_SHARE * blocks as f64) as u64;
        let parts = label::parts_of(&self.rough, least.max(1))
            .into_iter()
            .map(|mut body| {
                label::fill_holes(&mut body, u64::MAX);
                body
            });
        parts
            .filter(|body| shape::solidity(body) >= BODY_SOLIDITY)
            .map(|body| self.enlarged(&body, frame))
            .filter(|body| frame.sides_touched(body) == 0)
            .collect()
    }

    /// The smooth gap between two sheets of cells, from one side of the image to the opposite one: a wound.
    pub fn gap(&self, frame: Frame) -> Option<Mask> {
        let mut smooth = Mask::new(0, 0, self.rough.width, self.rough.height);
        for y in 0..smooth.height {
            for (cell, rough) in smooth.row_mut(y).iter_mut().zip(self.rough.row(y)) {
                *cell = !rough;
            }
        }
        let blocks = (smooth.width * smooth.height) as f64;
        let parts = label::parts_of(&smooth, (GAP_SHARE * blocks) as u64);
        let gap = parts.into_iter().find(|part| {
            let sheets = blocks - part.area() as f64;
            let rough = self.rough.area() as f64;
            spans(part, &smooth)
                && shape::solidity(part) >= GAP_SOLIDITY
                && rough >= SHEET_SHARE * sheets
        })?;
        Some(self.enlarged(&gap, frame))
    }

    /// A mask of blocks in the image's own pixels, with smooth outlines.
    fn enlarged(&self, part: &Mask, frame: Frame) -> Mask {
        let mut values = vec![0.0; self.rough.width * self.rough.height];
        for (x, y) in part.pixels() {
            values[(part.y as usize + y) * self.rough.width + part.x as usize + x] = 1.0;
        }
        let grid = Grid {
            width: self.rough.width,
            height: self.rough.height,
            values,
        };
        let mut row = vec![0.0; frame.width];
        let found = label::components(frame.width, frame.height, 1, |y, cells| {
            grid.row(y, frame.height, &mut row);
            cells
                .iter_mut()
                .zip(&row)
                .for_each(|(cell, value)| *cell = *value >= 0.5);
        });
        let largest = found
            .iter()
            .max_by_key(|runs| runs.iter().map(|run| run.to - run.from).sum::<u32>());
        largest.map_or_else(|| Mask::new(0, 0, 1, 1), |runs| label::mask_of(runs))
    }
}

/// Whether a part reaches two opposite sides and stays clear of one of the others.
fn spans(part: &Mask, image: &Mask) -> bool {
    let left = part.x == 0;
    let top = part.y == 0;
    let right = part.x as usize + part.width == image.width;
    let bottom = part.y as usize + part.height == image.height;
    (left && right && !(top && bottom)) || (top && bottom && !(left && right))
}

/// Closing by a square: grown by `radius` cells, then shrunk by as many; the frame counts as what lies beside it.
fn closed(mask: &Mask, radius: usize) -> Mask {
    let grown = spread(mask, radius, true);
    spread(&grown, radius, false)
}

/// Every cell takes the value where one within `radius` cells has it.
fn spread(mask: &Mask, radius: usize, value: bool) -> Mask {
    let mut across = mask.clone();
    for y in 0..mask.height {
        let row = mask.row(y);
        for (x, cell) in across.row_mut(y).iter_mut().enumerate() {
            let window = &row[x.saturating_sub(radius)..(x + radius + 1).min(row.len())];
            *cell = window.contains(&value) == value;
        }
    }
    let mut down = across.clone();
    for y in 0..mask.height {
        let rows = y.saturating_sub(radius)..(y + radius + 1).min(mask.height);
        for x in 0..mask.width {
            let any = rows.clone().any(|row| across.row(row)[x] == value);
            down.set(x, y, any == value);
        }
    }
    down
}
