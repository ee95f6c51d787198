//! Differences back into values: the horizontal predictor (TIFF 6.0, section 14) and the one for floats (Adobe Photoshop
//! TIFF Technical Note 3), in place, a row at a time.

/// Every sample is stored as the difference from the one `step` samples before it.
pub(super) fn horizontal(row: &mut [u8], bits: u16, step: usize, big_endian: bool) {
    match (bits, big_endian) {
        (8, _) => bytes(row, step),
        (16, false) => sums(row, step, |a, b| {
            add(u16::from_le_bytes, u16::wrapping_add, a, b).to_le_bytes()
        }),
        (16, true) => sums(row, step, |a, b| {
            add(u16::from_be_bytes, u16::wrapping_add, a, b).to_be_bytes()
        }),
        (32, false) => sums(row, step, |a, b| {
            add(u32::from_le_bytes, u32::wrapping_add, a, b).to_le_bytes()
        }),
        (32, true) => sums(row, step, |a, b| {
            add(u32::from_be_bytes, u32::wrapping_add, a, b).to_be_bytes()
        }),
        (_, false) => sums(row, step, |a, b| {
            add(u64::from_le_bytes, u64::wrapping_add, a, b).to_le_bytes()
        }),
        (_, true) => sums(row, step, |a, b| {
            add(u64::from_be_bytes, u64::wrapping_add, a, b).to_be_bytes()
        }),
    }
}

/// The bytes of all samples are stored by significance, first the highest of every sample, as differences; `scratch`
/// is as long as the row. What comes back has the high byte first.
pub(super) fn float(row: &mut [u8], bits: u16, step: usize, scratch: &mut Vec<u8>) {
    bytes(row, step);
    scratch.clear();
    scratch.extend_from_slice(row);
    let size = usize::from(bits / 8);
    let samples = row.len() / size;
    for (significance, plane) in scratch.chunks_exact(samples).enumerate() {
        for (sample, byte) in plane.iter().enumerate() {
            row[sample * size + significance] = *byte;
        }
    }
}

fn bytes(row: &mut [u8], step: usize) {
    if step == 1 {
        let mut sum = 0_u8;
        for byte in row {
            sum = sum.wrapping_add(*byte);
            *byte = sum;
        }
        return;
    }
    for at in step..row.len() {
        row[at] = row[at].wrapping_add(row[at - step]);
    }
}

fn add<T, const SIZE: usize>(
    number: impl Fn([u8; SIZE]) -> T,
    sum: impl Fn(T, T) -> T,
    a: [u8; SIZE],
    b: [u8; SIZE],
) -> T {
    sum(number(a), number(b))
}

fn sums<const SIZE: usize>(
    row: &mut [u8],
    step: usize,
    add: impl Fn([u8; SIZE], [u8; SIZE]) -> [u8; SIZE],
) {
    let (samples, _) = row.as_chunks_mut::<SIZE>();
    if step == 1 {
        let mut sum = [0; SIZE];
        for sample in samples {
            sum = add(*sample, sum);
            *sample = sum;
        }
        return;
    }
    for at in step..samples.len() {
        samples[at] = add(samples[at], samples[at - step]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_add_up_in_either_byte_order() {
        let mut little = [0xFF, 0x00, 0x02, 0x01, 0xFF, 0xFF];
        horizontal(&mut little, 16, 1, false);
        assert_eq!(little, [0xFF, 0x00, 0x01, 0x02, 0x00, 0x02]);
        let mut big = [0x00, 0xFF, 0x01, 0x02, 0xFF, 0xFF];
        horizontal(&mut big, 16, 1, true);
        assert_eq!(big, [0x00, 0xFF, 0x02, 0x01, 0x02, 0x00]);
        let mut colors = [1, 2, 3, 1, 1, 1];
        horizontal(&mut colors, 8, 3, false);
        assert_eq!(colors, [1, 2, 3, 2, 3, 4]);
    }
}
