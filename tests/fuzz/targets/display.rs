//! Foreign texts on their way to a person. Nothing steers a terminal; a link that is shown leads where it says.

#![no_main]

#[path = "../../../client-shim/src/display.rs"]
#[expect(dead_code, reason = "the shim has a use for the rest")]
mod display;

use fuzz_targets::assert_harmless;
use keyfob_daemon::fuzzing::issuer::message;
use libfuzzer_sys::fuzz_target;
use url::{Host, Url};

fuzz_target!(|data: &[u8]| {
    let foreign = String::from_utf8_lossy(data);
    for shown in
        [message(&foreign), display::text(&foreign), display::line(&foreign), display::code(&foreign)]
    {
        assert_harmless(&shown);
    }
    assert!(display::text(&foreign).chars().count() <= 257);
    assert!(display::code(&foreign).is_ascii());
    let Some(link) = display::link(&foreign) else { return };
    assert!(link == foreign && link.is_ascii() && !link.starts_with('-'));
    assert!(link.bytes().all(|byte| byte.is_ascii_graphic()), "{link:?} is more than one word");
    // As a browser reads it (WHATWG URL). One that it cannot read it does not open.
    if let Ok(url) = Url::parse(link) {
        assert!(url.username().is_empty() && url.password().is_none(), "{link}");
        let is_loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        assert!(url.scheme() == "https" || (url.scheme() == "http" && is_loopback), "{link} goes to {url}");
    }
});
