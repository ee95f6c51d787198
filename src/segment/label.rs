//! Connected components by runs, and the holes in them.
//!
//! Objects are 4-connected: pixels that touch only at a corner belong to different objects. With that choice every
//! ring of an object's outline can be a simple line (see `contour`), which JTS, and so QuPath, requires of a valid
//! polygon.

use super::BoundingBox;
use super::mask::Mask;

/// Pixels `from..to` of row `y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub y: u32,
    pub from: u32,
    pub to: u32,
}

/// Components of the pixels that `mark` sets, row by row, as runs in reading order; those below `min_area` pixels are
/// left out.
pub(super) fn components(
    width: usize,
    height: usize,
    min_area: u64,
    mut mark: impl FnMut(usize, &mut [bool]),
) -> Vec<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut parents: Vec<u32> = Vec::new();
    let mut cells = vec![false; width];
    let (mut above_start, mut row_start) = (0, 0);
    for y in 0..height {
        mark(y, &mut cells);
        let mut at = 0;
        while let Some(from) = find(&cells, at, true) {
            at = find(&cells, from, false).unwrap_or(width);
            parents.push(runs.len() as u32);
            runs.push(Run {
                y: y as u32,
                from: from as u32,
                to: at as u32,
            });
        }
        join_rows(&runs, &mut parents, above_start, row_start);
        (above_start, row_start) = (row_start, runs.len());
    }
    collect(&runs, &mut parents, min_area)
}

/// The first cell from `at` on with this value. Long stretches of one value are skipped in blocks, which the compiler
/// compares at once.
pub(super) fn find(cells: &[bool], at: usize, wanted: bool) -> Option<usize> {
    const BLOCK: usize = 32;
    let mut start = at;
    for block in cells[at..].chunks(BLOCK) {
        if block
            .iter()
            .fold(false, |any, cell| any | (*cell == wanted))
        {
            return block
                .iter()
                .position(|cell| *cell == wanted)
                .map(|offset| start + offset);
        }
        start += block.len();
    }
    None
}

/// Joins the runs from `row_start` on with those of the row above, which begin at `above_start`.
fn join_rows(runs: &[Run], parents: &mut [u32], above_start: usize, row_start: usize) {
    let mut above = above_start;
    for below in row_start..runs.len() {
        let run = runs[below];
        while above < row_start && runs[above].to <= run.from {
            above += 1;
        }
        let mut touching = above;
        while touching < row_start && runs[touching].from < run.to {
            union(parents, touching as u32, below as u32);
            touching += 1;
        }
    }
}

fn collect(runs: &[Run], parents: &mut [u32], min_area: u64) -> Vec<Vec<Run>> {
    let mut areas = vec![0_u64; runs.len()];
    for (index, run) in runs.iter().enumerate() {
        areas[root(parents, index as u32) as usize] += u64::from(run.to - run.from);
    }
    let mut component_of = vec![u32::MAX; runs.len()];
    let mut components: Vec<Vec<Run>> = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let root = root(parents, index as u32) as usize;
        if areas[root] < min_area.max(1) {
            continue;
        }
        if component_of[root] == u32::MAX {
            component_of[root] = components.len() as u32;
            components.push(Vec::new());
        }
        components[component_of[root] as usize].push(*run);
    }
    components
}

fn root(parents: &mut [u32], mut index: u32) -> u32 {
    while parents[index as usize] != index {
        let grandparent = parents[parents[index as usize] as usize];
        parents[index as usize] = grandparent;
        index = grandparent;
    }
    index
}

fn union(parents: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parents, a), root(parents, b));
    // The smaller index is the root: components come out in reading order.
    parents[a.max(b) as usize] = a.min(b);
}

/// The smallest box round a component.
pub(super) fn bounds(runs: &[Run]) -> BoundingBox {
    let left = runs.iter().map(|run| run.from).min().unwrap_or(0);
    let right = runs.iter().map(|run| run.to).max().unwrap_or(0);
    let top = runs.first().map_or(0, |run| run.y);
    let bottom = runs.last().map_or(0, |run| run.y + 1);
    BoundingBox {
        x: left,
        y: top,
        width: right - left,
        height: bottom - top,
    }
}

/// Pixels of a component.
pub(super) fn area(runs: &[Run]) -> u64 {
    runs.iter().map(|run| u64::from(run.to - run.from)).sum()
}

/// The mask of a component, in coordinates of the image.
pub(super) fn mask_of(runs: &[Run]) -> Mask {
    let bounds = bounds(runs);
    let (width, height) = (bounds.width as usize, bounds.height as usize);
    let mut mask = Mask::new(bounds.x, bounds.y, width, height);
    for run in runs {
        let row = mask.row_mut((run.y - bounds.y) as usize);
        row[(run.from - bounds.x) as usize..(run.to - bounds.x) as usize].fill(true);
    }
    mask
}

/// The components inside a mask, each as a mask of its own; those below `min_area` pixels are left out.
pub(super) fn parts_of(mask: &Mask, min_area: u64) -> Vec<Mask> {
    let parts = components(mask.width, mask.height, min_area, |y, cells| {
        cells.copy_from_slice(mask.row(y));
    });
    let mut parts: Vec<Mask> = parts.iter().map(|runs| mask_of(runs)).collect();
    for part in &mut parts {
        part.x += mask.x;
        part.y += mask.y;
    }
    parts
}

/// Fills the holes of fewer than `min_hole` pixels.
pub(super) fn fill_holes(mask: &mut Mask, min_hole: u64) {
    let cells = mask.cells();
    let stride = mask.stride();
    let empty = components(stride, mask.height + 2, 1, |y, row| {
        let cells = &cells[y * stride..(y + 1) * stride];
        row.iter_mut()
            .zip(cells)
            .for_each(|(row, cell)| *row = !cell);
    });
    // The first one holds the frame and is the outside.
    for runs in empty.iter().skip(1) {
        if area(runs) < min_hole {
            for run in runs {
                mask.row_mut(run.y as usize - 1)[run.from as usize - 1..run.to as usize - 1]
                    .fill(true);
            }
        }
    }
}

/// Pixels of a mask and of all its holes.
pub(super) fn enclosed_area(mask: &Mask) -> u64 {
    let mut filled = mask.clone();
    fill_holes(&mut filled, u64::MAX);
    filled.area()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(rows: &[&str]) -> Vec<Vec<bool>> {
        rows.iter()
            .map(|row| row.chars().map(|c| c == '#').collect())
            .collect()
    }

    fn areas(rows: &[&str]) -> Vec<u64> {
        let picture = picture(rows);
        let found = components(picture[0].len(), picture.len(), 1, |y, cells| {
            cells.copy_from_slice(&picture[y])
        });
        found.iter().map(|runs| mask_of(runs).area()).collect()
    }

    #[test]
    fn arms_that_meet_further_down_are_one_object() {
        assert_eq!(areas(&["#.#.#", "#.#.#", "###.#", "..###"]), vec![13]);
    }

    #[test]
    fn corners_do_not_connect() {
        assert_eq!(areas(&["#.", ".#"]), vec![1, 1]);
    }

    #[test]
    fn small_holes_are_filled_and_large_ones_stay() {
        let picture = picture(&["#######", "#.#...#", "###...#", "#######"]);
        let found = components(7, 4, 1, |y, cells| cells.copy_from_slice(&picture[y]));
        let mut mask = mask_of(&found[0]);
        fill_holes(&mut mask, 2);
        assert_eq!(mask.area(), 28 - 6);
        fill_holes(&mut mask, 7);
        assert_eq!(mask.area(), 28);
    }
}
