//! Documents, and the responses for CVs that do not exist.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Looker, Row, is_text, word};
use crate::conformance::seen::{Kind, Leading, ListedDetail};
use crate::model::Names;
use crate::vdab::probe::{Outline, Sight};
use crate::vdab::{ApiError, Operation};

/// Detail calls for each status, and in total if lists have no status.
const DETAILS: usize = 2;
const DETAILS_WITHOUT_STATUS: usize = 8;

/// A document with at most this many fields has only an id and a status.
const BARE: usize = 4;

impl Looker<'_> {
    pub(super) async fn details(&mut self, rows: &[Row]) -> Result<(), ApiError> {
        let never = Uuid::new_v4().to_string();
        let unknown = self
            .get(Operation::Detail, &["kandidaten", &never], &[])
            .await?;
        self.seen.unknown_id = Some(unknown);
        let malformed = self
            .get(Operation::Detail, &["kandidaten", "NOT_FOUND"], &[])
            .await?;
        self.seen.malformed_id = Some(malformed);
        let has_status = rows.iter().any(|row| self.word(row).is_some());
        let most = if has_status {
            DETAILS
        } else {
            DETAILS_WITHOUT_STATUS
        };
        let mut asked = BTreeMap::<_, usize>::new();
        for row in rows {
            let (Some(id), listed) = (self.id(row), self.word(row)) else {
                continue;
            };
            let times = asked.entry(listed.clone()).or_default();
            if *times == most {
                continue;
            }
            *times += 1;
            let sight = self
                .answer(Operation::Detail, async |probe| probe.detail(id).await)
                .await?;
            let told = ListedDetail {
                listed,
                status: sight.status,
                kind: self.kind(&sight, id),
            };
            self.seen.details.push(told);
        }
        Ok(())
    }

    fn kind(&mut self, sight: &Sight, id: usize) -> Kind {
        let names = &mut self.seen.dialect.names;
        match (sight.status, sight.body.fields()) {
            (200, Some(fields)) if sight.is_json => {
                let leading = leading(names, fields, id);
                if leading.id.is_none() {
                    return Kind::Other("a document without its id".to_owned());
                }
                let word = leading
                    .status
                    .as_ref()
                    .and_then(|name| word(fields.get(name)));
                if fields.len() <= BARE {
                    return Kind::Bare { word };
                }
                for (ours, found) in [
                    ("document.cvId", &leading.id),
                    ("document.status", &leading.status),
                    ("document.wijzigingsDatum", &leading.date),
                ] {
                    if let Some(found) = found {
                        names.set(ours, found);
                    }
                }
                Kind::Document {
                    word,
                    names: leading,
                }
            }
            (status @ 400..=499, Some(fields)) if sight.is_json => {
                let says = sight.said.says("geen bestaande");
                let is_error = [
                    names.of("moreInformation"),
                    "moreInformation",
                    "httpMessage",
                ]
                .iter()
                .any(|name| is_text(fields.get(*name)));
                if says || matches!(status, 404 | 410) && is_error {
                    Kind::Gone
                } else {
                    Kind::Other(format!("status {status} ({})", self.said(sight)))
                }
            }
            (status, _) => Kind::Other(format!("status {status} without the API's JSON")),
        }
    }
}

/// The names of the leading fields, found by their content.
fn leading(names: &Names, fields: &BTreeMap<String, Outline>, id: usize) -> Leading {
    let find = |ours: &str, is: &dyn Fn(&Outline) -> bool| {
        let contracts = ours.strip_prefix("document.").unwrap_or(ours);
        let known = [names.of(ours), contracts];
        let known = known
            .into_iter()
            .find(|name| fields.get(*name).is_some_and(is));
        let mut others = fields.iter().filter(|(_, value)| is(value));
        known
            .or_else(|| others.next().map(|(name, _)| name.as_str()))
            .map(str::to_owned)
    };
    Leading {
        id: find("document.cvId", &|value| *value == Outline::Id(id)),
        status: find("document.status", &|value| {
            matches!(value, Outline::Word(_))
        }),
        date: find("document.wijzigingsDatum", &|value| *value == Outline::Date),
    }
}
