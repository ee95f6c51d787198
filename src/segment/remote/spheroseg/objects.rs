//! From the outlines of an answer to measured objects: holes to their parents, cores to the whole objects round them.

use std::collections::HashMap;

use super::super::super::{Parameters, Point, Raster, Segmentation};
use super::super::assembly::Assembly;
use super::super::{RemoteError, fill};
use super::answer::{Answer, Outline, Size};

/// Points may lie so far outside the image, in pixels: some tools count its far edge as inside.
const OUTSIDE_MAX_PX: f64 = 1.0;
/// All outlines together may be so many times as long as the image has pixels; no two of them share a pixel in truth.
const LENGTH_PER_PIXEL_MAX: f64 = 8.0;
/// Finding the parents of outlines that name none may take so many looks at a point.
const LOOKS_MAX: usize = 100_000_000;
/// All boxes round outlines together may be so many times as large as the image.
const BOXES_PER_IMAGE_MAX: f64 = 32.0;

/// The result, under the name of the model that the service says it used, else that was asked for.
pub(super) fn measured(
    answer: Answer,
    asked: &str,
    image: &Raster,
    parameters: &Parameters,
) -> Result<Segmentation, RemoteError> {
    check_size(answer.size, image)?;
    check_outlines(&answer.polygons, image)?;
    let family = Family::of(&answer.polygons)?;
    let mut assembly = Assembly::new(image, parameters);
    if let Some(warning) = &answer.warning {
        assembly.note(warning.as_str());
    }
    let (width, height) = (image.width(), image.height());
    let add = |assembly: &mut Assembly<'_>, index: usize, core_of| {
        let outline = &answer.polygons[index];
        let mask = fill::mask_of(&outline.points.0, &family.holes(index), width, height);
        let Some(mask) = mask else {
            assembly.leave_out();
            return None;
        };
        assembly.add(&mask, core_of, outline.confidence)
    };
    for whole in &family.wholes {
        let number = add(&mut assembly, *whole, None);
        if !parameters.report_core || number.is_none() {
            continue;
        }
        for core in family.cores_of.get(whole).into_iter().flatten() {
            add(&mut assembly, *core, number);
        }
    }
    let model = answer.model.as_deref().unwrap_or(asked);
    let model = if model.is_empty() { "default" } else { model };
    Ok(assembly.finish(format!("spheroseg:{model}")))
}

fn check_size(said: Option<Size>, image: &Raster) -> Result<(), RemoteError> {
    let real = Size {
        width: image.width(),
        height: image.height(),
    };
    match said {
        Some(said) if said != real => Err(RemoteError::Untrue(format!(
            "it is about an image of {} × {} pixels, but this one has {} × {}",
            said.width, said.height, real.width, real.height
        ))),
        _ => Ok(()),
    }
}

fn check_outlines(outlines: &[Outline], image: &Raster) -> Result<(), RemoteError> {
    let sides = [f64::from(image.width()), f64::from(image.height())];
    let inside = |point: &Point| {
        let within = |axis: usize| (-OUTSIDE_MAX_PX..=sides[axis]).contains(&point[axis]);
        within(0) && within(1)
    };
    let (mut length, mut boxes) = (0.0, 0.0);
    for (index, outline) in outlines.iter().enumerate() {
        // A range holds no NaN.
        if let Some([x, y]) = outline.points.0.iter().find(|point| !inside(point)) {
            return Err(RemoteError::Untrue(format!(
                "polygon {index} has the point ({x}, {y}) outside the image of {} × {} pixels",
                sides[0], sides[1]
            )));
        }
        length += fill::length(&outline.points.0);
        boxes += box_area(&outline.points.0);
    }
    let of_children =
        |outline: &&Outline| (outline.hole || outline.core) && outline.parent.is_none();
    let orphans = outlines.iter().filter(of_children).count();
    let points: usize = outlines.iter().map(|outline| outline.points.0.len()).sum();
    if orphans.saturating_mul(points) > LOOKS_MAX {
        return Err(RemoteError::Untrue(format!(
            "{orphans} holes and cores have no parent"
        )));
    }
    let pixels = sides[0] * sides[1];
    if length > LENGTH_PER_PIXEL_MAX * pixels + sides[0] + sides[1] {
        return Err(RemoteError::Untrue(format!(
            "its outlines are {length:.0} pixels long, in an image of {pixels} pixels"
        )));
    }
    if boxes > BOXES_PER_IMAGE_MAX * pixels {
        return Err(RemoteError::Untrue(format!(
            "its outlines cover the image {:.0} times",
            boxes / pixels
        )));
    }
    Ok(())
}

fn box_area(points: &[Point]) -> f64 {
    let extent = |axis: usize| {
        let of = || points.iter().map(|point| point[axis]);
        of().fold(f64::NEG_INFINITY, f64::max) - of().fold(f64::INFINITY, f64::min)
    };
    if points.is_empty() {
        return 0.0;
    }
    (extent(0) + 1.0) * (extent(1) + 1.0)
}

/// Which outline belongs to which.
struct Family<'a> {
    outlines: &'a [Outline],
    wholes: Vec<usize>,
    cores_of: HashMap<usize, Vec<usize>>,
    holes_of: HashMap<usize, Vec<usize>>,
}

impl<'a> Family<'a> {
    /// A parent is named; where none is, it is the first outline round the child. A core without a whole object round it
    /// is a whole object.
    fn of(outlines: &'a [Outline]) -> Result<Self, RemoteError> {
        let named = outlines.iter().enumerate();
        let named: HashMap<&str, usize> = named
            .filter_map(|(index, outline)| Some((outline.id.as_deref()?, index)))
            .collect();
        let mut family = Self {
            outlines,
            wholes: Vec::new(),
            cores_of: HashMap::new(),
            holes_of: HashMap::new(),
        };
        let solid = |index: &usize| !outlines[*index].hole && !outlines[*index].core;
        for (index, outline) in outlines.iter().enumerate() {
            let parent = match &outline.parent {
                Some(name) => Some(*named.get(name.as_str()).ok_or_else(|| {
                    RemoteError::Untrue(format!("polygon {index} has a parent that is not there"))
                })?),
                None => None,
            };
            if outline.hole {
                let parent = parent.or_else(|| family.around(index, |at| !outlines[*at].hole));
                let parent = parent.filter(|parent| !outlines[*parent].hole);
                let parent = parent.ok_or_else(|| {
                    RemoteError::Untrue(format!("polygon {index} is a hole in nothing"))
                })?;
                family.holes_of.entry(parent).or_default().push(index);
            } else if outline.core {
                let parent = parent.filter(solid).or_else(|| family.around(index, solid));
                match parent {
                    Some(parent) => family.cores_of.entry(parent).or_default().push(index),
                    None => family.wholes.push(index),
                }
            } else {
                family.wholes.push(index);
            }
        }
        Ok(family)
    }

    fn holes(&self, index: usize) -> Vec<&'a [Point]> {
        let holes = self.holes_of.get(&index).into_iter().flatten();
        holes
            .map(|hole| self.outlines[*hole].points.0.as_slice())
            .collect()
    }

    /// The first outline of a kind that holds the middle of this one.
    fn around(&self, child: usize, kind: impl Fn(&usize) -> bool) -> Option<usize> {
        let points = &self.outlines[child].points.0;
        let count = points.len().max(1) as f64;
        let middle = [0, 1].map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / count);
        let others = (0..self.outlines.len()).filter(|index| *index != child);
        others
            .filter(kind)
            .find(|index| self.outlines[*index].points.holds(middle))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::{Part, Samples};
    use super::super::super::Limits;
    use super::super::answer;
    use super::*;

    const LIMITS: Limits = Limits {
        response_bytes_max: 1 << 20,
        polygons_max: 100,
        points_max: 1_000,
    };

    fn ring(x: f64, y: f64, side: f64) -> String {
        let (right, bottom) = (x + side, y + side);
        format!(
            r#"[{{"x":{x},"y":{y}}},{{"x":{right},"y":{y}}},{{"x":{right},"y":{bottom}}},{{"x":{x},"y":{bottom}}}]"#
        )
    }

    fn result(polygons: &str, parameters: &Parameters) -> Result<Segmentation, RemoteError> {
        let body = format!(
            r#"{{"polygons":[{polygons}],"image_size":{{"width":40,"height":30}},"model_used":"hrnet"}}"#
        );
        let answer = answer::read(body.as_bytes(), &LIMITS)?;
        let image = Raster::new(40, 30, Samples::U8(vec![7; 1_200])).unwrap();
        measured(answer, "", &image, parameters)
    }

    fn found(polygons: &str) -> Segmentation {
        result(polygons, &Parameters::default()).unwrap()
    }

    #[test]
    fn holes_belong_to_their_parents_and_cores_to_the_whole_round_them() {
        let (outer, hole, core) = (
            ring(2.0, 2.0, 9.0),
            ring(4.0, 4.0, 3.0),
            ring(8.0, 8.0, 2.0),
        );
        let other = ring(20.0, 20.0, 4.0);
        let polygons = format!(
            r#"{{"id":"h","type":"internal","parent_id":"a","points":{hole}}},
               {{"id":"c","type":"external","partClass":"core","points":{core}}},
               {{"id":"a","type":"external","confidence":0.75,"points":{outer}}},
               {{"id":"b","type":"external","points":{other}}}"#
        );
        let found = found(&polygons);
        let of = |object: &super::super::super::super::Object| {
            (object.part, object.core_of, object.measurements.area_px)
        };
        let objects: Vec<_> = found.objects.iter().map(of).collect();
        // Ten by ten centres, less the two by two inside the hole's outline.
        let expected = [
            (Part::Whole, None, 96),
            (Part::Core, Some(1), 9),
            (Part::Whole, None, 25),
        ];
        assert_eq!(objects, expected);
        assert_eq!(found.objects[0].confidence, Some(0.75));
        assert_eq!(
            (found.segmenter.as_str(), found.note),
            ("spheroseg:hrnet", None)
        );
        assert_eq!(found.objects[0].polygon.area(), 96.0);
    }

    #[test]
    fn answers_that_cannot_be_true_are_refused() {
        let outside = ring(38.0, 20.0, 5.0);
        let far = format!(r#"{{"points":{outside}}}"#);
        let orphan = format!(r#"{{"points":{},"parent_id":"x"}}"#, ring(1.0, 1.0, 3.0));
        let zigzag: Vec<String> = (0..400)
            .map(|index| format!(r#"{{"x":{},"y":{}}}"#, 39 * (index % 2), index % 30))
            .collect();
        let zigzag = format!(r#"{{"points":[{}]}}"#, zigzag.join(","));
        let covers = vec![format!(r#"{{"points":{}}}"#, ring(0.0, 0.0, 29.0)); 50].join(",");
        for (polygons, reason) in [
            (far, "outside the image"),
            (orphan, "a parent that is not there"),
            (zigzag, "pixels long"),
            (covers, "cover the image"),
        ] {
            let error = result(&polygons, &Parameters::default()).unwrap_err();
            assert!(matches!(error, RemoteError::Untrue(_)), "{error:?}");
            assert!(error.to_string().contains(reason), "{error}");
        }
        let image = Raster::new(4, 4, Samples::U8(vec![0; 16])).unwrap();
        let answer = br#"{"polygons":[],"image_size":{"width":4,"height":5}}"#;
        let answer = answer::read(answer, &LIMITS).unwrap();
        let error = measured(answer, "", &image, &Parameters::default()).unwrap_err();
        assert!(error.to_string().contains("4 × 5"), "{error}");
    }

    #[test]
    fn the_users_parameters_hold_for_other_segmenters_too() {
        let (large, small) = (ring(5.0, 5.0, 9.0), ring(0.0, 20.0, 4.0));
        let polygons = format!(r#"{{"points":{large}}},{{"points":{small}}}"#);
        let without_small = Parameters {
            min_area_px: Some(50),
            ..Parameters::default()
        };
        let inside = Parameters {
            exclude_border: true,
            ..Parameters::default()
        };
        for parameters in [without_small, inside] {
            let found = result(&polygons, &parameters).unwrap();
            assert_eq!(found.objects.len(), 1, "{parameters:?}");
            assert!(found.note.unwrap().contains("left out"));
        }
        assert_eq!(found(&polygons).objects.len(), 2);
    }

    #[test]
    fn nothing_found_is_a_result_with_a_reason() {
        let found = found("");
        assert_eq!(
            found.note.as_deref(),
            Some("spheroseg:hrnet found no object")
        );
        assert!(found.summary.is_none());
    }
}
