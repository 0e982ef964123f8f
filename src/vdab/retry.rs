//! Retries a request after growing pauses.

use super::error::{ApiError, Remedy};
use crate::pauses::Pauses;

/// How often a request that fails by itself is sent.
const ATTEMPTS: usize = 3;

/// Makes a call for which a person waits, and retries it a few times if that may help.
///
/// It waits for a closed gate while the client's patience lasts. It returns at once if VDAB refuses the key or the request.
///
/// # Errors
/// The error of the last attempt.
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
