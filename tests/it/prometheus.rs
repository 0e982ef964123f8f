//! A real Prometheus that scrapes real daemons, with the rules and the dashboard of `deploy/`, in which time runs faster: its
//! `for` and its ranges are seconds where they are minutes and hours.
//!
//! Needs: prometheus

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::process::free_address;
use crate::running::until;

const RULES: &str = include_str!("../../deploy/prometheus/rules.yml");
const CONFIG: &str = include_str!("../../deploy/prometheus/prometheus.yml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/dashboards/cvsync.json");

/// The address in the rules.
const RUNBOOK: &str = "https://git.example/cvsync/docs/runbook.md";

/// Each duration of the rules, and what it is here. Thresholds that are a share of a range shrink with it.
const FASTER: &[(&str, &str)] = &[
    ("for: 2m\n", "for: 2s\n"),
    ("for: 5m\n", "for: 8s\n"),
    ("for: 10m\n", "for: 2s\n"),
    ("for: 15m\n", "for: 2s\n"),
    ("for: 20m\n", "for: 10s\n"),
    ("for: 40m\n", "for: 2s\n"),
    ("for: 1h\n", "for: 8s\n"),
    ("for: 2h\n", "for: 20s\n"),
    ("for: 4h\n", "for: 2s\n"),
    ("[5m]", "[10s]"),
    ("[10m]", "[30s]"),
    ("[15m]", "[15s]"),
    ("[30m]", "[30s]"),
    ("[1h]", "[30s]"),
    ("[25h]", "[30s]"),
    (
        "cvsync_settle_lag_seconds) + 60",
        "cvsync_settle_lag_seconds) + 1",
    ),
    ("> 900 or", "> 20 or"),
    ("> 90000)\n", "> 20)\n"),
    ("> 1800\n", "> 15\n"),
    ("> 3600 + scalar(", "> 50 + scalar("),
    ("offset 1h", "offset 30s"),
];

/// Prometheus, until it is dropped.
pub(crate) struct Prometheus {
    _child: Child,
    address: String,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Prometheus {
    /// One that scrapes these addresses each second, and has begun to.
    pub(crate) async fn scraping(targets: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut rules = RULES.to_owned();
        for (ours, faster) in FASTER {
            assert!(rules.contains(ours), "no rule says {ours:?} any more");
            rules = rules.replace(ours, faster);
        }
        let slow = rules.lines().find(|line| {
            let minutes =
                |word: &str| word.ends_with(['m', 'h']) && word.starts_with(char::is_numeric);
            let words = line.split([' ', '[', ']']);
            !line.trim_start().starts_with('#') && words.into_iter().any(minutes)
        });
        assert_eq!(slow, None, "a duration that FASTER does not know");
        let config = CONFIG.replace("_interval: 10s", "_interval: 1s").replace(
            "\"cvsync:8080\"",
            &format!("{targets:?}")[1..].replace(']', ""),
        );
        std::fs::write(folder.path().join("rules.yml"), rules).unwrap();
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let address = free_address();
        let child = Command::new("prometheus")
            .arg(format!("--web.listen-address={address}"))
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .expect("Prometheus is missing: run ./test, which fetches it");
        let prometheus = Self {
            _child: child,
            address,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            _folder: folder,
        };
        // Before its first look it takes all of them to be down, and says so until it sees otherwise.
        until("Prometheus has seen them all", async || {
            let all = format!("count(cvsync_ready) == {}", targets.len());
            prometheus.answers(&all).await && prometheus.firing().await != ["CvsyncDown"]
        })
        .await;
        prometheus
    }

    /// The alerts that fire; none while it starts. Each must link to its own section of the runbook.
    pub(crate) async fn firing(&self) -> Vec<String> {
        let alerts = self.get("alerts", &[]).await;
        let alerts = alerts["alerts"].as_array().into_iter().flatten();
        let mut names = Vec::new();
        for alert in alerts.filter(|alert| alert["state"] == "firing") {
            let name = alert["labels"]["alertname"].as_str().unwrap();
            let link = format!("{RUNBOOK}#{}", name.to_lowercase());
            assert_eq!(alert["annotations"]["runbook_url"], link.as_str());
            names.push(name.to_owned());
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether the query returns a number now. 0 divided by 0 is not a number.
    pub(crate) async fn answers(&self, query: &str) -> bool {
        let answer = self.get("query", &[("query", query)]).await;
        let mut series = answer["result"].as_array().into_iter().flatten();
        series.any(|series| series["value"][1] != "NaN")
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let asked = self.client.get(url).query(query);
        let Ok(answer) = asked.timeout(Duration::from_secs(10)).send().await else {
            return Value::Null;
        };
        let text = answer.text().await.unwrap_or_default();
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_ne!(answer["status"], "error", "{query:?}: {answer}");
        answer["data"].clone()
    }
}

/// Title and query of each panel of the dashboard, with ranges of seconds.
pub(crate) fn panels() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let query = query.replace("$__rate_interval", "10s");
            let query = query.replace("[15m]", "[15s]").replace("[1h]", "[30s]");
            queries.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    queries
}
