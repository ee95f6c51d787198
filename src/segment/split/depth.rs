//! How deep inside its object each pixel lies.

use super::super::mask::Mask;

/// Distance of every cell to the nearest empty one, in pixels: Felzenszwalb and Huttenlocher, Theory of Computing 8
/// (2012), columns first, then rows.
pub(super) fn depths(mask: &Mask) -> Vec<f32> {
    let (stride, rows) = (mask.stride(), mask.height + 2);
    let mut squared: Vec<f32> = vec![0.0; stride * rows];
    for x in 0..stride {
        let mut distance = 0.0_f32;
        for y in 0..rows {
            let index = y * stride + x;
            distance = if mask.cells()[index] {
                distance + 1.0
            } else {
                0.0
            };
            squared[index] = distance;
        }
        distance = 0.0;
        for y in (0..rows).rev() {
            let index = y * stride + x;
            distance = if mask.cells()[index] {
                distance + 1.0
            } else {
                0.0
            };
            squared[index] = squared[index].min(distance);
        }
    }
    let mut envelope = Envelope::with_capacity(stride);
    for row in squared.chunks_exact_mut(stride) {
        row.iter_mut().for_each(|distance| *distance *= *distance);
        envelope.transform(row);
        row.iter_mut()
            .for_each(|distance| *distance = distance.sqrt());
    }
    // Far from the origin the parabolas are rounded: an empty cell is no deeper for that.
    for (depth, set) in squared.iter_mut().zip(mask.cells()) {
        *depth = if *set { *depth } else { 0.0 };
    }
    squared
}

/// The lower envelope of parabolas over one row.
struct Envelope {
    apexes: Vec<(f32, f32)>,
    starts: Vec<f32>,
}

impl Envelope {
    fn with_capacity(width: usize) -> Self {
        Self {
            apexes: Vec::with_capacity(width),
            starts: Vec::with_capacity(width),
        }
    }

    fn transform(&mut self, row: &mut [f32]) {
        self.apexes.clear();
        self.starts.clear();
        for (x, value) in row.iter().enumerate() {
            let x = x as f32;
            let mut start = f32::NEG_INFINITY;
            while let Some((apex, height)) = self.apexes.last() {
                start = ((value + x * x) - (height + apex * apex)) / (2.0 * (x - apex));
                if start > self.starts[self.starts.len() - 1] {
                    break;
                }
                self.apexes.pop();
                self.starts.pop();
                start = f32::NEG_INFINITY;
            }
            self.apexes.push((x, *value));
            self.starts.push(start);
        }
        let mut parabola = 0;
        for (x, value) in row.iter_mut().enumerate() {
            let x = x as f32;
            while parabola + 1 < self.starts.len() && self.starts[parabola + 1] < x {
                parabola += 1;
            }
            let (apex, height) = self.apexes[parabola];
            *value = (x - apex) * (x - apex) + height;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::disks;
    use super::*;

    #[test]
    fn distances_agree_with_the_definition() {
        let mask = disks(23, 19, &[(8.0, 9.0, 7.0), (16.0, 8.0, 4.0)]);
        let stride = mask.stride();
        let found = depths(&mask);
        for (index, depth) in found.iter().enumerate() {
            let (x, y) = ((index % stride) as f32, (index / stride) as f32);
            let empty = mask.cells().iter().enumerate().filter(|(_, set)| !**set);
            let nearest = empty
                .map(|(other, _)| ((other % stride) as f32 - x).hypot((other / stride) as f32 - y))
                .fold(f32::MAX, f32::min);
            assert!(
                (depth - nearest).abs() < 1e-3,
                "{depth} is not {nearest} at {x} {y}"
            );
        }
    }
}
