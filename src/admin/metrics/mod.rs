//! `/metrics` in Prometheus' text format. A gauge is one entry in one of the tables here and one row in `docs/metrics.md`.

mod gauge;
mod state;
mod stored;
mod work;

use std::sync::{Arc, Weak};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use self::gauge::Gauge;
use super::Admin;

pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    admin.view.count_closed_time();
    match admin.view.metrics().render() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn gauges() -> impl Iterator<Item = &'static Gauge> {
    let tables = [state::GAUGES, stored::GAUGES, work::GAUGES];
    tables.into_iter().flatten()
}

/// Registers the gauges that are read at each scrape.
pub(crate) fn watch(admin: &Arc<Admin>) {
    for Gauge {
        name,
        unit,
        help,
        read,
    } in gauges()
    {
        // A weak reference, since the admin owns the registry.
        let weak: Weak<Admin> = Arc::downgrade(admin);
        let values = move || weak.upgrade().and_then(|admin| read(&admin));
        let metrics = admin.view.metrics();
        metrics.watch(name, unit, help, move || values().unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::gauge::one;
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn docs_list_exactly_the_metrics_that_exist() {
        let metrics = Metrics::with_one_of_each();
        for gauge in gauges() {
            metrics.watch(gauge.name, gauge.unit, gauge.help, || one(1.0));
        }
        let text = metrics.render().unwrap();
        let told: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            // The exporter adds this one about the resource.
            .filter(|name| *name != "target_info")
            .collect();
        let page = include_str!("../../../docs/metrics.md");
        let listed: BTreeSet<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
            .collect();
        assert_eq!(told, listed);
    }
}
