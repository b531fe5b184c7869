//! Values with the place they stand at, before their types are known to be right.

use std::{ops::Range, sync::Arc};

use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problem::{Place, Problem};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Raw,
}

/// A value whose type has not been checked.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    Text(String),
    /// The text of an environment variable, which becomes what its key needs.
    Untyped(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    Date,
    Null,
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table, where it stands, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

/// A text and its name, to turn offsets into lines.
pub(super) struct Text<'a> {
    file: Arc<str>,
    text: &'a str,
}

// === impl Node ===

impl Node {
    /// A value that stands nowhere, for configurations made by code.
    pub(super) fn from_json(value: &Value, place: &Place) -> Self {
        let value = match value {
            Value::Null => Raw::Null,
            Value::Bool(value) => Raw::Bool(*value),
            Value::Number(number) => match number.as_i128() {
                Some(integer) => Raw::Integer(integer),
                None => Raw::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Raw::Text(text.clone()),
            Value::Array(items) => Raw::List(items.iter().map(|item| Self::from_json(item, place)).collect()),
            Value::Object(map) => Raw::Table(
                map.iter()
                    .map(|(name, value)| Entry {
                        name: name.clone(),
                        place: place.clone(),
                        node: Self::from_json(value, place),
                    })
                    .collect(),
            ),
        };
        Self { place: place.clone(), value }
    }

    /// Puts a value at a path, making the tables on the way.
    pub(super) fn insert(&mut self, path: &[&str], node: Self) {
        let Some((name, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        if !matches!(self.value, Raw::Table(_)) {
            self.value = Raw::Table(Vec::new());
        }
        let Raw::Table(entries) = &mut self.value else { unreachable!("it was just made a table") };
        let position = entries.iter().position(|entry| entry.name == *name).unwrap_or_else(|| {
            let empty = Self { place: node.place.clone(), value: Raw::Table(Vec::new()) };
            entries.push(Entry { name: (*name).to_owned(), place: node.place.clone(), node: empty });
            entries.len() - 1
        });
        if rest.is_empty() {
            entries[position].place = node.place.clone();
        }
        entries[position].node.insert(rest, node);
    }
}

// === impl Raw ===

impl Raw {
    /// What the value is, for messages.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Untyped(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "true or false",
            Self::Date => "a date or time",
            Self::Null => "nothing",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

// === impl Text ===

impl<'a> Text<'a> {
    pub(super) fn new(file: &str, text: &'a str) -> Self {
        Self { file: file.into(), text: text.strip_prefix('\u{feff}').unwrap_or(text) }
    }

    /// Parses the text as TOML; what can be understood is returned even if there are problems.
    pub(super) fn parse(&self) -> (Node, Vec<Problem>) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let problems = errors.iter().map(|error| {
            let place =
                error.span().map_or_else(|| Place::Whole(self.file.clone()), |span| self.place(&span));
            Problem::new(place, "", format!("not TOML: {}", error.message()))
        });
        let problems = problems.collect();
        (Node { place: Place::Whole(self.file.clone()), value: self.table(table.get_ref()) }, problems)
    }

    fn table(&self, table: &DeTable<'_>) -> Raw {
        // After a syntax error the parser leaves values without any text in the place of what it lost.
        let was_read = |value: &Spanned<DeValue<'_>>| value.get_ref().is_table() || !value.span().is_empty();
        let entries = table.iter().filter(|(_, value)| was_read(value)).map(|(key, value)| Entry {
            name: key.get_ref().to_string(),
            place: self.place(&key.span()),
            node: self.node(value),
        });
        Raw::Table(entries.collect())
    }

    fn node(&self, spanned: &Spanned<DeValue<'_>>) -> Node {
        let value = match spanned.get_ref() {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Raw::Integer(integer),
                Err(_) => Raw::Float(f64::INFINITY),
            },
            DeValue::Float(float) => Raw::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Raw::Bool(*value),
            DeValue::Datetime(_) => Raw::Date,
            DeValue::Array(items) => Raw::List(items.iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => self.table(table),
        };
        Node { place: self.place(&spanned.span()), value }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        Place::At { file: self.file.clone(), line, column }
    }
}

/// Reads the text of an environment variable as a TOML value, such as a list or an inline table.
pub(super) fn value_of(variable: &Place, text: &str) -> Result<Node, String> {
    let spanned = DeValue::parse(text).map_err(|error| error.message().to_owned())?;
    let mut node = Text::new("", text).node(&spanned);
    relocate(&mut node, variable);
    Ok(node)
}

fn relocate(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Raw::List(items) => items.iter_mut().for_each(|item| relocate(item, place)),
        Raw::Table(entries) => entries.iter_mut().for_each(|entry| {
            entry.place = place.clone();
            relocate(&mut entry.node, place);
        }),
        _ => {}
    }
}
