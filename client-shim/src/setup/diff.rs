//! What is about to change, as a person reads it.
//!
//! The thing to get wrong: a diff shows the lines around a change as well, and one of them may be a secret.

use std::path::Path;

use similar::TextDiff;

use crate::display;

/// Lines that are shown around a change.
const CONTEXT: usize = 2;

/// Returns the differences between two texts of a file; nothing where there are none.
pub(crate) fn unified(path: &Path, before: &str, after: &str) -> String {
    let name = display::line(&path.display().to_string());
    let diff = TextDiff::from_lines(before, after);
    let text = diff.unified_diff().context_radius(CONTEXT).header(&name, &name).to_string();
    text.lines().map(|line| shown(line) + "\n").collect()
}

/// Returns a line without what may be secret, and without anything that a terminal would act on.
fn shown(line: &str) -> String {
    let line = display::line(line);
    let Some(at) = line.find([':', '=']) else { return line };
    let (key, value) = line.split_at(at + 1);
    let words = key.to_ascii_lowercase().replace(['_', '-'], "");
    let names_place =
        words.contains("location") || words.contains("envvar") || value.trim_start().starts_with('{');
    let is_secret = ["secret", "password", "apikey"].iter().any(|word| words.contains(word));
    if is_secret && !names_place && !value.trim().is_empty() && !value.contains("moved to") {
        return format!("{key} ***");
    }
    without_password(&line)
}

/// Hides what stands before the @ of a URL.
fn without_password(line: &str) -> String {
    let Some((before, rest)) = line.split_once("://") else { return line.to_owned() };
    let end = rest.find(['/', ' ', '"', '\'']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{before}://***{}", &rest[at..]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_and_what_is_secret_is_not() {
        let before = "client_secret = CANARY\nauth_mode = basic\nhttp_proxy = http://me:CANARY@proxy:1\n";
        let after = before.replace("basic", "ExternalCommand");
        let expected = "--- /f\n+++ /f\n@@ -1,3 +1,3 @@\n client_secret = ***\n-auth_mode = basic\n\
                        +auth_mode = ExternalCommand\n http_proxy = http://***@proxy:1\n";
        assert_eq!(unified(Path::new("/f"), before, &after), expected);
    }

    #[test]
    fn where_a_secret_is_may_be_seen() {
        for line in [" clientSecretLocation: /run/secret", "+client_secret = { file = \"/run/secret\" }"] {
            assert_eq!(shown(line), line);
        }
    }

    #[test]
    fn no_difference_is_nothing() {
        assert_eq!(unified(Path::new("/f"), "a\n", "a\n"), "");
    }
}
