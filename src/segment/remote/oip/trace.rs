//! From labels or probabilities to objects.
//!
//! A mask of a single label means that each connected part of it is an object. With several labels each label is one.

use std::collections::HashMap;

use super::super::super::mask::Mask;
use super::super::super::{Outline, Parameters, Raster, Segmentation, outlines};
use super::super::RemoteError;
use super::super::assembly::Assembly;
use super::plane::Plane;

/// What objects are made under.
#[derive(Debug)]
pub(super) struct Tracing<'a> {
    pub image: &'a Raster,
    pub parameters: &'a Parameters,
    /// A pixel is an object's from this probability on.
    pub threshold: f64,
    /// Most runs of equal labels along the rows: a mask of noise has as many as pixels.
    pub runs_max: usize,
    pub objects_max: usize,
    pub notes: Vec<String>,
}

impl Tracing<'_> {
    /// The objects of a plane, under the name of who made it.
    pub fn objects(self, plane: &Plane, segmenter: String) -> Result<Segmentation, RemoteError> {
        let masked;
        let (labels, probabilities) = match plane {
            Plane::Labels(labels) => (labels, None),
            Plane::Probabilities(values) => {
                let above = |value: &f32| u32::from(f64::from(*value) >= self.threshold);
                masked = values.iter().map(above).collect();
                (&masked, Some(values))
            }
        };
        self.check_runs(labels)?;
        let (width, height) = (self.image.width(), self.image.height());
        let found = outlines(width, height, labels)
            .map_err(|error| RemoteError::Untrue(error.to_string()))?;
        let kept = self.kept(found);
        let mut assembly = Assembly::new(self.image, self.parameters);
        self.notes
            .iter()
            .for_each(|note| assembly.note(note.as_str()));
        for _ in 0..kept.left_out {
            assembly.leave_out();
        }
        if kept.outlines.len() > self.objects_max {
            let (count, most) = (kept.outlines.len(), self.objects_max);
            let text = format!("{count} objects; at most {most} are taken");
            return Err(RemoteError::Untrue(text));
        }
        for outline in kept.outlines {
            let mask = mask_of(&outline, width, height);
            let confidence = probabilities.map(|values| mean_under(&mask, values, width));
            assembly.add_part(&mask, outline.polygon, None, confidence);
        }
        Ok(assembly.finish(segmenter))
    }

    fn check_runs(&self, labels: &[u32]) -> Result<(), RemoteError> {
        let rows = labels.chunks_exact(self.image.width() as usize);
        let changes = rows.map(|row| row.windows(2).filter(|two| two[0] != two[1]).count());
        let runs: usize = changes.sum();
        if runs > self.runs_max {
            let text = format!(
                "a mask of {runs} pieces of rows; at most {} are taken",
                self.runs_max
            );
            return Err(RemoteError::Untrue(text));
        }
        Ok(())
    }

    /// Specks go; of a label among several the largest part stays, however small.
    fn kept(&self, found: Vec<Outline>) -> Kept {
        let least = self.parameters.min_area(self.image.pixels()) as f64;
        let mut largest = HashMap::<u32, f64>::new();
        for outline in &found {
            let most = largest.entry(outline.label).or_default();
            *most = most.max(outline.polygon.area());
        }
        let several = largest.len() > 1;
        let before = found.len();
        let stays = |outline: &Outline| {
            let area = outline.polygon.area();
            area >= least || several && area >= largest[&outline.label]
        };
        let outlines: Vec<Outline> = found.into_iter().filter(stays).collect();
        Kept {
            left_out: before - outlines.len(),
            outlines,
        }
    }
}

struct Kept {
    outlines: Vec<Outline>,
    left_out: usize,
}

/// The pixels inside an outline on pixel corners.
fn mask_of(outline: &Outline, width: u32, height: u32) -> Mask {
    let points = &outline.polygon.outer.0;
    let least = |axis: usize| points.iter().map(|p| p[axis]).fold(f64::INFINITY, f64::min);
    let most = |axis: usize| points.iter().map(|p| p[axis]).fold(0.0, f64::max);
    let (left, top) = (least(0) as u32, least(1) as u32);
    let columns = most(0) as usize - left as usize;
    let rows = most(1) as usize - top as usize;
    let mut mask = Mask::new(left, top, columns, rows);
    outline.polygon.spans(width, height, |y, from, to| {
        mask.row_mut((y - top) as usize)[(from - left) as usize..(to - left) as usize].fill(true);
    });
    mask
}

fn mean_under(mask: &Mask, values: &[f32], width: u32) -> f64 {
    let at = |(x, y): (usize, usize)| {
        f64::from(values[(mask.y as usize + y) * width as usize + mask.x as usize + x])
    };
    let sum: f64 = mask.pixels().map(at).sum();
    sum / mask.area().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::super::super::Samples;
    use super::*;

    fn image() -> Raster {
        Raster::new(8, 6, Samples::U8((0..48).collect())).unwrap()
    }

    fn traced(
        plane: &Plane,
        parameters: &Parameters,
        runs_max: usize,
    ) -> Result<Segmentation, RemoteError> {
        let image = image();
        let tracing = Tracing {
            image: &image,
            parameters,
            threshold: 0.5,
            runs_max,
            objects_max: 2,
            notes: Vec::new(),
        };
        tracing.objects(plane, "oip-v2:otsu".into())
    }

    fn every_size() -> Parameters {
        Parameters {
            min_area_px: Some(1),
            ..Parameters::default()
        }
    }

    #[test]
    fn parts_of_one_label_are_objects_and_of_several_labels_the_largest_parts_are() {
        let mut labels = vec![0; 48];
        labels[..2].fill(1);
        labels[16..20].fill(1);
        labels[47] = 1;
        let plane = Plane::Labels(labels.clone());
        let error = traced(&plane, &every_size(), 100).unwrap_err();
        assert!(
            error.to_string().contains("3 objects; at most 2"),
            "{error}"
        );
        labels[47] = 0;
        let found = traced(&Plane::Labels(labels.clone()), &every_size(), 100).unwrap();
        let areas: Vec<_> = found
            .objects
            .iter()
            .map(|o| o.measurements.area_px)
            .collect();
        assert_eq!(
            (areas, found.segmenter.as_str()),
            (vec![2, 4], "oip-v2:otsu")
        );
        // By default specks below 30 pixels are no objects, but each of several labels is.
        let none = traced(&Plane::Labels(labels.clone()), &Parameters::default(), 100).unwrap();
        assert_eq!(none.objects.len(), 0);
        labels[47] = 2;
        let both = traced(&Plane::Labels(labels), &Parameters::default(), 100).unwrap();
        assert_eq!(both.objects.len(), 2);
        assert!(both.note.unwrap().starts_with("1 part(s)"));
    }

    #[test]
    fn probabilities_are_cut_at_the_threshold_and_give_the_confidence() {
        let mut values = vec![0.2; 48];
        values[10..12].copy_from_slice(&[0.6, 0.8]);
        let found = traced(&Plane::Probabilities(values), &every_size(), 100).unwrap();
        assert_eq!(found.objects[0].measurements.area_px, 2);
        assert!((found.objects[0].confidence.unwrap() - 0.7).abs() < 1e-6);
    }

    #[test]
    fn noise_is_refused_before_it_is_traced() {
        let noise = Plane::Labels((0..48).map(|index| index % 2).collect());
        let error = traced(&noise, &every_size(), 10).unwrap_err().to_string();
        assert!(error.contains("pieces of rows"), "{error}");
    }
}
