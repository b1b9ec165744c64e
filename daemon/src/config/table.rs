//! One table of the file, while it is read.
//!
//! Whoever reads a table asks for each key that it may have. A key that nobody asked for is unknown; so a new key is
//! one line, in the one place that uses it. Ask for every key before the first `?`: what you left out would be unknown.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::account::suggestion::nearest;
use crate::config::report::{Place, Report, Reported, Wrong};
use crate::config::value::Value;

/// One table of the file.
#[derive(Debug)]
pub(super) struct Table<'d> {
    report: &'d Report<'d>,
    place: Place,
    entries: BTreeMap<&'d str, Item<'d>>,
    /// The keys that were asked for.
    known: BTreeSet<&'d str>,
    /// The keys that are known, and yet not for this table: of a later version, or of another kind of table.
    elsewhere: BTreeSet<&'d str>,
    /// It has something that only a later version supports, and so may well lack what this version wants.
    ahead: Option<Reported>,
}

/// What a key has: nothing, something that is wrong, or a value.
pub(super) type Entry<T> = Result<Option<T>, Reported>;

/// A key and its value.
#[derive(Clone, Debug)]
struct Item<'d> {
    /// The key.
    key: Place,
    value: &'d Spanned<DeValue<'d>>,
}

impl Item<'_> {
    /// Returns where to look: at the value, or at the name of a table.
    fn place(&self) -> Place {
        let offset = self.value.span().start;
        if self.is_beside() { Place { offset, ..self.key.clone() } } else { self.key.clone() }
    }

    /// Tells whether the value stands to the right of its key. A `[table]` or `table.key` stands elsewhere.
    fn is_beside(&self) -> bool {
        self.value.span().start > self.key.offset
    }
}

impl<'d> Table<'d> {
    /// Reads the outermost table.
    pub(super) fn whole<T>(
        table: &'d DeTable<'d>,
        report: &'d Report<'d>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        Self::open(table, Place { path: String::new(), offset: 0 }, report, read)
    }

    fn open<T>(
        table: &'d DeTable<'d>,
        place: Place,
        report: &'d Report<'d>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mut entries = BTreeMap::new();
        for (key, value) in table {
            let path = place.inside(key.get_ref());
            entries.insert(
                key.get_ref().as_ref(),
                Item { key: Place { path, offset: key.span().start }, value },
            );
        }
        let mut table =
            Self { report, place, entries, known: BTreeSet::new(), elsewhere: BTreeSet::new(), ahead: None };
        let outcome = read(&mut table);
        table.report_unknown_keys();
        outcome
    }

    /// Reads a string, a boolean, an integer, or a word of an enum.
    pub(super) fn read<T: Deserialize<'d>>(&mut self, key: &'static str) -> Entry<T> {
        let Some(item) = self.item(key)? else { return Ok(None) };
        self.deserialize(&item.place(), item.value).map(Some)
    }

    /// Reads a value, and makes something better of it.
    pub(super) fn parse<T: Deserialize<'d>, U>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(T) -> Result<U, Wrong>,
    ) -> Entry<U> {
        let Some(value) = self.read(key)? else { return Ok(None) };
        parse(value).map(Some).map_err(|wrong| self.blame(key, wrong))
    }

    /// Reads a word of an enum. The words in `later` are those of a later version.
    pub(super) fn word<T: Deserialize<'d>>(&mut self, key: &'static str, later: &[&str]) -> Entry<T> {
        let word = self.entries.get(key).and_then(|item| item.value.get_ref().as_str());
        match word.filter(|word| later.contains(word)) {
            Some(word) => {
                self.known.insert(key);
                Err(self.not_yet(key, &format!("\"{word}\"")))
            }
            None => self.read(key),
        }
    }

    /// Reads a list, and makes something better of each of its values.
    pub(super) fn list<T: Deserialize<'d>, U>(
        &mut self,
        key: &'static str,
        parse: impl Fn(T) -> Result<U, Wrong>,
    ) -> Entry<Vec<U>> {
        let Some(item) = self.item(key)? else { return Ok(None) };
        let Some(array) = item.value.get_ref().as_array() else {
            let wrong = Value(item.value.get_ref()).is_not("an array of strings");
            return Err(self.report.add(&item.place(), wrong));
        };
        let read = |(index, value): (usize, &'d Spanned<DeValue<'d>>)| {
            let place = Place { path: format!("{}[{index}]", item.key.path), offset: value.span().start };
            parse(self.deserialize(&place, value)?).map_err(|wrong| self.report.add(&place, wrong))
        };
        let values: Vec<_> = array.iter().enumerate().map(read).collect();
        values.into_iter().collect::<Result<_, _>>().map(Some)
    }

    /// Reads a table; `form` says how one is written.
    pub(super) fn table<T>(
        &mut self,
        key: &'static str,
        form: &str,
        read: impl FnOnce(&mut Self) -> Result<T, Reported>,
    ) -> Entry<T> {
        let Some(item) = self.item(key)? else { return Ok(None) };
        self.inner(item, form, read).map(Some)
    }

    /// Reads a table for each key, whatever its name.
    pub(super) fn every<T>(
        &mut self,
        form: &str,
        mut read: impl FnMut(&str, &mut Self) -> Result<T, Reported>,
    ) -> Result<Vec<T>, Reported> {
        self.known = self.entries.keys().copied().collect();
        let tables: Vec<_> = self
            .entries
            .iter()
            .map(|(name, item)| self.inner(item.clone(), form, |table| read(name, table)))
            .collect();
        tables.into_iter().collect()
    }

    /// Reads a string for each key, whatever its name.
    pub(super) fn strings(
        &mut self,
        check: impl Fn(&str, &str) -> Result<(), Wrong>,
    ) -> Result<BTreeMap<String, String>, Reported> {
        self.known = self.entries.keys().copied().collect();
        let read = |(name, item): (&&'d str, &Item<'d>)| {
            let value: String = self.deserialize(&item.place(), item.value)?;
            check(name, &value).map_err(|wrong| self.blame(name, wrong))?;
            Ok(((*name).to_owned(), value))
        };
        let pairs: Vec<_> = self.entries.iter().map(read).collect();
        pairs.into_iter().collect()
    }

    /// Reports the keys that are there and should not be.
    pub(super) fn exclude(&mut self, keys: &[&'static str], wrong: &Wrong) -> Result<(), Reported> {
        self.overlook(keys);
        let blamed: Vec<_> =
            keys.iter().filter(|key| self.has(key)).map(|key| self.blame(key, wrong.clone())).collect();
        blamed.first().map_or(Ok(()), |reported| Err(*reported))
    }

    /// Says nothing about keys, whether they are there or not.
    pub(super) fn overlook(&mut self, keys: &[&'static str]) {
        self.elsewhere.extend(keys);
    }

    /// Tells whether a key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Returns all keys that are there.
    pub(super) fn keys(&self) -> Vec<&'d str> {
        self.entries.keys().copied().collect()
    }

    /// Reports what is wrong with a key or its value.
    pub(super) fn blame(&self, key: &str, wrong: Wrong) -> Reported {
        let place = self.entries.get(key).map_or_else(|| self.place.clone(), Item::place);
        self.report.add(&place, wrong)
    }

    /// Reports what is wrong with the table.
    pub(super) fn blame_whole(&self, wrong: Wrong) -> Reported {
        self.report.add(&self.place, wrong)
    }

    /// Reports that a key names something that is not in the file, unless that may only have been misread.
    pub(super) fn blame_absence(&self, key: &str, wrong: Wrong) -> Reported {
        self.report.has_syntax_errors().unwrap_or_else(|| self.blame(key, wrong))
    }

    /// Reports that a key is missing, unless something else that is wrong may well be the reason.
    pub(super) fn missing(&mut self, key: &'static str, wrong: Wrong) -> Reported {
        let is_slip = |name: &&'d str| !self.is_known(name) && nearest(name, [key]).is_some();
        if let Some(slip) = self.entries.keys().copied().find(is_slip) {
            self.known.insert(slip);
            return self.report_unknown(slip, Some(key));
        }
        let reason = self.ahead.or_else(|| self.report.has_syntax_errors());
        let place = Place { path: self.place.inside(key), offset: self.place.offset };
        reason.unwrap_or_else(|| self.report.add(&place, wrong))
    }

    /// Returns the value of a key that must be there.
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        entry: Entry<T>,
        wrong: Wrong,
    ) -> Result<T, Reported> {
        entry?.ok_or_else(|| self.missing(key, wrong))
    }

    fn not_yet(&mut self, key: &str, what: &str) -> Reported {
        let wrong = Wrong::new(format!("this version of keyfob does not support {what} yet"));
        let reported = self.blame(key, wrong);
        self.ahead = Some(reported);
        reported
    }

    /// Returns a key that is asked for, if it is there and is TOML.
    fn item(&mut self, key: &'static str) -> Entry<Item<'d>> {
        self.known.insert(key);
        let Some(item) = self.entries.get(key) else { return Ok(None) };
        let span = item.key.offset..item.value.span().end;
        match self.report.is_broken(span).filter(|_| item.is_beside()) {
            Some(reported) => Err(reported),
            None => Ok(Some(item.clone())),
        }
    }

    fn inner<T>(
        &self,
        item: Item<'d>,
        form: &str,
        read: impl FnOnce(&mut Self) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        match item.value.get_ref() {
            DeValue::Table(table) => Self::open(table, item.key, self.report, read),
            other @ (DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)) => {
                Err(self.report.add(&item.place(), Value(other).is_not("a table").hint(form)))
            }
        }
    }

    fn deserialize<T: Deserialize<'d>>(
        &self,
        place: &Place,
        value: &'d Spanned<DeValue<'d>>,
    ) -> Result<T, Reported> {
        let value = Value(value.get_ref());
        T::deserialize(value).map_err(|refusal| self.report.add(place, value.refused(refusal)))
    }

    fn report_unknown_keys(&self) {
        for (name, item) in &self.entries {
            // After a `[` without its `]`, the next key looks like a table.
            let before = item.value.span().start..item.key.offset;
            let is_misread = !item.is_beside() && self.report.is_broken(before).is_some();
            if !self.is_known(name) && !is_misread {
                self.report_unknown(name, nearest(name, self.known.union(&self.elsewhere).copied()));
            }
        }
    }

    fn is_known(&self, key: &str) -> bool {
        self.known.contains(key) || self.elsewhere.contains(key)
    }

    fn report_unknown(&self, name: &str, meant: Option<&str>) -> Reported {
        let hint = match meant {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known here: {}", self.known.iter().copied().collect::<Vec<_>>().join(", ")),
        };
        let place = self.entries.get(name).map_or(&self.place, |item| &item.key);
        self.report.add(place, Wrong::new("unknown key").hint(hint))
    }
}
