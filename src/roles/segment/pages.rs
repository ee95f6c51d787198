//! Which pages of a file are wanted: `3`, `0-3,7`, `5-`.

use std::str::FromStr;

/// A choice of pages, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages(Vec<Range>);

/// From the first page to the last, both included; open at the end where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u64,
    last: Option<u64>,
}

impl Pages {
    /// The pages of a file that has `count`, in their order, each once. A page that is asked for by its number is
    /// among them even where the file does not have it: to leave it out silently would look like an image with
    /// nothing in it.
    pub(super) fn of(choice: Option<&Self>, count: u64) -> Vec<u64> {
        let Some(Self(ranges)) = choice else {
            return (0..count).collect();
        };
        let closed = ranges.iter().flat_map(|range| {
            let last = range.last.unwrap_or_else(|| count.saturating_sub(1));
            range.first..=last
        });
        let mut pages: Vec<u64> = closed.collect();
        pages.sort_unstable();
        pages.dedup();
        pages
    }
}

/// Most pages that a closed range may span: as many as a file may have.
const SPAN_MAX: u64 = 100_000;

impl FromStr for Pages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(range)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn range(text: &str) -> Result<Range, String> {
    let wrong =
        || format!("{text:?} is no page or range of pages (as in 3, 0-3,7 or 5-, counted from 0)");
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
    let (first, last) = match text.split_once('-') {
        None => (number(text)?, Some(number(text)?)),
        Some((first, "")) => (number(first)?, None),
        Some((first, last)) => (number(first)?, Some(number(last)?)),
    };
    if last.is_some_and(|last| last < first || last - first >= SPAN_MAX) {
        return Err(wrong());
    }
    Ok(Range { first, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(text: &str, count: u64) -> Vec<u64> {
        Pages::of(Some(&text.parse().unwrap()), count)
    }

    #[test]
    fn ranges_and_single_pages_are_put_together() {
        assert_eq!(pages("7,0-2,1", 9), [0, 1, 2, 7]);
        assert_eq!(pages("2-", 4), [2, 3]);
        assert_eq!(Pages::of(None, 3), [0, 1, 2]);
    }

    #[test]
    fn a_page_asked_for_by_number_is_never_left_out() {
        assert_eq!(pages("5", 1), [5]);
        assert!(pages("5-", 1).is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "a", "3-1", "1,,2", "-2", "0-99999999999"] {
            assert!(text.parse::<Pages>().is_err(), "{text}");
        }
    }
}
