//! The output of the demo: addresses, a bar while CVs arrive, then a line every five seconds.

use std::net::SocketAddr;
use std::time::Duration;

use super::postgres::Cluster;
use super::{Options, settings};
use crate::admin::{self, Admin, Audience, Status};
use crate::clock::Clock;
use crate::model::words::{count, number};
use crate::simulator::Simulator;
use crate::telemetry::Screen;
use crate::terminal::draw;

/// Time between two lines.
const PERIOD: Duration = Duration::from_secs(5);

/// Time for reading the numbers before each line.
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn introduce(
    options: &Options,
    cluster: Option<&Cluster>,
    simulator: &Simulator,
    http: Option<SocketAddr>,
    token: &str,
) {
    let mut lines = vec![String::new(), "  cvsync demo".to_owned(), String::new()];
    match cluster {
        Some(cluster) => {
            let psql = cluster.psql("cvsync");
            lines.push(format!(
                "  PostgreSQL   private, in {}",
                options.folder.display()
            ));
            for query in [
                "select voornaam, achternaam, contact_adres_gemeente from cvsync.persoon limit 5",
                "select beroepsprofiel_code, label, ervaring from cvsync.gewenste_functie limit 5",
            ] {
                lines.push(format!("               {psql} -c '{query}'"));
            }
        }
        None => lines.push(
            "  PostgreSQL   the one in CVSYNC_DATABASE_URL; unset it to get a private one"
                .to_owned(),
        ),
    }
    lines.push(format!(
        "  VDAB         simulated on {} with {} and {} changes per second",
        simulator.base_url(),
        count(options.candidates, "CV"),
        options.changes_per_second
    ));
    if let Some(http) = http {
        lines.push(format!(
            "  status page  http://{http}/ (admin token for the buttons: {token})"
        ));
        lines.push(format!(
            "               http://{http}/api/status, /readyz, /metrics"
        ));
        lines.push(format!(
            "  mirror       curl -H 'Authorization: Bearer {token}' 'http://{http}/mirror/v1/kandidaten?zoekterm=medewerker'"
        ));
    }
    let file = settings::file(&options.folder);
    lines.push(format!(
        "  commands     cvsync --env-file '{}' status, and likewise every other command",
        file.display()
    ));
    lines.push("  times        in UTC; the status page shows them in Brussels time".to_owned());
    let stays = match cluster {
        None => "the data stays in that database".to_owned(),
        Some(_) if options.keep => format!("{} stays", options.folder.display()),
        Some(_) => "everything is removed".to_owned(),
    };
    lines.push(format!("  stop         Ctrl-C; {stays}"));
    lines.push(String::new());
    println(&lines.join("\n"));
}

/// Prints lines and bars. Never returns.
pub(super) async fn watch(admin: &Admin, clock: &Clock, screen: &Screen) {
    let lines = async {
        loop {
            tokio::time::sleep(PERIOD.saturating_sub(LOOK)).await;
            admin.board.look_now();
            tokio::time::sleep(LOOK).await;
            let time = clock.now().format("%H:%M:%SZ");
            let line = line(&admin::status(admin, Audience::Operator));
            screen.suspend(|| println(&format!("  {time}  {line}")));
        }
    };
    tokio::join!(lines, draw(screen, admin.view.progress()));
}

fn line(status: &Status) -> String {
    let state = status.health.first.headline.trim_end_matches('.');
    let tally = status.run.as_ref().map_or(status.since_start, |run| {
        let mut tally = status.since_start;
        tally += run.tally;
        tally
    });
    format!(
        "{state} | {} | since the start: {} inserted, {} updated, {} deleted, {} held, {} parked",
        count(status.stored.unwrap_or(0), "CV"),
        number(tally.inserted),
        number(tally.updated),
        number(tally.deleted),
        number(tally.held),
        number(tally.parked)
    )
}

fn println(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
