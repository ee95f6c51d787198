//! A start of the handler, and what came of it.

use super::super::handler::HandlerError;
use super::one_by_one::OneByOne;
use super::waits::Stopped;
use crate::events::Event;
use crate::events::inbox::{ATTEMPTS_MAX, Standing, Start};

/// Class of an event all of whose starts were used, the last of them without an end.
const CRASHED: &str = "crashed";

/// Why a record dies.
#[derive(Debug)]
pub(super) struct Cause {
    pub attempts: i64,
    pub class: &'static str,
    pub message: String,
}

/// What came of one try.
#[derive(Debug)]
pub(super) enum Tried {
    /// The effect is committed.
    Done,
    /// The dead letters hold it already.
    Dead,
    /// Its last start has no end.
    Suspect,
    Died(Cause),
    Failed {
        attempt: i64,
    },
    Outage(String),
}

impl OneByOne {
    pub(super) async fn try_beside_others(&mut self, event: &Event) -> Result<Tried, Stopped> {
        let core = self.core.clone();
        let turn = core.turns.shared().await;
        let begun = match core.inbox.begin(&[event.id]).await {
            Ok((start, standings)) => standings.into_iter().next().map(|it| (start, it)),
            Err(error) => return Ok(Tried::Outage(error.to_string())),
        };
        let Some((start, standing)) = begun else {
            return Ok(Tried::Suspect);
        };
        let outcome = match &standing {
            Standing::Started { .. } => core.handle(&[event]).await,
            _ => Ok(()),
        };
        drop(turn);
        self.judge(event, &start, standing, outcome).await
    }

    /// Tries a suspect while no other handler of the process runs.
    pub(super) async fn try_alone(&mut self, event: &Event) -> Result<Tried, Stopped> {
        let core = self.core.clone();
        let turn = core.turns.alone().await;
        let (start, standing) = match core.inbox.begin_alone(event.id).await {
            Ok(begun) => begun,
            Err(error) => return Ok(Tried::Outage(error.to_string())),
        };
        let outcome = match &standing {
            Standing::Started { attempt } => {
                let id = event.id;
                tracing::info!(group = core.name(), event = %id, attempt, "event {id} is handled alone: its last start has no end");
                core.handle(&[event]).await
            }
            _ => Ok(()),
        };
        drop(turn);
        self.judge(event, &start, standing, outcome).await
    }

    async fn judge(
        &mut self,
        event: &Event,
        start: &Start,
        standing: Standing,
        outcome: Result<(), HandlerError>,
    ) -> Result<Tried, Stopped> {
        let attempt = match standing {
            Standing::Started { attempt } => attempt,
            Standing::Done => return Ok(Tried::Done),
            Standing::Dead => return Ok(Tried::Dead),
            Standing::Suspect => return Ok(Tried::Suspect),
            Standing::Exhausted { attempts, error } => {
                return Ok(Tried::Died(exhausted(attempts, error)));
            }
        };
        let Err(error) = outcome else {
            return Ok(Tried::Done);
        };
        let (core, id, why) = (self.core.clone(), event.id, error.to_string());
        if error.is_outage() {
            let ids = [id];
            self.persist(|| core.inbox.take_back(start, &ids)).await?;
            return Ok(Tried::Outage(why));
        }
        tracing::warn!(group = core.name(), event = %id, attempt, "event {id}: attempt {attempt} failed: {why}");
        core.note_error(&why);
        self.persist(|| core.inbox.fail(start, id, &why)).await?;
        if matches!(error, HandlerError::Refused(_)) || attempt >= ATTEMPTS_MAX {
            let class = error.class();
            return Ok(Tried::Died(Cause {
                attempts: attempt,
                class,
                message: why,
            }));
        }
        Ok(Tried::Failed { attempt })
    }
}

fn exhausted(attempts: i64, error: Option<String>) -> Cause {
    let crashed = || format!("its {attempts} starts ended with their process");
    Cause {
        attempts,
        class: if error.is_some() { "failed" } else { CRASHED },
        message: error.unwrap_or_else(crashed),
    }
}
