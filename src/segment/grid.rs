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
        let value = |x: usize| {
            let (a, b) = (
                self.values[top * self.width + x],
                self.values[bottom * self.width + x],
            );
            a + (b - a) * down
        };
        let column: Vec<f32> = (0..self.width).map(value).collect();
        let full_width = out.len();
        for (x, out) in out.iter_mut().enumerate() {
            let (left, right, along) = between(x, full_width, self.width);
            *out = column[left] + (column[right] - column[left]) * along;
        }
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
