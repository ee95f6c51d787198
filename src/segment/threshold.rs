//! Levels that part objects from the background, found in a histogram.

use super::normalise::Flat;

const BINS: usize = 4096;

/// The levels of one polarity, in the flattened image's scale and counted from the background's own level upwards
/// (downwards for dark objects).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Levels {
    /// The background's level in the flattened image.
    pub background: f32,
    /// Standard deviation of the background.
    pub noise: f32,
    /// Everything above belongs to an object or is dirt.
    pub low: f32,
    /// An object reaches this somewhere.
    pub high: f32,
}

/// Where the values of the flattened image lie.
pub(super) struct Histogram {
    counts: Vec<u64>,
    start: f32,
    bin: f32,
}

impl Histogram {
    /// Counts all values; `None` where they are all the same.
    pub fn of(flat: &Flat) -> Option<Self> {
        let (low, high) = range(&flat.values);
        let bin = (high - low) / BINS as f32;
        // Values that differ by rounding alone are all the same.
        if bin <= f32::EPSILON * low.abs().max(high.abs()) {
            return None;
        }
        let mut counts = vec![0; BINS];
        let per_value = 1.0 / bin;
        for value in &flat.values {
            let index = ((value - low) * per_value) as i32 as usize;
            counts[index.min(BINS - 1)] += 1;
        }
        Some(Self {
            counts,
            start: low,
            bin,
        })
    }

    /// The same image with dark and bright exchanged.
    pub fn reversed(&self) -> Self {
        let counts = self.counts.iter().rev().copied().collect();
        Self {
            counts,
            start: -(self.start + self.bin * BINS as f32),
            bin: self.bin,
        }
    }

    /// Levels for objects brighter than the background, which must stand out by `min_contrast` standard deviations
    /// of the background.
    pub fn levels(&self, min_contrast: f64) -> Levels {
        let peak = self.peak();
        // Objects of either polarity widen one side of the background only.
        let noise = self
            .noise_below(peak)
            .min(self.reversed().noise_below(BINS - 1 - peak));
        let background = self.value(peak);
        let floor = self
            .index(background + min_contrast as f32 * noise)
            .max(peak + 1);
        // Only one side of the background matters: what is darker counts as background.
        let mut otsu = self.otsu(peak, BINS);
        if otsu < floor {
            // Objects so few that Otsu split the noise: ask again about what the noise cannot explain.
            otsu = self.otsu(floor, BINS).max(floor);
        }
        let low = self.triangle(peak).clamp(floor, otsu);
        let above = |index: usize| self.value(index) - background;
        Levels {
            background,
            noise,
            low: above(low),
            high: above(otsu),
        }
    }

    /// The most frequent value, after smoothing: the background.
    fn peak(&self) -> usize {
        let total: u64 = self.counts.iter().sum();
        // The window grows until it holds a tenth of the pixels, so that a comb of quantised values is bridged.
        let mut radius = 2;
        loop {
            let sums = self.window_sums(radius);
            let best = sums.iter().enumerate().max_by_key(|(_, sum)| **sum);
            let (index, sum) = best.map_or((0, total), |(index, sum)| (index, *sum));
            if sum * 10 >= total || radius > BINS / 8 {
                return index;
            }
            radius *= 2;
        }
    }

    fn window_sums(&self, radius: usize) -> Vec<u64> {
        let mut before = vec![0; BINS + 1];
        for (index, count) in self.counts.iter().enumerate() {
            before[index + 1] = before[index] + count;
        }
        let sum =
            |at: usize| before[(at + radius + 1).min(BINS)] - before[at.saturating_sub(radius)];
        (0..BINS).map(sum).collect()
    }

    /// The standard deviation of the background from its darker half: two thirds of a normal distribution's lower half lie
    /// within one deviation of its middle.
    fn noise_below(&self, peak: usize) -> f32 {
        let half: u64 = self.counts[..=peak].iter().sum();
        let mut left = (half as f64 * 0.682_7) as u64;
        for (distance, count) in self.counts[..=peak].iter().rev().enumerate() {
            if *count >= left {
                return self.bin * (distance as f32 + 1.0);
            }
            left -= count;
        }
        self.bin * (peak as f32 + 1.0)
    }

    /// Otsu's threshold (IEEE Trans. SMC 9, 1979) among the bins from `from`; the first bin of the upper class.
    fn otsu(&self, from: usize, to: usize) -> usize {
        let counts = &self.counts[from..to];
        let total: f64 = counts.iter().map(|count| *count as f64).sum();
        let moment = |(index, count): (usize, &u64)| index as f64 * *count as f64;
        let sum: f64 = counts.iter().enumerate().map(moment).sum();
        let (mut below, mut below_sum) = (0.0, 0.0);
        let (mut best, mut first_best, mut last_best) = (0.0, 0, 0);
        for (index, count) in counts.iter().enumerate() {
            below += *count as f64;
            below_sum += moment((index, count));
            let above = total - below;
            if below == 0.0 || above == 0.0 {
                continue;
            }
            let distance = below_sum / below - (sum - below_sum) / above;
            let between = below * above * distance * distance;
            if between > best * (1.0 + 1e-9) {
                (best, first_best) = (between, index + 1);
            }
            if between >= best * (1.0 - 1e-9) {
                last_best = index + 1;
            }
        }
        // Where nothing lies between the classes every level there is as good: take the middle.
        from + first_best.midpoint(last_best)
    }

    /// Zack's triangle threshold (J. Histochem. Cytochem. 25, 1977): the bin furthest below the line from the peak to
    /// the end of the tail.
    fn triangle(&self, peak: usize) -> usize {
        let smooth = self.window_sums(4);
        let last = self
            .counts
            .iter()
            .rposition(|count| *count > 0)
            .unwrap_or(peak);
        let (height, width) = (smooth[peak] as f64, (last - peak.min(last)).max(1) as f64);
        let below_line = |index: usize| {
            let line = height * (1.0 - (index - peak) as f64 / width);
            line - smooth[index] as f64
        };
        (peak..=last.max(peak))
            .max_by(|a, b| below_line(*a).total_cmp(&below_line(*b)))
            .unwrap_or(peak)
    }

    fn value(&self, index: usize) -> f32 {
        self.start + self.bin * index as f32
    }

    fn index(&self, value: f32) -> usize {
        // The cast saturates at 0.
        (((value - self.start) / self.bin).ceil() as usize).min(BINS - 1)
    }
}

/// The smallest and the largest value, many at once.
fn range(values: &[f32]) -> (f32, f32) {
    const LANES: usize = 16;
    let (mut low, mut high) = ([f32::MAX; LANES], [f32::MIN; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in chunk.iter().enumerate() {
            low[lane] = if *value < low[lane] {
                *value
            } else {
                low[lane]
            };
            high[lane] = if *value > high[lane] {
                *value
            } else {
                high[lane]
            };
        }
    }
    let all = |lanes: [f32; LANES]| lanes.into_iter().chain(rest.iter().copied());
    (
        all(low).fold(f32::MAX, f32::min),
        all(high).fold(f32::MIN, f32::max),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic values of a normal distribution, by summing twelve uniform ones.
    fn noise(count: usize, deviation: f32) -> Vec<f32> {
        let mut state = 7_u64;
        let mut uniform = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        (0..count)
            .map(|_| ((0..12).map(|_| uniform()).sum::<f32>() - 6.0) * deviation)
            .collect()
    }

    fn flat(values: Vec<f32>) -> Flat {
        Flat {
            width: values.len(),
            height: 1,
            values,
        }
    }

    #[test]
    fn the_background_and_its_noise_are_found_beside_objects() {
        let mut values = noise(100_000, 3.0);
        values
            .iter_mut()
            .take(20_000)
            .for_each(|value| *value += 100.0);
        let levels = Histogram::of(&flat(values)).unwrap().levels(4.0);
        assert!(levels.background.abs() < 1.5, "{levels:?}");
        assert!((2.0..4.5).contains(&levels.noise), "{levels:?}");
        assert!(levels.low >= 4.0 * levels.noise && levels.low <= levels.high);
        assert!((30.0..80.0).contains(&levels.high), "{levels:?}");
    }

    #[test]
    fn few_bright_pixels_do_not_let_otsu_split_the_noise() {
        let mut values = noise(200_000, 3.0);
        values.iter_mut().take(60).for_each(|value| *value += 100.0);
        let levels = Histogram::of(&flat(values)).unwrap().levels(4.0);
        assert!(levels.high > 10.0, "{levels:?}");
    }

    #[test]
    fn dark_objects_are_bright_ones_reversed() {
        let mut values = noise(50_000, 2.0);
        values
            .iter_mut()
            .take(5_000)
            .for_each(|value| *value -= 50.0);
        let levels = Histogram::of(&flat(values)).unwrap().reversed().levels(4.0);
        assert!((10.0..45.0).contains(&levels.high), "{levels:?}");
    }

    #[test]
    fn an_image_of_one_value_has_no_histogram() {
        assert!(Histogram::of(&flat(vec![5.0; 100])).is_none());
    }
}
