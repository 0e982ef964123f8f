//! Parts that several benchmarks use.

#![allow(dead_code, reason = "no benchmark uses all of it")]

use anyhow::Context;

/// The command `cvsync`, which `cargo bench` builds first. It is a separate process, so that its CPU time can be measured.
pub(crate) const CVSYNC: &str = env!("CARGO_BIN_EXE_cvsync");

/// The argument of `cargo bench --bench NAME -- ARGUMENT`.
///
/// Ends the process unless `cargo bench` started it, because a test runner must not run a benchmark.
pub(crate) fn argument() -> Option<String> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(at) = arguments.iter().position(|argument| argument == "--bench") else {
        println!("not measured: run it with `cargo bench --bench NAME`");
        std::process::exit(0);
    };
    arguments.remove(at);
    arguments.into_iter().next()
}

/// The CPU time that a process has used, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    seconds(&format!("/proc/{pid}/stat"), 11)
}

/// The CPU time of all processes that this one started and waited for, in seconds.
pub(crate) fn children_cpu_seconds() -> anyhow::Result<f64> {
    seconds("/proc/self/stat", 13)
}

/// User and system time, in `stat` from the field `first` after the name on. Linux counts both in hundredths of a second.
fn seconds(stat: &str, first: usize) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(stat)?;
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let ticks: u32 = fields
        .split(' ')
        .skip(first)
        .take(2)
        .filter_map(|field| field.parse::<u32>().ok())
        .sum();
    Ok(f64::from(ticks) / 100.0)
}
