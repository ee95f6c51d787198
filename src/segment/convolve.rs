//! Symmetric kernels and the convolution of rows with them, in loops that the compiler turns into vector instructions.

/// Taps that one loop weighs at once: each value of the result is then written a quarter as often.
const TAPS: usize = 4;

/// Two rows at the same distance before and after, and their weight.
type Tap<'a> = (&'a [f32], &'a [f32], f32);

/// Half of a symmetric kernel, the middle first; it sums to 1. Cut at three standard deviations.
pub(super) fn gaussian(sigma: f64) -> Vec<f32> {
    if sigma <= 0.0 {
        return vec![1.0];
    }
    let radius = (3.0 * sigma).ceil() as usize;
    let weight = |i: usize| (-0.5 * (i as f64 / sigma).powi(2)).exp();
    let sum = weight(0) + 2.0 * (1..=radius).map(weight).sum::<f64>();
    (0..=radius).map(|i| (weight(i) / sum) as f32).collect()
}

/// `out = kernel[0] · middle + Σ kernel[i] · (before + after)`, where `tap(i)` gives the rows `i` before and after, at least
/// as long as `out`; `tap(0)` gives the middle twice.
pub(super) fn convolve<'a>(
    out: &mut [f32],
    kernel: &[f32],
    tap: impl Fn(usize) -> (&'a [f32], &'a [f32]),
) {
    let middle = tap(0).0;
    for first in (0..kernel.len()).step_by(TAPS) {
        let taps = std::array::from_fn(|offset| {
            let index = first + offset;
            match kernel.get(index) {
                Some(weight) if index == 0 => (middle, middle, weight / 2.0),
                Some(weight) => {
                    let (before, after) = tap(index);
                    (before, after, *weight)
                }
                None => (middle, middle, 0.0),
            }
        });
        if first == 0 {
            weigh::<true>(out, taps);
        } else {
            weigh::<false>(out, taps);
        }
    }
}

fn weigh<const FIRST: bool>(out: &mut [f32], taps: [Tap<'_>; TAPS]) {
    let count = out.len();
    let [(a, b, p), (c, d, q), (e, f, r), (g, h, s)] =
        taps.map(|(before, after, weight)| (&before[..count], &after[..count], weight));
    for (x, out) in out.iter_mut().enumerate() {
        let sum = p * (a[x] + b[x]) + q * (c[x] + d[x]) + r * (e[x] + f[x]) + s * (g[x] + h[x]);
        *out = if FIRST { sum } else { *out + sum };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_of_any_length_is_weighed_as_defined() {
        let values: Vec<f32> = (0..40).map(|index| (index * 7 % 13) as f32).collect();
        for radius in 0..10_usize {
            let kernel: Vec<f32> = (0..=radius).map(|i| 1.0 / (i as f32 + 1.0)).collect();
            let mut out = vec![9.0; 40 - 2 * radius];
            convolve(&mut out, &kernel, |i| {
                (&values[radius - i..], &values[radius + i..])
            });
            for (x, found) in out.iter().enumerate() {
                let middle = kernel[0] * values[x + radius];
                let around = (1..=radius)
                    .map(|i| kernel[i] * (values[x + radius - i] + values[x + radius + i]));
                assert!(
                    (found - middle - around.sum::<f32>()).abs() < 1e-4,
                    "{x} of {radius}"
                );
            }
        }
    }
}
