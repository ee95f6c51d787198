//! The label mask: a TIFF of the image's size in which every pixel holds its object's number, 0 where there is none.
//!
//! 16 bits while the numbers fit, else 32. A core's pixels hold the core's number, not that of the whole round it.

use std::io::{Cursor, Write};

use tiff::TiffError;
use tiff::encoder::colortype::{ColorType, Gray16, Gray32};
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, TiffValue};

use crate::segment::{SegmentError, Segmentation};

/// Writes the mask, compressed with Deflate.
///
/// # Errors
/// [`SegmentError::Io`] where writing fails.
pub fn write(result: &Segmentation, mut writer: impl Write) -> Result<(), SegmentError> {
    let largest = result
        .objects
        .iter()
        .map(|object| object.number)
        .max()
        .unwrap_or(0);
    let file = match u16::try_from(largest) {
        Ok(_) => encode::<Gray16>(result, |number| number as u16),
        Err(_) => encode::<Gray32>(result, |number| number),
    };
    writer.write_all(&file.map_err(std::io::Error::other)?)?;
    writer.flush()?;
    Ok(())
}

fn encode<C: ColorType>(
    result: &Segmentation,
    label: impl Fn(u32) -> C::Inner,
) -> Result<Vec<u8>, TiffError>
where
    [C::Inner]: TiffValue,
    C::Inner: Copy + Default,
{
    let width = result.width as usize;
    let mut plane = vec![C::Inner::default(); width * result.height as usize];
    for object in &result.objects {
        let value = label(object.number);
        object
            .polygon
            .spans(result.width, result.height, |y, from, to| {
                let row = y as usize * width;
                plane[row + from as usize..row + to as usize].fill(value);
            });
    }
    let mut file = Cursor::new(Vec::new());
    let mut encoder =
        TiffEncoder::new(&mut file)?.with_compression(Compression::Deflate(DeflateLevel::Fast));
    encoder.write_image::<C>(result.width, result.height, &plane)?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::export::geojson::tests::two_objects;
    use crate::segment::{Limits, Samples, decode};

    #[test]
    fn every_pixel_holds_its_objects_number() {
        let mut file = Vec::new();
        write(&two_objects(), &mut file).unwrap();
        let read = decode(&mut Cursor::new(file), 0, &Limits::default()).unwrap();
        let Samples::U16(labels) = read.samples() else {
            panic!("not 16 bits")
        };
        let count = |number: u16| labels.iter().filter(|label| **label == number).count();
        assert_eq!((count(1), count(2)), (11, 1));
        assert_eq!(
            (read.at(1, 1), read.at(2, 2), read.at(4, 4)),
            (2.0, 0.0, 1.0)
        );
    }

    #[test]
    fn large_numbers_take_32_bits() {
        let mut result = two_objects();
        result.objects[0].number = 70_000;
        let mut file = Vec::new();
        write(&result, &mut file).unwrap();
        let read = decode(&mut Cursor::new(file), 0, &Limits::default()).unwrap();
        assert_eq!(read.at(4, 4), 70_000.0);
    }
}
