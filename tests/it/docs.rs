//! The documentation agrees with the code.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::TimeDelta;
use cvsync::config::{NO_EFFECT, OBEYED, VARIABLES};
use cvsync::conformance::ASSUMPTIONS;
use cvsync::model::clocks::TOLERANCE;
use cvsync::model::health::limits;

use crate::architecture::files_below;

const CONTRACT: &str = include_str!("../../docs/contract.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");

#[test]
fn the_configuration_page_lists_every_variable_as_it_is() {
    let mut table = "| variable | default | meaning |\n| --- | --- | --- |\n".to_owned();
    for variable in VARIABLES {
        let secret = if variable.secret { " (secret)" } else { "" };
        let default = variable
            .default
            .map_or("none".to_owned(), |default| format!("`{default}`"));
        let row = format!(
            "| `{}`{secret} | {default} | {} |\n",
            variable.name, variable.meaning
        );
        table.push_str(&row);
    }
    assert!(
        CONFIGURATION.contains(&table),
        "put this table into docs/configuration.md:\n{table}"
    );
}

#[test]
fn variables_of_opentelemetry_are_listed_as_they_are() {
    let mut obeyed = "| obeyed | meaning |\n| --- | --- |\n".to_owned();
    for (name, meaning) in OBEYED {
        obeyed.push_str(&["| `", name, "` | ", meaning, " |\n"].concat());
    }
    let mut ignored = "| not obeyed | reason |\n| --- | --- |\n".to_owned();
    for (name, reason, _) in NO_EFFECT {
        ignored.push_str(&["| `", name, "` | ", reason, " |\n"].concat());
    }
    let page = include_str!("../../docs/environment.md");
    for table in [obeyed, ignored] {
        assert!(
            page.contains(&table),
            "put this table into docs/environment.md:\n{table}"
        );
    }
}

#[test]
fn the_assumptions_are_listed_as_they_are() {
    let mut table =
        "| assumption | how it is looked at | variable |\n| --- | --- | --- |\n".to_owned();
    for assumption in ASSUMPTIONS {
        let (name, how, variable) = (assumption.name, assumption.how, assumption.variable);
        table.push_str(&["| `", name, "` | ", how, " | ", variable, " |\n"].concat());
    }
    let page = include_str!("../../docs/conformance.md");
    assert!(
        page.contains(&table),
        "put this table into docs/conformance.md:\n{table}"
    );
}

#[test]
fn the_contract_states_each_assumption_once_with_its_origin() {
    for assumption in ASSUMPTIONS {
        let (name, origin) = (assumption.name, assumption.origin);
        let row = format!("\n| {} | {origin} | `{name}` |\n", assumption.claim);
        assert!(CONTRACT.contains(&row), "add to docs/contract.md:{row}");
    }
    let named = CONTRACT.lines().filter(|line| line.ends_with("` |"));
    assert_eq!(named.count(), ASSUMPTIONS.len());
}

#[test]
fn comments_cite_sections_that_the_contract_has() {
    let mut cited = 0;
    for file in files_below("src".as_ref()) {
        let text = std::fs::read_to_string(&file).unwrap();
        for rest in text.split("docs/contract.md, ").skip(1) {
            let sections = rest.split(')').next().unwrap();
            for section in sections.split('"').skip(1).step_by(2) {
                let heading = format!("\n## {section}\n");
                assert!(
                    CONTRACT.contains(&heading),
                    "{section}, in {}",
                    file.display()
                );
                cited += 1;
            }
        }
    }
    assert!(cited > 8, "{cited}");
}

#[test]
fn links_in_the_docs_lead_somewhere_and_the_book_has_every_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<_> = ["docs", "deploy"]
        .into_iter()
        .flat_map(|folder| files_below(&root.join(folder)))
        .collect();
    pages.extend(
        [
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
        ]
        .map(|name| root.join(name)),
    );
    pages.retain(|page| page.extension().is_some_and(|end| end == "md"));
    let mut links = 0;
    for page in &pages {
        let text = prose(page);
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(path)
            };
            let shown = page.display();
            assert!(target.exists(), "{shown} links to {link}");
            if !anchor.is_empty() {
                let anchors = anchors(&prose(&target));
                assert!(anchors.contains(anchor), "{shown} links to {link}");
            }
            links += 1;
        }
    }
    assert!(links > 60, "{links}");
    let book = std::fs::read_to_string(root.join("docs/SUMMARY.md")).unwrap();
    let of_book = pages
        .iter()
        .filter(|page| page.starts_with(root.join("docs")));
    for page in of_book {
        let name = page.file_name().unwrap().to_str().unwrap();
        let listed = book.contains(&format!("]({name})"));
        assert!(listed || name == "SUMMARY.md", "{name}");
    }
}

/// A comment before a block, or at least after the last `##`, says it for the blocks behind it.
#[test]
fn each_block_of_shell_or_sql_is_run_by_a_test_or_says_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = files_below(&root.join("docs"));
    pages.push(root.join("README.md"));
    pages.retain(|page| page.extension().is_some_and(|end| end == "md"));
    let mut blocks = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        let (mut marker, mut fenced) = (None, false);
        for (at, line) in (1..).zip(text.lines()) {
            let place = format!("{}, line {at}", page.display());
            if line.starts_with("```") {
                fenced = !fenced;
                if fenced && ["```sh", "```sql"].contains(&line) {
                    assert!(
                        marker.is_some(),
                        "{place}: say which test runs this block, or why none does"
                    );
                    blocks += 1;
                }
            } else if fenced {
            } else if line.starts_with("## ") {
                marker = None;
            } else if let Some(file) = line.strip_prefix("<!-- run by ") {
                let file = file.trim_end_matches(" -->");
                let source = std::fs::read_to_string(root.join(file));
                let source = source.unwrap_or_else(|error| panic!("{place}: {file}: {error}"));
                let name = page.file_name().unwrap().to_str().unwrap();
                assert!(
                    source.contains(name),
                    "{place}: {file} does not read {name}"
                );
                marker = Some(file.to_owned());
            } else if let Some(reason) = line.strip_prefix("<!-- not run: ") {
                assert!(reason.len() > 20, "{place}: give the reason");
                marker = Some(reason.to_owned());
            }
        }
    }
    assert!(blocks > 30, "{blocks}");
}

/// A page without its blocks of code.
fn prose(page: &Path) -> String {
    let text = std::fs::read_to_string(page).unwrap();
    text.split("```").step_by(2).collect()
}

/// The headings that links can name behind `#`.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
            heading
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_test_that_the_docs_name_is_there() {
    let guarantees = include_str!("../../docs/guarantees.md");
    let faults = include_str!("../../docs/faults.md");
    let mut named = 0;
    let words = |page: &'static str| page.split('`').skip(1).step_by(2);
    for words in words(guarantees).chain(words(faults)) {
        let Some((file, name)) = words.split_once("::") else {
            continue;
        };
        let path = format!("{}/tests/it/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        // Unit tests are named by their module alone.
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        named += 1;
        assert!(text.contains(&format!("fn {name}(")), "there is no {words}");
    }
    assert!(named > 30, "{named}");
}

#[test]
fn alerts_have_the_limits_of_the_status_page() {
    let rules = include_str!("../../deploy/prometheus/rules.yml");
    let seconds = |limit: TimeDelta| limit.num_seconds();
    let limit = format!(
        "{} * max(cvsync_schedule_interval_seconds{{job=\"sync\"}}) + max(cvsync_settle_lag_seconds) + {}",
        limits::SCHEDULES,
        seconds(limits::RUN)
    );
    let silent = format!(
        "{} * max by (job) (cvsync_schedule_interval_seconds)",
        limits::SCHEDULES
    );
    let relist = format!(
        "{} * max(cvsync_schedule_interval_seconds{{job=\"relist\"}})",
        limits::RELIST.num_days()
    );
    let consumers = format!(
        "{{consumer=~\"search|webhook\"}} > {} or cvsync_feed_consumer_wait_seconds > {}",
        seconds(limits::OWN_CONSUMER),
        seconds(limits::FOREIGN_CONSUMER)
    );
    let hours = |limit: TimeDelta| format!("for: {}h", limit.num_hours());
    let minutes = |limit: TimeDelta| format!("for: {}m", limit.num_minutes());
    for (alert, expected) in [
        ("CvsyncBehind", limit.clone()),
        ("CvsyncStuck", limit),
        ("CvsyncSilent", silent),
        ("CvsyncNotRelisted", relist),
        ("CvsyncNotRelisted", hours(limits::FIRST_RELIST)),
        ("CvsyncNeverSynced", minutes(limits::FIRST_SYNC)),
        ("CvsyncClocksDisagree", format!("> {}", seconds(TOLERANCE))),
        ("CvsyncNoLeader", minutes(limits::NO_LEADER)),
        ("CvsyncTwoLeaders", minutes(limits::TWO_LEADERS)),
        ("CvsyncQuotaClosed", format!("> {}", seconds(limits::QUOTA))),
        ("CvsyncParked", format!("> {}", seconds(limits::PARKED))),
        ("CvsyncFeedConsumerBehind", consumers),
        (
            "CvsyncReplicaBehind",
            format!("> {}", seconds(limits::REPLICA)),
        ),
        ("CvsyncPaused", hours(limits::PAUSE)),
    ] {
        let rule = rules.split_once(&format!("- alert: {alert}\n")).unwrap().1;
        let rule = rule.split("- alert: ").next().unwrap();
        assert!(
            rule.contains(&expected),
            "{alert} lacks `{expected}`:\n{rule}"
        );
    }
}
