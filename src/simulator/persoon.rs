//! Who a synthetic candidate is.
//!
//! The contact data leads nowhere: mail to example.be or example.com, phone numbers of one unlikely range.

use fastrand::Rng;

use super::cv::{Cv, IDENTITY, Part, day_of_year, draw, one_of};
use super::json::Json;
use super::words;

impl Cv {
    /// `natuurlijkPersoon`: name and birth stay, the way to reach the person changes.
    pub(super) fn persoon(&self, json: &mut Json) {
        let (mut rng, turn) = self.part(Part::Persoon);
        let mut identity = draw(self.seed, self.index, IDENTITY, 1);
        let (voornaam, geslacht) = one_of(&mut identity, words::VOORNAMEN);
        let achternaam = one_of(&mut identity, words::ACHTERNAMEN);
        json.object_at("natuurlijkPersoon", |json| {
            json.text_at("gsm", &format!("04700{:05}", rng.u32(0..10_000)));
            adres(json, "officieelAdres", &mut rng, turn);
            if rng.u8(0..10) > 0 {
                adres(json, "contactAdres", &mut rng, turn);
            }
            let domain = if rng.bool() {
                "example.be"
            } else {
                "example.com"
            };
            json.text_at("email", &format!("kandidaat.{}@{domain}", self.index));
            json.text_at("achternaam", achternaam);
            json.text_at("voornaam", voornaam);
            if rng.bool() {
                json.text_at("roepnaam", voornaam);
            }
            if rng.u8(0..4) == 0 {
                json.text_at(
                    "website",
                    &format!("https://kandidaat-{}.example.com", self.index),
                );
            }
            json.text_at("geslacht", geslacht);
            json.text_at(
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
            json.text_at(
                "geboortedatum",
                &format!("{year}-{}", day_of_year(&mut identity)),
            );
        });
    }
}

fn adres(json: &mut Json, key: &str, rng: &mut Rng, turn: usize) {
    let (postcode, gemeente) = one_of(rng, words::GEMEENTEN);
    json.object_at(key, |json| {
        json.text_at("straat", one_of(rng, words::STRATEN));
        json.text_at("huisnummer", &(1 + turn % 300).to_string());
        if rng.u8(0..4) == 0 {
            json.text_at("busnummer", &format!("D{:03}", rng.u8(1..100)));
        }
        json.text_at("postcode", &format!("BE-{postcode}"));
        json.text_at("gemeente", &format!("{postcode}-{gemeente}"));
        json.text_at("land", "BE");
    });
}
