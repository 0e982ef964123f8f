//! The user that runs the server: the current user, or `postgres` if that is root, because PostgreSQL refuses to run as root.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Context, bail};
use tokio::process::Command;

/// The owner of the server and its files.
#[derive(Debug)]
pub(super) enum User {
    Ourselves,
    Postgres {
        uid: u32,
        gid: u32,
        /// Whether other users cannot reach the folder, as in root's home. Then the server gets the capability to.
        barred: bool,
    },
}

impl User {
    /// The user that can run a server in `folder`.
    pub(super) async fn find(folder: &Path) -> anyhow::Result<Self> {
        if id(&["-u"]).await? != Some(0) {
            return Ok(Self::Ourselves);
        }
        let (Some(uid), Some(gid)) = (
            id(&["-u", "postgres"]).await?,
            id(&["-g", "postgres"]).await?,
        ) else {
            bail!(
                "PostgreSQL refuses to run as root, and there is no user `postgres` to run it as; run this command as \
                 another user, or add the user `postgres`"
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
        // English messages and a working directory that exists.
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

/// The output of `id`; `None` for an unknown user.
async fn id(args: &[&str]) -> anyhow::Result<Option<u32>> {
    let said = Command::new("id")
        .args(args)
        .output()
        .await
        .context("cannot run id")?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().parse().ok())
}
