//! The process that holds the lock for which a transaction waits. It is looked for meanwhile: afterwards nobody knows it any more.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::Connection;

use super::sql::query_as;
use super::transact::within;
use super::{ACQUIRE, Store, StoreError};

/// Times between two looks; the last one repeats. The first is shorter than the wait for any lock.
const LOOKS: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// A process that blocks one of this role, and does not wait itself if there is such a one. A prepared transaction has no process.
const BLOCKER: &str = "
    select blocking.pid, blocker.usename::text, blocker.application_name
      from pg_stat_activity waiter
     cross join unnest(pg_blocking_pids(waiter.pid)) as blocking (pid)
      left join pg_stat_activity blocker on blocker.pid = blocking.pid
     where waiter.datname = current_database()
       and waiter.usename = current_user
       and waiter.wait_event_type = 'Lock'
     order by blocker.wait_event_type is not distinct from 'Lock', waiter.query_start
     limit 1";

impl Store {
    /// Does `work`. If it fails because of a lock, the error names the process that holds the lock.
    pub(super) async fn naming_blocker<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let seen = Mutex::new(None);
        let done = tokio::select! {
            biased;
            done = work => done,
            never = self.look_for_blocker(&seen) => match never {},
        };
        let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.map_err(|error| match seen {
            Some(blocker) => error.because(&blocker),
            None => error,
        })
    }

    async fn look_for_blocker(&self, seen: &Mutex<Option<String>>) -> Infallible {
        let [first, second, later] = LOOKS;
        let mut pauses = [first, second].into_iter();
        loop {
            tokio::time::sleep(pauses.next().unwrap_or(later)).await;
            let found = within(ACQUIRE, self.blocker()).await;
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = found.ok().flatten();
        }
    }

    async fn blocker(&self) -> Result<Option<String>, StoreError> {
        let mut connection = self.connect().await?;
        let found: Option<(i32, Option<String>, Option<String>)> =
            query_as(BLOCKER).fetch_optional(&mut connection).await?;
        connection.close().await?;
        Ok(found.map(|(pid, user, application)| match user {
            Some(user) => {
                let application = application.filter(|name| !name.is_empty());
                let application = application.map_or_else(String::new, |name| format!(" ({name})"));
                format!(
                    "process {pid} of user {user}{application} holds a lock; let it finish, or end it: select pg_terminate_backend({pid})"
                )
            }
            None => "a prepared transaction holds a lock; see pg_prepared_xacts".to_owned(),
        }))
    }
}
