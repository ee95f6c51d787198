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
        if total(&first) >= total(&new) {
            both.extend(first);
            union::with_others(both, new)
        } else {
            both.extend(new);
            union::with_others(both, first)
        }
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
