//! Rows as they arrive, or rows that had to be taken whole.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use sea_orm::{DbErr, QueryResult, QueryStream, TransactionStream};

/// The rows of a streamed statement. A read arrives row by row; the rows that a write returns are taken whole before
/// the first one is handed out, because its entries belong into the same transaction.
pub struct AuditStream<'a>(Rows<'a>);

enum Rows<'a> {
    Pool(QueryStream),
    Transaction(TransactionStream<'a>),
    Taken(std::vec::IntoIter<QueryResult>),
}

impl<'a> AuditStream<'a> {
    pub(super) fn of_pool(stream: QueryStream) -> Self {
        Self(Rows::Pool(stream))
    }

    pub(super) fn of_transaction(stream: TransactionStream<'a>) -> Self {
        Self(Rows::Transaction(stream))
    }

    pub(super) fn of_rows(rows: Vec<QueryResult>) -> Self {
        Self(Rows::Taken(rows.into_iter()))
    }
}

impl Stream for AuditStream<'_> {
    type Item = Result<QueryResult, DbErr>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Rows::Pool(stream) => Pin::new(stream).poll_next(context),
            Rows::Transaction(stream) => Pin::new(stream).poll_next(context),
            Rows::Taken(rows) => Poll::Ready(rows.next().map(Ok)),
        }
    }
}

impl fmt::Debug for AuditStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditStream").finish_non_exhaustive()
    }
}
