//! Channels with a memory on Redis: a hash that numbers, a stream that keeps, and the channel itself.

use bytes::Bytes;
use fred::types::Value;

use super::{Redis, array, bytes, milliseconds};
use crate::state::Error;
use crate::state::feed::{Entry, Keep, NUMBERING_LIFETIME, Position, Posted, Recalled, new_epoch};

use super::Script;

static POST: Script = Script::new(include_str!("feed_post.lua"));
static RECALL: Script = Script::new(include_str!("feed_recall.lua"));

/// Offsets above this are no stream's: its ids have 64 bits, and the script adds nothing to them.
const OFFSET_MAX: u64 = u64::MAX >> 1;

impl Redis {
    pub(super) async fn feed_post(
        &self,
        channel: &str,
        payload: Bytes,
        event: Option<&str>,
        keep: Keep,
    ) -> Result<Posted, Error> {
        let args = vec![
            self.key(channel).into(),
            payload.into(),
            event.unwrap_or_default().into(),
            i64::try_from(keep.messages_max.max(1))
                .unwrap_or(i64::MAX)
                .into(),
            milliseconds(keep.lifetime).into(),
            new_epoch().into(),
            milliseconds(NUMBERING_LIFETIME).into(),
        ];
        let answer = self.run(&POST, &self.feed_keys(channel), args).await?;
        let mut answer = array(answer)?.into_iter();
        let position = position(&mut answer)?;
        let is_new = answer.next().is_some_and(|told| told == Value::Integer(1));
        Ok(Posted { position, is_new })
    }

    pub(super) async fn feed_recall(&self, channel: &str, after: u64) -> Result<Recalled, Error> {
        let args = vec![
            after.min(OFFSET_MAX).to_string().into(),
            new_epoch().into(),
            milliseconds(NUMBERING_LIFETIME).into(),
        ];
        let answer = self.run(&RECALL, &self.feed_keys(channel), args).await?;
        let mut answer = array(answer)?.into_iter();
        let position = position(&mut answer)?;
        let mut entries = Vec::new();
        while let (Some(offset), Some(payload)) = (answer.next(), answer.next()) {
            entries.push(Entry {
                offset: number(offset)?,
                payload: bytes(payload)?.unwrap_or_default(),
            });
        }
        Ok(Recalled { position, entries })
    }

    /// The two keys of a channel's memory, in one slot of a cluster.
    fn feed_keys(&self, channel: &str) -> [String; 2] {
        self.tagged_keys("feed", channel, [":numbering", ":kept"])
    }
}

fn position(answer: &mut impl Iterator<Item = Value>) -> Result<Position, Error> {
    let (Some(offset), Some(epoch)) = (answer.next(), answer.next()) else {
        return Err(Error::Unexpected("no position of a channel".to_owned()));
    };
    Ok(Position {
        offset: number(offset)?,
        epoch: text(epoch)?,
    })
}

fn number(value: Value) -> Result<u64, Error> {
    let text = text(value)?;
    text.parse()
        .map_err(|_| Error::Unexpected(format!("{text:?} where an offset was expected")))
}

fn text(value: Value) -> Result<String, Error> {
    let bytes = bytes(value)?.unwrap_or_default();
    String::from_utf8(bytes.into())
        .map_err(|error| Error::Unexpected(format!("a text that is none: {error}")))
}
