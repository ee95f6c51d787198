//! One plane of intensities, in the scale in which the file holds them.

use super::{PixelSize, SegmentError};

/// A grey image. Colours have been turned into luminance; the values are the file's own, so that measured
/// intensities mean what the microscope wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    width: u32,
    height: u32,
    samples: Samples,
    /// The edge lengths of a pixel, where the file says so.
    pub pixel_size: Option<PixelSize>,
}

/// The values, row by row, in the narrowest type that holds them: memory decides how many images run at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Up to 8 bits.
    U8(Vec<u8>),
    /// Up to 16 bits.
    U16(Vec<u16>),
    /// Everything else; never NaN or infinite.
    F32(Vec<f32>),
}

impl Raster {
    /// An image of this size.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`] where the number of values does not fit the size, or the size is nothing.
    pub fn new(width: u32, height: u32, samples: Samples) -> Result<Self, SegmentError> {
        let wanted = width as usize * height as usize;
        if wanted == 0 || samples.len() != wanted {
            let reason = format!("{} values for {width} × {height} pixels", samples.len());
            return Err(SegmentError::Damaged {
                format: "raster",
                reason,
            });
        }
        Ok(Self {
            width,
            height,
            samples,
            pixel_size: None,
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Width × height.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The values.
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The value at this place.
    pub fn at(&self, x: u32, y: u32) -> f32 {
        self.samples
            .at(y as usize * self.width as usize + x as usize)
    }

    /// Copies a row into `row`, which is as long as the image is wide.
    pub fn copy_row(&self, y: u32, row: &mut [f32]) {
        let start = y as usize * self.width as usize;
        let range = start..start + self.width as usize;
        match &self.samples {
            Samples::U8(values) => convert(&values[range], row),
            Samples::U16(values) => convert(&values[range], row),
            Samples::F32(values) => row.copy_from_slice(&values[range]),
        }
    }
}

impl Samples {
    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at this index.
    pub fn at(&self, index: usize) -> f32 {
        match self {
            Self::U8(values) => f32::from(values[index]),
            Self::U16(values) => f32::from(values[index]),
            Self::F32(values) => values[index],
        }
    }
}

fn convert<T: Copy + Into<f32>>(from: &[T], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = (*from).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_of_the_wrong_length_is_refused() {
        let error = Raster::new(3, 2, Samples::U8(vec![0; 5]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("5 values for 3 × 2"), "{error}");
    }

    #[test]
    fn values_keep_their_scale() {
        let raster = Raster::new(2, 2, Samples::U16(vec![1, 2, 3, 65_535])).unwrap();
        let mut row = [0.0; 2];
        raster.copy_row(1, &mut row);
        assert_eq!(row, [3.0, 65_535.0]);
        assert_eq!(raster.at(1, 0), 2.0);
    }
}
