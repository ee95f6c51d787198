//! The columns of the tables, units in their names.
//!
//! They are stable: none changes its place, name, unit or meaning; new ones are only added before `note`.

use super::table::{Cell, Page, Row};

/// A column's name, and its cell in a row.
pub(super) type Column<F> = (&'static str, F);

/// Of the table of objects.
type OfObject = for<'a> fn(&'a Row<'a>) -> Cell<'a>;

/// Of the table of images.
type OfImage = for<'a> fn(&'a Page<'a>) -> Cell<'a>;

/// The table of objects.
pub(super) const OF_OBJECTS: &[Column<OfObject>] = &[
    ("image", |of| of.of.image.into()),
    ("page", |of| of.of.page.into()),
    ("object", |of| of.object(|object| object.number)),
    ("part", |of| of.object(|object| object.part.name())),
    ("core_of", |of| of.object(|object| object.core_of)),
    ("area_px", |of| of.found(|found| found.area_px)),
    ("area_um2", |of| of.um(|found| found.area_um2)),
    ("perimeter_px", |of| of.found(|found| found.perimeter_px)),
    ("perimeter_um", |of| of.um(|found| found.perimeter_um)),
    ("equivalent_diameter_px", |of| {
        of.found(|found| found.equivalent_diameter_px)
    }),
    ("equivalent_diameter_um", |of| {
        of.um(|found| found.equivalent_diameter_um)
    }),
    ("circularity", |of| of.found(|found| found.circularity)),
    ("centroid_x_px", |of| of.found(|found| found.centroid_x_px)),
    ("centroid_y_px", |of| of.found(|found| found.centroid_y_px)),
    ("centroid_x_um", |of| of.um(|found| found.centroid_x_um)),
    ("centroid_y_um", |of| of.um(|found| found.centroid_y_um)),
    ("bbox_x_px", |of| of.found(|found| found.bbox_px.x)),
    ("bbox_y_px", |of| of.found(|found| found.bbox_px.y)),
    ("bbox_width_px", |of| of.found(|found| found.bbox_px.width)),
    ("bbox_height_px", |of| {
        of.found(|found| found.bbox_px.height)
    }),
    ("intensity_mean", |of| {
        of.found(|found| found.intensity_mean)
    }),
    ("intensity_min", |of| of.found(|found| found.intensity_min)),
    ("intensity_max", |of| of.found(|found| found.intensity_max)),
    ("touches_border", |of| {
        of.found(|found| found.touches_border)
    }),
    ("holes", |of| of.found(|found| found.holes)),
    ("pixel_size_um", |of| {
        of.object.map_or(Cell::Empty, |_| of.of.pixel_size_um())
    }),
    ("pixel_size_source", |of| {
        of.object.map_or(Cell::Empty, |_| of.of.pixel_size_source())
    }),
    ("segmenter", |of| of.of.segmenter()),
    ("confidence", |of| of.object(|object| object.confidence)),
    ("intensity_sd", |of| of.found(|found| found.intensity_sd)),
    ("perimeter_skimage_px", |of| {
        of.shape(|shape| shape.perimeter_skimage_px)
    }),
    ("perimeter_skimage_um", |of| {
        of.shape_um(|shape| shape.perimeter_skimage_um)
    }),
    ("perimeter_imagej_px", |of| {
        of.shape(|shape| shape.perimeter_imagej_px)
    }),
    ("perimeter_imagej_um", |of| {
        of.shape_um(|shape| shape.perimeter_imagej_um)
    }),
    ("circularity_imagej", |of| {
        of.shape(|shape| shape.circularity_imagej)
    }),
    ("feret_max_px", |of| of.shape(|shape| shape.feret_max_px)),
    ("feret_max_um", |of| of.shape_um(|shape| shape.feret_max_um)),
    ("feret_min_px", |of| of.shape(|shape| shape.feret_min_px)),
    ("feret_min_um", |of| of.shape_um(|shape| shape.feret_min_um)),
    ("feret_max_skimage_px", |of| {
        of.shape(|shape| shape.feret_max_skimage_px)
    }),
    ("major_axis_px", |of| of.shape(|shape| shape.major_axis_px)),
    ("major_axis_um", |of| {
        of.shape_um(|shape| shape.major_axis_um)
    }),
    ("minor_axis_px", |of| of.shape(|shape| shape.minor_axis_px)),
    ("minor_axis_um", |of| {
        of.shape_um(|shape| shape.minor_axis_um)
    }),
    ("eccentricity", |of| of.shape(|shape| shape.eccentricity)),
    ("orientation_deg", |of| {
        of.shape(|shape| shape.orientation_deg)
    }),
    ("solidity", |of| of.shape(|shape| shape.solidity)),
    ("solidity_skimage", |of| {
        of.shape(|shape| shape.solidity_skimage)
    }),
    ("extent", |of| of.shape(|shape| shape.extent)),
    ("sphericity", |of| of.shape(|shape| shape.sphericity)),
    ("volume_sphere_px3", |of| {
        of.shape(|shape| shape.volume_sphere_px3)
    }),
    ("volume_sphere_um3", |of| {
        of.shape_um(|shape| shape.volume_sphere_um3)
    }),
    ("volume_prolate_px3", |of| {
        of.shape(|shape| shape.volume_prolate_px3)
    }),
    ("volume_prolate_um3", |of| {
        of.shape_um(|shape| shape.volume_prolate_um3)
    }),
    ("euler_number", |of| of.shape(|shape| shape.euler_number)),
    ("note", |of| of.of.note()),
];

/// The table of images.
pub(super) const OF_IMAGES: &[Column<OfImage>] = &[
    ("image", |of| of.image.into()),
    ("page", |of| of.page.into()),
    ("objects", |of| of.summary(|summary| summary.objects)),
    ("cores", |of| of.summary(|summary| summary.cores)),
    ("area_px", |of| of.summary(|summary| summary.area_px)),
    ("area_um2", |of| of.summary_um(|um| um.area_um2)),
    ("equivalent_diameter_px", |of| {
        of.summary(|summary| summary.equivalent_diameter_px)
    }),
    ("equivalent_diameter_um", |of| {
        of.summary_um(|um| um.equivalent_diameter_um)
    }),
    ("core_area_px", |of| {
        of.summary(|summary| summary.core.map(|core| core.area_px))
    }),
    ("core_area_um2", |of| of.summary_um(|um| um.core_area_um2)),
    ("corona_area_px", |of| {
        of.summary(|summary| summary.core.map(|core| core.corona_area_px))
    }),
    ("corona_area_um2", |of| {
        of.summary_um(|um| um.corona_area_um2)
    }),
    ("core_equivalent_diameter_px", |of| {
        of.summary(|summary| summary.core.map(|core| core.equivalent_diameter_px))
    }),
    ("core_equivalent_diameter_um", |of| {
        of.summary_um(|um| um.core_equivalent_diameter_um)
    }),
    ("disintegration_index", |of| {
        of.summary(|summary| summary.disintegration.map(|found| found.index))
    }),
    ("radial_reach_q95", |of| {
        of.summary(|summary| summary.disintegration.map(|found| found.radial_reach_q95))
    }),
    ("dispersed_mass", |of| {
        of.summary(|summary| summary.disintegration.map(|found| found.dispersed_mass))
    }),
    ("pixel_size_um", |of| of.pixel_size_um()),
    ("pixel_size_source", |of| of.pixel_size_source()),
    ("segmenter", |of| of.segmenter()),
    ("note", |of| of.note()),
];
