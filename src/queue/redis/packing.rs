//! How arguments and answers of the functions are packed: many small values in one allocation each way.

use std::time::Duration;

use bytes::Bytes;
use fred::types::Value;

use crate::kit::id::{JobId, UserId};
use crate::queue::{Error, Lane, Offer, PRIORITY_MAX, PRIORITY_MIN};
use crate::state::redis::{bytes, milliseconds};

/// Length of an id in texts of ids.
const ID_BYTES: usize = 16;

/// The arguments of one call, one buffer behind them all.
#[derive(Default)]
pub(super) struct Arguments {
    buffer: Vec<u8>,
    ends: Vec<usize>,
}

impl Arguments {
    pub(super) fn push(&mut self, argument: &[u8]) {
        self.buffer.extend_from_slice(argument);
        self.ends.push(self.buffer.len());
    }

    pub(super) fn push_number(&mut self, number: i64) {
        let _ = std::io::Write::write_fmt(&mut self.buffer, format_args!("{number}"));
        self.ends.push(self.buffer.len());
    }

    pub(super) fn push_count(&mut self, count: usize) {
        self.push_number(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn push_job(&mut self, job: &JobId) {
        self.push(job.as_uuid().as_bytes());
    }

    pub(super) fn push_owner(&mut self, owner: &UserId) {
        self.push(owner.as_uuid().as_bytes());
    }

    pub(super) fn push_lanes(&mut self, lanes: &[Lane]) {
        self.buffer.extend(lanes.iter().map(|lane| lane.number()));
        self.ends.push(self.buffer.len());
    }

    pub(super) fn push_fence(&mut self, fence: i64) {
        self.push(&fence.to_be_bytes());
    }

    /// As it stands in a record: lane, owner, priority, start of the wait in ms.
    pub(super) fn push_offer(&mut self, offer: &Offer) {
        let priority = offer.priority.clamp(PRIORITY_MIN, PRIORITY_MAX);
        let since = offer.since.timestamp_millis().max(0);
        self.buffer.push(offer.lane.number());
        self.buffer.extend(offer.owner.as_uuid().as_bytes());
        self.buffer.push(priority);
        self.push(&since.to_be_bytes());
    }

    pub(super) fn push_delay(&mut self, delay: Duration) {
        self.push_number(match delay.is_zero() {
            true => 0,
            false => milliseconds(delay),
        });
    }

    pub(super) fn into_values(self) -> Vec<Value> {
        let buffer = Bytes::from(self.buffer);
        let mut start = 0;
        let values = self.ends.into_iter().map(|end| {
            let value = Value::Bytes(buffer.slice(start..end));
            start = end;
            value
        });
        values.collect()
    }
}

/// The ids of an answer that holds them in one text.
pub(super) fn ids(answer: Value) -> Result<Vec<JobId>, Error> {
    let text = bytes(answer)?.unwrap_or_default();
    let ids = text.chunks(ID_BYTES).map(id);
    ids.collect()
}

/// The id that these bytes are.
pub(super) fn id(of: &[u8]) -> Result<JobId, Error> {
    let uuid = uuid::Uuid::from_slice(of);
    uuid.map(JobId::from_uuid)
        .map_err(|error| Error::Unexpected(format!("a job's id in the queue: {error}")))
}

/// The fence that an answer holds.
pub(super) fn fence(answer: Value) -> Result<i64, Error> {
    let number = bytes(answer)?.unwrap_or_default();
    let number = <[u8; 8]>::try_from(&*number);
    number
        .map(i64::from_be_bytes)
        .map_err(|_| Error::Unexpected("a fence that is no number".into()))
}

/// An answer that has a letter for each of `count` questions.
pub(super) fn letters(answer: Value, count: usize) -> Result<Bytes, Error> {
    let letters = bytes(answer)?.unwrap_or_default();
    if letters.len() == count {
        return Ok(letters);
    }
    let answers = letters.len();
    Err(Error::Unexpected(format!(
        "{answers} answers to {count} questions"
    )))
}

/// Which of the letters say yes.
pub(super) fn truths(letters: &[u8]) -> impl Iterator<Item = bool> {
    letters.iter().map(|letter| *letter == b'1')
}
