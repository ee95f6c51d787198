//! What is still to be done: each image held against the records of earlier runs.

use std::fs::File;
use std::io::BufReader;

use crate::segment::{self, Limits};

use super::choices::Choices;
use super::items::Item;
use super::pages::Pages;
use super::records::{Records, Source};

/// An image with what is known of it before it is opened.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) item: Item,
    /// How many pages it has, where an earlier run's records made it worth a look.
    pub(super) pages: Option<u64>,
    /// The pages that are done.
    pub(super) done: Vec<u64>,
}

impl Planned {
    /// Whether every page that is wanted is done.
    pub(super) fn is_done(&self, choices: &Choices) -> bool {
        self.pages.is_some_and(|pages| {
            let wanted = Pages::of(choices.pages.as_ref(), pages);
            !wanted.is_empty() && wanted.len() == self.done.len()
        })
    }
}

/// Plans the items. Files are opened only where records may make that worth while. With `fresh`, what earlier runs left
/// of these items goes.
///
/// # Errors
/// When old results cannot be removed.
pub(super) fn plan(
    items: Vec<Item>,
    choices: &Choices,
    records: &Records,
    limits: &Limits,
    fresh: bool,
) -> std::io::Result<Vec<Planned>> {
    let nothing_done = records.is_empty();
    let plan_one = |item: Item| {
        let known = if nothing_done {
            None
        } else {
            pages_in(&item, limits)
        };
        let wanted = known.map_or(Vec::new(), |pages| Pages::of(choices.pages.as_ref(), pages));
        let mut planned = Planned {
            item,
            pages: known,
            done: Vec::new(),
        };
        let Some(pages) = known else {
            return Ok(planned);
        };
        if fresh {
            let mut stems = wanted
                .iter()
                .map(|page| planned.item.page_stem(*page, pages));
            stems.try_for_each(|stem| records.forget(&stem))?;
        } else if let Ok(source) = Source::of(&planned.item, choices) {
            let is_done = |page: &u64| {
                let stem = planned.item.page_stem(*page, pages);
                let record = records.find(&stem, &source);
                record.is_some_and(|record| record.page == *page)
            };
            planned.done = wanted.into_iter().filter(is_done).collect();
        }
        Ok(planned)
    };
    items.into_iter().map(plan_one).collect()
}

/// What the header says; a file that cannot be read fails later, where that is reported.
fn pages_in(item: &Item, limits: &Limits) -> Option<u64> {
    let file = File::open(&item.path).ok()?;
    let inspection = segment::inspect(&mut BufReader::new(file), limits).ok()?;
    Some(u64::from(inspection.pages))
}
