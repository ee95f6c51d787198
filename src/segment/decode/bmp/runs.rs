//! Run lengths: pairs of a count and a colour, with escapes for single pixels, ends of rows and jumps.

use std::io::Read;

use super::FORMAT;
use crate::segment::SegmentError;

/// Where the next pixel goes; rows count in the file's order.
pub(super) struct Cursor {
    width: usize,
    height: usize,
    bits: u32,
    x: usize,
    y: usize,
}

impl Cursor {
    /// At the first pixel of the first row; colours have 4 or 8 bits.
    pub fn new(width: usize, height: usize, bits: u32) -> Self {
        Self {
            width,
            height,
            bits,
            x: 0,
            y: 0,
        }
    }

    /// Calls `put` with the column, the row and the colour of every pixel that is stored. Those that are jumped over
    /// are never named: they keep colour 0.
    pub fn read(
        &mut self,
        reader: &mut impl Read,
        mut put: impl FnMut(usize, usize, u8),
    ) -> Result<(), SegmentError> {
        // The file is read to its end mark, which may be left out behind the last row.
        loop {
            match pair(reader) {
                Ok([0, 0]) => (self.x, self.y) = (0, self.y + 1),
                Ok([0, 1]) => return Ok(()),
                Ok([0, 2]) => {
                    let [right, up] = pair(reader)?;
                    self.x += usize::from(right);
                    self.y += usize::from(up);
                }
                Ok([0, count]) => self.literal(reader, count, &mut put)?,
                Ok([count, color]) => self.run(count, color, &mut put)?,
                Err(_) if self.y >= self.height || self.at_the_end() => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.y > self.height {
                return Err(SegmentError::damaged(FORMAT, "more rows than its height"));
            }
        }
    }

    fn at_the_end(&self) -> bool {
        self.y + 1 == self.height && self.x == self.width
    }

    fn run(
        &mut self,
        count: u8,
        color: u8,
        put: &mut impl FnMut(usize, usize, u8),
    ) -> Result<(), SegmentError> {
        // With 4 bits two colours take turns.
        let colors = match self.bits {
            4 => [color >> 4, color & 15],
            _ => [color, color],
        };
        (0..usize::from(count)).try_for_each(|index| self.pixel(colors[index % 2], put))
    }

    fn literal(
        &mut self,
        reader: &mut impl Read,
        count: u8,
        put: &mut impl FnMut(usize, usize, u8),
    ) -> Result<(), SegmentError> {
        let count = usize::from(count);
        let bytes = if self.bits == 4 {
            count.div_ceil(2)
        } else {
            count
        };
        // Padded to whole words.
        let mut buffer = [0; 256];
        let bytes = &mut buffer[..bytes.next_multiple_of(2)];
        reader
            .read_exact(bytes)
            .map_err(|error| SegmentError::reading(FORMAT, "pixel data", error))?;
        for index in 0..count {
            let color = match (self.bits, index % 2) {
                (4, 0) => bytes[index / 2] >> 4,
                (4, _) => bytes[index / 2] & 15,
                _ => bytes[index],
            };
            self.pixel(color, put)?;
        }
        Ok(())
    }

    fn pixel(
        &mut self,
        color: u8,
        put: &mut impl FnMut(usize, usize, u8),
    ) -> Result<(), SegmentError> {
        if self.x >= self.width || self.y >= self.height {
            let (x, y) = (self.x, self.y);
            let reason = format!("a pixel at column {x} of row {y}, outside the image");
            return Err(SegmentError::damaged(FORMAT, reason));
        }
        put(self.x, self.y, color);
        self.x += 1;
        Ok(())
    }
}

fn pair(reader: &mut impl Read) -> Result<[u8; 2], SegmentError> {
    let mut pair = [0; 2];
    reader
        .read_exact(&mut pair)
        .map_err(|error| SegmentError::reading(FORMAT, "pixel data", error))?;
    Ok(pair)
}
