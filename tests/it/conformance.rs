//! The simulator breaks each assumption in turn: `cvsync conformance` reports it and names the variable to set, and with that
//! variable the sync works.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use cvsync::conformance::ASSUMPTIONS;
use cvsync::simulator::{Fault, FaultShare, Operation, Options, Quirk};
use serde_json::Value;

use crate::process::output;
use crate::world::World;

/// Enough in five days to show a page of 50 that is cut.
const CANDIDATES: u32 = 90;
const HISTORY: TimeDelta = TimeDelta::days(8);

/// The output of `cvsync conformance`.
struct Report {
    code: Option<i32>,
    text: String,
    json: Value,
}

impl Report {
    async fn of(env: &[(&'static str, String)]) -> Self {
        // It needs no database.
        let env = env
            .iter()
            .filter(|(name, _)| *name != "CVSYNC_DATABASE_URL");
        let env: Vec<_> = env.map(|(name, value)| (*name, value.as_str())).collect();
        let (code, text, stderr) = output(&["conformance", "--json"], env).await;
        let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text} {stderr}"));
        Self { code, text, json }
    }

    fn findings(&self) -> &Vec<Value> {
        self.json["findings"].as_array().unwrap()
    }

    fn finding(&self, assumption: &str) -> &Value {
        let is_it = |finding: &&Value| finding["assumption"] == assumption;
        self.findings().iter().find(is_it).unwrap()
    }

    fn verdict(&self, assumption: &str) -> &str {
        self.finding(assumption)["verdict"].as_str().unwrap()
    }

    fn with(&self, verdict: &str) -> Vec<&str> {
        let findings = self.findings().iter();
        let findings = findings.filter(|finding| finding["verdict"] == verdict);
        findings
            .map(|finding| finding["assumption"].as_str().unwrap())
            .collect()
    }

    /// Variables to set, `NAME=VALUE` or the name alone.
    fn settings(&self) -> Vec<(&'static str, Option<String>)> {
        let set = self.json["set"].as_array().unwrap().iter();
        set.map(|setting| {
            let name = setting["variable"].as_str().unwrap().to_owned();
            let value = setting["value"].as_str().map(str::to_owned);
            (&*name.leak(), value)
        })
        .collect()
    }
}

/// The world that a quirk is tried in: with a quota, so that its headers are there.
async fn world(quirks: Vec<Quirk>) -> World {
    let mut world = World::with(Options {
        candidates: CANDIDATES,
        history: HISTORY,
        rate_per_minute: Some(100_000),
        quirks,
        ..Options::default()
    })
    .await;
    world.set(RATE, "100000".to_owned());
    world.source.world(|world| {
        let gone: Vec<_> = world.live_ids().take(3).collect();
        for id in gone {
            assert!(world.remove(id));
        }
    });
    world.pass(TimeDelta::minutes(20));
    world
}

/// The expected report about a quirk: assumption, verdict, and the variable to set.
struct Expected(
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const NAMES: &str = "CVSYNC_API_NAMES";
const RATE: &str = "CVSYNC_API_RATE_PER_MINUTE";

#[rustfmt::skip]
fn expected(quirk: Quirk) -> Expected {
    let differs = |assumption, set| Expected(assumption, "differs", set);
    let tolerated = |assumption| Expected(assumption, "tolerated", &[]);
    let cannot_tell = |assumption| Expected(assumption, "cannot_tell", &[]);
    let holds = |assumption| Expected(assumption, "holds", &[]);
    match quirk {
        Quirk::TotalOfSister | Quirk::NoTotal => tolerated("total"),
        Quirk::NoStatus => tolerated("list-status"),
        Quirk::ListNull | Quirk::ListKeyed | Quirk::ListMarked => tolerated("list-form"),
        Quirk::ListFields => differs("list-fields", &[(NAMES, "cvId=id,resultaten=results,status=state")]),
        Quirk::DocumentFields => differs("document-fields", &[(NAMES, "document.cvId=id,document.status=state,document.wijzigingsDatum=modified")]),
        Quirk::WindowParameters => differs("window-parameters", &[(NAMES, "tot=until,van=from")]),
        Quirk::PagingParameters => differs("paging-parameters", &[(NAMES, "aantal=limit,vanaf=offset")]),
        Quirk::StrictParameters => differs("paging-parameters", &[(NAMES, "aantal=size,vanaf=start")]),
        Quirk::ErrorFields => differs("errors", &[(NAMES, "moreInformation=error")]),
        Quirk::WholeSeconds => differs("time-format", &[("CVSYNC_API_TIME_FORMAT", "%Y-%m-%dT%H:%M:%SZ")]),
        Quirk::TimeOffset => differs("time-format", &[("CVSYNC_API_TIME_FORMAT", "%Y-%m-%dT%H:%M:%S%.3f+00:00")]),
        Quirk::EpochMillis => differs("time-format", &[("CVSYNC_API_TIME_FORMAT", "%s%3f")]),
        Quirk::WindowNarrow | Quirk::WindowCut => differs("window-width", &[("CVSYNC_WINDOW", "1d")]),
        Quirk::WindowWide => tolerated("window-wider"),
        Quirk::PageSmall => differs("page-size", &[("CVSYNC_PAGE_SIZE", "500")]),
        Quirk::PageCapped => differs("page-size", &[("CVSYNC_PAGE_SIZE", "50")]),
        Quirk::DefaultPage => tolerated("page-default"),
        Quirk::OffsetFrom1 => differs("paging-offset", &[("CVSYNC_API_PAGING", "offset-from-1")]),
        Quirk::PageFrom0 => differs("paging-offset", &[("CVSYNC_API_PAGING", "page-from-0")]),
        Quirk::PageFrom1 => differs("paging-offset", &[("CVSYNC_API_PAGING", "page-from-1")]),
        Quirk::EndsInclusive | Quirk::EndsLate | Quirk::EndsExclusive | Quirk::SecondsTruncated | Quirk::SecondsRounded | Quirk::MinutesTruncated => cannot_tell("window-ends"),
        Quirk::NewestFirst => tolerated("order"),
        Quirk::ListedPerChange => tolerated("listed-once"),
        Quirk::Late => cannot_tell("late"),
        Quirk::GoneStatus410 | Quirk::GonePlain404 | Quirk::GoneMessage | Quirk::GoneDocument => holds("gone-answer"),
        Quirk::GoneWord => differs("gone-words", &[("CVSYNC_API_GONE_STATUSES", "VERWIJDERD,GESLOTEN,AFGESLOTEN,INACTIEF")]),
        Quirk::LiveWord => differs("live-words", &[("CVSYNC_API_LIVE_STATUSES", "OPEN,ACTIEF")]),
        Quirk::MalformedId => tolerated("malformed-id"),
        Quirk::QuotaLower => differs("quota", &[(RATE, "1200")]),
        Quirk::QuotaShared => differs("quota-apart", &[(RATE, "1350")]),
        Quirk::NoQuotaHeaders => tolerated("quota-headers"),
        Quirk::KeyRefused403 => cannot_tell("key-refusal"),
        Quirk::OAuth => differs("key-alone", &[("CVSYNC_OAUTH_TOKEN_URL", ""), ("CVSYNC_OAUTH_CLIENT_ID", ""), ("CVSYNC_OAUTH_CLIENT_SECRET", "")]),
        Quirk::NoDate => tolerated("date"),
        Quirk::ContentType => tolerated("answers"),
        Quirk::VeldenFewer | Quirk::VeldenMore => tolerated("search-fields"),
        Quirk::SearchPageSmall => differs("search-page", &[]),
        Quirk::SearchComma => tolerated("search-values"),
        Quirk::FiltersIgnored => tolerated("search-filters"),
        Quirk::ReferenceMissing => differs("reference-lists", &[("CVSYNC_REFERENCE_LISTS", "rijbewijzen,softskills,sjablonen,competenties,arbeidsstelsels,arbeidsregimes,arbeidscontracten,arbeidscontractduren,diplomas")]),
        Quirk::ReferenceLabel => differs("reference-label", &[("CVSYNC_REFERENCE_LABEL_FIELD", "label")]),
    }
}

/// A sync, a change and a removal, and a sync.
async fn the_whole_sync_works(world: &World, name: &str) {
    world.sync().await;
    let ids: Vec<_> = world
        .source
        .world(|world| world.live_ids().take(2).collect());
    assert_equal(world, name).await;
    world.source.world(|world| {
        world.remove(ids[0]);
        world.update(ids[1]);
        world.add();
    });
    world.settle();
    world.sync().await;
    assert_equal(world, name).await;
    assert!(!world.documents().await.contains_key(&ids[0]), "{name}");
    assert_eq!(world.rows("parked_cv").await, 0, "{name}");
    let without = "select count(*) from cvsync.cv where status is null or wijzigings_datum is null";
    assert_eq!(world.count(without).await, 0, "{name}");
}

async fn assert_equal(world: &World, name: &str) {
    let (found, expected) = (world.documents().await, world.source.documents());
    let ids = |documents: &BTreeMap<_, _>| documents.keys().copied().collect::<Vec<_>>();
    assert_eq!(ids(&found), ids(&expected), "{name}");
    assert!(found == expected, "{name}: documents differ");
}

/// Sets what is named, each as it is named; what only VDAB knows is what the simulator wants.
fn set(world: &mut World, settings: Vec<(&'static str, Option<String>)>) {
    let base = url::Url::parse(world.config.api.base_url.as_str()).unwrap();
    let mut env = Vec::new();
    for (variable, value) in settings {
        let value = value.unwrap_or_else(|| match variable {
            "CVSYNC_OAUTH_TOKEN_URL" => base.join("/oauth2/token").unwrap().into(),
            _ => "anybody".to_owned(),
        });
        env.push((variable, value));
    }
    world.set_all(env);
}

async fn quirk(name: &str, quirk: Quirk) {
    let mut world = world(vec![quirk]).await;
    let report = Report::of(&world.environment()).await;
    let Expected(assumption, verdict, settings) = expected(quirk);
    assert_eq!(
        report.verdict(assumption),
        verdict,
        "{name}: {}",
        report.finding(assumption)
    );
    let found = report.settings();
    let found: Vec<_> = found
        .iter()
        .map(|(variable, value)| (*variable, value.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(found, settings, "{name}");
    assert_eq!(report.code, Some(i32::from(verdict == "differs")), "{name}");
    assert!(
        (1..70).contains(&report.json["calls"].as_u64().unwrap()),
        "{name}: {}",
        report.json["calls"]
    );
    set(&mut world, report.settings());
    the_whole_sync_works(&world, name).await;
    if verdict != "differs" {
        return;
    }
    // With these variables only differences remain that the sync does not depend on.
    let again = Report::of(&world.environment()).await;
    let left = again.with("differs");
    let is_other = |name: &&str| *name == "search-page";
    assert!(
        left.iter().all(is_other),
        "{name}: {left:?} in {}",
        again.text
    );
    if left.is_empty() && quirk != Quirk::OAuth {
        assert_eq!(
            again.verdict(assumption),
            "configured",
            "{name}: {}",
            again.text
        );
    }
}

/// Every quirk is in one of these: they run beside each other.
async fn each_is_told_and_the_whole_sync_works_once_what_is_named_is_set(group: usize) {
    let of_group = Quirk::ALL.iter().skip(group).step_by(GROUPS);
    let mut failed = Vec::new();
    for (name, which, _) in of_group {
        if tokio::spawn(quirk(name, *which)).await.is_err() {
            failed.push(*name);
        }
    }
    assert_eq!(failed, [""; 0], "see above");
}

const GROUPS: usize = 15;

macro_rules! groups {
    ($($name:ident $group:literal)+) => {$(
        #[tokio::test]
        async fn $name() {
            each_is_told_and_the_whole_sync_works_once_what_is_named_is_set($group).await;
        }
    )+};
}

groups! {
    quirks_01_of_15 0
    quirks_02_of_15 1
    quirks_03_of_15 2
    quirks_04_of_15 3
    quirks_05_of_15 4
    quirks_06_of_15 5
    quirks_07_of_15 6
    quirks_08_of_15 7
    quirks_09_of_15 8
    quirks_10_of_15 9
    quirks_11_of_15 10
    quirks_12_of_15 11
    quirks_13_of_15 12
    quirks_14_of_15 13
    quirks_15_of_15 14
}

#[tokio::test]
async fn without_a_quirk_each_assumption_holds_or_is_unknown() {
    let world = World::with(Options {
        candidates: 300,
        history: HISTORY,
        rate_per_minute: Some(2_000),
        ..Options::default()
    })
    .await;
    let mut env = world.environment();
    env.retain(|(name, _)| *name != RATE);
    let report = Report::of(&env).await;
    assert_eq!(report.code, Some(0), "{}", report.text);
    for other in ["differs", "tolerated", "configured"] {
        assert_eq!(report.with(other), [""; 0], "{}", report.text);
    }
    assert_eq!(
        report.with("cannot_tell"),
        ["key-refusal", "over-quota", "window-ends", "late"],
        "{}",
        report.text
    );
    let names: Vec<_> = ASSUMPTIONS
        .iter()
        .map(|assumption| assumption.name)
        .collect();
    let found: Vec<_> = report
        .findings()
        .iter()
        .map(|f| f["assumption"].as_str().unwrap())
        .collect();
    assert_eq!(found, names);
}

#[tokio::test]
async fn report_of_conformance_holds_no_personal_data() {
    let world = world(Vec::new()).await;
    let env = world.environment();
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    for args in [vec!["conformance"], vec!["conformance", "--json"]] {
        let (code, stdout, stderr) = output(&args, env.iter().copied()).await;
        assert_eq!(code, Some(0));
        assert!(stdout.contains("window-width"), "{stdout}");
        for text in [stdout, stderr] {
            for (id, document) in world.source.documents() {
                assert!(!text.contains(&id.to_string()));
                for part in ["achternaam", "email", "gsm"] {
                    let private = document["natuurlijkPersoon"][part].as_str();
                    assert!(
                        private.is_none_or(|private| !text.contains(private)),
                        "{part}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn changes_and_faults_under_its_hands_make_nothing_differ() {
    let faults = ["http-503=0.04", "reset=0.04", "html-200=0.04"];
    let world = World::with(Options {
        candidates: 2_000,
        changes_per_second: 50.0,
        faults: faults.map(|fault| fault.parse().unwrap()).into(),
        history: TimeDelta::days(3),
        ..Options::default()
    })
    .await;
    let report = Report::of(&world.environment()).await;
    assert_eq!(report.with("differs"), [""; 0], "{}", report.text);
}

/// The two before it are for CVs that are none.
#[tokio::test]
async fn a_detail_that_fails_in_passing_is_asked_for_again() {
    let world = world(Vec::new()).await;
    let none = || Fault::Slow(Duration::ZERO);
    let faults = [none(), none(), Fault::Http500, Fault::Reset];
    world.source.script(Operation::Detail, faults);
    let report = Report::of(&world.environment()).await;
    assert_eq!(report.with("differs"), [""; 0], "{}", report.text);
    assert_eq!(report.verdict("gone-answer"), "holds", "{}", report.text);
}

#[tokio::test]
async fn quirks_can_come_together() {
    // Without a status only the detail call shows that a CV is gone, and without the name of its message an error proves nothing.
    let mut world = world(vec![
        Quirk::NoStatus,
        Quirk::ErrorFields,
        Quirk::NoTotal,
        Quirk::PageCapped,
    ])
    .await;
    let report = Report::of(&world.environment()).await;
    assert_eq!(
        report.settings(),
        [
            (NAMES, Some("moreInformation=error".to_owned())),
            ("CVSYNC_PAGE_SIZE", Some("50".to_owned()))
        ],
        "{}",
        report.text
    );
    set(&mut world, report.settings());
    the_whole_sync_works(&world, "together").await;
}

#[tokio::test]
async fn trouble_is_told_with_what_to_look_at_and_exit_code_1() {
    let world = world(Vec::new()).await;
    let base = world.config.api.base_url.to_string();
    let bad = |name: &'static str, value: String| {
        let mut env = world.environment();
        env.retain(|(other, _)| *other != name);
        env.push((name, value));
        env
    };
    let unused = format!("http://{}/v1", crate::process::free_address());
    let url = "CVSYNC_API_BASE_URL";
    for (env, said, variable) in [
        (bad(url, base.replace("/v1", "/v9")), "404", url),
        (bad(url, unused), "cannot be reached", url),
        (
            bad("CVSYNC_API_KEY", "canary-key".to_owned()),
            "401",
            "CVSYNC_API_KEY",
        ),
    ] {
        let report = Report::of(&env).await;
        assert_eq!(report.code, Some(1), "{}", report.text);
        assert!(report.text.contains(said), "{}", report.text);
        assert_eq!(report.settings(), [(variable, None)]);
        assert!(!report.text.contains("canary-key"));
    }
    world
        .source
        .set_faults(vec!["html-200=1".parse::<FaultShare>().unwrap()]);
    let report = Report::of(&world.environment()).await;
    assert_eq!(report.code, Some(1), "{}", report.text);
    assert!(report.text.contains("text/html"), "{}", report.text);
    assert_eq!(
        output(&["conformance"], [("CVSYNC_API_NAMES", "x")])
            .await
            .0,
        Some(2)
    );
}

#[tokio::test]
async fn a_source_without_cvs_tells_little() {
    let world = World::new(0).await;
    let report = Report::of(&world.environment()).await;
    assert_eq!(report.code, Some(1), "{}", report.text);
    assert_eq!(report.with("differs"), [""; 0], "{}", report.text);
    assert_eq!(report.verdict("list-fields"), "cannot_tell");
}
