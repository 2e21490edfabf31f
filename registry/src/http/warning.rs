//! `Warning` headers (distribution-spec, "Warnings"): what clients show to people.

use std::fmt;

use axum::response::Response;
use http::{HeaderValue, header};

/// How many bytes all of an answer's warnings have at most.
const MOST_BYTES: usize = 4096;

/// Adds a warning for each text, as long as there is room for it whole.
pub(super) fn add(answer: &mut Response, texts: impl IntoIterator<Item = impl fmt::Display>) {
    let mut left = MOST_BYTES;
    for text in texts {
        let value = value(&text.to_string());
        let Some(rest) = left.checked_sub(value.len()) else {
            return;
        };
        left = rest;
        // Printable ASCII alone is left in it.
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().append(header::WARNING, value);
        }
    }
}

/// Writes a warning: code 299, no agent, no date, and the text in quotes. What a text that users wrote may hold and a
/// quoted string may not is escaped, or a question mark.
fn value(text: &str) -> String {
    let mut value = "299 - \"".to_owned();
    for character in text.chars() {
        match character {
            '"' | '\\' => value.extend(['\\', character]),
            ' '..='~' => value.push(character),
            _ => value.push('?'),
        }
    }
    value.push('"');
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_the_text_or_the_header_is_escaped() {
        assert_eq!(
            value("a \"b\\ \r\nSet-Cookie: x=ü\u{0}"),
            "299 - \"a \\\"b\\\\ ??Set-Cookie: x=??\""
        );
    }

    #[test]
    fn no_more_than_4096_bytes_are_sent_and_none_of_them_cut() {
        let mut answer = super::super::answer::empty(http::StatusCode::OK);
        add(&mut answer, (0..100).map(|n| format!("{n}: {}", "x".repeat(100))));
        let warnings: Vec<&HeaderValue> = answer.headers().get_all(header::WARNING).iter().collect();
        let bytes: usize = warnings.iter().map(|warning| warning.len()).sum();
        assert!((3900..=4096).contains(&bytes), "{bytes}");
        assert!(
            warnings
                .iter()
                .all(|warning| warning.as_bytes().ends_with(b"x\""))
        );
    }
}
