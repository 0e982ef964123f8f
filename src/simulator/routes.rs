//! The operations on a world: turns a call into a response, with or without a fault.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::answer::Answer;
use super::call::{Call, Operation};
use super::faults::Fault;
use super::reference;
use super::world::World;
use crate::contract::{
    BulkItem, BulkPage, DEFAULT_BULK_PAGE, DEFAULT_SEARCH_PAGE, GatewayError, MAX_BULK_PAGE,
    MAX_SEARCH_PAGE, MAX_VELDEN, OPEN,
};

/// The response to a call that the gateway accepted.
pub(super) fn answer(world: &World, call: &Call, fault: &Fault, max_window: TimeDelta) -> Answer {
    match fault {
        Fault::Answer(answer) => answer.clone(),
        Fault::Http500 => GatewayError::new(500, "An internal error occurred").into(),
        Fault::Http503 { retry_after } => retry_later(
            GatewayError::new(503, "The service is unavailable"),
            retry_after.as_deref(),
        ),
        Fault::RateLimit { retry_after } => {
            retry_later(GatewayError::over_quota(), retry_after.as_deref())
        }
        Fault::Html200 => Answer::new(
            200,
            "<!doctype html><title>Onderhoud</title><p>Even geduld, we zijn zo terug.",
        )
        .with("content-type", "text/html; charset=utf-8"),
        Fault::MissingDetail => {
            GatewayError::no_such_cv(call.id.as_deref().unwrap_or_default()).into()
        }
        Fault::CutShort => {
            let mut answer = right_answer(world, call, fault, max_window);
            answer.body.truncate(answer.body.len() / 2);
            answer
        }
        _ => right_answer(world, call, fault, max_window),
    }
}

/// The gateway's refusal, with `Retry-After` if given.
pub(super) fn retry_later(error: GatewayError, retry_after: Option<&str>) -> Answer {
    let answer = Answer::from(error);
    match retry_after {
        Some(retry_after) => answer.with("retry-after", retry_after),
        None => answer,
    }
}

fn right_answer(world: &World, call: &Call, fault: &Fault, max_window: TimeDelta) -> Answer {
    let answer = match call.operation {
        Operation::Bulk => {
            bulk(world, call, max_window).map(|page| Answer::json(&spoilt(page, fault)))
        }
        Operation::Detail => detail(world, call.id.as_deref().unwrap_or_default()),
        Operation::Search => search(world, call),
        Operation::Reference("diplomas") => diplomas(call),
        Operation::Reference(name) => Ok(Answer::json(&reference::list(name))),
    };
    answer.unwrap_or_else(Answer::from)
}

fn bulk(world: &World, call: &Call, max_window: TimeDelta) -> Result<BulkPage, GatewayError> {
    let (van, tot) = (moment(call, "van")?, moment(call, "tot")?);
    if tot < van {
        return Err(bad_request("van ligt na tot"));
    }
    if tot - van > max_window {
        return Err(bad_request("De periode tussen van en tot is te lang"));
    }
    let vanaf = number(call, "vanaf", 0, 0..=usize::MAX)?;
    let aantal = number(call, "aantal", DEFAULT_BULK_PAGE, 1..=MAX_BULK_PAGE)?;
    Ok(world.bulk(van, tot, vanaf, aantal))
}

fn spoilt(mut page: BulkPage, fault: &Fault) -> BulkPage {
    match fault {
        Fault::GarbageId => {
            let garbage = BulkItem {
                cv_id: "NOT_FOUND".to_owned(),
                status: Some(OPEN.to_owned()),
            };
            page.resultaten.insert(page.resultaten.len() / 2, garbage);
        }
        Fault::UnknownStatus => {
            let open = page
                .resultaten
                .iter_mut()
                .filter(|item| item.status.as_deref() == Some(OPEN));
            open.step_by(2)
                .for_each(|item| item.status = Some("IN_BEHANDELING".to_owned()));
        }
        _ => (),
    }
    page
}

fn detail(world: &World, id: &str) -> Result<Answer, GatewayError> {
    let uuid = Uuid::try_parse(id).map_err(|_| GatewayError::malformed_id())?;
    let document = world
        .document(uuid)
        .ok_or_else(|| GatewayError::no_such_cv(id))?;
    Ok(Answer::new(200, document))
}

fn search(world: &World, call: &Call) -> Result<Answer, GatewayError> {
    if call.values("velden").count() > MAX_VELDEN {
        return Err(bad_request("Er kunnen maximaal 5 velden gekozen worden"));
    }
    let vanaf = number(call, "vanaf", 0, 0..=usize::MAX)?;
    let aantal = number(call, "aantal", DEFAULT_SEARCH_PAGE, 1..=MAX_SEARCH_PAGE)?;
    Ok(Answer::json(&world.search(call, vanaf, aantal)))
}

fn diplomas(call: &Call) -> Result<Answer, GatewayError> {
    let trefwoord = call.value("trefwoord").filter(|word| !word.is_empty());
    let trefwoord = trefwoord.ok_or_else(|| bad_request("trefwoord ontbreekt"))?;
    Ok(Answer::json(&reference::diplomas(trefwoord)))
}

fn moment(call: &Call, name: &str) -> Result<DateTime<Utc>, GatewayError> {
    call.value(name)
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .filter(|moment| moment.offset().local_minus_utc() == 0)
        .map(|moment| moment.to_utc())
        .ok_or_else(|| {
            bad_request(&format!(
                "{name} is geen tijdstip zoals 2026-02-13T12:00:00.000Z"
            ))
        })
}

fn number(
    call: &Call,
    name: &str,
    default: usize,
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<usize, GatewayError> {
    let Some(text) = call.value(name) else {
        return Ok(default);
    };
    let number = text.parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| bad_request(&format!("{name} is geen toegelaten getal")))
}

fn bad_request(message: &str) -> GatewayError {
    GatewayError::new(400, message)
}
