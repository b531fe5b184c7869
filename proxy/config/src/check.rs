//! Checks values against the schema, all of them, and turns what is right into JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::{
    format,
    nearest::{nearest, nearest_key},
    problem::{Place, Problem},
    schema::{Kind, Shape},
    secret::REDACTED,
    tree::{Entry, Node, Raw, value_of},
};

/// Keys that are known and rejected, with the reason.
const RESERVED: [(&str, &str); 1] = [(
    "distributed_state.merkle_tree_rebuild_threshold",
    "is not needed: the tree follows each change and is never rebuilt; remove the key",
)];

/// Why a key is known but not accepted.
pub(super) fn reserved(path: &str) -> Option<&'static str> {
    RESERVED.iter().find(|(name, _)| *name == path).map(|(_, reason)| *reason)
}

/// Collects what is wrong, and where every key stands.
#[derive(Default)]
pub(super) struct Checker {
    pub(super) problems: Vec<Problem>,
    pub(super) places: BTreeMap<String, Place>,
}

/// A value on its way through the checker.
#[derive(Clone, Copy)]
struct Subject<'a> {
    path: &'a str,
    shape: Shape<'a>,
    place: &'a Place,
}

// === impl Checker ===

impl Checker {
    /// Checks a value; returns it as JSON without the parts that are wrong.
    pub(super) fn check(&mut self, path: &str, shape: Shape<'_>, node: &Node) -> Option<Value> {
        let subject = Subject { path, shape, place: &node.place };
        let kind = shape.kind();
        match (&node.value, &kind) {
            (Raw::Null, _) if shape.is_optional() => Some(Value::Null),
            (Raw::Untyped(text), _) => self.untyped(subject, &kind, text),
            (_, Kind::Any) => Some(to_json(node)),
            (Raw::Table(entries), Kind::Table) => Some(self.table(subject, entries)),
            (Raw::List(items), Kind::List) => Some(self.list(subject, items)),
            (Raw::Text(text), Kind::List) if has_plain_items(shape) => {
                Some(self.split(subject, text, Raw::Text))
            }
            (Raw::Text(text), Kind::Choice(words)) => self.choice(subject, words, text),
            (Raw::Text(text), Kind::Text) => self.text(subject, text),
            (Raw::Bool(value), Kind::Bool) => Some(Value::Bool(*value)),
            (Raw::Integer(value), Kind::Integer) => self.integer(subject, *value),
            (Raw::Integer(value), Kind::Number) => self.number(subject, *value as f64),
            (Raw::Float(value), Kind::Number) => self.number(subject, *value),
            (other, kind) => {
                self.fail(subject, format!("must be {}, not {}", wanted(kind), other.describe()))
            }
        }
    }

    /// Notes a problem; the value is left out.
    fn fail(&mut self, subject: Subject<'_>, message: impl Into<String>) -> Option<Value> {
        self.problems.push(Problem::new(subject.place.clone(), subject.path, message));
        None
    }

    fn table(&mut self, table: Subject<'_>, entries: &[Entry]) -> Value {
        let mut map = Map::new();
        for entry in entries {
            let path = join(table.path, &entry.name);
            let shape = table.shape.property(&entry.name).or_else(|| table.shape.other_properties());
            let Some(shape) = shape else {
                self.unknown(table, &path, entry);
                continue;
            };
            self.places.insert(path.clone(), entry.place.clone());
            if let Some(value) = self.check(&path, shape, &entry.node) {
                map.insert(entry.name.clone(), value);
            }
        }
        let is_absent = |name: &&str| !entries.iter().any(|entry| entry.name == *name);
        for name in table.shape.required().filter(is_absent) {
            self.fail(table, format!("lacks the key {name}"));
        }
        Value::Object(map)
    }

    fn unknown(&mut self, table: Subject<'_>, path: &str, entry: &Entry) {
        let reason = reserved(path);
        let mut problem = Problem::new(entry.place.clone(), path, reason.unwrap_or("is not a known key"));
        if reason.is_none() {
            problem.nearest = nearest_key(path, table.shape.properties().map(|(name, _)| name));
        }
        self.problems.push(problem);
    }

    fn list(&mut self, list: Subject<'_>, items: &[Node]) -> Value {
        let Some(shape) = list.shape.items() else {
            return Value::Array(items.iter().map(to_json).collect());
        };
        let check = |(index, item): (usize, &Node)| {
            let path = format!("{}[{index}]", list.path);
            self.places.insert(path.clone(), item.place.clone());
            self.check(&path, shape, item)
        };
        Value::Array(items.iter().enumerate().filter_map(check).collect())
    }

    /// A list written as one text with commas.
    fn split(&mut self, list: Subject<'_>, text: &str, item: fn(String) -> Raw) -> Value {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let items: Vec<_> =
            parts.map(|part| Node { place: list.place.clone(), value: item(part.to_owned()) }).collect();
        self.list(list, &items)
    }

    fn choice(&mut self, subject: Subject<'_>, words: &[&str], text: &str) -> Option<Value> {
        if words.contains(&text) {
            return Some(Value::String(text.to_owned()));
        }
        let mut problem = Problem::new(
            subject.place.clone(),
            subject.path,
            format!("must be one of {}, not \"{text}\"", words.join(", ")),
        );
        problem.nearest = nearest(text, words.iter().copied()).map(|word| format!("\"{word}\""));
        self.problems.push(problem);
        None
    }

    fn text(&mut self, subject: Subject<'_>, text: &str) -> Option<Value> {
        let (min, max) = subject.shape.lengths();
        let length = text.chars().count() as u64;
        if length < min || length > max {
            let message = match (length, max) {
                (0, _) => "must not be empty".to_owned(),
                (_, u64::MAX) => format!("must have at least {min} characters, not {length}"),
                _ => format!("must have {min} to {max} characters, not {length}"),
            };
            return self.fail(subject, message);
        }
        if subject.shape.is_secret() && text == REDACTED {
            return self.fail(subject, "is the placeholder of a shown configuration; put the secret itself");
        }
        match subject.shape.format().and_then(|format| format::fault(format, text)) {
            Some(fault) if subject.shape.is_secret() => self.fail(subject, fault),
            Some(fault) => self.fail(subject, format!("{fault}, not \"{text}\"")),
            None => Some(Value::String(text.to_owned())),
        }
    }

    fn integer(&mut self, subject: Subject<'_>, value: i128) -> Option<Value> {
        let bound = |bound: Option<&Value>| bound.and_then(as_i128);
        let (min, max) = (bound(subject.shape.minimum()), bound(subject.shape.maximum()));
        if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) {
            return self.fail(subject, format!("must be {}, not {value}", range(min, max)));
        }
        match Number::from_i128(value) {
            Some(number) => Some(Value::Number(number)),
            None => self.fail(subject, format!("{value} is too large")),
        }
    }

    fn number(&mut self, subject: Subject<'_>, value: f64) -> Option<Value> {
        let bound = |bound: Option<&Value>| bound.and_then(Value::as_f64);
        let (min, max) = (bound(subject.shape.minimum()), bound(subject.shape.maximum()));
        if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) {
            return self.fail(subject, format!("must be {}, not {value}", range(min, max)));
        }
        match Number::from_f64(value) {
            Some(number) => Some(Value::Number(number)),
            None => self.fail(subject, "must be a finite number"),
        }
    }

    /// The text of an environment variable, read as what its key needs.
    fn untyped(&mut self, subject: Subject<'_>, kind: &Kind<'_>, text: &str) -> Option<Value> {
        let is_toml = matches!(text.trim_start().bytes().next(), Some(b'[' | b'{'));
        let typed = |value: Raw| Node { place: subject.place.clone(), value };
        let node = match kind {
            _ if text.is_empty() && subject.shape.is_optional() => typed(Raw::Null),
            Kind::Text | Kind::Choice(_) => typed(Raw::Text(text.to_owned())),
            Kind::List if !is_toml => return Some(self.split(subject, text, Raw::Untyped)),
            Kind::Bool => typed(text.parse().map_or_else(|_| Raw::Text(text.to_owned()), Raw::Bool)),
            Kind::Integer => typed(text.parse().map_or_else(|_| Raw::Text(text.to_owned()), Raw::Integer)),
            Kind::Number => typed(text.parse().map_or_else(|_| Raw::Text(text.to_owned()), Raw::Float)),
            Kind::Table | Kind::List | Kind::Any => match value_of(subject.place, text) {
                Ok(node) => node,
                Err(_) if *kind == Kind::Any => typed(Raw::Text(text.to_owned())),
                Err(error) => return self.fail(subject, format!("not a TOML value: {error}")),
            },
        };
        self.check(subject.path, subject.shape, &node)
    }
}

/// The path of a key in a table.
pub(super) fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

fn has_plain_items(shape: Shape<'_>) -> bool {
    shape.items().is_some_and(|item| matches!(item.kind(), Kind::Text | Kind::Choice(_)))
}

fn wanted(kind: &Kind<'_>) -> String {
    match kind {
        Kind::Table => "a table".to_owned(),
        Kind::List => "a list".to_owned(),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::Integer => "an integer".to_owned(),
        Kind::Number => "a number".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Text => "a text".to_owned(),
        Kind::Any => "a value".to_owned(),
    }
}

fn range<T: std::fmt::Display>(min: Option<T>, max: Option<T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("between {min} and {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "a number".to_owned(),
    }
}

fn as_i128(value: &Value) -> Option<i128> {
    value.as_number().and_then(Number::as_i128)
}

/// A value that the schema does not describe, as it is.
fn to_json(node: &Node) -> Value {
    match &node.value {
        Raw::Text(text) | Raw::Untyped(text) => Value::String(text.clone()),
        Raw::Integer(value) => Number::from_i128(*value).map_or(Value::Null, Value::Number),
        Raw::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
        Raw::Bool(value) => Value::Bool(*value),
        Raw::Date | Raw::Null => Value::Null,
        Raw::List(items) => Value::Array(items.iter().map(to_json).collect()),
        Raw::Table(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.name.clone(), to_json(&entry.node))).collect())
        }
    }
}
