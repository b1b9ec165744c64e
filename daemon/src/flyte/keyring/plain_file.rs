//! Sessions in plain files: INI as Python's `configparser` writes it, with values in base64.
//!
//! The thing to get wrong: base64 is broken into lines, which go on below the key, indented; names of keys are lower
//! case; one kind of file escapes all names; and a file that is a link stays one, or what is deleted lives on elsewhere.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::flyte::keyring::{Place, Session, Slot};

/// The largest file: hundreds of sessions fit.
const LARGEST: u64 = 1 << 20;

/// A file with sessions.
#[derive(Clone, Debug)]
pub(super) struct PlainFile {
    path: PathBuf,
    names: Names,
}

/// How names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Verbatim,
    /// All but letters and digits as `_2E`.
    Escaped,
}

impl PlainFile {
    /// The kind that flyte and union write.
    pub(super) fn verbatim(path: PathBuf) -> Self {
        Self { path, names: Names::Verbatim }
    }

    /// The kind that keyrings.alt writes.
    pub(super) fn escaped(path: PathBuf) -> Self {
        Self { path, names: Names::Escaped }
    }

    /// Looks for sessions.
    pub(super) fn find(&self, slots: &[Slot]) -> Vec<Session> {
        let Ok((text, modified)) = read(&self.path) else { return Vec::new() };
        let session = |slot: &Slot| {
            let section = self.written(&slot.service);
            let key = self.written(&slot.user).to_lowercase();
            let lines = entry(&text, &section, &key)?;
            let (_, value) = text[lines].split_once(['=', ':'])?;
            let digits: String = value.split_whitespace().collect();
            let secret = Zeroizing::new(STANDARD.decode(Zeroizing::new(digits).as_bytes()).ok()?);
            slot.session(Place::Entry { file: self.path.clone(), section, key }, &secret, modified)
        };
        slots.iter().filter_map(session).collect()
    }

    fn written(&self, name: &str) -> String {
        match self.names {
            Names::Verbatim => name.to_owned(),
            Names::Escaped => name.bytes().map(escaped).collect(),
        }
    }
}

/// Deletes an entry, and leaves the rest of the file as it is.
pub(super) fn delete(path: &Path, section: &str, key: &str) {
    let deleted = read(path).and_then(|(text, _)| {
        let Some(lines) = entry(&text, section, key) else { return Ok(()) };
        replace(path, &[&text[..lines.start], &text[lines.end..]])
    });
    if let Err(error) = deleted {
        tracing::warn!(%error, path = %path.display(), "a session of another client stays in its file");
    }
}

fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("_{byte:02X}") }
}

/// Returns the lines of a key, up to the next key, section or empty line.
fn entry(text: &str, section: &str, key: &str) -> Option<Range<usize>> {
    let mut in_section = false;
    let mut found: Option<Range<usize>> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let place = at..at + line.len();
        at = place.end;
        if let Some(lines) = &mut found {
            if line.starts_with([' ', '\t']) {
                lines.end = place.end;
                continue;
            }
            break;
        }
        let name = line.trim_end().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(name) = name {
            in_section = name == section;
        } else if in_section
            && line.split_once(['=', ':']).is_some_and(|(name, _)| name.trim().to_lowercase() == key)
        {
            found = Some(place);
        }
    }
    found
}

fn read(path: &Path) -> io::Result<(Zeroizing<String>, u64)> {
    let file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file of a keyring"));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST).read_to_string(&mut text)?;
    Ok((text, u64::try_from(metadata.mtime()).unwrap_or_default()))
}

fn replace(path: &Path, parts: &[&str]) -> io::Result<()> {
    let target = path.canonicalize()?;
    let mut name = target.as_os_str().to_owned();
    // The name is of this process alone: what one that was killed has left is not in the way.
    name.push(format!(".keyfob-unfinished-{}", process::id()));
    let beside = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = parts.iter().try_for_each(|part| file.write_all(part.as_bytes()));
    let written = written.and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, &target));
    written.inspect_err(|_| fs::remove_file(&beside).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::flyte::keyring::{Client, slots};

    /// As `SimplePlainTextKeyring` of flyte writes it.
    const VERBATIM: &str = "[h:443]\ntokens = eyJhY2Nlc3NfdG9rZW4iOiAiYSIsICJyZWZyZXNoX3Rva2VuIjog\n\tIlIifQ==\n\t\n\n\
                            [other]\ntokens = eA==\n\t\n\n";

    /// As `PlaintextKeyring` of keyrings.alt writes it.
    const ESCAPED: &str =
        "[flyte_2Eexample_2Ecom]\naccess_5ftoken = \n\tYQ==\n\t\nrefresh_5ftoken = \n\tUg==\n\t\n\n";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keyring.cfg");
        fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn a_session_is_read_from_either_kind_of_file() {
        let (_directory, path) = file(VERBATIM);
        let found = PlainFile::verbatim(path).find(&slots("dns:///h:443"));
        let [session] = &found[..] else { panic!("{found:?}") };
        assert_eq!((session.client, session.refresh.as_ref().unwrap().expose_secret()), (Client::Flyte, "R"));
        let (_directory, path) = file(ESCAPED);
        let found = PlainFile::escaped(path).find(&slots("flyte.example.com"));
        let [session] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (session.client, session.refresh.as_ref().unwrap().expose_secret()),
            (Client::Flytekit, "R")
        );
    }

    #[test]
    fn another_endpoints_session_is_not_found() {
        let (_directory, path) = file(VERBATIM);
        assert!(PlainFile::verbatim(path).find(&slots("h")).is_empty());
        assert!(PlainFile::verbatim("/nowhere".into()).find(&slots("h")).is_empty());
    }

    #[test]
    fn a_deleted_session_leaves_the_others() {
        let (_directory, path) = file(VERBATIM);
        delete(&path, "h:443", "tokens");
        assert_eq!(fs::read_to_string(path).unwrap(), "[h:443]\n\n[other]\ntokens = eA==\n\t\n\n");
    }

    #[test]
    fn a_session_behind_a_link_is_deleted_where_it_lies() {
        let (directory, path) = file(VERBATIM);
        let link = directory.path().join("link.cfg");
        symlink(&path, &link).unwrap();
        delete(&link, "h:443", "tokens");
        assert!(link.is_symlink());
        assert!(!fs::read_to_string(path).unwrap().contains("eyJhY2Nlc3N"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
