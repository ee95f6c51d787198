//! The state of the queue in this process: one twin for each function of `queue::redis`, in the same order and
//! with the same words.

use std::collections::{BTreeSet, HashMap};

use crate::kit::id::{JobId, UserId};
use crate::queue::{
    BATCH_MAX, Depth, Exchanged, Fairness, Lane, Lease, Leased, Load, Offer, PRIORITY_MAX,
    PRIORITY_MIN, Release, Want,
};

use super::owner::{Owner, PerPriority};

/// An instant or a time in milliseconds.
pub(super) type Millis = i64;

/// A place in the ordered set: `PRIORITY_MAX - priority`, rank, job. The lowest is claimed first.
pub(super) type Place = (u8, u64, JobId);

/// Whose jobs, and in which lane.
pub(super) type OwnerKey = (Lane, UserId);

#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) owner: UserId,
    pub(super) lane: Lane,
    pub(super) priority: u8,
    /// 0 while it never stood anywhere but in the backlog.
    pub(super) rank: u64,
    pub(super) since: Millis,
    pub(super) standing: Standing,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Standing {
    Placed,
    Backlog,
    Delayed(Millis),
    Leased {
        fence: i64,
        until: Millis,
        cancelled: bool,
    },
}

impl Job {
    fn new(offer: &Offer) -> Self {
        Self {
            owner: offer.owner,
            lane: offer.lane,
            priority: offer.priority.clamp(PRIORITY_MIN, PRIORITY_MAX),
            rank: 0,
            since: offer.since.timestamp_millis(),
            standing: Standing::Backlog,
        }
    }

    pub(super) const fn key(&self) -> OwnerKey {
        (self.lane, self.owner)
    }

    pub(super) const fn place(&self, id: JobId) -> Place {
        (PRIORITY_MAX - self.priority, self.rank, id)
    }

    /// Its place in its owner's backlog.
    pub(super) const fn backlogged(&self, id: JobId) -> (u8, Millis, JobId) {
        (PRIORITY_MAX - self.priority, self.since, id)
    }
}

/// A lane: its ordered set, and the rank served last per priority.
#[derive(Debug, Clone, Default)]
pub(super) struct Ordered {
    pub(super) waiting: BTreeSet<Place>,
    pub(super) clock: PerPriority<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Jobs {
    pub(super) fairness: Fairness,
    /// Every job that waits, is delayed or is leased.
    pub(super) known: HashMap<JobId, Job>,
    pub(super) lanes: [Ordered; Lane::ALL.len()],
    pub(super) owners: HashMap<OwnerKey, Owner>,
    pub(super) delayed: BTreeSet<(Millis, JobId)>,
    pub(super) leases: BTreeSet<(Millis, JobId)>,
    /// Jobs that were claimed so far.
    pub(super) starts: u64,
    pub(super) fence: i64,
    /// How many places of whom one call has freed.
    pub(super) freed: HashMap<OwnerKey, usize>,
    /// Owners and priorities of the jobs that one call has moved.
    pub(super) touched: Vec<(OwnerKey, u8)>,
}

impl Jobs {
    pub(super) fn new(fairness: Fairness) -> Self {
        Self {
            fairness,
            known: HashMap::new(),
            lanes: Default::default(),
            owners: HashMap::new(),
            delayed: BTreeSet::new(),
            leases: BTreeSet::new(),
            starts: 0,
            fence: 0,
            freed: HashMap::new(),
            touched: Vec::new(),
        }
    }

    pub(super) fn offer(&mut self, offers: &[Offer], now: Millis) -> Vec<bool> {
        let is_leased = |offer: &Offer| self.is_leased(&offer.job);
        let waits: Vec<bool> = offers.iter().map(|offer| !is_leased(offer)).collect();
        let accepted = offers.iter().zip(&waits);
        let accepted = accepted.filter_map(|(offer, waits)| waits.then_some(offer));
        for (offer, old) in self.take_out(accepted) {
            self.offer_one(&offer, old, now);
        }
        self.settle(now);
        waits
    }

    pub(super) fn exchange(
        &mut self,
        ended: &[(Leased, Release)],
        want: Want<'_>,
        now: Millis,
        micros: i64,
    ) -> Exchanged {
        let released = ended.iter();
        let released = released.map(|(leased, end)| self.end(*leased, end, now));
        let released = released.collect();
        self.refill(now);
        let fence = micros.max(self.fence + 1);
        let until = now.saturating_add(millis(want.lease));
        let limit = want.limit.min(BATCH_MAX);
        let claimed = match limit {
            0 => Vec::new(),
            limit => self.claim(want.lanes, limit, (fence, until), now),
        };
        self.forget();
        let claimed = claimed.into_iter().map(|job| Leased { job, fence });
        Exchanged {
            released,
            claimed: claimed.collect(),
        }
    }

    pub(super) fn renew(&mut self, held: Leased, until: Millis) -> Lease {
        match self.known.get_mut(&held.job) {
            None => Lease::Unknown,
            Some(Job {
                standing:
                    Standing::Leased {
                        fence,
                        until: end,
                        cancelled,
                    },
                ..
            }) if *fence == held.fence => {
                self.leases.remove(&(*end, held.job));
                self.leases.insert((until, held.job));
                *end = until;
                match cancelled {
                    true => Lease::Cancelled,
                    false => Lease::Held,
                }
            }
            Some(_) => Lease::Lost,
        }
    }

    pub(super) fn adopt(&mut self, offer: &Offer, fence: i64, until: Millis) -> bool {
        let id = offer.job;
        if let Some(Job {
            standing: Standing::Leased { fence: other, .. },
            ..
        }) = self.known.get(&id)
        {
            return *other == fence && self.renew(Leased { job: id, fence }, until) != Lease::Lost;
        }
        let mut job = self.leave(id).unwrap_or_else(|| Job::new(offer));
        self.give_rank(&mut job);
        self.serve(&job);
        self.lease(id, job, fence, until);
        self.forget();
        true
    }

    pub(super) fn expired(&self, limit: usize, now: Millis) -> Vec<JobId> {
        let out = self.leases.iter().take_while(|(until, _)| *until <= now);
        let out = out.take(limit.min(BATCH_MAX));
        out.map(|(_, job)| *job).collect()
    }

    pub(super) fn requeue(&mut self, id: JobId, now: Millis) -> bool {
        match self.known.get(&id) {
            Some(Job {
                standing: Standing::Leased { until, .. },
                ..
            }) if *until <= now => {}
            _ => return false,
        }
        if let Some(job) = self.leave(id) {
            self.place(id, job);
        }
        self.forget();
        true
    }

    pub(super) fn cancel(&mut self, job: JobId) -> bool {
        match self.known.get_mut(&job) {
            Some(Job {
                standing: Standing::Leased { cancelled, .. },
                ..
            }) => {
                *cancelled = true;
                true
            }
            _ => false,
        }
    }

    pub(super) fn remove(&mut self, jobs: &[JobId], now: Millis) {
        for id in jobs {
            if let Some(job) = self.leave(*id) {
                self.free(&job);
            }
        }
        self.settle(now);
    }

    pub(super) fn knows(&self, job: &JobId) -> bool {
        self.known.contains_key(job)
    }

    pub(super) fn depth(&self, now: Millis) -> Depth {
        let delayed = self.delayed.iter().rev();
        let delayed = delayed.take_while(|(due, _)| *due > now).count() as u64;
        let active = self.leases.len() as u64;
        Depth {
            waiting: self.known.len() as u64 - active - delayed,
            delayed,
            active,
        }
    }

    pub(super) fn position(&self, id: JobId) -> Option<u64> {
        let job = self.known.get(&id)?;
        let waiting = &self.lanes[usize::from(job.lane.number())].waiting;
        let before = match job.standing {
            Standing::Placed => waiting.range(..job.place(id)).count(),
            Standing::Backlog => {
                let backlog = &self.owners.get(&job.key())?.backlog;
                waiting.len() + backlog.range(..job.backlogged(id)).count()
            }
            Standing::Delayed(_) | Standing::Leased { .. } => return None,
        };
        Some(before as u64 + 1)
    }

    pub(super) fn load(&self, owner: UserId) -> Load {
        let lanes = Lane::ALL.iter();
        let lanes = lanes.filter_map(|lane| self.owners.get(&(*lane, owner)));
        lanes.fold(Load::default(), |load, owner| Load {
            waiting: load.waiting + owner.waiting(),
            running: load.running + owner.running,
        })
    }

    /// Milliseconds until a job of these lanes may be claimed, zero for now, `None` where nothing waits.
    pub(super) fn due(&self, lanes: &[Lane], now: Millis) -> Option<Millis> {
        let waits = |lane: &Lane| !self.lanes[usize::from(lane.number())].waiting.is_empty();
        if lanes.iter().any(waits) {
            return Some(0);
        }
        let (due, _) = self.delayed.first()?;
        Some((due - now).max(0))
    }

    // === Parts ===

    /// The offers in their order, one per job (the last, at the place of the first), each with what the queue knew of
    /// the job, which stands nowhere any more.
    fn take_out<'o>(
        &mut self,
        offers: impl Iterator<Item = &'o Offer>,
    ) -> Vec<(Offer, Option<Job>)> {
        let mut order: Vec<Offer> = Vec::new();
        let mut at: HashMap<JobId, usize> = HashMap::new();
        for offer in offers {
            match at.get(&offer.job) {
                Some(first) => {
                    let since = order[*first].since;
                    order[*first] = Offer { since, ..*offer };
                }
                None => {
                    at.insert(offer.job, order.len());
                    order.push(*offer);
                }
            }
        }
        let with_old = order.into_iter().map(|offer| {
            let old = self.leave(offer.job);
            if let Some(old) = &old {
                self.free(old);
            }
            (offer, old)
        });
        with_old.collect()
    }

    fn offer_one(&mut self, offer: &Offer, old: Option<Job>, now: Millis) {
        let mut job = Job::new(offer);
        if let Some(old) = old {
            job.since = old.since;
            if (old.priority, old.key()) == (job.priority, job.key()) {
                job.rank = old.rank;
            }
        }
        self.wait(offer.job, job, millis(offer.delay), now);
    }

    fn is_leased(&self, job: &JobId) -> bool {
        let standing = self.known.get(job).map(|job| job.standing);
        matches!(standing, Some(Standing::Leased { .. }))
    }

    fn end(&mut self, leased: Leased, end: &Release, now: Millis) -> bool {
        match (self.known.get(&leased.job), end) {
            (
                Some(Job {
                    standing: Standing::Leased { fence, .. },
                    ..
                }),
                _,
            ) if *fence == leased.fence => {}
            (None, Release::Again(offer)) => {
                self.offer_one(offer, None, now);
                return true;
            }
            _ => return false,
        }
        let Some(job) = self.leave(leased.job) else {
            return false;
        };
        match end {
            Release::Done => self.free(&job),
            Release::Again(offer) if offer.delay.is_zero() => self.place(leased.job, job),
            Release::Again(offer) => {
                self.wait(leased.job, job, millis(offer.delay), now);
                self.free(&job);
            }
        }
        true
    }
}

/// A time in whole milliseconds, rounded up, so that none but zero becomes zero.
pub(super) fn millis(time: std::time::Duration) -> Millis {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX / 4)
}
