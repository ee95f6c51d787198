//! From the masks of another segmenter to objects: parts that are connected, numbered, and measured like builtin's.

use super::super::mask::Mask;
use super::super::{
    Object, Outlined, Parameters, Polygon, Raster, Segmentation, Summary, contour, label,
};

/// The objects of one image, as they are added.
#[derive(Debug)]
pub(super) struct Assembly<'a> {
    image: &'a Raster,
    parameters: &'a Parameters,
    objects: Vec<Object>,
    /// Objects and parts that the user's parameters leave out.
    left_out: u64,
    /// What a reader of the result should know.
    notes: Vec<String>,
}

impl<'a> Assembly<'a> {
    pub fn new(image: &'a Raster, parameters: &'a Parameters) -> Self {
        Self {
            image,
            parameters,
            objects: Vec::new(),
            left_out: 0,
            notes: Vec::new(),
        }
    }

    /// Adds a remark to the result.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds what a mask holds, the core of an object or a whole one. Pixels that touch only at corners are objects of
    /// their own here: of such parts the largest is the object, others count from the smallest area of an object on.
    /// Answers with the object's number.
    pub fn add(
        &mut self,
        mask: &Mask,
        core_of: Option<u32>,
        confidence: Option<f64>,
    ) -> Option<u32> {
        let mut parts = label::parts_of(mask, 1);
        let largest = (0..parts.len()).max_by_key(|index| parts[*index].area())?;
        parts.swap(0, largest);
        let least = self.parameters.min_area(self.image.pixels());
        let mut number = None;
        for (index, part) in parts.iter().enumerate() {
            if index > 0 && part.area() < least {
                self.left_out += 1;
                continue;
            }
            let polygon = contour::outline(part)?;
            let added = self.add_part(part, polygon, core_of, confidence);
            number = number.or(added);
        }
        number
    }

    /// Adds a connected part, unless the user wants none like it.
    pub fn add_part(
        &mut self,
        mask: &Mask,
        polygon: Polygon,
        core_of: Option<u32>,
        confidence: Option<f64>,
    ) -> Option<u32> {
        let too_small = self
            .parameters
            .min_area_px
            .is_some_and(|least| mask.area() < least);
        let outlined = Outlined {
            number: self.objects.len() as u32 + 1,
            core_of,
            confidence,
            mask,
            polygon,
        };
        let object = outlined.measured(self.image);
        if too_small || self.parameters.exclude_border && object.measurements.touches_border {
            self.left_out += 1;
            return None;
        }
        let number = object.number;
        self.objects.push(object);
        Some(number)
    }

    /// One part fewer than the service sees.
    pub fn leave_out(&mut self) {
        self.left_out += 1;
    }

    /// The result, under the name of who found the objects.
    pub fn finish(mut self, segmenter: String) -> Segmentation {
        if self.left_out > 0 {
            let note = format!("{} part(s) are left out by the parameters", self.left_out);
            self.notes.push(note);
        }
        if self.objects.is_empty() && self.notes.is_empty() {
            self.notes.push(format!("{segmenter} found no object"));
        }
        Segmentation {
            width: self.image.width(),
            height: self.image.height(),
            pixel_size: self.image.pixel_size,
            segmenter,
            summary: Summary::of(&self.objects, self.image.pixel_size),
            objects: self.objects,
            note: (!self.notes.is_empty()).then(|| self.notes.join("; ")),
            simplified_px: None,
        }
    }
}
