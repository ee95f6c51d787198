//! The order in which a person lists files: 2 before 10, capitals beside small letters.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

/// Compares folder by folder, then the names; equal only where the paths are.
pub(super) fn order(a: &Path, b: &Path) -> Ordering {
    let texts = |path: &Path| -> Vec<String> {
        let parts = path.iter();
        parts
            .map(|part| part.to_string_lossy().into_owned())
            .collect()
    };
    let (first, second) = (texts(a), texts(b));
    let mut pairs = first.iter().zip(&second);
    pairs
        .find_map(|(a, b)| Some(order_of_names(a, b)).filter(|order| order.is_ne()))
        .unwrap_or_else(|| first.len().cmp(&second.len()))
        .then_with(|| a.cmp(b))
}

fn order_of_names(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.chars().peekable(), b.chars().peekable());
    loop {
        let order = match (a.peek().copied(), b.peek().copied()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y) = (number(&mut a), number(&mut b));
                x.len().cmp(&y.len()).then(x.cmp(&y))
            }
            (Some(x), Some(y)) => {
                a.next();
                b.next();
                x.to_lowercase().cmp(y.to_lowercase())
            }
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The digits that come next, without leading zeros: the longer text is then the larger number, however long.
fn number(text: &mut Peekable<Chars<'_>>) -> String {
    let mut digits = String::new();
    while let Some(digit) = text.next_if(char::is_ascii_digit) {
        if digit != '0' || !digits.is_empty() {
            digits.push(digit);
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = [
            "p10/a.tif",
            "p2/b10.tif",
            "p2/B9.tif",
            "p2/b007.tif",
            "p2/b7.tif",
            "p2/b123456789012345678901.tif",
        ];
        names.sort_by(|a, b| order(Path::new(a), Path::new(b)));
        assert_eq!(
            names,
            [
                "p2/b007.tif",
                "p2/b7.tif",
                "p2/B9.tif",
                "p2/b10.tif",
                "p2/b123456789012345678901.tif",
                "p10/a.tif",
            ]
        );
    }
}
