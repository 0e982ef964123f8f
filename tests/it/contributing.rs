//! The door for contributors: CONTRIBUTING.md and `./test` know what the tests use.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::architecture::files_below;

/// Computes what the listed tests need. Its path starts at the root of the repository, where tests run.
const NEEDS: &str = "xtask/needs";

const PAGE: &str = include_str!("../../CONTRIBUTING.md");

/// Programs that a test may start without naming them in `Needs:`, because every Debian has them.
const EVERYWHERE: &[&str] = &["chown", "cp", "gzip", "kill", "setpriv", "sh", "tar"];

/// The word in `Needs:` that brings a program.
fn brought_by(program: &str) -> &str {
    match program {
        "chromedriver" => "chromium",
        "promtool" => "prometheus",
        "psql" | "deploy/replication/subscribe" => "postgres",
        program => program,
    }
}

#[test]
fn contributing_lists_every_knob_of_tests_and_ci() {
    let mut used = BTreeSet::new();
    for place in ["src", "tests", "benches", "xtask", "deploy", ".ci", "test"] {
        for file in files_below(place.as_ref()) {
            used.extend(knobs(&String::from_utf8_lossy(&fs::read(file).unwrap())));
        }
    }
    let rows = PAGE.lines().filter(|line| line.starts_with("| `CVSYNC_"));
    let listed: BTreeSet<String> = rows.flat_map(knobs).collect();
    assert_eq!(listed, used, "the table in CONTRIBUTING.md, and the code");
}

#[test]
fn a_test_file_names_what_test_has_to_install() {
    let mut named = 0;
    for file in files_below("tests/it".as_ref()) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut needs: Vec<&str> = text
            .lines()
            .find_map(|line| line.strip_prefix("//! Needs: "))
            .into_iter()
            .flat_map(|needs| needs.split(' '))
            .collect();
        named += needs.len();
        if text.contains("\nuse crate::world::") {
            needs.push("postgres");
        }
        // In two parts, so that this file names no program.
        for started in text.split(concat!("Command::new", "(\"")).skip(1) {
            let program = started.split('"').next().unwrap();
            let needed = brought_by(program);
            assert!(
                EVERYWHERE.contains(&program) || needs.contains(&needed),
                "{} starts {program}: add a line `//! Needs: {needed}`",
                file.display(),
            );
        }
    }
    assert!(named >= 6, "only {named} needs were read");
}

#[test]
fn named_tests_need_what_their_files_and_the_imported_files_name() {
    let cargo = |test: &str| {
        format!(
            "     Running unittests src/lib.rs (target/x)\nstore::tests::a: test\n     Running tests/it/main.rs (target/x)\n{test}: test\n\n1 test, 0 benchmarks\n"
        )
    };
    assert_eq!(needs(&cargo("page::a")), ["chromium", "npm", "postgres"]);
    assert_eq!(needs(&cargo("pipeline::a")), ["postgres"]);
    assert_eq!(needs(&cargo("architecture::a")), [""; 0]);
    let nextest = "cvsync:\n    store::tests::a\ncvsync::it:\n    pgbouncer::a\n";
    assert_eq!(needs(nextest), ["pgbouncer", "postgres"]);
    let one_per_line = "cvsync store::tests::a\ncvsync::it http_proxy::a\n";
    assert_eq!(needs(one_per_line), ["openssl", "postgres"]);
    assert_eq!(needs("cvsync store::tests::a\n"), [""; 0]);
}

#[test]
fn all_files_name_one_version_of_rust() {
    let toolchain = include_str!("../../rust-toolchain.toml");
    let version = toolchain.split('"').nth(1).unwrap();
    let (minor, _) = version.rsplit_once('.').unwrap();
    for (file, text, words) in [
        (
            "Dockerfile",
            include_str!("../../Dockerfile"),
            format!("\nFROM rust:{version}-"),
        ),
        (
            "Cargo.toml",
            include_str!("../../Cargo.toml"),
            format!("\nrust-version = \"{minor}\"\n"),
        ),
        (
            "ensure.sh",
            include_str!("../../deploy/ensure.sh"),
            format!("install {minor} or newer"),
        ),
    ] {
        assert!(text.contains(&words), "{file} must contain {words:?}");
    }
}

#[test]
fn all_files_name_one_version_of_cvsync() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, text, words) in [
        (
            "CHANGELOG.md",
            include_str!("../../CHANGELOG.md"),
            format!("\n## {version}\n"),
        ),
        (
            "Dockerfile",
            include_str!("../../Dockerfile"),
            format!("image.version=\"{version}\""),
        ),
        (
            "kustomization.yaml",
            include_str!("../../deploy/kubernetes/kustomization.yaml"),
            format!("newTag: {version}\n"),
        ),
    ] {
        assert!(text.contains(&words), "{file} must contain {words:?}");
    }
}

fn needs(listed: &str) -> Vec<String> {
    let mut child = Command::new(NEEDS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(listed.as_bytes())
        .unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let printed = String::from_utf8(done.stdout).unwrap();
    printed.lines().map(str::to_owned).collect()
}

/// The names of variables for tests and CI in a text.
fn knobs(text: &str) -> Vec<String> {
    let starts = ["CVSYNC_TEST_", "CVSYNC_CI_"];
    let of_one = |start: &'static str| {
        text.split(start).skip(1).filter_map(move |rest| {
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_');
            let name = &rest[..end.unwrap_or(rest.len())];
            (!name.is_empty()).then(|| format!("{start}{name}"))
        })
    };
    starts.into_iter().flat_map(of_one).collect()
}
