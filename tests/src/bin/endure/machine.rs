//! The machine that the figures are from, in a few words.

use std::fs;
use std::thread::available_parallelism;

/// Returns the cores, the processor and the kernel.
pub(crate) fn describe() -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = release.trim().splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    format!(
        "{cores} cores of an {}, Linux {kernel}",
        model.map_or("unknown processor", |(_, model)| model.trim())
    )
}
