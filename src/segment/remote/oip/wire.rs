//! Both encodings: JSON alone, or a JSON header with the values behind it (the binary tensor extension, low byte first).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::RemoteError;
use super::super::transport::said;
use super::model::{Datatype, Model};
use super::tensor::width_of;

/// Length of the JSON before the binary values; its presence says that there are some.
pub(super) const HEADER_LENGTH: &str = "inference-header-content-length";

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Json,
    Binary,
}

/// A request's body.
#[derive(Debug)]
pub(super) struct Written {
    pub bytes: Vec<u8>,
    /// Length of its JSON header where binary values follow.
    pub header_bytes: Option<usize>,
}

/// The output of an answer.
#[derive(Debug)]
pub(super) struct Output<'a> {
    pub datatype: Datatype,
    pub shape: Vec<i64>,
    pub values: Values<'a>,
}

/// The values of an output, as they came.
#[derive(Debug)]
pub(super) enum Values<'a> {
    Json(&'a RawValue),
    Binary(&'a [u8]),
}

#[derive(Deserialize)]
struct RawAnswer<'a> {
    #[serde(borrow)]
    outputs: Vec<RawOutput<'a>>,
}

#[derive(Deserialize)]
struct RawOutput<'a> {
    name: String,
    datatype: Datatype,
    shape: Vec<i64>,
    #[serde(default)]
    parameters: Option<RawParameters>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawParameters {
    binary_data_size: Option<usize>,
}

/// A request for the mask of these values.
pub(super) fn write(
    model: &Model,
    encoding: Encoding,
    id: &str,
    (width, height): (u32, u32),
    values: &[u8],
) -> Result<Written, RemoteError> {
    let mut input = json!({
        "name": model.input.name,
        "shape": model.shape(width, height),
        "datatype": datatype_name(model.input.datatype),
    });
    let mut output = json!({ "name": model.output.name });
    if encoding == Encoding::Binary {
        input["parameters"] = json!({ "binary_data_size": values.len() });
        output["parameters"] = json!({ "binary_data": true });
    }
    let mut bytes = head(id, &input, &output)?;
    let header_bytes = match encoding {
        Encoding::Binary => {
            let length = bytes.len();
            bytes.extend_from_slice(values);
            Some(length)
        }
        Encoding::Json => {
            // The list goes before the three brackets that close input, inputs and request.
            let end = bytes.split_off(bytes.len() - tail_bytes(&output)?);
            bytes.extend_from_slice(b",\"data\":[");
            list(&mut bytes, model.input.datatype, values);
            bytes.push(b']');
            bytes.extend_from_slice(&end);
            None
        }
    };
    Ok(Written {
        bytes,
        header_bytes,
    })
}

/// The request without values, its input last but for the outputs.
fn head(
    id: &str,
    input: &serde_json::Value,
    output: &serde_json::Value,
) -> Result<Vec<u8>, RemoteError> {
    let id = serde_json::to_string(id).map_err(unwritable)?;
    Ok(format!(r#"{{"id":{id},"inputs":[{input}],"outputs":[{output}]}}"#).into_bytes())
}

/// How long the request is from the end of its input on.
fn tail_bytes(output: &serde_json::Value) -> Result<usize, RemoteError> {
    let output = serde_json::to_string(output).map_err(unwritable)?;
    Ok(format!(r#"}}],"outputs":[{output}]}}"#).len())
}

fn unwritable(error: serde_json::Error) -> RemoteError {
    RemoteError::Broken(format!("the request cannot be written: {error}"))
}

fn list(bytes: &mut Vec<u8>, datatype: Datatype, values: &[u8]) {
    for (index, value) in values.chunks_exact(width_of(datatype)).enumerate() {
        if index > 0 {
            bytes.push(b',');
        }
        // Writing into memory does not fail.
        let _ = match (datatype, value) {
            (Datatype::U16, [low, high]) => write!(bytes, "{}", u16::from_le_bytes([*low, *high])),
            (Datatype::F32, [a, b, c, d]) => {
                write!(bytes, "{}", f32::from_le_bytes([*a, *b, *c, *d]))
            }
            (_, value) => write!(bytes, "{}", value[0]),
        };
    }
}

/// The model's output in an answer.
pub(super) fn read<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    model: &Model,
) -> Result<Output<'a>, RemoteError> {
    let broken = |why: String| RemoteError::Broken(why);
    let header_bytes = match headers.get(HEADER_LENGTH) {
        Some(length) => {
            let length = length.to_str().ok().and_then(|text| text.parse().ok());
            length
                .filter(|length: &usize| *length <= body.len())
                .ok_or_else(|| broken(format!("{HEADER_LENGTH} is no length of this body")))?
        }
        None => body.len(),
    };
    let (json, mut binary) = body.split_at(header_bytes);
    let raw: RawAnswer<'_> = serde_json::from_slice(json)
        .map_err(|error| broken(format!("{error} (it begins with {:?})", beginning(json))))?;
    for output in raw.outputs {
        let size = output.parameters.and_then(|of| of.binary_data_size);
        let values = match (size, output.data) {
            (Some(size), _) => {
                let (values, rest) = binary
                    .split_at_checked(size)
                    .ok_or_else(|| broken(format!("{} ends before its values do", output.name)))?;
                binary = rest;
                Values::Binary(values)
            }
            (None, Some(data)) => Values::Json(data),
            (None, None) => return Err(broken(format!("{} has no values", output.name))),
        };
        if output.name == model.output.name {
            return Ok(Output {
                datatype: output.datatype,
                shape: output.shape,
                values,
            });
        }
    }
    Err(broken(format!("it has no output {}", model.output.name)))
}

/// A body compressed.
pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>, RemoteError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.map_err(|error| RemoteError::Broken(error.to_string()))
}

fn beginning(body: &[u8]) -> String {
    said(body).chars().take(40).collect()
}

const fn datatype_name(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => "BOOL",
        Datatype::U8 => "UINT8",
        Datatype::U16 => "UINT16",
        Datatype::U32 => "UINT32",
        Datatype::U64 => "UINT64",
        Datatype::I8 => "INT8",
        Datatype::I16 => "INT16",
        Datatype::I32 => "INT32",
        Datatype::I64 => "INT64",
        Datatype::F32 => "FP32",
        Datatype::F64 => "FP64",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::Value;

    use super::super::model::{Layout, Tensor};
    use super::*;

    fn model(datatype: Datatype) -> Model {
        let tensor = |name: &str, datatype| Tensor {
            name: name.into(),
            datatype,
            shape: vec![-1, -1],
        };
        Model {
            name: "otsu".into(),
            input: tensor("image", datatype),
            output: tensor("mask", Datatype::U8),
            layout: Layout::Plane,
        }
    }

    #[test]
    fn json_holds_the_values() {
        for (datatype, values, expected) in [
            (Datatype::U8, vec![1, 0, 255], json!([1, 0, 255])),
            (Datatype::U16, vec![1, 0, 255, 255], json!([1, 65_535])),
            (Datatype::F32, 0.5_f32.to_le_bytes().to_vec(), json!([0.5])),
        ] {
            let written = write(&model(datatype), Encoding::Json, "a\"b", (3, 1), &values).unwrap();
            let request: Value = serde_json::from_slice(&written.bytes).unwrap();
            assert_eq!(request["id"], "a\"b");
            assert_eq!(request["inputs"][0]["data"], expected);
            assert_eq!(request["inputs"][0]["shape"], json!([1, 3]));
            assert_eq!(request["outputs"][0]["name"], "mask");
        }
    }

    #[test]
    fn binary_values_stand_behind_the_header() {
        let written = write(&model(Datatype::U8), Encoding::Binary, "x", (2, 1), &[7, 8]).unwrap();
        let (header, values) = written.bytes.split_at(written.header_bytes.unwrap());
        let header: Value = serde_json::from_slice(header).unwrap();
        assert_eq!(header["inputs"][0]["parameters"]["binary_data_size"], 2);
        assert_eq!(header["outputs"][0]["parameters"]["binary_data"], true);
        assert_eq!(values, [7, 8]);
    }

    #[test]
    fn the_wanted_output_is_found_among_others() {
        let json = br#"{"outputs":[{"name":"score","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}},
            {"name":"mask","datatype":"UINT8","shape":[1,2],"parameters":{"binary_data_size":2}}]}"#;
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_LENGTH, json.len().into());
        let body = [&json[..], &[0, 0, 0, 0, 5, 6]].concat();
        let output = read(&headers, &body, &model(Datatype::U8)).unwrap();
        assert!(
            matches!(output.values, Values::Binary([5, 6])),
            "{output:?}"
        );
        let cut = &body[..body.len() - 1];
        let error = read(&headers, cut, &model(Datatype::U8)).unwrap_err();
        assert!(error.to_string().contains("ends before"), "{error}");
        headers.insert(HEADER_LENGTH, 9_999.into());
        assert!(read(&headers, &body, &model(Datatype::U8)).is_err());
    }

    #[test]
    fn what_is_compressed_is_the_same() {
        let packed = gzip(b"values").unwrap();
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&packed[..]);
        decoder.read_to_string(&mut text).unwrap();
        assert_eq!(text, "values");
    }
}
