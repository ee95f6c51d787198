//! Numbers and a few words as lines, so that they are smooth at every size without a font.

use crate::segment::Point;

/// Height of a digit in units; the lines' thickness is meant to be about one.
pub(super) const HEIGHT: f64 = 6.0;

/// Between two letters, in units.
const GAP: f64 = 1.6;
const SPACE: f64 = 2.4;

/// How often corners are cut (Chaikin, Comput. Graph. Image Process. 3 (1974), 346–349) to make a curve.
const ROUNDS: usize = 3;

/// A line of a letter: through its points, or rounded between its ends.
enum Line {
    Straight(&'static [Point]),
    Curved(&'static [Point]),
}

use Line::{Curved, Straight};

struct Letter {
    width: f64,
    lines: &'static [Line],
}

/// The lines of a text, the upper left corner of its first letter in (0, 0), in units. Letters that are not drawn leave
/// a space.
pub(super) fn lines(text: &str) -> Vec<Vec<Point>> {
    let mut lines = Vec::new();
    let mut x = 0.0;
    for letter in text.chars().map(letter) {
        for line in letter.lines {
            let points = match line {
                Straight(points) => points.to_vec(),
                Curved(points) => rounded(points),
            };
            lines.push(
                points
                    .iter()
                    .map(|point| [x + point[0], point[1]])
                    .collect(),
            );
        }
        x += letter.width + GAP;
    }
    lines
}

/// Width of a text in units.
pub(super) fn width(text: &str) -> f64 {
    let widths = text.chars().map(|c| letter(c).width + GAP);
    (widths.sum::<f64>() - GAP).max(0.0)
}

/// Corners are cut at a quarter of each side; the ends stay.
fn rounded(points: &[Point]) -> Vec<Point> {
    let between = |a: Point, b: Point, share: f64| {
        [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share]
    };
    let mut line = points.to_vec();
    for _ in 0..ROUNDS {
        let (first, last) = (line[0], line[line.len() - 1]);
        let cut = line.windows(2).flat_map(|side| {
            [
                between(side[0], side[1], 0.25),
                between(side[0], side[1], 0.75),
            ]
        });
        let mut finer: Vec<Point> = std::iter::once(first).chain(cut).collect();
        finer.push(last);
        line = finer;
    }
    line
}

fn letter(c: char) -> Letter {
    let found = LETTERS.iter().find(|(name, ..)| *name == c);
    let (width, lines) = found.map_or((SPACE, &[][..]), |(_, width, lines)| (*width, *lines));
    Letter { width, lines }
}

/// Name, width and lines.
const LETTERS: &[(char, f64, &[Line])] = &[
    (
        '0',
        4.0,
        &[Curved(&[
            [2.0, 0.0],
            [4.0, 0.0],
            [4.0, 6.0],
            [0.0, 6.0],
            [0.0, 0.0],
            [2.0, 0.0],
        ])],
    ),
    ('1', 2.4, &[Straight(&[[0.2, 1.5], [1.9, 0.0], [1.9, 6.0]])]),
    (
        '2',
        4.0,
        &[
            Curved(&[[0.1, 1.5], [0.2, 0.0], [3.9, 0.0], [3.9, 2.6], [0.1, 6.0]]),
            Straight(&[[0.1, 6.0], [4.0, 6.0]]),
        ],
    ),
    (
        '3',
        4.0,
        &[
            Curved(&[[0.2, 1.1], [0.5, 0.0], [3.8, 0.0], [3.8, 2.8], [1.6, 2.8]]),
            Curved(&[[1.6, 2.8], [4.0, 2.8], [4.0, 6.0], [0.3, 6.0], [0.0, 4.8]]),
        ],
    ),
    (
        '4',
        4.2,
        &[Straight(&[[3.1, 6.0], [3.1, 0.0], [0.0, 4.3], [4.2, 4.3]])],
    ),
    (
        '5',
        4.0,
        &[
            Straight(&[[3.7, 0.0], [0.6, 0.0], [0.3, 2.8]]),
            Curved(&[
                [0.3, 2.8],
                [1.0, 2.1],
                [4.0, 2.1],
                [4.0, 6.0],
                [0.5, 6.0],
                [0.0, 5.0],
            ]),
        ],
    ),
    (
        '6',
        4.0,
        &[Curved(&[
            [3.6, 0.7],
            [3.0, 0.0],
            [0.0, 0.0],
            [0.0, 6.0],
            [4.0, 6.0],
            [4.0, 2.5],
            [0.7, 2.5],
            [0.1, 4.0],
        ])],
    ),
    ('7', 4.0, &[Straight(&[[0.0, 0.0], [4.0, 0.0], [1.5, 6.0]])]),
    (
        '8',
        4.0,
        &[
            Curved(&[
                [2.0, 0.0],
                [3.7, 0.0],
                [3.7, 2.8],
                [0.3, 2.8],
                [0.3, 0.0],
                [2.0, 0.0],
            ]),
            Curved(&[
                [2.0, 2.8],
                [4.0, 2.8],
                [4.0, 6.0],
                [0.0, 6.0],
                [0.0, 2.8],
                [2.0, 2.8],
            ]),
        ],
    ),
    (
        '9',
        4.0,
        &[Curved(&[
            [0.4, 5.3],
            [1.0, 6.0],
            [4.0, 6.0],
            [4.0, 0.0],
            [0.0, 0.0],
            [0.0, 3.5],
            [3.3, 3.5],
            [3.9, 2.0],
        ])],
    ),
    (
        'c',
        3.6,
        &[Curved(&[
            [3.6, 3.0],
            [3.2, 2.0],
            [0.0, 2.0],
            [0.0, 6.0],
            [3.2, 6.0],
            [3.6, 5.0],
        ])],
    ),
    (
        'e',
        3.8,
        &[
            Straight(&[[0.1, 4.0], [3.8, 4.0]]),
            Curved(&[
                [3.8, 4.0],
                [3.8, 2.0],
                [0.0, 2.0],
                [0.0, 6.0],
                [3.2, 6.0],
                [3.6, 5.1],
            ]),
        ],
    ),
    (
        'h',
        3.8,
        &[
            Straight(&[[0.0, 0.0], [0.0, 6.0]]),
            Curved(&[[0.0, 3.6], [0.4, 2.0], [3.8, 2.0], [3.8, 4.0], [3.8, 6.0]]),
        ],
    ),
    ('l', 0.4, &[Straight(&[[0.2, 0.0], [0.2, 6.0]])]),
    (
        'm',
        6.0,
        &[
            Straight(&[[0.0, 2.0], [0.0, 6.0]]),
            Curved(&[[0.0, 3.6], [0.3, 2.0], [3.0, 2.0], [3.0, 4.0], [3.0, 6.0]]),
            Curved(&[[3.0, 3.6], [3.3, 2.0], [6.0, 2.0], [6.0, 4.0], [6.0, 6.0]]),
        ],
    ),
    (
        'n',
        3.6,
        &[
            Straight(&[[0.0, 2.0], [0.0, 6.0]]),
            Curved(&[[0.0, 3.6], [0.4, 2.0], [3.6, 2.0], [3.6, 4.0], [3.6, 6.0]]),
        ],
    ),
    (
        'o',
        3.8,
        &[Curved(&[
            [1.9, 2.0],
            [3.8, 2.0],
            [3.8, 6.0],
            [0.0, 6.0],
            [0.0, 2.0],
            [1.9, 2.0],
        ])],
    ),
    (
        'r',
        2.4,
        &[
            Straight(&[[0.0, 2.0], [0.0, 6.0]]),
            Curved(&[[0.0, 3.8], [0.3, 2.1], [2.4, 2.1]]),
        ],
    ),
    (
        'w',
        5.4,
        &[Straight(&[
            [0.0, 2.0],
            [1.3, 6.0],
            [2.7, 2.4],
            [4.1, 6.0],
            [5.4, 2.0],
        ])],
    ),
    (
        'µ',
        3.6,
        &[
            Straight(&[[0.0, 2.0], [0.0, 7.6]]),
            Curved(&[[0.0, 4.0], [0.0, 6.0], [3.6, 6.0], [3.6, 4.0]]),
            Straight(&[[3.6, 2.0], [3.6, 6.0]]),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_that_is_used_is_drawn_inside_its_width() {
        for c in "0123456789wholecrµmn".chars() {
            let text = c.to_string();
            let drawn = lines(&text);
            assert!(!drawn.is_empty(), "{c}");
            for [x, y] in drawn.into_iter().flatten() {
                assert!((0.0..=width(&text) + 1e-9).contains(&x), "{c}: {x}");
                assert!((0.0..=HEIGHT + 2.0).contains(&y), "{c}: {y}");
            }
        }
    }

    #[test]
    fn letters_stand_side_by_side() {
        assert!((width("12") - (2.4 + GAP + 4.0)).abs() < 1e-9);
        assert_eq!(lines("12").len(), lines("1").len() + lines("2").len());
        assert_eq!(width(""), 0.0);
    }
}
