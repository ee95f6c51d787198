//! Shape of a mask beyond its area.

use super::mask::Mask;
use super::measure::hull::{Hull, rows_of};

/// Area divided by that of the convex hull of the pixels' corners; 1 for a convex object.
pub(super) fn solidity(mask: &Mask) -> f64 {
    let hull = Hull::of_corners(&rows_of(mask)).area();
    if hull > 0.0 {
        mask.area() as f64 / hull
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let mut mask = Mask::new(0, 0, rows[0].len(), rows.len());
        for (y, row) in rows.iter().enumerate() {
            row.chars()
                .enumerate()
                .for_each(|(x, c)| mask.set(x, y, c == '#'));
        }
        mask
    }

    #[test]
    fn a_box_is_convex() {
        assert_eq!(solidity(&mask(&["###", "###"])), 1.0);
    }

    #[test]
    fn a_corner_piece_fills_part_of_its_hull() {
        // Three pixels; the hull cuts half a pixel off the empty corner.
        assert_eq!(solidity(&mask(&["#.", "##"])), 3.0 / 3.5);
    }

    #[test]
    fn nothing_is_not_solid() {
        assert_eq!(solidity(&Mask::new(0, 0, 2, 2)), 0.0);
    }
}
