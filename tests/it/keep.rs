//! `CVSYNC_KEEP`, and the work after a change of what is stored.

use std::collections::BTreeSet;
use std::time::Duration;

use cvsync::sync::Request;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::process::{Process, output};
use crate::running::until;
use crate::views::codes;
use crate::world::World;

pub(crate) const ONCE: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
pub(crate) const NO_RELIST: (&str, &str) = ("CVSYNC_RELIST", "off");
/// So much may go without a person.
pub(crate) const NO_BRAKE: (&str, &str) = ("CVSYNC_MAX_DELETE_SHARE", "1");

pub(crate) fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap()
}

/// The live CVs at the source that have this term.
pub(crate) fn with_term(world: &World, term: &str) -> BTreeSet<Uuid> {
    let documents = world.source.world(|w| w.live_documents());
    let documents = documents.into_iter();
    documents
        .filter(|(_, document)| codes(document).contains(term))
        .map(|(id, _)| id)
        .collect()
}

/// A term that some live CVs have, but at most half of them.
pub(crate) fn common_term(world: &World, kind: &str) -> String {
    let documents = world.source.world(|w| w.live_documents());
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for term in documents.values().flat_map(codes) {
        if term.starts_with(kind) {
            *counts.entry(term).or_default() += 1;
        }
    }
    let half = documents.len() / 2;
    let few = counts.into_iter().filter(|(_, count)| *count <= half);
    few.max_by_key(|(_, count)| *count).unwrap().0
}

/// Stops a daemon, so that the next one leads at once.
pub(crate) async fn stop(mut daemon: Process) {
    daemon.signal("-TERM");
    daemon.ended_within(Duration::from_secs(30)).await;
}

pub(crate) async fn stored(world: &World) -> BTreeSet<Uuid> {
    world.documents().await.into_keys().collect()
}

pub(crate) async fn filtered(world: &World) -> i64 {
    let filtered = "select count(*) from cvsync.cv_seen where withheld = 'filtered' and not gone";
    world.count(filtered).await
}

pub(crate) async fn is_settled(world: &World) -> bool {
    let shapes = "select count(*) from cvsync.stored_shape";
    world.count(shapes).await == 1 && world.rows("refit").await == 0
}

#[tokio::test]
async fn only_cvs_that_match_are_stored_and_the_others_are_not_fetched_until_they_change() {
    let mut world = World::new(80).await;
    let term = common_term(&world, "regio:");
    world.set("CVSYNC_KEEP", term.clone());
    let live = world.live();
    world.settle();
    let summary = world.sync().await;
    let expected = with_term(&world, &term);
    assert_eq!(stored(&world).await, expected);
    assert_eq!(summary.tally.inserted, expected.len() as u64);
    assert_eq!(filtered(&world).await, number(live - expected.len()));
    assert_eq!(world.rows("cv_change").await, number(expected.len()));
    let calls = world.detail_calls();
    let found = world.request(Request::Reconcile).await;
    assert_eq!(world.detail_calls(), calls, "what is known is not fetched");
    assert_eq!(found.difference.unwrap().missing, 0);
    world.until_searchable().await;
    let searched: i64 =
        sqlx::query_scalar("select count(*) from cvsync.kandidaat where codes @> array[$1]")
            .bind(term)
            .fetch_one(&world.database)
            .await
            .unwrap();
    assert_eq!(searched, number(expected.len()), "search agrees");
}

#[tokio::test]
async fn a_cv_that_stops_matching_leaves_and_one_that_begins_to_match_comes() {
    let mut world = World::new(30).await;
    let term = common_term(&world, "regio:");
    world.set("CVSYNC_KEEP", format!("{term},regio:NOWHERE"));
    world.settle();
    world.sync().await;
    let inside = *with_term(&world, &term).first().unwrap();
    let outside = world
        .source
        .world(|w| w.live_ids().collect::<BTreeSet<_>>());
    let outside = outside
        .difference(&with_term(&world, &term))
        .next()
        .copied()
        .unwrap();
    let move_to = |id: Uuid, regio: &str| {
        world.source.world(|w| {
            let mut document: Value = serde_json::from_str(&w.document(id).unwrap()).unwrap();
            document["gewensteJob"] = json!({ "regios": [regio] });
            let now = w.now();
            w.put(id, document.to_string(), now);
        });
    };
    move_to(inside, "ELSEWHERE");
    move_to(outside, "NOWHERE");
    world.settle();
    let summary = world.sync().await;
    assert_eq!((summary.tally.deleted, summary.tally.inserted), (1, 1));
    let stored = stored(&world).await;
    assert!(!stored.contains(&inside) && stored.contains(&outside));
    let kinds: Vec<String> =
        sqlx::query_scalar("select kind from cvsync.cv_change where cv_id = $1 order by seq")
            .bind(inside)
            .fetch_all(&world.database)
            .await
            .unwrap();
    assert_eq!(kinds, ["upsert", "delete"]);
    assert!(world.source.world(|w| w.remove(inside)));
    world.settle();
    world.sync().await;
    let gone: bool =
        sqlx::query_scalar("select gone and withheld is null from cvsync.cv_seen where cv_id = $1")
            .bind(inside)
            .fetch_one(&world.database)
            .await
            .unwrap();
    assert!(
        gone,
        "a CV that was left out and is removed has a tombstone"
    );
}

#[tokio::test]
async fn terms_of_one_kind_are_alternatives_and_all_kinds_must_hold() {
    let mut world = World::new(80).await;
    let documents = world.source.world(|w| w.live_documents());
    let terms: BTreeSet<String> = documents.values().flat_map(codes).collect();
    let of = |kind: &'static str, number: usize| -> Vec<String> {
        let of_kind = terms.iter().filter(|term| term.starts_with(kind));
        of_kind.take(number).cloned().collect()
    };
    let regios = of("regio:", 3);
    let regimes = of("arbeidsregime:", 1);
    let has_one =
        |document: &Value, of: &[String]| of.iter().any(|it| codes(document).contains(it));
    let expected: BTreeSet<Uuid> = documents
        .iter()
        .filter(|(_, document)| has_one(document, &regios) && has_one(document, &regimes))
        .map(|(id, _)| *id)
        .collect();
    let keep: Vec<String> = regios.into_iter().chain(regimes).collect();
    world.set("CVSYNC_KEEP", keep.join(", "));
    world.settle();
    world.sync().await;
    assert_eq!(stored(&world).await, expected);
}

#[tokio::test]
async fn a_narrower_filter_is_pruned_in_place_and_a_wider_one_fetches_what_was_left_out() {
    let world = World::new(60).await;
    let term = common_term(&world, "regio:");
    let keep = ("CVSYNC_KEEP", term.as_str());
    let daemon = Process::run(&world, &[ONCE, NO_RELIST]);
    daemon.until_synced().await;
    stop(daemon).await;
    let calls = world.detail_calls();
    let daemon = Process::run(&world, &[ONCE, NO_RELIST, NO_BRAKE, keep]);
    daemon.until_synced().await;
    let expected = with_term(&world, &term);
    until("the filter holds", async || {
        stored(&world).await == expected && is_settled(&world).await
    })
    .await;
    assert_eq!(world.detail_calls(), calls, "nothing is fetched");
    assert_eq!(
        filtered(&world).await,
        number(world.live() - expected.len())
    );
    stop(daemon).await;
    let daemon = Process::run(&world, &[ONCE, NO_RELIST, NO_BRAKE]);
    until("all are stored again", async || {
        stored(&world).await.len() == world.live() && is_settled(&world).await
    })
    .await;
    world.assert_database_equals_source().await;
    assert_eq!(filtered(&world).await, 0);
    daemon
        .until("/metrics", |_, body| body.contains("cvsync_refit_left 0"))
        .await;
}

#[tokio::test]
async fn a_filter_that_would_empty_more_than_the_brake_allows_waits_for_a_person() {
    let world = World::new(150).await;
    let daemon = Process::run(&world, &[ONCE, NO_RELIST]);
    daemon.until_synced().await;
    stop(daemon).await;
    let before = stored(&world).await;
    let daemon = Process::run(&world, &[ONCE, NO_RELIST, ("CVSYNC_KEEP", "regio:NOWHERE")]);
    until("the deletes are held", async || {
        world.rows("held_delete").await == number(before.len()) && is_settled(&world).await
    })
    .await;
    assert_eq!(stored(&world).await, before, "none is deleted");
    let env = world.environment();
    let env = env.iter().map(|(name, value)| (*name, value.as_str()));
    let (code, _, stderr) = output(&["deletes", "approve", "--all"], env).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(world.rows("cv").await, 0);
    assert_eq!(world.rows("held_delete").await, 0);
    assert_eq!(filtered(&world).await, number(before.len()));
    drop(daemon);
}

#[tokio::test]
async fn excluded_fields_are_removed_in_place_and_fetched_again_once_they_are_included() {
    let world = World::new(40).await;
    let exclude = ("CVSYNC_DOCUMENT_EXCLUDE", "/natuurlijkPersoon/email");
    let daemon = Process::run(&world, &[ONCE, NO_RELIST]);
    daemon.until_synced().await;
    stop(daemon).await;
    let calls = world.detail_calls();
    let upserts = world.rows("cv_change").await;
    let daemon = Process::run(&world, &[ONCE, NO_RELIST, exclude]);
    let with_email =
        "select count(*) from cvsync.cv where document #> '{natuurlijkPersoon,email}' is not null";
    let had = world.count(with_email).await;
    until("the field is gone", async || {
        world.count(with_email).await == 0 && is_settled(&world).await
    })
    .await;
    assert_eq!(world.detail_calls(), calls, "nothing is fetched");
    assert!(had > 0);
    assert!(
        world.rows("cv_change").await > upserts,
        "consumers are told"
    );
    stop(daemon).await;
    let _daemon = Process::run(&world, &[ONCE, NO_RELIST]);
    until("the field is back", async || {
        world.count(with_email).await > 0 && is_settled(&world).await
    })
    .await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn unknown_kinds_and_filters_on_excluded_fields_are_errors() {
    for (env, said) in [
        (
            vec![("CVSYNC_KEEP", "regoi:BE231A")],
            "studie, rijbewijs, attest",
        ),
        (vec![("CVSYNC_KEEP", "BE231A")], "must be kind:code"),
        (
            vec![
                ("CVSYNC_KEEP", "regio:BE231A"),
                ("CVSYNC_DOCUMENT_EXCLUDE", "/gewensteJob"),
            ],
            "CVSYNC_DOCUMENT_EXCLUDE drops their field /gewensteJob",
        ),
    ] {
        let (code, _, stderr) = output(&["check"], env).await;
        assert_eq!(code, Some(2));
        assert!(stderr.contains(said), "{stderr}");
    }
}
