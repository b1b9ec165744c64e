//! What a process takes of the machine, as `/proc` tells it.

use std::fs;
use std::time::Duration;

/// A look at a process.
#[derive(Clone, Copy, Debug)]
pub struct Vitals {
    /// KiB.
    pub resident: u64,
    /// Open files and connections.
    pub descriptors: u64,
    /// User and system together.
    pub cpu: Duration,
    /// How often any of its threads gave up the processor to wait.
    pub wakeups: u64,
}

impl Vitals {
    /// Looks at a process.
    pub fn of(pid: u32) -> Self {
        let read = |path: String| fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let stat = read(format!("/proc/{pid}/stat"));
        // The name in the second field may have spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        // A thread may end between two looks.
        let statuses = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
        Self {
            resident: number(&read(format!("/proc/{pid}/status")), "VmRSS:"),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64,
            cpu: Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()),
            wakeups: statuses.map(|status| number(&status, "voluntary_ctxt_switches:")).sum(),
        }
    }
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Returns the slope of the line that lies best through these points: KiB over time, in MiB per hour.
pub fn slope(points: &[(Duration, u64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), (at, kib)| (x + at.as_secs_f64(), y + *kib as f64));
    let (mean_x, mean_y) = (x / count, y / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (at, kib) in points {
        let dx = at.as_secs_f64() - mean_x;
        above += dx * (*kib as f64 - mean_y);
        below += dx * dx;
    }
    if below == 0.0 { 0.0 } else { above / below * 3600.0 / 1024.0 }
}
