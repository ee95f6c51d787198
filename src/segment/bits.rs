//! A mask with 64 pixels to a word: what is measured along outlines then costs as much as the outline is long, and what
//! is measured over areas a few operations per run.

use super::mask::Mask;

/// A mask's cells, the empty frame included, row by row. Column 0 is the frame's left column: pixel (x, y) of the mask
/// is bit `x + 1` of row `y + 1`. At least one empty bit follows every row's last cell.
#[derive(Debug, Clone)]
pub(super) struct Bits {
    words: Vec<u64>,
    words_per_row: usize,
    rows: usize,
}

impl Bits {
    pub fn of(mask: &Mask) -> Self {
        let (stride, rows) = (mask.stride(), mask.height + 2);
        // One word more than the cells fill, so that the word to the right of any cell's exists.
        let words_per_row = stride / 64 + 2;
        let mut words = vec![0; rows * words_per_row];
        let packed = words.chunks_exact_mut(words_per_row);
        for (cells, packed) in mask.cells().chunks_exact(stride).zip(packed) {
            pack(cells, packed);
        }
        Self {
            words,
            words_per_row,
            rows,
        }
    }

    /// An empty plane of the same size.
    pub fn emptied(&self) -> Self {
        Self {
            words: vec![0; self.words.len()],
            ..*self
        }
    }

    /// Rows with the frame's two.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn row(&self, row: usize) -> &[u64] {
        let start = row * self.words_per_row;
        &self.words[start..start + self.words_per_row]
    }

    pub fn row_mut(&mut self, row: usize) -> &mut [u64] {
        let start = row * self.words_per_row;
        &mut self.words[start..start + self.words_per_row]
    }

    pub fn at(&self, column: usize, row: usize) -> bool {
        self.words[row * self.words_per_row + column / 64] >> (column % 64) & 1 == 1
    }

    pub fn set(&mut self, column: usize, row: usize) {
        self.words[row * self.words_per_row + column / 64] |= 1 << (column % 64);
    }

    /// The runs of set bits in a row: first column, and the one after the last.
    pub fn runs(&self, row: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let words = self.row(row);
        let mut at = 0;
        std::iter::from_fn(move || {
            let from = next(words, at, 0)?;
            // A row ends with an empty bit, so that every run ends inside it.
            let to = next(words, from, u64::MAX)?;
            at = to;
            Some((from, to))
        })
    }
}

/// The columns of the bits that are set in a word, which is the `index`-th of its row.
pub(super) fn columns(index: usize, mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let column = 64 * index + word.trailing_zeros() as usize;
            word &= word - 1;
            column
        })
    })
}

/// The first bit from `at` on that differs from those of `filler`.
fn next(words: &[u64], at: usize, filler: u64) -> Option<usize> {
    let mut index = at / 64;
    let mut word = (words.get(index)? ^ filler) & (u64::MAX << (at % 64));
    while word == 0 {
        index += 1;
        word = words.get(index)? ^ filler;
    }
    Some(64 * index + word.trailing_zeros() as usize)
}

fn pack(cells: &[bool], words: &mut [u64]) {
    let chunks = cells.chunks_exact(64);
    let rest = chunks.remainder();
    for (chunk, word) in chunks.zip(words.iter_mut()) {
        for (byte, eight) in chunk.chunks_exact(8).enumerate() {
            *word |= eight_bits(eight) << (8 * byte);
        }
    }
    for (bit, cell) in rest.iter().enumerate() {
        words[cells.len() / 64] |= u64::from(*cell) << bit;
    }
}

/// Eight cells, the first one lowest: as bytes of one number they are brought together by a product whose partial
/// products do not overlap (Warren, Hacker's Delight, 2nd ed. 2012, §7–3).
fn eight_bits(cells: &[bool]) -> u64 {
    let bytes: [u8; 8] = std::array::from_fn(|index| u8::from(cells[index]));
    u64::from_le_bytes(bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cells_and_runs_are_those_of_the_mask(
            width in 1_usize..200,
            cells in proptest::collection::vec(any::<bool>(), 1..600),
        ) {
            let height = cells.len().div_ceil(width);
            let mut mask = Mask::new(0, 0, width, height);
            for (index, cell) in cells.iter().enumerate() {
                mask.set(index % width, index / width, *cell);
            }
            let bits = Bits::of(&mask);
            let mut by_runs = bits.emptied();
            for row in 0..bits.rows() {
                for (from, to) in bits.runs(row) {
                    (from..to).for_each(|column| by_runs.set(column, row));
                }
                for column in 0..mask.stride() {
                    let cell = mask.cells()[row * mask.stride() + column];
                    prop_assert_eq!(bits.at(column, row), cell);
                    prop_assert_eq!(by_runs.at(column, row), cell);
                }
            }
        }
    }

    #[test]
    fn columns_of_a_word_rise() {
        let found: Vec<usize> = columns(2, 1 | 1 << 7 | 1 << 63).collect();
        assert_eq!(found, [128, 135, 191]);
    }
}
