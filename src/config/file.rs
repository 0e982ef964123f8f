//! Files that variables point at: read within a limit, and never quoted.

use std::fs::File;
use std::io::Read;

/// Far above any bundle of certificates. A path can lead to a device that never ends.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The content. An error reads on from the path.
pub fn bytes(path: &str) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if content.len() as u64 > LARGEST {
        return Err("is larger than 4 MiB".to_owned());
    }
    Ok(content)
}

/// The trimmed text. An error reads on from the path.
pub fn secret(path: &str) -> Result<String, String> {
    let text = String::from_utf8(bytes(path)?).map_err(|_| "holds no UTF-8 text")?;
    match text.trim() {
        "" => Err("is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}
