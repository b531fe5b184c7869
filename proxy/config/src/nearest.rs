//! Guesses what was meant by a name that is not known.

use strsim::damerau_levenshtein;

use super::schema;

/// The candidate that differs from `name` by at most a third of its letters, if any.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The key that was probably meant by an unknown one: a sibling spelled alike, the same name in another
/// section, or any path spelled alike.
pub(super) fn nearest_key<'a>(path: &str, siblings: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let elsewhere = || {
        let mut same = schema::keys().iter().map(|key| key.path.as_str());
        same.find(|known| known.rsplit('.').next() == Some(name) && known.contains('.'))
    };
    nearest(name, siblings)
        .or_else(elsewhere)
        .or_else(|| nearest(path, schema::keys().iter().map(|key| key.path.as_str())))
        .map(str::to_owned)
}
