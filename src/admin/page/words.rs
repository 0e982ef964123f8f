//! Times and text as the page shows them.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use maud::{Markup, html};

use crate::model::instants::showable;
use crate::model::words::{moment, span};

/// The current time, and the zone of the people who read the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// VDAB's time.
    pub at: DateTime<Utc>,
    pub zone: Tz,
}

/// Text in which `code` between backticks becomes an element.
pub(super) fn marked(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

impl Now {
    /// `14:03:09` today, otherwise with the day.
    pub(super) fn clock(self, at: DateTime<Utc>) -> String {
        let local = showable(at).with_timezone(&self.zone);
        let today = showable(self.at).with_timezone(&self.zone);
        let format = if local.date_naive() == today.date_naive() {
            "%H:%M:%S"
        } else if (self.at - at).abs() < TimeDelta::days(300) {
            "%-d %b %H:%M"
        } else {
            "%-d %b %Y"
        };
        local.format(format).to_string()
    }

    /// `14:03`, of a minute within the last day.
    pub(super) fn minute(self, at: DateTime<Utc>) -> String {
        let local = showable(at).with_timezone(&self.zone);
        local.format("%H:%M").to_string()
    }

    /// The time as an HTML element.
    pub(super) fn time(self, at: DateTime<Utc>) -> Markup {
        let exact = moment(at);
        html! { time datetime=(exact) title=(exact) { (self.clock(at)) } }
    }

    /// `4 min ago`, `in 30 s`
    pub(super) fn ago(self, at: DateTime<Utc>) -> String {
        let ago = self.at - at;
        if ago < TimeDelta::zero() {
            format!("in {}", span(-ago))
        } else {
            format!("{} ago", span(ago))
        }
    }
}
