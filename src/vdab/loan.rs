//! Calls that a tool borrows from the quota of the leader, instead of a quota of its own.
//!
//! This side knows only a channel to the lender. `sync`, where source and database meet, knows how to ask the leader.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::operation::Operation;

/// Borrowed calls expire after this time: if they were made later, some minute would hold too many calls.
const FRESH: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Ask {
    pub operation: Operation,
    pub calls: u32,
    pub answer: oneshot::Sender<Loan>,
}

/// The answer to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loan {
    /// The calls may be made now.
    Granted,
    /// Nobody shares the quota: go at your own pace, and ask again after this time.
    Alone(Duration),
}

/// The borrowed calls of one operation. One caller at a time uses it.
#[derive(Debug, Default)]
pub(super) struct Borrowed {
    calls: u32,
    granted_at: Option<Instant>,
    alone_until: Option<Instant>,
}

impl Borrowed {
    /// Takes one call, from a new loan of up to `calls` if none is left. False if this caller must go at its own pace.
    pub(super) async fn take(
        &mut self,
        asks: &mpsc::Sender<Ask>,
        operation: Operation,
        calls: u32,
    ) -> bool {
        if self.granted_at.is_none_or(|at| at.elapsed() > FRESH) {
            self.calls = 0;
        }
        if self.calls == 0 && !self.ask(asks, operation, calls.max(1)).await {
            return false;
        }
        self.calls -= 1;
        true
    }

    async fn ask(&mut self, asks: &mpsc::Sender<Ask>, operation: Operation, calls: u32) -> bool {
        if self.alone_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            operation,
            calls,
            answer,
        };
        // The lender may be gone at the end of a command.
        let loan = match asks.send(ask).await {
            Ok(()) => answered.await.unwrap_or(Loan::Alone(FRESH)),
            Err(_) => Loan::Alone(FRESH),
        };
        match loan {
            Loan::Granted => {
                self.calls = calls;
                self.granted_at = Some(Instant::now());
                true
            }
            Loan::Alone(again_in) => {
                self.alone_until = Some(Instant::now() + again_in);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loan_is_used_up_before_the_next_is_asked_for_and_alone_is_alone_for_a_while() {
        let (asks, mut asked) = mpsc::channel::<Ask>(1);
        let lender = tokio::spawn(async move {
            let first = asked.recv().await.unwrap();
            assert_eq!((first.operation, first.calls), (Operation::Detail, 3));
            first.answer.send(Loan::Granted).unwrap();
            let second = asked.recv().await.unwrap();
            assert_eq!(second.calls, 1);
            let alone = Loan::Alone(Duration::from_mins(1));
            second.answer.send(alone).unwrap();
            assert!(asked.recv().await.is_none());
        });
        let mut borrowed = Borrowed::default();
        for _ in 0..3 {
            assert!(borrowed.take(&asks, Operation::Detail, 3).await);
        }
        for _ in 0..3 {
            assert!(!borrowed.take(&asks, Operation::Detail, 1).await);
        }
        drop(asks);
        lender.await.unwrap();
    }
}
