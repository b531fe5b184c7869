//! Query strings.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::Problem;

/// The first value of a parameter, decoded; `None` if it is absent. Fails if it is not UTF-8.
pub fn first<'a>(query: Option<&'a str>, name: &str) -> Result<Option<Cow<'a, str>>, Problem> {
    all(query, name).next().transpose()
}

/// All values of a parameter, decoded, in order. A value that is not UTF-8 is an error: a topic or position
/// with replacement characters in it would be another one than the client meant.
pub fn all<'a>(query: Option<&'a str>, name: &str) -> impl Iterator<Item = Result<Cow<'a, str>, Problem>> {
    query.unwrap_or_default().split('&').filter_map(move |pair| {
        let (key, value) = form_urlencoded::parse(pair.as_bytes()).next()?;
        let is_text = || percent_decode_str(pair).decode_utf8().is_ok();
        (key == name).then(|| {
            let detail = || format!("the query parameter {name} is not UTF-8 after percent-decoding");
            if is_text() { Ok(value) } else { Err(Problem::bad_request(detail())) }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_must_be_text() {
        let query = Some("a=1&b=%FF&&a=x+%C3%A9&c&a=");
        let values: Result<Vec<_>, _> = all(query, "a").collect();
        assert_eq!(values.unwrap(), ["1", "x \u{e9}", ""]);
        assert_eq!(first(query, "c").unwrap().as_deref(), Some(""));
        assert_eq!(first(query, "d").unwrap(), None);
        assert_eq!(first(None, "a").unwrap(), None);
        assert_eq!(first(query, "b").unwrap_err().status, http::StatusCode::BAD_REQUEST);
    }
}
