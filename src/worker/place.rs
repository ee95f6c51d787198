//! The permit of a run, which changes hands while the run goes on: the next job begins as soon as the work of this one is done,
//! beside the writing of its end.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permit that a run holds: one of those that work, then one of those that end. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    held: Arc<Mutex<Held>>,
    ends: Arc<Semaphore>,
}

#[derive(Debug)]
struct Held {
    permit: Option<OwnedSemaphorePermit>,
    is_ending: bool,
    /// Nothing else may run beside it.
    is_alone: bool,
}

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit, ends: &Arc<Semaphore>, is_alone: bool) -> Self {
        let held = Held {
            permit: Some(permit),
            is_ending: false,
            is_alone,
        };
        Self {
            held: Arc::new(Mutex::new(held)),
            ends: Arc::clone(ends),
        }
    }

    /// What is left of the work may be done beside the next job's: its permit goes to that, where not too many end already.
    pub(super) fn leave_early(&self) {
        if !self.held.lock().is_alone
            && let Ok(ending) = Arc::clone(&self.ends).try_acquire_owned()
        {
            self.held.lock().end_with(ending);
        }
    }

    /// The work is done: the permit goes to the next job as soon as this one may end.
    pub(super) async fn leave(&self) {
        if self.held.lock().is_ending {
            return;
        }
        // Safe to ignore: the semaphore is never closed.
        if let Ok(ending) = Arc::clone(&self.ends).acquire_owned().await {
            self.held.lock().end_with(ending);
        }
    }

    /// The run is over; clones of this may live on with a page that others have a call for.
    pub(super) fn give_up(&self) {
        self.held.lock().permit = None;
    }
}

impl Held {
    fn end_with(&mut self, ending: OwnedSemaphorePermit) {
        if !self.is_ending {
            self.is_ending = true;
            self.permit = Some(ending);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Permits {
        work: Arc<Semaphore>,
        ends: Arc<Semaphore>,
    }

    impl Permits {
        fn of(count: usize) -> Self {
            Self {
                work: Arc::new(Semaphore::new(count)),
                ends: Arc::new(Semaphore::new(count)),
            }
        }

        fn place(&self, is_alone: bool) -> Place {
            let permit = Arc::clone(&self.work).try_acquire_owned().unwrap();
            Place::new(permit, &self.ends, is_alone)
        }

        fn free(&self) -> (usize, usize) {
            (self.work.available_permits(), self.ends.available_permits())
        }
    }

    #[tokio::test]
    async fn a_permit_is_free_for_the_next_job_while_this_one_ends() {
        let permits = Permits::of(1);
        let place = permits.place(false);
        place.leave_early();
        assert_eq!(permits.free(), (1, 0));
        place.leave().await;
        place.leave_early();
        assert_eq!(permits.free(), (1, 0));
        place.give_up();
        assert_eq!(permits.free(), (1, 1));
    }

    #[tokio::test]
    async fn no_more_jobs_end_than_may() {
        let permits = Permits::of(1);
        let first = permits.place(false);
        first.leave_early();
        let second = permits.place(false);
        second.leave_early();
        assert_eq!(permits.free(), (0, 0));
        let (waits, ()) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(60), second.leave()),
            async { first.give_up() }
        );
        waits.unwrap();
        assert_eq!(permits.free(), (1, 0));
    }

    #[tokio::test]
    async fn who_is_to_be_alone_is_so_until_the_work_is_done() {
        let permits = Permits::of(1);
        let place = permits.place(true);
        place.leave_early();
        assert_eq!(permits.free(), (0, 1));
        place.leave().await;
        assert_eq!(permits.free(), (1, 0));
    }

    #[tokio::test]
    async fn a_page_that_others_still_hold_keeps_no_permit() {
        let permits = Permits::of(1);
        let place = permits.place(false);
        let of_page = place.clone();
        place.leave().await;
        place.give_up();
        of_page.leave_early();
        assert_eq!(permits.free(), (1, 1));
    }
}
