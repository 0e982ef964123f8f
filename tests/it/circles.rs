//! No two files need each other. A file that its own children import is their common ground, and does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module's path below `crate`, such as `["sync", "list"]`.
type Module = Vec<String>;

/// The text of each module.
type Texts = BTreeMap<Module, String>;

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut texts = Texts::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &[],
        &mut texts,
    );
    assert!(texts.len() > 200, "{} files", texts.len());
    assert_eq!(circles(&arrows(&texts)), Vec::<BTreeSet<Module>>::new());
}

#[test]
fn a_circle_is_found_through_names_that_a_parent_hands_on() {
    let text = |name: &str, text: &str| (vec!["a".to_owned(), name.to_owned()], text.to_owned());
    let mut texts = Texts::from([
        (
            vec!["a".to_owned()],
            "mod b; mod c; pub use self::b::{B, One as Other};".to_owned(),
        ),
        text("b", "use super::c;\nfn f() { c::g() }"),
        text("c", "use crate::a::{B, d::D};"),
    ]);
    assert_eq!(circles(&arrows(&texts)).len(), 1);
    texts.insert(
        vec!["a".to_owned(), "c".to_owned()],
        "use super::Own;".to_owned(),
    );
    assert_eq!(circles(&arrows(&texts)).len(), 0);
}

fn read(folder: &Path, module: &[String], texts: &mut Texts) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let inner = [module, std::slice::from_ref(&name)].concat();
        if path.is_dir() {
            read(&path, &inner, texts);
        } else if path.extension().is_some_and(|it| it == "rs") && !name.contains("test") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let module = if name == "mod" {
                module.to_vec()
            } else {
                inner
            };
            texts.insert(module, text.to_owned());
        }
    }
}

fn arrows(texts: &Texts) -> BTreeMap<&Module, BTreeSet<&Module>> {
    let arrow = |(from, text): (&_, &String)| {
        let paths = paths(text).into_iter();
        let to = paths.filter_map(|path| defined_in(texts, from, &path));
        to.filter(|to| !from.starts_with(to))
            .collect::<BTreeSet<_>>()
    };
    texts
        .iter()
        .map(|(from, text)| (from, arrow((from, text))))
        .collect()
}

/// Each path that begins with `crate`, `super` or `self`, with its braces multiplied out.
fn paths(text: &str) -> Vec<Vec<String>> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if !before.is_alphanumeric() && !matches!(before, '_' | ':') {
                multiply(&code[at..], &[], &mut found);
            }
        }
    }
    found
}

/// Reads one path, or one list of paths, and returns the rest of the text.
fn multiply<'a>(text: &'a str, before: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = before.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            rest = list.trim_start();
            while !rest.starts_with('}') && !rest.is_empty() {
                let behind = multiply(rest, &path, found).trim_start();
                let behind = behind.strip_prefix(',').unwrap_or(behind).trim_start();
                if behind.len() == rest.len() {
                    return "";
                }
                rest = behind;
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        path.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(deeper) => rest = deeper,
            None => break,
        }
    }
    found.push(path);
    let renamed = rest.trim_start().strip_prefix("as ");
    renamed.map_or(rest, |name| {
        name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// The file that defines what the path names, seen from `from`.
fn defined_in<'a>(texts: &'a Texts, from: &Module, path: &[String]) -> Option<&'a Module> {
    let mut at = from.clone();
    for name in path {
        match name.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                at.pop();
            }
            name => {
                at.push(name.to_owned());
                if !texts.contains_key(&at) {
                    at.pop();
                    let handed_on = handed_on(texts, &at, name);
                    return handed_on.or_else(|| texts.get_key_value(&at).map(|(at, _)| at));
                }
            }
        }
    }
    texts.get_key_value(&at).map(|(at, _)| at)
}

/// The file below `at` whose name its parent hands on.
fn handed_on<'a>(texts: &'a Texts, at: &Module, name: &str) -> Option<&'a Module> {
    let text = texts.get(at)?.replace("pub(super) use ", "pub use ");
    text.split("pub use ").skip(1).find_map(|text| {
        let mut found = Vec::new();
        multiply(text.split(';').next()?, &[], &mut found);
        let named = |path: &Vec<String>| path.last().is_some_and(|last| last == name);
        let path = found.into_iter().find(named)?;
        let path = path.strip_prefix(&["self".to_owned()]).unwrap_or(&path);
        let child = [at.as_slice(), path.get(..1)?].concat();
        texts
            .contains_key(&child)
            .then(|| defined_in(texts, at, path))?
    })
}

/// The sets of files that reach each other.
fn circles(arrows: &BTreeMap<&Module, BTreeSet<&Module>>) -> Vec<BTreeSet<Module>> {
    let reached = |from: &Module| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(file) = next.pop() {
            for to in arrows.get(&file).into_iter().flatten() {
                if reached.insert((*to).clone()) {
                    next.push((*to).clone());
                }
            }
        }
        reached
    };
    let all: BTreeMap<&Module, BTreeSet<Module>> =
        arrows.keys().map(|file| (*file, reached(file))).collect();
    let mut circles = BTreeSet::new();
    for (file, to) in &all {
        let circle: BTreeSet<Module> = to
            .iter()
            .filter(|to| all.get(to).is_some_and(|back| back.contains(*file)))
            .cloned()
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}
