//! A synthetic CV: a pure function of seed, number and revision, rendered for each request.

use chrono::{DateTime, Utc};
use fastrand::Rng;
use uuid::Uuid;

use super::json::Json;
use super::{reference, words};
use crate::contract::OPEN;

#[derive(Clone, Copy, Debug)]
pub(super) struct Cv {
    pub(super) seed: u64,
    /// The candidate's number, from 0.
    pub(super) index: u32,
    /// The number of changes of the CV.
    pub(super) revision: u32,
    pub(super) changed: DateTime<Utc>,
}

/// The parts of a document. A change rewrites one of them, in turn.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Persoon,
    Ervaringen,
    Opleidingen,
    Competenties,
    GewensteJob,
}

const PARTS: u32 = 5;
/// Drawn once and never changed: id, name, birth.
pub(super) const IDENTITY: u64 = 100;
/// The length of the CV.
const SIZE: u64 = 101;

/// A random generator for one purpose of one candidate: equal arguments give equal draws.
pub(super) fn draw(seed: u64, index: u32, purpose: u64, version: u32) -> Rng {
    let number = (u64::from(index) << 32) | u64::from(version);
    let mut mix = Rng::with_seed(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Rng::with_seed(mix.u64(..) ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

pub(super) fn id(seed: u64, index: u32) -> Uuid {
    uuid::Builder::from_random_bytes(draw(seed, index, IDENTITY, 0).u128(..).to_be_bytes())
        .into_uuid()
}

impl Cv {
    /// The CV as JSON, 4 to 8 kB and rarely up to 20. One in a hundred is almost empty.
    pub(super) fn render(&self) -> String {
        Json::document(12 * 1024, |json| {
            json.value_at("cvId", id(self.seed, self.index).to_string());
            let date = self.changed.format("%Y-%m-%d").to_string();
            if let Some(form) = self.form() {
                return form.render(json, &date);
            }
            json.value_at("status", OPEN);
            json.value_at("wijzigingsDatum", &date);
            json.value_at("iklId", 11_000_000 + u64::from(self.index));
            json.object_at("persoonlijkeInteresse", |_| ());
            self.persoon(json);
            self.ervaringen(json);
            self.opleidingen(json);
            self.attesteringen(json);
            self.competenties(json);
            self.gewenste_job(json);
        })
    }

    /// The codes of the diplomas, as in `opleidingen[].naam` of the document.
    pub(super) fn studies(&self) -> Vec<&'static str> {
        if self.form().is_some() {
            return Vec::new();
        }
        let (mut rng, turn) = self.part(Part::Opleidingen);
        let first = turn % reference::DIPLOMAS.len();
        let mut codes = vec![reference::DIPLOMAS[first].0];
        codes.extend((0..rng.usize(0..3)).map(|_| one_of(&mut rng, reference::DIPLOMAS).0));
        codes
    }

    /// The regions, as in `gewensteJob.regios` of the document.
    pub(super) fn regios(&self) -> Vec<&'static str> {
        if let Some(form) = self.form() {
            return form.regios().to_vec();
        }
        let (mut rng, _) = self.part(Part::GewensteJob);
        let count = rng.usize(1..8);
        rng.choose_multiple(words::REGIOS.iter().copied(), count)
    }

    /// The generator of a part at this revision, and a number that differs from the previous revision's.
    pub(super) fn part(&self, part: Part) -> (Rng, usize) {
        let version = (self.revision + part as u32) / PARTS;
        let first = draw(self.seed, self.index, part as u64, 0).usize(0..10_000);
        let rng = draw(self.seed, self.index, part as u64, version + 1);
        (rng, first.saturating_add(version as usize))
    }

    /// `usual` elements, twice as many in a long CV, and four times in the rare very long one.
    fn some(&self, rng: &mut Rng, usual: std::ops::Range<usize>) -> usize {
        let times = match draw(self.seed, self.index, SIZE, 0).u8(0..100) {
            0..3 => 4,
            3..20 => 2,
            _ => 1,
        };
        rng.usize(usual) * times
    }

    fn ervaringen(&self, json: &mut Json) {
        let (mut rng, turn) = self.part(Part::Ervaringen);
        let count = self.some(&mut rng, 4..10);
        json.array_at("ervaringen", |json| {
            for n in 0..count {
                let titel = words::TITELS[(turn + n * 7) % words::TITELS.len()];
                json.object(|json| ervaring(json, &mut rng, titel));
            }
        });
    }

    fn opleidingen(&self, json: &mut Json) {
        let (mut rng, turn) = self.part(Part::Opleidingen);
        json.array_at("opleidingen", |json| {
            for naam in self.studies() {
                let year = 1975 + (turn + rng.usize(0..3)) % 48;
                json.object(|json| {
                    json.value_at("type", "studie");
                    if rng.u8(0..3) == 0 {
                        json.value_at("info", one_of(&mut rng, words::ZINNEN));
                    }
                    json.value_at("behaaldOp", format!("{year}-01-01"));
                    json.value_at("behaaldIn", year);
                    json.value_at("diploma", rng.u8(0..5) > 0);
                    json.value_at("naam", naam);
                });
            }
        });
    }

    fn attesteringen(&self, json: &mut Json) {
        let (mut rng, _) = self.part(Part::Opleidingen);
        json.array_at("attesteringen", |json| {
            for _ in 0..rng.usize(0..3) {
                json.object(|json| {
                    json.value_at("type", "rijbewijs");
                    json.value_at("code", one_of(&mut rng, reference::RIJBEWIJZEN).0);
                    json.value_at("eigenWagen", rng.bool());
                });
            }
            if rng.u8(0..4) == 0 {
                json.object(|json| {
                    json.value_at("type", "attest");
                    json.value_at("code", one_of(&mut rng, reference::ATTESTEN).0);
                });
            }
        });
    }

    fn competenties(&self, json: &mut Json) {
        let (mut rng, turn) = self.part(Part::Competenties);
        json.array_at("competenties", |json| {
            for taal in ["D", "E", "F", "N"] {
                json.object(|json| {
                    json.value_at("type", "talen");
                    json.value_at("code", taal);
                    json.value_at("niveau", one_of(&mut rng, &["0", "1", "2", "3"]));
                });
            }
            for n in 0..self.some(&mut rng, 8..28) {
                json.object(|json| {
                    json.value_at("type", "technischeCompetentie");
                    json.value_at("code", rng.u32(reference::TECHNICAL_SKILLS).to_string());
                    json.value_at("score", ((turn + n) % 100).to_string());
                });
            }
            json.object(|_| ());
            for _ in 0..rng.usize(2..6) {
                json.object(|json| {
                    json.value_at("type", "softSkill");
                    json.value_at("code", one_of(&mut rng, reference::SOFTSKILLS).0);
                });
            }
            for _ in 0..self.some(&mut rng, 2..8) {
                json.object(|json| {
                    json.value_at("type", "vrijeCompetentie");
                    json.value_at("naam", one_of(&mut rng, words::VRIJE_COMPETENTIES));
                    json.value_at("beschrijving", beschrijving(&mut rng));
                });
            }
        });
    }

    fn gewenste_job(&self, json: &mut Json) {
        let (mut rng, turn) = self.part(Part::GewensteJob);
        json.object_at("gewensteJob", |json| {
            json.value_at(
                "arbeidsRegimes",
                [one_of(&mut rng, reference::ARBEIDSREGIMES).0],
            );
            if rng.u8(0..5) > 0 {
                json.value_at(
                    "arbeidsStelsels",
                    [one_of(&mut rng, reference::ARBEIDSSTELSELS).0],
                );
            }
            json.value_at("regios", self.regios());
            let count = self.some(&mut rng, 3..8);
            json.array_at("functies", |json| {
                for n in 0..count {
                    let (titel, code) = words::FUNCTIES[(turn + n * 5) % words::FUNCTIES.len()];
                    json.object(|json| {
                        json.value_at("titel", titel);
                        json.value_at("ervaring", one_of(&mut rng, &["1", "2", "3", "4"]));
                        json.object_at("beroepsprofiel", |json| json.value_at("code", code));
                    });
                }
            });
        });
    }
}

pub(super) fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(0..choices.len())]
}

fn ervaring(json: &mut Json, rng: &mut Rng, titel: &str) {
    let van = rng.u16(1990..2024);
    json.value_at("type", "werkervaring");
    json.value_at("functieTitel", titel);
    json.value_at("van", format!("{van}-{:02}-01", rng.u8(1..13)));
    match rng.u8(0..10) {
        0 => (),
        1 => json.object_at("werkgever", |_| ()),
        _ => json.object_at("werkgever", |json| {
            json.value_at("naam", one_of(rng, words::WERKGEVERS));
        }),
    }
    if rng.u8(0..5) > 0 {
        json.value_at(
            "tot",
            format!("{}-{}", van + rng.u16(1..6), day_of_year(rng)),
        );
    }
}

fn beschrijving(rng: &mut Rng) -> String {
    let mut text = String::with_capacity(256);
    for _ in 0..rng.usize(1..5) {
        text.push_str(one_of(rng, words::ZINNEN));
        text.push(' ');
    }
    text
}

/// Month and day, such as `09-05`.
pub(super) fn day_of_year(rng: &mut Rng) -> String {
    format!("{:02}-{:02}", rng.u8(1..13), rng.u8(1..29))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn cv(index: u32, revision: u32) -> Cv {
        Cv {
            seed: 1,
            index,
            revision,
            changed: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn documents_have_the_sizes_that_the_contract_names() {
        let mut sizes: Vec<_> = (0..2000).map(|index| cv(index, 0).render().len()).collect();
        sizes.sort_unstable();
        let average = sizes.iter().sum::<usize>() / sizes.len();
        assert!((5_000..6_000).contains(&average), "average {average}");
        assert!((3_000..4_500).contains(&sizes[100]), "small {}", sizes[100]);
        assert!(
            (7_000..14_000).contains(&sizes[1900]),
            "large {}",
            sizes[1900]
        );
        assert!(sizes[1999] < 24_000, "largest {}", sizes[1999]);
    }

    #[test]
    fn each_change_shows_and_leaves_the_person_who_they_are() {
        for index in 0..200 {
            let read =
                |revision| serde_json::from_str::<Value>(&cv(index, revision).render()).unwrap();
            for revision in 0..6 {
                let (before, after) = (read(revision), read(revision + 1));
                assert_ne!(before, after, "candidate {index}, revision {revision}");
                for same in [
                    "/cvId",
                    "/iklId",
                    "/natuurlijkPersoon/achternaam",
                    "/natuurlijkPersoon/geboortedatum",
                ] {
                    assert_eq!(before.pointer(same), after.pointer(same));
                }
            }
        }
    }

    #[test]
    fn one_cv_in_a_hundred_is_sparse_and_takes_each_form() {
        let sparse: Vec<_> = (0..5_000)
            .filter(|index| cv(*index, 0).form().is_some())
            .collect();
        assert!((30..80).contains(&sparse.len()), "{}", sparse.len());
        assert!(sparse[0] >= 100, "small worlds stay as they were");
        for revision in 0..5 {
            let (one, next) = (cv(sparse[0], revision), cv(sparse[0], revision + 1));
            assert_ne!(one.form(), next.form());
            let document: Value = serde_json::from_str(&one.render()).unwrap();
            assert_eq!(document["cvId"], id(1, sparse[0]).to_string());
            assert_eq!(
                document.pointer("/gewensteJob/regios").is_some(),
                !one.regios().is_empty()
            );
        }
    }

    #[test]
    fn what_search_compares_is_what_the_document_shows() {
        for index in 0..50 {
            let document: Value = serde_json::from_str(&cv(index, 3).render()).unwrap();
            let shown: Vec<_> = document["opleidingen"]
                .as_array()
                .unwrap()
                .iter()
                .map(|o| &o["naam"])
                .collect();
            assert_eq!(shown, cv(index, 3).studies());
            assert_eq!(
                document["gewensteJob"]["regios"],
                serde_json::json!(cv(index, 3).regios())
            );
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_cv() {
        assert_eq!(cv(7, 2).render(), cv(7, 2).render());
        assert_ne!(id(1, 7), id(2, 7));
        assert_eq!(id(1, 7).get_version_num(), 4);
    }
}
