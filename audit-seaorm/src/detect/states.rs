//! What the rules remember, in memory and in the table `audit_detector_state`.

use std::collections::{HashMap, HashSet};

use audit_core::detect::State;
use sea_orm::sea_query::{Expr, ExprTrait, Func, OnConflict, Query};
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
    /// Those that were used since they were last stored.
    used: HashSet<String>,
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

    /// The state of this key, to go on from.
    pub(super) fn get(&mut self, key: String) -> Option<&mut State> {
        let kept = self.known.get_mut(&key)?;
        self.used.insert(key);
        Some(&mut kept.state)
    }

    /// Stores those that have changed.
    pub(super) async fn store<C: ConnectionTrait>(&mut self, db: &C) -> Result<(), DbErr> {
        let mut changed = Vec::new();
        for key in self.used.drain() {
            let Some(kept) = self.known.get_mut(&key) else { continue };
            let text = serde_json::to_string(&kept.state)
                .map_err(|_| DbErr::Custom("a rule's state can't be written as JSON".into()))?;
            if text != kept.stored {
                let rule = key.split('\0').next().unwrap_or_default().to_owned();
                changed.push((kept.id.clone(), rule, text.clone()));
                kept.stored = text;
            }
        }
        // In one order, whoever writes.
        changed.sort_unstable();
        for batch in batches(&changed) {
            let mut insert = Query::insert().into_table(TABLE).columns(["id", "rule", "state"]).take();
            for (id, rule, state) in batch {
                insert.values_panic([id.as_str().into(), rule.as_str().into(), state.as_str().into()]);
            }
            let new = match db.get_database_backend() {
                DbBackend::MySql => Expr::expr(Func::cust("VALUES").arg(Expr::col("state"))),
                _ => Expr::col(("excluded", "state")),
            };
            insert.on_conflict(OnConflict::column("id").value("state", new).to_owned());
            db.execute(&insert).await?;
        }
        Ok(())
    }
}

/// Keys may be long, and name people.
fn id_of(key: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(key).iter().take(20).fold(String::with_capacity(40), |mut id, byte| {
        _ = write!(id, "{byte:02x}");
        id
    })
}
