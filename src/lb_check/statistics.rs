//! The arithmetic of the report; no time, no chance, no input but numbers.

/// Quantile of the normal distribution for intervals of 95 %.
const Z_95: f64 = 1.959_963_984_540_054;
/// A deviation as large as the tolerance must be at least so many standard deviations of an honest random balancer, so
/// that it raises a false alarm in fewer than one of a thousand runs.
const SIGMAS_MIN: f64 = 4.0;

/// How many requests a test of shares needs among `instances` to tell a deviation of `tolerance` from chance:
/// 16·p(1 − p)/tolerance².
pub fn requests_needed(instances: usize, tolerance: f64) -> usize {
    if instances < 2 {
        return 1;
    }
    let share = 1.0 / instances as f64;
    let needed = SIGMAS_MIN.powi(2) * share * (1.0 - share) / tolerance.powi(2);
    // Whole numbers that the division misses by a rounding error.
    (needed - 1e-9).ceil() as usize
}

/// The largest distance between the shares of `counts` and the `weights`, which sum up to 1.
pub fn largest_deviation(counts: &[u64], weights: &[f64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let shares = counts
        .iter()
        .map(|count| *count as f64 / total.max(1) as f64);
    shares
        .zip(weights)
        .map(|(share, weight)| (share - weight).abs())
        .fold(0.0, f64::max)
}

/// Pearson's χ² of `counts` against `weights`, and the probability of a value as large by chance.
pub fn chi_square(counts: &[u64], weights: &[f64]) -> (f64, f64) {
    let total: u64 = counts.iter().sum();
    let terms = counts.iter().zip(weights).map(|(count, weight)| {
        let expected = weight * total as f64;
        (*count as f64 - expected).powi(2) / expected
    });
    let chi_square: f64 = terms.sum();
    let degrees = counts.len().saturating_sub(1);
    let p = if degrees == 0 || !chi_square.is_finite() {
        1.0
    } else {
        upper_gamma(degrees as f64 / 2.0, chi_square / 2.0)
    };
    (chi_square, p)
}

/// The coefficient of variation: standard deviation by mean, 0 where there is nothing.
pub fn variation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.is_empty() || mean == 0.0 {
        return 0.0;
    }
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt() / mean
}

/// Wilson's interval of 95 % for a share of `hits` in `total`.
pub fn wilson(hits: u64, total: u64) -> (f64, f64) {
    if total == 0 {
        return (0.0, 1.0);
    }
    let (n, p, z2) = (total as f64, hits as f64 / total as f64, Z_95.powi(2));
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// The value below which a share of `values` lies (nearest rank); 0 where there is none. Sorts.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values
        .get(rank.saturating_sub(1))
        .or(values.last())
        .copied()
        .unwrap_or(0.0)
}

/// The regularised upper incomplete gamma function Q(a, x): by its series below a + 1, by its continued fraction above
/// (Lentz), as in every book of numerical methods.
fn upper_gamma(a: f64, x: f64) -> f64 {
    const TERMS_MAX: usize = 1_000;
    const SMALL: f64 = 1e-300;
    if x <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..TERMS_MAX {
            term *= x / (a + n as f64);
            sum += term;
            if term < sum * f64::EPSILON {
                break;
            }
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / SMALL, 1.0 / b);
    let mut fraction = d;
    for n in 1..TERMS_MAX {
        let n = n as f64;
        let an = -n * (n - a);
        b += 2.0;
        d = 1.0 / nonzero(an * d + b, SMALL);
        c = nonzero(b + an / c, SMALL);
        fraction *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

fn nonzero(value: f64, small: f64) -> f64 {
    if value.abs() < small { small } else { value }
}

/// Lanczos' approximation with g = 7, good to 15 digits.
fn ln_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const COEFFICIENTS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        let pi = std::f64::consts::PI;
        return (pi / (pi * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let terms = COEFFICIENTS.iter().enumerate().skip(1);
    let sum = COEFFICIENTS[0] + terms.map(|(n, c)| c / (x + n as f64)).sum::<f64>();
    let t = x + G + 0.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
    }

    #[test]
    fn enough_requests_are_asked_for() {
        assert_eq!(requests_needed(2, 0.05), 1_600);
        assert_eq!(requests_needed(3, 0.05), 1_423);
        assert_eq!(requests_needed(5, 0.05), 1_024);
        assert_eq!(requests_needed(1, 0.05), 1);
    }

    #[test]
    fn the_quantiles_of_the_tables_are_met() {
        // 5 % and 0.1 % of χ² with 1, 2, 4 and 9 degrees.
        for (degrees, quantile, p) in [
            (1.0, 3.841, 0.05),
            (2.0, 5.991, 0.05),
            (4.0, 9.488, 0.05),
            (9.0, 16.919, 0.05),
            (1.0, 10.828, 0.001),
            (2.0, 13.816, 0.001),
            (9.0, 27.877, 0.001),
        ] {
            close(upper_gamma(degrees / 2.0, quantile / 2.0), p);
        }
        close(upper_gamma(1.0, 0.0), 1.0);
    }

    #[test]
    fn even_counts_have_no_chi_square_and_skewed_ones_a_large_one() {
        let third = [1.0 / 3.0; 3];
        let (even, p) = chi_square(&[200, 200, 200], &third);
        assert_eq!((even, p), (0.0, 1.0));
        // The figures of a slow third instance behind least connections.
        let (skewed, p) = chi_square(&[258, 252, 90], &third);
        assert!(skewed > 90.0 && p < 0.001, "{skewed} {p}");
        close(largest_deviation(&[258, 252, 90], &third), 1.0 / 3.0 - 0.15);
    }

    #[test]
    fn one_instance_never_deviates() {
        assert_eq!(chi_square(&[7], &[1.0]), (0.0, 1.0));
        assert_eq!(largest_deviation(&[7], &[1.0]), 0.0);
    }

    #[test]
    fn variation_is_that_of_the_population() {
        close(variation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 0.4);
        assert_eq!(variation(&[]), 0.0);
        assert_eq!(variation(&[0.0, 0.0]), 0.0);
    }

    #[test]
    fn intervals_are_wilsons() {
        // R: binom::binom.wilson(10, 100)
        let (low, high) = wilson(10, 100);
        close(low, 0.05523);
        close(high, 0.17437);
        let (none, all) = (wilson(0, 10), wilson(10, 10));
        close(none.0, 0.0);
        close(all.1, 1.0);
        assert!(none.1 > 0.2 && all.0 < 0.8);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(percentile(&mut values, 0.5), 3.0);
        assert_eq!(percentile(&mut values, 0.99), 5.0);
        assert_eq!(percentile(&mut values, 0.0), 1.0);
        assert_eq!(percentile(&mut [], 0.5), 0.0);
    }
}
