//! `cvsync privacy`

mod register;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::PgConnection;

use self::register::{Recipient, measures, recipients, retention};
use self::report::{Category, Field, Report, markdown};
use super::Output;
use super::tool::database;
use crate::clock::Clock;
use crate::config::{Config, Env};
use crate::model::filled;
use crate::model::window::instant;
use crate::store::leader_setting::{self, LeaderSetting};
use crate::store::privacy::{self, FirstStored};
use crate::store::{StoreError, feed_consumer, mirror_client, subject};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Write what a register of processing (GDPR article 30) asks, from the live configuration
    ///
    /// Markdown, with places that only you can fill in: controller, purposes, legal basis. Run it with the environment of the
    /// daemon. It prints no personal data: the names of fields, and how many CVs have them.
    Report {
        #[command(flatten)]
        output: Output,
    },
}

/// The facts that the database gives.
struct Facts {
    first_stored: FirstStored,
    documents: Vec<String>,
    recipients: Vec<Recipient>,
    tables: Vec<String>,
    tls: Option<privacy::Tls>,
    keys: usize,
}

pub(super) async fn run(command: Command, env: &Env) -> anyhow::Result<()> {
    let Command::Report { output } = command;
    let store = database(env)?;
    let leader = store.read("reading the leader's settings", leader_setting::all);
    let leader = leader.await?;
    // The daemon's values count, also where this environment has others.
    let env = env.of_leader(leader.iter().map(LeaderSetting::recorded));
    let config = Config::load(&env)?;
    let facts = store
        .read("writing a register of processing", facts)
        .await?;
    let (sampled, categories) = categories(&facts.documents);
    let report = Report {
        written_at: instant(Clock::default().now()),
        version: env!("CARGO_PKG_VERSION"),
        source: config.api.base_url.to_string(),
        first_stored: facts.first_stored,
        sampled,
        categories,
        excluded: items(&config, "CVSYNC_DOCUMENT_EXCLUDE"),
        filter: items(&config, "CVSYNC_KEEP"),
        retention: retention(&config.sync, &facts.tables),
        measures: measures(&config, facts.tls.as_ref(), facts.keys),
        recipients: recipients(&config, facts.recipients),
    };
    output.print(&report, markdown);
    Ok(())
}

async fn facts(tx: &mut PgConnection) -> Result<Facts, StoreError> {
    let clients = mirror_client::list(&mut *tx, super::LONGEST_LIST).await?;
    let clients: Vec<_> = clients
        .into_iter()
        .filter(|it| it.revoked_at.is_none())
        .collect();
    let consumers = feed_consumer::slowest(&mut *tx, super::LONGEST_LIST).await?;
    let slots = subject::slots(&mut *tx).await?;
    let readers = privacy::readers(&mut *tx).await?;
    Ok(Facts {
        keys: clients.len(),
        recipients: register::known(clients, consumers, slots, readers),
        first_stored: privacy::first_stored(&mut *tx).await?,
        documents: privacy::sample(&mut *tx).await?,
        tables: privacy::tables(&mut *tx).await?,
        tls: privacy::tls(tx).await?,
    })
}

/// The items of a list among the settings that shape data.
fn items(config: &Config, name: &str) -> Vec<String> {
    let setting = config.shaping.iter().find(|setting| setting.name == name);
    let value = setting.and_then(|setting| setting.value.as_deref());
    value.map_or_else(Vec::new, |value| {
        value.split(',').map(ToOwned::to_owned).collect()
    })
}

/// The categories in order, each with the top-level fields of a document that belong to it.
const CATEGORIES: [(&str, &[&str]); 8] = [
    ("Identity and contact details", &["natuurlijkPersoon"]),
    ("Work experience", &["ervaringen"]),
    ("Education", &["opleidingen"]),
    ("Licences and certificates", &["attesteringen"]),
    ("Languages and skills", &["competenties"]),
    ("Desired job", &["gewensteJob"]),
    ("Personal interests", &["persoonlijkeInteresse"]),
    (
        "Identification and status of the CV",
        &["cvId", "iklId", "status", "wijzigingsDatum"],
    ),
];

/// The category of fields that the contract does not have.
const OTHER: &str = "Other fields";

/// The number of documents, and the fields that they have by category.
fn categories(documents: &[String]) -> (usize, Vec<Category>) {
    let mut found = BTreeMap::<String, u32>::new();
    let mut sampled: u32 = 0;
    for document in documents {
        let Ok(document) = serde_json::from_str::<Value>(document) else {
            continue;
        };
        sampled += 1;
        for field in filled(&document).into_keys() {
            *found.entry(field).or_default() += 1;
        }
    }
    let known: BTreeSet<_> = CATEGORIES.iter().flat_map(|(_, fields)| *fields).collect();
    let top = |field: &str| field.split('.').next().unwrap_or_default().to_owned();
    let with = |belongs: &dyn Fn(&str) -> bool| -> Vec<Field> {
        let fields = found.iter().filter(|(field, _)| belongs(&top(field)));
        let fields = fields.map(|(field, cvs)| Field {
            field: field.clone(),
            share: f64::from(*cvs) / f64::from(sampled),
        });
        fields.collect()
    };
    let mut categories: Vec<_> = CATEGORIES
        .iter()
        .map(|(category, tops)| Category {
            category,
            fields: with(&|top| tops.contains(&top)),
        })
        .collect();
    categories.push(Category {
        category: OTHER,
        fields: with(&|top| !known.contains(&top)),
    });
    categories.retain(|it| !it.fields.is_empty());
    (sampled as usize, categories)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::top_fields;

    #[test]
    fn fields_are_grouped_and_those_without_a_value_left_out() {
        let document = |text: &str| text.to_owned();
        let (sampled, found) = categories(&[
            document(r#"{"cvId": "1", "natuurlijkPersoon": {"email": "a@b.be", "gsm": null}}"#),
            document(r#"{"cvId": "2", "nieuw": [1], "natuurlijkPersoon": {"email": ""}}"#),
        ]);
        let found: Vec<_> = found
            .iter()
            .flat_map(|it| {
                it.fields
                    .iter()
                    .map(|field| (it.category, field.field.as_str(), field.share))
            })
            .collect();
        assert_eq!(sampled, 2);
        assert_eq!(
            found,
            [
                (
                    "Identity and contact details",
                    "natuurlijkPersoon.email",
                    0.5
                ),
                ("Identification and status of the CV", "cvId", 1.0),
                ("Other fields", "nieuw", 0.5),
            ]
        );
    }

    #[test]
    fn each_field_of_the_contract_has_a_category() {
        let known: Vec<_> = CATEGORIES.iter().flat_map(|(_, fields)| *fields).collect();
        for field in top_fields() {
            assert!(known.contains(&&field), "{field}");
        }
    }
}
