//! Quirks of responses: turns the contract's response into a quirk's.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Quirk;
use super::call::{moment, number};
use crate::contract::{DEFAULT_BULK_PAGE, GatewayError, OPEN, VERWIJDERD};
use crate::simulator::answer::Answer;
use crate::simulator::call::Call;
use crate::simulator::world::World;

const INACTIEF: &str = "INACTIEF";
const ACTIEF: &str = "ACTIEF";

impl Quirk {
    pub(super) fn page(self, world: &World, call: &Call, answer: &mut Answer) {
        match self {
            Self::NewestFirst => relist(world, call, answer, |items| items.reverse()),
            Self::ListedPerChange => relist(world, call, answer, |items| {
                *items = items
                    .iter()
                    .flat_map(|item| [item.clone(), item.clone()])
                    .collect();
            }),
            Self::TotalOfSister => {
                edit(answer, |page| {
                    rename(page, &[("aantal", "totaalAantalResultaten")]);
                });
            }
            Self::NoTotal => edit(answer, |page| {
                page.as_object_mut().map(|page| page.remove("aantal"));
            }),
            Self::NoStatus => each_item(answer, |item| {
                item.as_object_mut().map(|item| item.remove("status"));
            }),
            Self::ListNull => edit(answer, |page| {
                if page["resultaten"].as_array().is_some_and(Vec::is_empty) {
                    page["resultaten"] = Value::Null;
                }
            }),
            Self::ListKeyed => edit(answer, |page| {
                let items = page["resultaten"].as_array().cloned().unwrap_or_default();
                let keyed = (3..)
                    .zip(items)
                    .map(|(key, item): (u32, _)| (key.to_string(), item));
                page["resultaten"] = Value::Object(keyed.collect());
                page["aantal"] = page["aantal"].to_string().into();
            }),
            Self::ListMarked => {
                each_item(answer, |item| *item = item["cvId"].take());
                let marked = ["\u{feff}".as_bytes(), &answer.body].concat();
                answer.body = marked.into();
            }
            Self::GoneWord => each_item(answer, |item| reword(item, VERWIJDERD, INACTIEF)),
            Self::LiveWord => each_item(answer, |item| reword(item, OPEN, ACTIEF)),
            Self::ListFields => {
                each_item(answer, |item| {
                    rename(item, &[("cvId", "id"), ("status", "state")]);
                });
                edit(answer, |page| rename(page, &[("resultaten", "results")]));
            }
            _ => {}
        }
    }

    pub(super) fn document(self, answer: &mut Answer) {
        match self {
            Self::LiveWord => edit(answer, |document| reword(document, OPEN, ACTIEF)),
            Self::DocumentFields => edit(answer, |document| {
                let names = [
                    ("cvId", "id"),
                    ("status", "state"),
                    ("wijzigingsDatum", "modified"),
                ];
                rename(document, &names);
            }),
            _ => {}
        }
    }

    pub(super) fn gone(self, world: &World, id: &str, answer: &mut Answer) {
        *answer = match self {
            Self::GoneStatus410 => GatewayError::new(410, "Gone").into(),
            Self::GonePlain404 => GatewayError::new(404, "Not found").into(),
            Self::GoneMessage => Answer {
                status: 422,
                ..GatewayError::no_such_cv(id).into()
            },
            Self::GoneDocument => {
                let index = Uuid::try_parse(id).ok().and_then(|id| world.by_id.get(&id));
                let document = index.map(|index| world.document_at(*index));
                let mut answer = Answer::new(200, document.unwrap_or_default());
                edit(&mut answer, |document| reword(document, OPEN, VERWIJDERD));
                answer
            }
            Self::GoneWord => Answer::json(&json!({"cvId": id, "status": INACTIEF})),
            _ => return,
        };
    }
}

/// Makes the page again, from the whole window in the order of `order`.
fn relist(world: &World, call: &Call, answer: &mut Answer, order: impl FnOnce(&mut Vec<Value>)) {
    let (Some(van), Some(tot)) = (moment(call, "van"), moment(call, "tot")) else {
        return;
    };
    let window = world.bulk(van, tot, 0, usize::MAX);
    let mut items: Vec<Value> = window.resultaten.iter().map(|item| json!(item)).collect();
    order(&mut items);
    let vanaf = number(call, "vanaf").unwrap_or(0);
    let size = number(call, "aantal").unwrap_or(DEFAULT_BULK_PAGE);
    let page: Vec<_> = items.iter().skip(vanaf).take(size).collect();
    *answer = Answer::json(&json!({"aantal": items.len(), "resultaten": page}));
}

pub(super) fn edit(answer: &mut Answer, change: impl FnOnce(&mut Value)) {
    if let Ok(mut body) = serde_json::from_slice(&answer.body) {
        change(&mut body);
        answer.body = body.to_string().into();
    }
}

fn each_item(answer: &mut Answer, change: impl Fn(&mut Value)) {
    edit(answer, |page| {
        let items = page["resultaten"].as_array_mut();
        items.into_iter().flatten().for_each(change);
    });
}

pub(super) fn rename(object: &mut Value, names: &[(&str, &str)]) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    for (ours, theirs) in names {
        if let Some(value) = object.remove(*ours) {
            object.insert((*theirs).to_owned(), value);
        }
    }
}

fn reword(object: &mut Value, ours: &str, theirs: &str) {
    if object["status"] == ours {
        object["status"] = theirs.into();
    }
}
