//! Area, centre and axes of a mask, from sums over its runs in whole numbers.

use crate::segment::bits::Bits;

/// Sums over the centres of all pixels; whole numbers, so that nothing is rounded before the end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    pub count: u64,
    x: u128,
    y: u128,
    xx: u128,
    xy: u128,
    yy: u128,
}

/// The ellipse with the same second moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ellipse {
    pub major: f64,
    pub minor: f64,
    /// √(1 − λ₂/λ₁), or √((λ₁ − λ₂)/λ₁): 0 for a disk, towards 1 for a line.
    pub eccentricity: f64,
    /// Degrees from the x axis to the major axis, counterclockwise on the screen, 0 to 180, as ImageJ's angle;
    /// `None` where no direction is longer than another.
    pub orientation_deg: Option<f64>,
}

impl Moments {
    pub fn of(mask: &Bits) -> Self {
        let mut moments = Self::default();
        for row in 1..mask.rows() - 1 {
            let (mut count, mut x) = (0, 0);
            for (from, to) in mask.runs(row) {
                // The frame's column is not counted.
                let (from, to) = (from as u128 - 1, to as u128 - 1);
                count += to - from;
                x += (to - from) * (from + to - 1) / 2;
                moments.xx += squares_below(to) - squares_below(from);
            }
            let y = row as u128 - 1;
            moments.count += count as u64;
            moments.x += x;
            moments.y += y * count;
            moments.xy += y * x;
            moments.yy += y * y * count;
        }
        moments
    }

    /// The mean of the pixels' centres, counted from the mask's corner.
    pub fn centroid(&self) -> (f64, f64) {
        let count = self.count.max(1) as f64;
        (self.x as f64 / count + 0.5, self.y as f64 / count + 0.5)
    }

    /// The ellipse of a mask whose pixels have these edge lengths.
    ///
    /// Axes are 4·√λ, λ the eigenvalues of the covariance of the pixels' *centres* (the 1/12 of a pixel's own extent is
    /// not added), as scikit-image's `axis_major_length`, `axis_minor_length` and `eccentricity` have it.
    ///
    /// Source: Burger and Burge, Principles of Digital Image Processing: Core Algorithms (2009), §2.4.3; scikit-image
    /// 0.26, `_regionprops.py`.
    pub fn ellipse(&self, pixel: [f64; 2]) -> Ellipse {
        let [width, height] = pixel;
        let xx = self.central(self.xx, self.x, self.x) * width * width;
        let xy = self.central(self.xy, self.x, self.y) * width * height;
        let yy = self.central(self.yy, self.y, self.y) * height * height;
        let half = ((xx - yy) / 2.0).hypot(xy);
        let large = (xx + yy) / 2.0 + half;
        // As the determinant by the larger one: a difference of nearly equal numbers would lose digits.
        let small = ((xx * yy - xy * xy) / large).clamp(0.0, large);
        Ellipse {
            major: 4.0 * large.sqrt(),
            minor: if large > 0.0 { 4.0 * small.sqrt() } else { 0.0 },
            eccentricity: if large > 0.0 {
                (2.0 * half / large).sqrt()
            } else {
                0.0
            },
            orientation_deg: (half > 0.0).then(|| angle(xx, xy, yy)),
        }
    }

    /// Σab/N − Σa·Σb/N², whose numerator is a whole number.
    fn central(&self, product: u128, a: u128, b: u128) -> f64 {
        let count = u128::from(self.count.max(1));
        let numerator = (count * product) as i128 - (a * b) as i128;
        numerator as f64 / count as f64 / count as f64
    }
}

/// From the x axis, counterclockwise as seen on the screen, where y runs down.
fn angle(xx: f64, xy: f64, yy: f64) -> f64 {
    let degrees = (0.5 * (-2.0 * xy).atan2(xx - yy)).to_degrees();
    let positive = if degrees < 0.0 {
        degrees + 180.0
    } else {
        degrees
    };
    // A tiny negative angle rounds to the full turn.
    if positive < 180.0 { positive } else { 0.0 }
}

/// 0² + 1² + … + (n − 1)².
fn squares_below(n: u128) -> u128 {
    if n == 0 {
        0
    } else {
        (n - 1) * n * (2 * n - 1) / 6
    }
}
