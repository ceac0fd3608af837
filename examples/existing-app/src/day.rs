//! A day of work at the store. Everybody works in a scope of their own; that is all the code has to do with auditing,
//! except where something is to be recorded that no row shows.

use audit_seaorm::{AuditContext, AuditTask, Operation, log_failure, scope};
use sea_orm::prelude::{ChronoUtc, Decimal};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel,
    JoinType, ModelTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, RelationTrait, Set, SqlErr,
    TransactionTrait,
};

use crate::entities::prelude::*;
use crate::entities::{
    album, artist, customer, employee, genre, invoice, invoice_line, playlist, playlist_track, track,
};
use crate::{Error, TENANT};

/// The whole day.
///
/// # Errors
/// [`Error::Missing`] if the data has nobody to do the work or nothing to work on; [`Error::Database`] if the database
/// refuses something that it should not.
pub async fn work(db: &DatabaseConnection) -> Result<(), Error> {
    let staff = Staff::find(db).await?;
    let orders = scope(staff.first_agent(), take_orders(db, staff.agents.0.employee_id)).await?;
    let new_prices = staff.manager().reason("price list of the spring").transaction_id("price-list-spring");
    scope(new_prices, change_prices(db)).await?;
    scope(staff.second_agent(), look_after_customers(db, &staff)).await?;
    scope(staff.first_agent(), rearrange_playlists(db)).await?;
    if let Some(order) = orders.last() {
        scope(staff.first_agent().reason("cancelled by the customer"), cancel_order(db, order)).await?;
    }
    scope(staff.administrator(), try_to_delete_an_artist(db)).await?;
    scope(staff.manager().reason("mailing of the spring"), export_addresses(db)).await?;
    remove_empty_playlists(db).await
}

/// Who works today.
struct Staff {
    manager: employee::Model,
    agents: (employee::Model, employee::Model),
    administrator: employee::Model,
}

impl Staff {
    async fn find(db: &DatabaseConnection) -> Result<Self, Error> {
        Ok(Self {
            manager: employee_with_title(db, "Sales Manager", 0).await?,
            agents: (
                employee_with_title(db, "Sales Support Agent", 0).await?,
                employee_with_title(db, "Sales Support Agent", 1).await?,
            ),
            administrator: employee_with_title(db, "IT Staff", 0).await?,
        })
    }

    fn manager(&self) -> AuditContext {
        context_of(&self.manager).ip("192.0.2.2")
    }

    fn first_agent(&self) -> AuditContext {
        context_of(&self.agents.0).ip("192.0.2.3")
    }

    fn second_agent(&self) -> AuditContext {
        context_of(&self.agents.1).ip("192.0.2.4")
    }

    fn administrator(&self) -> AuditContext {
        context_of(&self.administrator).ip("192.0.2.6")
    }
}

async fn employee_with_title(
    db: &DatabaseConnection,
    title: &str,
    nth: u64,
) -> Result<employee::Model, Error> {
    let found = Employee::find()
        .filter(employee::Column::Title.eq(title))
        .order_by_asc(employee::Column::EmployeeId)
        .offset(nth)
        .limit(1)
        .one(db)
        .await?;
    found.ok_or_else(|| Error::Missing(format!("employee no. {} with the title `{title}`", nth + 1)))
}

fn context_of(employee: &employee::Model) -> AuditContext {
    let context = AuditContext::user(employee.employee_id)
        .named(format!("{} {}", employee.first_name, employee.last_name))
        .tenant(TENANT);
    match &employee.email {
        Some(email) => context.email(email),
        None => context,
    }
}

/// An order for each of the agent's first three customers: an invoice and its lines, which commit together.
async fn take_orders(db: &DatabaseConnection, agent: i32) -> Result<Vec<invoice::Model>, Error> {
    let customers = Customer::find()
        .filter(customer::Column::SupportRepId.eq(agent))
        .order_by_asc(customer::Column::CustomerId)
        .limit(3)
        .all(db)
        .await?;
    let mut orders = Vec::new();
    for (nth, customer) in (0..).zip(customers) {
        let tracks = Track::find()
            .order_by_asc(track::Column::TrackId)
            .offset(nth * 2)
            .limit(2 + nth % 2)
            .all(db)
            .await?;
        let transaction = db.begin().await?;
        let order = invoice::ActiveModel {
            customer_id: Set(customer.customer_id),
            invoice_date: Set(ChronoUtc::now().date_naive().into()),
            billing_address: Set(customer.address),
            billing_city: Set(customer.city),
            billing_state: Set(customer.state),
            billing_country: Set(customer.country),
            billing_postal_code: Set(customer.postal_code),
            total: Set(tracks.iter().map(|track| track.unit_price).sum()),
            ..Default::default()
        };
        let order = order.insert(&transaction).await?;
        for track in tracks {
            let line = invoice_line::ActiveModel {
                invoice_id: Set(order.invoice_id),
                track_id: Set(track.track_id),
                unit_price: Set(track.unit_price),
                quantity: Set(1),
                ..Default::default()
            };
            line.insert(&transaction).await?;
        }
        transaction.commit().await?;
        orders.push(order);
    }
    Ok(orders)
}

/// Science fiction becomes cheaper. The approval is no change of a row, but commits with those that it is about.
async fn change_prices(db: &DatabaseConnection) -> Result<(), Error> {
    let genre = Genre::find().filter(genre::Column::Name.eq("Science Fiction")).one(db).await?;
    let genre = genre.ok_or_else(|| Error::Missing("genre `Science Fiction`".to_owned()))?;
    let new_price = Decimal::new(149, 2);
    let transaction = db.begin().await?;
    let tracks = Track::find()
        .filter(track::Column::GenreId.eq(genre.genre_id))
        .order_by_asc(track::Column::TrackId)
        .all(&transaction)
        .await?;
    let changed = tracks.len();
    for track in tracks {
        let mut track = track.into_active_model();
        track.unit_price = Set(new_price);
        track.update(&transaction).await?;
    }
    Operation::new("approve", "price_list")
        .id(format!("genre-{}", genre.genre_id))
        .name("Science Fiction, spring")
        .framework("SOX")
        .with("tracks", changed)
        .log(&transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// One customer has moved, another one gets a new agent, and one save changes nothing: that makes no entry.
async fn look_after_customers(db: &DatabaseConnection, staff: &Staff) -> Result<(), Error> {
    let mut customers = Customer::find()
        .filter(customer::Column::SupportRepId.eq(staff.agents.1.employee_id))
        .order_by_asc(customer::Column::CustomerId)
        .limit(2)
        .all(db)
        .await?
        .into_iter();
    let (Some(first), Some(second)) = (customers.next(), customers.next()) else {
        return Err(Error::Missing("two customers of the second agent".to_owned()));
    };
    let mut moved = first.into_active_model();
    moved.address = Set(Some("Ulitsa Repina 7".to_owned()));
    moved.city = Set(Some("София".to_owned()));
    moved.country = Set(Some("Bulgaria".to_owned()));
    moved.state = Set(None);
    moved.phone = Set(Some("+359 2 555 0123".to_owned()));
    let moved = moved.update(db).await?;

    let same_city = moved.city.clone();
    let mut same = moved.into_active_model();
    same.city = Set(same_city);
    same.update(db).await?;

    let mut handed_over = second.into_active_model();
    handed_over.support_rep_id = Set(Some(staff.agents.0.employee_id));
    handed_over.update(db).await?;
    Ok(())
}

/// In one playlist two tracks give way to two others, and it gets a new name; another one is deleted.
async fn rearrange_playlists(db: &DatabaseConnection) -> Result<(), Error> {
    let grunge = playlist_named(db, "Grunge").await?;
    let listed = tracks_of(db, &grunge).await?;
    let others = Track::find()
        .filter(track::Column::TrackId.is_not_in(listed.iter().map(|entry| entry.track_id)))
        .order_by_asc(track::Column::TrackId)
        .limit(2)
        .all(db)
        .await?;
    let transaction = db.begin().await?;
    for entry in listed.into_iter().take(2) {
        entry.delete(&transaction).await?;
    }
    for other in others {
        let entry = playlist_track::ActiveModel {
            playlist_id: Set(grunge.playlist_id),
            track_id: Set(other.track_id),
        };
        entry.insert(&transaction).await?;
    }
    let mut renamed = grunge.into_active_model();
    renamed.name = Set(Some("Grunge & Garage".to_owned()));
    renamed.update(&transaction).await?;
    transaction.commit().await?;

    let last_year = playlist_named(db, "On-The-Go 1").await?;
    let transaction = db.begin().await?;
    for entry in tracks_of(&transaction, &last_year).await? {
        entry.delete(&transaction).await?;
    }
    last_year.delete(&transaction).await?;
    transaction.commit().await?;
    Ok(())
}

async fn playlist_named(db: &DatabaseConnection, name: &str) -> Result<playlist::Model, Error> {
    let found = Playlist::find().filter(playlist::Column::Name.eq(name)).one(db).await?;
    found.ok_or_else(|| Error::Missing(format!("playlist `{name}`")))
}

async fn tracks_of<C: ConnectionTrait>(
    db: &C,
    playlist: &playlist::Model,
) -> Result<Vec<playlist_track::Model>, DbErr> {
    PlaylistTrack::find()
        .filter(playlist_track::Column::PlaylistId.eq(playlist.playlist_id))
        .order_by_asc(playlist_track::Column::TrackId)
        .all(db)
        .await
}

/// The lines go with their invoice, or nothing goes.
async fn cancel_order(db: &DatabaseConnection, order: &invoice::Model) -> Result<(), Error> {
    let transaction = db.begin().await?;
    for line in order.find_related(InvoiceLine).all(&transaction).await? {
        line.delete(&transaction).await?;
    }
    order.clone().delete(&transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// The albums of the artist stand in the way. What had been done until then is undone, with its entries; that somebody
/// tried is recorded all the same.
async fn try_to_delete_an_artist(db: &DatabaseConnection) -> Result<(), Error> {
    let found = Artist::find()
        .join(JoinType::InnerJoin, artist::Relation::Album.def())
        .order_by_asc(artist::Column::ArtistId)
        .order_by_asc(album::Column::AlbumId)
        .one(db)
        .await?;
    let artist = found.ok_or_else(|| Error::Missing("artist with an album".to_owned()))?;
    let attempt = Operation::new("delete", "artist").id(artist.artist_id);
    let attempt = match &artist.name {
        Some(name) => attempt.name(name),
        None => attempt,
    };

    let transaction = db.begin().await?;
    let mut renamed = artist.into_active_model();
    renamed.name = Set(Some("(to be deleted)".to_owned()));
    let artist = renamed.update(&transaction).await?;
    match artist.delete(&transaction).await {
        Ok(_) => transaction.commit().await?,
        Err(error) => {
            transaction.rollback().await?;
            // Databases put values into their messages. What goes into the log is our own words.
            let Some(SqlErr::ForeignKeyConstraintViolation(_)) = error.sql_err() else {
                return Err(error.into());
            };
            log_failure(db, attempt, "other rows refer to the artist").await?;
        }
    }
    Ok(())
}

/// Nothing changes, but who has taken addresses out of the house is worth an entry.
async fn export_addresses(db: &DatabaseConnection) -> Result<(), Error> {
    let addresses = Customer::find().filter(customer::Column::Address.is_not_null()).count(db).await?;
    Operation::new("export", "customer")
        .module("sales")
        .framework("GDPR")
        .details("postal addresses")
        .with("rows", addresses)
        .log(db)
        .await?;
    Ok(())
}

/// A job of the night: nobody is logged in, so its entries name the job, and its run makes one as well.
async fn remove_empty_playlists(db: &DatabaseConnection) -> Result<(), Error> {
    let context = AuditContext::service("nightly").tenant(TENANT);
    AuditTask::with_context("remove-empty-playlists", context)
        .run(db, async {
            let empty = Playlist::find()
                .join(JoinType::LeftJoin, playlist::Relation::PlaylistTrack.def())
                .filter(playlist_track::Column::TrackId.is_null())
                .order_by_asc(playlist::Column::PlaylistId)
                .all(db)
                .await?;
            for playlist in empty {
                playlist.delete(db).await?;
            }
            Ok(())
        })
        .await
}
