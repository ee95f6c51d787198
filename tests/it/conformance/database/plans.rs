//! What is looked for by its key is found by an index, however little PostgreSQL knows of the table: a session keeps the plan
//! of a statement while the table grows.

use spheroctl::db::{Connection, Error, Tx, run_tx};
use sqlx::AssertSqlSafe;

use super::Backend;
use super::statements::named;

#[tokio::test]
async fn what_came_together_is_looked_up_by_key() {
    for statement in [
        "domain/idempotency/store.rs: FIND_MANY_POSTGRES",
        "domain/access/store.rs: ROLES_OF_POSTGRES",
    ] {
        let backend = Backend::postgres().await;
        let plan: Result<_, Error> = run_tx!(backend.db, "test", |tx| -> Result<String, Error> {
            plan_of(tx, &named(statement), "'[]'").await
        });
        let plan = plan.expect("a plan");
        assert!(plan.contains("Index Scan"), "{statement}\n{plan}");
        assert!(!plan.contains("Seq Scan"), "{statement}\n{plan}");
    }
}

#[tokio::test]
async fn a_relay_meets_no_row_twice() {
    for (statement, arguments) in [
        ("events/outbox/store.rs: NEXT_OF_SHARD_POSTGRES", "1, 500"),
        ("events/outbox/store.rs: DELETE_POSTGRES", "'[]'"),
    ] {
        let backend = Backend::postgres().await;
        let plan: Result<_, Error> = run_tx!(backend.db, "test", |tx| -> Result<String, Error> {
            let lock = named("events/outbox/store.rs: LOCK_SHARD_POSTGRES");
            run(tx, &lock.replace("$1", "1")).await?;
            plan_of(tx, &named(statement), arguments).await
        });
        let plan = plan.expect("a plan");
        assert!(plan.contains("Index Scan"), "{statement}\n{plan}");
        assert!(!plan.contains("Bitmap"), "{statement}\n{plan}");
        assert!(!plan.contains("Seq Scan on outbox"), "{statement}\n{plan}");
    }
}

/// The plan that a session keeps for a statement.
async fn plan_of(tx: &mut Tx, statement: &str, arguments: &str) -> Result<String, Error> {
    run(tx, "set local plan_cache_mode = force_generic_plan").await?;
    run(tx, &format!("prepare looked_at as {statement}")).await?;
    let explain = format!("explain (costs off) execute looked_at({arguments})");
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
        .fetch_all(postgres(tx))
        .await?;
    Ok(lines.join("\n"))
}

async fn run(tx: &mut Tx, statement: &str) -> Result<(), Error> {
    let statement = AssertSqlSafe(statement.to_owned());
    sqlx::raw_sql(statement).execute(postgres(tx)).await?;
    Ok(())
}

fn postgres(tx: &mut Tx) -> &mut sqlx::PgConnection {
    match tx.connection() {
        Connection::Postgres(connection) => connection,
        Connection::Sqlite(_) => panic!("PostgreSQL's plans are looked at"),
    }
}
