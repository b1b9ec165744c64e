//! The words of a command line, as a POSIX shell writes them: read from a client's variable, and written for a person.
//!
//! Nothing here runs a shell. The thing to get wrong: a path with a space in it is one word, so whatever a person is
//! told to run has it in quotes.

use std::path::Path;

use crate::display;

/// Splits a command line as Python's `shlex` does; `None` where a quote is left open.
pub(crate) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => quoted(&mut characters, '\'', word.get_or_insert_default())?,
            '"' => quoted(&mut characters, '"', word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(characters.next()?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

/// Writes a name of a file as one word, on one harmless line.
pub(crate) fn word(path: &Path) -> String {
    let text = display::line(&path.display().to_string());
    let is_plain = |c: char| {
        c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ',' | ':' | '@' | '%' | '=')
    };
    if !text.is_empty() && text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Takes what stands before the closing quote. In double quotes a backslash protects itself and the quote alone.
fn quoted(characters: &mut std::str::Chars<'_>, quote: char, word: &mut String) -> Option<()> {
    loop {
        match characters.next()? {
            end if end == quote => return Some(()),
            '\\' if quote == '"' => {
                let next = characters.next()?;
                if !matches!(next, '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            other => word.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_python_splits_it() {
        // What shlex.split returns for each.
        let cases: [(&str, Option<&[&str]>); 8] = [
            ("uctl get-token --audience x,y", Some(&["uctl", "get-token", "--audience", "x,y"])),
            ("  a\t b\n", Some(&["a", "b"])),
            (r#"sh -c 'echo "x y"' """#, Some(&["sh", "-c", r#"echo "x y""#, ""])),
            (r#"a\ b"c \" \n"d"#, Some(&[r#"a bc " \nd"#])),
            ("", Some(&[])),
            ("a # b", Some(&["a", "#", "b"])),
            ("a 'b", None),
            ("a\\", None),
        ];
        for (line, words) in cases {
            let expected = words.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
            assert_eq!(split(line), expected, "{line}");
        }
    }

    #[test]
    fn a_name_is_one_word_for_a_shell() {
        for name in ["/home/me/.flyte/config.yaml", "/a b/c", "it's", "$(x);`y`", "~/x", "a*"] {
            let shown = word(Path::new(name));
            assert_eq!(split(&shown), Some(vec![name.to_owned()]), "{shown}");
        }
        assert_eq!(word(Path::new("/a/b.yaml")), "/a/b.yaml");
        assert_eq!(word(Path::new("/my files/b")), "'/my files/b'");
        assert_eq!(word(Path::new("$(x)")), "'$(x)'");
        assert_eq!(word(Path::new("~")), "'~'");
    }
}
