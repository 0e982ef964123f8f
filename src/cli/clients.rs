//! `cvsync clients`

use anyhow::Context;
use aws_lc_rs::rand;
use serde::Serialize;
use sqlx::PgConnection;

use super::output::Output;
use super::tool::database;
use super::{LONGEST_LIST, Usage, table};
use crate::config::Env;
use crate::model::hex;
use crate::model::window::instant;
use crate::store::mirror_client::{self, LONGEST_NAME, MirrorClient, key_hash};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key for a client of the mirror; it is shown once, and only its hash is kept
    ///
    /// The client sends it as `X-IBM-Client-Id`, as it would send VDAB's. A name is used once: to renew a key, add a client
    /// of another name, and revoke this one when its key is no longer used.
    Add {
        /// Whose key it is
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Whose keys there are and were, and when each was last used
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Let this client's key open nothing any more, within seconds and for good
    Revoke {
        /// As `list` shows it
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

/// A client that was just let in.
#[derive(Serialize)]
struct Added<'a> {
    name: &'a str,
    key: String,
}

/// A client that was shut out.
#[derive(Serialize)]
struct Revoked<'a> {
    revoked: &'a str,
}

pub(super) async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    let store = database(env)?;
    match command {
        Command::Add { name, output } => {
            let length = name.chars().count();
            if name.trim() != name
                || name.contains(char::is_control)
                || length == 0
                || length > LONGEST_NAME
            {
                let text = format!(
                    "a client's name has 1 to {LONGEST_NAME} characters, no control character and no space at its ends"
                );
                return Err(Usage(text).into());
            }
            let key = new_key()?;
            let hash = key_hash(key.as_bytes());
            let add = async |tx: &mut PgConnection| mirror_client::add(tx, &name, &hash).await;
            if !store.write("adding a client", add).await? {
                let text = format!("there is or was a client `{name}`: choose another name");
                return Err(Usage(text).into());
            }
            output.print(&Added { name: &name, key }, |added| added.key.clone());
        }
        Command::List { output } => {
            let list = async |tx: &mut PgConnection| mirror_client::list(tx, LONGEST_LIST).await;
            let clients = store.read("listing clients", list).await?;
            output.print(&clients, |clients| text(clients));
        }
        Command::Revoke { name, output } => {
            let revoke = async |tx: &mut PgConnection| mirror_client::revoke(tx, &name).await;
            if !store.write("revoking a client", revoke).await? {
                return Err(Usage(format!("there is no client `{name}`; nothing was done")).into());
            }
            output.print(
                &Revoked { revoked: &name },
                |_| "revoked: within seconds its key opens nothing any more",
            );
        }
    }
    Ok(())
}

/// 256 random bits in hexadecimal digits.
fn new_key() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).context("the operating system gives no random bytes")?;
    Ok(hex(&bytes))
}

fn text(clients: &[MirrorClient]) -> String {
    let rows = clients.iter().map(|client| {
        let or_dash = |at: Option<_>| at.map_or_else(|| "-".to_owned(), instant);
        vec![
            client.name.clone(),
            instant(client.created_at),
            or_dash(client.last_used_at),
            or_dash(client.revoked_at),
        ]
    });
    table(&["name", "since", "last used", "revoked"], rows)
}
