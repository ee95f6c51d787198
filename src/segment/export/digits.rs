//! Digits of 5 × 7 pixels, as bit rows: enough to number objects in a picture without a font.

/// Width of a digit in cells.
pub(super) const WIDTH: usize = 5;
/// Height of a digit in cells.
pub(super) const HEIGHT: usize = 7;

const DIGITS: [[u8; HEIGHT]; 10] = [
    [
        0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110,
    ],
    [
        0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110,
    ],
    [
        0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111,
    ],
    [
        0b11111, 0b00010, 0b00100, 0b00010, 0b00001, 0b10001, 0b01110,
    ],
    [
        0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010,
    ],
    [
        0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110,
    ],
    [
        0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110,
    ],
    [
        0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000,
    ],
    [
        0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110,
    ],
    [
        0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100,
    ],
];

/// The cells that are set of a number written in digits, one empty column between two digits.
pub(super) fn cells(number: u32) -> Vec<(usize, usize)> {
    let mut cells = Vec::new();
    for (place, digit) in number.to_string().bytes().enumerate() {
        let rows = DIGITS[usize::from(digit - b'0')];
        for (y, row) in rows.iter().enumerate() {
            let set = (0..WIDTH).filter(|x| row >> (WIDTH - 1 - x) & 1 == 1);
            cells.extend(set.map(|x| (place * (WIDTH + 1) + x, y)));
        }
    }
    cells
}

/// Width of a number in cells.
pub(super) fn width(number: u32) -> usize {
    number.to_string().len() * (WIDTH + 1) - 1
}
