//! Load: single writes, bulk, raw SQL, upserts, cascades; alone, in transactions and savepoints that commit, roll back
//! or are dropped. Most of them get in each other's way.

use audit_seaorm::{Audit, AuditConnection, AuditContext};
use audit_tests::TestDb;
use existing_app::entities::{genre, invoice_line, playlist_track};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel,
    ModelTrait, QueryFilter, Set, TransactionTrait,
};

use crate::chinook;
use crate::fixtures::books::{book, loan};
use crate::fixtures::keys::shelf;
use crate::random::Random;
use crate::replay::{Tables, table};

/// What is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Fifty shelves, with books that go with them, and loans.
    Shelves,
    /// The Chinook store.
    Chinook,
}

impl Load {
    fn audit(self) -> Audit {
        match self {
            Self::Shelves => Audit::builder().build().expect("an audit"),
            Self::Chinook => existing_app::audit().expect("an audit"),
        }
    }

    pub(crate) fn connect(self, db: DatabaseConnection) -> AuditConnection {
        self.audit().connect(db).with_context(AuditContext::user(7).named("Ann").tenant("acme"))
    }

    /// The tables as entries should tell of them.
    pub(crate) async fn stored(self, t: &TestDb) -> Result<Tables, DbErr> {
        let audit = self.audit();
        match self {
            Self::Shelves => Ok(Tables::from([
                table::<shelf::Entity>(t, &audit).await?,
                table::<book::Entity>(t, &audit).await?,
                table::<loan::Entity>(t, &audit).await?,
            ])),
            Self::Chinook => chinook::stored(t, &audit).await,
        }
    }

    /// One write, or one transaction of several.
    pub(crate) async fn operation(self, db: &AuditConnection, random: &mut Random) -> Result<(), DbErr> {
        if random.below(3) == 0 { self.transaction(db, random).await } else { self.write(db, random).await }
    }

    async fn transaction(self, db: &AuditConnection, random: &mut Random) -> Result<(), DbErr> {
        let transaction = db.begin().await?;
        for _ in 0..random.below(3) {
            self.write(&transaction, random).await?;
        }
        let nested = transaction.begin().await?;
        self.write(&nested, random).await?;
        if random.below(2) == 0 {
            nested.commit().await?
        } else {
            nested.rollback().await?
        }
        self.write(&transaction, random).await?;
        match random.below(4) {
            0 => transaction.rollback().await,
            1 => {
                drop(transaction);
                Ok(())
            }
            _ => transaction.commit().await,
        }
    }

    async fn write<C>(self, db: &C, random: &mut Random) -> Result<(), DbErr>
    where
        C: ConnectionTrait + TransactionTrait,
    {
        match self {
            Self::Shelves => shelves(db, random).await,
            Self::Chinook => store(db, random).await,
        }
    }
}

async fn shelves<C: ConnectionTrait>(db: &C, random: &mut Random) -> Result<(), DbErr> {
    use shelf::{Column, Entity, Model};
    let room = ["a", "b", "c", "d", "e"][random.below(5) as usize].to_owned();
    let number = random.below(10) as i32;
    let label = format!("label {}", random.below(1000));
    let shelf = Model { room: room.clone(), number, label: label.clone() };
    let active = shelf.clone().into_active_model().reset_all();
    let key = || OnConflict::columns([Column::Room, Column::Number]);
    let book = random.below(30) as i32;
    match random.below(14) {
        0 => _ = active.insert(db).await?,
        1 => _ = active.update(db).await?,
        2 => _ = shelf.delete(db).await?,
        3 => {
            let many = Entity::update_many().col_expr(Column::Label, Expr::value(label));
            many.filter(Column::Room.eq(room)).exec(db).await?;
        }
        4 => {
            let many = Entity::delete_many().filter(Column::Room.eq(room)).filter(Column::Number.gt(number));
            many.exec(db).await?;
        }
        5 | 6 => {
            let rows = (number..number + 3).map(|number| {
                Model { room: room.clone(), number, label: label.clone() }.into_active_model().reset_all()
            });
            let upsert = key().update_column(Column::Label).to_owned();
            Entity::insert_many(rows).on_conflict(upsert).exec_without_returning(db).await?;
        }
        7 => {
            let sql = format!("UPDATE shelf SET label = concat(label, '+') WHERE number = {number}");
            db.execute_unprepared(&sql).await?;
        }
        8 => {
            let nothing = key().do_nothing_on([Column::Room]).to_owned();
            Entity::insert_many([active]).on_conflict(nothing).exec_without_returning(db).await?;
        }
        9 | 10 => {
            let row = book::ActiveModel {
                id: Set(book),
                room: Set(room),
                number: Set(number),
                title: Set(random.text()),
            };
            let upsert = OnConflict::column(book::Column::Id)
                .update_columns([book::Column::Room, book::Column::Number, book::Column::Title])
                .to_owned();
            book::Entity::insert_many([row]).on_conflict(upsert).exec_without_returning(db).await?;
        }
        11 => {
            let row = loan::ActiveModel {
                id: Set(random.below(50) as i32),
                book_id: Set(Some(book)),
                reader: Set(random.text()),
            };
            let upsert = OnConflict::column(loan::Column::Id)
                .update_columns([loan::Column::BookId, loan::Column::Reader])
                .to_owned();
            loan::Entity::insert_many([row]).on_conflict(upsert).exec_without_returning(db).await?;
        }
        12 => {
            let row = book::ActiveModel { id: Set(book), title: Set(random.text()), ..Default::default() };
            row.update(db).await?;
        }
        _ => _ = book::Entity::delete_by_id(book).exec(db).await?,
    }
    Ok(())
}

async fn store<C>(db: &C, random: &mut Random) -> Result<(), DbErr>
where
    C: ConnectionTrait + TransactionTrait,
{
    let playlist = 1 + random.below(18) as i32;
    let track = 1 + random.below(3500) as i32;
    match random.below(12) {
        0 => {
            let more = Expr::col(invoice_line::Column::Quantity).add(1);
            let many = invoice_line::Entity::update_many().col_expr(invoice_line::Column::Quantity, more);
            many.filter(invoice_line::Column::InvoiceId.eq(random.below(400))).exec(db).await?;
        }
        1 => {
            let sql = format!(
                "UPDATE track SET composer = concat(composer, '+'), milliseconds = milliseconds - 1 WHERE album_id = {}",
                random.below(340)
            );
            db.execute_unprepared(&sql).await?;
        }
        2 => {
            let rows = (track..track + 5).map(|track| playlist_track::ActiveModel {
                playlist_id: Set(playlist),
                track_id: Set(track),
            });
            let nothing =
                OnConflict::columns([playlist_track::Column::PlaylistId, playlist_track::Column::TrackId])
                    .do_nothing_on([playlist_track::Column::PlaylistId])
                    .to_owned();
            playlist_track::Entity::insert_many(rows).on_conflict(nothing).exec_without_returning(db).await?;
        }
        3 => {
            let many = playlist_track::Entity::delete_many()
                .filter(playlist_track::Column::PlaylistId.eq(playlist))
                .filter(playlist_track::Column::TrackId.between(track, track + 20));
            many.exec(db).await?;
        }
        4 => {
            let row = genre::ActiveModel {
                genre_id: Set(1 + random.below(20) as i32),
                name: Set(Some(random.text())),
            };
            let upsert =
                OnConflict::column(genre::Column::GenreId).update_column(genre::Column::Name).to_owned();
            genre::Entity::insert_many([row]).on_conflict(upsert).exec_without_returning(db).await?;
        }
        _ => chinook::change(random, db).await?,
    }
    Ok(())
}
