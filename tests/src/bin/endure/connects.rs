//! C-3: thousands connect at the same moment, and each asks for a token.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use integration_tests::callers;
use integration_tests::http::{Asked, Request};
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::now;
use integration_tests::process::raise_descriptor_limit;

use crate::fleet::Fleet;
use crate::options::{GRACE, Options};
use crate::report::Report;
use integration_tests::vitals::Vitals;

const PATH: &str = "/v1/accounts/a0/token";
/// What the daemon may take, 8 MiB of which it takes without any client.
const MOST_RESIDENT: u64 = 64 * 1024;

pub(crate) fn run(options: &Options) -> Report {
    raise_descriptor_limit();
    let count = usize::try_from(options.count(5_000)).expect("a number of connections");
    let fleet = Fleet::start(1, Settings { rotation: Rotation::Grace(GRACE), ..Settings::default() });
    let pid = fleet.daemon.process().id();
    let request = Request { method: "GET", path: PATH, headers: &[("accept", "text/plain")], body: "" };
    let start = now();
    let connected: Vec<UnixStream> = callers::connect(&fleet.daemon.home().socket(), count);
    let took = start.elapsed();
    let asked: Vec<_> = connected.into_iter().map(|stream| Asked::over(stream, &request)).collect();
    let resident = Vitals::of(pid).resident;
    let answers = asked.into_iter().filter_map(|asked| asked.and_then(Asked::response).ok());
    let good = answers.filter(|answer| answer.status == 200).count();
    let whole = start.elapsed();
    let resident = resident.max(Vitals::of(pid).resident);
    Report::new("so many connect at once and ask for a token", count.to_string())
        .figure(format!(
            "connected after {} ms, all answered after {} ms",
            took.as_millis(),
            whole.as_millis()
        ))
        .figure(format!("{} without an answer; {:.1} MiB resident", count - good, resident as f64 / 1024.0))
        .promise(good == count, "not all were answered")
        .promise(resident <= MOST_RESIDENT, "it took more than 64 MiB")
        .promise(whole <= Duration::from_secs(20), "it took longer than a shim waits")
}
