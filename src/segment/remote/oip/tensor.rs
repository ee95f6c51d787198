//! From an image to the values of a model's input, in the byte order of the binary extension.
//!
//! Values go as the file holds them wherever the input's type can hold them. Where it cannot (16 bits for a model of 8),
//! the image's own range is stretched over the type's, and the result says so.

use bytes::Bytes;

use super::super::super::{Raster, Samples};
use super::super::RemoteError;
use super::model::{Datatype, Layout, Model};

/// The values of an image as a model takes them.
#[derive(Debug)]
pub(super) struct Tensor {
    /// Low byte first.
    pub bytes: Bytes,
    /// What a reader of the result should know.
    pub notes: Vec<String>,
}

/// The tensor of an image.
pub(super) fn of(image: &Raster, model: &Model) -> Result<Tensor, RemoteError> {
    let mut notes = Vec::new();
    let stretched = |bits: u32| format!("the values were stretched to {bits} bits for the model");
    let values: Vec<u8> = match (model.input.datatype, image.samples()) {
        (Datatype::U8, Samples::U8(values)) => values.clone(),
        (Datatype::U8, samples) => {
            notes.push(stretched(8));
            stretched_to(samples, f32::from(u8::MAX), |value| [value as u8])
        }
        (Datatype::U16, Samples::U8(values)) => {
            let wide = values.iter().map(|value| u16::from(*value));
            wide.flat_map(u16::to_le_bytes).collect()
        }
        (Datatype::U16, Samples::U16(values)) => values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        (Datatype::U16, samples) => {
            notes.push(stretched(16));
            let bytes = |value: f32| (value as u16).to_le_bytes();
            stretched_to(samples, f32::from(u16::MAX), bytes)
        }
        (Datatype::F32, samples) => (0..samples.len())
            .flat_map(|index| samples.at(index).to_le_bytes())
            .collect(),
        (other, _) => {
            let text = format!("an input of {other:?}");
            return Err(RemoteError::Unknown(text));
        }
    };
    let width = width_of(model.input.datatype);
    Ok(Tensor {
        bytes: coloured(values, width, model.layout).into(),
        notes,
    })
}

/// Bytes of one value.
pub(super) const fn width_of(datatype: Datatype) -> usize {
    match datatype {
        Datatype::Bool | Datatype::U8 | Datatype::I8 => 1,
        Datatype::U16 | Datatype::I16 => 2,
        Datatype::U32 | Datatype::I32 | Datatype::F32 => 4,
        Datatype::U64 | Datatype::I64 | Datatype::F64 => 8,
    }
}

/// A function that stretches the range of these values over 0 to `most`.
pub(in super::super) fn stretch(values: &[f32], most: f32) -> impl Fn(f32) -> f32 + use<> {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = if high > low { most / (high - low) } else { 0.0 };
    move |value| ((value - low) * scale).round().clamp(0.0, most)
}

fn stretched_to<const N: usize>(
    samples: &Samples,
    most: f32,
    bytes: impl Fn(f32) -> [u8; N],
) -> Vec<u8> {
    let values: Vec<f32> = (0..samples.len()).map(|index| samples.at(index)).collect();
    let stretch = stretch(&values, most);
    let stretched = values.iter().map(|value| stretch(*value));
    stretched.flat_map(bytes).collect()
}

/// The grey values once for each colour.
fn coloured(values: Vec<u8>, width: usize, layout: Layout) -> Vec<u8> {
    match layout {
        Layout::ChannelsLast(colours) if colours > 1 => values
            .chunks_exact(width)
            .flat_map(|value| value.repeat(colours as usize))
            .collect(),
        Layout::ChannelsFirst(colours) if colours > 1 => values.repeat(colours as usize),
        _ => values,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model;
    use super::*;

    fn sent(samples: Samples, datatype: Datatype, layout: Layout) -> Tensor {
        let image = Raster::new(2, 1, samples).unwrap();
        let tensor = model::Tensor {
            name: "x".into(),
            datatype,
            shape: vec![-1, -1],
        };
        let model = Model {
            name: "m".into(),
            input: tensor.clone(),
            output: tensor,
            layout,
        };
        of(&image, &model).unwrap()
    }

    #[test]
    fn values_go_as_they_are_where_they_fit() {
        let eight = || Samples::U8(vec![3, 200]);
        let same = sent(eight(), Datatype::U8, Layout::Plane);
        assert_eq!((&same.bytes[..], same.notes.len()), (&[3, 200][..], 0));
        let wide = sent(eight(), Datatype::U16, Layout::ChannelsLast(3));
        assert_eq!(&wide.bytes[..], [3, 0, 3, 0, 3, 0, 200, 0, 200, 0, 200, 0]);
        let float = sent(Samples::U16(vec![1, 65_535]), Datatype::F32, Layout::Plane);
        let expected: Vec<u8> = [1.0_f32, 65_535.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        assert_eq!(&float.bytes[..], expected);
    }

    #[test]
    fn values_that_do_not_fit_are_stretched_and_that_is_noted() {
        let narrow = sent(
            Samples::U16(vec![100, 900]),
            Datatype::U8,
            Layout::ChannelsFirst(3),
        );
        assert_eq!(&narrow.bytes[..], [0, 255, 0, 255, 0, 255]);
        assert!(narrow.notes[0].contains("8 bits"));
        let flat = sent(Samples::F32(vec![2.5, 2.5]), Datatype::U16, Layout::Plane);
        assert_eq!(&flat.bytes[..], [0; 4]);
    }
}
