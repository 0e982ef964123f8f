//! The reference lists, with the codes that the synthetic CVs use.

use std::ops::Range;

use super::words;
use crate::contract::{Code, MAX_DIPLOMAS};

type Table = &'static [(&'static str, &'static str)];

pub(super) const RIJBEWIJZEN: Table = &[
    ("A", "Rijbewijs A"),
    ("AM", "Rijbewijs AM"),
    ("B", "Rijbewijs B"),
    ("BE", "Rijbewijs BE"),
    ("C", "Rijbewijs C"),
    ("CE", "Rijbewijs CE"),
    ("D", "Rijbewijs D"),
    ("G", "Rijbewijs G"),
];

pub(super) const SOFTSKILLS: Table = &[
    ("1", "Resultaatgerichtheid"),
    ("2", "Zin voor nauwkeurigheid hebben"),
    ("3", "Samenwerken als hecht team"),
    ("4", "Zich kunnen aanpassen aan de omgeving"),
    ("5", "Zelfstandig werken"),
    ("6", "Regels en afspraken nakomen"),
    ("7", "Creatief denken (Inventiviteit)"),
    ("8", "Klantgerichtheid"),
    ("9", "Commercieel zijn"),
    ("10", "Plannen (= ordenen)"),
    ("11", "Contactvaardig zijn"),
    ("12", "Leergierig zijn"),
    ("13", "Omgaan met stress"),
];

pub(super) const ATTESTEN: Table = &[
    ("A01", "VCA basis"),
    ("A02", "Heftruckattest"),
    ("A03", "Reachtruckattest"),
    ("A04", "Code 95"),
    ("A05", "Bewijs pedagogische bekwaamheid"),
    ("A06", "EHBO"),
];

const JOBDOMEINEN: Table = &[
    ("JOBCAT10", "Logistiek en transport"),
    ("JOBCAT12", "ICT"),
    ("JOBCAT14", "Gezondheidszorg"),
    ("JOBCAT16", "Bouw"),
    ("JOBCAT18", "Onderwijs en vorming"),
    ("JOBCAT20", "Horeca en toerisme"),
    ("JOBCAT22", "Management"),
];

/// Working time: full or part.
pub(super) const ARBEIDSREGIMES: Table = &[("V", "Voltijds"), ("D", "Deeltijds")];

pub(super) const ARBEIDSSTELSELS: Table = &[
    ("D", "Dagwerk"),
    ("2", "Twee-ploegenstelsel"),
    ("3", "Drie-ploegenstelsel"),
    ("N", "Nachtwerk"),
    ("W", "Weekendwerk"),
    ("O", "Onderbroken dienst"),
];

const ARBEIDSCONTRACTEN: Table = &[
    ("V", "Vaste jobs"),
    ("I", "Interimjobs"),
    ("S", "Studentenjobs"),
    ("F", "Flexi-jobs"),
    ("Z", "Zelfstandige activiteit"),
];

const ARBEIDSCONTRACTDUREN: Table = &[
    ("O", "Onbepaalde duur"),
    ("B", "Bepaalde duur"),
    ("D", "Duidelijk omschreven werk"),
];

/// Diplomas, the codes of `opleidingen[].naam`.
pub(super) const DIPLOMAS: Table = &[
    ("MAE5AHH", "Master TEW: Handelsingenieur"),
    (
        "MAE5AHI",
        "Master Handelsingenieur in de beleidsinformatica",
    ),
    ("MAN1NOO", "Master na master: Bedrijfskunde"),
    ("UEH5AHH", "Licentiaat Handelsingenieur"),
    ("MAT5IIW", "Master Industrieel ingenieur"),
    ("MAI5INF", "Master Informatica"),
    ("MAG5GEN", "Master Geneeskunde"),
    ("MAR5REC", "Master Rechten"),
    ("BAV3VPK", "Bachelor Verpleegkunde"),
    ("BAO3LSO", "Bachelor Leraar secundair onderwijs"),
    ("BAO3LLO", "Bachelor Leraar lager onderwijs"),
    ("BAB3ACF", "Bachelor Accountancy-fiscaliteit"),
    ("BAI3TIN", "Bachelor Toegepaste informatica"),
    ("BAS3SOW", "Bachelor Sociaal werk"),
    ("BAC3COM", "Bachelor Communicatiemanagement"),
    ("BAL3LOG", "Bachelor Logistiek management"),
    ("SOT4ELM", "Secundair Elektromechanica TSO"),
    ("SOT4HAN", "Secundair Handel TSO"),
    ("SOA4LAW", "Secundair Latijn-wiskunde ASO"),
    ("SOB4HOU", "Secundair Hout BSO"),
    ("SOB4LAS", "Secundair Lassen-constructie BSO"),
    ("SOB4VZG", "Secundair Verzorging BSO"),
    ("SOB4KAN", "Secundair Kantoor BSO"),
    ("SOK4HOT", "Secundair Hotel en keuken TSO"),
    ("HBO5VPK", "Graduaat Verpleegkunde HBO5"),
    ("HBO5BOE", "Graduaat Boekhouden"),
];

const LISTS: &[(&str, Table)] = &[
    ("rijbewijzen", RIJBEWIJZEN),
    ("softskills", SOFTSKILLS),
    ("attesten", ATTESTEN),
    ("jobdomeinen", JOBDOMEINEN),
    ("arbeidsstelsels", ARBEIDSSTELSELS),
    ("arbeidsregimes", ARBEIDSREGIMES),
    ("arbeidscontracten", ARBEIDSCONTRACTEN),
    ("arbeidscontractduren", ARBEIDSCONTRACTDUREN),
    ("diplomas", DIPLOMAS),
];

/// Occupational profiles, the codes of `gewensteJob.functies[].beroepsprofiel`.
const SJABLONEN: &str = "sjablonen";

/// Technical skills.
const COMPETENTIES: &str = "competenties";

/// The codes of technical skills.
pub(super) const TECHNICAL_SKILLS: Range<u32> = 10_000..30_000;

/// The list's name, if `path` names one.
pub(super) fn named(path: &str) -> Option<&'static str> {
    LISTS
        .iter()
        .map(|(name, _)| *name)
        .chain([SJABLONEN, COMPETENTIES])
        .find(|name| *name == path)
}

pub(super) fn list(name: &str) -> Vec<Code> {
    match name {
        SJABLONEN => {
            let profiles = words::FUNCTIES.iter();
            return profiles
                .map(|(label, profile)| code(&(profile, label.trim())))
                .collect();
        }
        COMPETENTIES => return TECHNICAL_SKILLS.map(technical_skill).collect(),
        _ => {}
    }
    let table = LISTS.iter().find(|list| list.0 == name);
    table
        .into_iter()
        .flat_map(|list| list.1)
        .map(code)
        .collect()
}

/// A task and an object, so that all labels differ a little.
fn technical_skill(number: u32) -> Code {
    const TASKS: [&str; 8] = [
        "Afstellen van",
        "Beheren van",
        "Controleren van",
        "Herstellen van",
        "Ontwerpen van",
        "Opvolgen van",
        "Registreren van",
        "Voorbereiden van",
    ];
    const OBJECTS: [&str; 9] = [
        "bestellingen",
        "constructies",
        "dossiers",
        "installaties",
        "leveringen",
        "machines",
        "planningen",
        "producten",
        "voorraden",
    ];
    let at = number as usize;
    let (task, object) = (TASKS[at % TASKS.len()], OBJECTS[at % OBJECTS.len()]);
    let kind = at / (TASKS.len() * OBJECTS.len());
    Code {
        code: number.to_string(),
        omschrijving: format!("{task} {object} (soort {kind})"),
    }
}

/// The best matching diplomas of a keyword: those that start with it, then those with a word that does.
pub(super) fn diplomas(trefwoord: &str) -> Vec<Code> {
    let sought = trefwoord.trim().to_lowercase();
    let mut found: Vec<_> = DIPLOMAS
        .iter()
        .filter_map(|entry| Some((rank(entry, &sought)?, entry)))
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    found
        .into_iter()
        .take(MAX_DIPLOMAS)
        .map(|(_, entry)| code(entry))
        .collect()
}

fn rank((code, label): &(&str, &str), sought: &str) -> Option<u8> {
    let label = label.to_lowercase();
    if code.to_lowercase() == sought || label.starts_with(sought) {
        Some(0)
    } else if label.split(' ').any(|word| word.starts_with(sought)) {
        Some(1)
    } else {
        label.contains(sought).then_some(2)
    }
}

fn code((code, omschrijving): &(&str, &str)) -> Code {
    Code {
        code: (*code).to_owned(),
        omschrijving: (*omschrijving).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_finds_at_most_ten_diplomas_best_first() {
        let codes = |word| {
            diplomas(word)
                .into_iter()
                .map(|d| d.code)
                .collect::<Vec<_>>()
        };
        assert_eq!(codes("handelsing"), ["MAE5AHH", "MAE5AHI", "UEH5AHH"]);
        assert_eq!(codes("secundair")[0], "SOT4ELM");
        assert_eq!(codes("a").len(), MAX_DIPLOMAS);
        assert!(codes("astronaut").is_empty());
    }
}
