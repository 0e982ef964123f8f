//! The fuzz targets of `fuzz/`, for some seconds: each on its corpus, on recombined pieces of it, and on noise.

#[path = "../../fuzz/fuzz_targets/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// Inputs per target, unless `CVSYNC_TEST_CASES` gives another number.
const CASES: u32 = 1_500;

/// A change to a seed.
#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index),
    Remove(Index),
    /// Replaces the text after this place by text of another seed.
    Splice(Index, Index, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    let word = prop_oneof![
        "[0-9*/,L#?-]{1,6}".prop_map(String::into_bytes),
        r#"("[a-z]{0,5}"|[\[\]{}:,]|null|-?[0-9]{1,30}(e[0-9]{1,5})?|\\u0000|~[01])"#
            .prop_map(String::into_bytes),
        vec(any::<u8>(), 1..6),
    ];
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (at(), word).prop_map(|(at, word)| Edit::Insert(at, word)),
        at().prop_map(Edit::Cut),
        at().prop_map(Edit::Remove),
        (at(), at(), at()).prop_map(|(at, seed, from)| Edit::Splice(at, seed, from)),
    ]
}

fn edited(seeds: &[Vec<u8>], seed: Index, edits: Vec<Edit>) -> Vec<u8> {
    let mut data = seed.get(seeds).clone();
    for edit in edits {
        if data.is_empty() {
            break;
        }
        match edit {
            Edit::Set(at, byte) => *at.get_mut(&mut data) = byte,
            Edit::Insert(at, word) => {
                let at = at.index(data.len());
                data.splice(at..at, word);
            }
            Edit::Cut(at) => data.truncate(at.index(data.len())),
            Edit::Remove(at) => {
                data.remove(at.index(data.len()));
            }
            Edit::Splice(at, seed, from) => {
                let other = seed.get(seeds);
                data.truncate(at.index(data.len()));
                data.extend_from_slice(&other[from.index(other.len())..]);
            }
        }
    }
    data
}

fn drive(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let seeds: Vec<Vec<u8>> = fs::read_dir(corpus)
        .unwrap()
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(!seeds.is_empty());
    for seed in &seeds {
        target(seed);
    }
    let more = std::env::var("CVSYNC_TEST_CASES");
    let cases = Config {
        cases: more.map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: None,
        // A case that fails is to be seen soon, rather than as small as can be.
        max_shrink_iters: 500,
        ..Config::default()
    };
    let input = prop_oneof![
        9 => (any::<Index>(), vec(edit(), 1..8))
            .prop_map(move |(seed, edits)| edited(&seeds, seed, edits)),
        1 => vec(any::<u8>(), 0..200),
    ];
    TestRunner::new(cases)
        .run(&input, |data| {
            target(&data);
            Ok(())
        })
        .unwrap();
}

#[test]
fn no_detail_answer_proves_more_than_it_says() {
    drive("detail_answer", targets::detail_answer);
}

#[test]
fn no_bulk_answer_loses_an_item() {
    drive("bulk_answer", targets::bulk_answer);
}

#[test]
fn no_search_answer_loses_an_item_or_moves_the_cursor() {
    drive("search_answer", targets::search_answer);
}

#[test]
fn no_reference_answer_has_a_code_that_is_none() {
    drive("reference_answer", targets::reference_answer);
}

#[test]
fn no_header_is_misread() {
    drive("answer_headers", targets::answer_headers);
}

#[test]
fn no_variable_makes_it_panic_or_tell_a_secret() {
    drive("env", targets::env);
}

#[test]
fn a_pointer_removes_what_rfc_6901_says() {
    drive("json_pointer", targets::json_pointer);
}

#[test]
fn every_cron_pattern_that_is_accepted_comes_round() {
    drive("cron", targets::cron);
}

#[test]
fn no_body_of_an_action_is_more_than_a_fault_of_the_client() {
    drive("admin_action", targets::admin_action);
}

#[test]
fn no_query_of_the_mirror_is_more_than_a_fault_of_the_client() {
    drive("mirror_query", targets::mirror_query);
}

#[test]
fn no_text_keeps_a_hidden_character() {
    drive("shown_text", targets::shown_text);
}
