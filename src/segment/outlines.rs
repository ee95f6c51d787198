//! Outlines of labelled pixels: what other segmenters answer with, as the polygons that everything here works with.

use super::label::{self, Run};
use super::{Polygon, SegmentError, contour};

/// A connected part of a label's pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// The label, above 0.
    pub label: u32,
    /// Its outline on pixel corners, whose area is the number of its pixels exactly.
    pub polygon: Polygon,
}

/// The outlines of a plane of labels, one for each pixel, row by row, 0 where there is no object. In reading order of
/// their first pixels; a label whose pixels touch only at corners, or not at all, has several.
///
/// # Errors
/// [`SegmentError::Damaged`] where there are not as many labels as pixels.
pub fn outlines(width: u32, height: u32, labels: &[u32]) -> Result<Vec<Outline>, SegmentError> {
    let (width, height) = (width as usize, height as usize);
    if labels.len() != width * height {
        let reason = format!("{} labels for {width} × {height} pixels", labels.len());
        return Err(SegmentError::Damaged {
            format: "label plane",
            reason,
        });
    }
    // Components are those of a grid with a place between every two pixels, which is set where both have one label:
    // then neighbours of different labels do not touch.
    let inside = |x: usize, y: usize| {
        let label = labels[y / 2 * width + x / 2];
        let (right, below) = (x.div_ceil(2), y.div_ceil(2));
        label != 0
            && labels[y / 2 * width + right] == label
            && labels[below * width + x / 2] == label
            && labels[below * width + right] == label
    };
    let between = |side: usize| (2 * side).saturating_sub(1);
    let found = label::components(between(width), between(height), 1, |y, cells| {
        cells
            .iter_mut()
            .enumerate()
            .for_each(|(x, cell)| *cell = inside(x, y));
    });
    Ok(found
        .iter()
        .filter_map(|runs| outline(runs, width, labels))
        .collect())
}

fn outline(runs: &[Run], width: usize, labels: &[u32]) -> Option<Outline> {
    let pixels: Vec<Run> = runs
        .iter()
        .filter(|run| run.y % 2 == 0)
        .map(|run| Run {
            y: run.y / 2,
            from: run.from / 2,
            to: run.to.div_ceil(2),
        })
        .collect();
    let first = pixels.first()?;
    Some(Outline {
        label: labels[first.y as usize * width + first.from as usize],
        polygon: contour::outline(&label::mask_of(&pixels))?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn filling_the_outlines_gives_the_labels_back(
            width in 1_usize..12,
            labels in proptest::collection::vec(0_u32..4, 12..140),
        ) {
            let height = labels.len() / width;
            let labels = &labels[..width * height];
            let mut again = vec![0; labels.len()];
            for outline in outlines(width as u32, height as u32, labels).unwrap() {
                let mut pixels = 0;
                outline.polygon.spans(width as u32, height as u32, |y, from, to| {
                    pixels += to - from;
                    let row = y as usize * width;
                    again[row + from as usize..row + to as usize].fill(outline.label);
                });
                prop_assert_eq!(outline.polygon.area(), f64::from(pixels));
            }
            prop_assert_eq!(again, labels);
        }
    }

    #[test]
    fn neighbours_with_other_labels_are_other_objects() {
        let found = outlines(3, 2, &[1, 1, 2, 0, 2, 2]).unwrap();
        let areas: Vec<_> = found.iter().map(|o| (o.label, o.polygon.area())).collect();
        assert_eq!(areas, [(1, 2.0), (2, 3.0)]);
        assert_eq!(
            outlines(2, 2, &[5, 0, 0, 5]).unwrap().len(),
            2,
            "touching at a corner"
        );
    }

    #[test]
    fn labels_must_fill_the_plane() {
        let error = outlines(3, 3, &[1; 8]).unwrap_err().to_string();
        assert!(error.contains("8 labels for 3 × 3"), "{error}");
        assert_eq!(outlines(0, 0, &[]).unwrap(), []);
    }
}
