//! The number of details that the simulator serves per second of CPU time. It must never limit another benchmark.
//!
//! `cargo bench --bench simulator`
//!
//! The simulator is a separate process. 16 connections request one CV after another for ten seconds.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::process::Command;

use self::support::cpu_seconds;

const CANDIDATES: usize = 2_000;
const CONNECTIONS: usize = 16;
const TIME: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    support::argument();
    let mut simulator = Command::new(support::CVSYNC)
        .args([
            "simulate",
            "--listen",
            "127.0.0.1:18090",
            "--rate-per-minute",
            "0",
        ])
        .args([
            "--candidates",
            &CANDIDATES.to_string(),
            "--changes-per-second",
            "0",
        ])
        .kill_on_drop(true)
        .spawn()
        .context("the simulator did not start")?;
    let pid = simulator.id().context("the simulator ended at once")?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let ids = ids(&client).await?;
    let (cpu, begun) = (cpu_seconds(pid)?, Instant::now());
    let workers = (0..CONNECTIONS).map(|worker| ask(&client, &ids, worker));
    let served: usize = try_join_all(workers).await?.into_iter().sum();
    let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds(pid)? - cpu);
    let served = f64::from(u32::try_from(served)?);
    println!(
        "{:.0} details per second; {:.0} per second of the simulator's CPU time",
        served / took,
        served / cpu
    );
    simulator.kill().await?;
    Ok(())
}

async fn ids(client: &reqwest::Client) -> anyhow::Result<Vec<String>> {
    let now = std::time::Instant::now();
    let url = "http://127.0.0.1:18090/v1/kandidaten";
    loop {
        let request = client
            .get(url)
            .query(&[("aantal", "200")])
            .header("X-IBM-Client-Id", "test-key");
        if let Ok(answer) = request.send().await {
            let page: Value = serde_json::from_slice(&answer.bytes().await?)?;
            let results = page["resultaten"].as_array().context("no results")?;
            return Ok(results
                .iter()
                .filter_map(|r| Some(r["cvId"].as_str()?.to_owned()))
                .collect());
        }
        ensure!(
            now.elapsed() < Duration::from_secs(5),
            "the simulator does not answer"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn ask(client: &reqwest::Client, ids: &[String], worker: usize) -> anyhow::Result<usize> {
    let (begun, mut served) = (Instant::now(), 0);
    while begun.elapsed() < TIME {
        let id = &ids[(worker * 31 + served) % ids.len()];
        let url = format!("http://127.0.0.1:18090/v1/kandidaten/{id}");
        let answer = client
            .get(url)
            .header("X-IBM-Client-Id", "test-key")
            .send()
            .await?;
        ensure!(answer.status().is_success(), "status {}", answer.status());
        ensure!(!answer.bytes().await?.is_empty(), "an empty answer");
        served += 1;
    }
    Ok(served)
}
