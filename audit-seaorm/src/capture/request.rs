//! What is sent through capture, and what answers.

use std::borrow::Cow;

use sea_orm::{ConnectionTrait, DbErr, ExecResult, QueryResult, Statement};

/// What was sent.
#[derive(Clone, Debug)]
pub(super) enum Request<'a> {
    Prepared(Statement),
    Unprepared(Cow<'a, str>),
}

impl Request<'_> {
    pub(super) fn into_owned(self) -> Request<'static> {
        match self {
            Self::Prepared(statement) => Request::Prepared(statement),
            Self::Unprepared(sql) => Request::Unprepared(Cow::Owned(sql.into_owned())),
        }
    }

    pub(super) fn sql(&self) -> &str {
        match self {
            Self::Prepared(statement) => &statement.sql,
            Self::Unprepared(sql) => sql,
        }
    }

    pub(super) fn values(&self) -> &[sea_orm::Value] {
        match self {
            Self::Prepared(Statement { values: Some(values), .. }) => &values.0,
            _ => &[],
        }
    }
}

/// What the sender wants to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Execute,
    One,
    All,
}

/// What the sender gets.
#[derive(Debug)]
pub(super) enum Answer {
    Executed(ExecResult),
    Rows(Vec<QueryResult>),
}

impl Answer {
    pub(super) fn executed(self) -> Result<ExecResult, DbErr> {
        match self {
            Self::Executed(result) => Ok(result),
            Self::Rows(_) => Err(DbErr::Custom("rows where a result was due".into())),
        }
    }

    pub(super) fn rows(self) -> Vec<QueryResult> {
        match self {
            Self::Rows(rows) => rows,
            Self::Executed(_) => Vec::new(),
        }
    }

    pub(super) fn first(self) -> Option<QueryResult> {
        self.rows().into_iter().next()
    }
}

/// Sends a request as it is.
pub(super) async fn send<C: ConnectionTrait>(
    db: &C,
    request: Request<'_>,
    ask: Ask,
) -> Result<Answer, DbErr> {
    match (request, ask) {
        (Request::Prepared(statement), Ask::Execute) => db.execute_raw(statement).await.map(Answer::Executed),
        (Request::Unprepared(sql), _) => db.execute_unprepared(&sql).await.map(Answer::Executed),
        (Request::Prepared(statement), Ask::One) => {
            db.query_one_raw(statement).await.map(|row| Answer::Rows(row.into_iter().collect()))
        }
        (Request::Prepared(statement), Ask::All) => db.query_all_raw(statement).await.map(Answer::Rows),
    }
}
