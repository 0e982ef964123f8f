//! The parts of the register that settings and lists give.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;

use crate::config::{self, Config};
use crate::model::window::instant;
use crate::model::words::span;
use crate::store::cv_search;
use crate::store::feed_consumer::{Consumer, WEBHOOK};
use crate::store::mirror_client::MirrorClient;
use crate::store::privacy::{Reader, Tls};
use crate::store::subject::Slot;

/// Somebody who receives CVs, or news of them.
#[derive(Debug, Serialize)]
pub(super) struct Recipient {
    pub kind: &'static str,
    pub name: String,
    pub receives: String,
}

/// How long a table keeps data of a CV.
#[derive(Debug, Serialize)]
pub(super) struct Retention {
    pub table: String,
    pub holds: &'static str,
    pub kept: String,
}

/// A security measure, as it is configured now.
#[derive(Debug, Serialize)]
pub(super) struct Measure {
    pub measure: &'static str,
    pub state: String,
}

/// The recipients that the database knows.
pub(super) fn known(
    clients: Vec<MirrorClient>,
    consumers: Vec<Consumer>,
    slots: Vec<Slot>,
    readers: Vec<Reader>,
) -> Vec<Recipient> {
    let clients = clients.into_iter().map(|client| Recipient {
        kind: "client of the mirror",
        receives: match client.last_used_at {
            Some(at) => format!("documents and search results; last on {}", instant(at)),
            None => "documents and search results; never used".to_owned(),
        },
        name: client.name,
    });
    let consumers = consumers
        .into_iter()
        .filter(|consumer| consumer.name != cv_search::CONSUMER && consumer.name != WEBHOOK);
    let consumers = consumers.map(|consumer| Recipient {
        kind: "consumer of the change feed",
        name: consumer.name,
        receives: "ids of CVs that change".to_owned(),
    });
    let slots = slots.into_iter().map(|slot| Recipient {
        kind: "replication",
        name: slot.name,
        receives: match slot.kind.as_str() {
            "physical" => "the whole database server".to_owned(),
            _ => "the tables of its publication".to_owned(),
        },
    });
    let readers = readers.into_iter().map(|reader| Recipient {
        kind: "role of the database",
        receives: {
            let reads = match reader.reads.as_str() {
                "superuser" => "everything (superuser)",
                "documents" => "whole documents",
                "identity" => "the views, with identity and contact details",
                _ => "the views, without identity and contact details",
            };
            let login = if reader.logs_in {
                ""
            } else {
                "; no login of its own"
            };
            format!("{reads}{login}")
        },
        name: reader.role,
    });
    clients
        .chain(consumers)
        .chain(slots)
        .chain(readers)
        .collect()
}

/// The recipients of the configuration, and those that the database knows.
pub(super) fn recipients(config: &Config, known: Vec<Recipient>) -> Vec<Recipient> {
    let webhook = config.webhook.iter().map(|_| Recipient {
        kind: "webhook",
        name: "CVSYNC_WEBHOOK_URL".to_owned(),
        receives: "ids of CVs that change".to_owned(),
    });
    let token = config.http.addr.and(config.http.admin_token.as_ref());
    let token = token
        .filter(|_| config.http.token_opens_mirror)
        .map(|_| Recipient {
            kind: "client of the mirror",
            name: "holders of the admin token".to_owned(),
            receives: "documents and search results".to_owned(),
        });
    webhook.chain(token).chain(known).collect()
}

/// The retention of each table that holds ids of CVs.
pub(super) fn retention(settings: &config::Sync, tables: &[String]) -> Vec<Retention> {
    let tables = tables.iter().map(|table| {
        let (holds, kept) = kept(settings, table);
        Retention {
            table: table.clone(),
            holds,
            kept,
        }
    });
    tables.collect()
}

fn kept(settings: &config::Sync, table: &str) -> (&'static str, String) {
    let while_offered = || "as long as VDAB offers the CV to partners".to_owned();
    match table {
        "cv" => ("the document", while_offered()),
        "cv_search" => ("words and codes of the document", while_offered()),
        "cv_unsearchable" => ("the id", while_offered()),
        "cv_seen" => (
            "the id and when it was confirmed",
            format!(
                "as long as VDAB offers the CV, then {}",
                long(settings.tombstone_retention)
            ),
        ),
        "cv_change" => (
            "the id and when it changed",
            format!(
                "{}, longer for a consumer that has not read the change",
                long(settings.change_retention)
            ),
        ),
        "cv_access" => (
            "the id, and who was given it when",
            settings
                .access_retention
                .map_or("nothing is recorded".to_owned(), long),
        ),
        "parked_cv" => (
            "the id and a class of error",
            "until the CV is stored, gone or dropped".to_owned(),
        ),
        "held_delete" => ("the id", "until you decide or VDAB gives proof".to_owned()),
        "reconcile_listed" => (
            "the id",
            "until the comparison of all CVs has ended".to_owned(),
        ),
        "run_request" => ("ids that were fetched on request", "30 days".to_owned()),
        "suppressed_cv" => (
            "the id or its keyed hash, and a reason",
            "until its end, or until you remove it".to_owned(),
        ),
        _ => ("the id", "see the comment on the table".to_owned()),
    }
}

fn long(time: Duration) -> String {
    span(TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX))
}

pub(super) fn measures(config: &Config, tls: Option<&Tls>, keys: usize) -> Vec<Measure> {
    let measure = |measure, state: String| Measure { measure, state };
    let http = match config.http.addr {
        None => "off: no mirror, no page".to_owned(),
        Some(addr) if addr.ip().to_canonical().is_loopback() => {
            format!("listens on {addr}, which only this machine reaches")
        }
        Some(addr) => format!(
            "listens on {addr} without TLS of its own; a proxy with TLS must stand in front"
        ),
    };
    let token = match config.http.admin_token {
        Some(_) => "set; required to read personal data or to change anything over HTTP",
        None => "not set; over HTTP nothing can be changed, and only clients with keys read CVs",
    };
    let webhook = match config.webhook {
        Some(_) => "signed requests over TLS, with ids only",
        None => "off",
    };
    vec![
        measure("Transfer from VDAB", transfer(&config.api)),
        measure(
            "Connection to the database",
            connection(&config.database, tls),
        ),
        measure("HTTP", http),
        measure("Admin token", token.to_owned()),
        measure(
            "Keys of the mirror",
            format!("{keys} in use; only a hash of each is stored, and each can be revoked"),
        ),
        measure(
            "Record of who was given which CV",
            config
                .sync
                .access_retention
                .map_or("off".to_owned(), |time| {
                    format!("the table cv_access, for {}", long(time))
                }),
        ),
        measure("Webhook", webhook.to_owned()),
        measure(
            "Roles for readers",
            "cvsync_reader sees the views; cvsync_analyst sees no identity and no free text"
                .to_owned(),
        ),
        measure(
            "Log, metrics and traces",
            "no personal data; ids and times only".to_owned(),
        ),
        measure("Encryption of disks and backups", FILL_IN.to_owned()),
    ]
}

fn transfer(api: &config::Api) -> String {
    if api.base_url.scheme() == "https" {
        format!("{}, over TLS with a verified certificate", api.base_url)
    } else {
        format!("{}, without TLS on this machine", api.base_url)
    }
}

fn connection(database: &config::Database, tls: Option<&Tls>) -> String {
    let encrypted = match tls {
        None => "not encrypted".to_owned(),
        Some(tls) => {
            let part = |it: &Option<String>| it.clone().unwrap_or_default();
            format!(
                "encrypted with {} {}",
                part(&tls.version),
                part(&tls.cipher)
            )
        }
    };
    match database.tls.unverified() {
        Some(unverified) => format!("{encrypted}; {unverified}"),
        None if tls.is_none() => format!("{encrypted}, on this machine"),
        None => encrypted,
    }
}

/// The place of a part that only the partner knows.
pub(super) const FILL_IN: &str = "(fill in)";
