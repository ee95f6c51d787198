//! Results as files of other programs: one file per format, each a pure function from results to a writer.

pub mod coco;
mod columns;
pub mod csv;
mod digits;
pub mod geojson;
pub mod labels;
pub mod overlay;
pub mod preview;
pub mod rois;
mod table;
mod zip;
