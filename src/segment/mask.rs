//! The pixels of one object: a small bitmap in a box, with its place in the image.

use super::BoundingBox;

/// An object's pixels. One row and column of empty pixels surrounds the box, so that neighbours need no bounds check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mask {
    /// Left edge of the box in the image.
    pub x: u32,
    /// Top edge of the box in the image.
    pub y: u32,
    /// Width of the box.
    pub width: usize,
    /// Height of the box.
    pub height: usize,
    cells: Vec<bool>,
}

impl Mask {
    /// An empty mask of this box.
    pub fn new(x: u32, y: u32, width: usize, height: usize) -> Self {
        Self {
            x,
            y,
            width,
            height,
            cells: vec![false; (width + 2) * (height + 2)],
        }
    }

    /// Whether the pixel is set; coordinates count from the box and may lie one outside it.
    pub fn at(&self, x: isize, y: isize) -> bool {
        self.cells[self.index(x, y)]
    }

    /// Marks the pixels of a row that have a neighbour which is not set, above, below, left or right.
    pub fn mark_outline(&self, y: usize, marked: &mut [bool]) {
        let (stride, count) = (self.stride(), self.width);
        let start = (y + 1) * stride + 1;
        let row = |from: usize| &self.cells[from..from + count];
        let (above, below) = (row(start - stride), row(start + stride));
        let (left, here, right) = (row(start - 1), row(start), row(start + 1));
        for (x, marked) in marked[..count].iter_mut().enumerate() {
            *marked = here[x] & !(above[x] & below[x] & left[x] & right[x]);
        }
    }

    /// Sets a pixel inside the box.
    pub fn set(&mut self, x: usize, y: usize, value: bool) {
        let index = self.index(x as isize, y as isize);
        self.cells[index] = value;
    }

    /// The pixels of a row inside the box.
    pub fn row(&self, y: usize) -> &[bool] {
        let start = (y + 1) * self.stride() + 1;
        &self.cells[start..start + self.width]
    }

    /// The pixels of a row inside the box, to change.
    pub fn row_mut(&mut self, y: usize) -> &mut [bool] {
        let start = (y + 1) * self.stride() + 1;
        &mut self.cells[start..start + self.width]
    }

    /// All cells with their frame, row by row; `stride` cells to a row.
    pub fn cells(&self) -> &[bool] {
        &self.cells
    }

    /// Cells per row, the frame included.
    pub fn stride(&self) -> usize {
        self.width + 2
    }

    /// How many pixels are set.
    pub fn area(&self) -> u64 {
        // Rows are summed in bytes, which the compiler does many at once.
        let of_chunk = |cells: &[bool]| cells.iter().map(|cell| u8::from(*cell)).sum::<u8>();
        self.cells
            .chunks(255)
            .map(|cells| u64::from(of_chunk(cells)))
            .sum()
    }

    /// The pixels that are set, from the box's corner.
    pub fn pixels(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.height).flat_map(move |y| {
            self.row(y)
                .iter()
                .enumerate()
                .filter(|(_, set)| **set)
                .map(move |(x, _)| (x, y))
        })
    }

    /// The mask's own box, which may be wider than what is set.
    pub fn bounding_box(&self) -> BoundingBox {
        BoundingBox {
            x: self.x,
            y: self.y,
            width: self.width as u32,
            height: self.height as u32,
        }
    }

    /// The smallest box round the pixels that are set, in the image; `None` where there is none.
    pub fn bounds(&self) -> Option<BoundingBox> {
        let rows = (0..self.height).filter(|y| self.row(*y).contains(&true));
        let (mut left, mut right) = (self.width, 0);
        let (mut top, mut bottom) = (None, 0);
        for y in rows {
            let row = self.row(y);
            left = left.min(row.iter().position(|set| *set).unwrap_or(left));
            right = right.max(row.iter().rposition(|set| *set).map_or(right, |x| x + 1));
            top = top.or(Some(y));
            bottom = y + 1;
        }
        let top = top?;
        Some(BoundingBox {
            x: self.x + left as u32,
            y: self.y + top as u32,
            width: (right - left) as u32,
            height: (bottom - top) as u32,
        })
    }

    fn index(&self, x: isize, y: isize) -> usize {
        (y + 1) as usize * self.stride() + (x + 1) as usize
    }
}
