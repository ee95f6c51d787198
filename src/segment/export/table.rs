//! What stands in a table: cells, and the rows in which they are found. `columns` has their names and order.

use crate::segment::{
    Measurements, Micrometres, Object, Segmentation, Shape, ShapeMicrometres, Summary,
    SummaryMicrometres,
};

/// What a cell holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'a> {
    Empty,
    Text(&'a str),
    Whole(i64),
    Real(f64),
    Flag(bool),
}

/// A page of an image, with its result or the reason why there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    pub image: &'a str,
    pub page: u32,
    pub outcome: Result<&'a Segmentation, &'a str>,
}

/// A row of the table of objects; one without an object says why there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub of: Page<'a>,
    pub object: Option<&'a Object>,
}

impl<'a> Page<'a> {
    pub fn result(&self) -> Option<&'a Segmentation> {
        self.outcome.ok()
    }

    pub fn summary<T: Into<Cell<'a>>>(&self, of: fn(&'a Summary) -> T) -> Cell<'a> {
        let summary = self.result().and_then(|result| result.summary.as_ref());
        summary.map(of).into()
    }

    pub fn summary_um<T: Into<Cell<'a>>>(&self, of: fn(&'a SummaryMicrometres) -> T) -> Cell<'a> {
        let summary = self.result().and_then(|result| result.summary.as_ref());
        let um = summary.and_then(|summary| summary.micrometres.as_ref());
        um.map(of).into()
    }

    pub fn pixel_size_um(&self) -> Cell<'a> {
        let size = self.result().and_then(|result| result.pixel_size);
        size.and_then(|size| size.square_um()).into()
    }

    pub fn pixel_size_source(&self) -> Cell<'a> {
        let size = self.result().and_then(|result| result.pixel_size);
        size.map(|size| size.source.name()).into()
    }

    pub fn segmenter(&self) -> Cell<'a> {
        self.result().map(|result| &*result.segmenter).into()
    }

    pub fn note(&self) -> Cell<'a> {
        match self.outcome {
            Err(reason) => Cell::Text(reason),
            Ok(result) => match &result.note {
                Some(note) => Cell::Text(note),
                None if result.objects.is_empty() => Cell::Text("no object"),
                None => Cell::Empty,
            },
        }
    }
}

impl<'a> Row<'a> {
    pub fn object<T: Into<Cell<'a>>>(&self, of: fn(&'a Object) -> T) -> Cell<'a> {
        self.object.map(of).into()
    }

    pub fn found<T: Into<Cell<'a>>>(&self, of: fn(&'a Measurements) -> T) -> Cell<'a> {
        self.object.map(|object| of(&object.measurements)).into()
    }

    pub fn um<T: Into<Cell<'a>>>(&self, of: fn(&'a Micrometres) -> T) -> Cell<'a> {
        let um = self
            .object
            .and_then(|object| object.measurements.micrometres.as_ref());
        um.map(of).into()
    }

    pub fn shape<T: Into<Cell<'a>>>(&self, of: fn(&'a Shape) -> T) -> Cell<'a> {
        let shape = self
            .object
            .and_then(|object| object.measurements.shape.as_ref());
        shape.map(of).into()
    }

    pub fn shape_um<T: Into<Cell<'a>>>(&self, of: fn(&'a ShapeMicrometres) -> T) -> Cell<'a> {
        let um = self
            .object
            .and_then(|object| object.measurements.micrometres.as_ref());
        um.and_then(|um| um.shape.as_ref()).map(of).into()
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl From<f64> for Cell<'_> {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<u32> for Cell<'_> {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<u64> for Cell<'_> {
    fn from(value: u64) -> Self {
        // Counts of pixels are far below 2⁶³.
        Self::Whole(value as i64)
    }
}

impl From<i64> for Cell<'_> {
    fn from(value: i64) -> Self {
        Self::Whole(value)
    }
}

impl From<bool> for Cell<'_> {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}
