//! What one method has found, while another one looks at the same image.

use super::super::BoundingBox;
use super::{Candidate, total, union};

/// Boxes that share this much of what they cover together hold one object, …
const SAME_BOX: f64 = 0.6;

/// … where neither area is more than this many times the other.
const SAME_AREA: f64 = 2.0;

/// The objects of the first method; those that the second one sees too are noted.
pub(super) struct Seen {
    /// In the order of their top edges.
    objects: Vec<Candidate>,
    again: Vec<bool>,
}

impl Seen {
    pub fn new(mut objects: Vec<Candidate>) -> Self {
        objects.sort_by_key(|object| object.whole.y);
        let again = vec![false; objects.len()];
        Self { objects, again }
    }

    /// Notes that the second method sees something in this box; whether it is one of the objects.
    pub fn note(&mut self, bounds: BoundingBox, area: u64) -> bool {
        // The top edges of boxes that share so much are no further apart than one box is high.
        let (from, to) = (
            bounds.y.saturating_sub(bounds.height),
            bounds.y + bounds.height,
        );
        let first = self.objects.partition_point(|object| object.whole.y < from);
        let near = self.objects[first..]
            .iter()
            .take_while(|object| object.whole.y <= to);
        let same = |object: &Candidate| {
            let ratio = object.whole.area() as f64 / area.max(1) as f64;
            shared(&bounds, &object.whole.bounding_box()) >= SAME_BOX
                && (1.0 / SAME_AREA..SAME_AREA).contains(&ratio)
        };
        let found = near.into_iter().position(same);
        if let Some(offset) = found {
            self.again[first + offset] = true;
        }
        found.is_some()
    }

    /// The objects of both methods; where they contradict each other, those of the one that is more convincing in all.
    pub fn joined(self, new: Vec<Candidate>) -> Vec<Candidate> {
        let (mut both, mut first) = (Vec::new(), Vec::new());
        for (object, again) in self.objects.into_iter().zip(self.again) {
            if again {
                both.push(object);
            } else {
                first.push(object);
            }
        }
        let order = if total(&first) >= total(&new) {
            [first, new]
        } else {
            [new, first]
        };
        order.into_iter().fold(both, union::with_others)
    }
}

/// Intersection over union of two boxes.
fn shared(a: &BoundingBox, b: &BoundingBox) -> f64 {
    let overlap = |a: u32, a_length: u32, b: u32, b_length: u32| {
        f64::from((a + a_length).min(b + b_length).saturating_sub(a.max(b)))
    };
    let both = overlap(a.x, a.width, b.x, b.width) * overlap(a.y, a.height, b.y, b.height);
    let area = |of: &BoundingBox| f64::from(of.width) * f64::from(of.height);
    both / (area(a) + area(b) - both).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::super::mask::Mask;
    use super::*;

    fn square(x: u32, y: u32, side: usize, score: f64) -> Candidate {
        let mut whole = Mask::new(x, y, side, side);
        (0..side).for_each(|row| whole.row_mut(row).fill(true));
        Candidate {
            whole,
            cores: Vec::new(),
            height: 1.0,
            confidence: 0.5,
            score,
        }
    }

    fn places(found: &[Candidate]) -> Vec<(u32, u32, usize)> {
        let mut places: Vec<_> = found
            .iter()
            .map(|object| (object.whole.x, object.whole.y, object.whole.width))
            .collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn what_both_see_is_looked_at_once() {
        let mut seen = Seen::new(vec![square(10, 90, 20, 1.0), square(10, 10, 20, 1.0)]);
        let again = square(11, 12, 19, 1.0);
        assert!(seen.note(again.whole.bounding_box(), again.whole.area()));
        let (other, thin) = (square(60, 10, 20, 1.0), square(10, 90, 20, 1.0));
        assert!(!seen.note(other.whole.bounding_box(), other.whole.area()));
        assert!(
            !seen.note(thin.whole.bounding_box(), 30),
            "a ring in the same box"
        );
        let joined = seen.joined(vec![other]);
        assert_eq!(places(&joined), [(10, 10, 20), (10, 90, 20), (60, 10, 20)]);
    }

    #[test]
    fn pieces_give_way_to_the_body_and_the_body_to_its_objects() {
        let pieces = vec![square(12, 12, 5, 1.0), square(30, 12, 5, 1.0)];
        let joined = Seen::new(pieces).joined(vec![square(10, 10, 30, 0.5)]);
        assert_eq!(places(&joined), [(10, 10, 30)]);
        let objects = vec![square(10, 10, 20, 1.0), square(31, 10, 20, 1.0)];
        let joined = Seen::new(objects).joined(vec![square(8, 8, 34, 0.5)]);
        assert_eq!(places(&joined), [(10, 10, 20), (31, 10, 20)]);
    }
}
