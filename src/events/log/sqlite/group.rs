//! The group protocol, as statements. A partition moves in three steps, each a transaction of its own: a newcomer makes
//! the owner's next [`sync`] mark what it must give ([`Mine::leaving`]); the owner commits, then [`release`]s; the
//! newcomer's next `sync` takes it. An owner that dies, or does not let go in time, loses it to whoever looks next. The
//! epoch of the partition rises each time, and a commit that names an older one is refused.

use std::collections::BTreeMap;

use super::balance::{Reader, spread};
use super::sqlite;
use crate::db::{self, Tx, batch};
use crate::events::log::Partition;

/// An owner that was told to let a partition go has this many session time-outs for it: 12 s by default, enough for a
/// reader to finish what it began.
const RELEASE_SESSIONS: i64 = 2;

/// A member's place in its group.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Group.
    pub group: String,
    /// The member's id, unique for ever.
    pub member: String,
    /// The name that operators see.
    pub client: String,
    /// The topics that it reads.
    pub topics: Vec<String>,
}

/// A partition that a member owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mine {
    /// Which.
    pub partition: Partition,
    /// The term of ownership; commits name it.
    pub epoch: i64,
    /// Whether it must be released.
    pub leaving: bool,
    /// The next offset to read.
    pub position: i64,
}

/// How a member stands after a look at its group.
#[derive(Debug)]
pub struct Standing {
    /// The state of the group that this follows from.
    pub generation: i64,
    /// What it owns.
    pub mine: Vec<Mine>,
}

const GENERATION: &str = "\
    select
        coalesce((select generation from log_groups where group_name = $1), 0),
        not exists (select 1 from log_members where group_name = $1 and member_id = $3)
        or exists (select 1 from log_members where group_name = $1 and expires_ms <= $2)
        or exists (select 1 from log_assignments where group_name = $1 and release_by_ms <= $2)";

/// The group's generation, and whether somebody is overdue or this member was put out: both ask for a [`sync`].
pub async fn look(tx: &mut Tx, seat: &Seat, now_ms: i64) -> Result<(i64, bool), db::Error> {
    Ok(sqlx::query_as(GENERATION)
        .bind(&seat.group)
        .bind(now_ms)
        .bind(&seat.member)
        .fetch_one(sqlite(tx)?)
        .await?)
}

/// Puts out the dead, joins (or renews the lease), marks what this member must give, takes what is free and its share.
pub async fn sync(
    tx: &mut Tx,
    seat: &Seat,
    now_ms: i64,
    session_ms: i64,
) -> Result<Standing, db::Error> {
    let expired = put_out_the_dead(tx, seat, now_ms).await?;
    let joined = sit_down(tx, seat, now_ms + session_ms).await?;
    let readers = readers(tx, &seat.group).await?;
    let owners = owners(tx, seat).await?;
    let target = spread(&readers, &owners.settled());
    for (partition, owner) in &owners.of {
        let is_mine = target.get(partition) == Some(&seat.member);
        match owner {
            None if is_mine => take(tx, seat, partition).await?,
            Some(owner) if *owner == seat.member && !is_mine => {
                mark(tx, seat, partition, now_ms + RELEASE_SESSIONS * session_ms).await?;
            }
            _ => {}
        }
    }
    Ok(Standing {
        generation: generation(tx, &seat.group, expired || joined).await?,
        mine: mine(tx, seat).await?,
    })
}

const DELETE_DEAD: &str = "delete from log_members where group_name = $1 and expires_ms <= $2";
const FREE_OVERDUE: &str = "\
    update log_assignments set owner = null, epoch = epoch + 1, release_by_ms = null
    where group_name = $1 and owner is not null
        and (release_by_ms <= $2
             or owner not in (select member_id from log_members where group_name = $1))";

async fn put_out_the_dead(tx: &mut Tx, seat: &Seat, now_ms: i64) -> Result<bool, db::Error> {
    sqlx::query(DELETE_DEAD)
        .bind(&seat.group)
        .bind(now_ms)
        .execute(sqlite(tx)?)
        .await?;
    let freed = sqlx::query(FREE_OVERDUE)
        .bind(&seat.group)
        .bind(now_ms)
        .execute(sqlite(tx)?)
        .await?;
    Ok(freed.rows_affected() > 0)
}

const IS_SEATED: &str =
    "select exists (select 1 from log_members where group_name = $1 and member_id = $2)";
const SIT_DOWN: &str = "\
    insert into log_members (group_name, member_id, client_id, topics, expires_ms)
    values ($1, $2, $3, $4, $5)
    on conflict (group_name, member_id) do update set expires_ms = excluded.expires_ms";

/// Joins or renews; true when it joined.
async fn sit_down(tx: &mut Tx, seat: &Seat, expires_ms: i64) -> Result<bool, db::Error> {
    let was_seated: bool = sqlx::query_scalar(IS_SEATED)
        .bind(&seat.group)
        .bind(&seat.member)
        .fetch_one(sqlite(tx)?)
        .await?;
    sqlx::query(SIT_DOWN)
        .bind(&seat.group)
        .bind(&seat.member)
        .bind(&seat.client)
        .bind(batch::list(&seat.topics)?)
        .bind(expires_ms)
        .execute(sqlite(tx)?)
        .await?;
    Ok(!was_seated)
}

const READERS: &str = "\
    select m.member_id, t.value from log_members m, json_each(m.topics) t
    where m.group_name = $1 order by m.member_id";

async fn readers(tx: &mut Tx, group: &str) -> Result<Vec<Reader>, db::Error> {
    let rows: Vec<(String, String)> = sqlx::query_as(READERS)
        .bind(group)
        .fetch_all(sqlite(tx)?)
        .await?;
    let mut readers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (id, topic) in rows {
        readers.entry(id).or_default().push(topic);
    }
    let reader = |(id, topics)| Reader { id, topics };
    Ok(readers.into_iter().map(reader).collect())
}

/// The owners of the group's partitions.
struct Owners {
    of: BTreeMap<Partition, Option<String>>,
    leaving: Vec<Partition>,
}

impl Owners {
    /// The owners as the spread shall see them: whoever was told to let go owns no more.
    fn settled(&self) -> BTreeMap<Partition, Option<String>> {
        let mut settled = self.of.clone();
        for partition in &self.leaving {
            settled.insert(partition.clone(), None);
        }
        settled
    }
}

const OWNERS: &str = "\
    select p.topic, p.number, a.owner, a.release_by_ms is not null
    from log_partitions p
    left join log_assignments a on a.group_name = $1 and a.topic = p.topic and a.number = p.number
    where p.topic in (select t.value from log_members m, json_each(m.topics) t where m.group_name = $1)";

async fn owners(tx: &mut Tx, seat: &Seat) -> Result<Owners, db::Error> {
    let rows: Vec<(String, i32, Option<String>, bool)> = sqlx::query_as(OWNERS)
        .bind(&seat.group)
        .fetch_all(sqlite(tx)?)
        .await?;
    let mut owners = Owners {
        of: BTreeMap::new(),
        leaving: Vec::new(),
    };
    for (topic, number, owner, leaving) in rows {
        let partition = Partition { topic, number };
        if leaving {
            owners.leaving.push(partition.clone());
        }
        owners.of.insert(partition, owner);
    }
    Ok(owners)
}

const TAKE: &str = "\
    insert into log_assignments (group_name, topic, number, owner, epoch) values ($1, $2, $3, $4, 1)
    on conflict (group_name, topic, number) do update
    set owner = excluded.owner, epoch = log_assignments.epoch + 1, release_by_ms = null
    where log_assignments.owner is null";

async fn take(tx: &mut Tx, seat: &Seat, partition: &Partition) -> Result<(), db::Error> {
    sqlx::query(TAKE)
        .bind(&seat.group)
        .bind(&partition.topic)
        .bind(partition.number)
        .bind(&seat.member)
        .execute(sqlite(tx)?)
        .await?;
    Ok(())
}

const MARK: &str = "\
    update log_assignments set release_by_ms = coalesce(release_by_ms, $5)
    where group_name = $1 and topic = $2 and number = $3 and owner = $4";

async fn mark(
    tx: &mut Tx,
    seat: &Seat,
    partition: &Partition,
    release_by_ms: i64,
) -> Result<(), db::Error> {
    sqlx::query(MARK)
        .bind(&seat.group)
        .bind(&partition.topic)
        .bind(partition.number)
        .bind(&seat.member)
        .bind(release_by_ms)
        .execute(sqlite(tx)?)
        .await?;
    Ok(())
}

const RAISE_GENERATION: &str = "\
    insert into log_groups (group_name, generation) values ($1, $2)
    on conflict (group_name) do update set generation = log_groups.generation + $2
    returning generation";

/// The group's generation, raised when the others must look.
async fn generation(tx: &mut Tx, group: &str, raise: bool) -> Result<i64, db::Error> {
    Ok(sqlx::query_scalar(RAISE_GENERATION)
        .bind(group)
        .bind(i64::from(raise))
        .fetch_one(sqlite(tx)?)
        .await?)
}

const MINE: &str = "\
    select a.topic, a.number, a.epoch, a.release_by_ms is not null,
        max(coalesce(g.position, 0), p.start_offset)
    from log_assignments a
    join log_partitions p on p.topic = a.topic and p.number = a.number
    left join log_positions g on g.group_name = a.group_name and g.topic = a.topic and g.number = a.number
    where a.group_name = $1 and a.owner = $2
    order by a.topic, a.number";

async fn mine(tx: &mut Tx, seat: &Seat) -> Result<Vec<Mine>, db::Error> {
    let rows: Vec<(String, i32, i64, bool, i64)> = sqlx::query_as(MINE)
        .bind(&seat.group)
        .bind(&seat.member)
        .fetch_all(sqlite(tx)?)
        .await?;
    let mine = |(topic, number, epoch, leaving, position)| Mine {
        partition: Partition { topic, number },
        epoch,
        leaving,
        position,
    };
    Ok(rows.into_iter().map(mine).collect())
}

const RENEW: &str = "\
    update log_members set expires_ms = $4
    where group_name = $1 and member_id = $2 and expires_ms > $3";

/// Renews a lease that has not ended; false when it has, and only [`sync`] brings the member back.
pub async fn renew(
    tx: &mut Tx,
    seat: &Seat,
    now_ms: i64,
    session_ms: i64,
) -> Result<bool, db::Error> {
    let renewed = sqlx::query(RENEW)
        .bind(&seat.group)
        .bind(&seat.member)
        .bind(now_ms)
        .bind(now_ms + session_ms)
        .execute(sqlite(tx)?)
        .await?;
    Ok(renewed.rows_affected() == 1)
}

const RELEASE: &str = "\
    update log_assignments set owner = null, epoch = epoch + 1, release_by_ms = null
    where group_name = $1 and topic = $2 and number = $3 and owner = $4 and epoch = $5";

/// Lets partitions go; those that were lost meanwhile are left alone.
pub async fn release(
    tx: &mut Tx,
    seat: &Seat,
    partitions: &[(Partition, i64)],
) -> Result<(), db::Error> {
    for (partition, epoch) in partitions {
        sqlx::query(RELEASE)
            .bind(&seat.group)
            .bind(&partition.topic)
            .bind(partition.number)
            .bind(&seat.member)
            .bind(epoch)
            .execute(sqlite(tx)?)
            .await?;
    }
    generation(tx, &seat.group, true).await.map(drop)
}

const STAND_UP: &str = "delete from log_members where group_name = $1 and member_id = $2";

/// Leaves the group; what the member had is free at once.
pub async fn leave(tx: &mut Tx, seat: &Seat, now_ms: i64) -> Result<(), db::Error> {
    sqlx::query(STAND_UP)
        .bind(&seat.group)
        .bind(&seat.member)
        .execute(sqlite(tx)?)
        .await?;
    put_out_the_dead(tx, seat, now_ms).await?;
    generation(tx, &seat.group, true).await.map(drop)
}

const OWNS: &str = "\
    select exists (select 1 from log_assignments
        where group_name = $1 and topic = $2 and number = $3 and owner = $4 and epoch = $5)";
const COMMIT: &str = "\
    insert into log_positions (group_name, topic, number, position) values ($1, $2, $3, $4)
    on conflict (group_name, topic, number) do update set position = excluded.position";

/// Commits positions of owned partitions (each with its epoch); all or, when one is not owned any more, none: that one
/// is answered.
pub async fn commit(
    tx: &mut Tx,
    seat: &Seat,
    positions: &[(Partition, i64, i64)],
) -> Result<Option<Partition>, db::Error> {
    for (partition, _, epoch) in positions {
        let owns: bool = sqlx::query_scalar(OWNS)
            .bind(&seat.group)
            .bind(&partition.topic)
            .bind(partition.number)
            .bind(&seat.member)
            .bind(epoch)
            .fetch_one(sqlite(tx)?)
            .await?;
        if !owns {
            return Ok(Some(partition.clone()));
        }
    }
    for (partition, position, _) in positions {
        sqlx::query(COMMIT)
            .bind(&seat.group)
            .bind(&partition.topic)
            .bind(partition.number)
            .bind(position)
            .execute(sqlite(tx)?)
            .await?;
    }
    Ok(None)
}
