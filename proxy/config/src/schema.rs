//! The JSON schema of [`Config`], and a view of it for the code that checks, compares and documents keys.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

static INLINED: LazyLock<Value> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
});

/// The JSON schema (draft 2020-12) of the configuration, for editors and other tools.
pub fn json_schema() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>().to_value()
}

/// One place of the schema: a key and what may stand there.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a>(&'a Value);

/// What kind of value a key takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind<'a> {
    /// A section, with known keys or with any.
    Table,
    /// A list.
    List,
    /// One of a few words.
    Choice(Vec<&'a str>),
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// A text.
    Text,
    /// Something that only its own deserialiser can judge.
    Any,
}

/// A key with what it inherits from the sections above it.
#[derive(Clone)]
pub(crate) struct Key {
    /// The dotted path; the tables of a list are written `list[]`.
    pub(crate) path: String,
    /// What may stand there.
    pub(crate) shape: Shape<'static>,
    /// Whether a change takes effect without a restart.
    pub(crate) reload: bool,
}

/// The schema of the whole configuration.
pub(crate) fn root() -> Shape<'static> {
    Shape(&INLINED)
}

/// Every section and key, in the order of the types.
pub(crate) fn keys() -> &'static [Key] {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let mut keys = Vec::new();
        collect("", root(), false, &mut keys);
        keys
    });
    &KEYS
}

/// The key with a path, where list positions count as `[]`.
pub(crate) fn key(path: &str) -> Option<&'static Key> {
    keys().iter().find(|key| key.path == path)
}

fn collect(path: &str, shape: Shape<'static>, reload: bool, keys: &mut Vec<Key>) {
    for (name, child) in shape.properties() {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let reload = child.flag("x-reload").unwrap_or(reload);
        keys.push(Key { path: path.clone(), shape: child, reload });
        collect(&path, child, reload, keys);
        if let Some(item) = child.items() {
            collect(&format!("{path}[]"), item, reload, keys);
        }
    }
}

// === impl Shape ===

impl<'a> Shape<'a> {
    /// What kind of value is wanted.
    pub(crate) fn kind(self) -> Kind<'a> {
        if let Some(words) = self.words() {
            return Kind::Choice(words);
        }
        match self.type_name() {
            Some("object") => Kind::Table,
            Some("array") => Kind::List,
            Some("integer") => Kind::Integer,
            Some("number") => Kind::Number,
            Some("boolean") => Kind::Bool,
            Some("string") => Kind::Text,
            _ => Kind::Any,
        }
    }

    /// Whether the key may be absent without a default taking its place.
    pub(crate) fn is_optional(self) -> bool {
        let null_type = self.0["type"].as_array().is_some_and(|types| types.iter().any(|t| t == "null"));
        let null_branch = |key: &str| {
            self.0[key].as_array().is_some_and(|all| all.iter().any(|branch| branch["type"] == "null"))
        };
        null_type || null_branch("anyOf") || null_branch("oneOf")
    }

    /// The keys of a section.
    pub(crate) fn properties(self) -> impl Iterator<Item = (&'a str, Self)> {
        let own = self.present().0["properties"].as_object();
        own.into_iter().flatten().map(|(name, shape)| (name.as_str(), Self(shape)))
    }

    /// The key of a section with that name.
    pub(crate) fn property(self, name: &str) -> Option<Self> {
        self.present().0["properties"].get(name).map(Self)
    }

    /// The keys of a section that have no default and must be there.
    pub(crate) fn required(self) -> impl Iterator<Item = &'a str> {
        self.present().0["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// What the keys of a section are that are not known by name.
    pub(crate) fn other_properties(self) -> Option<Self> {
        self.present().0.get("additionalProperties").filter(|other| other.is_object()).map(Self)
    }

    /// What stands in a list.
    pub(crate) fn items(self) -> Option<Self> {
        self.present().0.get("items").map(Self)
    }

    /// The words of a choice with their meaning.
    pub(crate) fn choices(self) -> Vec<(&'a str, Option<&'a str>)> {
        let branches = ["oneOf", "anyOf"].into_iter().find_map(|key| self.present().0[key].as_array());
        let described = branches.into_iter().flatten().flat_map(|branch| {
            let text = branch["description"].as_str();
            let many = branch["enum"].as_array().into_iter().flatten();
            many.chain(branch.get("const")).filter_map(Value::as_str).map(move |word| (word, text))
        });
        let plain = self.present().0["enum"].as_array().into_iter().flatten();
        described.chain(plain.filter_map(Value::as_str).map(|word| (word, None))).collect()
    }

    /// The description, with the line breaks of the source removed; paragraphs stay.
    pub(crate) fn description(self) -> String {
        let text = self.0["description"].as_str().unwrap_or_default();
        text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
    }

    /// The value that holds when the key is absent.
    pub(crate) fn default(self) -> Option<&'a Value> {
        self.0.get("default").filter(|value| !value.is_null())
    }

    /// A value to show for a key without a default.
    pub(crate) fn example(self) -> Option<&'a Value> {
        self.present().0["examples"].get(0).or_else(|| self.0["examples"].get(0))
    }

    /// The smallest allowed number.
    pub(crate) fn minimum(self) -> Option<&'a Value> {
        self.present().0.get("minimum")
    }

    /// The largest allowed number.
    pub(crate) fn maximum(self) -> Option<&'a Value> {
        self.present().0.get("maximum")
    }

    /// The allowed lengths of a text, in characters.
    pub(crate) fn lengths(self) -> (u64, u64) {
        let bound = |key: &str| self.present().0[key].as_u64();
        (bound("minLength").unwrap_or(0), bound("maxLength").unwrap_or(u64::MAX))
    }

    /// The name of the form a text must have.
    pub(crate) fn format(self) -> Option<&'a str> {
        self.present().0["format"].as_str()
    }

    /// The unit of a number.
    pub(crate) fn unit(self) -> Option<&'a str> {
        self.0["x-unit"].as_str()
    }

    /// Whether the value must not be printed.
    pub(crate) fn is_secret(self) -> bool {
        self.flag("x-secret") == Some(true) || self.present().flag("x-secret") == Some(true)
    }

    fn flag(self, name: &str) -> Option<bool> {
        self.0[name].as_bool()
    }

    /// The schema without the branch that stands for an absent value.
    fn present(self) -> Self {
        let branches = self.0["anyOf"].as_array();
        let null_first_or_last = branches.filter(|all| all.len() == 2);
        let real = null_first_or_last.and_then(|all| {
            let has_null = all.iter().any(|branch| branch["type"] == "null");
            all.iter().find(|branch| has_null && branch["type"] != "null")
        });
        real.map_or(self, Self)
    }

    fn type_name(self) -> Option<&'a str> {
        match &self.present().0["type"] {
            Value::String(name) => Some(name),
            Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
            _ => None,
        }
    }

    /// The words of a choice, if every branch is one.
    fn words(self) -> Option<Vec<&'a str>> {
        let shape = self.present().0;
        let branches = ["oneOf", "anyOf"].into_iter().find_map(|key| shape[key].as_array());
        let only_words = branches.is_none_or(|all| {
            all.iter()
                .all(|branch| branch.get("const").is_some_and(Value::is_string) || branch["enum"].is_array())
        });
        let words: Vec<_> = self.choices().into_iter().map(|(word, _)| word).collect();
        (only_words && !words.is_empty()).then_some(words)
    }
}
