//! S-11: what a daemon costs that nobody asks for anything.

use std::time::Duration;

use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{now, rest};

use crate::fleet::Fleet;
use crate::options::{GRACE, Options};
use crate::report::Report;
use integration_tests::vitals::Vitals;

const ACCOUNTS: usize = 100;
/// After the logins: what they took is given back, and what they started is over.
const CALM: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_secs(60);

pub(crate) fn run(options: &Options) -> Report {
    let settings = Settings { rotation: Rotation::Grace(GRACE), ..Settings::default() };
    let mut fleet = Fleet::start(options.accounts(ACCOUNTS), settings);
    // As after a night: the logins are over, and nothing is due.
    fleet.daemon.restart();
    rest(CALM);
    let pid = fleet.daemon.process().id();
    let (start, before) = (now(), Vitals::of(pid));
    let mut after = before;
    while start.elapsed() < options.time(10) {
        rest(STEP.min(options.time(10).saturating_sub(start.elapsed())));
        after = Vitals::of(pid);
        eprintln!("{:>5} s: {after:?}", start.elapsed().as_secs());
    }
    let time = start.elapsed();
    let cpu = 100.0 * (after.cpu.saturating_sub(before.cpu)).as_secs_f64() / time.as_secs_f64();
    let wakeups = (after.wakeups - before.wakeups) as f64 / time.as_secs_f64();
    let resident = after.resident as f64 / 1024.0;
    Report::new("idle", format!("{} accounts, {} min", fleet.accounts.len(), time.as_secs() / 60))
        .figure(format!("{cpu:.3} % of a core, {wakeups:.3} wake-ups a second, {resident:.1} MiB resident"))
        .promise(cpu <= 0.1, "an idle daemon takes more than 0.1 % of a core")
        .promise(wakeups <= 0.2, "an idle daemon wakes up more than once in five seconds")
        .promise(resident <= 20.0, "an idle daemon takes more than 20 MiB")
}
