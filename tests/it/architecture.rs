//! The arrows of ARCHITECTURE.md: which module may import which. A knot starts with one convenient `use`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules that each module may import. Modules that are not [`STRICT`] may import [`BASE`] too.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &[]),
    ("pauses", &[]),
    ("contract", &[]),
    ("config", &["model", "contract"]),
    ("shutdown", &[]),
    ("outbound", &["config"]),
    ("telemetry", &["outbound", "config", "shutdown", "model"]),
    ("vdab", BASE),
    ("store", BASE),
    ("conformance", &["vdab"]),
    ("sync", &["vdab", "store"]),
    ("admin", &["sync", "store", "contract"]),
    ("daemon", &["admin", "sync", "store", "vdab"]),
    ("terminal", &["sync"]),
    ("simulator", &["contract", "clock"]),
    (
        "demo",
        &["daemon", "admin", "sync", "simulator", "terminal"],
    ),
    (
        "cli",
        &[
            "demo",
            "daemon",
            "admin",
            "sync",
            "store",
            "vdab",
            "conformance",
            "simulator",
            "terminal",
        ],
    ),
];

const BASE: &[&str] = &[
    "telemetry",
    "outbound",
    "config",
    "clock",
    "pauses",
    "shutdown",
    "model",
];

/// Modules that may not even import what everybody else may.
const STRICT: &[&str] = &[
    "model",
    "clock",
    "pauses",
    "contract",
    "config",
    "shutdown",
    "outbound",
    "telemetry",
    "simulator",
];

fn may(module: &str, imported: &str, allowed: &[&str]) -> bool {
    imported == module
        || allowed.contains(&imported)
        || (!STRICT.contains(&module) && BASE.contains(&imported))
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for (module, may_import) in MAY_IMPORT {
        for file in files_of(module) {
            let text = fs::read_to_string(&file).unwrap();
            for imported in imports(&text) {
                if !may(module, &imported, may_import) {
                    wrong.push(format!("{} imports {imported}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_its_arrows() {
    let known: BTreeSet<_> = MAY_IMPORT
        .iter()
        .map(|(module, _)| (*module).to_owned())
        .collect();
    let found: BTreeSet<_> = fs::read_dir(source())
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !matches!(&**name, "lib" | "main"))
        .collect();
    assert_eq!(known, found);
}

#[test]
fn sql_is_in_the_store_alone() {
    for (module, _) in MAY_IMPORT
        .iter()
        .filter(|(module, _)| !matches!(*module, "store" | "demo"))
    {
        for file in files_of(module) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                !text.contains("sqlx::query"),
                "{} speaks SQL",
                file.display()
            );
        }
    }
}

#[test]
fn transactions_begin_and_end_in_one_file() {
    let begins = |text: &str| {
        let words = [".begin_with(", ".commit()", ".rollback()"];
        words.iter().any(|word| text.contains(word))
    };
    let files = files_of("").into_iter().filter(|file| {
        let text = fs::read_to_string(file).unwrap();
        begins(&text)
    });
    let files: Vec<_> = files.collect();
    assert_eq!(files, [source().join("store/transact.rs")]);
}

#[test]
fn only_main_ends_the_process() {
    for (module, _) in MAY_IMPORT {
        for file in files_of(module) {
            let text = fs::read_to_string(&file).unwrap();
            for call in ["process::exit(", "process::abort("] {
                assert!(!text.contains(call), "{} calls {call})", file.display());
            }
        }
    }
}

#[test]
fn the_reader_of_imports_reads_them() {
    let text = "use crate::store::{cv, Store};\nuse crate::{vdab, model::Window};\nlet x = crate::clock::Clock;";
    let found: BTreeSet<_> = imports(text).collect();
    let expected = ["clock", "model", "store", "vdab"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn the_diagram_says_what_the_table_says() {
    let page = include_str!("../../ARCHITECTURE.md");
    let section = page.split("## Who may import whom").nth(1).unwrap();
    let diagram = section.split("```").nth(1).unwrap();
    let drawn = diagram.trim_start_matches("text").lines();
    let drawn = drawn.flat_map(|line| line.split("   ")).flat_map(arrows);
    let table = MAY_IMPORT.iter().flat_map(|(module, imported)| {
        let base = BASE.iter().filter(|_| !STRICT.contains(module));
        let all = imported.iter().chain(base);
        all.map(|imported| (*module, *imported))
    });
    let (drawn, table) = (reachable(drawn), reachable(table));
    let differ: Vec<_> = drawn.symmetric_difference(&table).collect();
    assert!(differ.is_empty(), "only in one of the two: {differ:?}");
}

#[test]
fn arrows_are_read_from_left_to_right() {
    let found = arrows("a, b -> { c, d } -> e");
    let expected = [
        ("a", "c"),
        ("a", "d"),
        ("b", "c"),
        ("b", "d"),
        ("c", "e"),
        ("d", "e"),
    ];
    assert_eq!(found, expected);
    let reached = reachable(found.into_iter());
    assert!(reached.contains(&("a", "e")) && !reached.contains(&("c", "d")));
}

/// The arrows of a chain such as `a -> { b, c } -> d`, each between neighbours.
fn arrows(chain: &str) -> Vec<(&str, &str)> {
    let sides: Vec<Vec<&str>> = chain
        .split("->")
        .map(|side| {
            let names = side.trim().trim_matches(['{', '}']).split(',');
            names.map(str::trim).collect()
        })
        .collect();
    let mut arrows = Vec::new();
    for pair in sides.windows(2) {
        for from in &pair[0] {
            arrows.extend(pair[1].iter().map(|to| (*from, *to)));
        }
    }
    arrows
}

/// All pairs of modules that a path of arrows connects.
fn reachable<'a>(arrows: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeSet<(&'a str, &'a str)> {
    let mut reached: BTreeSet<_> = arrows.collect();
    loop {
        let before = reached.clone();
        for (from, over) in &before {
            let further = before.iter().filter(|(start, _)| start == over);
            reached.extend(further.map(|(_, to)| (*from, *to)));
        }
        if reached == before {
            return reached;
        }
    }
}

/// The modules that a text names behind `crate::`, in paths and in braces.
fn imports(text: &str) -> impl Iterator<Item = String> {
    text.split("crate::").skip(1).flat_map(|rest| {
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split("};").next().unwrap_or_default();
                outside_braces(list)
            }
            None => vec![rest],
        };
        names
            .into_iter()
            .map(|name| {
                name.trim()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect::<String>()
            })
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
    })
}

/// The parts between commas outside of inner braces.
fn outside_braces(list: &str) -> Vec<&str> {
    let mut depth = 0;
    list.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn files_of(module: &str) -> Vec<PathBuf> {
    let single = source().join(format!("{module}.rs"));
    if single.exists() {
        return vec![single];
    }
    let files = files_below(&source().join(module));
    assert!(!files.is_empty(), "{module} has no files");
    files
}

/// The file, or all files in the folder. A relative path starts at the root of the repository, where tests run.
pub(crate) fn files_below(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap();
    entries
        .flat_map(|entry| files_below(&entry.unwrap().path()))
        .collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
