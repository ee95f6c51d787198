//! The measurements as a table: one row per object, units in the column names.
//!
//! The columns are stable: new ones are only added before `note`. An image without objects, and one that could not be
//! read, has one row with a note and no numbers.

use std::io::Write;

use serde::Serialize;

use crate::segment::{Micrometres, Object, PixelSizeSource, SegmentError, Segmentation};

/// A table that grows image by image.
pub struct MeasurementsCsv<W: Write> {
    table: csv::Writer<W>,
}

impl<W: Write> MeasurementsCsv<W> {
    /// Begins the table with its header.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn new(writer: W) -> Result<Self, SegmentError> {
        let mut table = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(writer);
        table.write_record(COLUMNS).map_err(failed)?;
        Ok(Self { table })
    }

    /// Adds an image's objects; `page` counts from 0.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn image(
        &mut self,
        name: &str,
        page: u32,
        result: &Segmentation,
    ) -> Result<(), SegmentError> {
        if result.objects.is_empty() {
            let note = result.note.as_deref().unwrap_or("no object");
            return self.put(&Row {
                segmenter: &result.segmenter,
                ..Row::empty(name, page, note)
            });
        }
        for object in &result.objects {
            self.put(&Row::of(name, page, result, object))?;
        }
        Ok(())
    }

    /// Adds an image that has no result, with the reason.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn failure(&mut self, name: &str, page: u32, reason: &str) -> Result<(), SegmentError> {
        self.put(&Row::empty(name, page, reason))
    }

    /// Writes what is still buffered and hands the writer back.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn finish(self) -> Result<W, SegmentError> {
        self.table
            .into_inner()
            .map_err(|error| SegmentError::Io(error.into_error()))
    }

    fn put(&mut self, row: &Row<'_>) -> Result<(), SegmentError> {
        self.table.serialize(row).map_err(failed)
    }
}

const COLUMNS: [&str; 29] = [
    "image",
    "page",
    "object",
    "part",
    "core_of",
    "area_px",
    "area_um2",
    "perimeter_px",
    "perimeter_um",
    "equivalent_diameter_px",
    "equivalent_diameter_um",
    "circularity",
    "centroid_x_px",
    "centroid_y_px",
    "centroid_x_um",
    "centroid_y_um",
    "bbox_x_px",
    "bbox_y_px",
    "bbox_width_px",
    "bbox_height_px",
    "intensity_mean",
    "intensity_min",
    "intensity_max",
    "touches_border",
    "holes",
    "pixel_size_um",
    "pixel_size_source",
    "segmenter",
    "note",
];

/// The fields in the order of the columns.
#[derive(Debug, Default, Serialize)]
struct Row<'a> {
    image: &'a str,
    page: u32,
    object: Option<u32>,
    part: Option<&'static str>,
    core_of: Option<u32>,
    area_px: Option<u64>,
    area_um2: Option<f64>,
    perimeter_px: Option<f64>,
    perimeter_um: Option<f64>,
    equivalent_diameter_px: Option<f64>,
    equivalent_diameter_um: Option<f64>,
    circularity: Option<f64>,
    centroid_x_px: Option<f64>,
    centroid_y_px: Option<f64>,
    centroid_x_um: Option<f64>,
    centroid_y_um: Option<f64>,
    bbox_x_px: Option<u32>,
    bbox_y_px: Option<u32>,
    bbox_width_px: Option<u32>,
    bbox_height_px: Option<u32>,
    intensity_mean: Option<f64>,
    intensity_min: Option<f64>,
    intensity_max: Option<f64>,
    touches_border: Option<bool>,
    holes: Option<u32>,
    pixel_size_um: Option<f64>,
    pixel_size_source: Option<PixelSizeSource>,
    segmenter: &'a str,
    note: &'a str,
}

impl<'a> Row<'a> {
    fn empty(image: &'a str, page: u32, note: &'a str) -> Self {
        Self {
            image,
            page,
            note,
            ..Self::default()
        }
    }

    fn of(image: &'a str, page: u32, result: &'a Segmentation, object: &Object) -> Self {
        let found = &object.measurements;
        let um = |field: fn(&Micrometres) -> f64| found.micrometres.as_ref().map(field);
        Self {
            image,
            page,
            object: Some(object.number),
            part: Some(object.part.name()),
            core_of: object.core_of,
            area_px: Some(found.area_px),
            area_um2: um(|um| um.area_um2),
            perimeter_px: Some(found.perimeter_px),
            perimeter_um: found.micrometres.and_then(|um| um.perimeter_um),
            equivalent_diameter_px: Some(found.equivalent_diameter_px),
            equivalent_diameter_um: um(|um| um.equivalent_diameter_um),
            circularity: Some(found.circularity),
            centroid_x_px: Some(found.centroid_x_px),
            centroid_y_px: Some(found.centroid_y_px),
            centroid_x_um: um(|um| um.centroid_x_um),
            centroid_y_um: um(|um| um.centroid_y_um),
            bbox_x_px: Some(found.bbox_px.x),
            bbox_y_px: Some(found.bbox_px.y),
            bbox_width_px: Some(found.bbox_px.width),
            bbox_height_px: Some(found.bbox_px.height),
            intensity_mean: Some(found.intensity_mean),
            intensity_min: Some(found.intensity_min),
            intensity_max: Some(found.intensity_max),
            touches_border: Some(found.touches_border),
            holes: Some(found.holes),
            pixel_size_um: result.pixel_size.and_then(|size| size.square_um()),
            pixel_size_source: result.pixel_size.map(|size| size.source),
            segmenter: &result.segmenter,
            note: result.note.as_deref().unwrap_or_default(),
        }
    }
}

fn failed(error: csv::Error) -> SegmentError {
    SegmentError::Io(std::io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::export::geojson::tests::two_objects;

    fn table(fill: impl FnOnce(&mut MeasurementsCsv<Vec<u8>>)) -> Vec<Vec<String>> {
        let mut table = MeasurementsCsv::new(Vec::new()).unwrap();
        fill(&mut table);
        let bytes = table.finish().unwrap();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(bytes.as_slice());
        reader
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect()
    }

    fn field<'a>(table: &'a [Vec<String>], row: usize, column: &str) -> &'a str {
        let at = table[0].iter().position(|name| name == column).unwrap();
        &table[row][at]
    }

    #[test]
    fn an_object_has_a_row_under_the_right_names() {
        let table = table(|table| table.image("a, b.tif", 2, &two_objects()).unwrap());
        assert_eq!(table.len(), 3);
        assert_eq!(table[0][0], "image");
        assert_eq!(field(&table, 1, "image"), "a, b.tif");
        assert_eq!(field(&table, 1, "page"), "2");
        assert_eq!(field(&table, 1, "object"), "1");
        assert_eq!(field(&table, 2, "part"), "core");
        assert_eq!(field(&table, 2, "core_of"), "1");
        assert_eq!(field(&table, 1, "area_px"), "12");
        assert_eq!(field(&table, 1, "area_um2"), "3.0");
        assert_eq!(field(&table, 1, "holes"), "1");
        assert_eq!(field(&table, 1, "pixel_size_source"), "imagej");
        assert_eq!(field(&table, 1, "segmenter"), "builtin");
    }

    #[test]
    fn the_header_names_the_fields_in_their_order() {
        let json = serde_json::to_string(&Row::default()).unwrap();
        let mut from = 0;
        for name in COLUMNS {
            let at = json[from..]
                .find(&format!("\"{name}\""))
                .unwrap_or_else(|| panic!("{name}"));
            from += at;
        }
    }

    #[test]
    fn nothing_found_is_a_row_with_a_reason_and_no_number() {
        let mut nothing = two_objects();
        nothing.objects.clear();
        nothing.note = Some("empty well".to_owned());
        let table = table(|table| {
            table.image("a.png", 0, &nothing).unwrap();
            table.failure("b.png", 0, "damaged PNG").unwrap();
        });
        assert_eq!(field(&table, 1, "note"), "empty well");
        assert_eq!(field(&table, 2, "note"), "damaged PNG");
        for row in &table[1..] {
            assert!(row[2..27].iter().all(String::is_empty), "{:?}", row);
        }
    }
}
