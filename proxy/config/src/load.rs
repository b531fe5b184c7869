//! From the text of a file and the environment to a checked configuration.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Config,
    check::Checker,
    env,
    problem::{Place, Problem},
    rules,
    schema::{self, Shape},
    tree::{Node, Text},
};

/// A configuration and where its keys were set.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) places: Places,
}

/// Where keys were set.
#[derive(Debug)]
pub(super) struct Places {
    whole: Place,
    known: BTreeMap<String, Place>,
}

impl Config {
    /// Reads a configuration from a TOML text and the environment, which wins. `file` names the text in
    /// problems. Returns all problems at once, in the order of the file.
    pub fn parse(
        file: &str,
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        load(&Self::default(), file, text, env).map(|loaded| loaded.config)
    }

    /// Reads a configuration that another program keeps, such as a resource of Kubernetes. Keys that are absent have their
    /// defaults. Returns all problems at once, with their dotted keys.
    pub fn from_json(json: &Value) -> Result<Self, Vec<Problem>> {
        let tree = Node::from_json(json, &Place::Whole("".into()));
        read(&Self::default(), "", &tree, Vec::new(), true).map(|loaded| loaded.config)
    }

    /// Everything wrong with a configuration made by code, such as a rendered one: the dotted key and the
    /// reason.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = shape_problems(schema::root(), self);
        for (key, message) in rules::problems(self) {
            if !problems.iter().any(|(known, _)| is_within(known, &key)) {
                problems.push((key, message));
            }
        }
        problems
    }
}

/// What the schema finds wrong with a section made by code: the key within the section, and the reason.
pub(super) fn section_problems(section: &str, value: &impl Serialize) -> Vec<(String, String)> {
    let shape = schema::root().property(section).expect("the name is that of a section");
    shape_problems(shape, value)
}

fn shape_problems(shape: Shape<'_>, value: &impl Serialize) -> Vec<(String, String)> {
    let json = serde_json::to_value(value).expect("a configuration is representable as JSON");
    let mut checker = Checker::default();
    checker.check("", shape, &Node::from_json(&json, &Place::Whole("".into())));
    checker.problems.into_iter().map(|problem| (problem.key, problem.message)).collect()
}

/// Reads a configuration over a base, which holds for the keys that nothing sets.
pub(super) fn load(
    base: &Config,
    file: &str,
    text: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Vec<Problem>> {
    let (mut tree, mut problems) = Text::new(file, text).parse();
    let is_toml = problems.is_empty();
    env::overlay(&mut tree, env, &mut problems);
    read(base, file, &tree, problems, is_toml)
}

/// Checks a tree of values, and types it. `problems` were found before; `is_whole` says that the tree is all that was written.
fn read(
    base: &Config,
    file: &str,
    tree: &Node,
    mut problems: Vec<Problem>,
    is_whole: bool,
) -> Result<Loaded, Vec<Problem>> {
    let mut checker = Checker::default();
    let own = checker.check("", schema::root(), tree).unwrap_or_default();
    problems.append(&mut checker.problems);
    let places = Places { whole: Place::Whole(Arc::from(file)), known: checker.places };

    let mut json = serde_json::to_value(base).expect("a configuration is representable as JSON");
    merge(&mut json, own);
    let config = deserialise(&json, &places, &mut problems);
    // What the keys ask of each other means nothing when some of them could not be read.
    if let Some(config) = config.as_ref().filter(|_| is_whole) {
        for (key, message) in rules::problems(config) {
            if !problems.iter().any(|problem| is_within(&problem.key, &key)) {
                problems.push(Problem::new(places.of(&key), key, message));
            }
        }
    }
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, places }),
        _ => {
            problems.sort_by(|a, b| a.place.cmp(&b.place));
            Err(problems)
        }
    }
}

/// Lays one JSON value over another; tables are merged key by key.
pub(super) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// Types the values; what the schema could not judge is found here, section by section.
fn deserialise(json: &Value, places: &Places, problems: &mut Vec<Problem>) -> Option<Config> {
    if let Ok(config) = serde_json::from_value(json.clone()) {
        return Some(config);
    }
    for (section, value) in json.as_object()? {
        let alone = Value::Object(Map::from_iter([(section.clone(), value.clone())]));
        if let Err(error) = serde_json::from_value::<Config>(alone)
            && !problems.iter().any(|problem| is_within(section, &problem.key))
        {
            problems.push(Problem::new(places.of(section), section, error.to_string()));
        }
    }
    None
}

/// Whether a key is another one or stands below it.
fn is_within(outer: &str, key: &str) -> bool {
    !outer.is_empty()
        && key.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

// === impl Places ===

impl Places {
    /// Where a key was set, or else the nearest section above it, or else the file.
    pub(super) fn of(&self, key: &str) -> Place {
        let mut path = key;
        loop {
            if let Some(place) = self.known.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.whole.clone(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
