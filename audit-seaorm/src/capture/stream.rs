//! Rows as they arrive, or rows that had to be taken whole.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use audit_core::Error;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use sea_orm::{DbErr, QueryResult, QueryStream, TransactionStream};

use super::reads::Reading;
use crate::store::to_db_err;

/// The rows of a streamed statement. A read arrives row by row, and if it is to be recorded, is counted on the way and
/// recorded at its end; the rows that a write returns are taken whole before the first one is handed out, because its
/// entries belong into the same transaction.
pub struct AuditStream<'a> {
    rows: Rows<'a>,
    end: End,
}

enum Rows<'a> {
    Pool(QueryStream),
    Transaction(TransactionStream<'a>),
    Taken(std::vec::IntoIter<QueryResult>),
}

/// What is to be done when the last row has come.
enum End {
    Nothing,
    /// Record the read. What is left here when the stream is dropped is recorded then.
    Record(Box<Reading>),
    /// It is being recorded.
    Recording(BoxFuture<'static, Result<(), Error>>),
}

impl<'a> AuditStream<'a> {
    pub(super) async fn of_pool(
        begun: Result<QueryStream, DbErr>,
        reading: Option<Reading>,
    ) -> Result<Self, DbErr> {
        Self::begun(begun.map(Rows::Pool), reading).await
    }

    pub(super) async fn of_transaction(
        begun: Result<TransactionStream<'a>, DbErr>,
        reading: Option<Reading>,
    ) -> Result<Self, DbErr> {
        Self::begun(begun.map(Rows::Transaction), reading).await
    }

    async fn begun(begun: Result<Rows<'a>, DbErr>, reading: Option<Reading>) -> Result<Self, DbErr> {
        match (begun, reading) {
            (Ok(rows), None) => Ok(Self { rows, end: End::Nothing }),
            (Ok(rows), Some(mut reading)) => {
                reading.seen_none();
                Ok(Self { rows, end: End::Record(Box::new(reading)) })
            }
            (Err(error), reading) => {
                if let Some(mut reading) = reading {
                    reading.failed();
                    // What failed first is what the caller has to know.
                    _ = reading.end().await;
                }
                Err(error)
            }
        }
    }

    pub(super) fn of_rows(rows: Vec<QueryResult>) -> Self {
        Self { rows: Rows::Taken(rows.into_iter()), end: End::Nothing }
    }

    fn poll_row(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<QueryResult, DbErr>>> {
        match &mut self.rows {
            Rows::Pool(stream) => Pin::new(stream).poll_next(context),
            Rows::Transaction(stream) => Pin::new(stream).poll_next(context),
            Rows::Taken(rows) => Poll::Ready(rows.next().map(Ok)),
        }
    }
}

impl Stream for AuditStream<'_> {
    type Item = Result<QueryResult, DbErr>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut self.end, End::Nothing) {
                End::Nothing => return self.poll_row(context),
                End::Record(mut reading) => {
                    let row = self.poll_row(context);
                    match &row {
                        Poll::Ready(Some(Ok(row))) => reading.seen(row),
                        Poll::Ready(Some(Err(_))) => reading.failed(),
                        Poll::Ready(None) => {
                            self.end = End::Recording(Box::pin(reading.end()));
                            continue;
                        }
                        Poll::Pending => {}
                    }
                    self.end = End::Record(reading);
                    return row;
                }
                End::Recording(mut recording) => {
                    let Poll::Ready(recorded) = recording.as_mut().poll(context) else {
                        self.end = End::Recording(recording);
                        return Poll::Pending;
                    };
                    // From here on the stream is at its end, as its rows are.
                    return Poll::Ready(recorded.err().map(|error| Err(to_db_err(&error))));
                }
            }
        }
    }
}

impl fmt::Debug for AuditStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditStream").finish_non_exhaustive()
    }
}
