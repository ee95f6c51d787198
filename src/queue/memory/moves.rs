//! How a job moves: into the ordered set, the backlog, the delayed or the leased, and out of them.

use crate::kit::id::JobId;
use crate::queue::BATCH_MAX;

use super::jobs::{Job, Jobs, Millis, Standing};
use super::owner::{Level, Owner};

impl Jobs {
    /// The job waits: delayed, in the ordered set where its owner has room there, or in the backlog.
    pub(super) fn wait(&mut self, id: JobId, mut job: Job, delay: Millis, now: Millis) {
        if delay > 0 {
            self.give_rank(&mut job);
            let due = now.saturating_add(delay);
            job.standing = Standing::Delayed(due);
            self.delayed.insert((due, id));
            self.level(&job).delayed += 1;
            self.known.insert(id, job);
        } else if self.has_room(&job) {
            self.place(id, job);
        } else {
            self.put_back(id, job);
        }
    }

    /// Into the ordered set.
    pub(super) fn place(&mut self, id: JobId, mut job: Job) {
        self.give_rank(&mut job);
        job.standing = Standing::Placed;
        self.level(&job).placed += 1;
        let lane = usize::from(job.lane.number());
        self.lanes[lane].waiting.insert(job.place(id));
        self.known.insert(id, job);
    }

    /// A job without a rank comes behind those that its owner has; one from the backlog when it leaves that.
    pub(super) fn give_rank(&mut self, job: &mut Job) {
        if job.rank == 0 {
            let priority = usize::from(job.priority);
            let clock = self.lanes[usize::from(job.lane.number())].clock[priority];
            let last = &mut self.level(job).last;
            *last = clock.max(*last) + 1;
            job.rank = *last;
        }
    }

    /// The clock goes on with what is served in order.
    pub(super) fn serve(&mut self, job: &Job) {
        let lane = &mut self.lanes[usize::from(job.lane.number())];
        let clock = &mut lane.clock[usize::from(job.priority)];
        *clock = job.rank.max(*clock);
    }

    /// Into the owner's backlog.
    pub(super) fn put_back(&mut self, id: JobId, mut job: Job) {
        job.standing = Standing::Backlog;
        self.owner(&job).backlog.insert(job.backlogged(id));
        self.known.insert(id, job);
    }

    pub(super) fn lease(&mut self, id: JobId, mut job: Job, fence: i64, until: Millis) {
        job.standing = Standing::Leased {
            fence,
            until,
            cancelled: false,
        };
        self.owner(&job).running += 1;
        self.leases.insert((until, id));
        self.known.insert(id, job);
    }

    /// Takes a job out of wherever it stands.
    pub(super) fn leave(&mut self, id: JobId) -> Option<Job> {
        let job = self.known.remove(&id)?;
        match job.standing {
            Standing::Placed => {
                let lane = usize::from(job.lane.number());
                self.lanes[lane].waiting.remove(&job.place(id));
                self.level(&job).placed -= 1;
            }
            Standing::Backlog => drop(self.owner(&job).backlog.remove(&job.backlogged(id))),
            Standing::Delayed(due) => {
                self.delayed.remove(&(due, id));
                self.level(&job).delayed -= 1;
            }
            Standing::Leased { until, .. } => {
                self.leases.remove(&(until, id));
                self.owner(&job).running -= 1;
            }
        }
        Some(job)
    }

    /// A place of the job's owner is free at the end of this call.
    pub(super) fn free(&mut self, job: &Job) {
        *self.freed.entry(job.key()).or_default() += 1;
    }

    /// The end of a call that may have freed places: backlogs move up, and one more is looked at, so that a cap that was
    /// raised is used.
    pub(super) fn settle(&mut self, now: Millis) {
        self.refill(now);
        self.forget();
    }

    pub(super) fn refill(&mut self, now: Millis) {
        for (owner, count) in std::mem::take(&mut self.freed) {
            let Some(load) = self.owners.get_mut(&owner) else {
                continue;
            };
            let most = (count + 1).min(BATCH_MAX);
            let first: Vec<JobId> = (0..most)
                .map_while(|_| load.backlog.pop_first())
                .map(|(.., id)| id)
                .collect();
            for id in first {
                if let Some(job) = self.known.get(&id).copied() {
                    self.wait(id, job, 0, now);
                }
            }
        }
    }

    /// The end of a call: what is nothing is not kept.
    pub(super) fn forget(&mut self) {
        for (owner, priority) in std::mem::take(&mut self.touched) {
            let Some(load) = self.owners.get_mut(&owner) else {
                continue;
            };
            let level = &mut load.levels[usize::from(priority)];
            if level.placed + level.delayed == 0 {
                level.last = 0;
            }
            if load.is_idle() {
                self.owners.remove(&owner);
            }
        }
    }

    pub(super) fn owner(&mut self, job: &Job) -> &mut Owner {
        self.touched.push((job.key(), job.priority));
        self.owners.entry(job.key()).or_default()
    }

    fn level(&mut self, job: &Job) -> &mut Level {
        &mut self.owner(job).levels[usize::from(job.priority)]
    }

    /// Whether the job's owner runs as many jobs as they may.
    pub(super) fn is_at_most(&mut self, job: &Job) -> bool {
        let most = self.running_max();
        most > 0 && self.owner(job).running >= most
    }

    fn has_room(&mut self, job: &Job) -> bool {
        let most = self.running_max();
        self.owner(job).has_room(job.priority, most)
    }

    fn running_max(&self) -> u64 {
        u64::from(self.fairness.owner_running_max)
    }
}
