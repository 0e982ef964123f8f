//! One quota for all processes with this key: the calls of a tool are taken out of the leader's quota.
//!
//! With a row in `quota_loan`, the tool asks for a few calls at a time. The leader takes them out of its own quota, before its
//! workers, and grants them. Without a leader or a database, the tool goes at its own pace.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use sqlx::PgConnection;
use tokio::sync::mpsc::{self, Receiver};
use tokio_util::task::AbortOnDropHandle;

use crate::store::{Store, StoreError, lease, quota_loan};
use crate::vdab::{Ask, Client, LARGEST_LOAN, Loan};

/// How often a tool looks for its calls, and the leader for the next request: a tool asks again at once.
const OFTEN: Duration = Duration::from_millis(50);

/// How often the leader looks if no tool has asked for [`A_WHILE`].
const SELDOM: Duration = Duration::from_millis(500);

const A_WHILE: Duration = Duration::from_secs(2);

/// A database that takes longer counts as down.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a leader may take to see a row, besides the time that its quota takes.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// After this time, a tool that found no leader looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// After this time, a tool looks again if a leader did not lend: it may be of a version without loans.
const TRY_AGAIN: Duration = Duration::from_mins(1);

/// From now on, `client` borrows its calls from the leader, while there is one and until the returned value is dropped.
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
            // One worker and the loans of other tools go first.
            let limit = SEEN_WITHIN + period * (3 * ask.calls + 3);
            let gone = ask.answer.closed();
            let loan = answer(store, ask.operation.name(), ask.calls, limit, gone).await;
            let _ = ask.answer.send(loan);
        })
        .await;
}

/// The answer to a request for these calls; `gone` ends once the caller has given up.
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
                    "the leader lends no calls: this command goes at its own pace, and both together may exceed VDAB's quota"
                ),
                () = gone => {}
            }
            // A request that cannot be withdrawn expires in a minute, and costs the leader a few calls.
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

/// The number of the loan; `None` without a leader.
async fn ask(store: &Store, operation: &str, calls: u32) -> Result<Option<i64>, StoreError> {
    let ask = async |tx: &mut PgConnection| match lease::leader(tx).await? {
        Some(leader) if leader.alive => Ok(Some(quota_loan::ask(tx, operation, calls).await?)),
        _ => Ok(None),
    };
    store.write("asking for a loan", ask).await
}

/// Waits for the calls, also while the database is down.
async fn collect(store: &Store, id: i64) {
    loop {
        tokio::time::sleep(OFTEN).await;
        match is_granted(store, id).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::debug!("cannot read whether calls are granted: {error}"),
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

/// Lends calls, as the leader, until it is dropped.
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
            Err(error) => tracing::debug!("cannot read requests for loans: {error}"),
        }
    }
}

async fn next(store: &Store) -> Result<Option<quota_loan::QuotaLoan>, StoreError> {
    store.read("looking for loans", quota_loan::waiting).await
}

/// Fenced by this instance's epoch: an instance that no longer leads grants nothing.
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
