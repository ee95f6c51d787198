//! From the output of a model to objects: whole numbers are labels, fractions are probabilities.
//!
//! A mask of a single label means that each connected part of it is an object. With several labels each label is one.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::super::mask::Mask;
use super::super::super::{Outline, Parameters, Raster, Segmentation, outlines};
use super::super::RemoteError;
use super::super::assembly::Assembly;
use super::model::Datatype;
use super::tensor::width_of;
use super::wire::{Output, Values};

/// Probabilities may leave 0 to 1 by so much: sigmoids in half precision do.
const ROUNDING: f32 = 1e-3;

/// One value for each pixel, row by row.
#[derive(Debug, PartialEq)]
pub(super) enum Plane {
    /// 0 where there is no object.
    Labels(Vec<u32>),
    /// How sure the model is that the pixel is an object's.
    Probabilities(Vec<f32>),
}

/// The plane of an output that is as large as the image.
pub(super) fn read(output: Output<'_>, image: &Raster) -> Result<Plane, RemoteError> {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    let sides: Vec<i64> = output
        .shape
        .iter()
        .copied()
        .filter(|side| *side != 1)
        .collect();
    let real: Vec<i64> = [height, width]
        .into_iter()
        .filter(|side| *side != 1)
        .collect();
    if sides != real {
        return Err(RemoteError::Untrue(format!(
            "its mask has the shape {:?}, but the image has {width} × {height} pixels",
            output.shape
        )));
    }
    let pixels = image.pixels() as usize;
    match output.datatype {
        Datatype::F32 | Datatype::F64 => {
            let values = values(&output, pixels, probability)?;
            Ok(Plane::Probabilities(values))
        }
        _ => Ok(Plane::Labels(values(&output, pixels, label)?)),
    }
}

fn probability(value: f64) -> Option<f32> {
    let value = value as f32;
    let within = (-ROUNDING..=1.0 + ROUNDING).contains(&value);
    within.then_some(value.clamp(0.0, 1.0))
}

fn label(value: f64) -> Option<u32> {
    let whole = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
    whole.then_some(value as u32)
}

/// Exactly as many values as pixels, each of which `of` takes.
fn values<T>(
    output: &Output<'_>,
    pixels: usize,
    of: impl Fn(f64) -> Option<T>,
) -> Result<Vec<T>, RemoteError> {
    let mut list = Vec::with_capacity(pixels);
    let take = |value: f64| {
        let taken = of(value).ok_or_else(|| format!("the value {value} in its mask"))?;
        if list.len() == pixels {
            return Err(format!("more than {pixels} values for {pixels} pixels"));
        }
        list.push(taken);
        Ok(())
    };
    match output.values {
        Values::Json(data) => from_json(data, take)?,
        Values::Binary(bytes) => from_binary(bytes, output.datatype, take)?,
    }
    if list.len() < pixels {
        let text = format!("{} values for {pixels} pixels", list.len());
        return Err(RemoteError::Untrue(text));
    }
    Ok(list)
}

fn from_json(
    data: &RawValue,
    mut take: impl FnMut(f64) -> Result<(), String>,
) -> Result<(), RemoteError> {
    let mut reader = serde_json::Deserializer::from_str(data.get());
    let numbers = Numbers(&mut take);
    numbers
        .deserialize(&mut reader)
        .map_err(|error| RemoteError::Untrue(error.to_string()))
}

/// Numbers in a list, or in lists of lists: the protocol allows both.
struct Numbers<'t, F>(&'t mut F);

impl<'de, F: FnMut(f64) -> Result<(), String>> DeserializeSeed<'de> for Numbers<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(f64) -> Result<(), String>> Visitor<'de> for Numbers<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        (self.0)(f64::from(u8::from(value))).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        (self.0)(value as f64).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        (self.0)(value as f64).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        (self.0)(value).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Numbers(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

fn from_binary(
    bytes: &[u8],
    datatype: Datatype,
    mut take: impl FnMut(f64) -> Result<(), String>,
) -> Result<(), RemoteError> {
    let values = bytes.chunks_exact(width_of(datatype));
    if !values.remainder().is_empty() {
        let text = format!("{} bytes of {datatype:?}", bytes.len());
        return Err(RemoteError::Broken(text));
    }
    for value in values {
        take(number(value, datatype)).map_err(RemoteError::Untrue)?;
    }
    Ok(())
}

/// The number in these bytes, low byte first.
fn number(bytes: &[u8], datatype: Datatype) -> f64 {
    let mut eight = [0; 8];
    eight[..bytes.len()].copy_from_slice(bytes);
    let whole = u64::from_le_bytes(eight);
    match datatype {
        Datatype::F32 => f64::from(f32::from_bits(whole as u32)),
        Datatype::F64 => f64::from_bits(whole),
        Datatype::I8 => f64::from(whole as u8 as i8),
        Datatype::I16 => f64::from(whole as u16 as i16),
        Datatype::I32 => f64::from(whole as u32 as i32),
        Datatype::I64 => whole as i64 as f64,
        Datatype::Bool | Datatype::U8 | Datatype::U16 | Datatype::U32 | Datatype::U64 => {
            whole as f64
        }
    }
}

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
        let mut largest = std::collections::HashMap::<u32, f64>::new();
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

    fn json(datatype: Datatype, shape: &[i64], data: &str) -> Result<Plane, RemoteError> {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        let output = Output {
            datatype,
            shape: shape.to_vec(),
            values: Values::Json(&data),
        };
        read(output, &image())
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
    fn lists_and_lists_of_lists_are_read() {
        let row = "[0,0,1,1,0,0,0,2]";
        let nested = format!("[{}]", [row; 6].join(","));
        let flat = nested
            .replace("[[", "[")
            .replace("]]", "]")
            .replace("],[", ",");
        let plane = json(Datatype::U16, &[1, 6, 8, 1], &nested).unwrap();
        assert_eq!(plane, json(Datatype::I64, &[6, 8], &flat).unwrap());
        let Plane::Labels(labels) = plane else {
            panic!("labels are expected")
        };
        assert_eq!((labels.len(), labels[7]), (48, 2));
    }

    #[test]
    fn masks_that_cannot_be_true_are_refused() {
        let zeros = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        for (datatype, shape, data, reason) in [
            (Datatype::U8, vec![8, 6], zeros(48), "8 × 6"),
            (Datatype::U8, vec![6, 8], zeros(47), "47 values"),
            (Datatype::U8, vec![6, 8], zeros(49), "more than 48"),
            (Datatype::I32, vec![6, 8], "[-1]".into(), "the value -1"),
            (Datatype::F32, vec![6, 8], "[1.5]".into(), "the value 1.5"),
            (Datatype::F32, vec![6, 8], "[null]".into(), "null"),
        ] {
            let error = json(datatype, &shape, &data).unwrap_err();
            assert!(matches!(error, RemoteError::Untrue(_)), "{error:?}");
            assert!(error.to_string().contains(reason), "{error}");
        }
        let nan = [f32::NAN; 48].map(f32::to_le_bytes).concat();
        let output = Output {
            datatype: Datatype::F32,
            shape: vec![6, 8],
            values: Values::Binary(&nan),
        };
        let error = read(output, &image()).unwrap_err().to_string();
        assert!(error.contains("NaN"), "{error}");
    }

    #[test]
    fn binary_numbers_of_every_type_are_read() {
        for (datatype, bytes, number_in_it) in [
            (Datatype::U8, vec![200], 200.0),
            (Datatype::I8, vec![0xFF], -1.0),
            (Datatype::U16, vec![1, 2], 513.0),
            (Datatype::I32, vec![0xFE, 0xFF, 0xFF, 0xFF], -2.0),
            (Datatype::F32, 0.25_f32.to_le_bytes().to_vec(), 0.25),
            (Datatype::F64, 0.1_f64.to_le_bytes().to_vec(), 0.1),
            (Datatype::U64, 7_u64.to_le_bytes().to_vec(), 7.0),
        ] {
            assert_eq!(number(&bytes, datatype), number_in_it);
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
