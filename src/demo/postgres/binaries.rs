//! Finds PostgreSQL's programs: Debian has one folder per version, outside the PATH.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

const DEBIAN: &str = "/usr/lib/postgresql";

const MISSING: &str = "PostgreSQL's server programs (initdb, postgres) must be on the PATH or in /usr/lib/postgresql/*/bin; \
     install them, on Debian or Ubuntu with `apt-get install postgresql`";

/// A folder with `initdb` and `postgres`.
#[derive(Debug)]
pub(super) struct Binaries(PathBuf);

impl Binaries {
    /// The programs of `version`, which created the data; otherwise those on the PATH; otherwise Debian's newest.
    pub(super) fn find(version: Option<&str>) -> anyhow::Result<Self> {
        choose(version, installed(Path::new(DEBIAN)), on_the_path())
            .map(Self)
            .context(MISSING)
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn choose(
    version: Option<&str>,
    mut debian: Vec<(u32, PathBuf)>,
    on_the_path: Option<PathBuf>,
) -> Option<PathBuf> {
    debian.sort_unstable();
    let created_the_data = debian
        .iter()
        .position(|(number, _)| version == Some(number.to_string().as_str()));
    match created_the_data {
        Some(at) => Some(debian.swap_remove(at).1),
        None => on_the_path.or_else(|| Some(debian.pop()?.1)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_the_data_s_version_come_before_the_path_and_the_newest() {
        let debian = || [(15, "/15".into()), (9, "/9".into())].into();
        let path = || Some("/path".into());
        let chosen = |version, debian, path| choose(version, debian, path).unwrap();
        assert_eq!(chosen(Some("9"), debian(), path()), Path::new("/9"));
        assert_eq!(chosen(Some("18"), debian(), path()), Path::new("/path"));
        assert_eq!(chosen(None, debian(), path()), Path::new("/path"));
        assert_eq!(chosen(None, debian(), None), Path::new("/15"));
        assert_eq!(choose(None, Vec::new(), None), None);
    }
}
