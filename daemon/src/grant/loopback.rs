//! The loopback redirect listener (RFC 8252 §7.3): it is there while a login is pending, and hears one callback.
//!
//! What a callback must have is for `read` to decide, and this file knows nothing of it. The thing to get wrong: any
//! program and any web page can reach the port, so what `read` does not take must change nothing.

mod door;
mod listeners;
mod pages;
pub(crate) mod redirect_uri;
pub(crate) mod request;
mod server;
mod socket_table;

use std::future::pending;

use tokio::sync::oneshot;

pub use self::pages::Pages;
pub use self::redirect_uri::{InvalidRedirectUri, RedirectUri};

use self::door::Door;
use self::listeners::Listeners;
use self::pages::Page;
use self::request::Place;
use self::server::Site;
use crate::token::failure::Failure;

/// A port that is bound, before anybody is sent to it.
#[derive(Debug)]
pub struct Loopback {
    listeners: Listeners,
    redirect_uri: String,
    path: String,
    pages: Pages,
}

/// What a callback is.
#[derive(Debug)]
pub enum Heard<T> {
    /// The answer that the login waits for. Whatever comes after it is not read any more.
    Answer(T),
    /// Something else, and why: it is answered politely and changes nothing.
    Stray(&'static str),
}

/// A port that listens. Dropping it closes the port.
#[derive(Debug)]
pub struct Listening<T> {
    answer: oneshot::Receiver<T>,
    verdict: oneshot::Sender<Page>,
}

impl Loopback {
    /// Binds the port. The redirect URI is known from now on, and is nobody else's.
    ///
    /// # Errors
    /// Fails where the port is taken, and says by whom.
    pub async fn bind(uri: &RedirectUri, pages: Pages) -> Result<Self, Failure> {
        let listeners = Listeners::bind(uri).await?;
        let redirect_uri = uri.at(listeners.host, listeners.port);
        Ok(Self { listeners, redirect_uri, path: uri.path().to_owned(), pages })
    }

    /// Returns the redirect URI with its port, letter by letter as the issuer must be told it.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Begins to listen. `read` is given the query of each callback as it came, until it takes one.
    pub fn listen<T: Send + 'static>(self, read: impl Fn(&str) -> Heard<T> + Send + 'static) -> Listening<T> {
        let place = Place::new(self.listeners.host, self.listeners.port, &self.path);
        let (answered, answer) = oneshot::channel();
        let (verdict, concluded) = oneshot::channel();
        let door = Door::new(read, answered);
        let site = Site { place, pages: self.pages };
        tokio::spawn(server::run(self.listeners.sockets, site, door, concluded));
        Listening { answer, verdict }
    }
}

impl<T> Listening<T> {
    /// Waits for the first callback that `read` takes. There is no end to it but the caller's.
    pub async fn answer(&mut self) -> T {
        match (&mut self.answer).await {
            Ok(answer) => answer,
            // The server is gone: nobody will ever answer, and the login runs out of time.
            Err(_) => pending().await,
        }
    }

    /// Shows the browser that the login is begun anew, and closes the port.
    pub(crate) fn conclude_anew(self) {
        self.verdict.send(Page::Anew).unwrap_or_default();
    }

    /// Shows the browser how the login ended, and closes the port.
    pub fn conclude(self, outcome: Result<(), &Failure>) {
        // A server that is gone has no browser to show it to.
        self.verdict.send(Page::of(outcome)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
