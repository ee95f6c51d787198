//! Results as tables in CSV: one row per object, and one per image.
//!
//! An image without objects, and one that could not be read, has one row with a note and no numbers.

use std::io::Write;

use super::columns::{OF_IMAGES, OF_OBJECTS};
use super::table::{Cell, Page, Row};
use crate::segment::{SegmentError, Segmentation};

/// A table of objects that grows image by image.
pub struct MeasurementsCsv<W: Write>(Table<W>);

/// A table of images: the totals of each.
pub struct SummaryCsv<W: Write>(Table<W>);

impl<W: Write> MeasurementsCsv<W> {
    /// Begins the table with its header.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn new(writer: W) -> Result<Self, SegmentError> {
        Table::new(writer, OF_OBJECTS.iter().map(|(name, _)| *name)).map(Self)
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
        let of = Page {
            image: name,
            page,
            outcome: Ok(result),
        };
        if result.objects.is_empty() {
            return self.put(&Row { of, object: None });
        }
        for object in &result.objects {
            let object = Some(object);
            self.put(&Row { of, object })?;
        }
        Ok(())
    }

    /// Adds an image that has no result, with the reason.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn failure(&mut self, name: &str, page: u32, reason: &str) -> Result<(), SegmentError> {
        let of = Page {
            image: name,
            page,
            outcome: Err(reason),
        };
        self.put(&Row { of, object: None })
    }

    /// Writes what is still buffered and hands the writer back.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn finish(self) -> Result<W, SegmentError> {
        self.0.finish()
    }

    fn put(&mut self, row: &Row<'_>) -> Result<(), SegmentError> {
        self.0.put(OF_OBJECTS.iter().map(|(_, cell)| cell(row)))
    }
}

impl<W: Write> SummaryCsv<W> {
    /// Begins the table with its header.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn new(writer: W) -> Result<Self, SegmentError> {
        Table::new(writer, OF_IMAGES.iter().map(|(name, _)| *name)).map(Self)
    }

    /// Adds a page of an image, with its result or the reason why there is none; `page` counts from 0.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn image(
        &mut self,
        name: &str,
        page: u32,
        outcome: Result<&Segmentation, &str>,
    ) -> Result<(), SegmentError> {
        let row = Page {
            image: name,
            page,
            outcome,
        };
        self.0.put(OF_IMAGES.iter().map(|(_, cell)| cell(&row)))
    }

    /// Writes what is still buffered and hands the writer back.
    ///
    /// # Errors
    /// [`SegmentError::Io`] where writing fails.
    pub fn finish(self) -> Result<W, SegmentError> {
        self.0.finish()
    }
}

struct Table<W: Write>(csv::Writer<W>);

impl<W: Write> Table<W> {
    fn new(writer: W, names: impl Iterator<Item = &'static str>) -> Result<Self, SegmentError> {
        let mut table = csv::Writer::from_writer(writer);
        table.write_record(names).map_err(failed)?;
        Ok(Self(table))
    }

    fn put<'a>(&mut self, cells: impl Iterator<Item = Cell<'a>>) -> Result<(), SegmentError> {
        for cell in cells {
            match cell {
                Cell::Empty => self.0.write_field(""),
                Cell::Text(text) => self.0.write_field(text),
                Cell::Whole(number) => self.0.write_field(number.to_string()),
                // The shortest text that reads back as the same number.
                Cell::Real(number) => self.0.write_field(format!("{number:?}")),
                Cell::Flag(flag) => self.0.write_field(flag.to_string()),
            }
            .map_err(failed)?;
        }
        self.0.write_record(None::<&[u8]>).map_err(failed)
    }

    fn finish(self) -> Result<W, SegmentError> {
        self.0
            .into_inner()
            .map_err(|error| SegmentError::Io(error.into_error()))
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
        assert_eq!(field(&table, 1, "confidence"), "");
        assert_eq!(field(&table, 1, "feret_min_px"), "4.0");
        assert_eq!(field(&table, 1, "feret_min_um"), "2.0");
        assert_eq!(field(&table, 1, "touches_border"), "false");
    }

    #[test]
    fn columns_stay_where_they_were_and_the_note_is_last() {
        let names: Vec<&str> = OF_OBJECTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names[..4], ["image", "page", "object", "part"]);
        assert_eq!(
            names[25..29],
            [
                "pixel_size_um",
                "pixel_size_source",
                "segmenter",
                "confidence"
            ]
        );
        for names in [names, OF_IMAGES.iter().map(|(name, _)| *name).collect()] {
            assert_eq!(names.last(), Some(&"note"));
            let different: std::collections::HashSet<_> = names.iter().collect();
            assert_eq!(different.len(), names.len());
        }
    }

    #[test]
    fn an_image_has_a_row_of_totals() {
        let mut table = SummaryCsv::new(Vec::new()).unwrap();
        table.image("a.tif", 0, Ok(&two_objects())).unwrap();
        table.image("b.tif", 1, Err("damaged TIFF")).unwrap();
        let text = String::from_utf8(table.finish().unwrap()).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let at = |name: &str| rows[0].iter().position(|column| *column == name).unwrap();
        let expected = [
            ("objects", "1"),
            ("area_px", "12"),
            ("area_um2", "3.0"),
            ("core_area_px", "1"),
            ("corona_area_um2", "2.75"),
            ("note", ""),
        ];
        for (name, expected) in expected {
            assert_eq!(rows[1][at(name)], expected, "{name}");
        }
        assert_ne!(rows[1][at("disintegration_index")], "");
        assert_eq!((rows[2][0], rows[2][at("note")]), ("b.tif", "damaged TIFF"));
        assert!(rows[2][2..at("note")].iter().all(|cell| cell.is_empty()));
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
            let mut numbers = row[2..27].iter().chain(&row[28..row.len() - 1]);
            assert!(numbers.all(String::is_empty), "{row:?}");
        }
    }
}
