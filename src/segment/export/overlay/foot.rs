//! The strip below the image: which line is what, and how long a length is.

use super::{CORE, Color, NUMBER_MIN_PX, Picture, WHITE, WHOLE, lettering};
use crate::segment::{Part, PixelSize, Point, Segmentation};

/// Letters of legend and scale bar are this part of the picture's longer side high.
const LETTERS_PER_SIDE: f64 = 80.0;
/// The scale bar is at most this part of the picture's width.
const BAR_SHARE: f64 = 0.2;
/// Pictures narrower than this have neither legend nor scale bar.
const FOOT_MIN_PX: usize = 300;
/// Height of the strip in which they stand, in heights of its letters.
const FOOT_HEIGHT: f64 = 3.4;
const BEHIND: Color = [24, 24, 24];

impl Picture {
    /// A strip below the image with what is needed of legend and scale bar.
    pub(super) fn foot(&mut self, result: &Segmentation, pixel_size: Option<PixelSize>) {
        let has_core = result
            .objects
            .iter()
            .any(|object| object.part == Part::Core);
        let bar = self.bar(pixel_size);
        if self.canvas.width < FOOT_MIN_PX || (!has_core && bar.is_none()) {
            return;
        }
        let longer = self.canvas.width.max(self.canvas.height) as f64;
        let letter = (longer / LETTERS_PER_SIDE).max(NUMBER_MIN_PX);
        let top = self.canvas.height as f64;
        self.canvas
            .extend((FOOT_HEIGHT * letter).ceil() as usize, BEHIND);
        if has_core {
            self.legend([letter, top + FOOT_HEIGHT / 2.0 * letter], letter);
        }
        if let Some((length, label)) = bar {
            self.scale_bar(length, &label, top, letter);
        }
    }

    /// Which line is what, from this place to the right.
    fn legend(&mut self, [mut x, middle]: Point, letter: f64) {
        let sample = 3.0 * letter;
        for (part, color) in [(Part::Whole, WHOLE), (Part::Core, CORE)] {
            let line = [[x, middle], [x + sample, middle]];
            match part {
                Part::Whole => self.canvas.line(&line, self.line_width),
                Part::Core => self.dashes(&line, self.line_width),
            }
            self.canvas.paint(color, 1.0);
            x += 3.6 * letter;
            self.letters(part.name(), [x, middle - letter / 2.0], letter, false);
            self.canvas.paint(WHITE, 1.0);
            x += lettering::width(part.name()) * letter / lettering::HEIGHT + 1.6 * letter;
        }
    }

    /// Length in pixels of the picture, and label, of a bar of round length, where a pixel's size can be trusted.
    fn bar(&self, pixel_size: Option<PixelSize>) -> Option<(f64, String)> {
        let um = pixel_size.filter(PixelSize::trusted)?.square_um()?;
        let px_per_um = self.scale / um;
        let (um, label) = round_length(BAR_SHARE * self.canvas.width as f64 / px_per_um)?;
        Some((um * px_per_um, label))
    }

    /// In the right end of the strip that begins at `top`.
    fn scale_bar(&mut self, length: f64, label: &str, top: f64, letter: f64) {
        let text = lettering::width(label) * letter / lettering::HEIGHT;
        let middle = self.canvas.width as f64 - letter - length.max(text) / 2.0;
        let bar_y = top + 2.6 * letter;
        let line = [middle - length / 2.0, middle + length / 2.0].map(|x| [x, bar_y]);
        self.canvas.line(&line, 0.25 * letter);
        let at = [middle - text / 2.0, top + 0.7 * letter];
        self.letters(label, at, letter, false);
        self.canvas.paint(WHITE, 1.0);
    }
}

/// The longest of 1, 2, 5, 10 … µm that is not longer, and what is written under it; `None` below 1 µm and beyond 1 m.
fn round_length(longest_um: f64) -> Option<(f64, String)> {
    let lengths = (0..=6).flat_map(|power| [1_u64, 2, 5].map(|digit| digit * 10_u64.pow(power)));
    let um = lengths.take_while(|um| *um as f64 <= longest_um).last()?;
    let label = if um % 1_000 == 0 {
        format!("{} mm", um / 1_000)
    } else {
        format!("{um} µm")
    };
    (longest_um <= 1e6).then_some((um as f64, label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_round_lengths() {
        assert_eq!(round_length(99.0), Some((50.0, "50 µm".to_owned())));
        assert_eq!(round_length(1_000.0), Some((1_000.0, "1 mm".to_owned())));
        assert_eq!(round_length(0.5), None);
        assert_eq!(round_length(f64::INFINITY), None);
    }
}
