//! Which input and output a model has: the first of each, as its description names them.

use serde::Deserialize;

use super::super::RemoteError;
use super::super::transport::said;

/// A model that takes one image and gives one mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub name: String,
    pub input: Tensor,
    pub output: Tensor,
    pub layout: Layout,
}

/// An input or output.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Tensor {
    pub name: String,
    pub datatype: Datatype,
    /// Below 0 where any length is taken.
    pub shape: Vec<i64>,
}

/// The types of the protocol that can hold an image, a mask or probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Datatype {
    #[serde(rename = "BOOL")]
    Bool,
    #[serde(rename = "UINT8")]
    U8,
    #[serde(rename = "UINT16")]
    U16,
    #[serde(rename = "UINT32")]
    U32,
    #[serde(rename = "UINT64")]
    U64,
    #[serde(rename = "INT8")]
    I8,
    #[serde(rename = "INT16")]
    I16,
    #[serde(rename = "INT32")]
    I32,
    #[serde(rename = "INT64")]
    I64,
    #[serde(rename = "FP32")]
    F32,
    #[serde(rename = "FP64")]
    F64,
}

/// Where height, width and colours stand in the input's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[H, W]`.
    Plane,
    /// `[1, H, W]`.
    BatchPlane,
    /// `[1, H, W, C]`, with so many colours.
    ChannelsLast(u32),
    /// `[1, C, H, W]`, with so many colours.
    ChannelsFirst(u32),
}

#[derive(Deserialize)]
struct Description {
    inputs: Option<Vec<Tensor>>,
    outputs: Option<Vec<Tensor>>,
}

impl Model {
    /// From the server's description.
    pub fn read(name: &str, body: &[u8]) -> Result<Self, RemoteError> {
        let wrong = |why: String| RemoteError::Unknown(format!("model {name}: {why}"));
        let description: Description = serde_json::from_slice(body)
            .map_err(|error| wrong(format!("{error} in {:?}", said(body))))?;
        let first = |tensors: Option<Vec<Tensor>>| tensors.unwrap_or_default().into_iter().next();
        let input = first(description.inputs).ok_or_else(|| wrong("it has no input".into()))?;
        let output = first(description.outputs).ok_or_else(|| wrong("it has no output".into()))?;
        if !matches!(input.datatype, Datatype::U8 | Datatype::U16 | Datatype::F32) {
            return Err(wrong(format!(
                "its input is {:?}; UINT8, UINT16 and FP32 are known",
                input.datatype
            )));
        }
        let layout = Layout::of(&input.shape).ok_or_else(|| {
            wrong(format!(
                "its input has the shape {:?}; [H, W], [1, H, W], [1, H, W, C] and [1, C, H, W] are known",
                input.shape
            ))
        })?;
        Ok(Self {
            name: name.to_owned(),
            input,
            output,
            layout,
        })
    }

    /// Refuses an image that a model of fixed size does not take: scaled images have other measurements.
    pub fn check_size(&self, width: u32, height: u32) -> Result<(), RemoteError> {
        let shape = self.shape(width, height);
        let fits = |(wanted, given): (&i64, &i64)| *wanted < 0 || wanted == given;
        if self.input.shape.iter().zip(&shape).all(fits) {
            return Ok(());
        }
        Err(RemoteError::Refused(format!(
            "model {} takes the shape {:?}, and an image of {width} × {height} pixels has {shape:?}",
            self.name, self.input.shape
        )))
    }

    /// The shape of an image of this size.
    pub fn shape(&self, width: u32, height: u32) -> Vec<i64> {
        let (width, height) = (i64::from(width), i64::from(height));
        match self.layout {
            Layout::Plane => vec![height, width],
            Layout::BatchPlane => vec![1, height, width],
            Layout::ChannelsLast(colours) => vec![1, height, width, i64::from(colours)],
            Layout::ChannelsFirst(colours) => vec![1, i64::from(colours), height, width],
        }
    }
}

impl Layout {
    fn of(shape: &[i64]) -> Option<Self> {
        let colours = |length: i64| match length {
            1 | 3 => u32::try_from(length).ok(),
            _ => None,
        };
        let one = |length: i64| length < 0 || length == 1;
        match *shape {
            [_, _] => Some(Self::Plane),
            [first, _, _] if one(first) => Some(Self::BatchPlane),
            [first, second, _, last] if one(first) => match (colours(last), colours(second)) {
                (Some(last), _) => Some(Self::ChannelsLast(last)),
                (None, Some(second)) => Some(Self::ChannelsFirst(second)),
                // Any number of colours: one is an image as we have it.
                (None, None) if last < 0 => Some(Self::ChannelsLast(1)),
                (None, None) => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(datatype: &str, shape: &str) -> Result<Model, RemoteError> {
        let body = format!(
            r#"{{"name":"otsu","versions":[],"platform":"","inputs":[{{"name":"image","datatype":"{datatype}","shape":{shape}}}],
            "outputs":[{{"name":"mask","datatype":"UINT8","shape":[-1,-1]}}]}}"#
        );
        Model::read("otsu", body.as_bytes())
    }

    #[test]
    fn every_common_layout_is_known() {
        for (shape, layout, sent) in [
            ("[-1,-1]", Layout::Plane, vec![20, 30]),
            ("[1,-1,-1]", Layout::BatchPlane, vec![1, 20, 30]),
            ("[1,-1,-1,3]", Layout::ChannelsLast(3), vec![1, 20, 30, 3]),
            ("[-1,-1,-1,-1]", Layout::ChannelsLast(1), vec![1, 20, 30, 1]),
            ("[-1,3,20,30]", Layout::ChannelsFirst(3), vec![1, 3, 20, 30]),
        ] {
            let model = described("FP32", shape).unwrap();
            assert_eq!((model.layout, model.shape(30, 20)), (layout, sent));
            model.check_size(30, 20).unwrap();
        }
    }

    #[test]
    fn a_model_of_another_size_refuses_the_image_and_not_the_service() {
        let model = described("UINT8", "[1,512,512,1]").unwrap();
        let error = model.check_size(512, 400).unwrap_err();
        assert!(matches!(error, RemoteError::Refused(_)), "{error}");
    }

    #[test]
    fn models_for_other_things_are_named() {
        for (datatype, shape) in [("INT64", "[-1,-1]"), ("UINT8", "[7]"), ("BYTES", "[-1,-1]")] {
            let error = described(datatype, shape).unwrap_err().to_string();
            assert!(error.contains("model otsu"), "{error}");
        }
        let empty = Model::read("m", b"{}").unwrap_err().to_string();
        assert!(empty.contains("no input"), "{empty}");
    }
}
