//! One quota for all who use this key: what a tool calls is taken out of the quota of the daemon that leads.
//!
//! The tool asks by a row in `quota_loan` for a few calls at a time, the leader takes these out of its own quota ahead of its
//! workers and grants them. Without a leader, or without a database, the tool goes at its own pace.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use sqlx::PgConnection;
use tokio::sync::mpsc::{self, Receiver};
use tokio_util::task::AbortOnDropHandle;

use crate::store::{Store, StoreError, lease, quota_loan};
use crate::vdab::{Ask, Client, LARGEST_LOAN, Loan};

/// How often a tool looks whether it has what it asked for, and the leader for the next to ask: a tool comes again at once.
const OFTEN: Duration = Duration::from_millis(50);

/// How often the leader looks while nobody has asked for a while.
const SELDOM: Duration = Duration::from_millis(500);

/// How long that is.
const A_WHILE: Duration = Duration::from_secs(2);

/// A database that answers later counts as away.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long an instance that says that it leads may take to see a row, besides what its quota takes.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Who found nobody to share with looks again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// And whom a leader did not answer: it is of a version without loans.
const TRY_AGAIN: Duration = Duration::from_mins(1);

/// From now on `client` calls out of the quota of the daemon that leads, while one does and until what this returns is dropped.
pub(crate) fn borrow(client: &mut Client, store: &Store) -> AbortOnDropHandle<()> {
    let (asks, asked) = mpsc::channel(1);
    client.borrow_from(&asks);
    let period = Duration::from_mins(1) / client.per_minute();
    let store = store.bookkeeping().within(PATIENCE);
    AbortOnDropHandle::new(tokio::spawn(answer_all(store, asked, period)))
}

async fn answer_all(store: Store, mut asked: Receiver<Ask>, period: Duration) {
    let store = &store;
    // Each operation asks once at a time.
    stream::poll_fn(move |context| asked.poll_recv(context))
        .for_each_concurrent(None, |mut ask| async move {
            // Before this caller comes one worker, and the loans of others.
            let limit = SEEN_WITHIN + period * (3 * ask.calls + 3);
            let gone = ask.answer.closed();
            let loan = answer(store, ask.operation.name(), ask.calls, limit, gone).await;
            let _ = ask.answer.send(loan);
        })
        .await;
}

/// What becomes of the wish for these calls; `gone` ends when nobody wants them any more.
async fn answer(
    store: &Store,
    operation: &str,
    calls: u32,
    limit: Duration,
    gone: impl Future<Output = ()>,
) -> Loan {
    match ask(store, operation, calls).await {
        Ok(Some(id)) => {
            tokio::select! {
                () = collect(store, id) => return Loan::Granted,
                () = tokio::time::sleep(limit) => tracing::warn!(
                    "the daemon that leads lends no calls: this command goes at its own pace, and both together may use up VDAB's quota"
                ),
                () = gone => {}
            }
            // What cannot be withdrawn is forgotten in a minute, and costs the daemon a few calls.
            let _ = withdraw(store, id).await;
            Loan::Alone(TRY_AGAIN)
        }
        Ok(None) => Loan::Alone(LOOK_AGAIN),
        Err(error) => {
            tracing::debug!("no calls can be borrowed: {error}");
            Loan::Alone(LOOK_AGAIN)
        }
    }
}

/// The number of the loan; `None` where nobody leads.
async fn ask(store: &Store, operation: &str, calls: u32) -> Result<Option<i64>, StoreError> {
    let ask = async |tx: &mut PgConnection| match lease::leader(tx).await? {
        Some(leader) if leader.alive => Ok(Some(quota_loan::ask(tx, operation, calls).await?)),
        _ => Ok(None),
    };
    store.write("asking for a loan", ask).await
}

/// Waits for the calls. That the database was away for a moment says nothing of the daemon.
async fn collect(store: &Store, id: i64) {
    loop {
        tokio::time::sleep(OFTEN).await;
        match is_granted(store, id).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::debug!("cannot see whether calls are granted: {error}"),
        }
    }
}

async fn is_granted(store: &Store, id: i64) -> Result<bool, StoreError> {
    let collect = async |tx: &mut PgConnection| quota_loan::collect(tx, id).await;
    store.write("collecting a loan", collect).await
}

async fn withdraw(store: &Store, id: i64) -> Result<(), StoreError> {
    let withdraw = async |tx: &mut PgConnection| quota_loan::withdraw(tx, id).await;
    store.write("withdrawing a loan", withdraw).await
}

/// The leader's side: lends to whoever asks, until it is dropped.
pub(crate) async fn lend(client: &Client, store: &Store) -> Infallible {
    let store = &store.within(PATIENCE);
    let mut last_asked: Option<Instant> = None;
    loop {
        let busy = last_asked.is_some_and(|at| at.elapsed() < A_WHILE);
        tokio::time::sleep(if busy { OFTEN } else { SELDOM }).await;
        match next(store).await {
            Ok(Some(loan)) => {
                let calls = u32::try_from(loan.calls).unwrap_or(1).min(LARGEST_LOAN);
                let lent = client.lend(&loan.operation, calls).await;
                let granted = grant(store, loan.id, lent).await;
                last_asked = Some(Instant::now());
                if let Err(error) = granted {
                    tracing::debug!("calls that were lent cannot be granted: {error}");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!("cannot look for whoever wants to borrow calls: {error}"),
        }
    }
}

async fn next(store: &Store) -> Result<Option<quota_loan::QuotaLoan>, StoreError> {
    store.read("looking for loans", quota_loan::waiting).await
}

/// Under this instance's epoch: one that leads no longer has nothing to grant.
async fn grant(store: &Store, id: i64, lent: bool) -> Result<(), StoreError> {
    let grant = async |tx: &mut PgConnection| {
        if lent {
            quota_loan::grant(tx, id).await
        } else {
            quota_loan::withdraw(tx, id).await
        }
    };
    store.write("granting a loan", grant).await
}
