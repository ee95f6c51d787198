//! What belongs to the image's frame and not to its objects: walls of wells, edges of dishes, dark corners.

use super::mask::Mask;
use super::shape;

/// A component that reaches this many sides of the frame is what surrounds the well, not what lies in it.
const RIM_SIDES: usize = 3;

/// A component is also a rim where it spans this share of both the image's sides, …
const RIM_SPAN: f64 = 0.8;

/// … or lies on the frame for this share of the longer side and covers a corner, …
const RIM_LENGTH: f64 = 0.2;

/// … and without a corner where it fills less than this share of its convex hull.
const RIM_SOLIDITY: f64 = 0.6;

/// The size of the image in which masks lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
}

impl Frame {
    /// How many of the image's sides the mask's box reaches.
    pub fn sides_touched(&self, mask: &Mask) -> usize {
        let right = mask.x as usize + mask.width == self.width;
        let bottom = mask.y as usize + mask.height == self.height;
        [mask.x == 0, mask.y == 0, right, bottom]
            .into_iter()
            .filter(|side| *side)
            .count()
    }

    /// The wall of a well or the edge of a dish: lies along the frame.
    pub fn is_rim(&self, mask: &Mask) -> bool {
        let sides = self.sides_touched(mask);
        if sides >= RIM_SIDES {
            return true;
        }
        let around = |length: usize, side: usize| length as f64 > RIM_SPAN * side as f64;
        let surrounds = around(mask.width, self.width) && around(mask.height, self.height);
        let longer = self.width.max(self.height) as f64;
        let along_frame = sides > 0 && self.on_frame(mask) as f64 > RIM_LENGTH * longer;
        (along_frame && self.covers_corner(mask))
            || (surrounds || along_frame) && shape::solidity(mask) < RIM_SOLIDITY
    }

    /// 1 in the middle of the image, a half in its corners.
    pub fn centrality(&self, mask: &Mask) -> f64 {
        let off = |start: u32, length: usize, side: usize| {
            2.0 * (f64::from(start) + length as f64 / 2.0) / side as f64 - 1.0
        };
        let x = off(mask.x, mask.width, self.width);
        let y = off(mask.y, mask.height, self.height);
        1.0 - 0.25 * (x * x + y * y)
    }

    fn covers_corner(&self, mask: &Mask) -> bool {
        let inside = |at: u32, length: usize, place: usize| {
            place
                .checked_sub(at as usize)
                .filter(|offset| *offset < length)
        };
        let corner = |x: usize, y: usize| {
            let x = inside(mask.x, mask.width, x);
            let y = inside(mask.y, mask.height, y);
            x.zip(y).is_some_and(|(x, y)| mask.row(y)[x])
        };
        let (right, bottom) = (self.width - 1, self.height - 1);
        corner(0, 0) || corner(right, 0) || corner(0, bottom) || corner(right, bottom)
    }

    /// How many of the mask's pixels lie on the image's frame.
    fn on_frame(&self, mask: &Mask) -> usize {
        let (right, bottom) = (self.width - 1, self.height - 1);
        let at_frame = |at: usize, end: usize| at == 0 || at == end;
        let pixels = mask
            .pixels()
            .map(|(x, y)| (mask.x as usize + x, mask.y as usize + y));
        pixels
            .filter(|(x, y)| at_frame(*x, right) || at_frame(*y, bottom))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        width: 100,
        height: 80,
    };

    /// A mask in the frame of the pixels for which `inside` says yes.
    fn mask(inside: impl Fn(f64, f64) -> bool) -> Mask {
        let mut mask = Mask::new(0, 0, FRAME.width, FRAME.height);
        for y in 0..FRAME.height {
            for x in 0..FRAME.width {
                mask.set(x, y, inside(x as f64 + 0.5, y as f64 + 0.5));
            }
        }
        let bounds = mask.bounds().unwrap();
        let mut cut = Mask::new(
            bounds.x,
            bounds.y,
            bounds.width as usize,
            bounds.height as usize,
        );
        for (x, y) in mask.pixels() {
            cut.set(x - bounds.x as usize, y - bounds.y as usize, true);
        }
        cut
    }

    #[test]
    fn walls_and_corners_are_rims() {
        let from_middle = |x: f64, y: f64| (x - 50.0).hypot(y - 40.0);
        assert!(
            FRAME.is_rim(&mask(|x, y| from_middle(x, y) > 42.0)),
            "outside of a well"
        );
        let ring = mask(|x, y| (36.0..38.0).contains(&((x - 50.0) * 0.8).hypot(y - 40.0)));
        assert!(
            FRAME.is_rim(&ring),
            "wall of a well that ends before the frame"
        );
        assert!(FRAME.is_rim(&mask(|x, y| x + y < 30.0)), "a dark corner");
    }

    #[test]
    fn objects_at_the_frame_are_objects() {
        let disk = |cx: f64, cy: f64, r: f64| mask(move |x, y| (x - cx).hypot(y - cy) < r);
        for object in [
            disk(50.0, 40.0, 30.0),
            disk(5.0, 40.0, 20.0),
            disk(4.0, 4.0, 6.0),
        ] {
            assert!(!FRAME.is_rim(&object), "{} {}", object.x, object.y);
        }
        assert_eq!(FRAME.sides_touched(&disk(4.0, 4.0, 6.0)), 2);
    }
}
