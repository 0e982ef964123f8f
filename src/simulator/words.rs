//! The words of synthetic CVs. They refer to no real person.

/// First names with their sex.
pub(super) const VOORNAMEN: &[(&str, &str)] = &[
    ("Zoë", "V"),
    ("Maïté", "V"),
    ("Noémie", "V"),
    ("Fleur", "V"),
    ("Lotte", "V"),
    ("Hanne", "V"),
    ("Ann-Sophie", "V"),
    ("Gülşen", "V"),
    ("Małgorzata", "V"),
    ("Fatima-Zahra", "V"),
    ("Thị Mai", "V"),
    ("André", "M"),
    ("Joël", "M"),
    ("Jérôme", "M"),
    ("Wout", "M"),
    ("Thijs", "M"),
    ("Bart", "M"),
    ("Karel", "M"),
    ("Łukasz", "M"),
    ("İbrahim", "M"),
    ("Søren", "M"),
    ("Seppe", "M"),
    ("محمد", "M"),
];

pub(super) const ACHTERNAMEN: &[&str] = &[
    "Peeters",
    "Janssens",
    "Maes",
    "De Smet",
    "Van den Bossche",
    "D'Hondt",
    "Vandenbrœck",
    "Claes",
    "Coppé",
    "Lefèvre",
    "Göç",
    "Yılmaz",
    "El Âmrani",
    "Kowalczyk",
    "Nguyễn",
    "Müller",
    "Decrème",
    "Verstraete-Piñon",
];

pub(super) const STRATEN: &[&str] = &[
    "Voorbeeldstraat",
    "Proefbaan",
    "Modelplein",
    "Sint-Fictiefstraat",
    "Testdreef",
    "Verzonnen Steenweg",
    "Schijnlaan",
    "Bedachte Weg",
    "Papieren Kaai",
    "Denkbeeldige Hof",
];

/// Post codes and names of towns.
pub(super) const GEMEENTEN: &[(&str, &str)] = &[
    ("1770", "LIEDEKERKE"),
    ("2800", "MECHELEN"),
    ("9300", "AALST"),
    ("9000", "GENT"),
    ("2000", "ANTWERPEN"),
    ("8000", "BRUGGE"),
    ("3000", "LEUVEN"),
    ("3500", "HASSELT"),
    ("8500", "KORTRIJK"),
    ("1000", "BRUSSEL"),
    ("9100", "SINT-NIKLAAS"),
    ("2300", "TURNHOUT"),
    ("3600", "GENK"),
    ("8400", "OOSTENDE"),
];

pub(super) const NATIONALITEITEN: &[&str] =
    &["BE", "BE", "BE", "BE", "NL", "FR", "MA", "TR", "PL", "VN"];

/// Regions that a candidate wants to work in.
pub(super) const REGIOS: &[&str] = &[
    "BE1", "BE211A", "BE212A", "BE213A", "BE221A", "BE222A", "BE231A", "BE231B", "BE232A",
    "BE233A", "BE234A", "BE234B", "BE235A", "BE236A", "BE241A", "BE241B", "BE242A", "BE251A",
    "BE254A", "BE258A",
];

/// Jobs: title and code of the occupational profile.
pub(super) const FUNCTIES: &[(&str, &str)] = &[
    ("Adviseur bedrijfsorganisatie en management", "M140201-1"),
    (
        "Directeur van een kleine of middelgrote organisatie",
        "M130201-1",
    ),
    ("Logistiek verantwoordelijke", "N130101-1"),
    ("Verantwoordelijke logistieke site ", "N130201-1"),
    ("Verantwoordelijke planning en productiebeheer", "H140101-1"),
    (
        "Verantwoordelijke productiemethodes en industrialisatie ",
        "H140201-1",
    ),
    ("Boekhouder", "M120301-1"),
    ("Verpleegkundige", "J150501-1"),
    ("Leerkracht secundair onderwijs", "K210701-1"),
    ("Ontwikkelaar ICT", "M180501-1"),
    ("Winkelverkoper", "D110601-1"),
    ("Vrachtwagenchauffeur met aanhangwagen", "N410101-1"),
    ("Elektrotechnisch installateur", "F160201-1"),
    ("Kok in een restaurant", "G160201-1"),
    ("Administratief medewerker", "M160201-1"),
    ("Hulparbeider bouw", "F170401-1"),
    ("Crèchebegeleider baby's en peuters", "K130301-1"),
    ("Lasser", "H291301-1"),
];

/// Titles that candidates give themselves.
pub(super) const TITELS: &[&str] = &[
    "COO - Facility & Operations Manager",
    "ICT Project Leader",
    "Supply Chain Manager",
    "Magazijnier",
    "Administratief bediende \"allround\"",
    "Chef de rang / garçon",
    "Verpleegkundige geriatrie",
    "Poetshulp",
    "Leerkracht wiskunde (3de graad)",
    "Front-end developer",
    "Vrachtwagenchauffeur CE",
    "Interieurverzorgster",
    "Medewerker klantendienst",
    "Boekhouder-fiscalist",
    "Elektricien residentieel",
    "Crècheverantwoordelijke",
    "Senior consultant – énergie & climat",
    "Barista ☕",
    "Productieoperator 3-ploegen",
    "Stagiair communicatie",
];

/// Employers that do not exist.
pub(super) const WERKGEVERS: &[&str] = &[
    "Fictiva NV",
    "Proefbedrijf BVBA",
    "Modelbouw & Zonen",
    "Café Imaginé",
    "Voorbeeld Logistics",
    "Stad Nergenshuizen",
    "WZC De Schijn",
    "Atelier Œuvre",
    "Schaduw\\Partners",
    "Testfabriek Noord",
    "Zelfstandige",
    "Interim Bedacht",
    "Basisschool Het Model",
    "Hôtel du Néant",
];

/// Skills in a candidate's own words.
pub(super) const VRIJE_COMPETENTIES: &[&str] = &[
    "Organisation & coordination skills",
    "Analytical with strong helicopter view",
    "Klantgericht en stressbestendig",
    "MS Office: \"gevorderd\"",
    "Vlot in Nederlands, français et English",
    "Teamspeler 🙂",
    "Zin voor initiatief",
    "People management: communicatief & coachend",
    "Heftruckattest\nReachtruckattest",
    "SAP / WMS / ERP",
    "Netwerken\tCisco",
    "Créatif & polyvalent",
];

/// Sentences that fill a description.
pub(super) const ZINNEN: &[&str] = &[
    "Ik hou van afwisseling en neem graag verantwoordelijkheid op.",
    "Ervaring met het aansturen van teams tot twintig medewerkers.",
    "Gewend om in een internationale, drietalige omgeving te werken.",
    "Bereid om opleidingen te volgen, ook buiten de kantooruren.",
    "Één project sprong eruit: de verhuis van het volledige magazijn.",
    "Ma devise : « qui cherche trouve » – et ça marche 😀.",
    "Beschikbaar vanaf de eerste dag van volgende maand.",
    "Kennis van wetgeving, veiligheid (VCA) en kwaliteitsnormen.",
];
