//! Files that variables name: read up to a limit, and never quoted.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::text::{bare, fault};

/// Far larger than any bundle of certificates. A path can name an endless device.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The content. An error reads on from the path, or from "which".
pub(super) fn bytes(path: impl AsRef<Path>) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if content.len() as u64 > LARGEST {
        return Err("is larger than 4 MiB".to_owned());
    }
    Ok(content)
}

/// The [`bare`] text. An error reads on from the path, or from "which".
pub(super) fn secret(path: &str) -> Result<String, String> {
    let bytes = bytes(path)?;
    refuse_utf16(&bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    match bare(&text) {
        "" => Err("is empty".to_owned()),
        text => fault(text, false).map_or(Ok(text.to_owned()), Err),
    }
}

/// Whether every user of this machine may read the file.
///
/// Container platforms mount secrets with such a mode in containers without other users: Docker below `/run/secrets`,
/// Kubernetes in a folder `..2026_11_30_08_15_00.123` behind a link. These do not count.
pub(super) fn is_open(path: &str) -> bool {
    let Ok(path) = fs::canonicalize(path) else {
        return false;
    };
    let is_mounted = path.starts_with("/run/secrets")
        || path.components().any(|part| {
            let part = part.as_os_str().as_encoded_bytes();
            part.len() > 2 && part.starts_with(b"..")
        });
    let allows = |path: &Path, bit: u32| {
        fs::metadata(path).is_ok_and(|found| found.permissions().mode() & bit != 0)
    };
    let mut folders = path.ancestors().skip(1);
    !is_mounted && allows(&path, 0o004) && folders.all(|folder| allows(folder, 0o001))
}

/// Certificates in PEM, without a byte order mark. An error reads on from "the file".
pub(super) fn certificates(path: &str) -> Result<Vec<u8>, String> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let pem = bytes(path)?;
    refuse_utf16(&pem)?;
    let pem = pem.strip_prefix(MARK).unwrap_or(&pem).to_vec();
    let begun = pem
        .windows(BEGIN.len())
        .filter(|part| *part == BEGIN)
        .count();
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() && found.len() == begun => Ok(pem),
        Ok(found) if !found.is_empty() => Err(format!(
            "contains {begun} certificates, but only {} can be read; start each on its own line",
            found.len()
        )),
        _ => Err("contains no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned()),
    }
}

/// Refuses UTF-16, which some editors write, with an error of its own.
pub(super) fn refuse_utf16(bytes: &[u8]) -> Result<(), String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("is in UTF-16; save it as UTF-8".to_owned());
    }
    Ok(())
}
