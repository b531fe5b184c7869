//! Small helpers for texts in logs and answers.

use std::error::Error;

/// The longest reason of a webhook that is passed on, in bytes.
const REASON_BYTES_MAX: usize = 200;

/// An error with all its causes, for one log line.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// A webhook's reason as it may be shown to a client: bounded, without control characters.
pub(crate) fn presentable(reason: &str) -> Box<str> {
    let plain = reason.chars().filter(|c| !c.is_control());
    let mut bytes = 0;
    plain
        .take_while(|c| {
            bytes += c.len_utf8();
            bytes <= REASON_BYTES_MAX
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cleaned_and_cut() {
        assert_eq!(&*presentable("account\r\n closed\u{7f}"), "account closed");
        assert_eq!(presentable(&"é".repeat(300)).len(), 200);
    }
}
