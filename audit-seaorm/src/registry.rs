//! Which entities are audited, and how.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use audit_core::{Config, Diff, EntityOptions, Error, FailurePolicy, FieldValues, ResourcePolicy, Sanitizer};
use sea_orm::sea_query::{Expr, SelectStatement};
use sea_orm::{DbErr, EntityTrait, QueryResult};

mod codec;
mod declared;
mod references;

use references::Announced;

pub(crate) use codec::Codec;
pub(crate) use declared::Row;
pub use declared::{Declaration, Declared};
pub(crate) use references::Reference;

/// An audited entity: how its rows are treated, compared and read.
#[derive(Debug)]
pub struct Audited {
    pub(crate) policy: ResourcePolicy,
    /// Whether the table was once seen to have triggers that run after a write, in any database.
    pub(crate) triggers: AtomicBool,
    /// Whether it was said that writes over a migrator's connection are not recorded.
    pub(crate) migrated: AtomicBool,
    /// The fields that refer to rows whose labels are recorded along.
    pub(crate) references: Vec<Reference>,
    declared: Declared,
}

impl Audited {
    /// Whether `#[audited]` stands on the entity's hooks.
    pub(crate) fn is_hooked(&self) -> bool {
        self.declared.hooked
    }

    /// How the entity's fields are treated.
    pub fn policy(&self) -> &ResourcePolicy {
        &self.policy
    }

    pub(crate) fn diff(&self, old: &dyn Any, new: &dyn Any, diff: &mut Diff<'_>) {
        (self.declared.diff)(old, new, diff);
    }

    pub(crate) fn values(&self, row: &dyn Any, values: &mut FieldValues<'_>) {
        (self.declared.values)(row, values);
    }

    /// Reads a row out of a result whose columns are named as the entity's, behind this prefix.
    pub(crate) fn decode(&self, row: &QueryResult, prefix: &str) -> Result<Row, DbErr> {
        // The driver panics at a value for which the field's type has no room, such as a date of infinity.
        let decoded = catch_unwind(AssertUnwindSafe(|| (self.declared.decode)(row, prefix)));
        decoded.unwrap_or_else(|_| {
            let table = &self.policy.table;
            Err(DbErr::Type(format!(
                "a value in a row of `{table}` is beyond what its field's type can hold"
            )))
        })
    }

    /// The entity's columns with the expressions that SeaORM reads them by; `source` gives the raw column.
    pub(crate) fn select(&self, source: &dyn Fn(&str) -> Expr) -> Vec<(String, Expr)> {
        (self.declared.select)(source)
    }

    /// The names of the primary key's columns with their values in this row.
    pub(crate) fn key(&self, row: &dyn Any) -> Vec<(String, sea_orm::Value)> {
        (self.declared.key)(row)
    }

    /// Its rows made from values.
    pub(crate) fn codec(&self) -> Codec {
        self.declared.codec
    }

    /// The value of the column with this name.
    pub(crate) fn get(&self, row: &dyn Any, column: &str) -> Option<sea_orm::Value> {
        self.declared.types.get(row, column)
    }

    /// Reads the rows with these rows' primary keys; none if there are none.
    pub(crate) fn find(&self, rows: &[&dyn Any]) -> SelectStatement {
        (self.declared.find)(rows)
    }
}

/// What the builder was told, before it is checked.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    pub(crate) modules: Vec<String>,
    pub(crate) registered: Vec<(Declared, EntityOptions)>,
    pub(crate) excluded: Vec<TypeId>,
    pub(crate) excluded_names: Vec<String>,
    /// Names of tables, resources or columns with the reasons for which they aren't audited.
    pub(crate) waivers: BTreeMap<String, String>,
}

impl Selection {
    /// Whether nothing was said.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { modules, registered, excluded, excluded_names, waivers } = self;
        modules.is_empty()
            && registered.is_empty()
            && excluded.is_empty()
            && excluded_names.is_empty()
            && waivers.is_empty()
    }
}

/// An entity that the program has, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) table: String,
    pub(crate) resource: String,
    /// Path of its type.
    pub(crate) entity: &'static str,
    pub(crate) fate: Fate,
}

/// What became of an entity.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Audited,
    /// It isn't audited, for this reason.
    Waived(String),
    /// It isn't audited, and nobody said why.
    LeftOut(&'static str),
    /// Its attributes contradict each other.
    Invalid(String),
}

/// The audited entities of an application.
#[derive(Debug, Default)]
pub struct Registry {
    entities: HashMap<TypeId, Result<Arc<Audited>, String>>,
    /// By table; one entity for each, though several may share it. An `Err` says what is wrong with it.
    tables: BTreeMap<String, Result<Arc<Audited>, String>>,
    /// By resource, where it isn't the configuration's.
    on_failure: HashMap<String, FailurePolicy>,
    left_out: Vec<String>,
    known: Vec<Known>,
    waivers: BTreeMap<String, String>,
    /// Names in the configuration that are no entity's, with the setting.
    unmatched: Vec<(&'static str, String)>,
}

/// The method whose names have to be there: they are the program's own.
const EXCEPT: &str = "audit_everything_except";

impl Registry {
    /// Resolves the selection against everything that was announced at link time.
    ///
    /// `strict`: the first mistake is the result. Otherwise a mistake is kept with its entity, and comes up when the
    /// entity is written to; that is for the audit that counts where nothing was built.
    pub(crate) fn build(
        selection: &Selection,
        config: &Config,
        sanitizer: &Arc<Sanitizer>,
        strict: bool,
    ) -> Result<Self, Error> {
        let announced = announced();
        check_modules(&selection.modules, &announced)?;
        let mut chosen: Vec<(Declared, EntityOptions)> = Vec::new();
        let mut waivers = config.waivers.clone();
        waivers.extend(selection.waivers.clone());
        let mut known = Vec::new();
        for (path, declared) in &announced {
            let wanted = selection.modules.is_empty()
                || selection.modules.iter().any(|module| module_matches(module, path));
            if selection.registered.iter().any(|(registered, _)| registered.entity == declared.entity) {
                continue;
            }
            if wanted {
                chosen.push((declared.clone(), EntityOptions::default()))
            } else {
                let outside = Fate::LeftOut("it is outside of the registered modules");
                known.push(declared.known(left_out(declared, selection, &waivers).unwrap_or(outside)));
            }
        }
        for (registered, options) in &selection.registered {
            // What the derive knows is kept; the registration only adds to it.
            let declared =
                announced.iter().map(|(_, declared)| declared).find(|d| d.entity == registered.entity);
            chosen.push((declared.unwrap_or(registered).clone(), options.clone()));
        }

        let registered = |entity: TypeId| chosen.iter().find(|(declared, _)| declared.entity == entity);
        let others =
            announced.iter().map(|(_, declared)| declared).filter(|d| registered(d.entity).is_none());
        let all = Announced {
            entities: chosen
                .iter()
                .map(|(declared, options)| (declared, Some(options)))
                .chain(others.map(|declared| (declared, None)))
                .collect(),
            config,
            sanitizer,
        };
        let mut entities = HashMap::new();
        let mut tables = BTreeMap::new();
        let mut tables_by_resource: HashMap<String, String> = HashMap::new();
        let mut unmatched: BTreeSet<(&'static str, &str)> = BTreeSet::new();
        unmatched.extend(selection.excluded_names.iter().map(|name| (EXCEPT, name.as_str())));
        unmatched.extend(config.skip_resources.iter().map(|name| ("skip_resources", name.as_str())));
        unmatched.extend(config.resources.keys().map(|name| ("resources", name.as_str())));
        for (declared, options) in &chosen {
            let entity = declared.entity;
            if let Some(fate) = left_out(declared, selection, &waivers) {
                known.push(declared.known(fate));
                continue;
            }
            let audited = ResourcePolicy::resolve(
                &declared.table,
                &declared.columns,
                declared.spec,
                options,
                config,
                sanitizer,
            )
            .and_then(|policy| one_table_each(policy, &mut tables_by_resource))
            .and_then(|mut policy| {
                let fixed = options.classification.or(declared.spec.classification).is_some();
                let references = all.references(&mut policy, declared, fixed)?;
                Ok((policy, references))
            });
            let (policy, references) = match audited {
                Ok(audited) => audited,
                Err(error) if strict => return Err(error),
                Err(error) => {
                    known.push(declared.known(Fate::Invalid(error.to_string())));
                    tables.insert(declared.table.clone(), Err(error.to_string()));
                    entities.insert(entity, Err(error.to_string()));
                    continue;
                }
            };
            let named = |name: &str| name == policy.resource || name == policy.table;
            let skipped =
                selection.excluded_names.iter().chain(&config.skip_resources).any(|name| named(name));
            unmatched.retain(|(_, name)| !named(name));
            if let Some(reason) = waivers.get(&policy.resource) {
                known.push(declared.known_as(&policy.resource, Fate::Waived(reason.clone())));
            } else if skipped {
                known.push(
                    declared.known_as(&policy.resource, Fate::LeftOut("a list of exceptions names it")),
                );
            } else {
                known.push(declared.known_as(&policy.resource, Fate::Audited));
                let audited = Arc::new(Audited {
                    policy,
                    triggers: AtomicBool::new(false),
                    migrated: AtomicBool::new(false),
                    references,
                    declared: declared.clone(),
                });
                represent(&mut tables, &audited);
                entities.insert(entity, Ok(audited));
            }
        }
        // Those that are left out in another way, and those whose attributes contradict each other, are known as well.
        unmatched
            .retain(|(_, name)| !known.iter().any(|known| *name == known.table || *name == known.resource));
        if strict && let Some((_, name)) = unmatched.iter().find(|(setting, _)| *setting == EXCEPT) {
            let names: Vec<&str> =
                known.iter().flat_map(|known| [known.resource.as_str(), known.table.as_str()]).collect();
            let closest = audit_core::closest_name(name, &names);
            let hint = closest.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            return Err(Error::Registration(format!(
                "`{EXCEPT}` names `{name}`, and no entity's resource or table is called so{hint}"
            )));
        }
        let unmatched =
            unmatched.into_iter().map(|(setting, name)| (setting, name.to_owned())).collect::<Vec<_>>();
        if strict {
            for (setting, name) in &unmatched {
                // It may be a resource of operations that are recorded by hand.
                tracing::warn!(
                    setting,
                    name,
                    "a name in the settings is that of none of the announced entities"
                );
            }
        }
        let fate = |known: &Known| !matches!(known.fate, Fate::Audited | Fate::Invalid(_));
        let mut left_out: Vec<String> =
            known.iter().filter(|known| fate(known)).map(|known| known.table.clone()).collect();
        left_out.sort();
        let on_failure = failure_policies(entities.values().flatten(), config);
        let registry = Self { entities, tables, on_failure, left_out, known, waivers, unmatched };
        for table in registry.without_hooks() {
            tracing::warn!(
                table,
                "the entity is to be audited, but `#[audited]` doesn't stand on its `impl ActiveModelBehavior`: nothing of it will be recorded"
            );
        }
        Ok(registry)
    }

    /// How this entity is audited, or `None` if it isn't.
    ///
    /// # Errors
    /// [`Error::Registration`] if the entity's attributes contradict each other and no builder has said so before.
    pub fn get<E: EntityTrait>(&self) -> Result<Option<&Arc<Audited>>, Error> {
        self.of_type(TypeId::of::<E>())
    }

    /// The audited tables with what they are audited as, ordered by table. An `Err` is what contradicts itself in the
    /// entity's attributes.
    pub(crate) fn tables(&self) -> &BTreeMap<String, Result<Arc<Audited>, String>> {
        &self.tables
    }

    /// How the entity of this type is audited, or `None` if it isn't.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn of_type(&self, entity: TypeId) -> Result<Option<&Arc<Audited>>, Error> {
        match self.entities.get(&entity) {
            None => Ok(None),
            Some(Ok(audited)) => Ok(Some(audited)),
            Some(Err(message)) => Err(Error::Registration(message.clone())),
        }
    }

    /// The entity that stands for the resource with this name.
    pub(crate) fn of_resource(&self, resource: &str) -> Option<&Arc<Audited>> {
        self.tables.values().flatten().find(|audited| audited.policy.resource == resource)
    }

    /// A resource of which this policy is said.
    pub(crate) fn with_policy(&self, policy: FailurePolicy) -> Option<&str> {
        let named = self.on_failure.iter().find(|(_, said)| **said == policy);
        named.map(|(resource, _)| resource.as_str())
    }

    /// What happens to an operation on this resource whose entry can't be written, if it isn't what the configuration says
    /// of all.
    pub(crate) fn on_failure(&self, resource: &str) -> Option<FailurePolicy> {
        // Few programs make a difference: then there is nothing to look up.
        if self.on_failure.is_empty() { None } else { self.on_failure.get(resource).copied() }
    }

    /// How the resource of this name is audited.
    pub fn policy_of(&self, resource: &str) -> Option<&ResourcePolicy> {
        let known = self.entities.values().filter_map(|audited| audited.as_ref().ok());
        known.map(|audited| &audited.policy).find(|policy| policy.resource == resource)
    }

    /// The audited resources that refer to this one, each with the name of the field in entries, where entries show it as it is.
    pub(crate) fn references_to(&self, resource: &str) -> Vec<(&str, &str)> {
        let audited = || self.entities.values().filter_map(|audited| audited.as_ref().ok());
        let mut found = Vec::new();
        for target in audited().filter(|audited| audited.policy.resource == resource) {
            let mut keys = target.policy.fields.iter().filter(|field| field.key);
            // Its id is the key's text only if the key has one column.
            let (Some(key), None) = (keys.next(), keys.next()) else { continue };
            for other in audited() {
                let columns = other.declared.types.columns_to(&target.policy.table, &key.column);
                let shown = other.policy.fields.iter().filter(|field| field.is_recorded_as_it_is());
                let shown = shown.filter(|field| columns.contains(&field.column));
                found.extend(shown.map(|field| (other.policy.resource.as_str(), field.name.as_str())));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The policies of all audited entities, ordered by resource.
    pub fn policies(&self) -> Vec<&ResourcePolicy> {
        let mut all: Vec<_> =
            self.entities.values().filter_map(|audited| audited.as_ref().ok()).map(|a| &a.policy).collect();
        all.sort_by(|a, b| a.resource.cmp(&b.resource));
        all
    }

    /// Tables of audited entities whose `ActiveModelBehavior` doesn't carry `#[audited]`: no hook will ever see them.
    pub fn without_hooks(&self) -> Vec<&str> {
        let mut tables: Vec<_> = self
            .entities
            .values()
            .filter_map(|audited| audited.as_ref().ok())
            .filter(|audited| !audited.is_hooked())
            .map(|audited| audited.policy.table.as_str())
            .collect();
        tables.sort_unstable();
        tables
    }

    /// All entities that the program has announced or registered.
    pub(crate) fn known(&self) -> &[Known] {
        &self.known
    }

    /// Names in the configuration that are no entity's, with the setting.
    pub(crate) fn unmatched(&self) -> &[(&'static str, String)] {
        &self.unmatched
    }

    /// Reasons for which tables, resources or columns aren't audited, by name.
    pub(crate) fn waivers(&self) -> &BTreeMap<String, String> {
        &self.waivers
    }

    /// Tables of announced entities that are not audited: excluded, waived, or outside the registered modules.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }
}

/// Why an entity is left out, as far as its table tells; by its resource's name it may be as well.
fn left_out(declared: &Declared, selection: &Selection, waivers: &BTreeMap<String, String>) -> Option<Fate> {
    if let Some(reason) = waivers.get(&declared.table) {
        return Some(Fate::Waived(reason.clone()));
    }
    match declared.spec.skip {
        Some("") => Some(Fate::LeftOut("it says `skip`, without a `reason`")),
        Some(reason) => Some(Fate::Waived(reason.to_owned())),
        None => {
            let excluded = selection.excluded.contains(&declared.entity);
            excluded.then_some(Fate::LeftOut("the builder excludes it"))
        }
    }
}

/// Everything announced at link time: one item for each entity, the derive's where there are two.
fn announced() -> Vec<(&'static str, Declared)> {
    let mut all: Vec<(&'static str, Declared)> = Vec::new();
    for declaration in inventory::iter::<Declaration> {
        let declared = (declaration.declare)();
        match all.iter_mut().find(|(_, known)| known.entity == declared.entity) {
            Some(known) => {
                let hooked = known.1.hooked || declared.hooked;
                if declared.derived && !known.1.derived {
                    *known = (declaration.module_path, declared);
                }
                known.1.hooked = hooked;
            }
            None => all.push((declaration.module_path, declared)),
        }
    }
    all.sort_by(|a, b| (a.0, &a.1.table).cmp(&(b.0, &b.1.table)));
    all
}

/// Statements name tables, not entities. Where several entities share one, that with the derive and the most columns
/// counts.
fn represent(tables: &mut BTreeMap<String, Result<Arc<Audited>, String>>, audited: &Arc<Audited>) {
    let rank = |audited: &Audited| (audited.declared.derived, audited.policy.fields.len());
    match tables.get(&audited.policy.table) {
        Some(Ok(known)) if rank(known) >= rank(audited) => {}
        Some(Err(_)) => {}
        _ => _ = tables.insert(audited.policy.table.clone(), Ok(Arc::clone(audited))),
    }
}

/// Entries name resources, not entities: where several entities share one, the strictest policy counts. Resources that are
/// recorded by hand have no entity.
fn failure_policies<'a>(
    audited: impl Iterator<Item = &'a Arc<Audited>>,
    config: &Config,
) -> HashMap<String, FailurePolicy> {
    let by_hand = config.resources.iter().filter_map(|(name, said)| Some((name.clone(), said.on_failure?)));
    let mut policies: HashMap<String, FailurePolicy> = by_hand.collect();
    let mut of_entities: HashMap<&str, FailurePolicy> = HashMap::new();
    for Audited { policy, .. } in audited.map(|audited| &**audited) {
        let strictest = of_entities.entry(&policy.resource).or_insert(policy.on_failure);
        *strictest = policy.on_failure.min(*strictest);
    }
    policies.extend(of_entities.into_iter().map(|(name, policy)| (name.to_owned(), policy)));
    policies.retain(|_, policy| *policy != config.on_failure);
    policies
}

/// Two entities may share a table (as SeaORM's own test suite does), but one name for two tables would mix two trails.
fn one_table_each(
    policy: ResourcePolicy,
    tables: &mut HashMap<String, String>,
) -> Result<ResourcePolicy, Error> {
    match tables.insert(policy.resource.clone(), policy.table.clone()) {
        Some(other) if other != policy.table => Err(Error::Registration(format!(
            "the tables `{other}` and `{}` have the same resource name `{}`; give one of them another by `#[audit(resource = \"..\")]`",
            policy.table, policy.resource
        ))),
        _ => Ok(policy),
    }
}

/// Whether an entity in the module `path` belongs to the prefix that `register_module` was given.
///
/// As in SeaORM's own entity registry a crate's name may have dashes and a trailing `*` is allowed. Beyond it, a
/// prefix without `*` ends at a segment (`app::fin` isn't `app::finance`), and `crate::` stands for any one crate.
fn module_matches(prefix: &str, path: &str) -> bool {
    let (prefix, open) = prefix.strip_suffix('*').map_or((prefix, false), |prefix| (prefix, true));
    let prefix = prefix.trim_end_matches(':');
    let (first, rest) = prefix.split_once("::").map_or((prefix, None), |(first, rest)| (first, Some(rest)));
    let (path_first, path_rest) =
        path.split_once("::").map_or((path, None), |(first, rest)| (first, Some(rest)));
    let open = open && !prefix.is_empty();
    let starts = |path: &str, prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|tail| open || tail.is_empty() || tail.starts_with("::"))
    };
    let crate_matches = match rest {
        // `my_ap*` may end inside the crate's name.
        None if first != "crate" => return starts(path, &first.replace('-', "_")),
        _ => first == "crate" || first.replace('-', "_") == path_first,
    };
    crate_matches && rest.is_none_or(|rest| path_rest.is_some_and(|path| starts(path, rest)))
}

fn check_modules(modules: &[String], announced: &[(&'static str, Declared)]) -> Result<(), Error> {
    for module in modules {
        let mut paths =
            announced.iter().map(|(path, _)| *path).filter(|path| module_matches(module, path)).peekable();
        if paths.peek().is_none() {
            let known: BTreeSet<_> = announced.iter().map(|(path, _)| *path).collect();
            return Err(Error::Registration(format!(
                "no entity with `#[derive(Auditable)]` or `#[audited]` lives in `{module}`; such entities are in: {}",
                if known.is_empty() {
                    "(none)".to_owned()
                } else {
                    known.into_iter().collect::<Vec<_>>().join(", ")
                }
            )));
        }
        if module.starts_with("crate::") || module == "crate" {
            let crates: BTreeSet<_> = paths.map(|path| path.split("::").next().unwrap_or(path)).collect();
            if crates.len() > 1 {
                return Err(Error::Registration(format!(
                    "`{module}` fits entities of several crates ({}); write the crate's name instead of `crate`",
                    crates.into_iter().collect::<Vec<_>>().join(", ")
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::module_matches;

    #[test]
    fn c3_module_prefixes_end_at_segments_unless_starred() {
        for (prefix, path, expected) in [
            ("my_app::entities", "my_app::entities::account", true),
            ("my_app::entities", "my_app::entities", true),
            ("my_app::ent", "my_app::entities::account", false),
            ("my_app::ent*", "my_app::entities::account", true),
            ("my_app::entities::*", "my_app::entities::account", true),
            ("my_app", "my_app::entities", true),
            ("my-app", "my_app::entities", true),
            ("my-app::*", "my_app::entities", true),
            ("my_ap", "my_app::entities", false),
            ("my_ap*", "my_app::entities", true),
            ("crate::entities", "my_app::entities::account", true),
            ("crate::entities", "my_app::other", false),
            ("crate::*", "my_app::other", true),
            ("crate", "my_app::other", true),
            ("other::entities", "my_app::entities", false),
        ] {
            assert_eq!(module_matches(prefix, path), expected, "{prefix} on {path}");
        }
    }
}
