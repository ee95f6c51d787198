//! Outlines as a GeoJSON FeatureCollection that QuPath takes by drag and drop.
//!
//! Coordinates are pixels, on pixel corners, as QuPath's own. Outer rings run counterclockwise in the mathematical
//! sense and inner ones clockwise, as RFC 7946 wants it.

use std::io::Write;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use uuid::{Builder, Uuid};
use xxhash_rust::xxh3::Xxh3;

use crate::segment::{
    Object, Part, Polygon, Ring, SegmentError, Segmentation, Shape, ShapeMicrometres,
};

/// Colours of the classes in QuPath: red, green, blue.
const WHOLE_COLOR: [u8; 3] = [255, 200, 0];
const CORE_COLOR: [u8; 3] = [0, 200, 255];

/// Writes all objects.
///
/// # Errors
/// [`SegmentError::Io`] where writing fails.
pub fn write(result: &Segmentation, mut writer: impl Write) -> Result<(), SegmentError> {
    let collection = Collection {
        kind: "FeatureCollection",
        features: Features(result),
    };
    serde_json::to_writer(&mut writer, &collection).map_err(std::io::Error::from)?;
    writer.flush()?;
    Ok(())
}

#[derive(Serialize)]
struct Collection<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    features: Features<'a>,
}

/// Made one by one while they are written.
struct Features<'a>(&'a Segmentation);

impl Serialize for Features<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut features = serializer.serialize_seq(Some(self.0.objects.len()))?;
        for object in &self.0.objects {
            features.serialize_element(&Feature::of(object, self.0.simplified_px))?;
        }
        features.end()
    }
}

#[derive(Serialize)]
struct Feature {
    #[serde(rename = "type")]
    kind: &'static str,
    id: Uuid,
    geometry: Geometry,
    properties: Properties,
}

#[derive(Serialize)]
struct Geometry {
    #[serde(rename = "type")]
    kind: &'static str,
    coordinates: Vec<Ring>,
}

#[derive(Serialize)]
struct Properties {
    #[serde(rename = "objectType")]
    object_type: &'static str,
    name: String,
    part: Part,
    #[serde(rename = "coreOf", skip_serializing_if = "Option::is_none")]
    core_of: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    /// The outline is a simplified one, for display; the measurements are the exact one's.
    #[serde(rename = "simplifiedPx", skip_serializing_if = "Option::is_none")]
    simplified_px: Option<f64>,
    classification: Classification,
    measurements: Named,
}

#[derive(Serialize)]
struct Classification {
    name: &'static str,
    color: [u8; 3],
}

impl Feature {
    fn of(object: &Object, simplified_px: Option<f64>) -> Self {
        let (name, color) = match object.part {
            Part::Whole => ("Spheroid", WHOLE_COLOR),
            Part::Core => ("Core", CORE_COLOR),
        };
        Self {
            kind: "Feature",
            id: id(object),
            geometry: Geometry {
                kind: "Polygon",
                coordinates: closed(&object.polygon),
            },
            properties: Properties {
                object_type: "annotation",
                name: object.number.to_string(),
                part: object.part,
                core_of: object.core_of,
                confidence: object.confidence,
                simplified_px,
                classification: Classification { name, color },
                measurements: Named(measurements(object)),
            },
        }
    }
}

/// QuPath knows objects by UUID. It is made of the number and the outline (RFC 9562, version 8), so that the same result
/// has the same ids whenever it is asked for.
fn id(object: &Object) -> Uuid {
    let mut hash = Xxh3::new();
    hash.update(&object.number.to_le_bytes());
    for ring in object.polygon.rings() {
        hash.update(&(ring.0.len() as u64).to_le_bytes());
        for coordinate in ring.0.iter().flatten() {
            hash.update(&coordinate.to_le_bytes());
        }
    }
    Builder::from_custom_bytes(hash.digest128().to_be_bytes()).into_uuid()
}

/// The rings with their first point repeated at the end.
fn closed(polygon: &Polygon) -> Vec<Ring> {
    let close = |ring: &Ring| Ring(ring.0.iter().chain(ring.0.first()).copied().collect());
    polygon.rings().map(close).collect()
}

/// Names with their numbers, in the order in which QuPath then shows them.
struct Named(Vec<(&'static str, f64)>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

fn measurements(object: &Object) -> Vec<(&'static str, f64)> {
    let found = &object.measurements;
    let mut named = vec![
        ("Area px^2", found.area_px as f64),
        ("Perimeter px", found.perimeter_px),
        ("Equivalent diameter px", found.equivalent_diameter_px),
        ("Circularity", found.circularity),
        ("Centroid X px", found.centroid_x_px),
        ("Centroid Y px", found.centroid_y_px),
        ("Intensity mean", found.intensity_mean),
        ("Intensity min", found.intensity_min),
        ("Intensity max", found.intensity_max),
        ("Holes", f64::from(found.holes)),
        ("Touches border", f64::from(u8::from(found.touches_border))),
    ];
    named.extend(object.confidence.map(|score| ("Confidence", score)));
    named.extend(found.intensity_sd.map(|sd| ("Intensity std dev", sd)));
    named.extend(found.shape.iter().flat_map(of_shape));
    if let Some(um) = &found.micrometres {
        named.push(("Area µm^2", um.area_um2));
        named.push(("Equivalent diameter µm", um.equivalent_diameter_um));
        named.extend(um.perimeter_um.map(|perimeter| ("Perimeter µm", perimeter)));
        named.extend(um.shape.iter().flat_map(of_shape_um));
    }
    named
}

fn of_shape(shape: &Shape) -> impl Iterator<Item = (&'static str, f64)> + use<> {
    let orientation = shape
        .orientation_deg
        .map(|degrees| ("Orientation °", degrees));
    [
        ("Perimeter (scikit-image) px", shape.perimeter_skimage_px),
        ("Perimeter (ImageJ) px", shape.perimeter_imagej_px),
        ("Circularity (ImageJ)", shape.circularity_imagej),
        ("Feret max px", shape.feret_max_px),
        ("Feret min px", shape.feret_min_px),
        ("Major axis px", shape.major_axis_px),
        ("Minor axis px", shape.minor_axis_px),
        ("Eccentricity", shape.eccentricity),
        ("Solidity", shape.solidity),
        ("Extent", shape.extent),
        ("Sphericity", shape.sphericity),
        ("Volume (sphere) px^3", shape.volume_sphere_px3),
        ("Volume (prolate) px^3", shape.volume_prolate_px3),
    ]
    .into_iter()
    .chain(orientation)
}

fn of_shape_um(shape: &ShapeMicrometres) -> [(&'static str, f64); 6] {
    [
        ("Feret max µm", shape.feret_max_um),
        ("Feret min µm", shape.feret_min_um),
        ("Major axis µm", shape.major_axis_um),
        ("Minor axis µm", shape.minor_axis_um),
        ("Volume (sphere) µm^3", shape.volume_sphere_um3),
        ("Volume (prolate) µm^3", shape.volume_prolate_um3),
    ]
}

#[cfg(test)]
pub(in crate::segment) mod tests {
    use super::*;
    use crate::segment::mask::Mask;
    use crate::segment::{
        PixelSize, PixelSizeSource, Raster, SEGMENTER, Samples, Summary, contour, measure,
    };

    /// A frame of 4 × 4 pixels with a hole of 2 × 2, and inside the hole's place a "core" of one pixel of the frame.
    pub(in crate::segment) fn two_objects() -> Segmentation {
        let mut image = Raster::new(8, 6, Samples::U8((0..48).collect())).unwrap();
        image.pixel_size = Some(PixelSize {
            x_um: 0.5,
            y_um: 0.5,
            source: PixelSizeSource::Imagej,
        });
        let mut frame = Mask::new(1, 1, 4, 4);
        (0..4).for_each(|y| frame.row_mut(y).fill(true));
        (1..3).for_each(|y| frame.row_mut(y)[1..3].fill(false));
        let mut pixel = Mask::new(1, 1, 1, 1);
        pixel.set(0, 0, true);
        let object = |mask: &Mask, number, part, core_of| {
            let polygon = contour::outline(mask).unwrap();
            let measurements = measure::measure(mask, &polygon, &image);
            Object {
                number,
                part,
                core_of,
                confidence: None,
                polygon,
                measurements,
            }
        };
        let objects = vec![
            object(&frame, 1, Part::Whole, None),
            object(&pixel, 2, Part::Core, Some(1)),
        ];
        Segmentation {
            width: 8,
            height: 6,
            pixel_size: image.pixel_size,
            segmenter: SEGMENTER.to_owned(),
            summary: Summary::of(&objects, image.pixel_size),
            objects,
            note: None,
            simplified_px: None,
        }
    }

    #[test]
    fn what_is_written_is_what_qupath_reads() {
        let mut bytes = Vec::new();
        write(&two_objects(), &mut bytes).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["type"], "FeatureCollection");
        let feature = &json["features"][0];
        assert_eq!(feature["geometry"]["type"], "Polygon");
        let rings = feature["geometry"]["coordinates"].as_array().unwrap();
        assert_eq!(rings.len(), 2, "outer ring and hole");
        assert_eq!(rings[0][0], rings[0][4], "closed");
        assert_eq!(rings[0][0], serde_json::json!([1, 1]));
        let properties = &feature["properties"];
        assert_eq!(properties["objectType"], "annotation");
        assert_eq!(properties["name"], "1");
        assert_eq!(properties["part"], "whole");
        assert_eq!(properties["measurements"]["Area px^2"], 12.0);
        assert_eq!(json["features"][1]["properties"]["coreOf"], 1);
    }

    #[test]
    fn ids_are_uuids_that_stay_and_differ() {
        let result = two_objects();
        let [one, two] = [0, 1].map(|index| id(&result.objects[index]));
        assert_eq!(id(&result.objects[0]), one);
        assert_ne!(one, two);
        assert_eq!(one.get_version_num(), 8);
        let mut bytes = Vec::new();
        write(&result, &mut bytes).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["features"][0]["id"], one.to_string());
    }

    #[test]
    fn a_simplified_outline_says_so_and_keeps_its_measurements() {
        let mut bytes = Vec::new();
        write(&two_objects().simplified(1.5), &mut bytes).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let properties = &json["features"][0]["properties"];
        assert_eq!(properties["simplifiedPx"], 1.5);
        assert_eq!(properties["measurements"]["Area px^2"], 12.0);
        assert_eq!(properties["measurements"]["Feret min µm"], 2.0);
    }

    #[test]
    fn rings_turn_the_way_rfc_7946_says() {
        let turn =
            |ring: &Ring| -> f64 { ring.edges().map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum() };
        let rings = closed(&two_objects().objects[0].polygon);
        assert!(turn(&rings[0]) > 0.0);
        assert!(turn(&rings[1]) < 0.0);
    }
}
