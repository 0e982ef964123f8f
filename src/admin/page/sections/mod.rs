//! The sections of the page below the verdict.

mod actions;
mod progress;
mod tables;
mod waiting;

use maud::{Markup, html};

pub(super) use self::actions::actions;
pub(super) use self::progress::{figures, run};
pub(super) use self::tables::{configuration, instances, reconciled, windows};
pub(super) use self::waiting::{held, parked};

/// A button that sends an action: `body` is JSON, `confirm` a question to ask first.
fn button(label: &str, path: &str, body: &str, confirm: Option<&str>) -> Markup {
    html! {
        button type="button" .needs-script data-post=(path) data-body=(body) data-confirm=[confirm] { (label) }
    }
}
