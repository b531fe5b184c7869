//! What a token may do with a topic.

use serde::Deserialize;

use super::{
    Action,
    pattern::{PATTERN_BYTES_MAX, PATTERNS_MAX, matches},
};
use crate::{config::auth::Permission, topic::TopicName};

/// Which topics are allowed for one action, as a claim or a webhook's answer says it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Allow {
    /// All topics, or none.
    Every(bool),
    /// The topics that one of the patterns matches.
    Matching(Vec<String>),
}

/// Permissions for both actions. What is not said is not allowed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct Permissions {
    /// For subscribing.
    pub(crate) subscribe: Option<Allow>,
    /// For publishing.
    pub(crate) publish: Option<Allow>,
}

// === impl Allow ===

impl Allow {
    fn allows(&self, topic: &str) -> bool {
        match self {
            Self::Every(all) => *all,
            Self::Matching(patterns) => patterns.iter().any(|pattern| matches(pattern, topic)),
        }
    }

    fn is_bounded(&self) -> bool {
        match self {
            Self::Every(_) => true,
            Self::Matching(patterns) => {
                patterns.len() <= PATTERNS_MAX
                    && patterns.iter().all(|pattern| pattern.len() <= PATTERN_BYTES_MAX)
            }
        }
    }
}

// === impl Permissions ===

impl Permissions {
    /// The permissions that a list of names gives: each for any topic. Unknown names give nothing.
    pub(crate) fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut given = Self::default();
        for name in names {
            match name {
                "topic:read" => given.subscribe = Some(Allow::Every(true)),
                "topic:write" => given.publish = Some(Allow::Every(true)),
                _ => {}
            }
        }
        given
    }

    /// The permissions that the configuration gives by default.
    pub(crate) fn of_settings(permissions: &[Permission]) -> Self {
        Self::of_names(permissions.iter().map(|permission| match permission {
            Permission::Read => "topic:read",
            Permission::Write => "topic:write",
        }))
    }

    /// Whether the action is allowed on the topic.
    pub(crate) fn allow(&self, action: Action, topic: &TopicName) -> bool {
        let rule = match action {
            Action::Subscribe => &self.subscribe,
            Action::Publish => &self.publish,
        };
        rule.as_ref().is_some_and(|rule| rule.allows(topic.as_str()))
    }

    /// Whether at least one action is spoken of.
    pub(crate) fn says_something(&self) -> bool {
        self.subscribe.is_some() || self.publish.is_some()
    }

    /// Whether the lists keep to the bounds on number and length.
    pub(crate) fn is_bounded(&self) -> bool {
        [&self.subscribe, &self.publish].into_iter().flatten().all(Allow::is_bounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    #[test]
    fn what_is_not_said_is_not_allowed() {
        let given: Permissions = serde_json::from_str(r#"{"subscribe": ["orders-*"]}"#).unwrap();
        assert!(given.allow(Action::Subscribe, &topic("orders-1")));
        assert!(!given.allow(Action::Subscribe, &topic("users-1")));
        assert!(!given.allow(Action::Publish, &topic("orders-1")));
    }

    #[test]
    fn booleans_speak_for_every_topic() {
        let given: Permissions = serde_json::from_str(r#"{"subscribe": false, "publish": true}"#).unwrap();
        assert!(!given.allow(Action::Subscribe, &topic("a")) && given.allow(Action::Publish, &topic("a")));
        assert!(given.says_something() && !Permissions::default().says_something());
    }

    #[test]
    fn names_give_every_topic() {
        let read = Permissions::of_names(["topic:read", "topic:fly"]);
        assert!(read.allow(Action::Subscribe, &topic("a")) && !read.allow(Action::Publish, &topic("a")));
    }

    #[test]
    fn lists_are_bounded() {
        let many = Permissions {
            subscribe: Some(Allow::Matching(vec!["a".into(); PATTERNS_MAX + 1])),
            publish: None,
        };
        let long = Permissions {
            subscribe: None,
            publish: Some(Allow::Matching(vec!["a".repeat(PATTERN_BYTES_MAX + 1)])),
        };
        assert!(!many.is_bounded() && !long.is_bounded());
    }
}
