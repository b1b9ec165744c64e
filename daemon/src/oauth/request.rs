//! A request to an endpoint of the issuer, in the name of a client.

use crate::clock::Now;
use crate::oauth::EndpointUrl;
use crate::oauth::answer::Answer;
use crate::oauth::client_auth::Credentials;
use crate::oauth::error::{Error, Kind, Sent};
use crate::oauth::form::Form;
use crate::oauth::http::Http;

/// Who asks whom, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The way there.
    pub(crate) http: &'a Http,
    /// Whom.
    pub(crate) endpoint: &'a EndpointUrl,
    /// In whose name.
    pub(crate) credentials: &'a Credentials,
    /// The time just before the request is sent: lifetimes are counted from here.
    pub(crate) started: Now,
}

impl Request<'_> {
    /// Sends a form, once, and reads the answer.
    pub(crate) async fn post<T>(
        &self,
        form: Form,
        read: impl FnOnce(&Answer) -> Result<T, Kind>,
    ) -> Result<T, Error> {
        let answer = self.send(&form).await;
        answer.and_then(|answer| read(&answer)).map_err(|kind| Error {
            host: self.endpoint.host(),
            kind: kind.without(form.secrets().chain(self.credentials.secret())),
        })
    }

    /// Sends a form, once, and returns the whole answer unread.
    pub(crate) async fn send(&self, form: &Form) -> Result<Answer, Kind> {
        let theirs = self.http.time_at(self.endpoint, self.started);
        let (form, authorization) = self
            .credentials
            .apply(form.clone(), theirs)
            .map_err(|not| Kind::Transport { sent: Sent::No, cause: not.to_string() })?;
        self.http.post(self.endpoint, &form, authorization.as_ref(), self.started.wall).await
    }
}
