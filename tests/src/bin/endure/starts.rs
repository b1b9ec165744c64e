//! L-3: two daemons are started at once over what a killed one left, again and again.

use integration_tests::home::Home;
use integration_tests::http::Request;
use integration_tests::patience::{SOON, eventually, now};
use integration_tests::process::{Output, Process};
use rustix::process::Signal;

use crate::options::Options;
use crate::report::Report;

const CONFIG: &str = "[store]\nkey = \"file\"\n";

pub(crate) fn run(options: &Options) -> Report {
    let (count, start) = (options.count(500), now());
    let home = Home::new().set("KEYFOB_LOG", "warn");
    home.configure(CONFIG);
    let health = Request { method: "GET", path: "/healthz", headers: &[], body: "" };
    let (mut disputed, mut unclear, mut slowest) = (0, Vec::new(), 0);
    for round in 0..count {
        let begun = now();
        let mut starting = [home.spawn("keyfobd", &[]), home.spawn("keyfobd", &[])];
        eventually(SOON, "a daemon answers", || home.ask(&health).is_ok_and(|answer| answer.status == 200));
        slowest = slowest.max(begun.elapsed().as_millis());
        let mut loser = None;
        eventually(SOON, "one of them leaves", || {
            loser = loser.take().or_else(|| starting.iter_mut().find_map(Process::ended));
            loser.is_some()
        });
        let is_clear = |output: &Output| output.status == 0 && output.stderr.contains("answers at");
        unclear.extend(loser.filter(|output| !is_clear(output)));
        disputed += usize::from(home.ask(&health).is_err());
        for daemon in starting.iter_mut().filter_map(|daemon| daemon.ended().is_none().then_some(daemon)) {
            daemon.signal(Signal::KILL);
            daemon.wait();
        }
        if round % 50 == 49 {
            eprintln!("{:>5} s: {} rounds, {disputed} disputed", start.elapsed().as_secs(), round + 1);
        }
    }
    Report::new("two daemons started at once over a killed one's socket", format!("{count} times"))
        .figure(format!("{disputed} without one that answers; {slowest} ms to an answer at most"))
        .promise(disputed == 0, "a socket was taken from who had it")
        .promise(unclear.is_empty(), format!("{:?}", unclear.first()))
        .promise(slowest <= 1_000, "it took longer than a second")
}
