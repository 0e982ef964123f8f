//! A real Chromium, as a person has it: looks, types, presses, and what axe finds wrong with what is shown.
//!
//! Needs: chromium npm

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::http::Method;
use cvsync::model::{hex, sha256};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::{ParseError, Url};

/// The longest time that a test waits for the page.
const PATIENCE: Duration = Duration::from_mins(2);

/// axe-core, as npm's registry has it.
const AXE: &str = "axe-core@4.10.3";
const AXE_SHA256: &str = "880970c081707360e64f34cea25ff91892f5bc95675b0776925b9709dd8a68bb";

pub(crate) struct Browser {
    pub tab: Client,
    width: u32,
    port: u16,
    session: String,
    _driver: Child,
    _profile: TempDir,
}

/// The driver ends its browser with the session; killed, it leaves it behind, and so it does on a signal.
impl Drop for Browser {
    fn drop(&mut self) {
        let end = || {
            let mut driver = TcpStream::connect(("127.0.0.1", self.port))?;
            driver.set_read_timeout(Some(Duration::from_secs(20)))?;
            write!(
                driver,
                "DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
                self.session
            )?;
            driver.read(&mut [0; 12])
        };
        if let Err(error) = end() {
            eprintln!("a browser is left behind: {error}");
        }
    }
}

/// A command of Chromium's own protocol.
#[derive(Debug)]
struct Devtools(&'static str, Value);

impl WebDriverCompatibleCommand for Devtools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.0, "params": self.1 });
        (Method::POST, Some(body.to_string()))
    }
}

impl Browser {
    pub(crate) async fn open(url: &str) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver: run ./test, which installs it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("it says its port");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        let profile = TempDir::new().unwrap();
        let options = json!({
            "goog:chromeOptions": {
                "args": [
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--hide-scrollbars",
                    format!("--user-data-dir={}", profile.path().display()),
                ],
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(options) = options else {
            unreachable!()
        };
        let tab = ClientBuilder::new(HttpConnector::new())
            .capabilities(options)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        let session = tab.session_id().await.unwrap().expect("it has begun");
        tab.goto(url).await.unwrap();
        Self {
            tab,
            width: 1_440,
            port,
            session,
            _driver: driver,
            _profile: profile,
        }
    }

    /// Text of the first element that matches; empty if none does.
    pub(crate) async fn text(&self, css: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        let text = self.tab.execute(script, vec![json!(css)]).await.unwrap();
        text.as_str().unwrap().to_owned()
    }

    /// Waits until the text of the element contains `words`; the page must update itself.
    pub(crate) async fn until(&self, css: &str, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let text = self.text(css).await;
            if text.contains(words) {
                return text;
            }
            if begun.elapsed() > PATIENCE {
                let lost = self.text("#lost").await;
                let complaints = self.complaints().await;
                panic!("waited for {words:?} in {css}, which says {text:?}; {lost} {complaints:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until `script` returns true.
    pub(crate) async fn until_true(&self, script: &str) {
        let begun = Instant::now();
        while self.tab.execute(script, vec![]).await.unwrap() != json!(true) {
            assert!(begun.elapsed() < PATIENCE, "waited for {script}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn click(&self, css: &str) {
        let element = self.tab.wait().for_element(Locator::Css(css)).await;
        element.unwrap().click().await.unwrap();
    }

    pub(crate) async fn type_into(&self, css: &str, text: &str) {
        let element = self.tab.find(Locator::Css(css)).await.unwrap();
        element.send_keys(text).await.unwrap();
    }

    /// Gives the page the admin token.
    pub(crate) async fn give_token(&self, token: &str) {
        self.type_into("#token-field", token).await;
        self.click("#token button").await;
    }

    pub(crate) async fn devtools(&self, command: &'static str, params: Value) -> Value {
        self.tab.issue_cmd(Devtools(command, params)).await.unwrap()
    }

    /// As on a screen of this width, in this theme.
    pub(crate) async fn look_as(&mut self, width: u32, theme: &str) {
        self.width = width;
        let screen =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", screen)
            .await;
        let feature = json!({ "name": "prefers-color-scheme", "value": theme });
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        )
        .await;
    }

    /// The whole page, into `target/screenshots`.
    pub(crate) async fn screenshot(&self, name: &str) {
        let folder = target().join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let height = self
            .tab
            .execute("return document.documentElement.scrollHeight", vec![])
            .await
            .unwrap();
        let screen = json!({ "width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", screen)
            .await;
        let picture = self.tab.screenshot().await.unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    /// Violations that axe finds on the page as it is shown. None if `CVSYNC_TEST_WITHOUT_AXE` is set; `.ci/run` then says that
    /// axe could not be fetched.
    pub(crate) async fn violations(&self) -> Vec<String> {
        if std::env::var_os("CVSYNC_TEST_WITHOUT_AXE").is_some() {
            return Vec::new();
        }
        // By the protocol, which the page's own policy does not bind.
        let axe = std::fs::read_to_string(axe().await).unwrap();
        self.devtools("Runtime.evaluate", json!({ "expression": axe }))
            .await;
        let script = "const done = arguments[0]; axe.run().then((found) => done(found.violations))";
        let found = self.tab.execute_async(script, vec![]).await.unwrap();
        let found = found.as_array().unwrap().iter();
        found
            .map(|violation| {
                let nodes = violation["nodes"].as_array().unwrap().iter();
                let places: Vec<_> = nodes.map(|node| node["html"].to_string()).collect();
                format!(
                    "{}: {}\n  {}",
                    violation["id"],
                    violation["help"],
                    places.join("\n  ")
                )
            })
            .collect()
    }

    /// Complaints in the browser's log: requests that the policy refused, errors of the script.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.tab.issue_cmd(BrowserLog).await.unwrap();
        let log = log.as_array().unwrap().iter();
        log.map(|line| line["message"].to_string()).collect()
    }
}

#[derive(Debug)]
struct BrowserLog;

impl WebDriverCompatibleCommand for BrowserLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

/// Fetched once, and the one that is meant.
async fn axe() -> PathBuf {
    let folder = target().join("axe");
    let file = folder.join("axe.min.js");
    if !is_axe(&file) {
        std::fs::create_dir_all(&folder).unwrap();
        let packed = Command::new("npm")
            .args(["pack", "--silent", AXE])
            .current_dir(&folder)
            .output()
            .await
            .expect("npm: run ./test, which installs it");
        assert!(
            packed.status.success(),
            "npm cannot fetch {AXE}: {packed:?}"
        );
        let archive = String::from_utf8(packed.stdout).unwrap();
        let unpacked = Command::new("tar")
            .args([
                "-xzf",
                archive.trim(),
                "--strip-components=1",
                "package/axe.min.js",
            ])
            .current_dir(&folder)
            .status()
            .await
            .unwrap();
        assert!(unpacked.success());
    }
    assert!(
        is_axe(&file),
        "{} is not the one that is meant",
        file.display()
    );
    file
}

fn is_axe(file: &Path) -> bool {
    std::fs::read(file).is_ok_and(|bytes| hex(&sha256(&bytes)) == AXE_SHA256)
}
