//! Both dialects have the same tables with the same columns.

use std::collections::BTreeSet;

use spheroctl::db::{Connection, Db, on_tx};

use super::Backend;

/// What only PostgreSQL has: the transaction's number, since its `seq` is not the order of commits.
const ONLY_POSTGRES: [(&str, &str); 1] = [("outbox_events", "xid")];

/// What only SQLite has: the embedded event log's tables.
const ONLY_SQLITE_PREFIX: &str = "log_";

const COLUMNS_POSTGRES: &str = "
    select class.relname::text, attribute.attname::text, not attribute.attnotnull,
        format_type(attribute.atttypid, null)
    from pg_attribute as attribute
    join pg_class as class on class.oid = attribute.attrelid
    where class.relnamespace = 'public'::regnamespace and class.relkind in ('r', 'p')
        and not class.relispartition and attribute.attnum > 0 and not attribute.attisdropped
        and class.relname <> '_sqlx_migrations'";
const COLUMNS_SQLITE: &str = "
    select tables.name, columns.name,
        columns.\"notnull\" = 0 and not (columns.pk > 0 and columns.type = 'INTEGER'), lower(columns.type)
    from sqlite_master as tables, pragma_table_info(tables.name) as columns
    where tables.type = 'table' and tables.name not like 'sqlite_%' and tables.name <> '_sqlx_migrations'";

const UNIQUE_POSTGRES: &str = "
    select class.relname::text, string_agg(attribute.attname, ',' order by place.nth)
    from pg_index as index
    join pg_class as class on class.oid = index.indrelid
    cross join unnest(index.indkey) with ordinality as place(attnum, nth)
    join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attnum = place.attnum
    where class.relnamespace = 'public'::regnamespace and class.relkind in ('r', 'p')
        and not class.relispartition and index.indisunique and not index.indisprimary
    group by index.indexrelid, class.relname";
const UNIQUE_SQLITE: &str = "
    select table_name, group_concat(name, ',')
    from (
        select tables.name as table_name, indexes.name as index_name, columns.name
        from sqlite_master as tables, pragma_index_list(tables.name) as indexes,
            pragma_index_info(indexes.name) as columns
        where tables.type = 'table' and indexes.\"unique\" = 1 and indexes.origin <> 'pk'
        order by indexes.name, columns.seqno
    )
    group by table_name, index_name";

const REFERENCES_POSTGRES: &str = "
    select source.relname::text, attribute.attname || ' to ' || target.relname
        || case reference.confdeltype when 'c' then ' cascade' when 'a' then '' else ' other' end
    from pg_constraint as reference
    join pg_class as source on source.oid = reference.conrelid
    join pg_class as target on target.oid = reference.confrelid
    cross join unnest(reference.conkey) as place(attnum)
    join pg_attribute as attribute on attribute.attrelid = source.oid and attribute.attnum = place.attnum
    where reference.contype = 'f' and not source.relispartition";
const REFERENCES_SQLITE: &str = "
    select tables.name, keys.\"from\" || ' to ' || keys.\"table\"
        || case keys.on_delete when 'CASCADE' then ' cascade' when 'NO ACTION' then '' else ' other' end
    from sqlite_master as tables, pragma_foreign_key_list(tables.name) as keys
    where tables.type = 'table'";

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    table: String,
    name: String,
    nullable: bool,
    stored_as: &'static str,
}

#[tokio::test]
async fn both_dialects_have_the_same_columns() {
    let postgres = columns(&Backend::postgres().await.db).await;
    let sqlite = columns(&Backend::sqlite().await.db).await;
    let only_postgres: Vec<_> = postgres
        .difference(&sqlite)
        .filter(|it| !ONLY_POSTGRES.contains(&(it.table.as_str(), it.name.as_str())))
        .collect();
    let only_sqlite: Vec<_> = sqlite
        .difference(&postgres)
        .filter(|it| !it.table.starts_with(ONLY_SQLITE_PREFIX))
        .collect();
    assert!(
        only_postgres.is_empty() && only_sqlite.is_empty(),
        "only PostgreSQL: {only_postgres:#?}\nonly SQLite: {only_sqlite:#?}"
    );
    assert!(postgres.len() > 100, "only {} columns", postgres.len());
}

#[tokio::test]
async fn both_dialects_have_the_same_unique_keys_and_references() {
    let postgres = Backend::postgres().await;
    let sqlite = Backend::sqlite().await;
    for (of_postgres, of_sqlite) in [
        (UNIQUE_POSTGRES, UNIQUE_SQLITE),
        (REFERENCES_POSTGRES, REFERENCES_SQLITE),
    ] {
        let expected = pairs(&postgres.db, of_postgres).await;
        assert!(expected.len() >= 5, "only {expected:?}");
        assert_eq!(expected, pairs(&sqlite.db, of_sqlite).await);
    }
}

/// The list of exceptions holds nothing that is gone.
#[tokio::test]
async fn every_exception_exists() {
    let backend = Backend::postgres().await;
    let postgres = columns(&backend.db).await;
    for (table, name) in ONLY_POSTGRES {
        assert!(
            postgres
                .iter()
                .any(|it| it.table == table && it.name == name),
            "{table}.{name}"
        );
    }
}

/// Tables with what the statement says of them.
async fn pairs(db: &Db, text: &'static str) -> BTreeSet<(String, String)> {
    let mut reader = db.reader().await.expect("a reader");
    let rows: Vec<(String, String)> =
        on_tx!(reader, |conn| sqlx::query_as(text).fetch_all(conn).await).expect("the keys");
    let shared = rows
        .into_iter()
        .filter(|(table, _)| !table.starts_with(ONLY_SQLITE_PREFIX));
    shared.collect()
}

async fn columns(db: &Db) -> BTreeSet<Column> {
    let mut reader = db.reader().await.expect("a reader");
    let rows: Vec<(String, String, bool, String)> = match reader.connection() {
        Connection::Postgres(conn) => sqlx::query_as(COLUMNS_POSTGRES).fetch_all(conn).await,
        Connection::Sqlite(conn) => sqlx::query_as(COLUMNS_SQLITE).fetch_all(conn).await,
    }
    .expect("the columns");
    let column = |(table, name, nullable, kind): (String, String, bool, String)| Column {
        stored_as: stored_as(&format!("{table}.{name}"), &kind),
        table,
        name,
        nullable,
    };
    rows.into_iter().map(column).collect()
}

/// The storage class that SQLite has for a type.
fn stored_as(column: &str, kind: &str) -> &'static str {
    match kind {
        "uuid" | "bytea" | "blob" => "blob",
        "text" | "timestamp with time zone" | "jsonb" | "json" => "text",
        "bigint" | "integer" | "boolean" => "integer",
        "double precision" | "real" => "real",
        "xid8" => "xid8",
        other => panic!("{column}: which class of SQLite does {other} have?"),
    }
}
