//! Values on a coarse grid over an image, read by bilinear interpolation.

/// A grid whose cells divide the image evenly; each value stands at its cell's centre.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// Cells to a row.
    pub width: usize,
    /// Rows of cells.
    pub height: usize,
    /// Row by row.
    pub values: Vec<f32>,
}

impl Grid {
    /// The values along row `y` of an image `full_height` rows high and as wide as `out` is long.
    pub fn row(&self, y: usize, full_height: usize, out: &mut [f32]) {
        let (top, bottom, down) = between(y, full_height, self.height);
        let rows = [top, bottom].map(|row| &self.values[row * self.width..(row + 1) * self.width]);
        let mut left = 0.0;
        let scale = self.width as f32 / out.len() as f32;
        let mut from = 0;
        for (cell, (a, b)) in rows[0].iter().zip(rows[1]).enumerate() {
            let right = a + (b - a) * down;
            // Up to this cell's centre the values run in a straight line from the last one's; before the first they stand.
            let to = ((2 * cell + 1) * out.len())
                .saturating_sub(self.width)
                .div_ceil(2 * self.width);
            let slope = if cell == 0 { 0.0 } else { right - left };
            let start = right - (cell as f32 + 0.5 - (from as f32 + 0.5) * scale) * slope;
            // A counter of 32 bits becomes a float in a vector instruction, one of 64 does not.
            for (x, out) in (0_i32..).zip(&mut out[from..to]) {
                *out = start + slope * scale * x as f32;
            }
            (left, from) = (right, to);
        }
        out[from..].fill(left);
    }

    /// The value at a pixel of an image of this size.
    pub fn at(&self, x: usize, y: usize, full_width: usize, full_height: usize) -> f32 {
        let (left, right, along) = between(x, full_width, self.width);
        let (top, bottom, down) = between(y, full_height, self.height);
        let row = |y: usize| {
            let (a, b) = (
                self.values[y * self.width + left],
                self.values[y * self.width + right],
            );
            a + (b - a) * along
        };
        row(top) + (row(bottom) - row(top)) * down
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_what_its_pixels_hold() {
        for (width, full) in [(1, 1), (1, 9), (3, 3), (4, 50), (7, 100), (128, 1001)] {
            let values = (0..width * 2)
                .map(|index| (index * 37 % 11) as f32)
                .collect();
            let grid = Grid {
                width,
                height: 2,
                values,
            };
            let mut row = vec![0.0; full];
            for y in 0..5 {
                grid.row(y, 5, &mut row);
                for (x, value) in row.iter().enumerate() {
                    let single = grid.at(x, y, full, 5);
                    assert!(
                        (value - single).abs() < 1e-3,
                        "{value} {single} at {x} {y} of {width} {full}"
                    );
                }
            }
        }
    }
}
