//! Pixels of several samples as grey values, a row at a time.

/// How the samples of a pixel, stored side by side, become one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    /// The first of so many: grey with extra channels, or the luma of YCbCr.
    First(usize),
    /// The luminance of the first three of so many: red, green, blue.
    Color(usize),
    /// The luminance of the first four of so many: cyan, magenta, yellow, black, each 0 for no ink.
    Inks(usize),
}

impl Channels {
    /// Samples per pixel.
    pub fn step(self) -> usize {
        match self {
            Self::First(step) | Self::Color(step) | Self::Inks(step) => step,
        }
    }
}

/// A type of grey value.
pub(super) trait Sample: Copy + Default {
    /// Luminance after ITU-R BT.601. The weights add up to 1, so a grey colour keeps its value exactly.
    fn luminance(red: Self, green: Self, blue: Self) -> Self;

    /// What is left of white, the largest value, under two inks: (1 − a)(1 − b), as TIFF 6.0, section 16, and libtiff
    /// turn CMYK into RGB.
    fn under(ink: Self, black: Self) -> Self;
}

impl Sample for u8 {
    fn luminance(red: Self, green: Self, blue: Self) -> Self {
        weighted(red.into(), green.into(), blue.into()) as Self
    }

    fn under(ink: Self, black: Self) -> Self {
        (u32::from(Self::MAX - ink) * u32::from(Self::MAX - black) / u32::from(Self::MAX)) as Self
    }
}

impl Sample for u16 {
    fn luminance(red: Self, green: Self, blue: Self) -> Self {
        weighted(red.into(), green.into(), blue.into()) as Self
    }

    fn under(ink: Self, black: Self) -> Self {
        (u32::from(Self::MAX - ink) * u32::from(Self::MAX - black) / u32::from(Self::MAX)) as Self
    }
}

impl Sample for f32 {
    fn luminance(red: Self, green: Self, blue: Self) -> Self {
        0.299 * red + 0.587 * green + 0.114 * blue
    }

    fn under(ink: Self, black: Self) -> Self {
        (1.0 - ink) * (1.0 - black)
    }
}

fn weighted(red: u32, green: u32, blue: u32) -> u32 {
    (299 * red + 587 * green + 114 * blue + 500) / 1000
}

/// Turns a row of pixels into grey values, one for each place in `greys`.
pub(super) fn combine<T: Sample>(pixels: &[T], channels: Channels, greys: &mut [T]) {
    match channels {
        Channels::First(1) => greys.copy_from_slice(&pixels[..greys.len()]),
        Channels::First(step) => each(pixels, step, greys, |pixel| pixel[0]),
        // The two usual steps as constants, so that the loop is unrolled.
        Channels::Color(3) => colors::<T, 3>(pixels, greys),
        Channels::Color(4) => colors::<T, 4>(pixels, greys),
        Channels::Color(step) => each(pixels, step, greys, |p| T::luminance(p[0], p[1], p[2])),
        Channels::Inks(step) => each(pixels, step, greys, |p| {
            let [red, green, blue] = [p[0], p[1], p[2]].map(|ink| T::under(ink, p[3]));
            T::luminance(red, green, blue)
        }),
    }
}

/// The same for colours stored in a plane each.
pub(super) fn combine_planes<T: Sample>(reds: &[T], greens: &[T], blues: &[T], greys: &mut [T]) {
    for (((grey, red), green), blue) in greys.iter_mut().zip(reds).zip(greens).zip(blues) {
        *grey = T::luminance(*red, *green, *blue);
    }
}

fn colors<T: Sample, const STEP: usize>(pixels: &[T], greys: &mut [T]) {
    let (pixels, _) = pixels.as_chunks::<STEP>();
    for (grey, pixel) in greys.iter_mut().zip(pixels) {
        *grey = T::luminance(pixel[0], pixel[1], pixel[2]);
    }
}

fn each<T: Sample>(pixels: &[T], step: usize, greys: &mut [T], value: impl Fn(&[T]) -> T) {
    for (grey, pixel) in greys.iter_mut().zip(pixels.chunks_exact(step)) {
        *grey = value(pixel);
    }
}

/// Spreads samples of 1 to 16 bits, packed with the high bits first, over the places in `values`.
pub(super) fn unpack<T>(packed: &[u8], bits: u32, values: &mut [T])
where
    T: TryFrom<u32> + Default,
{
    let (mut held, mut held_bits) = (0_u32, 0_u32);
    let mut bytes = packed.iter();
    let mask = (1_u32 << bits) - 1;
    for value in values {
        while held_bits < bits {
            held = held << 8 | u32::from(*bytes.next().unwrap_or(&0));
            held_bits += 8;
        }
        held_bits -= bits;
        *value = T::try_from(held >> held_bits & mask).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grey_colour_keeps_its_value() {
        assert!((0..=255).all(|v: u8| u8::luminance(v, v, v) == v));
        assert!((0..=65_535).all(|v: u16| u16::luminance(v, v, v) == v));
    }

    #[test]
    fn every_way_of_storing_a_colour_gives_the_same_grey() {
        let expected = [u8::luminance(10, 200, 30), u8::luminance(0, 0, 255)];
        let mut greys = [0; 2];
        for step in 3..6 {
            let pixels: Vec<u8> = [[10, 200, 30, 9, 9], [0, 0, 255, 9, 9]]
                .iter()
                .flat_map(|pixel| pixel[..step].to_vec())
                .collect();
            combine(&pixels, Channels::Color(step), &mut greys);
            assert_eq!(greys, expected, "{step} samples");
        }
        combine_planes(&[10, 0], &[200, 0], &[30, 255], &mut greys);
        assert_eq!(greys, expected);
        combine(
            &[245, 55, 225, 0, 255, 255, 0, 0],
            Channels::Inks(4),
            &mut greys,
        );
        assert_eq!(greys, expected);
    }

    #[test]
    fn samples_of_any_width_are_spread() {
        let mut values = [0_u16; 3];
        unpack(&[0xAB, 0xCD, 0xEF, 0x12, 0x30], 12, &mut values);
        assert_eq!(values, [0xABC, 0xDEF, 0x123]);
        let mut values = [0_u8; 5];
        unpack(&[0b1011_0000], 1, &mut values);
        assert_eq!(values, [1, 0, 1, 1, 0]);
    }
}
