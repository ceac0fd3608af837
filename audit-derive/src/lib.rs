//! Derive and attribute macros of the audit log for SeaORM.
//!
//! Applications use them through `audit-seaorm`, which re-exports them; what they generate refers to that crate.
//!
//! | macro | stands on | does |
//! |---|---|---|
//! | [`Auditable`](macro@Auditable) | the `Model` of an entity | describes the resource, and compares its rows field by field |
//! | [`macro@audited`] | `impl ActiveModelBehavior for ActiveModel` | records creates, updates and deletes through SeaORM's hooks |
//! | [`macro@audit_action`] | an `async fn` | records that it was called, and whether it succeeded |
//!
//! All mistakes of an item are reported at once, each at its token and with the form that is accepted. Nothing that
//! the attributes say costs anything at run time: options are checked and turned into constants by the compiler.

// Libraries print nothing and don't panic; tests may.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

// A derive passes through the files so: attributes are parsed (`attr`, with `parse`)
// into what they say (`model`), which is checked and then expanded, or falls back to an impl that does nothing.
mod action;
mod attr;
mod audited;
mod check;
mod ctxt;
mod expand;
mod fallback;
mod model;
mod parse;
mod words;

use proc_macro::TokenStream;

/// Makes the rows of an entity auditable: describes the resource, and writes the code that compares two rows.
///
/// ```ignore
/// #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Auditable)]
/// #[sea_orm(table_name = "bank_account")]
/// #[audit(resource = "BankAccount", module = "finance", frameworks("SOX"), classification = "confidential")]
/// pub struct Model {
///     #[sea_orm(primary_key)]
///     pub id: i64,
///     #[audit(name)]
///     pub bank_name: String,
///     pub balance: Decimal,
///     #[audit(mask)]
///     pub account_number: String,
///     #[audit(exclude)]
///     pub pin_hash: String,
///     #[audit(silent)]
///     pub last_seen: DateTimeUtc,
/// }
/// ```
///
/// Both of SeaORM's formats are understood, `DeriveEntityModel` alone and `#[sea_orm::model]`, as are entities that
/// are written out (`DeriveModel` with a `Column` enum of their own). In the second format the derive stands below
/// `#[sea_orm::model]`, among the others. A field's type needs nothing beyond what SeaORM asks of it.
///
/// Deriving records nothing by itself: rows are captured by [`macro@audited`], or by the connection.
///
/// # Options of the struct
///
/// | `#[audit(..)]` | meaning | if not said |
/// |---|---|---|
/// | `resource = "BankAccount"` | name of the resource in entries | the table's name, with its schema |
/// | `module = "finance"` | functional area | none |
/// | `frameworks("SOX", "PCI_DSS")` | compliance frameworks that the entries count for | none |
/// | `classification = "confidential"` | `public`, `internal`, `confidential`, `restricted` or `top_secret`, in any case | the highest of the recorded fields |
/// | `on(create, update, delete, read)` | the operations that make entries: these and no others | `on(create, update, delete)` |
/// | `reads` | reading makes entries, too | see `on` |
/// | `snapshot` | entries carry the whole row before and after, besides the changes | the configuration decides |
/// | `on_failure = "best_effort"` | what happens to a write whose entry can't be written: `block`, it fails; `outbox`, it stays, and the entry goes to the spool; `best_effort`, it stays, and the loss is counted | the configuration decides |
/// | `skip`, or `skip, reason = ".."` | the entity is waived from auditing, with the reason for those who ask; only `crate` may stand beside it | audited |
/// | `crate = "path"`, or `crate = path` | where the library is, if you re-export it | `::audit_seaorm` |
///
/// # Options of a field
///
/// | `#[audit(..)]` | meaning | not together with |
/// |---|---|---|
/// | `exclude` | never recorded; a change of it alone makes no entry. Of a key, ids show a digest | any other option |
/// | `include` | recorded; as soon as one field says so, those that don't are not recorded | `exclude`, `mask` |
/// | `mask` | that it changed is recorded, its value is not: it shows as `***` | `exclude`, `include`, `name`, `with` |
/// | `silent` | recorded with other changes; a change of it alone makes no entry | `exclude` |
/// | `label`, or `label = ".."` | a reference: what the row is called that it refers to is recorded along; see below | `exclude`, `mask`, `sensitive`, `with` |
/// | `name` | gives entries their resource name, for people; one field may have it | `exclude`, `mask`, `sensitive` |
/// | `rename = "iban"` | name of the field in entries, instead of the column's | `exclude`; a name that another field has |
/// | `alias = "old_name"`, or `alias("older", "oldest")` | names that the field has in older entries, so that history and restore find its values; may be repeated | `exclude`; a name or alias of another field |
/// | `sensitive`, or `sensitive = true` | a secret: masked, and the entry is flagged. `sensitive = false`: not a secret, though its name looks like one | `exclude`; `name`, unless `false` |
/// | `classification = "restricted"` | as above; instead of what follows from name and type | `exclude` |
/// | `with = path::to::function` | records what the function makes of the value | `exclude`, `mask` |
///
/// Options can be spread over several `#[audit(..)]`; one that is given twice is a mistake. The function of `with` is
/// called with a reference to the field, and gives whatever turns into the library's `Value`: a number, a text, a
/// JSON document, an `Option` or `Vec` of these. It is called only where a value is recorded, and does not make the
/// field's name less telling: a field called `password` stays masked unless it says `sensitive = false`.
///
/// ```ignore
/// /// `DE89370400440532013000` is recorded as `DE..3000`.
/// fn shorten(iban: &str) -> String {
///     format!("{}..{}", &iban[..2], &iban[iban.len() - 4..])
/// }
/// ```
///
/// # Labels
///
/// A number alone says little once the row that it refers to has another name, or is gone. `label` on the field of a
/// `belongs_to` keeps the name that the row had at the time:
///
/// ```ignore
/// #[audit(label = "name")]
/// pub artist_id: i32,
/// ```
///
/// records `"artist_id":{"old":1,"new":2,"old_label":"AC/DC","new_label":"Accept"}`.
///
/// | | the label is |
/// |---|---|
/// | `label` | the field of the referenced entity that has `#[audit(name)]` |
/// | `label = "title"` | this column of the referenced table |
/// | `label = "Relation::Album"` | as `label`, of the table that this relation leads to: needed where several begin at the field |
/// | `label = "Relation::Album.title"` | this column of the table that this relation leads to |
///
/// It must be a column of texts that entries about the referenced entity show as it is, so that entity has to derive
/// `Auditable`, carry `#[audited]` or be registered; it need not be audited. Building the audit fails otherwise. A change
/// of other fields reads no label.
///
/// Fields with `#[sea_orm(ignore)]` are no columns and can't have options. On relations options mean nothing, and are
/// let through.
///
/// # What is generated
///
/// An `impl Auditable for Model`, in which each column has one line, and a note for the linker by which
/// `register_module` and the hooks find the entity. An excluded field has no line in `diff`. Nothing of it is visible
/// by name in your module.
#[proc_macro_derive(Auditable, attributes(audit, sea_orm))]
pub fn derive_auditable(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::derive(input).into()
}

/// Records what is saved and deleted through the active model, by SeaORM's hooks.
///
/// ```ignore
/// #[audited]
/// impl ActiveModelBehavior for ActiveModel {}
/// ```
///
/// Hooks of your own stay, and keep running:
///
/// ```ignore
/// #[audited]
/// impl ActiveModelBehavior for ActiveModel {
///     async fn before_save<C>(mut self, _db: &C, _insert: bool) -> Result<Self, DbErr>
///     where
///         C: ConnectionTrait,
///     {
///         self.updated_at = Set(Utc::now());
///         Ok(self)
///     }
/// }
/// ```
///
/// # Order
///
/// | | first | then |
/// |---|---|---|
/// | `before_save`, `before_delete` | yours, which may still change values or refuse | the library's: the row is read as it is |
/// | `after_save`, `after_delete` | the library's: what the database now holds is recorded | yours, which may fail |
///
/// # Options
///
/// | | meaning |
/// |---|---|
/// | `#[audited(crate = "path")]`, or `crate = path` | where the library is, if you re-export it |
///
/// `#[async_trait]` is not needed: the hooks can be plain `async fn`s. If it is there, above or below, it stays in
/// use. Other items of the impl, such as `fn new()`, are left alone.
///
/// # Requirements and limits
///
/// The model need not derive [`Auditable`](macro@Auditable): without it all columns are recorded, compared through
/// SeaORM's values.
///
/// SeaORM's `ActiveModelTrait::update_without_returning` calls no `after_save`. The macro therefore gives the active
/// model a method of the same name, which is found before the trait's and records the change; generic code that calls
/// the trait's method goes past it. Hooks don't see statements that SeaORM doesn't send through active models, such as
/// `insert_many`, `update_many` and raw SQL.
#[proc_macro_attribute]
pub fn audited(arguments: TokenStream, item: TokenStream) -> TokenStream {
    audited::expand(arguments.into(), item.into()).into()
}

/// Records the calls of an async function, whether they succeed or fail.
///
/// ```ignore
/// #[audit_action(entity_type = "alert", action = "escalate", entity_id = alert_id, severity = "high")]
/// async fn escalate(db: &DatabaseConnection, alert_id: i64, to: &str) -> Result<Alert, DbErr> {
///     ..
/// }
/// ```
///
/// It stands on free functions and on methods, also in impls of traits, with `#[async_trait]` or without.
///
/// # Options
///
/// | | meaning | if not said |
/// |---|---|---|
/// | `entity_type = "alert"` | type of the resource; a text or a constant | required |
/// | `action = "escalate"` | what is done; a text or a constant | required |
/// | `entity_id = alert_id` | an expression for the resource's id, anything with `Display` | none |
/// | `entity_name = alert.title` | an expression for its name, anything with `Display` | none |
/// | `module = "security"` | functional area; a text or a constant | none |
/// | `severity = "high"` | `low`, `medium`, `high` or `critical` | low, or medium if the function fails |
/// | `db = self.db` | an expression for the connection, behind references and smart pointers too | an argument `db`, `conn` or `txn` that is a reference to a connection, else the audit's own connection |
/// | `crate = "path"`, or `crate = path` | where the library is, if you re-export it | `::audit_seaorm` |
///
/// Expressions can use the function's arguments and `self`. They are evaluated before the body runs, which may consume
/// its arguments; they only borrow. What the connection is taken from stays borrowed while the body runs.
///
/// # Behaviour
///
/// The function's value or error is passed on as it is. A `Result` whose error has `Display` is recorded as failed with
/// the error's text; any other `Err` and any other value is a success. A success is recorded over the connection, and
/// thus within its transaction, if it is one; a failure apart from it, as far as the audit has a connection of its own.
///
/// If a success can't be recorded, the function fails with that error, provided that its error type has `From<DbErr>`;
/// otherwise the loss is logged. A call whose future is dropped before it ends, or that panics, is not recorded.
///
/// The return type must be one that can be named: not `impl Trait`. If the future is to be `Send`, the return type must
/// be so, too.
#[proc_macro_attribute]
pub fn audit_action(arguments: TokenStream, item: TokenStream) -> TokenStream {
    action::expand(arguments.into(), item.into()).into()
}
