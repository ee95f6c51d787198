//! Channels with a memory on Redis: a hash that numbers, a stream that keeps, and the channel itself.

use fred::types::Value;

use super::{Redis, array, bytes, milliseconds};
use crate::state::Error;
use crate::state::feed::{Entry, NUMBERING_LIFETIME, Position, Post, Posted, Recalled, new_epoch};

use super::Script;

static POST: Script = Script::new(include_str!("feed_post.lua"));
static RECALL: Script = Script::new(include_str!("feed_recall.lua"));

/// Publications of one call, which holds the server for about 10 µs each.
const POSTS_PER_CALL_MAX: usize = 64;

/// Offsets above this are no stream's: its ids have 64 bits, and the script adds nothing to them.
const OFFSET_MAX: u64 = u64::MAX >> 1;

impl Redis {
    pub(super) async fn feed_post(&self, posts: &[Post<'_>]) -> Result<Vec<Posted>, Error> {
        let mut posted = Vec::with_capacity(posts.len());
        for posts in posts.chunks(POSTS_PER_CALL_MAX) {
            let channels = by_channel(posts);
            // Two channels have no slot of a cluster in common.
            let at_once = if self.is_clustered() {
                1
            } else {
                channels.len()
            };
            let mut found = Vec::with_capacity(posts.len());
            for channels in channels.chunks(at_once) {
                found.extend(self.feed_post_once(posts, channels).await?);
            }
            found.sort_unstable_by_key(|(number, _)| *number);
            posted.extend(found.into_iter().map(|(_, posted)| posted));
        }
        Ok(posted)
    }

    /// Publishes on these channels, which name the numbers of their posts; answers with these numbers.
    async fn feed_post_once(
        &self,
        posts: &[Post<'_>],
        channels: &[Vec<usize>],
    ) -> Result<Vec<(usize, Posted)>, Error> {
        let mut keys = Vec::with_capacity(2 * channels.len());
        let mut args: Vec<Value> =
            vec![new_epoch().into(), milliseconds(NUMBERING_LIFETIME).into()];
        for numbers in channels {
            let Post { channel, keep, .. } = posts[numbers[0]];
            keys.extend(self.feed_keys(channel));
            args.push(self.key(channel).into());
            args.push(count(keep.messages_max.max(1)));
            args.push(milliseconds(keep.lifetime).into());
            args.push(count(numbers.len()));
            for post in numbers.iter().map(|number| &posts[*number]) {
                args.push(post.payload.clone().into());
                args.push(post.event.unwrap_or_default().into());
            }
        }
        let mut answer = array(self.run(&POST, &keys, args).await?)?.into_iter();
        let mut posted = |number| {
            let position = position(&mut answer)?;
            let is_new = answer.next().is_some_and(|told| told == Value::Integer(1));
            Ok((number, Posted { position, is_new }))
        };
        let numbers = channels.iter().flatten();
        numbers.map(|number| posted(*number)).collect()
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

/// The numbers of the posts by channel, each channel's in their order. One that is kept in two ways counts as two.
fn by_channel(posts: &[Post<'_>]) -> Vec<Vec<usize>> {
    let mut channels: Vec<Vec<usize>> = Vec::new();
    for (number, post) in posts.iter().enumerate() {
        let mut latest = channels.iter_mut().rev();
        let same = latest.find(|numbers| posts[numbers[0]].channel == post.channel);
        match same.filter(|numbers| posts[numbers[0]].keep == post.keep) {
            Some(numbers) => numbers.push(number),
            None => channels.push(vec![number]),
        }
    }
    channels
}

fn count(number: usize) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
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
