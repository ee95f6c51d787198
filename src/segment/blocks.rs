//! An image reduced to blocks: what its light, its texture and its local levels are estimated from.

use super::Raster;

/// Longest side of the reduced image in blocks.
const SIDE_BLOCKS: usize = 256;

/// Sums over blocks of an image, from which means and deviations follow.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    /// Blocks to a row.
    pub width: usize,
    /// Rows of blocks.
    pub height: usize,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Block {
    sum: f64,
    squares: f64,
    count: u32,
}

impl Blocks {
    /// Blocks of equal size, at most [`SIDE_BLOCKS`] to a side; small images keep their pixels.
    pub fn of(image: &Raster) -> Self {
        let (full_width, full_height) = (image.width() as usize, image.height() as usize);
        let factor = full_width.max(full_height).div_ceil(SIDE_BLOCKS);
        let (width, height) = ((full_width / factor).max(1), (full_height / factor).max(1));
        let end =
            |index: usize, full: usize, reduced: usize| ((index + 1) * full).div_ceil(reduced);
        let ends: Vec<usize> = (0..width).map(|x| end(x, full_width, width)).collect();
        let mut blocks = vec![Block::default(); width * height];
        let mut row = vec![0.0; full_width];
        let mut y = 0;
        for (line, blocks) in blocks.chunks_exact_mut(width).enumerate() {
            while y < end(line, full_height, height).min(full_height) {
                image.copy_row(y as u32, &mut row);
                let mut from = 0;
                for (block, to) in blocks.iter_mut().zip(&ends) {
                    let to = (*to).min(full_width);
                    block.add(&row[from..to]);
                    from = to;
                }
                y += 1;
            }
        }
        Self {
            width,
            height,
            blocks,
        }
    }

    /// The same with two by two blocks to one.
    pub fn halved(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let mut blocks = vec![Block::default(); width * height];
        for (y, row) in self.blocks.chunks_exact(self.width).enumerate() {
            for (x, block) in row.iter().enumerate() {
                blocks[y / 2 * width + x / 2].join(block);
            }
        }
        Self {
            width,
            height,
            blocks,
        }
    }

    /// The same with each block widened by its neighbours within `radius` blocks.
    pub fn widened(&self, radius: usize) -> Self {
        let across = widened(&self.blocks, self.width, radius);
        let turned = transposed(&across, self.width);
        let down = widened(&turned, self.height, radius);
        Self {
            width: self.width,
            height: self.height,
            blocks: transposed(&down, self.height),
        }
    }

    /// Mean of each block.
    pub fn means(&self) -> Vec<f32> {
        self.blocks
            .iter()
            .map(|block| block.mean() as f32)
            .collect()
    }

    /// Standard deviation within each block.
    pub fn deviations(&self) -> Vec<f32> {
        self.blocks
            .iter()
            .map(|block| block.deviation() as f32)
            .collect()
    }
}

impl Block {
    /// Adds pixels of a row: few enough that single precision holds their sums.
    fn add(&mut self, values: &[f32]) {
        let (mut sum, mut squares) = (0.0_f32, 0.0_f64);
        for value in values {
            sum += value;
            squares += f64::from(*value) * f64::from(*value);
        }
        self.sum += f64::from(sum);
        self.squares += squares;
        self.count += values.len() as u32;
    }

    fn join(&mut self, other: &Self) {
        self.sum += other.sum;
        self.squares += other.squares;
        self.count += other.count;
    }

    fn leave(&mut self, other: &Self) {
        self.sum -= other.sum;
        self.squares -= other.squares;
        self.count -= other.count;
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

/// Running sums along the rows.
fn widened(blocks: &[Block], width: usize, radius: usize) -> Vec<Block> {
    let mut out = Vec::with_capacity(blocks.len());
    for row in blocks.chunks_exact(width) {
        let mut window = Block::default();
        row.iter().take(radius).for_each(|block| window.join(block));
        for x in 0..width {
            if let Some(block) = row.get(x + radius) {
                window.join(block);
            }
            out.push(window);
            if let Some(x) = x.checked_sub(radius) {
                window.leave(&row[x]);
            }
        }
    }
    out
}

fn transposed(blocks: &[Block], width: usize) -> Vec<Block> {
    (0..width)
        .flat_map(|x| blocks.iter().skip(x).step_by(width).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Samples;
    use super::*;

    fn blocks(width: u32, height: u32) -> (Raster, Blocks) {
        let values = (0..width * height)
            .map(|index| (index * 37 % 251) as u8)
            .collect();
        let image = Raster::new(width, height, Samples::U8(values)).unwrap();
        let blocks = Blocks::of(&image);
        (image, blocks)
    }

    #[test]
    fn every_pixel_is_in_one_block() {
        for (width, height) in [(1, 1), (3, 300), (1000, 7), (777, 513)] {
            let (image, blocks) = blocks(width, height);
            let count: u64 = blocks
                .blocks
                .iter()
                .map(|block| u64::from(block.count))
                .sum();
            assert_eq!(count, image.pixels());
            assert!(blocks.width.max(blocks.height) <= SIDE_BLOCKS);
            let halved: u64 = blocks
                .halved()
                .blocks
                .iter()
                .map(|block| u64::from(block.count))
                .sum();
            assert_eq!(halved, image.pixels());
        }
    }

    #[test]
    fn widened_blocks_hold_their_neighbours() {
        let (_, blocks) = blocks(12, 9);
        let wide = blocks.widened(2);
        for y in 0..9_usize {
            for x in 0..12_usize {
                let (mut sum, mut count) = (0.0, 0);
                for row in y.saturating_sub(2)..(y + 3).min(9) {
                    for column in x.saturating_sub(2)..(x + 3).min(12) {
                        sum += blocks.blocks[row * 12 + column].sum;
                        count += 1;
                    }
                }
                let found = &wide.blocks[y * 12 + x];
                assert_eq!((found.sum, found.count), (sum, count), "{x} {y}");
            }
        }
    }
}
