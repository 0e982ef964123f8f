//! Records that this instance runs, and facts that only it knows, for `cvsync status` and the other instances.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::{Admin, Audience, facts, history};
use crate::store::{Store, instance};

/// Time between two records without a change.
const PERIOD: Duration = Duration::from_secs(5);

/// Time between two checks for a change.
const LOOK: Duration = Duration::from_secs(1);

/// Time limit of a record: it is skipped if the database is unreachable.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps the row of this instance up to date until `token` is cancelled, then removes it.
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
        tracing::debug!("cannot record that this instance has stopped: {error}");
    }
}

/// The state that is recorded at once when it changes: kinds of findings, and whether a run is active.
fn state(admin: &Admin) -> (Vec<&'static str>, bool) {
    let health = facts::health(admin, Audience::Public);
    let all = [&health.first].into_iter().chain(&health.others);
    let runs = admin.view.run().is_some();
    (all.map(|finding| finding.reason).collect(), runs)
}

fn store(admin: &Admin) -> Store {
    admin.store.bookkeeping().within(PATIENCE)
}

/// False if it could not be recorded.
async fn say(admin: &Admin) -> bool {
    let memory = facts::memory(admin);
    let (name, version) = (admin.board.name(), env!("CARGO_PKG_VERSION"));
    let seen = async |tx: &mut PgConnection| instance::seen(tx, &name, version, &memory).await;
    let said = store(admin).write("saying that it is here", seen).await;
    if let Err(error) = &said {
        tracing::debug!("cannot record that this instance runs: {error}");
    }
    said.is_ok()
}
