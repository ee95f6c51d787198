//! The one pool of threads for heavy computation, shared by the whole process.
//!
//! Bounded twice: by threads, so that computation leaves processor time to the sockets, and by bytes, so that a few
//! large images cannot exhaust the memory that many small ones would share. Whoever wants data parallelism calls
//! rayon inside [`ComputePool::run`]: it then uses these same threads.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// No setting raises the number of threads above this.
pub const THREADS_MAX: usize = 10;

/// Niceness of the pool's threads (Linux, 0 is normal and 19 the most patient): under full load the threads that
/// answer sockets come first.
const NICENESS: i32 = 10;

/// A permit of the budget stands for this many bytes.
const BYTES_PER_PERMIT: u64 = 1024;

/// How large the pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComputeLimits {
    /// Number of threads, 1 to [`THREADS_MAX`]. Unset: twice the cores, at most [`THREADS_MAX`].
    pub threads: Option<usize>,
    /// Memory that admitted work may take together, in bytes.
    pub budget_bytes: u64,
}

impl Default for ComputeLimits {
    fn default() -> Self {
        Self {
            threads: None,
            budget_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// Why work on the pool has no result.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// The work panicked; the pool goes on.
    #[error("the computation panicked: {0}")]
    Panicked(String),
    /// The pool ended before the work did.
    #[error("the compute pool has ended")]
    Ended,
    /// The operating system gave no threads.
    #[error("the compute pool cannot start {threads} threads: {reason}")]
    Start {
        /// How many were wanted.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

/// What the pool is doing, for health reports and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ComputeState {
    /// Number of threads.
    pub threads: usize,
    /// Work that waits for memory or for a thread.
    pub queued: usize,
    /// Work that runs.
    pub active: usize,
    /// The budget in bytes.
    pub budget_bytes: u64,
    /// How much of it is taken, in bytes.
    pub used_bytes: u64,
}

/// The pool. One per process, made where the process is composed and passed on as a shared handle.
#[derive(Debug)]
pub struct ComputePool {
    threads: rayon::ThreadPool,
    budget: Arc<Semaphore>,
    permits: u32,
    queued: Arc<AtomicUsize>,
    active: Arc<AtomicUsize>,
    /// Counted apart from the semaphore, which hands permits to a waiter before it has all of them.
    permits_in_use: Arc<AtomicUsize>,
}

impl ComputePool {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`ComputeError::Start`] where the operating system refuses them.
    pub fn new(limits: ComputeLimits) -> Result<Self, ComputeError> {
        let threads = thread_count(limits.threads);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("compute-{index}"))
            .start_handler(|_| yield_to_other_threads())
            .build()
            .map_err(|error| ComputeError::Start {
                threads,
                reason: error.to_string(),
            })?;
        let permits = permits_for(limits.budget_bytes).max(1);
        Ok(Self {
            threads: pool,
            budget: Arc::new(Semaphore::new(permits as usize)),
            permits,
            queued: Arc::default(),
            active: Arc::default(),
            permits_in_use: Arc::default(),
        })
    }

    /// Runs `work` on the pool as soon as `bytes` of the budget and a thread are free, in the order of the calls.
    /// Work that needs more than the whole budget takes all of it and runs alone. Dropping the future drops work that
    /// has not begun; work that runs goes on, and keeps its part of the budget until it ends.
    ///
    /// # Errors
    /// [`ComputeError::Panicked`] with the panic's message where the work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ComputeError> {
        let waiting = Counted::new(&self.queued, 1);
        let permits = permits_for(bytes).min(self.permits);
        let admitted = Arc::clone(&self.budget).acquire_many_owned(permits).await;
        let memory = Memory {
            _permit: admitted.map_err(|_| ComputeError::Ended)?,
            _in_use: Counted::new(&self.permits_in_use, permits as usize),
        };
        let (sender, receiver) = oneshot::channel();
        let active = Arc::clone(&self.active);
        self.threads.spawn(move || {
            drop(waiting);
            if !sender.is_closed() {
                // A receiver that has gone away meanwhile wants no answer.
                let _ = sender.send(run_counted(&active, memory, work));
            }
        });
        receiver.await.map_err(|_| ComputeError::Ended)?
    }

    /// What the pool is doing now.
    pub fn state(&self) -> ComputeState {
        let used = self.permits_in_use.load(Ordering::Relaxed) as u64;
        ComputeState {
            threads: self.threads.current_num_threads(),
            queued: self.queued.load(Ordering::Relaxed),
            active: self.active.load(Ordering::Relaxed),
            budget_bytes: u64::from(self.permits) * BYTES_PER_PERMIT,
            used_bytes: used * BYTES_PER_PERMIT,
        }
    }
}

fn run_counted<T>(
    active: &Arc<AtomicUsize>,
    memory: Memory,
    work: impl FnOnce() -> T,
) -> Result<T, ComputeError> {
    let _running = Counted::new(active, 1);
    let _memory = memory;
    // Nothing of the work's state outlives a panic: it owns all it touches.
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| ComputeError::Panicked(message_of(panic.as_ref())))
}

/// Admitted work's part of the budget.
#[derive(Debug)]
struct Memory {
    _permit: OwnedSemaphorePermit,
    _in_use: Counted,
}

/// Raises a count for as long as it lives.
#[derive(Debug)]
struct Counted {
    count: Arc<AtomicUsize>,
    by: usize,
}

impl Counted {
    fn new(count: &Arc<AtomicUsize>, by: usize) -> Self {
        count.fetch_add(by, Ordering::Relaxed);
        Self {
            count: Arc::clone(count),
            by,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.fetch_sub(self.by, Ordering::Relaxed);
    }
}

fn thread_count(wanted: Option<usize>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or(2 * cores).clamp(1, THREADS_MAX)
}

fn permits_for(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BYTES_PER_PERMIT)).unwrap_or(u32::MAX)
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

/// On Linux a thread has a niceness of its own, set by its thread id.
#[cfg(target_os = "linux")]
fn yield_to_other_threads() {
    let thread = rustix::thread::gettid();
    // Refused in some sandboxes: the pool then merely competes at the normal priority.
    let _ = rustix::process::setpriority_process(Some(thread), NICENESS);
}

#[cfg(not(target_os = "linux"))]
fn yield_to_other_threads() {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use parking_lot::Mutex;

    use super::*;

    fn pool(threads: usize, budget_bytes: u64) -> Arc<ComputePool> {
        let limits = ComputeLimits {
            threads: Some(threads),
            budget_bytes,
        };
        Arc::new(ComputePool::new(limits).unwrap())
    }

    #[test]
    fn no_setting_makes_more_threads_than_the_bound() {
        assert_eq!(thread_count(Some(64)), THREADS_MAX);
        assert_eq!(thread_count(Some(0)), 1);
        assert!((1..=THREADS_MAX).contains(&thread_count(None)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_hundred_callers_share_three_threads() {
        let pool = pool(3, 1 << 30);
        let threads = Arc::new(Mutex::new(HashSet::new()));
        let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let calls = (0..100_u64).map(|index| {
            let (threads, running, peak) = (threads.clone(), running.clone(), peak.clone());
            let pool = &pool;
            async move {
                let work = move || {
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    peak.fetch_max(now, Ordering::SeqCst);
                    threads.lock().insert(std::thread::current().id());
                    let sum = (0..200_000 + index).fold(0_u64, |a, b| a.wrapping_mul(31) ^ b);
                    running.fetch_sub(1, Ordering::SeqCst);
                    std::hint::black_box(sum);
                    index
                };
                pool.run(1, work).await.unwrap()
            }
        });
        let answers = futures::future::join_all(calls).await;
        assert_eq!(answers, (0..100).collect::<Vec<_>>());
        assert!(threads.lock().len() <= 3);
        assert!(peak.load(Ordering::SeqCst) <= 3);
        let state = pool.state();
        assert_eq!((state.threads, state.queued, state.used_bytes), (3, 0, 0));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_pool_goes_on() {
        let pool = pool(1, 1 << 20);
        let error = pool
            .run(10, || panic!("pixel {} is odd", 7))
            .await
            .map(|()| 0)
            .unwrap_err();
        assert!(error.to_string().contains("pixel 7 is odd"), "{error}");
        assert_eq!(pool.run(10, || 5).await.unwrap(), 5);
        assert_eq!(pool.state().used_bytes, 0);
    }

    #[tokio::test]
    async fn work_larger_than_the_budget_runs_alone() {
        let pool = pool(2, 10 * 1024);
        let seen = Arc::clone(&pool);
        let used = pool
            .run(1 << 40, move || seen.state().used_bytes)
            .await
            .unwrap();
        assert_eq!(used, 10 * 1024);
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_for_what_runs() {
        let pool = pool(2, 100 * 1024);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = pool.run(80 * 1024, move || held.recv());
        let second = pool.run(80 * 1024, || ());
        futures::pin_mut!(first, second);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(pool.state().used_bytes, 80 * 1024);
        assert!(pool.state().queued >= 1);
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        second.await.unwrap();
    }

    #[tokio::test]
    async fn a_caller_who_gives_up_while_waiting_leaves_nothing_behind() {
        let pool = pool(1, 10 * 1024);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let mut first = Box::pin(pool.run(10 * 1024, move || held.recv()));
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(pool.run(10 * 1024, || ()));
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        pool.run(10 * 1024, || ()).await.unwrap();
        assert_eq!(pool.state().queued, 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_threads_yield_to_others() {
        let pool = pool(1, 1024);
        let niceness = pool
            .run(1, || {
                rustix::process::getpriority_process(Some(rustix::thread::gettid()))
            })
            .await
            .unwrap()
            .unwrap();
        assert!(niceness >= NICENESS, "{niceness}");
    }
}
