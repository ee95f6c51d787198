//! Lists as one JSON text: a statement takes a list of any length as one parameter, with one text and hence one
//! prepared statement, on both dialects.
//!
//! **A list of ids**, as [`list`] writes it, stands in a statement as
//!
//! ```sql
//! -- PostgreSQL
//! where id = any (array(select value::uuid from json_array_elements_text($1::json)))
//! -- SQLite
//! where id in (select unhex(value, '-') from json_each($1))
//! ```
//!
//! A list of texts leaves the conversion out. PostgreSQL looks ids of an array up one by one in the primary key; from
//! `in (select …)` it makes a join, and before the table is analysed one that reads every row that another condition
//! leaves. A condition that a partial index has, such as `status = 'queued'`, is written so that the planner does not
//! know it (`status || '' = 'queued'`) where that index is no shorter than what waits.
//!
//! **Rows to insert** are a list of structs; their fields are columns:
//!
//! ```sql
//! -- PostgreSQL: the types of the columns, blobs as text
//! insert into outbox_events (id, shard, headers, payload, created_at)
//! select id, shard, headers, decode(payload, 'hex'), created_at
//! from json_to_recordset($1::json)
//!     as row (id uuid, shard bigint, headers jsonb, payload text, created_at timestamptz)
//! -- PostgreSQL, by crate::db::write_rows!, where many rows come often: a list for each column
//! insert into outbox_events (id, shard, headers, payload, created_at)
//! select * from unnest($1::uuid[], $2::bigint[], $3::jsonb[], $4::bytea[], $5::timestamptz[])
//! -- SQLite: `->>` gives texts, numbers and null, `->` gives JSON
//! insert into outbox_events (id, shard, headers, payload, created_at)
//! select unhex(value ->> 'id', '-'), value ->> 'shard', value -> 'headers', unhex(value ->> 'payload'),
//!     value ->> 'created_at'
//! from json_each($1)
//! ```
//!
//! In such a struct an instant carries `#[serde(serialize_with = "db::batch::instant")]` (the text that SQLite
//! compares with those of other statements) and a blob `#[serde(serialize_with = "db::batch::hex")]`.
//!
//! Two pitfalls of SQLite: where an `on conflict` clause follows a `select`, `where true` stands before it, else `on`
//! is taken for a join's; and `json_each` has the columns `key`, `value`, `type`, `atom`, `id`, `parent`, `fullkey`
//! and `path`, so that in a join with it the columns of the table are written with the table's name.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use super::Error;

/// Most items of one list; callers' own limits are lower (`queue.batch_max`, `outbox.batch_max`).
pub const ITEMS_MAX: usize = 10_000;

/// The list as the text that a statement takes for it: ids, texts, numbers, or structs for rows.
///
/// # Errors
/// [`Error::List`] when it has more than [`ITEMS_MAX`] items or an item has no JSON form.
pub fn list<T: Serialize>(items: &[T]) -> Result<String, Error> {
    if items.len() > ITEMS_MAX {
        return Err(Error::List(format!(
            "{} items, and {ITEMS_MAX} are the most for one statement",
            items.len()
        )));
    }
    serde_json::to_string(items).map_err(|error| Error::List(error.to_string()))
}

/// Writes an instant as sqlx binds one on SQLite. All stored texts then have one form and sort by time: `+` sorts
/// before `.` and both before the digits.
///
/// # Errors
/// Those of the serializer.
pub fn instant<S: Serializer>(instant: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, false))
}

/// Writes a blob as hexadecimal digits.
///
/// # Errors
/// Those of the serializer.
pub fn hex<S: Serializer>(blob: impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::kit::hex::hex(blob))
}

/// A blob of a row that [`list`] writes as hexadecimal digits, for columns that may be null.
#[derive(Debug, Clone, Copy)]
pub struct Hex<'b>(pub &'b [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hex(self.0, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        #[serde(serialize_with = "instant")]
        at: DateTime<Utc>,
        #[serde(serialize_with = "hex")]
        body: Vec<u8>,
    }

    #[test]
    fn rows_are_written_as_the_statements_read_them() {
        let at = DateTime::from_timestamp_micros(1_500_000).expect("an instant of 1970");
        let body = vec![0, 0xab, 0xff];
        assert_eq!(
            list(&[Row { at, body }]).unwrap(),
            r#"[{"at":"1970-01-01T00:00:01.500+00:00","body":"00abff"}]"#
        );
    }

    #[test]
    fn a_list_has_a_limit() {
        let error = list(&vec![0; ITEMS_MAX + 1]).unwrap_err();
        assert!(error.to_string().contains("10001 items"), "{error}");
    }
}
