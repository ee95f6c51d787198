//! Where an object's number is written: inside it, with room round it.

use crate::segment::polygon::distance;
use crate::segment::{Object, Point, Polygon, Ring};

/// Places that are tried per side of an object's box.
const GRID: u32 = 24;
/// Sides of outlines that are looked at, at most; of more, every so manyth.
const SIDES_MAX: usize = 1_000;

/// The middle of an object's number, and its distance to the nearest line: the centre of mass, where it lies inside the outline (be it in a hole), outside the cores, and `room` pixels from
/// every line; else the place in the object itself that lies deepest.
pub(super) fn place<'a>(
    object: &'a Object,
    cores: impl Iterator<Item = &'a Polygon>,
    room: f64,
) -> (Point, f64) {
    let found = &object.measurements;
    let centre = [found.centroid_x_px, found.centroid_y_px];
    let cores: Vec<&Polygon> = cores.collect();
    let polygons = std::iter::once(&object.polygon).chain(cores.iter().copied());
    let sides: Vec<(Point, Point)> = polygons.flat_map(sides).collect();
    let in_core = |point| cores.iter().any(|core| core.outer.holds(point));
    let around_centre = clearance(centre, &sides);
    if object.polygon.outer.holds(centre) && !in_core(centre) && around_centre >= room {
        return (centre, around_centre);
    }
    let bbox = found.bbox_px;
    let along = |start: u32, length: u32, index: u32| {
        f64::from(start) + f64::from(length) * (f64::from(index) + 0.5) / f64::from(GRID)
    };
    let grid = (0..GRID * GRID).map(|index| {
        [
            along(bbox.x, bbox.width, index % GRID),
            along(bbox.y, bbox.height, index / GRID),
        ]
    });
    let inside = grid.filter(|point| {
        let rings = object.polygon.rings();
        let around = rings.filter(|ring| ring.holds(*point)).count();
        around == 1 && !in_core(*point)
    });
    let deepest = inside
        .map(|point| (point, clearance(point, &sides)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    deepest.unwrap_or((centre, 0.0))
}

fn sides(polygon: &Polygon) -> impl Iterator<Item = (Point, Point)> + '_ {
    polygon.rings().flat_map(Ring::edges)
}

/// Distance to the nearest line.
fn clearance(point: Point, sides: &[(Point, Point)]) -> f64 {
    let step = sides.len().div_ceil(SIDES_MAX).max(1);
    let near = sides.iter().step_by(step);
    near.map(|side| distance(point, *side))
        .fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::export::geojson::tests::two_objects;

    #[test]
    fn a_convex_object_has_its_number_in_the_middle() {
        let core = &two_objects().objects[1];
        assert_eq!(place(core, std::iter::empty(), 0.4), ([1.5, 1.5], 0.5));
    }

    #[test]
    fn a_number_keeps_out_of_the_core() {
        let mut objects = two_objects().objects;
        let (whole, core) = (&mut objects[0].clone(), &mut objects[1]);
        whole.polygon.holes.clear();
        assert_eq!(place(whole, std::iter::empty(), 1.0).0, [3.0, 3.0]);
        core.polygon.outer = Ring(vec![[2.0, 1.0], [5.0, 1.0], [5.0, 5.0], [2.0, 5.0]]);
        let ([x, y], room) = place(whole, [&core.polygon].into_iter(), 1.0);
        assert!((0.3..0.6).contains(&room), "{room}");
        assert!(
            (1.3..1.7).contains(&x) && (1.5..4.5).contains(&y),
            "{x} {y}"
        );
    }

    #[test]
    fn a_hole_with_room_takes_the_number_of_its_object() {
        let ring = &two_objects().objects[0];
        assert_eq!(place(ring, std::iter::empty(), 0.9), ([3.0, 3.0], 1.0));
        let ([x, y], _) = place(ring, std::iter::empty(), 1.2);
        assert!(
            !(2.0..4.0).contains(&x) || !(2.0..4.0).contains(&y),
            "{x} {y}"
        );
    }
}
