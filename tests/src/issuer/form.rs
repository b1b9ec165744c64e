//! The form that every OAuth2 request is, read by the letter of RFC 6749 §3.2.
//!
//! A lenient server would hide a client's mistakes: whatever the RFC forbids is refused here and goes into the ledger.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Method, header};
use url::form_urlencoded;

/// More than any request of an honest client.
const MAX_BODY: usize = 64 * 1024;

/// A request as the endpoints see it.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// The `Authorization` header.
    pub(crate) authorization: Option<String>,
    /// Each `DPoP` header.
    pub(crate) proofs: Vec<String>,
    fields: Vec<(String, String)>,
}

impl Form {
    /// Reads a request.
    ///
    /// # Errors
    /// Returns what about it the RFC forbids.
    pub(crate) async fn read(request: Request) -> Result<Self, String> {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            return Err(format!("{} instead of POST", head.method));
        }
        if head.uri.query().is_some() {
            return Err("parameters in the URL".to_owned());
        }
        let text_of = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let content_type = text_of(header::CONTENT_TYPE).unwrap_or("none");
        if content_type.split(';').next() != Some("application/x-www-form-urlencoded") {
            return Err(format!("content type {content_type}"));
        }
        let authorization = text_of(header::AUTHORIZATION).map(str::to_owned);
        let body = to_bytes(body, MAX_BODY).await.map_err(|error| error.to_string())?;
        let proofs = head.headers.get_all("dpop").iter();
        let proofs = proofs.map(|proof| String::from_utf8_lossy(proof.as_bytes()).into_owned()).collect();
        Ok(Self { proofs, ..Self::parse(&body, authorization)? })
    }

    fn parse(body: &[u8], authorization: Option<String>) -> Result<Self, String> {
        let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
        for (index, (name, value)) in fields.iter().enumerate() {
            if value.is_empty() {
                return Err(format!("the parameter {name} is empty"));
            }
            // RFC 8707 §2 lets this one alone come again.
            if name != "resource" && fields[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(format!("the parameter {name} comes twice"));
            }
        }
        Ok(Self { authorization, proofs: Vec::new(), fields })
    }

    /// Reads the query of a page.
    ///
    /// # Errors
    /// Returns what about it the RFC forbids.
    pub(crate) fn of_query(query: &str) -> Result<Self, String> {
        Self::parse(query.as_bytes(), None)
    }

    /// Returns every parameter, in order.
    pub(crate) fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// Returns a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_comes_once_and_is_not_empty() {
        let form = Form::parse(b"a=1&b=x+y%26", None).unwrap();
        assert_eq!(form.get("b"), Some("x y&"));
        assert!(Form::parse(b"a=1&a=2", None).unwrap_err().contains("twice"));
        assert!(Form::parse(b"a=1&scope=", None).unwrap_err().contains("empty"));
    }
}
