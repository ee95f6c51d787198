//! Reads an answer under its limits: lists are counted while they are read, so that a small text cannot become a large
//! structure.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::super::Ring;
use super::super::transport::said;
use super::super::{Limits, RemoteError};

/// What the service found in one image.
#[derive(Debug)]
pub(super) struct Answer {
    pub polygons: Vec<Outline>,
    pub size: Option<Size>,
    pub model: Option<String>,
    pub warning: Option<String>,
}

/// One ring, with its points on pixel centres.
#[derive(Debug)]
pub(super) struct Outline {
    pub id: Option<String>,
    pub points: Ring,
    pub hole: bool,
    pub core: bool,
    pub parent: Option<String>,
    pub confidence: Option<f64>,
}

/// The size that the service says the image has, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Size {
    pub width: u32,
    pub height: u32,
}

#[derive(Deserialize)]
struct RawAnswer<'a> {
    #[serde(borrow)]
    polygons: &'a RawValue,
    image_size: Option<Size>,
    model_used: Option<String>,
    warning: Option<String>,
}

#[derive(Deserialize)]
struct RawOutline<'a> {
    #[serde(borrow)]
    points: &'a RawValue,
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "partClass")]
    part_class: Option<String>,
    // The older service writes it in another case.
    #[serde(alias = "parentId")]
    parent_id: Option<String>,
    confidence: Option<f64>,
}

#[derive(Deserialize)]
struct RawPoint {
    x: f64,
    y: f64,
}

#[derive(Deserialize)]
struct RawBatch<'a> {
    #[serde(borrow)]
    results: &'a RawValue,
}

#[derive(Deserialize)]
struct RawResult {
    success: bool,
    batch_index: Option<usize>,
    error: Option<String>,
}

/// The answer about one image.
pub(super) fn read(body: &[u8], limits: &Limits) -> Result<Answer, RemoteError> {
    let raw: RawAnswer<'_> = serde_json::from_slice(body).map_err(|error| broken(&error, body))?;
    let outlines: Vec<RawOutline<'_>> = list(raw.polygons, "polygons", limits.polygons_max)?;
    let mut points_left = limits.points_max;
    let mut polygons = Vec::with_capacity(outlines.len());
    for outline in outlines {
        let points: Vec<RawPoint> = list(outline.points, "points", points_left)?;
        points_left -= points.len();
        polygons.push(Outline {
            points: Ring(points.iter().map(|point| [point.x, point.y]).collect()),
            id: outline.id,
            hole: outline.kind.as_deref() == Some("internal"),
            core: outline.part_class.as_deref() == Some("core"),
            parent: outline.parent_id,
            confidence: outline.confidence.filter(|of| (0.0..=1.0).contains(of)),
        });
    }
    Ok(Answer {
        polygons,
        size: raw.image_size,
        model: raw.model_used.filter(|model| is_name(model)),
        warning: raw.warning.map(|text| said(text.as_bytes())),
    })
}

/// The answers about the images of a batch, in their order; none about those that are to be sent alone, because the
/// service gave no reason from which the image's fault could be told from its own.
pub(super) fn split_batch(body: &Bytes, images: usize) -> Result<Vec<Option<Bytes>>, RemoteError> {
    let raw: RawBatch<'_> = serde_json::from_slice(body).map_err(|error| broken(&error, body))?;
    let results: Vec<&RawValue> = list(raw.results, "results", images)?;
    let mut answers = vec![None; images];
    let mut failed = None;
    for (place, result) in results.into_iter().enumerate() {
        let text = result.get();
        let head: RawResult =
            serde_json::from_str(text).map_err(|error| broken(&error, text.as_bytes()))?;
        let index = head.batch_index.unwrap_or(place);
        let answer = answers.get_mut(index).ok_or_else(|| {
            RemoteError::Untrue(format!("result {index} of a batch of {images} images"))
        })?;
        if head.success {
            *answer = Some(body.slice_ref(text.as_bytes()));
        } else {
            failed = head.error.or(failed);
        }
    }
    if answers.iter().all(Option::is_none) {
        let why = failed.map_or_else(|| "without a reason".to_owned(), |why| said(why.as_bytes()));
        return Err(RemoteError::Broken(format!(
            "no image of the batch was done: {why}"
        )));
    }
    Ok(answers)
}

/// A list of at most `most` things.
fn list<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    what: &'static str,
    most: usize,
) -> Result<Vec<T>, RemoteError> {
    let text = raw.get();
    let counted = Counted {
        what,
        most,
        kind: PhantomData,
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    counted
        .deserialize(&mut reader)
        .map_err(|error| broken(&error, text.as_bytes()))
}

struct Counted<T> {
    what: &'static str,
    most: usize,
    kind: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Counted<T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Counted<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} {}", self.most, self.what)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut things: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(thing) = things.next_element()? {
            if list.len() == self.most {
                let text = format!("more than {} {}", self.most, self.what);
                return Err(serde::de::Error::custom(text));
            }
            list.push(thing);
        }
        Ok(list)
    }
}

/// The reason, and how the text begins: a page of HTML is known by that.
fn broken(error: &serde_json::Error, body: &[u8]) -> RemoteError {
    let beginning: String = said(body).chars().take(40).collect();
    RemoteError::Broken(format!("{error} (it begins with {beginning:?})"))
}

/// A name that can stand in a result's `segmenter`.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        response_bytes_max: 1 << 20,
        polygons_max: 3,
        points_max: 8,
    };

    fn refusal(body: &str) -> String {
        read(body.as_bytes(), &LIMITS).unwrap_err().to_string()
    }

    #[test]
    fn an_answer_is_read_with_what_it_leaves_out() {
        let body = r#"{"polygons":[{"id":"polygon_1","points":[{"x":1,"y":2.5}],"type":"internal","parent_id":"p",
            "confidence":7,"class":"spheroid","vertices_count":1}],"model_used":"a b","success":true}"#;
        let answer = read(body.as_bytes(), &LIMITS).unwrap();
        let outline = &answer.polygons[0];
        assert_eq!((outline.points.0[0], outline.hole), ([1.0, 2.5], true));
        assert_eq!(
            (outline.parent.as_deref(), outline.confidence),
            (Some("p"), None)
        );
        assert_eq!((answer.size, answer.model), (None, None));
    }

    #[test]
    fn lists_are_counted_while_they_are_read() {
        let many = |one: &str, count| format!("[{}]", vec![one; count].join(","));
        let polygons = many(r#"{"points":[]}"#, 4);
        let text = refusal(&format!(r#"{{"polygons":{polygons}}}"#));
        assert!(text.contains("more than 3 polygons"), "{text}");
        let points = many(r#"{"x":0,"y":0}"#, 5);
        let one = format!(r#"{{"points":{points}}}"#);
        let text = refusal(&format!(r#"{{"polygons":[{one},{one}]}}"#));
        assert!(
            text.contains("more than 3 points"),
            "what is left of 8: {text}"
        );
    }

    #[test]
    fn what_is_no_answer_is_told_with_its_beginning() {
        let text = refusal("<html><body>Bad gateway</body></html>");
        assert!(text.contains("<html><body>Bad gateway"), "{text}");
        for broken in ["", "{}", r#"{"polygons":[{"points":[{"x":NaN,"y":1}]}]}"#] {
            assert!(refusal(broken).contains("cannot be read"), "{broken}");
        }
    }

    #[test]
    fn a_batch_is_split_and_failed_images_are_left_to_be_sent_alone() {
        let body = r#"{"results":[{"batch_index":1,"success":true,"polygons":[]},
            {"batch_index":0,"success":false,"error":"Failed to load image"}]}"#;
        let answers = split_batch(&Bytes::from(body), 3).unwrap();
        assert!(answers[0].is_none() && answers[1].is_some() && answers[2].is_none());
        let none = r#"{"results":[{"success":false,"error":"Batch timeout after 60s"}]}"#;
        let error = split_batch(&Bytes::from(none), 1).unwrap_err();
        assert!(error.to_string().contains("Batch timeout"), "{error}");
        let beyond = r#"{"results":[{"batch_index":7,"success":true}]}"#;
        assert!(matches!(
            split_batch(&Bytes::from(beyond), 2),
            Err(RemoteError::Untrue(_))
        ));
    }
}
