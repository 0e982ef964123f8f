//! Says that this instance is here, and what only it knows: `cvsync status` and the other instances judge by it.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::{Admin, facts, history};
use crate::store::{Store, instance};

/// How often it says so where nothing changes.
const PERIOD: Duration = Duration::from_secs(5);

/// How soon it says so after a change.
const LOOK: Duration = Duration::from_secs(1);

/// Nobody waits for this row: an instance whose database is away says nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says so until `token` is cancelled, and then that this instance is gone.
pub(crate) async fn say_present_until(token: CancellationToken, admin: &Admin) {
    admin.has_tables(&token).await;
    let mut said = None;
    while !token.is_cancelled() {
        admin.board.handled(history::done(admin).done());
        let now = state(admin);
        let is_due = said
            .as_ref()
            .is_none_or(|(state, at): &(_, Instant)| *state != now || at.elapsed() >= PERIOD);
        if is_due {
            let asked = Instant::now();
            said = say(admin).await.then_some((now, asked));
        }
        token.run_until_cancelled(tokio::time::sleep(LOOK)).await;
    }
    let name = admin.board.name();
    let gone = async |tx: &mut PgConnection| instance::gone(tx, &name).await;
    if let Err(error) = store(admin).write("saying that it is gone", gone).await {
        tracing::debug!("cannot say that this instance is gone: {error}");
    }
}

/// The findings without the numbers in them, and whether a run is under way.
fn state(admin: &Admin) -> (Vec<&'static str>, bool) {
    let health = facts::health(admin);
    let all = [&health.first].into_iter().chain(&health.others);
    let runs = admin.view.run().is_some();
    (all.map(|finding| finding.reason).collect(), runs)
}

fn store(admin: &Admin) -> Store {
    admin.store.bookkeeping().within(PATIENCE)
}

/// False where it could not be said.
async fn say(admin: &Admin) -> bool {
    let memory = facts::memory(admin);
    let (name, version) = (admin.board.name(), env!("CARGO_PKG_VERSION"));
    let seen = async |tx: &mut PgConnection| instance::seen(tx, &name, version, &memory).await;
    let said = store(admin).write("saying that it is here", seen).await;
    if let Err(error) = &said {
        tracing::debug!("cannot say that this instance is here: {error}");
    }
    said.is_ok()
}
