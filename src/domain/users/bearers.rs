//! Who bears an API token. Requests that come at the same time share one statement; nothing is kept, so that a token that was
//! revoked is refused at once.

use chrono::TimeDelta;

use crate::db::{self, Db, run_tx};
use crate::domain::Error;
use crate::domain::access::Principal;
use crate::kit::batcher::{Batcher, Limits, Stopped};
use crate::kit::clock::SharedClock;
use crate::kit::secret::digest;

use super::store::{self, Bearer};
use super::tokens::PREFIX;

/// Tokens of one statement.
const LIMITS: Limits = Limits {
    weight_max: 256,
    waiting_max: 4_096,
};
/// `last_used_at` is written at most this often, so that reading with a token stays a read.
const TOUCH_INTERVAL: TimeDelta = TimeDelta::minutes(10);

/// SHA-256 of a token's secret.
type Digest = [u8; 32];

/// Knows who bears a token. Clones share the statements.
#[derive(Debug, Clone)]
pub struct Bearers {
    db: Db,
    clock: SharedClock,
    asking: Batcher<Digest, Result<Option<Bearer>, db::Error>>,
}

impl Bearers {
    /// Asks this database.
    pub fn new(db: Db, clock: SharedClock) -> Self {
        let (source, time) = (db.clone(), clock.clone());
        let asking = Batcher::start("users.bearers", LIMITS, move |digests: Vec<Digest>| {
            let (db, clock) = (source.clone(), time.clone());
            async move {
                match read(&db, &clock, &digests).await {
                    Ok(bearers) => bearers.into_iter().map(Ok).collect(),
                    Err(error) => digests.iter().map(|_| Err(error.clone())).collect(),
                }
            }
        });
        Self { db, clock, asking }
    }

    /// Who bears this secret; `None` for one that is unknown, expired, or whose account is disabled.
    ///
    /// # Errors
    /// Only the database's own.
    pub async fn principal(&self, secret: &str) -> Result<Option<Principal>, Error> {
        if !secret.starts_with(PREFIX) {
            return Ok(None);
        }
        let digest = digest(secret);
        let answer = self.asking.call(digest, 1).await;
        let bearer = answer.map_err(|Stopped| Error::Internal(Stopped.to_string()))??;
        let Some(bearer) = bearer.filter(|bearer| bearer.user.disabled_at.is_none()) else {
            return Ok(None);
        };
        let now = self.clock.now();
        if bearer
            .last_used_at
            .is_none_or(|at| at < now - TOUCH_INTERVAL)
        {
            run_tx!(self.db, "token.touch", |tx| -> Result<(), Error> {
                Ok(store::touch_token(tx, &digest, now, now - TOUCH_INTERVAL).await?)
            })?;
        }
        Ok(Some(Principal {
            user: bearer.user.id,
            role: bearer.user.role,
        }))
    }
}

/// The bearers in the order of the digests.
async fn read(
    db: &Db,
    clock: &SharedClock,
    digests: &[Digest],
) -> Result<Vec<Option<Bearer>>, db::Error> {
    let mut tx = db.reader().await?;
    let found = store::bearers(&mut tx, digests, clock.now()).await?;
    Ok(digests
        .iter()
        .map(|digest| found.get(digest).cloned())
        .collect())
}
