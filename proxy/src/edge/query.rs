//! Query strings.

use std::borrow::Cow;

/// The first value of a parameter, decoded; `None` if it is absent.
pub fn first<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    all(query, name).next()
}

/// All values of a parameter, decoded, in order.
pub fn all<'a>(query: Option<&'a str>, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter(move |(key, _)| key == name)
        .map(|(_, value)| value)
}
