//! The views over the documents: what they show is what a walk over the documents finds, whatever a document holds.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use cvsync::clock::Clock;
use cvsync::model::{Brake, CvId, Document, Fate, Outcome};
use cvsync::simulator::{Options, Simulator};
use cvsync::store::export::VIEWS;
use cvsync::sync::searchable;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::{new_database, store};

/// A database with the schema that holds these documents.
pub(crate) async fn holding(documents: impl IntoIterator<Item = Value>) -> (String, PgPool) {
    let url = new_database().await;
    let store = store(&url);
    store.migrate().await.unwrap();
    let outcomes: Vec<Outcome> = documents
        .into_iter()
        .map(|document| {
            let (id, document) = Document::read(document.to_string().as_bytes(), &[]).unwrap();
            Outcome {
                window: None,
                as_of: DateTime::<Utc>::UNIX_EPOCH,
                fate: Fate::Live(CvId(id.parse().unwrap()), document),
            }
        })
        .collect();
    for batch in outcomes.chunks(500) {
        store
            .apply(batch, Brake::on(0.2), chrono::DateTime::UNIX_EPOCH)
            .await
            .unwrap();
    }
    searchable::catch_up(&store, &CancellationToken::new()).await;
    let database = PgPool::connect(&url).await.unwrap();
    (url, database)
}

/// Documents as the simulator makes them.
pub(crate) async fn synthetic(candidates: u32) -> Vec<Value> {
    let options = Options {
        candidates,
        ..Options::default()
    };
    let simulator = Simulator::start(options, Clock::default()).await.unwrap();
    let documents = simulator.handle().world(|world| world.live_documents());
    documents.into_values().collect()
}

/// The CV that VDAB shows on its page.
pub(crate) fn shown_by_vdab() -> Value {
    serde_json::from_str(include_str!("seed/cv.json")).unwrap()
}

pub(crate) async fn rows(database: &PgPool, view: &str) -> Vec<Value> {
    let query = format!("select row_to_json(v)::text from cvsync.{view} as v");
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_all(database)
        .await
        .unwrap();
    rows.iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect()
}

const LABELS: &[(&str, &str, Option<&str>)] = &[
    ("rijbewijzen", "B", Some("Rijbewijs B")),
    ("attesten", "B", Some("no licence")),
    ("attesten", "A04", Some("Code 95")),
    ("softskills", "3", Some("Samenwerken")),
    ("softskills", "4", None),
    ("competenties", "11721", Some("Voorraden beheren")),
    ("sjablonen", "M140201-1", Some("Adviseur")),
    ("diplomas", "MAE5AHH", Some("Handelsingenieur")),
    ("arbeidsregimes", "V", Some("Voltijds")),
    ("arbeidsstelsels", "D", Some("Dagwerk")),
];

async fn with_labels(database: &PgPool) {
    for (list, code, label) in LABELS {
        sqlx::query("insert into cvsync.reference_code (list, code, label) values ($1, $2, $3)")
            .bind(list)
            .bind(code)
            .bind(label)
            .execute(database)
            .await
            .unwrap();
    }
}

fn label(list: &str, code: Option<&str>) -> Value {
    let known = LABELS
        .iter()
        .find(|(of, known, _)| *of == list && Some(*known) == code);
    json!(known.and_then(|(_, _, label)| *label))
}

/// The value at a path, as text.
fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn int(text: Option<&String>) -> Option<i64> {
    text?.parse().ok()
}

fn date(text: Option<&String>) -> Option<String> {
    let date: NaiveDate = text?.parse().ok()?;
    Some(date.to_string())
}

fn boolean(text: Option<&String>) -> Option<bool> {
    text?.parse().ok()
}

/// The elements of an array, or the single value in its place, each with its position, without empty ones.
fn elements<'a>(document: &'a Value, pointer: &str) -> Vec<(usize, &'a Value)> {
    let elements = match document.pointer(pointer) {
        Some(Value::Array(elements)) => elements.iter().collect(),
        None | Some(Value::Null) => Vec::new(),
        Some(other) => vec![other],
    };
    elements
        .into_iter()
        .enumerate()
        .filter(|(_, element)| **element != json!({}))
        .map(|(at, element)| (at + 1, element))
        .collect()
}

/// The rows that a view has for a document, found without PostgreSQL.
fn walk(view: &str, document: &Value) -> Vec<Value> {
    let id = &document["cvId"];
    let each = |pointer, row: &dyn Fn(&Value) -> Value| -> Vec<Value> {
        elements(document, pointer)
            .into_iter()
            .filter(|(_, element)| element.is_object() || pointer.ends_with("regios"))
            .map(|(nr, element)| {
                let mut all =
                    Map::from_iter([("cv_id".into(), id.clone()), ("nr".into(), nr.into())]);
                all.extend(row(element).as_object().unwrap().clone());
                Value::Object(all)
            })
            .collect()
    };
    match view {
        "persoon" => vec![persoon(document)],
        "ervaring" => each("/ervaringen", &|e| {
            let (van, tot) = (text(e, "/van"), text(e, "/tot"));
            json!({
                "type": text(e, "/type"), "functie_titel": text(e, "/functieTitel"),
                "van": date(van.as_ref()), "van_tekst": van,
                "tot": date(tot.as_ref()), "tot_tekst": tot,
                "werkgever_naam": text(e, "/werkgever/naam"),
            })
        }),
        "opleiding" => each("/opleidingen", &|e| {
            let (naam, info) = (text(e, "/naam"), text(e, "/info"));
            let (op, year, diploma) = (
                text(e, "/behaaldOp"),
                text(e, "/behaaldIn"),
                text(e, "/diploma"),
            );
            json!({
                "type": text(e, "/type"), "naam": naam, "info": info,
                "label": label("diplomas", naam.as_deref()),
                "behaald_op": date(op.as_ref()), "behaald_op_tekst": op,
                "behaald_in": int(year.as_ref()), "behaald_in_tekst": year,
                "diploma": boolean(diploma.as_ref()), "diploma_tekst": diploma,
            })
        }),
        "attestering" => each("/attesteringen", &|e| {
            let (kind, code, wagen) = (text(e, "/type"), text(e, "/code"), text(e, "/eigenWagen"));
            let list = match kind.as_deref() {
                Some("rijbewijs") => "rijbewijzen",
                Some("attest") => "attesten",
                _ => "none",
            };
            json!({
                "type": kind, "code": code, "label": label(list, code.as_deref()),
                "eigen_wagen": boolean(wagen.as_ref()), "eigen_wagen_tekst": wagen,
            })
        }),
        "competentie" => each("/competenties", &|e| {
            let (kind, code) = (text(e, "/type"), text(e, "/code"));
            let (niveau, score) = (text(e, "/niveau"), text(e, "/score"));
            let list = match kind.as_deref() {
                Some("softSkill") => "softskills",
                Some("technischeCompetentie") => "competenties",
                _ => "none",
            };
            json!({
                "type": kind, "code": code, "label": label(list, code.as_deref()),
                "niveau": int(niveau.as_ref()), "niveau_tekst": niveau,
                "score": int(score.as_ref()), "score_tekst": score,
                "naam": text(e, "/naam"), "beschrijving": text(e, "/beschrijving"),
            })
        }),
        "gewenste_job" => vec![gewenste_job(document)],
        "gewenste_functie" => each("/gewensteJob/functies", &|e| {
            let ervaring = text(e, "/ervaring");
            let profile = text(e, "/beroepsprofiel/code");
            json!({
                "label": label("sjablonen", profile.as_deref()),
                "titel": text(e, "/titel"),
                "ervaring": int(ervaring.as_ref()), "ervaring_tekst": ervaring,
                "beroepsprofiel_code": profile,
            })
        }),
        "gewenste_regio" => each("/gewensteJob/regios", &|e| json!({ "regio": e })),
        _ => panic!("no walk finds {view}"),
    }
}

fn persoon(document: &Value) -> Value {
    let at = |path: &str| text(document, &format!("/natuurlijkPersoon/{path}"));
    let (ikl, born) = (text(document, "/iklId"), at("geboortedatum"));
    let mut row = json!({
        "cv_id": document["cvId"],
        "ikl_id": int(ikl.as_ref()), "ikl_id_tekst": ikl,
        "geboortedatum": date(born.as_ref()), "geboortedatum_tekst": born,
        "persoonlijke_interesse": document.get("persoonlijkeInteresse"),
    });
    for same in [
        "voornaam",
        "achternaam",
        "roepnaam",
        "geslacht",
        "nationaliteit",
        "email",
        "gsm",
        "website",
    ] {
        row[same] = json!(at(same));
    }
    for (ours, theirs) in [
        ("officieel_adres", "officieelAdres"),
        ("contact_adres", "contactAdres"),
    ] {
        for part in [
            "straat",
            "huisnummer",
            "busnummer",
            "postcode",
            "gemeente",
            "land",
        ] {
            row[format!("{ours}_{part}")] = json!(at(&format!("{theirs}/{part}")));
        }
    }
    row
}

fn gewenste_job(document: &Value) -> Value {
    let codes = |name: &str| {
        document["gewensteJob"][name]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let (regimes, stelsels) = (codes("arbeidsRegimes"), codes("arbeidsStelsels"));
    let labels = |list, codes: &[Value]| -> Vec<Value> {
        codes
            .iter()
            .map(|code| label(list, code.as_str()))
            .collect()
    };
    json!({
        "cv_id": document["cvId"],
        "arbeids_regimes_labels": labels("arbeidsregimes", &regimes), "arbeids_regimes": regimes,
        "arbeids_stelsels_labels": labels("arbeidsstelsels", &stelsels), "arbeids_stelsels": stelsels,
    })
}

/// The terms of a document, found without PostgreSQL.
pub(crate) fn codes(document: &Value) -> BTreeSet<String> {
    let mut terms = BTreeSet::new();
    let mut add = |kind: &str, code: Option<String>| {
        terms.extend(code.map(|code| format!("{kind}:{code}")));
    };
    for (_, e) in elements(document, "/opleidingen") {
        add("studie", text(e, "/naam"));
    }
    for (_, e) in elements(document, "/attesteringen") {
        match e["type"].as_str() {
            Some("rijbewijs") => add("rijbewijs", text(e, "/code")),
            Some("attest") => add("attest", text(e, "/code")),
            _ => {}
        }
    }
    for (_, e) in elements(document, "/competenties") {
        let code = text(e, "/code");
        match e["type"].as_str() {
            Some("technischeCompetentie") => add("competentie", code),
            Some("softSkill") => add("softskill", code),
            Some("talen") => {
                for level in 1..=int(text(e, "/niveau").as_ref()).unwrap_or(0) {
                    add("taal", code.as_ref().map(|code| format!("{code}:{level}")));
                }
                add("taal", code);
            }
            _ => {}
        }
    }
    for (name, kind) in [
        ("regios", "regio"),
        ("arbeidsRegimes", "arbeidsregime"),
        ("arbeidsStelsels", "arbeidsstelsel"),
    ] {
        for (_, code) in elements(document, &format!("/gewensteJob/{name}")) {
            add(kind, text(code, ""));
        }
    }
    for (_, e) in elements(document, "/gewensteJob/functies") {
        add("beroep", text(e, "/beroepsprofiel/code"));
    }
    terms
}

fn sorted(rows: &[Value]) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn each_view_shows_what_a_walk_over_the_documents_finds() {
    let mut documents = synthetic(500).await;
    documents.push(shown_by_vdab());
    let (_, database) = holding(documents.clone()).await;
    with_labels(&database).await;
    let others = |view: &&&str| !matches!(**view, "kandidaat" | "referentie");
    for view in VIEWS.iter().filter(others) {
        let expected: Vec<Value> = documents
            .iter()
            .flat_map(|document| walk(view, document))
            .collect();
        let expected = sorted(&expected);
        let found = sorted(&rows(&database, view).await);
        assert_eq!(found.len(), expected.len(), "rows of {view}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{view}");
        }
    }
    let found: BTreeMap<Uuid, Vec<String>> =
        sqlx::query_as("select cv_id, codes from cvsync.kandidaat")
            .fetch_all(&database)
            .await
            .unwrap()
            .into_iter()
            .collect();
    for document in &documents {
        let id: Uuid = document["cvId"].as_str().unwrap().parse().unwrap();
        let found: BTreeSet<String> = found[&id].iter().cloned().collect();
        assert_eq!(found, codes(document));
    }
    let labelled: i64 = sqlx::query_scalar(
        "select count(label) + (select count(label) from cvsync.competentie) from cvsync.attestering",
    )
    .fetch_one(&database)
    .await
    .unwrap();
    assert!(labelled > 100, "{labelled} labels");
}

#[tokio::test]
async fn the_cv_that_vdab_shows_reads_as_a_person_would() {
    let (_, database) = holding([shown_by_vdab()]).await;
    let persoon = &rows(&database, "persoon").await[0];
    assert_eq!(persoon["ikl_id"], 11_116_485);
    assert_eq!(persoon["geboortedatum"], Value::Null, "19xx-09-05");
    assert_eq!(persoon["geboortedatum_tekst"], "19xx-09-05");
    assert_eq!(persoon["officieel_adres_gemeente"], "1770-LIEDEKERKE");
    let competenties = rows(&database, "competentie").await;
    assert_eq!(competenties.len(), 21, "23 less the two empty ones");
    assert_eq!(competenties[4]["score"], 43);
    assert_eq!(competenties[9]["nr"], 11, "the tenth is empty");
    let found: i64 = sqlx::query_scalar(
        "select count(*)
           from cvsync.kandidaat
          where codes @> '{regio:BE231A,studie:MAE5AHH,taal:N:3,rijbewijs:B,competentie:11721}'
            and not codes && '{taal:D:2,regio:BE2,rijbewijs:C}'
            and tekst @@ websearch_to_tsquery('dutch', 'verantwoordelijken productieplanning or planningen')
            and not tekst @@ websearch_to_tsquery('dutch', 'Liedekerke')",
    )
    .fetch_one(&database)
    .await
    .unwrap();
    assert_eq!(found, 1);
}

/// Values where others are expected.
pub(crate) fn hostile() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[^\\x00]{0,12}".prop_map(Value::from),
        r#"[-+]?[0-9]{0,22}|[0-9x]{4}-[0-9]{2}-[0-9]{2}(T.*)?|[,{}"\\']{1,5}"#
            .prop_map(|text| Value::from(text.replace('\0', ""))),
        Just(json!("2024-02-31")),
        Just(json!("9999999999999")),
        Just(json!("2147483648")),
        Just(json!(-99_999_999_999_i64)),
        Just(json!("99999999999999999999999")),
        Just(json!("x".repeat(9_000))),
        Just(json!("talen")),
        Just(json!("9")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = prop_oneof![
            Just("code".to_owned()),
            Just("naam".to_owned()),
            "[a-z]{0,4}"
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key, inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Every path of the document that VDAB shows, and the places in its arrays.
fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
    let mut go = |key: &str, value| {
        let path = format!("{at}/{key}");
        all.push(path.clone());
        paths(value, &path, all);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| go(key, value)),
        Value::Array(elements) => (0..)
            .zip(elements)
            .for_each(|(at, value): (usize, _)| go(&at.to_string(), value)),
        _ => {}
    }
}

#[tokio::test]
async fn no_document_makes_a_view_fail() {
    let shown = shown_by_vdab();
    let mut all = Vec::new();
    paths(&shown, "", &mut all);
    all.retain(|path| path != "/cvId");
    let mut runner = TestRunner::default();
    let mut documents = Vec::new();
    // One wrong value at each path, and documents with many.
    for number in 0..all.len() + 400 {
        let mut document = shown.clone();
        let wrong = if number < all.len() { 1 } else { 12 };
        for n in 0..wrong {
            let path = all[(number * (1 + 7 * n)) % all.len()].as_str();
            let value = hostile().new_tree(&mut runner).unwrap().current();
            if let Some(place) = document.pointer_mut(path) {
                *place = value;
            }
        }
        document["cvId"] = json!(Uuid::from_u128(number as u128));
        documents.push(document);
    }
    let count = documents.len();
    let (_, database) = holding(documents).await;
    for view in VIEWS {
        let rows = rows(&database, view).await;
        if matches!(*view, "kandidaat" | "persoon" | "gewenste_job") {
            assert_eq!(rows.len(), count, "{view} has a row a CV");
        } else if *view != "referentie" {
            assert!(rows.len() > count / 2, "{view} has but {}", rows.len());
        }
    }
}

#[tokio::test]
async fn single_value_instead_of_an_array_is_read_as_its_only_element() {
    let id = Uuid::from_u128(1);
    let document = json!({
        "cvId": id,
        "ervaringen": {"functieTitel": "Kok", "van": "2023-02-29", "tot": "2024-02-29T00:00:00Z"},
        "opleidingen": [{}, null, "x", 1, [{"naam": "A"}], {"naam": "B", "behaaldIn": "2002", "diploma": "true"}],
        "attesteringen": null,
        "competenties": [{"type": "talen", "code": "N", "niveau": 2}, {"type": "talen", "code": "F", "niveau": "C1"}],
        "gewensteJob": {"regios": "BE1", "arbeidsRegimes": {"a": 1}, "functies": [{"titel": null}]},
    });
    let (_, database) = holding([document]).await;
    let ervaring = rows(&database, "ervaring").await;
    assert_eq!(ervaring.len(), 1);
    assert_eq!(ervaring[0]["van"], Value::Null, "no such day");
    assert_eq!(ervaring[0]["van_tekst"], "2023-02-29");
    assert_eq!(ervaring[0]["tot"], "2024-02-29");
    let opleiding = rows(&database, "opleiding").await;
    assert_eq!(opleiding.len(), 1, "objects that hold something");
    assert_eq!(opleiding[0]["nr"], 6);
    assert_eq!(opleiding[0]["behaald_in"], 2002);
    assert_eq!(opleiding[0]["diploma"], true);
    assert!(rows(&database, "attestering").await.is_empty());
    assert_eq!(rows(&database, "gewenste_regio").await[0]["regio"], "BE1");
    let functie = rows(&database, "gewenste_functie").await;
    assert_eq!(functie.len(), 1, "an object with a null is not empty");
    let mut codes: Vec<String> = sqlx::query_scalar("select unnest(codes) from cvsync.kandidaat")
        .fetch_all(&database)
        .await
        .unwrap();
    codes.sort_unstable();
    assert_eq!(
        codes,
        [
            "regio:BE1",
            "studie:B",
            "taal:F",
            "taal:N",
            "taal:N:1",
            "taal:N:2"
        ]
    );
}

#[tokio::test]
async fn huge_values_are_stored_and_cost_the_index_nothing() {
    let words = (0..300_000)
        .map(|n| format!("woord{n}"))
        .collect::<Vec<_>>();
    let titles: Vec<Value> = (0..40)
        .map(|n| json!({"functieTitel": words[n * 5_000..(n + 1) * 5_000].join(" ")}))
        .collect();
    let document = json!({
        "cvId": Uuid::from_u128(1),
        "ervaringen": titles,
        "competenties": [
            {"type": "technischeCompetentie", "code": "1".repeat(20_000)},
            {"type": "technischeCompetentie", "code": "11721"},
            {"type": "vrijeCompetentie", "naam": "y".repeat(3_000)},
        ],
    });
    let (_, database) = holding([document]).await;
    let codes: Vec<String> = sqlx::query_scalar("select codes from cvsync.kandidaat")
        .fetch_one(&database)
        .await
        .unwrap();
    assert_eq!(codes, ["competentie:11721"]);
}

#[tokio::test]
async fn every_table_view_and_column_has_a_comment() {
    let (_, database) = holding([]).await;
    let silent: Vec<String> = sqlx::query_scalar(
        "select relname || '.' || coalesce(attname, '*')
           from pg_class
           left join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
          where relnamespace = 'cvsync'::regnamespace
            and relkind in ('r', 'v', 'm')
            and relname <> 'migration'
            and (col_description(pg_class.oid, attnum) is null or obj_description(pg_class.oid, 'pg_class') is null)",
    )
    .fetch_all(&database)
    .await
    .unwrap();
    assert!(silent.is_empty(), "without a comment: {silent:?}");
    let views: BTreeSet<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'cvsync'::regnamespace and relkind = 'v'",
    )
    .fetch_all(&database)
    .await
    .unwrap()
    .into_iter()
    .collect();
    let known: BTreeSet<String> = VIEWS.iter().map(ToString::to_string).collect();
    assert_eq!(views, known, "views that can be exported");
}
