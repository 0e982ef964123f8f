//! The real answers that VDAB shows on its page of the CV API, through the real client into a real PostgreSQL.
//!
//! `seed/cv.json` is the page's full CV, less the one `functie` that the page itself leaves out. `seed/zoekresultaat.json`
//! is its search result: ids without a status, which is also what a bulk answer may look like. `seed/cv-in-part.json` is
//! the CV of that search as far as the page shows it, closed where the page breaks off, its masked number in quotes.

use cvsync::simulator::{Answer, Fault, Operation};
use serde_json::Value;
use uuid::Uuid;

use crate::world::World;

const CV: &str = include_str!("seed/cv.json");
const ZOEKRESULTAAT: &str = include_str!("seed/zoekresultaat.json");
const CV_IN_PART: &str = include_str!("seed/cv-in-part.json");

fn json(body: &str) -> Fault {
    Fault::Answer(Answer::new(200, body.to_owned()).with("content-type", "application/json"))
}

#[tokio::test]
async fn the_full_cv_comes_back_from_the_database_as_vdab_gave_it() {
    let mut world = World::new(0).await;
    let id: Uuid = "30dbfef1-59df-4521-a111-964bf0208e68".parse().unwrap();
    world.source.world(|w| {
        let at = w.now() - chrono::TimeDelta::days(1);
        w.put(id, CV, at);
    });
    world.sync_again().await;
    let stored = world.documents().await;
    let shown: Value = serde_json::from_str(CV).unwrap();
    assert_eq!(stored[&id], shown);
    assert_eq!(
        stored[&id]["natuurlijkPersoon"]["geboortedatum"],
        "19xx-09-05"
    );
    assert_eq!(stored[&id]["competenties"][9], serde_json::json!({}));
    assert_eq!(stored[&id]["competenties"][4]["score"], "43");
    let (status, date): (String, chrono::NaiveDate) =
        sqlx::query_as("select status, wijzigings_datum from cvsync.cv")
            .fetch_one(&world.database)
            .await
            .unwrap();
    assert_eq!(
        (status.as_str(), date.to_string().as_str()),
        ("OPEN", "2022-08-03")
    );
}

#[tokio::test]
async fn the_search_result_is_listed_and_each_detail_decides() {
    let mut world = World::new(0).await;
    // The first answer holds the seven; all later ones are empty.
    world.source.script(Operation::Bulk, [json(ZOEKRESULTAAT)]);
    let shown: Uuid = "cb60cf85-1380-4a5a-adae-0b7bc6160661".parse().unwrap();
    world.source.rule(shown, json(CV_IN_PART));
    let summary = world.sync_again().await;
    assert_eq!(summary.tally.listed, 7);
    assert_eq!(summary.tally.inserted, 1);
    assert_eq!(
        summary.tally.unchanged, 6,
        "the page shows no more of them: not there, and never were"
    );
    let stored = world.documents().await;
    let expected: Value = serde_json::from_str(CV_IN_PART).unwrap();
    assert_eq!(stored[&shown], expected);
}
