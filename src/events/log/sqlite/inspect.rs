//! What operators ask about a group; nothing here changes it.

use std::collections::BTreeMap;

use super::sqlite;
use crate::db::{self, Tx, batch};
use crate::events::log::{Member, Partition};

const LAG: &str = "\
    select p.topic, p.number, max(p.next_offset - max(g.position, p.start_offset), 0)
    from log_positions g
    join log_partitions p on p.topic = g.topic and p.number = g.number
    where g.group_name = $1 and g.topic in (select value from json_each($2))";

/// Records between the group's positions and the ends of the partitions.
pub async fn lag(
    tx: &mut Tx,
    group: &str,
    topics: &[&str],
) -> Result<BTreeMap<Partition, i64>, db::Error> {
    let rows: Vec<(String, i32, i64)> = sqlx::query_as(LAG)
        .bind(group)
        .bind(batch::list(topics)?)
        .fetch_all(sqlite(tx)?)
        .await?;
    let lag = |(topic, number, lag)| (Partition { topic, number }, lag);
    Ok(rows.into_iter().map(lag).collect())
}

const MEMBERS: &str = "\
    select m.member_id, m.client_id, a.topic, a.number from log_members m
    left join log_assignments a on a.group_name = m.group_name and a.owner = m.member_id
    where m.group_name = $1 and m.expires_ms > $2
    order by m.member_id, a.topic, a.number";

/// The living members and what they read.
pub async fn members(tx: &mut Tx, group: &str, now_ms: i64) -> Result<Vec<Member>, db::Error> {
    let rows: Vec<(String, String, Option<String>, Option<i32>)> = sqlx::query_as(MEMBERS)
        .bind(group)
        .bind(now_ms)
        .fetch_all(sqlite(tx)?)
        .await?;
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    for (member_id, client_id, topic, number) in rows {
        let member = members.entry(member_id).or_insert_with(|| Member {
            client_id,
            partitions: BTreeMap::new(),
        });
        if let (Some(topic), Some(number)) = (topic, number) {
            member.partitions.entry(topic).or_default().push(number);
        }
    }
    Ok(members.into_values().collect())
}
