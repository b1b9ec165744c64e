//! A YAML file as a tree in which every value knows its place, so that a change touches nothing else.
//!
//! The thing to get wrong: what cannot be told apart from its surroundings cannot be changed alone. Anchors, tags and
//! keys that are there twice are kept in the tree, so that whoever edits can refuse them.

pub(super) mod admin;

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// How deep a configuration is nested at most: those of the clients are three levels deep.
const MAX_DEPTH: usize = 32;

/// Why a text is no YAML that can be edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum YamlError {
    /// It is no YAML.
    #[error("line {line}: it is no YAML: {reason}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// In the words of the parser.
        reason: String,
    },
    /// It is YAML, but not a way of writing that can be changed safely.
    #[error("line {line}: {reason}")]
    Strange {
        /// Where, from 1.
        line: usize,
        /// What is strange, and what to write instead.
        reason: String,
    },
    /// It says nothing about a Flyte endpoint.
    #[error("there is no section admin in it")]
    NoAdmin,
    /// The change would have touched more than it should.
    #[error("it is written in a way that keyfob cannot change safely; change it by hand: keyfob help setup")]
    Unsafe,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its bytes, without what follows on its last line.
    pub(super) place: Range<usize>,
    pub(super) content: Content,
    /// Whether it is anchored or tagged, so that more hangs on it than its value.
    pub(super) is_marked: bool,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Scalar(String, Style),
    List(Vec<Node>, Layout),
    Map(Vec<(Node, Node)>, Layout),
    /// A value that is written elsewhere.
    Alias,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Quoted,
    /// `|` or `>`.
    Block,
}

/// How a collection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One line for each member.
    Block,
    /// In brackets or braces.
    Flow,
}

impl Node {
    /// Reads a file with one document; `None` where it is empty.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, YamlError> {
        if let Some(at) =
            text.match_indices('\r').map(|(at, _)| at).find(|at| !text[*at..].starts_with("\r\n"))
        {
            return Err(strange(text, at, "there is a carriage return without a line feed"));
        }
        let mut events = Events::read(text)?;
        let mut documents = events.documents()?;
        match documents.len() {
            0 | 1 => Ok(documents.pop()),
            _ => Err(strange(text, documents[1].place.start, "there is a second document: keep one")),
        }
    }

    /// Returns the text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text, _) => Some(text),
            Content::List(..) | Content::Map(..) | Content::Alias => None,
        }
    }

    /// Returns the texts of a list of scalars.
    pub(super) fn texts(&self) -> Option<Vec<&str>> {
        match &self.content {
            Content::List(items, _) => items.iter().map(Self::text).collect(),
            Content::Scalar(..) | Content::Map(..) | Content::Alias => None,
        }
    }

    /// Tells whether nothing is written there.
    pub(super) fn is_empty(&self) -> bool {
        self.place.is_empty()
    }

    /// Tells whether two values say the same, wherever they are.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Content::Scalar(one, style), Content::Scalar(two, other)) => (one, style) == (two, other),
            (Content::List(one, _), Content::List(two, _)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.says_the_same(two))
            }
            (Content::Map(one, _), Content::Map(two, _)) => {
                let same = |((key, value), (other_key, other_value)): (&(Self, Self), &(Self, Self))| {
                    key.says_the_same(other_key) && value.says_the_same(other_value)
                };
                one.len() == two.len() && one.iter().zip(two).all(same)
            }
            (Content::Alias, Content::Alias) => true,
            (Content::Scalar(..) | Content::List(..) | Content::Map(..) | Content::Alias, _) => false,
        }
    }
}

/// The parser's events with places in bytes, last first.
struct Events<'t> {
    text: &'t str,
    left: Vec<(Event<'t>, Range<usize>)>,
}

impl<'t> Events<'t> {
    fn read(text: &'t str) -> Result<Self, YamlError> {
        // The parser counts characters.
        let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let byte = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
        let bytes = |span: Span| byte(span.start.index())..byte(span.end.index());
        let mut left = Vec::new();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| YamlError::Syntax {
                line: error.marker().line(),
                reason: error.info().to_owned(),
            })?;
            left.push((event, bytes(span)));
        }
        left.reverse();
        Ok(Self { text, left })
    }

    fn documents(&mut self) -> Result<Vec<Node>, YamlError> {
        let mut documents = Vec::new();
        while let Some((event, _)) = self.left.last() {
            if matches!(
                event,
                Event::Nothing
                    | Event::StreamStart
                    | Event::StreamEnd
                    | Event::DocumentStart(_)
                    | Event::DocumentEnd
            ) {
                self.left.pop();
            } else {
                documents.extend(self.node(0)?);
            }
        }
        documents
            .retain(|document| !matches!(&document.content, Content::Scalar(text, _) if text.is_empty()));
        Ok(documents)
    }

    /// Reads a value; `None` at the end of a collection.
    fn node(&mut self, depth: usize) -> Result<Option<Node>, YamlError> {
        let Some((event, place)) = self.left.pop() else { return Ok(None) };
        if depth > MAX_DEPTH {
            return Err(strange(self.text, place.start, "it is nested too deeply for a configuration"));
        }
        let node = match event {
            Event::Alias(_) => Node { place, content: Content::Alias, is_marked: true },
            Event::Scalar(text, style, anchor, tag) => {
                let (style, place) = match style {
                    ScalarStyle::Plain => (Style::Plain, place),
                    ScalarStyle::SingleQuoted => (Style::Quoted, self.quoted(place, '\'')),
                    ScalarStyle::DoubleQuoted => (Style::Quoted, self.quoted(place, '"')),
                    ScalarStyle::Literal | ScalarStyle::Folded => (Style::Block, place),
                };
                let content = Content::Scalar(text.into_owned(), style);
                Node { place, content, is_marked: anchor > 0 || tag.is_some() }
            }
            Event::SequenceStart(anchor, tag) => {
                let mut items = Vec::new();
                let end = self.collect(depth, |item| items.push(item))?;
                let (layout, place) = self.layout(place, end, items.last());
                Node { place, content: Content::List(items, layout), is_marked: anchor > 0 || tag.is_some() }
            }
            Event::MappingStart(anchor, tag) => {
                let mut nodes = Vec::new();
                let end = self.collect(depth, |node| nodes.push(node))?;
                let (layout, place) = self.layout(place, end, nodes.last());
                let content = Content::Map(pairs(nodes), layout);
                Node { place, content, is_marked: anchor > 0 || tag.is_some() }
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Ok(None),
        };
        Ok(Some(node))
    }

    /// Takes the members of a collection, and returns where its end is told.
    fn collect(&mut self, depth: usize, mut take: impl FnMut(Node)) -> Result<usize, YamlError> {
        loop {
            let end = self.left.last().map_or(self.text.len(), |(_, place)| place.start);
            match self.node(depth + 1)? {
                Some(node) => take(node),
                None => return Ok(end),
            }
        }
    }

    /// The end of a block collection is told only by what comes after it, so its last member tells.
    fn layout(&self, start: Range<usize>, end: usize, last: Option<&Node>) -> (Layout, Range<usize>) {
        if self.text[start.start..].starts_with(['[', '{']) {
            // The parser takes the spaces and the comment behind the bracket, too.
            (Layout::Flow, start.start..(end + 1).min(self.text.len()))
        } else {
            (Layout::Block, start.start..last.map_or(start.end, |last| last.place.end))
        }
    }

    /// Ends a quoted scalar at its quote: the parser takes the spaces and the comment behind it, too.
    fn quoted(&self, place: Range<usize>, quote: char) -> Range<usize> {
        let written = &self.text[place.clone()];
        let Some(opening) = written.find(quote) else { return place };
        let mut characters = written[opening + 1..].char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            if character == quote {
                if quote == '\'' && characters.peek().is_some_and(|(_, next)| *next == quote) {
                    characters.next();
                    continue;
                }
                return place.start..place.start + opening + 1 + at + 1;
            }
            if quote == '"' && character == '\\' {
                characters.next();
            }
        }
        place
    }
}

/// Refuses what is at a place.
pub(super) fn strange(text: &str, at: usize, reason: impl Into<String>) -> YamlError {
    let line = text[..at.min(text.len())].matches('\n').count() + 1;
    YamlError::Strange { line, reason: reason.into() }
}

fn pairs(nodes: Vec<Node>) -> Vec<(Node, Node)> {
    let mut nodes = nodes.into_iter();
    let mut pairs = Vec::new();
    while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
        pairs.push((key, value));
    }
    pairs
}
