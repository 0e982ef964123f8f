//! The arrows of ARCHITECTURE.md: which module may import which. A knot starts with one convenient `use`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import. Those that are not [`STRICT`] may import [`BASE`] too.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &[]),
    ("contract", &[]),
    ("config", &["model", "contract"]),
    ("outbound", &["config"]),
    ("telemetry", &["outbound", "config", "model"]),
    ("vdab", BASE),
    ("store", BASE),
    ("conformance", &["vdab"]),
    ("sync", &["vdab", "store"]),
    ("admin", &["sync", "store", "vdab", "contract"]),
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

const BASE: &[&str] = &["telemetry", "outbound", "config", "clock", "model"];

/// Modules that may not even import what everybody else may.
const STRICT: &[&str] = &[
    "model",
    "clock",
    "contract",
    "config",
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
fn the_reader_of_imports_reads_them() {
    let text = "use crate::store::{cv, Store};\nuse crate::{vdab, model::Window};\nlet x = crate::clock::Clock;";
    let found: BTreeSet<_> = imports(text).collect();
    let expected = ["clock", "model", "store", "vdab"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
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

/// The parts between those commas that stand in no inner braces.
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
    let mut folders = vec![source().join(module)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty(), "{module} has no files");
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
