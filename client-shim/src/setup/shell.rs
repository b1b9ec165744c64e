//! The words of a command line, as a POSIX shell writes them.
//!
//! Nothing here runs a shell. The thing to get wrong: a client splits its variable in its own way, so this is Python's.

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
}
