//! The folder of a cluster: its layout, its lock and `initdb`.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, bail};
use uuid::Uuid;

use super::NAME;
use super::binaries::Binaries;
use super::user::User;

/// Lines of the server's log in an error.
const TAIL: usize = 20;

/// A folder that this process has locked. Only files in it are given to the server's user, never the folder itself.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    data: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates the folder if it does not exist, and locks it.
    pub(super) fn open(root: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(root).context("no folder for PostgreSQL's data is given")?;
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        Ok(Self {
            data: root.join("data"),
            _lock: lock(&root)?,
            root,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// The major version of an existing cluster.
    pub(super) fn version(&self) -> Option<String> {
        let version = fs::read_to_string(self.data.join("PG_VERSION")).ok()?;
        Some(version.trim().to_owned())
    }

    /// Creates the cluster if it does not exist. Returns the superuser's password.
    pub(super) async fn initialize(
        &self,
        binaries: &Binaries,
        user: &User,
    ) -> anyhow::Result<String> {
        let password_file = self.root.join("password");
        if self.data.exists() {
            return fs::read_to_string(&password_file)
                .with_context(|| format!("cannot read {}", password_file.display()));
        }
        let password = Uuid::new_v4().simple().to_string();
        remove_if_there(&password_file)?;
        create_private(&password_file)?.write_all(password.as_bytes())?;
        user.give(&password_file)?;
        self.initdb(binaries, user, &password_file).await?;
        Ok(password)
    }

    /// A file with the superuser's password for `PGPASSFILE`, so that no command line contains the password.
    pub(super) fn passfile(&self) -> PathBuf {
        self.root.join("pgpass")
    }

    pub(super) fn write_passfile(&self, port: u16, password: &str) -> anyhow::Result<()> {
        remove_if_there(&self.passfile())?;
        let line = format!("127.0.0.1:{port}:*:{NAME}:{password}\n");
        create_private(&self.passfile())?.write_all(line.as_bytes())?;
        Ok(())
    }

    /// Creates it under another name until it is complete, because the process can be killed meanwhile.
    async fn initdb(
        &self,
        binaries: &Binaries,
        user: &User,
        password_file: &Path,
    ) -> anyhow::Result<()> {
        self.remove_unfinished()?;
        let unfinished = self.root.join(format!("initdb-{}", process::id()));
        DirBuilder::new().mode(0o700).create(&unfinished)?;
        user.give(&unfinished)?;
        let done = user
            .command(binaries.program("initdb"))
            .arg("-D")
            .arg(&unfinished)
            .arg("--pwfile")
            .arg(password_file)
            .args(["--username", NAME, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C"])
            .output()
            .await
            .context("cannot run initdb")?;
        if !done.status.success() {
            bail!("initdb failed:\n{}", tail(&done.stderr));
        }
        fs::rename(&unfinished, &self.data)?;
        Ok(())
    }

    fn remove_unfinished(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("initdb-") {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn new_log(&self) -> anyhow::Result<File> {
        let path = self.log();
        remove_if_there(&path)?;
        create_private(&path)
    }

    pub(super) fn log_tail(&self) -> String {
        tail(&fs::read(self.log()).unwrap_or_default())
    }

    fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The lines of `postmaster.pid`: the first is the process id, the eighth the state of the start.
    pub(super) fn postmaster(&self) -> Vec<String> {
        let text = fs::read_to_string(self.postmaster_file()).unwrap_or_default();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// Removes PostgreSQL's own lock file.
    pub(super) fn forget_postmaster(&self) -> anyhow::Result<()> {
        remove_if_there(&self.postmaster_file())
    }

    fn postmaster_file(&self) -> PathBuf {
        self.data.join("postmaster.pid")
    }

    pub(super) fn remove(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.root)
            .with_context(|| format!("cannot remove {}", self.root.display()))
    }
}

/// Locked until the file is closed, which a kill does too.
fn lock(root: &Path) -> anyhow::Result<File> {
    let path = root.join("lock");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => (),
        Err(TryLockError::WouldBlock) => bail!(
            "a PostgreSQL already runs in {}, started by process {}",
            root.display(),
            fs::read_to_string(&path).unwrap_or_default().trim()
        ),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    file.set_len(0)?;
    writeln!(file, "{}", process::id())?;
    Ok(file)
}

fn create_private(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn tail(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}
