//! Lists: windows, pages, totals, fields and order.

use chrono::TimeDelta;

use super::Judgement::{self, CannotTell, Differs, Holds, Tolerated};
use super::{Eye, differs, no_cvs, setting};
use crate::conformance::seen::Order;
use crate::model::Paging;
use crate::model::dialect::TIME_FORMAT;

impl Eye<'_> {
    pub(in crate::conformance) fn window_parameters(&self) -> Judgement {
        let ours = ["van", "tot"];
        if let Some(refused) = &self.seen.refused {
            let names = setting("CVSYNC_API_NAMES", None);
            return differs(
                format!(
                    "bulk calls are refused: {refused}; look up the names of the parameters in VDAB's specification"
                ),
                names,
                false,
            );
        }
        match (self.seen.heeds_window, self.names(&ours)) {
            (Some(false), _) => differs(
                "a window of 1990 is not empty, so van and tot have names that were not tried",
                setting("CVSYNC_API_NAMES", None),
                false,
            ),
            (None, Holds(_)) => {
                CannotTell("a window of 1990 is refused, recent windows are accepted".to_owned())
            }
            (_, judgement) => judgement,
        }
    }

    pub(in crate::conformance) fn time_format(&self) -> Judgement {
        if self.seen.refused.is_some() {
            return CannotTell("bulk calls are refused".to_owned());
        }
        let found = &self.seen.dialect.time_format;
        let is_set = *found == self.source.api.dialect.time_format;
        let seen = format!("accepts {found}");
        if is_set && found == TIME_FORMAT {
            return Holds(seen);
        }
        differs(
            seen,
            setting("CVSYNC_API_TIME_FORMAT", found.clone()),
            is_set,
        )
    }

    pub(in crate::conformance) fn window_width(&self) -> Judgement {
        let Some(width) = self.seen.width else {
            return CannotTell("bulk calls are refused".to_owned());
        };
        let seen = format!(
            "{} are accepted{}",
            written(width),
            if self.seen.cuts_windows {
                ", wider ones are cut silently"
            } else {
                ""
            }
        );
        if width >= TimeDelta::days(5) && self.sample().is_none() {
            return CannotTell(format!(
                "{seen}, but there are too few CVs to tell whether they are complete"
            ));
        }
        if width >= TimeDelta::days(5) {
            return Holds(seen);
        }
        let configured = TimeDelta::from_std(self.source.sync.window).unwrap_or(TimeDelta::MAX);
        let is_set = configured <= width && !self.seen.cuts_windows;
        differs(seen, setting("CVSYNC_WINDOW", written(width)), is_set)
    }

    pub(in crate::conformance) fn window_wider(&self) -> Judgement {
        match self.seen.six_days {
            None => CannotTell("bulk calls are refused".to_owned()),
            Some(400) => Holds("status 400".to_owned()),
            Some(status) => Tolerated(format!("status {status}; cvsync never requests wider ones")),
        }
    }

    pub(in crate::conformance) fn paging_parameters(&self) -> Judgement {
        let ours = ["vanaf", "aantal"];
        let unheeded = [
            (self.seen.heeds_size, "a page has more results than aantal"),
            (self.seen.heeds_offset, "vanaf has no effect"),
        ];
        if let Some((_, seen)) = unheeded.iter().find(|(heeds, _)| *heeds == Some(false)) {
            return differs(
                format!("{seen}, with any of the names that were tried"),
                setting("CVSYNC_API_NAMES", None),
                false,
            );
        }
        let is_seen = self.seen.heeds_size.is_some() && self.seen.heeds_offset.is_some();
        match self.names(&ours) {
            Holds(_) if !is_seen => no_cvs(),
            judgement => judgement,
        }
    }

    pub(in crate::conformance) fn paging_offset(&self) -> Judgement {
        let (found, seen) = match (self.seen.paging, self.seen.first) {
            (Some(found), _) => (found, found.as_str().to_owned()),
            (None, 0) => return no_cvs(),
            (None, _) => (
                Paging::OffsetFrom1,
                "0 is refused; without CVs, cvsync cannot tell whether results or pages are counted"
                    .to_owned(),
            ),
        };
        let is_set = found == self.source.api.dialect.paging;
        if is_set && found == Paging::default() {
            return Holds(seen);
        }
        let value = found.as_str().to_owned();
        differs(seen, setting("CVSYNC_API_PAGING", value), is_set)
    }

    pub(in crate::conformance) fn page_size(&self) -> Judgement {
        let Some(asked) = self.seen.page_size else {
            return CannotTell("no page was received".to_owned());
        };
        let configured = u64::from(self.source.sync.page_size);
        let size = |size: u64| setting("CVSYNC_PAGE_SIZE", size.to_string());
        if let Some(capped) = self.seen.page_capped {
            let seen =
                format!("{asked} were requested, {capped} were returned, and there are more");
            return differs(seen, size(capped), configured <= capped);
        }
        let items = self.sample().map_or(0, |sample| sample.items);
        let seen = format!("{asked} can be requested, {items} were returned");
        if asked >= 2_000 {
            return Holds(seen);
        }
        differs(seen, size(asked), configured <= asked)
    }

    pub(in crate::conformance) fn page_default(&self) -> Judgement {
        match self.seen.default_page {
            None => CannotTell("no page was received".to_owned()),
            Some((100, _)) => Holds("100 were returned".to_owned()),
            Some((came, false)) if came < 100 => CannotTell(format!("the window has only {came}")),
            Some((came, _)) => Tolerated(format!("{came} were returned")),
        }
    }

    pub(in crate::conformance) fn total(&self) -> Judgement {
        let Some(sample) = self.sample() else {
            return no_cvs();
        };
        match &sample.total {
            None => Tolerated("there is no total".to_owned()),
            Some((name, total)) if name == "aantal" => Holds(format!("aantal is {total}")),
            Some((name, total)) => Tolerated(format!("{name} is {total}")),
        }
    }

    pub(in crate::conformance) fn list_fields(&self) -> Judgement {
        let names = self.names(&["resultaten", "cvId"]);
        match self.sample() {
            None => match names {
                Holds(_) => no_cvs(),
                judgement => judgement,
            },
            Some(sample) if sample.garbage == sample.items => {
                let fields: Vec<_> = sample.fields.iter().map(String::as_str).collect();
                Differs(
                    format!("items have {}, but no id", fields.join(", ")),
                    Vec::new(),
                )
            }
            Some(_) => names,
        }
    }

    pub(in crate::conformance) fn list_form(&self) -> Judgement {
        let forms: Vec<_> = self.seen.forms.iter().copied().collect();
        match self.seen.unproven {
            Some(reason) => Differs(
                format!(
                    "the response to an empty window does not prove that it is empty: {reason}; syncs stop there, so ask VDAB for the form of an empty list"
                ),
                Vec::new(),
            ),
            None if forms.is_empty() => Holds("arrays of objects".to_owned()),
            None => Tolerated(forms.join("; ")),
        }
    }

    pub(in crate::conformance) fn list_status(&self) -> Judgement {
        match self.sample() {
            None => no_cvs(),
            Some(sample) if sample.words.keys().all(Option::is_none) => Tolerated(
                "there is no status: the detail call decides, which costs one call per removed CV"
                    .to_owned(),
            ),
            Some(_) => self.names(&["status"]),
        }
    }

    pub(in crate::conformance) fn garbage_ids(&self) -> Judgement {
        self.sample().map_or_else(no_cvs, |sample| {
            Holds(format!("{} of {}", sample.garbage, sample.items))
        })
    }

    pub(in crate::conformance) fn listed_once(&self) -> Judgement {
        match self.sample() {
            None => no_cvs(),
            Some(sample) if sample.duplicates == 0 => {
                Holds(format!("no duplicate among {}", sample.items))
            }
            Some(sample) => Tolerated(format!(
                "{} of {} are duplicates",
                sample.duplicates, sample.items
            )),
        }
    }

    pub(in crate::conformance) fn order(&self) -> Judgement {
        match self.seen.order {
            None => no_cvs(),
            Some(Order::OldestFirst) => Holds("the older half comes first".to_owned()),
            Some(Order::NewestFirst) => Tolerated("the newer half comes first".to_owned()),
            Some(Order::Neither) => Tolerated("both halves are mixed".to_owned()),
        }
    }
}

/// A width as a variable takes it.
fn written(width: TimeDelta) -> String {
    let seconds = width.num_seconds();
    match (seconds % 86_400, seconds % 3_600) {
        (0, _) => format!("{}d", seconds / 86_400),
        (_, 0) => format!("{}h", seconds / 3_600),
        _ => format!("{seconds}s"),
    }
}
