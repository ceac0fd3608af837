//! C14: nothing that was taken is lost, and nothing is written twice.

use std::path::Path;
use std::time::Duration;

use audit_seaorm::entity::audit_query;
use audit_seaorm::{AuditConnection, Config, FailurePolicy, is_audit_error};
use audit_tests::{TestDb, db_test};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, TransactionTrait};

use super::{connect, hide, queries, stored, ward};
use crate::fixtures::{patient, set_up_shelves};

/// Small, so that limits are met.
fn small() -> Config {
    let mut config = Config::default();
    (config.queue_limit, config.batch_size, config.batch_wait_ms, config.queue_wait_ms) = (2, 2, 5, 50);
    config
}

fn spooled(mut config: Config, dir: &Path) -> Config {
    config.spool_dir = Some(dir.to_owned());
    config
}

async fn read(db: &AuditConnection) -> Result<usize, DbErr> {
    patient::Entity::find().all(db).await.map(|rows| rows.len())
}

/// The ids that were written, none twice.
async fn count(t: &TestDb) -> usize {
    let mut ids: Vec<_> = stored(t).await.iter().map(|query| query.id).collect();
    let written = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), written);
    written
}

db_test!(c14_reads_are_written_in_batches, async |t| -> Result<(), DbErr> {
    let mut config = Config::default();
    config.batch_wait_ms = 60_000;
    config.batch_size = 10;
    let db = ward(t, config).await;
    join_all((0..25).map(|_| read(&db))).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    // What fills no batch waits, unless somebody asks.
    let metrics = db.audit().metrics();
    assert!(metrics.queued >= 5, "{metrics:?}");
    assert!(metrics.oldest_queued.is_some());
    assert_eq!(queries(t, &db).await.len(), 25);
    let metrics = db.audit().metrics();
    assert_eq!((metrics.queued, metrics.delivered, metrics.lost), (0, 25, 0));
    Ok(())
});

db_test!(c14_a_full_queue_holds_up_and_then_fails_the_read, async |t| -> Result<(), DbErr> {
    let db = ward(t, small()).await;
    hide(t, true).await;
    // Two in the queue or in the batch that can't be written; there is no place for a third.
    read(&db).await?;
    read(&db).await?;
    let error = read(&db).await.expect_err("no place");
    assert!(is_audit_error(&error), "{error}");
    assert!(error.to_string().contains("spool_dir"), "{error}");
    let error = db.audit().flush().await.expect_err("the table isn't there").to_string();
    assert!(error.contains("run the audit migrations"), "{error}");
    assert_eq!(db.audit().metrics().queued, 2);
    assert!(db.audit().metrics().failing_for.is_some());
    hide(t, false).await;
    assert_eq!(queries(t, &db).await.len(), 2);
    assert_eq!(db.audit().metrics().failing_for, None);
    read(&db).await?;
    assert_eq!(queries(t, &db).await.len(), 3);
    Ok(())
});

// It was done, and failed all the same: its read found no place afterwards.
db_test!(c7_a_write_whose_read_finds_no_place_is_not_done, async |t| -> Result<(), DbErr> {
    let db = ward(t, small()).await;
    t.execute("CREATE TABLE copy (id INT NOT NULL, name VARCHAR(100) NOT NULL)").await?;
    set_up_shelves(t).await;
    let audited = "UPDATE shelf SET label = 'x' WHERE number IN (SELECT id FROM patient)";
    let unaudited = "INSERT INTO copy SELECT id, name FROM patient";
    hide(t, true).await;
    read(&db).await?;
    read(&db).await?;
    for sql in [audited, unaudited] {
        let error = db.execute_unprepared(sql).await.expect_err("no place for its read");
        assert!(is_audit_error(&error) && error.to_string().contains("spool_dir"), "{error}");
        let transaction = db.begin().await?;
        transaction.execute_unprepared(sql).await.expect_err("no place for its read");
        transaction.commit().await?;
    }
    let changed = "SELECT count(*) FROM shelf WHERE label = 'x'";
    assert_eq!(t.value::<i64>(changed).await?, 0);
    assert_eq!(t.value::<i64>("SELECT count(*) FROM copy").await?, 0);
    hide(t, false).await;
    assert_eq!(queries(t, &db).await.len(), 2, "what didn't happen isn't recorded");

    // A place that a failed statement had is free again: there are two.
    for _ in 0..5 {
        let error = db.execute_unprepared("INSERT INTO copy SELECT id, NULL FROM patient").await;
        assert!(!is_audit_error(&error.expect_err("not null")));
        // Its record has a place until it is written.
        db.audit().flush().await.expect("written");
    }
    db.execute_unprepared(audited).await?;
    db.execute_unprepared(unaudited).await?;
    assert_eq!(t.value::<i64>(changed).await?, 3);
    let found = queries(t, &db).await;
    let count = |status: &str| found.iter().filter(|query| query.status == status).count();
    assert_eq!((count("success"), count("failed")), (4, 5));
    assert_eq!(db.audit().metrics().queued, 0);
    Ok(())
});

db_test!(c7_a_write_whose_read_goes_to_the_spool_is_done, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    let db = ward(t, spooled(small(), dir.path())).await;
    t.execute("CREATE TABLE copy (id INT NOT NULL, name VARCHAR(100) NOT NULL)").await?;
    hide(t, true).await;
    for _ in 0..8 {
        db.execute_unprepared("INSERT INTO copy SELECT id, name FROM patient").await?;
    }
    assert_eq!(t.value::<i64>("SELECT count(*) FROM copy").await?, 24);
    hide(t, false).await;
    db.audit().shutdown().await.expect("delivered");
    assert_eq!(count(t).await, 8);
    Ok(())
});

db_test!(c19_best_effort_counts_what_it_loses, async |t| -> Result<(), DbErr> {
    let mut config = small();
    config.on_failure = FailurePolicy::BestEffort;
    let db = ward(t, config).await;
    hide(t, true).await;
    for _ in 0..4 {
        assert_eq!(read(&db).await?, 3);
    }
    assert_eq!(db.audit().metrics().lost, 2);
    hide(t, false).await;
    assert_eq!(queries(t, &db).await.len(), 2);
    Ok(())
});

db_test!(c14_the_spool_keeps_what_the_database_refuses, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    let db = ward(t, spooled(small(), dir.path())).await;
    hide(t, true).await;
    for _ in 0..20 {
        read(&db).await?;
    }
    db.audit().flush().await.expect("spooled");
    let metrics = db.audit().metrics();
    assert_eq!(
        (metrics.queued, metrics.spooled, metrics.delivered, metrics.lost),
        (0, 20, 0, 0),
        "{metrics:?}"
    );
    assert!(metrics.oldest_spooled.is_some() && metrics.spool_bytes > 20 * 200);
    assert_eq!(
        metrics.reason,
        Some("the audit table or one of its columns doesn't exist; run the audit migrations")
    );
    let error = db.audit().shutdown().await.expect_err("still not there").to_string();
    assert!(error.contains("not written yet: 20"), "{error}");

    hide(t, false).await;
    db.audit().shutdown().await.expect("delivered");
    assert_eq!(count(t).await, 20);
    let metrics = db.audit().metrics();
    assert_eq!((metrics.spooled, metrics.delivered, metrics.spool_bytes), (0, 20, 0));
    Ok(())
});

db_test!(c14_the_spool_is_delivered_in_the_background, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    let db = ward(t, spooled(small(), dir.path())).await;
    hide(t, true).await;
    read(&db).await?;
    db.audit().flush().await.expect("spooled");
    hide(t, false).await;
    tokio::time::timeout(Duration::from_secs(30), db.audit().idle()).await.expect("delivered by itself");
    assert_eq!((count(t).await, db.audit().metrics().spooled), (1, 0));
    // There is nothing to wait for any more.
    tokio::time::timeout(Duration::from_secs(1), db.audit().idle()).await.expect("idle");
    Ok(())
});

db_test!(c14_the_next_start_delivers_what_is_spooled, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    let config = spooled(small(), dir.path());
    let db = ward(t, config.clone()).await;
    hide(t, true).await;
    for _ in 0..5 {
        read(&db).await?;
    }
    db.audit().flush().await.expect("spooled");
    let secret = std::fs::read_dir(dir.path()).expect("files").map(|file| {
        String::from_utf8_lossy(&std::fs::read(file.expect("a file").path()).expect("its text"))
            .contains("555-secret")
    });
    assert!(secret.into_iter().all(|found| !found), "no secrets in the spool");
    drop(db);
    hide(t, false).await;

    let again = connect(t, config);
    again.audit().shutdown().await.expect("delivered");
    assert_eq!(count(t).await, 5);
    assert!(stored(t).await.iter().all(|query| query.hash_matches() == Some(true)));
    Ok(())
});

db_test!(c14_nothing_is_delivered_twice, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    let config = spooled(small(), dir.path());
    let db = ward(t, config.clone()).await;
    hide(t, true).await;
    for _ in 0..5 {
        read(&db).await?;
    }
    db.audit().flush().await.expect("spooled");
    drop(db);
    hide(t, false).await;
    // As if the process had ended after the database had committed, and before the spool was told.
    let before = tempfile::tempdir().expect("a directory");
    let copy = |from: &Path, to: &Path| {
        for file in std::fs::read_dir(from).expect("files") {
            let file = file.expect("a file");
            std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
        }
    };
    copy(dir.path(), before.path());
    for _ in 0..2 {
        let again = connect(t, config.clone());
        again.audit().shutdown().await.expect("delivered");
        assert_eq!(count(t).await, 5);
        drop(again);
        copy(before.path(), dir.path());
    }
    Ok(())
});

db_test!(c14_a_record_that_is_never_taken_holds_up_nothing, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = spooled(Config::default(), dir.path());
    config.batch_wait_ms = 60_000;
    let db = ward(t, config).await;
    t.execute(t.pick(
        "CREATE TRIGGER no_two BEFORE INSERT ON audit_query WHEN NEW.record_count = 2 BEGIN SELECT RAISE(ABORT, 'not two'); END",
        "ALTER TABLE audit_query ADD CONSTRAINT no_two CHECK (record_count <> 2)",
        "ALTER TABLE audit_query ADD CONSTRAINT no_two CHECK (record_count <> 2)",
    ))
    .await?;
    for id in [1, 9, 2] {
        patient::Entity::find_by_id(id).one(&db).await?;
    }
    use sea_orm::{ColumnTrait, QueryFilter};
    patient::Entity::find().filter(patient::Column::Born.gt(1960)).all(&db).await?;
    patient::Entity::find().all(&db).await?;
    db.audit().flush().await.expect("flushed");
    assert_eq!(count(t).await, 4);
    let metrics = db.audit().metrics();
    assert_eq!((metrics.delivered, metrics.rejected, metrics.spooled), (4, 1, 0), "{metrics:?}");
    let aside = std::fs::read_to_string(dir.path().join("rejected.jsonl")).expect("put aside");
    let line: serde_json::Value = serde_json::from_str(aside.trim()).expect("JSON");
    assert_eq!(line["record"]["query"]["what"]["record_count"], 2);
    Ok(())
});

db_test!(c14_a_database_that_refuses_a_record_is_not_failing, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    let db = ward(t, spooled(Config::default(), dir.path())).await;
    hide(t, true).await;
    read(&db).await?;
    db.audit().flush().await.expect("spooled");
    assert!(db.audit().metrics().failing_for.is_some());
    // Before it is there again: the writer doesn't wait to be asked.
    t.execute(t.pick(
        "CREATE TRIGGER refused BEFORE INSERT ON hidden BEGIN SELECT RAISE(ABORT, 'none'); END",
        "ALTER TABLE hidden ADD CONSTRAINT refused CHECK (query_type = 'none')",
        "ALTER TABLE hidden ADD CONSTRAINT refused CHECK (query_type = 'none')",
    ))
    .await?;
    hide(t, false).await;
    // Nothing is left that it would have to take.
    db.audit().shutdown().await.expect("done");
    let metrics = db.audit().metrics();
    assert_eq!((metrics.rejected, metrics.spooled, metrics.failing_for, metrics.reason), (1, 0, None, None));
    Ok(())
});

// With one connection, a transaction that reads must not wait for the writer, which waits for the connection.
db_test!(c14_one_connection_is_enough, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    ward(t, Config::default()).await;
    let mut options = t.options();
    options.max_connections(1).acquire_timeout(Duration::from_secs(20));
    let one = sea_orm::Database::connect(options).await?;
    let audit =
        audit_seaorm::Audit::builder().config(spooled(small(), dir.path())).build().expect("an audit");
    let db = audit.connect(one);
    let transaction = db.begin().await?;
    for _ in 0..10 {
        patient::Entity::find().all(&transaction).await?;
    }
    transaction.commit().await?;
    db.audit().shutdown().await.expect("delivered");
    assert_eq!(count(t).await, 10);
    Ok(())
});

db_test!(k2_records_of_reads_are_append_only, async |t| -> Result<(), DbErr> {
    let db = ward(t, Config::default()).await;
    read(&db).await?;
    let before = queries(t, &db).await;
    let mut refused = vec!["UPDATE audit_query SET reason = 'x'", "DELETE FROM audit_query"];
    refused.push(t.pick(
        "INSERT OR REPLACE INTO audit_query SELECT * FROM audit_query",
        "TRUNCATE audit_query",
        "TRUNCATE audit_query",
    ));
    for sql in refused {
        let error = t.execute(sql).await.expect_err(sql).to_string();
        assert!(error.contains("append"), "{sql}: {error}");
    }
    assert_eq!(stored(t).await, before);
    let by_actor = audit_query::Entity::find().all(&t.db).await?;
    assert_eq!(by_actor.len(), 1);
    Ok(())
});

db_test!(s9_a_spool_that_cannot_be_used_is_an_error_at_the_start, on(sqlite), async |_t| {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let build = |dir: &Path| audit_seaorm::Audit::builder().config(spooled(Config::default(), dir)).build();
    let error = build(&file).expect_err("a file").to_string();
    assert!(
        error.contains("the audit spool can't be used") && error.contains(&*file.to_string_lossy()),
        "{error}"
    );
    let first = build(dir.path()).expect("an audit");
    let error = build(dir.path()).expect_err("in use").to_string();
    assert!(error.contains("a directory of its own"), "{error}");
    drop(first);
    build(dir.path()).expect("free again");
});
