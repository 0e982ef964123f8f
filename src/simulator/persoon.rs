//! Personal data of synthetic candidates.
//!
//! Contact data is not real: mail addresses at example.be or example.com, phone numbers in one unlikely range.

use fastrand::Rng;

use super::cv::{Cv, IDENTITY, Part, day_of_year, draw, one_of};
use super::json::Json;
use super::words;

impl Cv {
    /// `natuurlijkPersoon`: name and birth stay, contact data changes.
    pub(super) fn persoon(&self, json: &mut Json) {
        let (mut rng, turn) = self.part(Part::Persoon);
        let mut identity = draw(self.seed, self.index, IDENTITY, 1);
        let (voornaam, geslacht) = one_of(&mut identity, words::VOORNAMEN);
        let achternaam = one_of(&mut identity, words::ACHTERNAMEN);
        json.object_at("natuurlijkPersoon", |json| {
            json.value_at("gsm", format!("04700{:05}", rng.u32(0..10_000)));
            adres(json, "officieelAdres", &mut rng, turn);
            if rng.u8(0..10) > 0 {
                adres(json, "contactAdres", &mut rng, turn);
            }
            let domain = if rng.bool() {
                "example.be"
            } else {
                "example.com"
            };
            json.value_at("email", format!("kandidaat.{}@{domain}", self.index));
            json.value_at("achternaam", achternaam);
            json.value_at("voornaam", voornaam);
            if rng.bool() {
                json.value_at("roepnaam", voornaam);
            }
            if rng.u8(0..4) == 0 {
                json.value_at(
                    "website",
                    format!("https://kandidaat-{}.example.com", self.index),
                );
            }
            json.value_at("geslacht", geslacht);
            json.value_at(
                "nationaliteit",
                one_of(&mut identity, words::NATIONALITEITEN),
            );
            let year = identity.u16(1955..2006);
            let masked = identity.u8(0..3) == 0;
            let year = if masked {
                format!("{}xx", year / 100)
            } else {
                year.to_string()
            };
            json.value_at(
                "geboortedatum",
                format!("{year}-{}", day_of_year(&mut identity)),
            );
        });
    }
}

fn adres(json: &mut Json, key: &str, rng: &mut Rng, turn: usize) {
    let (postcode, gemeente) = one_of(rng, words::GEMEENTEN);
    json.object_at(key, |json| {
        json.value_at("straat", one_of(rng, words::STRATEN));
        json.value_at("huisnummer", (1 + turn % 300).to_string());
        if rng.u8(0..4) == 0 {
            json.value_at("busnummer", format!("D{:03}", rng.u8(1..100)));
        }
        json.value_at("postcode", format!("BE-{postcode}"));
        json.value_at("gemeente", format!("{postcode}-{gemeente}"));
        json.value_at("land", "BE");
    });
}
