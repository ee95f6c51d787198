//! What operators ask; blocking.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::config::Names;
use super::context::LogContext;
use super::failure::unavailable;
use super::{ANSWER_MAX, Shared, assignment};
use crate::events::log::{Error, Headers, Member, Partition, Record};
use crate::settings::GroupProtocol;

/// The group under whose name single partitions are read; it has no members and commits nothing.
const BROWSER: &str = "browse";

/// Room for a header's name and value; those of our events take about so many bytes.
const HEADER_BYTES: usize = 48;

/// Longest wait for one record while browsing, and how many such waits in a row without any.
const BROWSE_LOOK: Duration = Duration::from_millis(100);
const BROWSE_LOOKS_MAX: u32 = 50;

/// The first offset kept and the next to be written.
pub fn bounds(shared: &Shared, partition: &Partition) -> Result<(i64, i64), Error> {
    let full = shared.names.topic(&partition.topic);
    let bounds = shared
        .asker
        .fetch_watermarks(&full, partition.number, ANSWER_MAX);
    bounds.map_err(unavailable)
}

/// Records between positions and ends.
pub fn lag(
    shared: &Shared,
    group: &str,
    partitions: &[Partition],
) -> Result<BTreeMap<Partition, i64>, Error> {
    let list = list(&shared.names, partitions, Offset::Invalid)?;
    let client = shared.of_group(group)?;
    // What it has to say meanwhile; it reads nothing.
    drop(client.poll(Duration::ZERO));
    let committed = client
        .committed_offsets(list, ANSWER_MAX)
        .map_err(unavailable)?;
    let mut positions = BTreeMap::new();
    for element in committed.elements() {
        if let Offset::Offset(position) = element.offset() {
            positions.insert(
                shared.names.partition(element.topic(), element.partition()),
                position,
            );
        }
    }
    let with_position: Vec<_> = positions.keys().cloned().collect();
    let firsts = offsets(shared, &with_position, Offset::Beginning)?;
    let ends = offsets(shared, &with_position, Offset::End)?;
    let lag = |(partition, position): (Partition, i64)| {
        let first = firsts.get(&partition).copied().unwrap_or(0);
        let end = ends.get(&partition)?;
        let lag = end.saturating_sub(position.max(first)).max(0);
        Some((partition, lag))
    };
    Ok(positions.into_iter().filter_map(lag).collect())
}

/// The first or the next offset of every partition, in one question per broker: ListOffsets takes −1 and −2, librdkafka's
/// own marks for end and beginning, as times.
fn offsets(
    shared: &Shared,
    partitions: &[Partition],
    mark: Offset,
) -> Result<BTreeMap<Partition, i64>, Error> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let list = list(&shared.names, partitions, mark)?;
    let found = shared
        .asker
        .offsets_for_times(list, ANSWER_MAX)
        .map_err(unavailable)?;
    let mut offsets = BTreeMap::new();
    for element in found.elements() {
        element.error().map_err(unavailable)?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(
                shared.names.partition(element.topic(), element.partition()),
                offset,
            );
        }
    }
    Ok(offsets)
}

fn list(
    names: &Names,
    partitions: &[Partition],
    offset: Offset,
) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        let full = names.topic(&partition.topic);
        list.add_partition_offset(&full, partition.number, offset)
            .map_err(unavailable)?;
    }
    Ok(list)
}

/// The living members and what they read. The client library can ask for members of the classic protocol only; of a group
/// of the newer one the brokers then say that there is no such group.
pub fn members(shared: &Shared, group: &str) -> Result<Vec<Member>, Error> {
    if shared.names.group_protocol() == GroupProtocol::Consumer {
        let why = "the members of a group with kafka.group_protocol consumer cannot be asked for";
        return Err(Error::Other(why.to_owned()));
    }
    let full = shared.names.group(group);
    let groups = shared
        .asker
        .client()
        .fetch_group_list(Some(&full), ANSWER_MAX);
    let groups = groups.map_err(unavailable)?;
    let Some(group) = groups.groups().iter().find(|it| it.name() == full) else {
        return Ok(Vec::new());
    };
    let members = group.members().iter().map(|member| {
        let assigned = assignment::decode(member.assignment().unwrap_or_default());
        let assigned = assigned.ok_or_else(|| {
            Error::Other(format!(
                "the assignment of {} cannot be read",
                member.client_id()
            ))
        })?;
        let ours = assigned
            .into_iter()
            .filter_map(|(full, numbers)| Some((shared.names.short(&full)?.to_owned(), numbers)));
        Ok(Member {
            client_id: member.client_id().to_owned(),
            partitions: ours.collect(),
        })
    });
    members.collect()
}

/// At most `limit` records of one partition from `offset` on; ends at the end that the partition had at the start.
pub fn browse(
    shared: &Shared,
    partition: &Partition,
    (first, end): (i64, i64),
    offset: i64,
    limit: usize,
) -> Result<Vec<Record>, Error> {
    let offset = offset.max(first);
    let mut records = Vec::new();
    if offset >= end || limit == 0 {
        return Ok(records);
    }
    let mut config = shared.names.of_group(&shared.names.group(BROWSER));
    config.set("enable.partition.eof", "true");
    let reader: BaseConsumer<LogContext> = config
        .create_with_context(LogContext)
        .map_err(unavailable)?;
    let one = std::slice::from_ref(partition);
    let start = list(&shared.names, one, Offset::Offset(offset))?;
    reader.assign(&start).map_err(unavailable)?;
    let (mut looks, partition) = (0, Arc::new(partition.clone()));
    while records.len() < limit && looks < BROWSE_LOOKS_MAX {
        match reader.poll(BROWSE_LOOK) {
            Some(Ok(message)) if message.offset() < end => {
                looks = 0;
                records.push(record(partition.clone(), &message));
                if message.offset() + 1 == end {
                    return Ok(records);
                }
            }
            Some(Ok(_) | Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return Ok(records),
            Some(Err(error)) => return Err(unavailable(error)),
            None => looks += 1,
        }
    }
    match records.is_empty() {
        true => Err(unavailable("no record came in time")),
        false => Ok(records),
    }
}

/// A message as a record.
pub fn record(partition: Arc<Partition>, message: &BorrowedMessage<'_>) -> Record {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(ToOwned::to_owned);
    Record {
        partition,
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key: message.key().and_then(text),
        headers: message.headers().map(headers).unwrap_or_default(),
        value: message
            .payload()
            .map(Bytes::copy_from_slice)
            .unwrap_or_default(),
    }
}

fn headers(found: &BorrowedHeaders) -> Headers {
    // One call of librdkafka for each: its own iterator counts them again for each.
    let count = found.count();
    let mut headers = Headers::with_capacity(count, count * HEADER_BYTES);
    let readable = (0..count).filter_map(|at| {
        let it = found.try_get(at)?;
        Some((it.key, header(it.key, it.value?)?))
    });
    headers.extend(readable);
    headers
}

/// The value of a header as text. Spring's dead letters carry numbers in binary, big-endian (its `KafkaHeaders`).
fn header<'v>(name: &str, value: &'v [u8]) -> Option<Cow<'v, str>> {
    if name.starts_with("kafka_dlt-original-") {
        if let ("kafka_dlt-original-partition", Ok(bytes)) = (name, value.try_into()) {
            return Some(i32::from_be_bytes(bytes).to_string().into());
        }
        let is_long = name.ends_with("-offset") || name.ends_with("-timestamp");
        if let (true, Ok(bytes)) = (is_long, value.try_into()) {
            return Some(i64::from_be_bytes(bytes).to_string().into());
        }
    }
    std::str::from_utf8(value).ok().map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn springs_numbers_are_read_and_text_stays_text() {
        let read = |name: &str, value: &[u8]| {
            header(&format!("kafka_dlt-{name}"), value).map(Cow::into_owned)
        };
        let number = |text: &str| Some(text.to_owned());
        assert_eq!(read("original-partition", &[0, 0, 0, 200]), number("200"));
        assert_eq!(
            read("original-offset", &300_i64.to_be_bytes()),
            number("300")
        );
        assert_eq!(read("original-topic", b"eighteen"), number("eighteen"));
        assert_eq!(read("exception-message", b"no luck"), number("no luck"));
        assert_eq!(header("other", &[0xff]), None);
    }
}
