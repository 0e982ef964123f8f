//! `cvsync clients`

use anyhow::Context;
use aws_lc_rs::rand;
use serde::Serialize;
use sqlx::PgConnection;

use super::output::Output;
use super::tool::database;
use super::{LONGEST_LIST, Usage, table};
use crate::config::Env;
use crate::model::window::instant;
use crate::model::{hex, is_hidden};
use crate::store::mirror_client::{self, LONGEST_NAME, MirrorClient, key_hash};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create a key for a client of the mirror; it is shown once, and only its hash is stored
    ///
    /// The client sends it in the header `X-IBM-Client-Id`, as it would send VDAB's key. A name can be used once. To renew a key,
    /// add a client with another name, and revoke the old one when its key is no longer used.
    Add {
        /// Name of the client
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// List all clients, revoked ones included, and when each key was last used
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Revoke a client's key: it stops working within seconds, and its name cannot be used again
    Revoke {
        /// Name of the client, as `list` shows it
        name: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Serialize)]
struct Added<'a> {
    name: &'a str,
    key: String,
}

/// The name of the revoked client.
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
                || name.contains(is_hidden)
                || length == 0
                || length > LONGEST_NAME
            {
                let text = format!(
                    "NAME must have 1 to {LONGEST_NAME} characters, without control or invisible characters and without spaces at its ends, got {name:?}"
                );
                return Err(Usage(text).into());
            }
            let key = new_key()?;
            let hash = key_hash(key.as_bytes());
            let add = async |tx: &mut PgConnection| mirror_client::add(tx, &name, &hash).await;
            if !store.write("adding a client", add).await? {
                let text = format!(
                    "the name {name:?} is or was in use; choose another name for the client"
                );
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
                let text = format!(
                    "no client has the name {name:?}; see `cvsync clients list` (nothing was changed)"
                );
                return Err(Usage(text).into());
            }
            output.print(&Revoked { revoked: &name }, |it| {
                format!(
                    "Revoked {:?}. Its key stops working within seconds.",
                    it.revoked
                )
            });
        }
    }
    Ok(())
}

/// 256 random bits in hexadecimal.
fn new_key() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).context("the operating system provides no random bytes")?;
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
    table(&["name", "created", "last used", "revoked"], rows)
}
