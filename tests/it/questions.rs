//! The questions of docs/data.md: each runs as written there, uses an index, and finds the same as a scan of the documents.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

use crate::views::{codes, holding, shown_by_vdab, synthetic};

const DATA: &str = include_str!("../../docs/data.md");

/// The questions in their order.
fn questions() -> Vec<&'static str> {
    DATA.split("\n### ")
        .skip(1)
        .filter_map(|section| section.split("```sql\n").nth(1)?.split("```").next())
        .collect()
}

fn has(document: &Value, terms: &[&str]) -> bool {
    let codes = codes(document);
    terms.iter().all(|term| codes.contains(*term))
}

fn any(document: &Value, array: &str, wanted: impl Fn(&Value) -> bool) -> bool {
    let elements = document[array].as_array();
    elements.is_some_and(|elements| elements.iter().any(wanted))
}

fn number(value: &Value) -> i64 {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    text.parse().unwrap_or(-1)
}

/// Whether a document is among the answers to a question, found without PostgreSQL.
fn answers(question: usize, d: &Value) -> bool {
    match question {
        1 => has(
            d,
            &["regio:BE231A", "studie:MAE5AHH", "taal:N:3", "rijbewijs:B"],
        ),
        2 => has(d, &["studie:MAE5AHH", "regio:BE231A"]),
        3 => {
            has(d, &["studie:BAV3VPK", "taal:F:2", "arbeidsregime:D"])
                && codes(d).iter().any(|term| term.starts_with("regio:BE23"))
        }
        4 => has(d, &["beroep:N410101-1", "rijbewijs:CE", "attest:A04"]),
        5 => {
            has(
                d,
                &[
                    "regio:BE242A",
                    "arbeidsstelsel:N",
                    "rijbewijs:B",
                    "softskill:8",
                ],
            ) && any(d, "attesteringen", |e| {
                e["type"] == "rijbewijs" && e["code"] == "B" && e["eigenWagen"] == true
            })
        }
        6 => {
            has(d, &["regio:BE231A"])
                && any(d, "competenties", |e| {
                    e["type"] == "technischeCompetentie"
                        && e["code"] == "11721"
                        && number(&e["score"]) >= 40
                })
        }
        7 => {
            has(
                d,
                &[
                    "studie:MAI5INF",
                    "beroep:M180501-1",
                    "regio:BE1",
                    "taal:E:3",
                ],
            ) && any(d, "opleidingen", |e| {
                e["naam"] == "MAI5INF" && number(&e["behaaldIn"]) >= 2005 && e["diploma"] == true
            })
        }
        8 => {
            has(
                d,
                &[
                    "beroep:N130101-1",
                    "regio:BE211A",
                    "taal:E:3",
                    "studie:BAL3LOG",
                ],
            ) && any(d, "ervaringen", |e| {
                let title = e["functieTitel"]
                    .as_str()
                    .unwrap_or_default()
                    .to_lowercase();
                let until = e["tot"].as_str();
                title.contains("supply chain") && until.is_none_or(|tot| tot >= "2020-01-01")
            })
        }
        9 => {
            has(d, &["regio:BE251A", "arbeidsstelsel:W"])
                && any(d, "ervaringen", |e| {
                    e["functieTitel"] == "Verpleegkundige geriatrie"
                })
        }
        10 => true,
        _ => panic!("no answer is known to question {question}"),
    }
}

/// Documents of which every question finds some and not all: a few to each, and twins that miss by one thing.
async fn documents() -> Vec<Value> {
    let mut documents = synthetic(1_500).await;
    let regio = |code: &str| {
        json!({"regios": [code], "arbeidsStelsels": ["N", "W"], "arbeidsRegimes": ["V"], "functies": [
        {"beroepsprofiel": {"code": "M180501-1"}}, {"beroepsprofiel": {"code": "N130101-1"}}, {"beroepsprofiel": {"code": "N410101-1"}}]})
    };
    let mut more = Vec::new();
    for tot in [json!("2020-01-01"), json!("2019-12-31"), Value::Null] {
        for (year, score, own_car) in [(2005, "40", true), (2004, "39", false)] {
            for place in ["BE1", "BE211A", "BE242A", "BE251A", "BE231A"] {
                more.push(json!({
                    "ervaringen": [{"functieTitel": "SUPPLY CHAIN manager", "tot": tot}, {"functieTitel": "Verpleegkundige geriatrie", "tot": tot}],
                    "opleidingen": [{"naam": "MAI5INF", "behaaldIn": year, "diploma": true}, {"naam": "BAL3LOG"}, {"naam": "MAE5AHH"}],
                    "attesteringen": [{"type": "rijbewijs", "code": "B", "eigenWagen": own_car}, {"type": "rijbewijs", "code": "CE"},
                        {"type": "attest", "code": "A04"}],
                    "competenties": [{"type": "talen", "code": "E", "niveau": "3"}, {"type": "softSkill", "code": "8"},
                        {"type": "technischeCompetentie", "code": "11721", "score": score}],
                    "gewensteJob": regio(place),
                }));
            }
        }
    }
    for (number, document) in (1..).zip(&mut more) {
        document["cvId"] = json!(Uuid::from_u128(number));
    }
    documents.extend(more);
    documents.push(shown_by_vdab());
    documents
}

async fn plan(database: &PgPool, question: &str) -> String {
    let mut tx = database.begin().await.unwrap();
    // So few rows as a test has are read faster from end to end; what counts is whether there is another way.
    sqlx::raw_sql("set local enable_seqscan = off")
        .execute(&mut *tx)
        .await
        .unwrap();
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("explain {question}")))
        .fetch_all(&mut *tx)
        .await
        .unwrap();
    lines.join("\n")
}

#[tokio::test]
async fn each_question_finds_what_a_walk_over_the_documents_finds() {
    let documents = documents().await;
    let (_, database) = holding(documents.clone()).await;
    sqlx::raw_sql("analyze cvsync.cv, cvsync.cv_search")
        .execute(&database)
        .await
        .unwrap();
    let questions = questions();
    assert_eq!(questions.len(), 10);
    for (number, question) in (1..).zip(questions) {
        let plan = plan(&database, question).await;
        assert!(
            !plan.contains("Seq Scan on cv"),
            "question {number}:\n{plan}"
        );
        let expected: BTreeSet<Uuid> = documents
            .iter()
            .filter(|document| answers(number, document))
            .map(|document| document["cvId"].as_str().unwrap().parse().unwrap())
            .collect();
        let rows = sqlx::query(question).fetch_all(&database).await.unwrap();
        let found: BTreeSet<Uuid> = rows.iter().map(|row| row.get("cv_id")).collect();
        assert_eq!(
            found.len(),
            rows.len(),
            "question {number} names a CV twice"
        );
        assert!(!found.is_empty(), "question {number} finds nobody");
        if number == 10 {
            assert_eq!(found.len(), 100);
            let newer: i64 = sqlx::query_scalar(
                "select count(*)
                   from cvsync.cv
                  where cv_id <> all($1)
                    and changed_at > (select min(changed_at) from cvsync.cv where cv_id = any($1))",
            )
            .bind(Vec::from_iter(found))
            .fetch_one(&database)
            .await
            .unwrap();
            assert_eq!(newer, 0, "it finds the newest");
            continue;
        }
        assert_eq!(found, expected, "question {number}");
        assert!(
            expected.len() < documents.len() / 2,
            "question {number} finds too many to tell"
        );
    }
}
