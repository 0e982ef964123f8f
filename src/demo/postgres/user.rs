//! Who runs the server: us, or the user `postgres` where we are root, for PostgreSQL refuses to be root.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Context, bail};
use tokio::process::Command;

/// Whom the server and its files belong to.
#[derive(Debug)]
pub(super) enum User {
    Ourselves,
    Postgres {
        uid: u32,
        gid: u32,
        /// Whether the way to the folder is barred for others, as in root's home: then the server is allowed past.
        barred: bool,
    },
}

impl User {
    /// Who can run a server in `folder`.
    pub(super) async fn find(folder: &Path) -> anyhow::Result<Self> {
        if id(&["-u"]).await? != Some(0) {
            return Ok(Self::Ourselves);
        }
        let (Some(uid), Some(gid)) = (
            id(&["-u", "postgres"]).await?,
            id(&["-g", "postgres"]).await?,
        ) else {
            bail!(
                "PostgreSQL does not run as root and there is no user `postgres` to run it as; run this as another \
                 user, or add that one"
            );
        };
        let reaches = setpriv(uid, gid)
            .args(["test", "-x"])
            .arg(folder)
            .status()
            .await
            .context("cannot run setpriv, which is in util-linux")?;
        Ok(Self::Postgres {
            uid,
            gid,
            barred: !reaches.success(),
        })
    }

    /// `program`, as this user.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match *self {
            Self::Ourselves => Command::new(program),
            Self::Postgres { uid, gid, barred } => {
                let mut command = setpriv(uid, gid);
                if barred {
                    command.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]);
                }
                command.arg(program);
                command
            }
        };
        // Messages that can be read and a folder that is there, wherever we were started.
        command.env("LC_ALL", "C").current_dir("/");
        command
    }

    /// Gives `path` to this user.
    pub(super) fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Self::Postgres { uid, gid, .. } = *self {
            chown(path, Some(uid), Some(gid))
                .with_context(|| format!("cannot give {} to postgres", path.display()))?;
        }
        Ok(())
    }
}

fn setpriv(uid: u32, gid: u32) -> Command {
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={uid}"))
        .arg(format!("--regid={gid}"))
        .arg("--clear-groups");
    command
}

/// What `id` says; nothing where there is no such user.
async fn id(args: &[&str]) -> anyhow::Result<Option<u32>> {
    let said = Command::new("id")
        .args(args)
        .output()
        .await
        .context("cannot run id")?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().parse().ok())
}
