//! The queue as one would explain it: a list of jobs, searched from end to end for every question.

use spheroctl::queue::{Depth, Lease};

use super::random::{End, Step};

/// Renewals and adoptions in the random walks are for this long, in minutes.
pub(super) const LEASE: u64 = 20;

#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Waits {
        from: u64,
    },
    Leased {
        owner: usize,
        until: u64,
        stop: bool,
    },
}

#[derive(Clone, Copy)]
struct Job {
    priority: u8,
    /// Rises with every first offer, and with every new priority.
    place: u64,
    standing: Standing,
}

impl Job {
    fn is_held_by(&self, worker: usize) -> bool {
        matches!(self.standing, Standing::Leased { owner, .. } if owner == worker)
    }
}

/// The jobs by their number; `None` for one that the queue does not know. Time in minutes.
pub(super) struct Model {
    jobs: Vec<Option<Job>>,
    /// The priorities asked for last.
    asked: Vec<u8>,
    places: u64,
    now: u64,
}

impl Model {
    pub(super) fn new(jobs: usize) -> Self {
        Self {
            jobs: vec![None; jobs],
            asked: vec![5; jobs],
            places: 0,
            now: 0,
        }
    }

    pub(super) fn look(&self) -> String {
        let now = self.now;
        let count = |holds: &dyn Fn(Standing) -> bool| {
            self.jobs
                .iter()
                .flatten()
                .filter(|job| holds(job.standing))
                .count() as u64
        };
        let depth = Depth {
            waiting: count(&|standing| matches!(standing, Standing::Waits { from } if from <= now)),
            delayed: count(&|standing| matches!(standing, Standing::Waits { from } if from > now)),
            active: count(&|standing| matches!(standing, Standing::Leased { .. })),
        };
        let known: Vec<bool> = self.jobs.iter().map(Option::is_some).collect();
        let expired: Vec<bool> = (0..self.jobs.len())
            .map(|job| self.is_expired(job))
            .collect();
        format!("{depth:?} {known:?} {expired:?}")
    }

    pub(super) fn take(&mut self, step: &Step) -> String {
        match step {
            Step::Offer(offers) => self.offer_all(offers),
            Step::Exchange(owner, ends, limit, lease) => {
                let released = each(ends, |end| self.release(*owner, end));
                format!("{released} {:?}", self.claim(*owner, *limit, *lease))
            }
            Step::Renew(owner, jobs) => each(jobs, |job| self.renew(*owner, *job)),
            Step::Adopt(owner, job) => format!("{:?}", self.adopt(*owner, *job)),
            Step::Requeue(jobs) => each(jobs, |job| self.requeue(*job)),
            Step::Cancel(job) => format!("{:?}", self.cancel(*job)),
            Step::Remove(jobs) => {
                jobs.iter().for_each(|job| self.jobs[*job] = None);
                "()".to_owned()
            }
            Step::Pass(time) => {
                self.now += time;
                String::new()
            }
        }
    }

    /// A job that is named twice counts where it is named first, with what is said of it last.
    fn offer_all(&mut self, offers: &[(usize, u8, u64)]) -> String {
        let waits = each(offers, |(job, ..)| !self.is_leased(*job));
        for (number, (job, ..)) in offers.iter().enumerate() {
            let again = |(other, ..): &&(usize, u8, u64)| other == job;
            if offers[..number].iter().any(|offer| again(&offer)) {
                continue;
            }
            if let Some((_, priority, delay)) = offers.iter().rev().find(again) {
                self.asked[*job] = (*priority).clamp(1, 10);
                self.offer(*job, *delay);
            }
        }
        waits
    }

    fn offer(&mut self, number: usize, delay: u64) {
        let priority = self.asked[number];
        let standing = Standing::Waits {
            from: self.now + delay,
        };
        self.places += 1;
        let fresh = Job {
            priority,
            place: self.places,
            standing,
        };
        match &mut self.jobs[number] {
            Some(Job {
                standing: Standing::Leased { .. },
                ..
            }) => {}
            Some(job) if job.priority == priority => job.standing = standing,
            job => *job = Some(fresh),
        }
    }

    fn claim(&mut self, owner: usize, limit: usize, lease: u64) -> Vec<usize> {
        let mut claimed = Vec::new();
        while claimed.len() < limit {
            let now = self.now;
            let due = self
                .jobs
                .iter()
                .enumerate()
                .filter_map(|(number, job)| match job {
                    Some(Job {
                        priority,
                        place,
                        standing: Standing::Waits { from },
                    }) if *from <= now => Some((std::cmp::Reverse(*priority), *place, number)),
                    _ => None,
                });
            let Some((_, _, number)) = due.min() else {
                break;
            };
            self.lease(number, owner, lease);
            claimed.push(number);
        }
        claimed
    }

    fn renew(&mut self, owner: usize, number: usize) -> Lease {
        let until = self.now + LEASE;
        match &mut self.jobs[number] {
            None => Lease::Unknown,
            Some(Job {
                standing:
                    Standing::Leased {
                        owner: holder,
                        until: end,
                        stop,
                    },
                ..
            }) if *holder == owner => {
                *end = until;
                if *stop { Lease::Cancelled } else { Lease::Held }
            }
            Some(_) => Lease::Lost,
        }
    }

    fn adopt(&mut self, owner: usize, number: usize) -> bool {
        match self.renew(owner, number) {
            Lease::Held | Lease::Cancelled => return true,
            Lease::Lost if self.is_leased(number) => return false,
            Lease::Unknown => self.offer(number, 0),
            Lease::Lost => {}
        }
        self.lease(number, owner, LEASE);
        true
    }

    fn release(&mut self, owner: usize, (number, again): &End) -> bool {
        let delay = match (&mut self.jobs[*number], again) {
            (None, Some(delay)) => {
                self.offer(*number, *delay);
                return true;
            }
            (Some(job), again) if job.is_held_by(owner) => *again,
            _ => return false,
        };
        let from = self.now + delay.unwrap_or_default();
        match &mut self.jobs[*number] {
            Some(job) if delay.is_some() => job.standing = Standing::Waits { from },
            job => *job = None,
        }
        true
    }

    fn requeue(&mut self, number: usize) -> bool {
        let expired = self.is_expired(number);
        if let (true, Some(job)) = (expired, &mut self.jobs[number]) {
            job.standing = Standing::Waits { from: self.now };
        }
        expired
    }

    fn cancel(&mut self, number: usize) -> bool {
        match &mut self.jobs[number] {
            Some(Job {
                standing: Standing::Leased { stop, .. },
                ..
            }) => {
                *stop = true;
                true
            }
            _ => false,
        }
    }

    fn lease(&mut self, number: usize, owner: usize, lease: u64) {
        let standing = Standing::Leased {
            owner,
            until: self.now + lease,
            stop: false,
        };
        self.jobs[number].as_mut().expect("a known job").standing = standing;
    }

    fn is_leased(&self, number: usize) -> bool {
        matches!(
            self.jobs[number],
            Some(Job {
                standing: Standing::Leased { .. },
                ..
            })
        )
    }

    fn is_expired(&self, number: usize) -> bool {
        matches!(self.jobs[number], Some(Job { standing: Standing::Leased { until, .. }, .. }) if until <= self.now)
    }
}

fn each<T, A: std::fmt::Debug>(items: &[T], answer: impl FnMut(&T) -> A) -> String {
    let answers: Vec<A> = items.iter().map(answer).collect();
    format!("{answers:?}")
}
