//! Claims about the configuration as a whole.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::*;

const CANARY: &str = "canary-4711";
const KEY: (&str, &str) = ("CVSYNC_API_KEY", "test-key");
const URL: (&str, &str) = ("CVSYNC_DATABASE_URL", "postgres://me:pw@db/cv");

/// A complete environment, with `changes` on top.
fn env(changes: &[(&str, &str)]) -> Env {
    Env::new([KEY, URL].iter().chain(changes).copied())
}

fn problems(changes: &[(&str, &str)]) -> Vec<String> {
    Config::load(&env(changes))
        .err()
        .iter()
        .flatten()
        .map(ToString::to_string)
        .collect()
}

fn only_problem(changes: &[(&str, &str)]) -> String {
    let mut problems = problems(changes);
    assert_eq!(problems.len(), 1, "{changes:?}: {problems:?}");
    problems.remove(0)
}

#[test]
fn a_key_and_a_database_are_enough() {
    let config = Config::load(&env(&[])).unwrap();
    assert_eq!(
        config.api.base_url.as_str(),
        "https://api.vdab.be/services/openservices/v1"
    );
    assert_eq!(config.api.key.expose_secret(), "test-key");
    assert_eq!(config.database.url.expose_secret(), URL.1);
    assert_eq!(config.api.statuses.gone.len(), 3);
    assert!(config.api.oauth.is_none());
    assert_eq!(config.sync.window.as_secs(), 432_000);
    assert_eq!(config.sync.relist.unwrap().as_secs(), 90_000);
    assert_eq!(config.sync.page_size, 2000);
    assert_eq!(config.sync.schedule.zone.name(), "Europe/Brussels");
    assert_eq!(config.sync.schedule.cron.as_str(), "0 */5 * * * *");
    assert_eq!(config.http.addr.unwrap().port(), 8080);
    assert_eq!(config.log.format, None);
}

#[test]
fn every_example_is_valid() {
    let ca = tempfile::NamedTempFile::new().unwrap();
    fs::write(&ca, PEM).unwrap();
    let examples = VARIABLES.iter().map(|variable| match variable.name {
        "CVSYNC_API_CA_FILE" => (variable.name, ca.path().to_str().unwrap()),
        name => (name, variable.example),
    });
    let config = Config::load(&Env::new(examples)).unwrap();
    assert!(config.api.oauth.is_some());
    assert_eq!(config.api.ca_pem.as_deref(), Some(PEM.as_bytes()));
    assert_eq!(config.sync.document_exclude.len(), 2);
}

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[test]
fn every_problem_is_in_the_one_report() {
    let env = Env::new([
        ("CVSYNC_WORKERS", "abc"),
        ("CVSYNC_WINDOW", "6d"),
        ("CVSYNC_OAUTH_CLIENT_ID", "me"),
        ("CVSYNC_LOG_FORMAT", "xml"),
        ("CVSYNC_TYPO", "1"),
    ]);
    let report = Config::load(&env).unwrap_err().to_string();
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[0], "the configuration has 8 problems:");
    let names = [
        "CVSYNC_API_KEY",
        "CVSYNC_OAUTH_TOKEN_URL",
        "CVSYNC_OAUTH_CLIENT_SECRET",
        "CVSYNC_DATABASE_URL",
        "CVSYNC_WINDOW",
        "CVSYNC_WORKERS",
        "CVSYNC_LOG_FORMAT",
        "CVSYNC_TYPO",
    ];
    assert_eq!(lines.len(), names.len() + 1, "{report}");
    for (line, name) in lines[1..].iter().zip(names) {
        assert!(line.starts_with(&format!("  {name} ")), "{line}");
    }
    assert!(
        report.contains(
            "CVSYNC_WORKERS must be an integer between 1 and 1024, got \"abc\"; for example CVSYNC_WORKERS=16"
        ),
        "{report}"
    );
}

/// Values that must be refused.
const BAD: &[(&str, &[&str])] = &[
    ("CVSYNC_API_KEY", &["two words", "é"]),
    (
        "CVSYNC_DATABASE_URL",
        &["db", "mysql://db/cv", "postgres:x"],
    ),
    (
        "CVSYNC_DATABASE_READ_URL",
        &["db", "mysql://db/cv", "postgres:x"],
    ),
    (
        "CVSYNC_API_BASE_URL",
        &["http://api.vdab.be", "vdab", "https://a/?b", "https://a@b"],
    ),
    ("CVSYNC_API_CA_FILE", &["/no/such/file", "/", "/dev/null"]),
    ("CVSYNC_API_RATE_PER_MINUTE", &["0", "-1", "1.5", "1000001"]),
    ("CVSYNC_API_TIMEOUT", &["30", "0s", "11m", "500ms"]),
    (
        "CVSYNC_API_LIVE_STATUSES",
        &[
            ",",
            "OPEN,",
            "OPEN ACTIEF",
            "OPEN;ACTIEF",
            "[OPEN ACTIEF]",
            "['OPEN']",
            "[]",
            "[1]",
            "- OPEN\n- ACTIEF",
            "OPEN,\u{a0}ACTIEF",
        ],
    ),
    ("CVSYNC_API_GONE_STATUSES", &["A,,B", "A,open"]),
    (
        "CVSYNC_API_NAMES",
        &[
            "van",
            "van=",
            "=from",
            "vann=from",
            "van=a b",
            "van=from,",
            "van=from,van=since",
            "van=at,tot=at",
            "aantal=van",
        ],
    ),
    (
        "CVSYNC_API_TIME_FORMAT",
        &["iso", "%Y-%m-%d", "%H:%M:%S", "%Y-%m-%dT%H", "%Q", "%"],
    ),
    ("CVSYNC_API_PAGING", &["offset", "page", "offset-from-2"]),
    (
        "CVSYNC_SYNC_FROM",
        &["yesterday", "2015-13-01", "1969-12-31"],
    ),
    (
        "CVSYNC_SCHEDULE",
        &[
            "off",
            "* *",
            "0 0 0 30 2 *",
            "0 0 30 2 *",
            "0 0 0 1 1 * 2020",
        ],
    ),
    ("CVSYNC_TIMEZONE", &["Brussels", "Europe/Brussel"]),
    ("CVSYNC_RECONCILE_SCHEDULE", &["never", "61 * * * * *"]),
    ("CVSYNC_WINDOW", &["6d", "0s", "5", "121h", "off"]),
    ("CVSYNC_WINDOW_OVERLAP", &["-1h", "10001d"]),
    ("CVSYNC_SETTLE_LAG", &["25h", "x"]),
    ("CVSYNC_RELIST", &["0s", "on"]),
    ("CVSYNC_PAGE_SIZE", &["0", "2001"]),
    ("CVSYNC_WORKERS", &["0", "1025", "16 17"]),
    ("CVSYNC_CHANNEL_CAPACITY", &["0", "1000001"]),
    ("CVSYNC_RETRY_MAX_ELAPSED", &["2d", "2"]),
    (
        "CVSYNC_DOCUMENT_EXCLUDE",
        &["email", "/a,/cvId", "/a~2", "/a /b", "/a;/b", "[\"/a\""],
    ),
    (
        "CVSYNC_KEEP",
        &[
            "BE231A",
            "regoi:A",
            "regio:",
            "regio:A,,taal:B",
            "regio:A taal:B",
        ],
    ),
    ("CVSYNC_RECHECK_AFTER", &["30", "5M"]),
    ("CVSYNC_MAX_DELETE_SHARE", &["1.1", "-0.1", "NaN", "20%"]),
    ("CVSYNC_TOMBSTONE_RETENTION", &["off", "1y"]),
    ("CVSYNC_REFERENCE_SCHEDULE", &["weekly", "* *"]),
    (
        "CVSYNC_REFERENCE_LISTS",
        &["a,,b", "a=b,a", "Rijbewijzen", "a=../b", "a=b?c", "a="],
    ),
    ("CVSYNC_CHANGE_RETENTION", &["23h", "off"]),
    ("CVSYNC_ACCESS_RETENTION", &["23h", "never"]),
    ("CVSYNC_HTTP_ADDR", &["8080", ":8080", "example.com:80"]),
    (
        "CVSYNC_HTTP_HOSTS",
        &["https://cvsync.example", "cvsync.example:8080"],
    ),
    ("CVSYNC_ADMIN_TOKEN", &["with space", "change-me"]),
    ("CVSYNC_MIRROR_CREDENTIALS", &["token", "off"]),
    (
        "CVSYNC_PING_URL",
        &["ftp://example.com", "x", "https://a b", "https://x/<my id>"],
    ),
    ("CVSYNC_LOG", &["inof", "cvsync=loud", "info,verbose"]),
    ("CVSYNC_LOG_FORMAT", &["xml", "JSON"]),
];

#[test]
fn a_bad_value_is_one_problem_with_the_name_and_an_example() {
    for (name, values) in BAD {
        let variable = variables::variable(name);
        for value in *values {
            let problem = only_problem(&[(name, value)]);
            assert!(problem.starts_with(&format!("{name} ")), "{problem}");
            let example = format!("; for example {name}={}", variable.example);
            assert!(problem.ends_with(&example), "{problem}");
        }
    }
}

#[test]
fn every_variable_is_among_the_bad_ones_except_where_any_text_will_do() {
    let missing: Vec<&str> = VARIABLES
        .iter()
        .map(|variable| variable.name)
        .filter(|name| !BAD.iter().any(|(bad, _)| bad == name))
        .collect();
    assert_eq!(
        missing,
        [
            "CVSYNC_OAUTH_TOKEN_URL",
            "CVSYNC_OAUTH_CLIENT_ID",
            "CVSYNC_OAUTH_CLIENT_SECRET",
            "CVSYNC_REFERENCE_LABEL_FIELD",
            "CVSYNC_WEBHOOK_URL",
            "CVSYNC_WEBHOOK_SECRET",
        ]
    );
}

#[test]
fn a_webhook_needs_tls_and_a_key_that_is_long_enough() {
    const URL: &str = "CVSYNC_WEBHOOK_URL";
    const SECRET: &str = "CVSYNC_WEBHOOK_SECRET";
    let key = |name| variables::variable(name).example;
    let (url, secret) = (key(URL), key(SECRET));
    for bad in [
        "http://partner.example/x",
        "ftp://localhost/canary-4711",
        "https://me:canary-4711@partner.example/",
        "https://partner.example/#canary-4711",
        "canary-4711",
    ] {
        let problem = only_problem(&[(URL, bad), (SECRET, secret)]);
        assert!(problem.starts_with("CVSYNC_WEBHOOK_URL must "), "{problem}");
        assert!(!problem.contains(CANARY), "{problem}");
    }
    let short = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [7; 23]);
    for bad in [
        &format!("whsec_{short}"),
        "whsec_canary-4711",
        CANARY,
        "whsec_",
    ] {
        let problem = only_problem(&[(URL, url), (SECRET, bad)]);
        assert!(
            problem.starts_with("CVSYNC_WEBHOOK_SECRET must "),
            "{problem}"
        );
        assert!(!problem.contains(CANARY), "{problem}");
    }
    assert!(only_problem(&[(URL, url)]).starts_with("CVSYNC_WEBHOOK_SECRET must be set"));
    assert!(only_problem(&[(SECRET, secret)]).starts_with("CVSYNC_WEBHOOK_URL must be set"));
    let local = [
        (URL, "http://127.0.0.1:9/x?token=canary-4711"),
        (SECRET, secret),
    ];
    let config = Config::load(&env(&local)).unwrap();
    let told = format!("{config:?}");
    assert!(
        !told.contains(CANARY) && !told.contains(&secret[6..]),
        "{told}"
    );
}

#[test]
fn a_token_url_has_the_rules_of_the_base_url() {
    let problem = only_problem(&[
        ("CVSYNC_OAUTH_TOKEN_URL", "http://login.example.com"),
        ("CVSYNC_OAUTH_CLIENT_ID", "me"),
        ("CVSYNC_OAUTH_CLIENT_SECRET", CANARY),
    ]);
    assert!(problem.contains("loopback"), "{problem}");
}

#[test]
fn messages_say_what_to_know() {
    for (name, value, part) in [
        ("CVSYNC_WINDOW", "6d", "VDAB allows at most 5 days"),
        (
            "CVSYNC_WINDOW",
            "5",
            "an integer with its unit: ms, s, m, h or d",
        ),
        (
            "CVSYNC_TIMEZONE",
            "Europe/Brussel",
            "nearest is Europe/Brussels",
        ),
        (
            "CVSYNC_SCHEDULE",
            "0 0 0 30 2 *",
            "matches at least one date",
        ),
        ("CVSYNC_API_BASE_URL", "http://vdab.be", "loopback"),
        ("CVSYNC_RELIST", "nope", "`off` disables it"),
        (
            "CVSYNC_DOCUMENT_EXCLUDE",
            "/a,b",
            "item 2: it must be a JSON pointer",
        ),
        ("CVSYNC_API_CA_FILE", "/dev/null", "no certificate in PEM"),
    ] {
        let problem = only_problem(&[(name, value)]);
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn other_spellings_are_taken() {
    let config = Config::load(&env(&[
        ("CVSYNC_SYNC_FROM", "2020-02-29"),
        ("CVSYNC_SCHEDULE", "*/10 * * * mon-fri"),
        ("CVSYNC_RECONCILE_SCHEDULE", "@daily"),
        ("CVSYNC_HTTP_ADDR", "localhost:0"),
        ("CVSYNC_LOG", " warn,cvsync=debug,[span]=trace "),
        ("CVSYNC_WINDOW_OVERLAP", "0s"),
        ("CVSYNC_WORKERS", " 4\n"),
        (
            "CVSYNC_REFERENCE_LISTS",
            "softskills, rijbewijzen=/ref/v1/rijbewijs",
        ),
        ("CVSYNC_PAGE_SIZE", ""),
    ]))
    .unwrap();
    assert_eq!(config.sync.from.to_rfc3339(), "2020-02-29T00:00:00+00:00");
    assert_eq!(config.sync.schedule.cron.as_str(), "0 */10 * * * 1-5");
    assert!(config.sync.reconcile_schedule.is_some());
    assert!(config.http.addr.unwrap().ip().is_loopback());
    assert_eq!(config.sync.workers, 4);
    let path = |name| config.sync.reference.list(name).map(|list| &*list.path);
    assert_eq!(path("softskills"), Some("softskills"));
    assert_eq!(path("rijbewijzen"), Some("ref/v1/rijbewijs"));
    assert_eq!(config.sync.page_size, 2000);
}

#[test]
fn values_are_read_as_container_tools_pass_them() {
    let json = r#"["OPEN", "ACTIEF"]"#;
    for live in [
        "OPEN,ACTIEF",
        "\"OPEN,ACTIEF\"",
        "OPEN\nACTIEF\n",
        "OPEN,\r\n ACTIEF",
        "\"OPEN\", 'ACTIEF'",
        json,
    ] {
        let config = Config::load(&env(&[("CVSYNC_API_LIVE_STATUSES", live)])).unwrap();
        assert_eq!(config.api.statuses.live, ["OPEN", "ACTIEF"], "{live}");
    }
    let config = Config::load(&env(&[
        ("CVSYNC_API_KEY", "\u{feff}\"quoted-key\"\r\n"),
        ("CVSYNC_WORKERS", "'4'"),
        ("CVSYNC_WINDOW", "\u{a0}4d\u{200b}"),
        ("CVSYNC_RELIST", "false"),
        ("CVSYNC_HTTP_ADDR", "\"off\""),
        ("CVSYNC_DOCUMENT_EXCLUDE", r#"["/a", "/b"]"#),
        ("CVSYNC_ADMIN_TOKEN", "\"\""),
    ]))
    .unwrap();
    assert_eq!(config.api.key.expose_secret(), "quoted-key");
    assert_eq!(config.sync.workers, 4);
    assert_eq!(config.sync.window, Duration::from_hours(96));
    assert!(config.sync.relist.is_none() && config.http.addr.is_none());
    assert_eq!(config.sync.document_exclude.len(), 2);
    assert!(config.http.admin_token.is_none());
}

#[test]
fn secret_that_nobody_has_set_or_that_no_header_can_carry_is_refused_by_name() {
    for value in [
        "changeme",
        "${CVSYNC_API_KEY}",
        "$CVSYNC_API_KEY",
        "<your-key>",
        "canary\nkey",
        "canary\u{200b}key",
        "\u{201c}canary\u{201d}",
        "sleutel-\u{e9}",
    ] {
        let problem = only_problem(&[("CVSYNC_API_KEY", value)]);
        assert!(problem.starts_with("CVSYNC_API_KEY must "), "{problem}");
        assert!(!problem.contains("canary"), "{problem}");
    }
    let url = "postgres://me:${PASSWORD}@db/cv";
    let problem = only_problem(&[("CVSYNC_DATABASE_URL", url)]);
    assert!(problem.contains("placeholder"), "{problem}");
}

#[test]
fn byte_order_mark_in_a_file_is_taken_off_and_utf16_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let load = || Config::load(&Env::new([URL, ("CVSYNC_API_KEY_FILE", path)]));
    for content in [&b"\xef\xbb\xbfkey\r\n"[..], b"key\0", b"\"key\"\n"] {
        fs::write(&file, content).unwrap();
        assert_eq!(
            load().unwrap().api.key.expose_secret(),
            "key",
            "{content:?}"
        );
    }
    for (content, words) in [
        (&b"\xff\xfek\0e\0y\0"[..], "is in UTF-16; save it as UTF-8"),
        (b"\xfe\xff\0k\0e\0y", "is in UTF-16"),
        (b"k\0e\0y\0", "a control character (U+0000)"),
        (b"key\nkey", "a line break"),
        (b"\xef\xbb\xbf\n", "is empty"),
    ] {
        fs::write(&file, content).unwrap();
        let problem = load().unwrap_err().to_string();
        let named = format!("CVSYNC_API_KEY_FILE names the file {path:?}, which ");
        assert!(
            problem.contains(&named) && problem.contains(words),
            "{problem}"
        );
    }
    let ca = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        let config = Config::load(&env(&[("CVSYNC_API_CA_FILE", path)]));
        config
            .map(|config| config.api.ca_pem)
            .map_err(|problems| problems.to_string())
    };
    let marked = format!("\u{feff}{PEM}");
    assert_eq!(
        ca(marked.as_bytes()).unwrap().as_deref(),
        Some(PEM.as_bytes())
    );
    let utf16: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(ca(&utf16).unwrap_err().contains("is in UTF-16"));
    let glued = format!("{}{PEM}", PEM.trim_end());
    let told = ca(glued.as_bytes()).unwrap_err();
    assert!(
        told.contains("CVSYNC_API_CA_FILE must ") && told.contains("2 certificates"),
        "{told}"
    );
}

#[test]
fn http_hosts_are_names_without_scheme_port_and_wildcard() {
    let config = Config::load(&env(&[("CVSYNC_HTTP_HOSTS", "Cvsync.example., cvsync")])).unwrap();
    assert_eq!(config.http.hosts, ["cvsync.example", "cvsync"]);
    for wrong in [
        "https://cvsync.example",
        "cvsync.example:8080",
        "*.example",
        "a..b",
        "a,,b",
    ] {
        let problem = only_problem(&[("CVSYNC_HTTP_HOSTS", wrong)]);
        assert!(problem.starts_with("CVSYNC_HTTP_HOSTS"), "{problem}");
    }
}

#[test]
fn mirror_opens_to_keys_and_unless_excluded_to_the_token() {
    let opens = |value| {
        let config = Config::load(&env(&[("CVSYNC_MIRROR_CREDENTIALS", value)]));
        config.unwrap().http.token_opens_mirror
    };
    assert!(opens("key,token") && opens("token, key") && opens(""));
    assert!(!opens("key"));
    for wrong in ["token", "off", "key,key"] {
        let problem = only_problem(&[("CVSYNC_MIRROR_CREDENTIALS", wrong)]);
        assert!(problem.contains("must be key or key,token"), "{problem}");
    }
}

#[test]
fn short_admin_token_is_a_warning_on_loopback_and_refused_elsewhere() {
    let short = ("CVSYNC_ADMIN_TOKEN", "abc");
    let long = ("CVSYNC_ADMIN_TOKEN", "abcdefghijklmnopqrst");
    for loopback in [
        "127.0.0.1:0",
        "localhost:0",
        "[::1]:0",
        "[::ffff:127.0.0.1]:0",
    ] {
        let addr = ("CVSYNC_HTTP_ADDR", loopback);
        let config = Config::load(&env(&[short, addr])).unwrap();
        assert!(config.warnings[0].starts_with("CVSYNC_ADMIN_TOKEN must have at least 20"));
        assert!(!config.warnings[0].contains("abc"));
        assert_eq!(Config::load(&env(&[long, addr])).unwrap().warnings, [""; 0]);
    }
    for elsewhere in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:8080"] {
        let addr = ("CVSYNC_HTTP_ADDR", elsewhere);
        let problem = only_problem(&[short, addr]);
        assert!(
            problem.starts_with("CVSYNC_ADMIN_TOKEN must have at least 20"),
            "{problem}"
        );
        assert!(Config::load(&env(&[long, addr])).is_ok());
    }
    assert!(Config::load(&env(&[short, ("CVSYNC_HTTP_ADDR", "off")])).is_ok());
}

#[test]
fn file_of_a_secret_that_everybody_may_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let mounted = folder.path().join("..2026_11_30.1");
    fs::create_dir(&mounted).unwrap();
    let warnings = |path: &std::path::Path, mode: u32, folder_mode: u32| {
        fs::write(path, "key").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(folder_mode)).unwrap();
        let env = Env::new([URL, ("CVSYNC_API_KEY_FILE", path.to_str().unwrap())]);
        Config::load(&env).unwrap().warnings
    };
    let file = folder.path().join("key");
    let told = warnings(&file, 0o644, 0o755);
    assert!(
        told[0].contains("which every user of this machine can read"),
        "{told:?}"
    );
    assert_eq!(told.len(), 1);
    assert_eq!(warnings(&file, 0o640, 0o755), [""; 0]);
    assert_eq!(
        warnings(&file, 0o644, 0o700),
        [""; 0],
        "nobody else comes to it"
    );
    assert_eq!(
        warnings(&mounted.join("key"), 0o644, 0o755),
        [""; 0],
        "Kubernetes"
    );
}

#[test]
fn off_disables() {
    let config = Config::load(&env(&[
        ("CVSYNC_RECONCILE_SCHEDULE", "off"),
        ("CVSYNC_REFERENCE_SCHEDULE", "off"),
        ("CVSYNC_RELIST", "off"),
        ("CVSYNC_RECHECK_AFTER", "OFF"),
        ("CVSYNC_HTTP_ADDR", "off"),
    ]))
    .unwrap();
    assert!(config.sync.reconcile_schedule.is_none());
    assert!(config.sync.relist.is_none());
    assert!(config.sync.reference.schedule.is_none());
    assert!(config.sync.recheck_after.is_none());
    assert!(config.http.addr.is_none());
}

#[test]
fn a_part_needs_no_more_than_itself() {
    let env = Env::new([URL, ("CVSYNC_API_KEY_FILE", "/no/such/file")]);
    assert!(Database::load(&env).is_ok());
    assert!(Http::load(&env).is_ok());
    assert!(Log::load(&env).is_ok());
    assert!(Config::load(&env).is_err());
}

#[test]
fn a_secret_can_come_from_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "  from-file\n").unwrap();
    let path = file.path().to_str().unwrap();
    let env = Env::new([URL, ("CVSYNC_API_KEY", ""), ("CVSYNC_API_KEY_FILE", path)]);
    let config = Config::load(&env).unwrap();
    assert_eq!(config.api.key.expose_secret(), "from-file");
    let shown = &shown(&env)[0];
    assert_eq!(shown.value.as_deref(), Some(MASK));
    assert_eq!(shown.origin.to_string(), format!("file {path}"));
}

#[test]
fn a_file_that_gives_no_secret_is_a_problem() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let problem = |path: &str| only_problem(&[("CVSYNC_ADMIN_TOKEN_FILE", path)]);
    assert_eq!(
        problem(path),
        format!("CVSYNC_ADMIN_TOKEN_FILE names the file {path:?}, which is empty")
    );
    fs::write(&file, b"canary-4711 \xff").unwrap();
    assert!(problem(path).ends_with("which is not UTF-8 text"));
    fs::write(&file, "canary 4711").unwrap();
    assert!(!problem(path).contains("4711"));
    assert!(problem("/no/such/file").contains("\"/no/such/file\", which cannot be read"));
    assert!(problem("/dev/zero").contains("larger"));
    let both = only_problem(&[("CVSYNC_API_KEY_FILE", path)]);
    assert!(
        both.contains("CVSYNC_API_KEY and ") && both.contains("CVSYNC_API_KEY_FILE"),
        "{both}"
    );
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    for (name, nearest) in [
        ("CVSYNC_WORKRES", "CVSYNC_WORKERS"),
        ("CVSYNC_PAGESIZE", "CVSYNC_PAGE_SIZE"),
        ("CVSYNC_RATE_PER_MINUTE", "CVSYNC_API_RATE_PER_MINUTE"),
        ("CVSYNC_API_CA", "CVSYNC_API_CA_FILE"),
        ("CVSYNC_DB_URL", "CVSYNC_DATABASE_URL"),
        ("CVSYNC_WORKERS_FILE", "CVSYNC_WORKERS"),
        ("cvsync_api_key", "CVSYNC_API_KEY"),
    ] {
        let problem = only_problem(&[(name, CANARY)]);
        assert!(problem.starts_with(&format!("{name} ")), "{problem}");
        assert!(problem.contains(nearest), "{problem}");
    }
}

#[test]
fn names_of_tests_of_container_platforms_and_of_others_are_left_alone() {
    let env = env(&[
        ("CVSYNC_TEST_DATABASE_URL", "x"),
        ("CVSYNC_SERVICE_HOST", "10.0.0.1"),
        ("CVSYNC_SERVICE_PORT", "8080"),
        ("CVSYNC_PORT", "tcp://10.0.0.1:8080"),
        ("CVSYNC_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
    ]);
    assert!(Config::load(&env).is_ok());
    assert!(only_problem(&[("CVSYNC_PORT", "1")]).starts_with("CVSYNC_PORT "));
    let link = [
        ("CVSYNC_NAME", "/web/cvsync"),
        ("CVSYNC_PORT_8080_TCP", "tcp://172.17.0.5:8080"),
        ("CVSYNC_ENV_PATH", "/bin"),
    ];
    assert_eq!(problems(&link), [""; 0]);
    let and_a_mistake = [link[0], link[1], ("CVSYNC_WORKRES", "4")];
    assert!(only_problem(&and_a_mistake).starts_with("CVSYNC_WORKRES "));
}

#[cfg(unix)]
#[test]
fn value_that_is_not_unicode_is_a_problem() {
    use std::os::unix::ffi::OsStringExt as _;

    let broken = std::ffi::OsString::from_vec(vec![b'c', 0xff]);
    let env = Env::of_pairs([("CVSYNC_LOG".to_owned(), broken)].into_iter());
    let report = Log::load(&env).unwrap_err().to_string();
    assert!(
        report.ends_with("CVSYNC_LOG must be Unicode text"),
        "{report}"
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let url = format!("postgres://me:{CANARY}@db/cv?password={CANARY}");
    let good = [
        ("CVSYNC_API_KEY", CANARY),
        ("CVSYNC_DATABASE_URL", &url),
        ("CVSYNC_OAUTH_TOKEN_URL", "https://login.example.com"),
        ("CVSYNC_OAUTH_CLIENT_ID", "me"),
        ("CVSYNC_OAUTH_CLIENT_SECRET", CANARY),
        ("CVSYNC_ADMIN_TOKEN", CANARY),
    ];
    let env = Env::new(good);
    let config = Config::load(&env).unwrap();
    let mut printed = format!("{env:?} {config:?} {:?}", shown(&env));
    let bad = format!("{CANARY} é");
    for url in [
        format!("mysql://me:{CANARY}@db"),
        format!("postgres://me:1/{CANARY}@db"),
        CANARY.to_owned(),
    ] {
        let env = Env::new([
            ("CVSYNC_API_KEY", bad.as_str()),
            ("CVSYNC_DATABASE_URL", &url),
            (
                "CVSYNC_API_BASE_URL",
                &format!("https://me:{CANARY}@vdab.be"),
            ),
            ("CVSYNC_ADMIN_TOKEN", &bad),
            ("CVSYNC_TYPO", &bad),
        ]);
        let problems = Config::load(&env).unwrap_err();
        assert_eq!(problems.iter().count(), 5, "{problems}");
        write!(printed, "{problems} {problems:?} {:?}", shown(&env)).unwrap();
    }
    assert!(!printed.contains(CANARY), "{printed}");
}

#[test]
fn shown_tells_values_and_origins_in_the_order_of_the_table() {
    let env = env(&[("CVSYNC_WORKERS", "abc")]);
    let shown = shown(&env);
    assert!(
        shown
            .iter()
            .map(|shown| shown.name)
            .eq(VARIABLES.iter().map(|variable| variable.name))
    );
    let find = |name: &str| {
        let shown = shown.iter().find(|shown| shown.name == name).unwrap();
        (shown.value.as_deref(), shown.origin.to_string())
    };
    assert_eq!(find("CVSYNC_API_KEY"), (Some(MASK), "environment".into()));
    assert_eq!(
        find("CVSYNC_DATABASE_URL").0,
        Some("postgres://me:********@db/cv")
    );
    assert_eq!(find("CVSYNC_WORKERS"), (Some("abc"), "environment".into()));
    assert_eq!(find("CVSYNC_WINDOW"), (Some("5d"), "default".into()));
    assert_eq!(find("CVSYNC_ADMIN_TOKEN"), (None, "unset".into()));
    let json = serde_json::to_value(&shown[0]).unwrap();
    assert_eq!(json["origin"], "environment");
}

proptest! {
    #[test]
    fn no_value_makes_it_panic(
        at in 0..VARIABLES.len(),
        value in prop_oneof![
            any::<String>(),
            "[0-9*/,LW#?@ +-]{0,24}",
            "([0-9*/,-]{1,5} ){4,5}[0-9*LW#?+]{1,4}",
            "[0-9]{1,25}(ms|s|m|h|d)?",
            "(https?|postgres)://[a-z0-9:@/?#%.\\[\\]]{0,16}",
            "[a-z=\\[\\]{}\",:]{0,24}",
        ],
    ) {
        let env = env(&[(VARIABLES[at].name, &value)]);
        if let Err(problems) = Config::load(&env) {
            prop_assert!(!problems.to_string().trim_end().is_empty());
            prop_assert!(problems.iter().all(|problem| !problem.to_string().contains('\n')));
        }
        prop_assert_eq!(shown(&env).len(), VARIABLES.len());
    }

    #[test]
    fn no_name_makes_it_panic(name in "(CVSYNC|cvsync)_\\PC{0,90}") {
        let _ = Config::load(&env(&[(&name, "x")]));
    }
}

/// The longest gap that is now or soon, and what counts as in step on that schedule.
#[test]
fn what_is_late_depends_on_the_schedule() {
    let at = |day: &str| day.parse::<DateTime<Utc>>().unwrap();
    let judged = |cron, lag, now| {
        let changes = [("CVSYNC_SCHEDULE", cron), ("CVSYNC_SETTLE_LAG", lag)];
        let sync = Config::load(&env(&changes)).unwrap().sync;
        let interval = sync.schedule.interval(at(now)).unwrap();
        let within = sync.in_step_within(at(now));
        (interval.num_minutes(), within.num_minutes())
    };
    let tuesday = "2026-11-24T11:02:00Z";
    assert_eq!(judged("0 */5 * * * *", "60s", tuesday), (5, 17));
    assert_eq!(judged("0 */5 * * * *", "30m", tuesday), (5, 46));
    let at_work = "0 */5 8-17 * * MON-FRI";
    assert_eq!(judged(at_work, "60s", tuesday).0, 5);
    let sunday = "2026-11-29T11:02:00Z";
    assert_eq!(judged(at_work, "60s", sunday).0, (2 * 24 + 14) * 60 + 5);
    let the_gap_is_over = "2026-11-30T07:11:00Z";
    assert_eq!(judged(at_work, "60s", the_gap_is_over).0, 5);
}

#[test]
fn secret_that_stands_where_it_does_not_belong_is_not_shown() {
    for (name, value) in [
        ("CVSYNC_ADMIN_TOKEN_FILE", "canary"),
        (
            "CVSYNC_WEBHOOK_SECRET_FILE",
            "https://x.example/?key=canary",
        ),
        ("CVSYNC_API_BASE_URL", "https://x.example/v1?apikey=canary"),
        ("CVSYNC_API_BASE_URL", "https://me:canary%40x.example/v1"),
        (
            "CVSYNC_OAUTH_TOKEN_URL",
            "https://x.example/t?client_secret=canary",
        ),
    ] {
        let told = problems(&[(name, value)]).join("\n");
        assert!(told.contains(name), "{name}: {told}");
        assert!(!told.contains("canary"), "{name}: {told}");
    }
}
