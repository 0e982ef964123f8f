//! A request that is sent again after growing pauses.

use super::error::{ApiError, Remedy};
use crate::pauses::Pauses;

/// A request that fails by itself is sent so often.
const ATTEMPTS: usize = 3;

/// The answer to a request for which somebody waits: sent again where that may help, a few times. A closed gate is waited for
/// as long as the client's patience lasts; a refused key and a refused request are told at once.
///
/// # Errors
/// The last one.
pub(crate) async fn persevere<T, F>(mut call: impl FnMut() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut pauses = Pauses::for_one_request();
    let mut attempts = 1;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        match error.remedy() {
            Remedy::WaitForGate if !error.is_of_credentials() => {}
            Remedy::Retry(_) if attempts < ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(pauses.next_pause()).await;
            }
            _ => return Err(error),
        }
    }
}
