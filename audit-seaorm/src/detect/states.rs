//! What the rules remember, in memory and in the table `audit_detector_state`.

use std::collections::{HashMap, HashSet};

use audit_core::detect::{Rule, State};
use sea_orm::sea_query::{Expr, ExprTrait, Func, OnConflict, Order, Query};
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sha2::{Digest, Sha256};

use crate::store::batches;

const TABLE: &str = "audit_detector_state";

/// Most states in memory; beyond that they are read again when they are needed.
const MOST: usize = 100_000;

/// Ids in one question.
const ASKED: usize = 500;

/// States by key, as they were last stored.
#[derive(Debug, Default)]
pub(super) struct States {
    known: HashMap<String, Kept>,
    /// Those that were used since they were last stored, with the number of their rule.
    used: HashMap<String, usize>,
}

#[derive(Debug)]
struct Kept {
    id: String,
    state: State,
    stored: String,
}

impl States {
    /// Forgets what was remembered in memory.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.used.clear();
    }

    /// Makes sure that these are there.
    pub(super) async fn load<C: ConnectionTrait>(
        &mut self,
        db: &C,
        keys: HashSet<String>,
    ) -> Result<(), DbErr> {
        if self.known.len() > MOST {
            self.clear();
        }
        let mut missing: HashMap<String, String> = keys
            .into_iter()
            .filter(|key| !self.known.contains_key(key))
            .map(|key| (id_of(&key), key))
            .collect();
        let ids: Vec<String> = missing.keys().cloned().collect();
        for ids in ids.chunks(ASKED) {
            let of_ids = Expr::col("id").is_in(ids.iter().map(String::as_str));
            let select = Query::select().columns(["id", "state"]).from(TABLE).and_where(of_ids).take();
            for row in db.query_all(&select).await? {
                let (id, stored): (String, String) = (row.try_get("", "id")?, row.try_get("", "state")?);
                // What can't be read is of another version: the subject is learned anew.
                let state = serde_json::from_str(&stored).unwrap_or_default();
                if let Some(key) = missing.remove(&id) {
                    self.known.insert(key, Kept { id, state, stored });
                }
            }
        }
        for (id, key) in missing {
            self.known.insert(key, Kept { id, state: State::default(), stored: String::new() });
        }
        Ok(())
    }

    /// The state of this key, of the rule with this number, to go on from.
    pub(super) fn get(&mut self, key: String, rule: usize) -> Option<&mut State> {
        let kept = self.known.get_mut(&key)?;
        self.used.insert(key, rule);
        Some(&mut kept.state)
    }

    /// Stores those that have changed, and says how many.
    pub(super) async fn store<C: ConnectionTrait>(&mut self, db: &C, rules: &[Rule]) -> Result<u64, DbErr> {
        let mut changed = Vec::new();
        for (key, rule) in self.used.drain() {
            let (Some(kept), Some(rule)) = (self.known.get_mut(&key), rules.get(rule)) else { continue };
            if kept.stored.is_empty() && kept.state.is_empty() {
                continue;
            }
            let text = serde_json::to_string(&kept.state)
                .map_err(|_| DbErr::Custom("a rule's state can't be written as JSON".into()))?;
            if text != kept.stored {
                let until = needed_until(&kept.state, rule);
                changed.push((kept.id.clone(), rule.name.clone(), text.clone(), until));
                kept.stored = text;
            }
        }
        write(db, &mut changed).await?;
        Ok(changed.len() as u64)
    }

    /// Forgets up to so many states that nothing that is still to be looked at needs: it is of this second, or of a later one.
    ///
    /// How long a state is needed was stored when it changed last. Its rule may have been given a longer window since, so the rule
    /// is asked once more before a state goes.
    pub(super) async fn forget<C: ConnectionTrait>(
        &mut self,
        db: &C,
        rules: &[Rule],
        reached: i64,
        most: u64,
    ) -> Result<(), DbErr> {
        let needless = Query::select()
            .columns(["id", "rule", "state"])
            .from(TABLE)
            .and_where(Expr::col("needed_until").lte(reached))
            .order_by("needed_until", Order::Asc)
            .limit(most)
            .take();
        let (mut ids, mut needed): (Vec<String>, Vec<Stored>) = Default::default();
        for row in db.query_all(&needless).await? {
            let (id, name, text): (String, String, String) =
                (row.try_get("", "id")?, row.try_get("", "rule")?, row.try_get("", "state")?);
            let until = rules.iter().find(|rule| rule.name == name).and_then(|rule| {
                needed_until(&serde_json::from_str(&text).ok()?, rule).filter(|until| *until > reached)
            });
            match until {
                Some(until) => needed.push((id, name, text, Some(until))),
                None => ids.push(id),
            }
        }
        write(db, &mut needed).await?;
        if ids.is_empty() {
            return Ok(());
        }
        for ids in batches(&ids) {
            let of_ids = Expr::col("id").is_in(ids.iter().map(String::as_str));
            db.execute(&Query::delete().from_table(TABLE).and_where(of_ids).take()).await?;
        }
        let gone: HashSet<String> = ids.into_iter().collect();
        self.known.retain(|_, kept| !gone.contains(&kept.id));
        Ok(())
    }
}

/// A state as it is stored: id, rule, JSON, and from which second on it isn't needed.
type Stored = (String, String, String, Option<i64>);

/// From which second on a state isn't needed; `None` if it always is.
fn needed_until(state: &State, rule: &Rule) -> Option<i64> {
    state.needed_until(rule).map(|micros| micros.div_euclid(1_000_000) + 1)
}

async fn write<C: ConnectionTrait>(db: &C, states: &mut [Stored]) -> Result<(), DbErr> {
    // In one order, whoever writes.
    states.sort_unstable();
    for batch in batches(states) {
        let columns = ["id", "rule", "state", "needed_until"];
        let mut insert = Query::insert().into_table(TABLE).columns(columns).take();
        for (id, rule, state, until) in batch {
            insert.values_panic([
                id.as_str().into(),
                rule.as_str().into(),
                state.as_str().into(),
                (*until).into(),
            ]);
        }
        let new = |column: &'static str| match db.get_database_backend() {
            DbBackend::MySql => Expr::expr(Func::cust("VALUES").arg(Expr::col(column))),
            _ => Expr::col(("excluded", column)),
        };
        let mut conflict = OnConflict::column("id");
        conflict.value("state", new("state")).value("needed_until", new("needed_until"));
        insert.on_conflict(conflict);
        db.execute(&insert).await?;
    }
    Ok(())
}

/// Keys may be long, and name people.
fn id_of(key: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(key).iter().take(20).fold(String::with_capacity(40), |mut id, byte| {
        _ = write!(id, "{byte:02x}");
        id
    })
}
