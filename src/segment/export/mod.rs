//! Results as files of other programs: one file per format, each a pure function from results to a writer.

mod canvas;
pub mod coco;
mod columns;
pub mod csv;
pub mod geojson;
pub mod labels;
mod lettering;
pub mod overlay;
mod placing;
pub mod preview;
pub mod rois;
mod table;
mod zip;
