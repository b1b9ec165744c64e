//! A person's browser: curl with a cookie jar, and eyes for the forms on a page.
//!
//! It follows redirects, also to a program that listens on loopback. It runs no scripts: a page that submits itself is
//! a page with a form.

use std::process::Command;

use tempfile::NamedTempFile;
use url::Url;

use crate::plain_user::PlainUser;

/// Seconds for one page with all its redirects.
const PATIENCE: &str = "20";

/// A browser with the cookies of one person.
#[derive(Debug)]
pub struct Browser {
    jar: NamedTempFile,
    /// Whose it is, where that is not who runs the stories.
    user: Option<PlainUser>,
}

/// What the browser shows.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where the redirects led.
    pub url: Url,
    /// What is there.
    pub html: String,
}

/// A form on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

impl Browser {
    /// Opens a browser without cookies.
    ///
    /// # Panics
    /// Panics where there is no place for temporary files.
    pub fn open() -> Self {
        Self { jar: NamedTempFile::new().unwrap(), user: None }
    }

    /// Opens a browser of a plain user without cookies.
    ///
    /// # Panics
    /// Panics where there is no place for temporary files.
    pub fn of(user: PlainUser) -> Self {
        let jar = NamedTempFile::new().unwrap();
        user.own(jar.path());
        Self { jar, user: Some(user) }
    }

    /// Visits a page.
    pub fn visit(&self, url: &str) -> Page {
        self.load(url, &[])
    }

    /// Submits a form.
    pub fn submit(&self, page: &Page, form: &Form) -> Page {
        self.load(page.url.join(&form.action).unwrap().as_str(), &form.fields)
    }

    fn load(&self, url: &str, fields: &[(String, String)]) -> Page {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--location", "--max-time", PATIENCE, "--noproxy", "*"])
            .args(["--write-out", "\n%{url_effective}", "--cookie"])
            .arg(self.jar.path())
            .arg("--cookie-jar")
            .arg(self.jar.path());
        for (name, value) in fields {
            curl.arg("--data-urlencode").arg(format!("{name}={value}"));
        }
        if let Some(user) = self.user {
            user.run(&mut curl);
        }
        let output = curl.arg(url).output().unwrap();
        assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (html, url) = text.rsplit_once('\n').unwrap();
        Page { url: url.parse().unwrap(), html: html.to_owned() }
    }
}

impl Page {
    /// Returns the first form on the page.
    pub fn form(&self) -> Option<Form> {
        let form = self.html.split_once("<form")?.1.split_once("</form>")?.0;
        let (head, body) = form.split_once('>')?;
        let inputs = body.split("<input").skip(1).filter_map(|input| input.split_once('>'));
        let fields = inputs
            .filter_map(|(input, _)| {
                Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default()))
            })
            .collect();
        Some(Form { action: attribute(head, "action")?, fields })
    }
}

impl Form {
    /// Writes into a field; a form without that field stays as it is.
    pub fn fill(&mut self, name: &str, text: &str) {
        for (_, value) in self.fields.iter_mut().filter(|(field, _)| field == name) {
            text.clone_into(value);
        }
    }
}

/// Returns the value of an attribute inside a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0;
    Some(
        value
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_the_action_and_the_fields_that_a_browser_would_send() {
        let page = Page {
            url: "http://issuer/device".parse().unwrap(),
            html: r#"<form id="f" method="post" action="/device?a=1&amp;b=2"><input type="hidden" name="xsrf" value="1&lt;"/>
                <input
                  type="text" name="user_code" autofocus></input><button name="abort" value="yes"></form>"#
                .to_owned(),
        };
        let mut form = page.form().unwrap();
        form.fill("user_code", "BCDT");
        form.fill("password", "not asked for");
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(form.fields, [field("xsrf", "1<"), field("user_code", "BCDT")]);
        assert_eq!(form.action, "/device?a=1&b=2");
    }
}
