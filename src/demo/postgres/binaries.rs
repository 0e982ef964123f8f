//! Finds PostgreSQL's programs: Debian has one folder per version, outside the PATH.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

const DEBIAN: &str = "/usr/lib/postgresql";

const MISSING: &str = "PostgreSQL's server programs (initdb, postgres) must be in /usr/lib/postgresql/*/bin or on the PATH; \
     install them, on Debian or Ubuntu with `apt-get install postgresql`";

/// A folder with `initdb` and `postgres`.
#[derive(Debug)]
pub(super) struct Binaries(PathBuf);

impl Binaries {
    /// The programs of `version`, which created the data, or otherwise the newest.
    pub(super) fn find(version: Option<&str>) -> anyhow::Result<Self> {
        let mut installed = installed(Path::new(DEBIAN));
        installed.sort_unstable();
        let made_the_data = installed
            .iter()
            .find(|(number, _)| version == Some(number.to_string().as_str()));
        made_the_data
            .or(installed.last())
            .map(|(_, folder)| folder.clone())
            .or_else(on_the_path)
            .map(Self)
            .context(MISSING)
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn installed(under: &Path) -> Vec<(u32, PathBuf)> {
    fs::read_dir(under)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| is_complete(folder))
        .collect()
}

fn on_the_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find(|folder| is_complete(folder))
}

/// A package with only clients also creates a folder.
fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| folder.join(program).is_file())
}
