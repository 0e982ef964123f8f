//! The first stage of a run: it lists windows, sends CVs, or compares.

use super::SyncError;
use super::compare::compare;
use super::dispatch::Dispatcher;
use super::list::{Lister, Purpose};
use super::request::Task;

/// The first stage; returns the rest of the task, and whether it must wait for VDAB.
pub(super) async fn list(
    dispatcher: Dispatcher<'_>,
    task: Task,
    retries: bool,
) -> Result<(Option<Task>, bool), SyncError> {
    match task {
        Task::List(mut plan, horizon) => {
            let mut lister = Lister::new(dispatcher, Purpose::Sync(horizon));
            let all = lister.windows(&mut plan).await?;
            let is_held = lister.is_held(&mut plan);
            if retries && all && !is_held {
                // After the windows, so that no removal waits for them.
                lister.dispatcher.retry_parked().await?;
            }
            let rest = (!all || is_held).then_some(Task::List(plan, horizon));
            Ok((rest, is_held))
        }
        Task::Fetch(ids) => {
            let rest = dispatcher.send_all(ids).await?;
            let rest = (!rest.is_empty()).then_some(Task::Fetch(rest));
            Ok((rest, false))
        }
        Task::Compare(task) => {
            let lister = Lister::new(dispatcher, Purpose::Compare(task.comparison));
            Ok((compare(lister, task).await?.map(Task::Compare), false))
        }
    }
}
