//! A real browser comes back from an issuer to the loopback listener, and a person looks at what it shows.
//!
//! The listener stands alone here: what a login does with the callback is told elsewhere.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use integration_tests::chromium::{Chromium, Colours, Shown};
use integration_tests::patience::SOON;
use keyfob_daemon::grant::loopback::{Heard, Loopback, Pages};
use keyfob_daemon::token::failure::Failure;
use tokio::sync::oneshot;

/// A listener that takes the callback with the right state.
struct Port {
    redirect_uri: String,
    answered: mpsc::Receiver<()>,
    conclude: oneshot::Sender<Result<(), Failure>>,
    /// The listener's thread ends with this.
    _test: oneshot::Sender<()>,
}

impl Port {
    fn listen(uri: &'static str) -> Self {
        let (started, bound) = mpsc::channel();
        let (heard, answered) = mpsc::channel();
        let (conclude, concluded) = oneshot::channel::<Result<(), Failure>>();
        let (test, test_ends) = oneshot::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let loopback = Loopback::bind(&uri.parse().unwrap(), Pages::default()).await.unwrap();
                started.send(loopback.redirect_uri().to_owned()).unwrap();
                let mut listening = loopback.listen(|query| match query {
                    "code=c&state=right" => Heard::Answer(()),
                    _ => Heard::Stray("another state"),
                });
                listening.answer().await;
                heard.send(()).unwrap();
                if let Ok(outcome) = concluded.await {
                    listening.conclude(outcome.as_ref().map(|&()| ()));
                }
                test_ends.await.unwrap_or_default();
            });
        });
        Self { redirect_uri: bound.recv_timeout(SOON).unwrap(), answered, conclude, _test: test }
    }

    fn callback(&self) -> String {
        format!("{}?code=c&state=right", self.redirect_uri)
    }

    fn hears_the_answer(&self) {
        self.answered.recv_timeout(SOON).expect("the callback is heard");
    }
}

/// Another site, which answers every request with this. It ends with the program.
fn site(answer: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 8 * 1024];
            if stream.read(&mut request).is_ok_and(|count| count > 0) {
                // A browser that has seen enough may have left.
                stream.write_all(answer.as_bytes()).unwrap_or_default();
            }
        }
    });
    // By this name it is another site than the listener.
    format!("http://localhost:{port}/authorize")
}

fn redirect_to(url: &str) -> String {
    site(&format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

fn page(html: &str) -> String {
    let length = html.len();
    site(&format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{html}"
    ))
}

/// Signs in at an issuer, which sends the browser back, and returns what it shows in the end.
fn sign_in(port: Port, outcome: Result<(), Failure>, colours: Colours) -> Shown {
    let browser = Chromium::open(&redirect_to(&port.callback()), colours);
    port.hears_the_answer();
    port.conclude.send(outcome).unwrap();
    browser.shown()
}

#[test]
fn a_browser_shows_that_its_person_is_signed_in_and_loads_nothing_more() {
    for (colours, name) in [(Colours::Light, "success-light"), (Colours::Dark, "success-dark")] {
        let port = Port::listen("http://127.0.0.1/callback");
        let asked = [port.callback(), format!("{}/done", port.redirect_uri)];
        let shown = sign_in(port, Ok(()), colours);
        shown.keep_picture(name);
        assert!(shown.dom.contains("You are signed in"), "{}", shown.dom);
        let ours = shown.requests.iter().filter(|url| !url.starts_with("http://localhost:"));
        assert!(ours.eq(&asked), "{:?}", shown.requests);
    }
}

#[test]
fn a_browser_shows_that_a_login_failed_and_where_to_read_why() {
    let cases = [
        (
            Failure::Refused { message: "no".into() },
            Colours::Light,
            "refused-light",
            "The sign-in was refused",
        ),
        (Failure::transient("no"), Colours::Dark, "failure-dark", "That did not work"),
    ];
    for (failure, colours, name, title) in cases {
        let shown = sign_in(Port::listen("http://localhost/callback"), Err(failure), colours);
        shown.keep_picture(name);
        assert!(shown.dom.contains(title) && shown.dom.contains("Your terminal says"), "{}", shown.dom);
    }
}

#[test]
fn a_second_tab_with_the_callback_is_told_that_it_is_being_processed() {
    let port = Port::listen("http://127.0.0.1/callback");
    let callback = port.callback();
    let first = Chromium::open(&redirect_to(&callback), Colours::Light);
    port.hears_the_answer();
    let second = Chromium::open(&redirect_to(&callback), Colours::Light).shown();
    second.keep_picture("processing-light");
    assert!(second.dom.contains("Already being processed"), "{}", second.dom);
    port.conclude.send(Ok(())).unwrap();
    assert!(first.shown().dom.contains("You are signed in"));
}

#[test]
fn a_favicon_and_pages_that_embed_the_callback_are_not_heard_and_the_person_is() {
    let port = Port::listen("http://127.0.0.1/callback");
    let callback = port.callback();
    let favicon = callback.split("callback").next().unwrap().to_owned() + "favicon.ico";
    let evil = page(&format!(
        "<link rel=icon href='{favicon}'><img src='{callback}'><iframe src='{callback}'></iframe><script src='{callback}'></script>\
         <link rel=stylesheet href='{callback}'><p>innocent"
    ));
    let lured = Chromium::open(&evil, Colours::Light).shown();
    assert!(
        lured.requests.contains(&callback),
        "the browser sent what it was lured to: {:?}",
        lured.requests
    );
    let stale =
        Chromium::open(&redirect_to(&format!("{}?code=c&state=old", port.redirect_uri)), Colours::Light);
    let stale = stale.shown();
    stale.keep_picture("stray-light");
    assert!(stale.dom.contains("This is another sign-in"), "{}", stale.dom);
    assert!(port.answered.try_recv().is_err(), "nothing of it was heard");
    assert!(sign_in(port, Ok(()), Colours::Light).dom.contains("You are signed in"));
}
