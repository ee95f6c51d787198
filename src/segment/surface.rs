//! A quadratic surface and its fit by least squares.

/// A quadratic surface over coordinates from -1 to 1: c · (1, x, y, x², xy, y²).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Surface([f64; 6]);

impl Surface {
    /// Least squares over the pixels marked, by the normal equations.
    pub fn fit(values: &[f32], marked: &[bool], width: usize, height: usize) -> Self {
        let mut matrix = [[0.0; 7]; 6];
        for (index, value) in values
            .iter()
            .enumerate()
            .filter(|(index, _)| marked[*index])
        {
            let terms = terms(index, width, height);
            for (row, a) in matrix.iter_mut().zip(terms) {
                for (cell, b) in row.iter_mut().zip(terms) {
                    *cell += a * b;
                }
                row[6] += a * f64::from(*value);
            }
        }
        Self(solve(matrix))
    }

    /// What the surface leaves unexplained.
    pub fn residuals(&self, values: &[f32], width: usize, height: usize) -> Vec<f64> {
        let at = |index: usize| -> f64 {
            terms(index, width, height)
                .iter()
                .zip(self.0)
                .map(|(term, c)| term * c)
                .sum()
        };
        values
            .iter()
            .enumerate()
            .map(|(index, value)| f64::from(*value) - at(index))
            .collect()
    }
}

fn terms(index: usize, width: usize, height: usize) -> [f64; 6] {
    let centred = |at: usize, side: usize| (2.0 * at as f64 + 1.0) / side as f64 - 1.0;
    let (x, y) = (
        centred(index % width, width),
        centred(index / width, height),
    );
    [1.0, x, y, x * x, x * y, y * y]
}

/// Gaussian elimination with pivoting; a coefficient that the data leave open (an image one pixel wide) becomes 0.
fn solve(mut matrix: [[f64; 7]; 6]) -> [f64; 6] {
    for column in 0..6 {
        let pivot = (column..6).max_by(|a, b| {
            matrix[*a][column]
                .abs()
                .total_cmp(&matrix[*b][column].abs())
        });
        matrix.swap(column, pivot.unwrap_or(column));
        let scale = matrix[column][column];
        if scale.abs() < 1e-9 {
            matrix[column] = [0.0; 7];
            continue;
        }
        matrix[column] = matrix[column].map(|cell| cell / scale);
        let pivot_row = matrix[column];
        for (index, row) in matrix.iter_mut().enumerate() {
            if index != column {
                let factor = row[column];
                row.iter_mut()
                    .zip(pivot_row)
                    .for_each(|(cell, pivot)| *cell -= factor * pivot);
            }
        }
    }
    matrix.map(|row| row[6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quadratic_is_fitted_exactly_whatever_the_unmarked_pixels_hold() {
        let (width, height) = (20, 15);
        let exact = Surface([5.0, -1.0, 2.0, 0.5, 0.25, -3.0]);
        let zeros = vec![0.0; width * height];
        let mut values: Vec<f32> = exact
            .residuals(&zeros, width, height)
            .iter()
            .map(|value| -*value as f32)
            .collect();
        let marked: Vec<bool> = (0..width * height).map(|index| index % 7 != 0).collect();
        values.iter_mut().step_by(7).for_each(|value| *value = 1e6);
        let found = Surface::fit(&values, &marked, width, height);
        for (found, exact) in found.0.iter().zip(exact.0) {
            assert!((found - exact).abs() < 1e-4, "{found} {exact}");
        }
    }

    #[test]
    fn what_the_data_leave_open_is_nought() {
        let found = Surface::fit(&[3.0; 5], &[true; 5], 1, 5);
        assert!(
            found
                .residuals(&[3.0; 5], 1, 5)
                .iter()
                .all(|rest| rest.abs() < 1e-6)
        );
    }
}
