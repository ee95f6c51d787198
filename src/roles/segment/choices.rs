//! What the flags choose: pages, files to write, and the parameters of the segmenter.

use anyhow::anyhow;
use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::segment::Parameters;

use super::args::{SegmentArgs, SegmenterArgs};
use super::output_files::Output;
use super::pages::Pages;

/// The choices of a run.
#[derive(Debug, Clone)]
pub(super) struct Choices {
    pub(super) pages: Option<Pages>,
    pub(super) outputs: Vec<Output>,
    pub(super) parameters: Parameters,
}

impl Choices {
    /// What these arguments choose.
    ///
    /// # Errors
    /// Names the parameter that is unknown or outside its range.
    pub(super) fn of(args: &SegmentArgs) -> anyhow::Result<Self> {
        let wanted = match &args.outputs[..] {
            _ if args.table_only => &[],
            [] => Output::USUAL,
            some => some,
        };
        let outputs = Output::value_variants().iter().copied();
        Ok(Self {
            pages: args.pages.clone(),
            outputs: outputs.filter(|output| wanted.contains(output)).collect(),
            parameters: parameters(&args.segmenter)?,
        })
    }
}

/// Goes through the JSON form, as a job's parameters do: every field can be given, and the same words refuse it.
fn parameters(args: &SegmenterArgs) -> anyhow::Result<Parameters> {
    let mut given = Map::new();
    for (name, value) in &args.parameter {
        given.insert(name.clone(), value.clone());
    }
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            given.insert(name.to_owned(), value);
        }
    };
    put(
        "polarity",
        args.polarity.map(|polarity| polarity.name().into()),
    );
    put("min_area_px", args.min_area.map(Value::from));
    put("min_contrast", args.min_contrast.map(Value::from));
    put("pixel_size_um", args.pixel_um.map(Value::from));
    put("split_touching", args.no_split.then_some(false.into()));
    put("exclude_border", args.exclude_border.then_some(true.into()));
    // Names the parameter, where serde alone would only say what is wrong with a value.
    let parameters: Parameters = serde_path_to_error::deserialize(Value::Object(given))
        .map_err(|error| anyhow!("parameters of the segmenter: {error}"))?;
    parameters.validate()?;
    Ok(parameters)
}

/// `NAME=VALUE`; a value that is no JSON is a text.
///
/// # Errors
/// When there is no `=`.
pub fn name_and_value(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.trim().to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::segment::Polarity;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SegmentArgs,
    }

    fn choices(flags: &str) -> anyhow::Result<Choices> {
        let line = format!("segment a.tif --out o {flags}");
        Choices::of(&Line::try_parse_from(line.split_whitespace())?.args)
    }

    #[test]
    fn flags_and_parameters_by_name_are_put_together() {
        let chosen = choices(
            "--polarity dark --no-split --min-area 90 --pixel-um 0.65 -p smoothing_px=3 -p polarity=bright",
        );
        let expected = Parameters {
            polarity: Polarity::Dark,
            split_touching: false,
            min_area_px: Some(90),
            pixel_size_um: Some(0.65),
            smoothing_px: 3.0,
            ..Parameters::default()
        };
        assert_eq!(chosen.unwrap().parameters, expected);
    }

    #[test]
    fn every_parameter_can_be_given_by_name() {
        let Value::Object(fields) = serde_json::to_value(Parameters::default()).unwrap() else {
            panic!("parameters are no object")
        };
        for (name, value) in fields {
            let value = value.to_string();
            choices(&format!("-p {name}={}", value.trim_matches('"'))).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (flags, name) in [
            ("-p smoothing=3", "smoothing"),
            ("-p min_contrast=lots", "min_contrast"),
            ("--min-contrast 500", "min_contrast"),
            ("--pixel-um 0", "pixel_size_um"),
        ] {
            let error = format!("{:#}", choices(flags).unwrap_err());
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn the_usual_files_are_written_unless_others_are_chosen() {
        assert_eq!(choices("").unwrap().outputs, Output::USUAL);
        let some = choices("--outputs labels,geojson").unwrap().outputs;
        assert_eq!(some, [Output::Geojson, Output::Labels]);
        assert!(choices("--table-only").unwrap().outputs.is_empty());
    }
}
