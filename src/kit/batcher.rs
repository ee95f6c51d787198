//! Gathers concurrent calls into one: while a batch is being worked on, the next one gathers. Nobody waits for company:
//! a lone call goes at once, and of many those that are ready to run.

use tokio::sync::{mpsc, oneshot};

use super::lifecycle::Lifecycle;

/// How much is gathered.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most weight of one batch; an item that weighs more goes alone.
    pub weight_max: usize,
    /// Calls that may wait for their turn; more wait to be let in.
    pub waiting_max: usize,
}

/// How often the tasks that are ready to run are let run before a batch goes.
const TURNS_MAX: u32 = 4;

/// The worker of a batch has gone: the process is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process is stopping")]
pub struct Stopped;

/// A front for calls of `Item` that are answered by `Answer`. Clones share the batches; the work ends with the last of
/// them.
#[derive(Debug)]
pub struct Batcher<Item, Answer> {
    sender: mpsc::Sender<Call<Item, Answer>>,
}

impl<Item, Answer> Clone for Batcher<Item, Answer> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

#[derive(Debug)]
struct Call<Item, Answer> {
    item: Item,
    weight: usize,
    answer: oneshot::Sender<Answer>,
}

impl<Item: Send + 'static, Answer: Send + 'static> Batcher<Item, Answer> {
    /// A front whose batches `work` answers: one answer per item, in their order. Batches are worked on one at a time.
    pub fn start<Work, Working>(name: &'static str, limits: Limits, work: Work) -> Self
    where
        Work: Fn(Vec<Item>) -> Working + Send + 'static,
        Working: Future<Output = Vec<Answer>> + Send + 'static,
    {
        let (sender, calls) = mpsc::channel(limits.waiting_max.max(1));
        // Not a task that the process waits for: it has work as long as somebody holds this front, and none after.
        Lifecycle::new().spawn(name, serve(calls, limits.weight_max, work));
        Self { sender }
    }

    /// The answer to `item`. A caller who goes away does not take the item back.
    ///
    /// # Errors
    /// [`Stopped`] when nobody works on batches any more; whether the item had its effect is then unknown.
    pub async fn call(&self, item: Item, weight: usize) -> Result<Answer, Stopped> {
        let (answer, answered) = oneshot::channel();
        let call = Call {
            item,
            weight,
            answer,
        };
        self.sender.send(call).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

async fn serve<Item, Answer, Work, Working>(
    mut calls: mpsc::Receiver<Call<Item, Answer>>,
    weight_max: usize,
    work: Work,
) where
    Work: Fn(Vec<Item>) -> Working,
    Working: Future<Output = Vec<Answer>>,
{
    let (mut next, mut last) = (None, 0);
    loop {
        let first = match next.take() {
            Some(call) => Some(call),
            None => calls.recv().await,
        };
        let Some(first) = first else { return };
        let mut batch = Batch::new(first);
        next = batch.fill(&mut calls, weight_max);
        // Those whom the last batch has answered may be about to call again: they run first, while that brings more.
        let (mut turns, mut before) = (if last > 1 { TURNS_MAX } else { 0 }, 0);
        while turns > 0 && next.is_none() && batch.items.len() > before {
            (turns, before) = (turns - 1, batch.items.len());
            tokio::task::yield_now().await;
            next = batch.fill(&mut calls, weight_max);
        }
        last = batch.items.len();
        for (answer, to) in work(batch.items).await.into_iter().zip(batch.answers) {
            // Safe to ignore: the caller has gone.
            let _ = to.send(answer);
        }
    }
}

/// What is gathered.
struct Batch<Item, Answer> {
    weight: usize,
    items: Vec<Item>,
    answers: Vec<oneshot::Sender<Answer>>,
}

impl<Item, Answer> Batch<Item, Answer> {
    fn new(first: Call<Item, Answer>) -> Self {
        Self {
            weight: first.weight,
            items: vec![first.item],
            answers: vec![first.answer],
        }
    }

    /// Adds the calls that are there; answers the one that has no room.
    fn fill(
        &mut self,
        calls: &mut mpsc::Receiver<Call<Item, Answer>>,
        weight_max: usize,
    ) -> Option<Call<Item, Answer>> {
        while let Ok(call) = calls.try_recv() {
            if self.weight + call.weight > weight_max {
                return Some(call);
            }
            self.weight += call.weight;
            self.items.push(call.item);
            self.answers.push(call.answer);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    const LIMITS: Limits = Limits {
        weight_max: 4,
        waiting_max: 64,
    };

    /// Answers each item with the size of its batch; every batch takes a permit.
    fn sizes(permits: &Arc<Semaphore>) -> Batcher<u32, (u32, usize)> {
        let permits = Arc::clone(permits);
        Batcher::start("test.batches", LIMITS, move |items: Vec<u32>| {
            let permits = Arc::clone(&permits);
            async move {
                permits.acquire().await.unwrap().forget();
                let size = items.len();
                items.into_iter().map(|item| (item, size)).collect()
            }
        })
    }

    #[tokio::test]
    async fn calls_gather_while_a_batch_is_worked_on() {
        let permits = Arc::new(Semaphore::new(0));
        let batcher = sizes(&permits);
        let calls = join_all((0..9).map(|item| batcher.call(item, 1)));
        let open = async {
            tokio::task::yield_now().await;
            permits.add_permits(9);
        };
        let (answers, ()) = tokio::join!(calls, open);
        let answers: Vec<(u32, usize)> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(
            answers.iter().map(|(item, _)| *item).collect::<Vec<_>>(),
            (0..9).collect::<Vec<_>>()
        );
        assert!(answers.iter().all(|(_, size)| *size <= 4));
        assert!(answers.iter().any(|(_, size)| *size == 4), "{answers:?}");
    }

    #[tokio::test]
    async fn a_heavy_item_goes_alone() {
        let batcher = sizes(&Arc::new(Semaphore::new(9)));
        let calls = [batcher.call(1, 1), batcher.call(2, 100), batcher.call(3, 1)];
        let answers = join_all(calls).await;
        assert_eq!(answers[1], Ok((2, 1)));
    }

    #[tokio::test]
    async fn a_caller_is_told_when_the_work_has_gone() {
        let batcher = Batcher::<u32, u32>::start("test.none", LIMITS, |_| async { Vec::new() });
        assert_eq!(batcher.call(1, 1).await, Err(Stopped));
    }
}
