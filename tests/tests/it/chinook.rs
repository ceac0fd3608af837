//! The Chinook store: real data, a day of work, random changes; and then the log, replayed over empty tables, must give
//! the tables.

use audit_seaorm::entity::audit_log;
use audit_seaorm::{Audit, AuditContext, MASK, scope};
use audit_tests::{Settings, TestDb, db_test};
use existing_app::day;
use existing_app::entities::{
    album, artist, customer, employee, genre, invoice, invoice_line, media_type, playlist, playlist_track,
    track,
};
use existing_app::load::{self, Data, Mode, TABLES};
use sea_orm::ActiveValue::NotSet;
use sea_orm::prelude::{Date, Decimal};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, Iterable,
    ModelTrait, PrimaryKeyToColumn, QueryFilter, QueryOrder, QuerySelect, Set, TransactionSession,
    TransactionTrait,
};

use crate::fixtures::entries;
use crate::random::Random;
use crate::replay::{Tables, assert_faithful, differences, replay, table};

db_test!(i2_replay_of_chinook_gives_the_tables, async |t| {
    let Some(folder) = Settings::get().chinook("i2_replay_of_chinook_gives_the_tables") else { return };
    let data = Data::read(folder).expect("the data");
    assert_eq!(data.rows(), 15_607);
    let audit = existing_app::audit().expect("an audit");
    fill_and_work(t, &audit, &data, 300).await.expect("a day of work");
    let entries = entries(t).await;
    assert!(entries.len() > 16_000, "{} entries", entries.len());
    check(t, &audit, &entries).await;
});

db_test!(i2_replay_of_a_small_store_gives_the_tables, async |t| {
    let audit = existing_app::audit().expect("an audit");
    let data = Data::tiny().expect("the data");
    fill_and_work(t, &audit, &data, 60).await.expect("a day of work");
    check(t, &audit, &entries(t).await).await;
});

db_test!(i2_replay_shows_what_the_hooks_did_not_see, async |t| {
    let audit = existing_app::audit().expect("an audit");
    let data = Data::tiny().expect("the data");
    fill_and_work(t, &audit, &data, 0).await.expect("a day of work");
    t.execute("UPDATE track SET composer = 'nobody' WHERE track_id = 3").await.expect("an update");
    t.execute("DELETE FROM playlist_track WHERE playlist_id = 1 AND track_id = 5").await.expect("a delete");
    t.execute("INSERT INTO genre (name) VALUES ('Silence')").await.expect("an insert");
    let replayed = replay(&entries(t).await);
    let stored = stored(t, &audit).await.expect("the tables");
    assert_eq!(replayed.faults, [] as [String; 0]);
    assert_eq!(
        differences(&replayed.tables, &stored),
        [
            r#"genre 4: only in the table: {"genre_id": Number(4), "name": String("Silence")}"#,
            r#"playlist_track 1/5: only in the log: {"playlist_id": Number(1), "track_id": Number(5)}"#,
            r#"track 3 composer: null in the log, "nobody" in the table"#,
        ]
    );
});

db_test!(i3_replay_notices_a_broken_chain, on(sqlite), async |t| {
    let audit = existing_app::audit().expect("an audit");
    let data = Data::tiny().expect("the data");
    fill_and_work(t, &audit, &data, 0).await.expect("a day of work");
    let whole = entries(t).await;
    let at = |action: &str, id: &str| {
        whole
            .iter()
            .position(|e| e.action == action && e.resource_id.as_deref() == Some(id))
            .expect("an entry")
    };
    let lost_create = {
        let mut entries = whole.clone();
        entries.remove(at("create", "3/3"));
        entries
    };
    assert_eq!(replay(&lost_create).faults, ["delete of playlist_track 3/3: no such row"]);
    let twice = {
        let mut entries = whole.clone();
        entries.push(whole[at("create", "3/4")].clone());
        entries
    };
    assert_eq!(replay(&twice).faults, ["create of playlist_track 3/4: the row is there already"]);
    let forged = {
        let mut entries = whole.clone();
        let update = &mut entries[at("update", "7")];
        update.changes = Some(r#"{"unit_price":{"old":"2.99","new":"1.49"}}"#.to_owned());
        entries
    };
    assert_eq!(
        replay(&forged).faults,
        [
            "update of track 7: its hash doesn't match",
            r#"update of track 7: `unit_price` was "2.99" by the entry, "1.99" by those before it"#,
        ]
    );
});

db_test!(c12_the_day_of_the_store_is_told_by_its_log, async |t| {
    let audit = existing_app::audit().expect("an audit");
    load::create_tables(&t.db).await.expect("tables");
    let data = Data::tiny().expect("the data");
    audit.within(load::load(&t.db, &data, Mode::Quiet, &|_| ())).await.expect("the load");
    assert_eq!(entries(t).await, [], "a suspended load makes no entries");
    audit.within(day::work(&t.db)).await.expect("a day of work");
    let entries = entries(t).await;
    let of = |action: &str, resource: &str| -> Vec<&audit_log::Model> {
        entries.iter().filter(|e| e.action == action && e.resource_type == resource).collect()
    };
    assert!(entries.iter().all(|entry| entry.tenant.as_deref() == Some("chinook")));

    let failed: Vec<_> = entries.iter().filter(|entry| entry.status == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].action.as_str(), failed[0].resource_type.as_str()), ("delete", "artist"));
    assert_eq!(failed[0].actor_name.as_deref(), Some("Ira Root"));
    assert_eq!(of("update", "artist"), [] as [&audit_log::Model; 0], "rolled back with the deletion");

    let prices = of("update", "track");
    assert_eq!(prices.len(), 2);
    for entry in prices.iter().chain(&of("approve", "price_list")) {
        assert_eq!(entry.actor_name.as_deref(), Some("Sam Seller"));
        assert_eq!(entry.reason.as_deref(), Some("price list of the spring"));
        assert_eq!(entry.transaction_id.as_deref(), Some("price-list-spring"));
    }

    let customers = of("update", "customer");
    assert_eq!(customers.len(), 2, "the save that changes nothing makes no entry");
    assert_eq!(customers[0].resource_name.as_deref(), Some("Patron"));
    assert_eq!(customers[0].frameworks.as_deref(), Some(r#"["GDPR"]"#));
    assert_eq!(customers[0].changes_json().expect("changes")["phone"]["new"], MASK);
    for secret in ["555 0123", "113 555000"] {
        assert!(!format!("{entries:?}").contains(secret), "{secret} is in the log");
    }

    let (cancelled, lines) = (of("delete", "invoice"), of("delete", "invoice_line"));
    assert_eq!((cancelled.len(), lines.len()), (1, 2));
    assert_eq!(cancelled[0].reason.as_deref(), Some("cancelled by the customer"));

    let by_job: Vec<_> = entries.iter().filter(|e| e.actor_name.as_deref() == Some("nightly")).collect();
    let told: Vec<_> = by_job.iter().map(|e| (e.action.as_str(), e.resource_type.as_str())).collect();
    assert_eq!(told, [("delete", "playlist"), ("run", "task")]);
    assert_eq!(by_job[0].metadata.as_deref(), Some(r#"{"task":"remove-empty-playlists"}"#));
});

async fn fill_and_work(
    t: &TestDb,
    audit: &Audit,
    data: &Data,
    rounds: u32,
) -> Result<(), existing_app::Error> {
    load::create_tables(&t.db).await?;
    audit
        .within(async {
            load::load(&t.db, data, Mode::Recorded, &|_| ()).await?;
            day::work(&t.db).await?;
            Ok(scope(AuditContext::user("random").tenant("chinook"), change_at_random(&t.db, rounds)).await?)
        })
        .await
}

/// Asserts that the log, replayed over empty tables, gives the tables.
async fn check(t: &TestDb, audit: &Audit, entries: &[audit_log::Model]) {
    let stored = stored(t, audit).await.expect("the tables");
    assert_faithful(Tables::new(), entries, &stored);
    assert_eq!(stored.len(), TABLES.len());
    assert!(stored.values().all(|rows| !rows.is_empty()), "there was something to compare in each table");
}

/// The real tables, read through SeaORM and rendered as entries render them.
pub(crate) async fn stored(t: &TestDb, audit: &Audit) -> Result<Tables, DbErr> {
    Ok(Tables::from([
        table::<genre::Entity>(t, audit).await?,
        table::<media_type::Entity>(t, audit).await?,
        table::<artist::Entity>(t, audit).await?,
        table::<album::Entity>(t, audit).await?,
        table::<track::Entity>(t, audit).await?,
        table::<employee::Entity>(t, audit).await?,
        table::<customer::Entity>(t, audit).await?,
        table::<invoice::Entity>(t, audit).await?,
        table::<invoice_line::Entity>(t, audit).await?,
        table::<playlist::Entity>(t, audit).await?,
        table::<playlist_track::Entity>(t, audit).await?,
    ]))
}

/// Changes of single rows: on the pool, in transactions that commit or roll back, and within savepoints that do.
async fn change_at_random<C>(db: &C, rounds: u32) -> Result<(), DbErr>
where
    C: ConnectionTrait + TransactionTrait,
{
    let mut random = Random(20_260_101);
    for _ in 0..rounds {
        match random.below(10) {
            0..=3 => change(&mut random, db).await?,
            4..=5 => {
                let transaction = db.begin().await?;
                for _ in 0..3 {
                    change(&mut random, &transaction).await?;
                }
                transaction.commit().await?;
            }
            6..=7 => {
                let transaction = db.begin().await?;
                for _ in 0..3 {
                    change(&mut random, &transaction).await?;
                }
                transaction.rollback().await?;
            }
            _ => {
                let transaction = db.begin().await?;
                change(&mut random, &transaction).await?;
                let savepoint = transaction.begin().await?;
                change(&mut random, &savepoint).await?;
                change(&mut random, &savepoint).await?;
                if random.below(3) == 0 {
                    savepoint.commit().await?;
                } else {
                    savepoint.rollback().await?;
                }
                change(&mut random, &transaction).await?;
                transaction.commit().await?;
            }
        }
    }
    Ok(())
}

/// One random change through the hooks; none if there is no row to be changed.
#[allow(clippy::too_many_lines, reason = "a list of the sorts of changes")]
pub(crate) async fn change<C>(random: &mut Random, db: &C) -> Result<(), DbErr>
where
    C: ConnectionTrait + TransactionTrait,
{
    match random.below(16) {
        0 => {
            let Some(track) = any::<track::Entity, C>(random, db, track::Column::TrackId).await? else {
                return Ok(());
            };
            let mut track = track.into_active_model();
            track.unit_price = Set(Decimal::new(random.below(500).into(), 2));
            track.composer = Set((random.below(3) > 0).then(|| format!("Composer {}", random.below(100))));
            track.update(db).await?;
        }
        1 => {
            let Some(track) = any::<track::Entity, C>(random, db, track::Column::TrackId).await? else {
                return Ok(());
            };
            let mut track = track.into_active_model();
            track.name = Set(random.text());
            track.bytes = Set((random.below(2) > 0).then_some(i32::MAX));
            // Of `#[audited]`; SeaORM's own would call no hook after the write.
            track.update_without_returning(db).await?;
        }
        2 => {
            let found = any::<customer::Entity, C>(random, db, customer::Column::CustomerId).await?;
            let Some(customer) = found else { return Ok(()) };
            let mut customer = customer.into_active_model();
            customer.phone = Set((random.below(3) > 0).then(|| format!("+1 555 {}", random.below(10_000))));
            customer.company = Set((random.below(2) > 0).then(|| random.text()));
            customer.city = Set(Some(String::new()));
            customer.update(db).await?;
        }
        3 => {
            let found =
                any::<invoice_line::Entity, C>(random, db, invoice_line::Column::InvoiceLineId).await?;
            let Some(line) = found else { return Ok(()) };
            let quantity = line.quantity;
            let mut line = line.into_active_model();
            line.quantity = Set(quantity + 1);
            line.update(db).await?;
        }
        4 => {
            let found = any::<employee::Entity, C>(random, db, employee::Column::EmployeeId).await?;
            let Some(employee) = found else { return Ok(()) };
            let mut employee = employee.into_active_model();
            // MySQL keeps no fraction of a second here: what counts is what the database makes of it.
            let day = Date::from_ymd_opt(2000, 1, 1 + random.below(28));
            let moment = day.and_then(|day| day.and_hms_micro_opt(12, 34, 56, random.below(1_000_000)));
            employee.hire_date = Set(moment);
            employee.update(db).await?;
        }
        5 => {
            let Some(album) = any::<album::Entity, C>(random, db, album::Column::AlbumId).await? else {
                return Ok(());
            };
            let mut album = album.into_active_model();
            album.title = Set(random.text());
            album.update(db).await?;
        }
        6 => {
            let artist = artist::ActiveModel { name: Set(Some(random.text())), ..Default::default() };
            let artist = artist.insert(db).await?;
            let album = album::ActiveModel {
                title: Set(random.text()),
                artist_id: Set(artist.artist_id),
                ..Default::default()
            };
            album.insert(db).await?;
        }
        7 => {
            let found =
                any::<invoice_line::Entity, C>(random, db, invoice_line::Column::InvoiceLineId).await?;
            let Some(line) = found else { return Ok(()) };
            if random.below(2) == 0 {
                line.delete(db).await?;
            } else {
                let mut another = line.into_active_model().reset_all();
                another.invoice_line_id = NotSet;
                another.insert(db).await?;
            }
        }
        8 => {
            let found = any::<playlist_track::Entity, C>(random, db, playlist_track::Column::TrackId).await?;
            let Some(entry) = found else { return Ok(()) };
            let again = entry.clone().into_active_model().reset_all();
            entry.delete(db).await?;
            if random.below(2) == 0 {
                again.insert(db).await?;
            }
        }
        9 => {
            let found = (
                any::<playlist::Entity, C>(random, db, playlist::Column::PlaylistId).await?,
                any::<track::Entity, C>(random, db, track::Column::TrackId).await?,
            );
            let (Some(playlist), Some(track)) = found else { return Ok(()) };
            let key = (playlist.playlist_id, track.track_id);
            if playlist_track::Entity::find_by_id(key).one(db).await?.is_none() {
                playlist_track::ActiveModel { playlist_id: Set(key.0), track_id: Set(key.1) }
                    .insert(db)
                    .await?;
            }
        }
        10 => {
            let Some(track) = any::<track::Entity, C>(random, db, track::Column::TrackId).await? else {
                return Ok(());
            };
            track.into_active_model().reset_all().update(db).await?;
        }
        11 => {
            let Some(track) = any::<track::Entity, C>(random, db, track::Column::TrackId).await? else {
                return Ok(());
            };
            let (mut first, mut stale) = (track.clone().into_active_model(), track.into_active_model());
            first.milliseconds = Set(i32::MIN);
            first.update(db).await?;
            stale.milliseconds = Set(0);
            stale.album_id = Set(None);
            stale.update(db).await?;
        }
        12 => {
            let Some(album) = any::<album::Entity, C>(random, db, album::Column::AlbumId).await? else {
                return Ok(());
            };
            let savepoint = db.begin().await?;
            let artist = artist::ActiveModel { artist_id: Set(album.artist_id), ..Default::default() };
            // Its album refers to it.
            refused(artist.delete(&savepoint).await.map(|_| ()))?;
            savepoint.rollback().await?;
        }
        13 => {
            let found = any::<playlist_track::Entity, C>(random, db, playlist_track::Column::TrackId).await?;
            let Some(entry) = found else { return Ok(()) };
            let savepoint = db.begin().await?;
            refused(entry.into_active_model().reset_all().insert(&savepoint).await.map(|_| ()))?;
            savepoint.rollback().await?;
        }
        14 => {
            let playlist = playlist::ActiveModel { name: Set(Some(random.text())), ..Default::default() };
            let mut playlist = playlist.save(db).await?;
            playlist.name = Set(None);
            let playlist = playlist.save(db).await?;
            if random.below(2) == 0 {
                playlist.delete(db).await?;
            }
        }
        _ => {
            let found = any::<invoice::Entity, C>(random, db, invoice::Column::InvoiceId).await?;
            let Some(invoice) = found else { return Ok(()) };
            let mut invoice = invoice.into_active_model();
            invoice.total = Set(Decimal::new(random.below(100_000).into(), 2));
            invoice.billing_state = Set(None);
            invoice.update(db).await?;
        }
    }
    Ok(())
}

/// What is due where a constraint is violated; another error, of a lock for one, is passed on.
fn refused(result: Result<(), DbErr>) -> Result<(), DbErr> {
    match result {
        Ok(()) => Err(DbErr::Custom("a violated constraint was not noticed".to_owned())),
        Err(error) if error.sql_err().is_some() => Ok(()),
        Err(error) => Err(error),
    }
}

/// A random row: the first one whose key is at least a random number.
pub(crate) async fn any<E, C>(random: &mut Random, db: &C, key: E::Column) -> Result<Option<E::Model>, DbErr>
where
    E: EntityTrait,
    C: ConnectionTrait,
{
    let last =
        E::find().select_only().column_as(key.max(), "last").into_tuple::<Option<i32>>().one(db).await?;
    let Some(last) = last.flatten().and_then(|last| u32::try_from(last).ok()) else { return Ok(None) };
    let mut found = E::find().filter(key.gte(random.below(last + 1)));
    for key in E::PrimaryKey::iter() {
        found = found.order_by_asc(key.into_column());
    }
    found.one(db).await
}
