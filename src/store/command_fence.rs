//! The fence of a command, which writes without a lease. It refuses to write once documents are stored in another shape than the
//! command's, and once the database may have lost commits that the command relies on.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::PgConnection;

use super::{StoreError, lease, stored_shape};
use crate::model::StoredShape;

pub(super) struct CommandFence {
    /// The shape of the documents that the command stores.
    shape: stored_shape::Row,
    /// The server's history as the last write transaction found it; `None` before the first.
    history: Mutex<Option<lease::History>>,
}

impl CommandFence {
    pub(super) fn new(shape: &StoredShape) -> Self {
        Self {
            shape: shape.row(),
            history: Mutex::default(),
        }
    }

    /// Checks both, and lets no leader record another shape before the transaction ends.
    ///
    /// # Errors
    /// [`StoreError::OtherShape`] and [`StoreError::HistoryLost`].
    pub(super) async fn hold(&self, tx: &mut PgConnection) -> Result<(), StoreError> {
        stored_shape::hold_still(tx).await?;
        let newest = stored_shape::newest(tx).await?;
        // A leader of another version may have written it in another form.
        let is_own = |row: &stored_shape::Row| StoredShape::of_row(row).row() == self.shape;
        if !newest.as_ref().is_none_or(is_own) {
            return Err(StoreError::OtherShape);
        }
        let before = self.history().clone();
        let now = lease::history(tx).await?;
        if before.is_some_and(|before| !now.continues(&before)) {
            return Err(StoreError::HistoryLost);
        }
        let mut known = self.history();
        // Of two transactions at once, the one that looked later counts.
        if known.as_ref().is_none_or(|known| now.continues(known)) {
            *known = Some(now);
        }
        Ok(())
    }

    fn history(&self) -> MutexGuard<'_, Option<lease::History>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
