//! Quirks of calls: turns a quirk's call into the contract's.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::Quirk;
use crate::contract::{DEFAULT_BULK_PAGE, GatewayError, MAX_VELDEN};
use crate::simulator::call::Call;

const SMALL_PAGE: usize = 500;
const CAPPED_PAGE: usize = 50;

impl Quirk {
    pub(super) fn ask_for_page(self, call: &mut Call) -> Result<(), GatewayError> {
        match self {
            Self::WindowParameters => renamed(call, &[("from", "van"), ("until", "tot")]),
            Self::PagingParameters => renamed(call, &[("offset", "vanaf"), ("limit", "aantal")]),
            Self::StrictParameters => {
                refuse(call.value("vanaf").is_some() || call.value("aantal").is_some())?;
                renamed(call, &[("start", "vanaf"), ("size", "aantal")]);
            }
            Self::WholeSeconds => refuse(ends(call).any(|end| end.contains('.')))?,
            Self::TimeOffset => refuse(ends(call).any(|end| !end.ends_with("+00:00")))?,
            Self::EpochMillis => {
                for name in ["van", "tot"] {
                    let millis = call.value(name).and_then(|text| text.parse().ok());
                    let at = millis.and_then(DateTime::from_timestamp_millis);
                    set(call, name, at.map(written).unwrap_or_default());
                }
            }
            Self::WindowCut => {
                let (van, tot) = (moment(call, "van"), moment(call, "tot"));
                if let (Some(van), Some(tot)) = (van, tot) {
                    set(call, "van", written(van.max(tot - TimeDelta::days(1))));
                }
            }
            Self::PageSmall => refuse(number(call, "aantal") > Some(SMALL_PAGE))?,
            Self::PageCapped => {
                let size = number(call, "aantal").unwrap_or(DEFAULT_BULK_PAGE);
                set(call, "aantal", size.min(CAPPED_PAGE).to_string());
            }
            Self::DefaultPage if call.value("aantal").is_none() => {
                set(call, "aantal", "20".to_owned());
            }
            Self::OffsetFrom1 | Self::PageFrom0 | Self::PageFrom1 => {
                let first = usize::from(self != Self::PageFrom0);
                let size = number(call, "aantal").unwrap_or(DEFAULT_BULK_PAGE);
                let step = if self == Self::OffsetFrom1 { 1 } else { size };
                let number = number(call, "vanaf").unwrap_or(first);
                let vanaf = number.checked_sub(first);
                let vanaf = vanaf.ok_or_else(|| bad_request("vanaf begint bij 1"))?;
                set(call, "vanaf", vanaf.saturating_mul(step).to_string());
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn search(self, call: &mut Call) -> Result<(), GatewayError> {
        match self {
            Self::VeldenFewer => refuse(call.values("velden").count() > 3)?,
            Self::VeldenMore => {
                let mut velden = 0;
                call.query.retain(|(name, _)| {
                    velden += usize::from(name == "velden");
                    name != "velden" || velden <= MAX_VELDEN
                });
            }
            Self::FiltersIgnored => {
                let heeded = ["studies", "gewensteRegios", "velden", "vanaf", "aantal"];
                call.query.retain(|(name, _)| heeded.contains(&&**name));
            }
            Self::SearchPageSmall => refuse(number(call, "aantal") > Some(100))?,
            Self::SearchComma => {
                let query = std::mem::take(&mut call.query);
                for (at, (name, value)) in query.iter().enumerate() {
                    // Of one that is repeated the last is heeded.
                    if query[at + 1..].iter().all(|(other, _)| other != name) {
                        let values = value.split(',');
                        let pairs = values.map(|value| (name.clone(), value.to_owned()));
                        call.query.extend(pairs);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Renames the quirk's parameters to the contract's; the contract's own names are ignored.
fn renamed(call: &mut Call, names: &[(&str, &str)]) {
    call.query
        .retain(|(name, _)| names.iter().all(|(_, ours)| ours != name));
    for (name, _) in &mut call.query {
        if let Some((_, ours)) = names.iter().find(|(theirs, _)| theirs == name) {
            (*ours).clone_into(name);
        }
    }
}

pub(super) fn set(call: &mut Call, name: &str, value: String) {
    call.query.retain(|(other, _)| other != name);
    call.query.push((name.to_owned(), value));
}

fn ends(call: &Call) -> impl Iterator<Item = &str> {
    ["van", "tot"]
        .into_iter()
        .filter_map(|name| call.value(name))
}

pub(super) fn moment(call: &Call, name: &str) -> Option<DateTime<Utc>> {
    let moment = DateTime::parse_from_rfc3339(call.value(name)?).ok()?;
    Some(moment.to_utc())
}

pub(super) fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn number(call: &Call, name: &str) -> Option<usize> {
    call.value(name)?.parse().ok()
}

fn refuse(wrong: bool) -> Result<(), GatewayError> {
    if wrong {
        return Err(bad_request("De aanvraag is niet geldig"));
    }
    Ok(())
}

fn bad_request(message: &str) -> GatewayError {
    GatewayError::new(400, message)
}
