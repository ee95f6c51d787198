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
    /// The file as it was found; what went wrong where there is none.
    pub(super) source: Result<Source, String>,
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

/// Plans the items. Files are opened only where records may make that worth while.
pub(super) fn plan(
    items: Vec<Item>,
    choices: &Choices,
    records: &Records,
    limits: &Limits,
) -> Vec<Planned> {
    let nothing_done = records.is_empty();
    let plan_one = |item: Item| {
        let source = Source::of(&item, choices).map_err(|error| error.to_string());
        let mut planned = Planned {
            item,
            source,
            pages: None,
            done: Vec::new(),
        };
        if !nothing_done {
            planned.look_for_records(choices, records, limits);
        }
        planned
    };
    items.into_iter().map(plan_one).collect()
}

impl Planned {
    fn look_for_records(&mut self, choices: &Choices, records: &Records, limits: &Limits) {
        let Ok(source) = &self.source else { return };
        let single = records.find(&self.item.stem, source);
        self.pages = match single {
            Some(record) => Some(record.pages),
            None => pages_in(&self.item, limits),
        };
        let Some(pages) = self.pages else { return };
        let wanted = Pages::of(choices.pages.as_ref(), pages);
        let is_done = |page: &u64| {
            let stem = self.item.page_stem(*page, pages);
            records
                .find(&stem, source)
                .is_some_and(|record| record.page == *page)
        };
        self.done = wanted.into_iter().filter(is_done).collect();
    }
}

/// What the header says; a file that cannot be read fails later, where that is reported.
fn pages_in(item: &Item, limits: &Limits) -> Option<u64> {
    let file = File::open(&item.path).ok()?;
    let inspection = segment::inspect(&mut BufReader::new(file), limits).ok()?;
    Some(u64::from(inspection.pages))
}
