//! Bytes as values of the plane's type.

use super::kind::Kind;
use super::page::Page;
use crate::segment::decode::grey::{Sample, unpack};

/// A type of the plane, read from a file's bytes.
pub(super) trait Element: Sample {
    /// Reads a row of samples; high byte first where `big_endian` says so.
    fn read(kind: Kind, big_endian: bool, bytes: &[u8], values: &mut [Self]);

    /// Turns a row of grey values into what they stand for: looked up, reversed, without NaN.
    fn finish(page: &Page, row: &mut [Self]);
}

impl Element for u8 {
    fn read(kind: Kind, _big_endian: bool, bytes: &[u8], values: &mut [Self]) {
        match kind.bits() {
            8 => values.copy_from_slice(&bytes[..values.len()]),
            bits => unpack(bytes, bits.into(), values),
        }
    }

    fn finish(page: &Page, row: &mut [Self]) {
        if let Some(palette) = &page.palette {
            // As many colours as there are values of so many bits.
            row.iter_mut()
                .for_each(|value| *value = palette[usize::from(*value)]);
        } else if page.white_is_zero {
            let white = ((1_u16 << page.bits) - 1) as Self;
            row.iter_mut().for_each(|value| *value = white - *value);
        }
    }
}

impl Element for u16 {
    fn read(kind: Kind, big_endian: bool, bytes: &[u8], values: &mut [Self]) {
        match (kind.bits(), big_endian) {
            (16, false) => each(bytes, values, Self::from_le_bytes),
            (16, true) => each(bytes, values, Self::from_be_bytes),
            (bits, _) => unpack(bytes, bits.into(), values),
        }
    }

    fn finish(page: &Page, row: &mut [Self]) {
        if page.white_is_zero {
            let white = ((1_u32 << page.bits) - 1) as Self;
            row.iter_mut().for_each(|value| *value = white - *value);
        }
    }
}

impl Element for f32 {
    fn read(kind: Kind, big_endian: bool, bytes: &[u8], values: &mut [Self]) {
        match kind {
            Kind::Unsigned(32) => {
                number(bytes, values, big_endian, |v| u32::from_le_bytes(v) as Self)
            }
            Kind::Unsigned(_) => {
                number(bytes, values, big_endian, |v| u64::from_le_bytes(v) as Self)
            }
            Kind::Signed(8) => number(bytes, values, big_endian, |v| i8::from_le_bytes(v).into()),
            Kind::Signed(16) => number(bytes, values, big_endian, |v| i16::from_le_bytes(v).into()),
            Kind::Signed(32) => {
                number(bytes, values, big_endian, |v| i32::from_le_bytes(v) as Self)
            }
            Kind::Signed(_) => number(bytes, values, big_endian, |v| i64::from_le_bytes(v) as Self),
            Kind::Float(16) => number(bytes, values, big_endian, |v| half(u16::from_le_bytes(v))),
            Kind::Float(32) => number(bytes, values, big_endian, Self::from_le_bytes),
            Kind::Float(_) => number(bytes, values, big_endian, |v| f64::from_le_bytes(v) as Self),
        }
    }

    /// Real and signed numbers have no white: they stay as they are stored.
    fn finish(page: &Page, row: &mut [Self]) {
        if page.white_is_zero && page.kind == Kind::Unsigned(32) {
            row.iter_mut()
                .for_each(|value| *value = u32::MAX as Self - *value);
        }
        // Some programs write NaN where nothing was recorded.
        row.iter_mut()
            .filter(|value| !value.is_finite())
            .for_each(|value| *value = 0.0);
    }
}

fn number<T, const SIZE: usize>(
    bytes: &[u8],
    values: &mut [T],
    big_endian: bool,
    little: impl Fn([u8; SIZE]) -> T,
) {
    if big_endian {
        each(bytes, values, |mut bytes| {
            bytes.reverse();
            little(bytes)
        });
    } else {
        each(bytes, values, little);
    }
}

fn each<T, const SIZE: usize>(bytes: &[u8], values: &mut [T], number: impl Fn([u8; SIZE]) -> T) {
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<SIZE>().0) {
        *value = number(*bytes);
    }
}

/// IEEE 754 binary16: 1 bit of sign, 5 of exponent, 10 of fraction.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    match exponent {
        0 => sign * fraction * f32::powi(2.0, -24),
        31 => f32::NAN,
        _ => sign * (1024.0 + fraction) * f32::powi(2.0, exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_exact() {
        for (bits, value) in [
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x7BFF, 65_504.0),
            (0x0001, 5.960_464_5e-8),
            (0x3555, 0.333_251_95),
            (0x8000, 0.0),
        ] {
            assert_eq!(half(bits), value, "{bits:04x}");
        }
        assert!(half(0x7C00).is_nan() && half(0x7E00).is_nan());
    }
}
