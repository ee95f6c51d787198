//! The image's own values under a mask.

use std::ops::Range;

use crate::segment::bits::Bits;
use crate::segment::mask::Mask;
use crate::segment::{Raster, Samples};

/// Values that are added up side by side, so that a sum of floats need not wait for the one before it.
const LANES: usize = 8;

/// Values under a mask, in the file's scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Intensity {
    pub mean: f64,
    /// Standard deviation of the values as a whole population (divided by their count), as numpy's `std`.
    pub sd: f64,
    pub min: f64,
    pub max: f64,
}

impl Intensity {
    pub fn under(mask: &Mask, bits: &Bits, image: &Raster) -> Self {
        let runs = runs(mask, bits, image.width() as usize);
        match image.samples() {
            Samples::U8(values) => of_integers(runs.map(|run| &values[run])),
            Samples::U16(values) => of_integers(runs.map(|run| &values[run])),
            Samples::F32(values) => of_floats(runs.map(|run| &values[run])),
        }
    }
}

/// The indices of the mask's pixels in the image's samples.
fn runs(mask: &Mask, bits: &Bits, width: usize) -> impl Iterator<Item = Range<usize>> {
    (1..bits.rows() - 1).flat_map(move |row| {
        let start = (mask.y as usize + row - 1) * width + mask.x as usize;
        bits.runs(row)
            .map(move |(from, to)| start + from - 1..start + to - 1)
    })
}

/// Exact until the end: sums are whole numbers.
fn of_integers<'a, V>(runs: impl Iterator<Item = &'a [V]>) -> Intensity
where
    V: Copy + Ord + Into<u32> + 'a,
{
    let (mut count, mut sum, mut squares) = (0_u128, 0_u128, 0_u128);
    let mut ends: Option<(V, V)> = None;
    for run in runs.filter(|run| !run.is_empty()) {
        count += run.len() as u128;
        let value = |value: &V| u64::from((*value).into());
        sum += u128::from(run.iter().map(value).sum::<u64>());
        let square = |each: &V| value(each) * value(each);
        squares += u128::from(run.iter().map(square).sum::<u64>());
        let (min, max) = ends.unwrap_or((run[0], run[0]));
        ends = Some((
            run.iter().copied().fold(min, V::min),
            run.iter().copied().fold(max, V::max),
        ));
    }
    let n = count.max(1) as f64;
    let (min, max) = ends.map_or((0, 0), |(min, max)| (min.into(), max.into()));
    Intensity {
        mean: sum as f64 / n,
        sd: ((count * squares - sum * sum) as f64).sqrt() / n,
        min: min.into(),
        max: max.into(),
    }
}

/// Squares are taken about the first value: about 0 they would drown small differences between large values.
fn of_floats<'a>(runs: impl Iterator<Item = &'a [f32]>) -> Intensity {
    let (mut count, mut sum, mut squares) = (0_u64, 0.0, 0.0);
    let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
    let mut pivot = None;
    for run in runs.filter(|run| !run.is_empty()) {
        let pivot = f64::from(*pivot.get_or_insert(run[0]));
        count += run.len() as u64;
        let (mut sums, mut of_squares) = ([0.0; LANES], [0.0; LANES]);
        for chunk in run.chunks(LANES) {
            for (lane, value) in chunk.iter().enumerate() {
                let off = f64::from(*value) - pivot;
                sums[lane] += off;
                of_squares[lane] += off * off;
            }
        }
        sum += sums.iter().sum::<f64>();
        squares += of_squares.iter().sum::<f64>();
        min = run.iter().copied().fold(min, f32::min);
        max = run.iter().copied().fold(max, f32::max);
    }
    let n = count.max(1) as f64;
    let off = sum / n;
    Intensity {
        mean: f64::from(pivot.unwrap_or(0.0)) + off,
        sd: (squares / n - off * off).max(0.0).sqrt(),
        min: if count > 0 { min.into() } else { 0.0 },
        max: if count > 0 { max.into() } else { 0.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values 0 … 11 in 4 × 3, under all but two of them.
    fn under(samples: Samples) -> Intensity {
        let image = Raster::new(4, 3, samples).unwrap();
        let mut mask = Mask::new(0, 0, 4, 3);
        (0..3).for_each(|y| mask.row_mut(y).fill(true));
        mask.set(1, 1, false);
        mask.set(3, 2, false);
        Intensity::under(&mask, &Bits::of(&mask), &image)
    }

    #[test]
    fn every_kind_of_sample_gives_the_same_numbers() {
        // numpy: mean and std of 0, 1, 2, 3, 4, 6, 7, 8, 9, 10.
        let expected = Intensity {
            mean: 5.0,
            sd: 11.0_f64.sqrt(),
            min: 0.0,
            max: 10.0,
        };
        for samples in [
            Samples::U8((0..12).collect()),
            Samples::U16((0..12).collect()),
            Samples::F32((0..12_u8).map(f32::from).collect()),
        ] {
            let found = under(samples);
            assert!((found.sd - expected.sd).abs() < 1e-12, "{found:?}");
            let sd = expected.sd;
            assert_eq!(Intensity { sd, ..found }, expected);
        }
    }

    #[test]
    fn small_differences_between_large_floats_are_kept() {
        let values = (0..12_u8).map(|value| 16_000_000.0 + f32::from(value));
        let found = under(Samples::F32(values.collect()));
        assert!((found.sd - 11.0_f64.sqrt()).abs() < 1e-6, "{found:?}");
        assert_eq!(found.mean, 16_000_005.0);
    }
}
