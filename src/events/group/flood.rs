//! A flood of dead letters is no matter of single records: something is wrong with the group, and going on would empty
//! the topic into the dead letters.

use std::collections::VecDeque;

/// Records that are looked back on (Sentry's arroyo guards its consumers with a ratio and a run as well).
const RECENT: usize = 1_000;
/// More dead ones than this among them, 5 %, are a flood.
const DEAD_MAX: usize = 50;
/// More dead ones than this in a row are a flood.
const IN_A_ROW_MAX: usize = 100;

/// Counts how the last records ended.
#[derive(Debug, Default)]
pub struct FloodGuard {
    recent: VecDeque<bool>,
    dead: usize,
    in_a_row: usize,
}

impl FloodGuard {
    /// Notes records that ended; true when they make a flood.
    pub fn note(&mut self, handled: usize, dead: usize) -> bool {
        if handled > 0 {
            self.in_a_row = 0;
        }
        for is_dead in std::iter::repeat_n(false, handled).chain(std::iter::repeat_n(true, dead)) {
            if self.recent.len() == RECENT && self.recent.pop_front() == Some(true) {
                self.dead -= 1;
            }
            self.recent.push_back(is_dead);
            self.dead += usize::from(is_dead);
            self.in_a_row += usize::from(is_dead);
        }
        self.dead > DEAD_MAX && self.recent.len() == RECENT || self.in_a_row > IN_A_ROW_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_hundred_in_a_row_are_a_flood_even_among_few() {
        let mut guard = FloodGuard::default();
        assert!(!guard.note(10, 100));
        assert!(guard.note(0, 1));
    }

    #[test]
    fn one_that_was_handled_ends_a_row() {
        let mut guard = FloodGuard::default();
        assert!(!guard.note(0, 60));
        assert!(!guard.note(1, 60));
    }

    #[test]
    fn more_than_five_in_a_hundred_of_the_last_thousand_are_a_flood() {
        let mut guard = FloodGuard::default();
        assert!(!guard.note(5_000, 0));
        for _ in 0..50 {
            assert!(!guard.note(19, 1));
        }
        assert!(guard.note(18, 1), "51 of the last 1,000");
        let mut rare = FloodGuard::default();
        for _ in 0..1_000 {
            assert!(!rare.note(24, 1), "4 % are no flood");
        }
    }
}
