//! Lengths of boundaries as three tools count them, and the Euler number, from codes of small neighbourhoods.

use crate::segment::Ring;
use crate::segment::bits::{Bits, columns};

/// How often every 2 × 2 neighbourhood occurs, by its code: 8 for its upper left pixel, 4 lower left, 2 upper right, 1
/// lower right. Codes 0 and 15, which lie beside no boundary, are not counted.
pub(super) struct Quads([u64; 16]);

impl Quads {
    pub fn of(mask: &Bits) -> Self {
        let mut counts = [0; 16];
        for row in 1..mask.rows() {
            let (above, below) = (mask.row(row - 1), mask.row(row));
            for index in 0..above.len() {
                let quad = [
                    right_of(below, index),
                    right_of(above, index),
                    below[index],
                    above[index],
                ];
                let any = quad.iter().fold(0, |all, word| all | word);
                let every = quad.iter().fold(u64::MAX, |all, word| all & word);
                for bit in columns(0, any & !every) {
                    let code = quad
                        .iter()
                        .rev()
                        .fold(0, |code, word| code << 1 | (word >> bit & 1) as usize);
                    counts[code] += 1;
                }
            }
        }
        Self(counts)
    }

    /// Perimeter after Crofton in four directions, holes' boundaries included, as scikit-image's
    /// `perimeter_crofton(directions=4)`.
    ///
    /// Source: Legland, Kiêu and Devaux, Image Anal. Stereol. 26 (2007), 83–92; weights as in scikit-image 0.26.
    pub fn crofton(&self) -> f64 {
        let weighted = self.0.iter().zip(crofton_weights());
        weighted.map(|(count, weight)| *count as f64 * weight).sum()
    }

    /// Objects less holes, where pixels that touch at a corner are connected (background 4-connected), as
    /// scikit-image's `euler_number(connectivity=2)`. An object of ours is 4-connected: 1 less its holes.
    ///
    /// Source: Ohser and Mücklich, Statistical Analysis of Microstructures (2000), table 4.4, as in scikit-image 0.26.
    pub fn euler_number(&self) -> i64 {
        self.0[8] as i64 - self.0[6] as i64 - self.0[14] as i64
    }
}

fn crofton_weights() -> [f64; 16] {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, SQRT_2};
    // One pixel of the four: both axes and one diagonal are crossed.
    let corner = FRAC_PI_4 * (1.0 + 1.0 / SQRT_2);
    let diagonal = FRAC_PI_4 / SQRT_2;
    let mut weights = [0.0; 16];
    weights[1] = corner;
    weights[2] = diagonal;
    weights[3] = 2.0 * diagonal;
    weights[5] = corner;
    weights[7] = diagonal;
    weights[8] = FRAC_PI_4;
    weights[9] = FRAC_PI_2;
    weights[10] = diagonal;
    weights[11] = diagonal;
    weights[12] = FRAC_PI_4;
    weights[13] = FRAC_PI_2;
    weights
}

/// Perimeter through the centres of the boundary's pixels, holes' boundaries included, as scikit-image's
/// `perimeter(neighborhood=4)`: boundary pixels are those with an empty 4-neighbour, and each is worth 1, √2 or the mean
/// of both, by how its neighbours on the boundary lie. Some 5 % long for round objects.
///
/// Source: Benkrid, Crookes and Benkrid, Design and FPGA implementation of a perimeter estimator (2000), as in
/// scikit-image 0.26.
pub(super) fn skimage(mask: &Bits) -> f64 {
    use std::f64::consts::SQRT_2;
    let boundary = boundary(mask);
    let worths = Worth::table();
    let mut counts = [0_u64; 4];
    for row in 1..boundary.rows() - 1 {
        let rows = [row - 1, row, row + 1].map(|row| boundary.row(row));
        for (index, word) in rows[1].iter().enumerate() {
            for column in columns(index, *word) {
                let code = rows
                    .iter()
                    .fold(0, |code, row| code << 3 | three_bits(row, column));
                counts[worths[code] as usize] += 1;
            }
        }
    }
    let [_, one, diagonal, mean] = counts.map(|count| count as f64);
    one + diagonal * SQRT_2 + mean * (1.0 + SQRT_2) / 2.0
}

/// The set pixels with an empty one above, below, left or right.
fn boundary(mask: &Bits) -> Bits {
    let mut boundary = mask.emptied();
    for row in 1..mask.rows() - 1 {
        let (above, here, below) = (mask.row(row - 1), mask.row(row), mask.row(row + 1));
        for (index, word) in boundary.row_mut(row).iter_mut().enumerate() {
            let inside = above[index] & below[index] & left_of(here, index) & right_of(here, index);
            *word = here[index] & !inside;
        }
    }
    boundary
}

/// What a boundary pixel adds to scikit-image's perimeter.
#[derive(Debug, Clone, Copy)]
enum Worth {
    Nothing,
    One,
    Diagonal,
    Mean,
}

impl Worth {
    /// By the nine bits of the neighbourhood, three per row.
    fn table() -> [Self; 512] {
        std::array::from_fn(|code| {
            // The upper, left, right and lower neighbour; the other four touch at a corner.
            let sides = (code & 0b010_101_010).count_ones();
            let corners = (code & 0b101_000_101).count_ones();
            match 1 + 2 * sides + 10 * corners {
                5 | 7 | 15 | 17 | 25 | 27 => Self::One,
                21 | 33 => Self::Diagonal,
                13 | 23 => Self::Mean,
                _ => Self::Nothing,
            }
        })
    }
}

/// Length of an outer ring as ImageJ gives it for a traced selection: the sides, less 2 − √2 for every corner that does
/// not follow a counted one over a side of length 1. Holes are not counted. Some 5 % long for round objects.
///
/// The ring is one of `contour`'s: it begins at the upper left corner of its first row and runs clockwise. ImageJ's
/// wand begins two corners further on, which decides which corners count on a boundary of sides of length 1 alone.
///
/// Source: ImageJ 1.54, `Wand.traceEdge`, `PolygonRoi.getTracedPerimeter`.
pub(super) fn imagej(outer: &Ring) -> f64 {
    use std::f64::consts::SQRT_2;
    const WAND_START: usize = 2;
    let length = |a: &[f64; 2], b: &[f64; 2]| (b[0] - a[0]).abs() + (b[1] - a[1]).abs();
    let corners = &outer.0;
    let count = corners.len();
    let (mut total, mut counted, mut follows_counted) = (0.0, 0_u64, false);
    for index in 0..count {
        let here = (WAND_START + index) % count;
        let side = length(&corners[(here + count - 1) % count], &corners[here]);
        total += side;
        follows_counted = side > 1.0 || !follows_counted;
        counted += u64::from(follows_counted);
    }
    total - counted as f64 * (2.0 - SQRT_2)
}

/// The neighbours on the left of the pixels of a word.
fn left_of(row: &[u64], index: usize) -> u64 {
    let carried = index.checked_sub(1).map_or(0, |before| row[before] >> 63);
    row[index] << 1 | carried
}

/// The neighbours on the right of the pixels of a word.
fn right_of(row: &[u64], index: usize) -> u64 {
    let carried = row.get(index + 1).map_or(0, |after| after << 63);
    row[index] >> 1 | carried
}

/// The pixels on the left of a column, in it and on the right of it; the frame is never asked for.
fn three_bits(row: &[u64], column: usize) -> usize {
    let (index, bit) = ((column - 1) / 64, (column - 1) % 64);
    let pair = u128::from(row[index]) | u128::from(row[index + 1]) << 64;
    (pair >> bit & 0b111) as usize
}
