//! Shape of a mask beyond its area.

use super::mask::Mask;

/// Area divided by that of the convex hull of the pixels' corners; 1 for a convex object.
pub(super) fn solidity(mask: &Mask) -> f64 {
    let hull = hull_area(mask);
    if hull > 0.0 {
        mask.area() as f64 / hull
    } else {
        0.0
    }
}

/// Area of the convex hull of the pixels' corners.
fn hull_area(mask: &Mask) -> f64 {
    let mut points: Vec<(i64, i64)> = Vec::with_capacity(4 * mask.height);
    for y in 0..mask.height {
        let row = mask.row(y);
        let (Some(first), Some(last)) = (
            row.iter().position(|set| *set),
            row.iter().rposition(|set| *set),
        ) else {
            continue;
        };
        for y in [y as i64, y as i64 + 1] {
            points.push((y, first as i64));
            points.push((y, last as i64 + 1));
        }
    }
    area(&hull(points))
}

/// The corners of the convex hull of these points (y, x), by the monotone chain (Andrew 1979).
pub(super) fn hull(mut points: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    points.sort_unstable();
    points.dedup();
    [half_hull(points.iter()), half_hull(points.iter().rev())].concat()
}

/// Area of a polygon with these corners.
pub(super) fn area(corners: &[(i64, i64)]) -> f64 {
    let next = corners.iter().cycle().skip(1);
    let twice: i64 = corners
        .iter()
        .zip(next)
        .map(|(a, b)| a.0 * b.1 - a.1 * b.0)
        .sum();
    twice.abs() as f64 / 2.0
}

fn half_hull<'a>(points: impl Iterator<Item = &'a (i64, i64)>) -> Vec<(i64, i64)> {
    let mut hull: Vec<(i64, i64)> = Vec::new();
    for point in points {
        while let [.., a, b] = hull[..]
            && (b.0 - a.0) * (point.1 - a.1) - (b.1 - a.1) * (point.0 - a.0) <= 0
        {
            hull.pop();
        }
        hull.push(*point);
    }
    hull.pop();
    hull
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
}
