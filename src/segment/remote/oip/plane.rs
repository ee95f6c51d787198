//! From the values of an answer to one for each pixel: whole numbers are labels, fractions are probabilities.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::super::Raster;
use super::super::RemoteError;
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
}
