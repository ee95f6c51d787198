//! Outlines as a set of ImageJ's regions of interest: a ZIP archive with one `.roi` per object, for the ROI Manager.
//!
//! A file's name is its object's number, `0001.roi`; a core's is `0002-core.roi`. Coordinates are pixel corners, as
//! ImageJ's own, so that a region covers exactly its object's pixels. An object with holes is a composite region, and so
//! is one that the 16 bits of a polygon's coordinates do not hold.
//!
//! Source: ImageJ 1.54, `RoiEncoder` and `RoiDecoder`.

use std::io::Write;

use super::zip::Zip;
use crate::segment::{Object, Part, Polygon, SegmentError, Segmentation};

/// Version of the format, that of ImageJ 1.52i.
const VERSION: u16 = 228;
/// Lengths of the two headers in bytes.
const HEADER: usize = 64;
const HEADER_2: usize = 64;
/// Types of region. A composite one is a rectangle with a shape.
const POLYGON: u8 = 0;
const RECTANGLE: u8 = 1;
/// Places of values in the first header.
const SHAPE_LENGTH_AT: usize = 36;
const STROKE_COLOR_AT: usize = 40;
const HEADER_2_AT: usize = 60;
/// Places of values in the second header.
const NAME_AT: usize = 16;
const NAME_LENGTH_AT: usize = 20;
/// Segments of a shape: java.awt.geom.PathIterator.
const MOVE_TO: f32 = 0.0;
const LINE_TO: f32 = 1.0;
const CLOSE: f32 = 4.0;
/// Colours of outlines: alpha, red, green, blue; those of the overlay.
const WHOLE_COLOR: u32 = 0xFFFF_C800;
const CORE_COLOR: u32 = 0xFF00_C8FF;
/// Coordinates up to here are read as they were written by every reader: ImageJ's numbers have a sign.
const COORDINATE_MAX: f64 = 32_767.0;

/// Writes all objects.
///
/// # Errors
/// [`SegmentError::Io`] where writing fails, and beyond 65,535 objects.
pub fn write(result: &Segmentation, writer: impl Write) -> Result<(), SegmentError> {
    let mut archive = Zip::new(writer);
    for object in &result.objects {
        let name = name(object);
        archive.file(&format!("{name}.roi"), &region(object, &name))?;
    }
    archive.finish()?;
    Ok(())
}

fn name(object: &Object) -> String {
    match object.part {
        Part::Whole => format!("{:04}", object.number),
        Part::Core => format!("{:04}-core", object.number),
    }
}

fn region(object: &Object, name: &str) -> Vec<u8> {
    let polygon = &object.polygon;
    let mut region = vec![0; HEADER];
    region[..4].copy_from_slice(b"Iout");
    put(&mut region, 4, VERSION.to_be_bytes());
    let bounds = bounds(polygon);
    for (index, bound) in bounds.iter().enumerate() {
        put(&mut region, 8 + 2 * index, (*bound as u16).to_be_bytes());
    }
    let color = match object.part {
        Part::Whole => WHOLE_COLOR,
        Part::Core => CORE_COLOR,
    };
    put(&mut region, STROKE_COLOR_AT, color.to_be_bytes());
    if is_simple(polygon, &bounds) {
        region[6] = POLYGON;
        simple(polygon, &bounds, &mut region);
    } else {
        region[6] = RECTANGLE;
        composite(polygon, &mut region);
    }
    let header_2 = region.len();
    put(&mut region, HEADER_2_AT, (header_2 as u32).to_be_bytes());
    region.resize(header_2 + HEADER_2, 0);
    let name_at = (header_2 + HEADER_2) as u32;
    put(&mut region, header_2 + NAME_AT, name_at.to_be_bytes());
    let length = name.encode_utf16().count() as u32;
    put(&mut region, header_2 + NAME_LENGTH_AT, length.to_be_bytes());
    region.extend(name.encode_utf16().flat_map(u16::to_be_bytes));
    region
}

/// Top, left, bottom and right.
fn bounds(polygon: &Polygon) -> [f64; 4] {
    let mut bounds = [f64::INFINITY, f64::INFINITY, 0.0, 0.0];
    for [x, y] in &polygon.outer.0 {
        bounds[0] = bounds[0].min(*y);
        bounds[1] = bounds[1].min(*x);
        bounds[2] = bounds[2].max(*y);
        bounds[3] = bounds[3].max(*x);
    }
    bounds
}

/// Whether a polygon of 16-bit whole coordinates says all of it.
fn is_simple(polygon: &Polygon, bounds: &[f64; 4]) -> bool {
    let whole = |point: &[f64; 2]| point.iter().all(|at| at.fract() == 0.0);
    let in_range = |bound: &f64| (0.0..=COORDINATE_MAX).contains(bound);
    polygon.holes.is_empty()
        && polygon.outer.0.len() <= usize::from(u16::MAX)
        && bounds.iter().all(in_range)
        && polygon.outer.0.iter().all(whole)
}

/// All x from the left edge, then all y from the top.
fn simple(polygon: &Polygon, [top, left, _, _]: &[f64; 4], region: &mut Vec<u8>) {
    let points = &polygon.outer.0;
    put(region, 16, (points.len() as u16).to_be_bytes());
    for (axis, start) in [left, top].into_iter().enumerate() {
        let offsets = points.iter().map(|point| (point[axis] - start) as u16);
        region.extend(offsets.flat_map(u16::to_be_bytes));
    }
}

/// Every ring as a path.
fn composite(polygon: &Polygon, region: &mut Vec<u8>) {
    for ring in polygon.rings() {
        for (index, [x, y]) in ring.0.iter().enumerate() {
            let step = if index == 0 { MOVE_TO } else { LINE_TO };
            let numbers = [step, *x as f32, *y as f32];
            region.extend(numbers.into_iter().flat_map(f32::to_be_bytes));
        }
        region.extend(CLOSE.to_be_bytes());
    }
    let numbers = (region.len() - HEADER) / 4;
    put(region, SHAPE_LENGTH_AT, (numbers as u32).to_be_bytes());
}

fn put<const N: usize>(region: &mut [u8], at: usize, bytes: [u8; N]) {
    region[at..at + N].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::export::geojson::tests::two_objects;

    fn short(region: &[u8], at: usize) -> u16 {
        u16::from_be_bytes(region[at..at + 2].try_into().unwrap())
    }

    fn float(region: &[u8], index: usize) -> f32 {
        let at = HEADER + 4 * index;
        f32::from_be_bytes(region[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn a_core_without_holes_is_a_polygon_under_its_number() {
        let core = &two_objects().objects[1];
        assert_eq!(name(core), "0002-core");
        let region = region(core, "0002-core");
        assert_eq!(&region[..8], b"Iout\0\xE4\0\0");
        let bounds: Vec<u16> = (0..4).map(|index| short(&region, 8 + 2 * index)).collect();
        assert_eq!(bounds, [1, 1, 2, 2], "top, left, bottom, right");
        assert_eq!(short(&region, 16), 4);
        let offsets: Vec<u16> = (0..8).map(|index| short(&region, 64 + 2 * index)).collect();
        assert_eq!(offsets, [0, 1, 1, 0, 0, 0, 1, 1]);
        let name: Vec<u16> = "0002-core".encode_utf16().collect();
        let end = region.len() - 2 * name.len();
        let found: Vec<u16> = (0..name.len())
            .map(|at| short(&region, end + 2 * at))
            .collect();
        assert_eq!(found, name);
    }

    #[test]
    fn an_object_with_a_hole_is_composite() {
        let region = region(&two_objects().objects[0], "0001");
        assert_eq!(region[6], RECTANGLE);
        let length = u32::from_be_bytes(region[36..40].try_into().unwrap());
        assert_eq!(length, 2 * (4 * 3 + 1), "two rings of four points");
        let numbers: Vec<f32> = (0..length as usize).map(|at| float(&region, at)).collect();
        assert_eq!(numbers[..6], [MOVE_TO, 1.0, 1.0, LINE_TO, 5.0, 1.0]);
        assert_eq!(
            (numbers[12], numbers[13], numbers[25]),
            (CLOSE, MOVE_TO, CLOSE)
        );
    }

    #[test]
    fn what_16_bits_do_not_hold_is_composite() {
        let mut far = two_objects().objects[1].clone();
        far.polygon
            .outer
            .0
            .iter_mut()
            .for_each(|point| point[0] += 40_000.0);
        let region = region(&far, "0002-core");
        assert_eq!((region[6], float(&region, 1)), (RECTANGLE, 40_001.0));
    }
}
