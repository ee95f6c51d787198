//! One commit for many callers. What is wrong with one of them is that one's; what fails the transaction as a whole
//! fails all, or, where one of them may be the cause, each gets a transaction of its own.

use async_trait::async_trait;

use crate::db;
use crate::domain::Error;

/// An effect that many callers share a transaction for.
#[async_trait]
pub(super) trait Effect: Sync {
    /// What one caller wants.
    type Item: Sync;
    /// What one caller gets.
    type Answer: Send;

    /// The effect of all in one transaction: an answer each, or the failure of the transaction.
    async fn commit(&self, items: &[Self::Item])
    -> Result<Vec<Result<Self::Answer, Error>>, Error>;
}

/// Runs the effect for all items; an answer each.
pub(super) async fn together<E: Effect>(
    effect: &E,
    items: &[E::Item],
) -> Vec<Result<E::Answer, Error>> {
    let error = match effect.commit(items).await {
        Ok(answers) => return answers,
        Err(error) => error,
    };
    if items.len() == 1 {
        return vec![Err(error)];
    }
    if let Some(outage) = outage(&error) {
        return items.iter().map(|_| Err(outage.clone().into())).collect();
    }
    tracing::debug!(%error, "{} effects are committed one by one: {error}", items.len());
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let alone = effect.commit(std::slice::from_ref(item)).await;
        let answer = alone.map(|mut answers| answers.pop());
        answers.push(match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(Error::Internal("an effect without an answer".into())),
            Err(error) => Err(error),
        });
    }
    answers
}

/// The failure where it would meet everybody again.
fn outage(error: &Error) -> Option<&db::Error> {
    match error {
        Error::Db(
            error @ (db::Error::PoolExhausted
            | db::Error::Unavailable(_)
            | db::Error::Unreachable { .. }
            | db::Error::Conflict(_)),
        ) => Some(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Refuses the transaction with a 3 in it, and the caller with a 5.
    #[derive(Default)]
    struct Picky {
        commits: Mutex<Vec<usize>>,
        away: bool,
    }

    #[async_trait]
    impl Effect for Picky {
        type Item = u32;
        type Answer = u32;

        async fn commit(&self, items: &[u32]) -> Result<Vec<Result<u32, Error>>, Error> {
            self.commits.lock().push(items.len());
            if self.away {
                return Err(db::Error::PoolExhausted.into());
            }
            if items.contains(&3) {
                return Err(Error::Conflict("three".into()));
            }
            let answer = |item: &u32| match item {
                5 => Err(Error::Forbidden("five".into())),
                item => Ok(*item),
            };
            Ok(items.iter().map(answer).collect())
        }
    }

    #[tokio::test]
    async fn one_commit_does_for_all_and_a_refusal_is_ones_own() {
        let effect = Picky::default();
        let answers = together(&effect, &[1, 5, 2]).await;
        assert!(matches!(
            answers.as_slice(),
            [Ok(1), Err(Error::Forbidden(_)), Ok(2)]
        ));
        assert_eq!(*effect.commits.lock(), [3]);
    }

    #[tokio::test]
    async fn the_one_that_breaks_the_transaction_breaks_its_own_only() {
        let effect = Picky::default();
        let answers = together(&effect, &[1, 3, 2]).await;
        assert!(matches!(
            answers.as_slice(),
            [Ok(1), Err(Error::Conflict(_)), Ok(2)]
        ));
        assert_eq!(*effect.commits.lock(), [3, 1, 1, 1]);
    }

    #[tokio::test]
    async fn an_outage_is_not_tried_for_each() {
        let effect = Picky {
            away: true,
            ..Picky::default()
        };
        let answers = together(&effect, &[1, 2]).await;
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer, Err(Error::Db(_))))
        );
        assert_eq!(*effect.commits.lock(), [2]);
    }
}
