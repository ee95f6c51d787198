//! Outlines as COCO JSON, to train and compare with: one image, an annotation per object.
//!
//! Categories are 1 `whole` and 2 `core`; an annotation's id is its object's number. An object without holes is a polygon
//! on pixel corners. COCO's polygons have no holes, so that one with holes is a mask in run lengths, and COCO demands
//! that `iscrowd` is 1 exactly where a mask stands. `score` is there where the segmenter says how sure it is.
//!
//! Source: <https://cocodataset.org/#format-data>, "Object Detection".

use std::io::Write;

use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use crate::segment::{BoundingBox, Object, Part, Polygon, Ring, SegmentError, Segmentation};

const IMAGE_ID: u32 = 1;

/// Writes all objects of the image with this file name.
///
/// # Errors
/// [`SegmentError::Io`] where writing fails.
pub fn write(
    image: &str,
    result: &Segmentation,
    mut writer: impl Write,
) -> Result<(), SegmentError> {
    let dataset = Dataset { image, result };
    serde_json::to_writer(&mut writer, &dataset).map_err(std::io::Error::from)?;
    writer.flush()?;
    Ok(())
}

/// Annotations are made one by one while they are written.
struct Dataset<'a> {
    image: &'a str,
    result: &'a Segmentation,
}

impl Serialize for Dataset<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Segmentation { width, height, .. } = *self.result;
        let image = Image {
            id: IMAGE_ID,
            file_name: self.image,
            width,
            height,
        };
        let mut dataset = serializer.serialize_struct("Dataset", 4)?;
        dataset.serialize_field("info", &Info::of(self.result))?;
        dataset.serialize_field("images", &[image])?;
        dataset.serialize_field("annotations", &Annotations(self.result))?;
        dataset.serialize_field("categories", &[Part::Whole, Part::Core].map(Category::of))?;
        dataset.end()
    }
}

#[derive(Serialize)]
struct Info<'a> {
    description: String,
    segmenter: &'a str,
}

impl<'a> Info<'a> {
    fn of(result: &'a Segmentation) -> Self {
        Self {
            description: format!("outlines by the segmenter {}", result.segmenter),
            segmenter: &result.segmenter,
        }
    }
}

#[derive(Serialize)]
struct Image<'a> {
    id: u32,
    file_name: &'a str,
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct Category {
    id: u32,
    name: &'static str,
    supercategory: &'static str,
}

impl Category {
    fn of(part: Part) -> Self {
        Self {
            id: category_id(part),
            name: part.name(),
            supercategory: "spheroid",
        }
    }
}

fn category_id(part: Part) -> u32 {
    match part {
        Part::Whole => 1,
        Part::Core => 2,
    }
}

struct Annotations<'a>(&'a Segmentation);

impl Serialize for Annotations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut annotations = serializer.serialize_seq(Some(self.0.objects.len()))?;
        for object in &self.0.objects {
            annotations.serialize_element(&Annotation::of(object, self.0))?;
        }
        annotations.end()
    }
}

#[derive(Serialize)]
struct Annotation {
    id: u32,
    image_id: u32,
    category_id: u32,
    segmentation: Shape,
    area: u64,
    bbox: [u32; 4],
    iscrowd: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

impl Annotation {
    fn of(object: &Object, result: &Segmentation) -> Self {
        let has_holes = !object.polygon.holes.is_empty();
        let BoundingBox {
            x,
            y,
            width,
            height,
        } = object.measurements.bbox_px;
        Self {
            id: object.number,
            image_id: IMAGE_ID,
            category_id: category_id(object.part),
            segmentation: if has_holes {
                Shape::Mask(RunLengths::of(&object.polygon, result))
            } else {
                Shape::Polygons([flat(&object.polygon.outer)])
            },
            area: object.measurements.area_px,
            bbox: [x, y, width, height],
            iscrowd: has_holes.into(),
            score: object.confidence,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shape {
    /// x and y in turn.
    Polygons([Vec<f64>; 1]),
    Mask(RunLengths),
}

fn flat(ring: &Ring) -> Vec<f64> {
    ring.0.iter().flatten().copied().collect()
}

/// Lengths of alternating runs, empty pixels first, column by column over the whole image.
#[derive(Serialize)]
struct RunLengths {
    /// Height, then width.
    size: [u32; 2],
    counts: Vec<u64>,
}

impl RunLengths {
    fn of(polygon: &Polygon, result: &Segmentation) -> Self {
        let mirrored = |ring: &Ring| Ring(ring.0.iter().map(|[x, y]| [*y, *x]).collect());
        let columns = Polygon {
            outer: mirrored(&polygon.outer),
            holes: polygon.holes.iter().map(mirrored).collect(),
        };
        let (width, height) = (result.width, result.height);
        let (mut counts, mut end) = (Vec::new(), 0);
        columns.spans(height, width, |x, from, to| {
            let column = u64::from(x) * u64::from(height);
            let (from, to) = (column + u64::from(from), column + u64::from(to));
            match counts.last_mut() {
                // Goes on at the top of the next column.
                Some(last) if from == end => *last += to - from,
                _ => counts.extend([from - end, to - from]),
            }
            end = to;
        });
        counts.push(u64::from(width) * u64::from(height) - end);
        Self {
            size: [height, width],
            counts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::export::geojson::tests::two_objects;

    fn json(result: &Segmentation) -> serde_json::Value {
        let mut bytes = Vec::new();
        write("a \"b\".tif", result, &mut bytes).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn objects_are_annotations_of_the_image() {
        let mut result = two_objects();
        result.objects[1].confidence = Some(0.5);
        let json = json(&result);
        assert_eq!(json["images"][0]["file_name"], "a \"b\".tif");
        assert_eq!(json["categories"][1]["name"], "core");
        let core = &json["annotations"][1];
        assert_eq!((&core["id"], &core["category_id"]), (&2.into(), &2.into()));
        assert_eq!(core["score"], 0.5);
        assert_eq!(core["bbox"], serde_json::json!([1, 1, 1, 1]));
        let square = serde_json::json!([[1.0, 1.0, 2.0, 1.0, 2.0, 2.0, 1.0, 2.0]]);
        assert_eq!(
            (&core["segmentation"], &core["iscrowd"]),
            (&square, &0.into())
        );
        assert!(json["annotations"][0].get("score").is_none());
    }

    #[test]
    fn an_object_with_a_hole_is_a_mask_column_by_column() {
        let whole = &json(&two_objects())["annotations"][0];
        assert_eq!(whole["iscrowd"], 1);
        assert_eq!(whole["segmentation"]["size"], serde_json::json!([6, 8]));
        // Columns of 6: one empty one, four of the frame, three empty ones.
        let expected = serde_json::json!([7, 4, 2, 1, 2, 1, 2, 1, 2, 1, 2, 4, 19]);
        assert_eq!(whole["segmentation"]["counts"], expected);
    }

    #[test]
    fn runs_that_reach_the_frame_go_on_in_the_next_column() {
        let mut result = two_objects();
        let outer = &mut result.objects[0].polygon.outer;
        *outer = Ring(vec![[0.0, 0.0], [8.0, 0.0], [8.0, 6.0], [0.0, 6.0]]);
        let counts = &json(&result)["annotations"][0]["segmentation"]["counts"];
        assert_eq!(*counts, serde_json::json!([0, 14, 2, 4, 2, 26, 0]));
    }
}
