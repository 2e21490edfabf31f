//! The headers that decide what is asked for.

use http::{HeaderMap, HeaderName, header};
use wharf_protocol::digest::Digest;
use wharf_protocol::range::{ByteRange, ContentRange};

use super::Refusal;
use crate::metadata::Precondition;
use crate::operation::EntityTags;

/// Returns a header's first value, if it is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the announced length of the body.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &header::CONTENT_LENGTH)?.parse().ok()
}

/// Reads `Range`; what can't be read is as if it weren't there (RFC 9110, "Range").
pub(super) fn range(headers: &HeaderMap) -> Option<Vec<ByteRange>> {
    ByteRange::parse_header(text(headers, &header::RANGE)?)
}

/// Reads a chunk's place and its announced length, which must agree.
pub(super) fn chunk(headers: &HeaderMap) -> Result<(Option<ContentRange>, Option<u64>), Refusal> {
    let length = content_length(headers);
    let Some(value) = headers.get(header::CONTENT_RANGE) else {
        return Ok((None, length));
    };
    let wrong =
        |why: &str| Refusal::ContentRange(format!("{:?} {why}", String::from_utf8_lossy(value.as_bytes())));
    let range: ContentRange = value
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| wrong("must be FIRST-LAST"))?;
    if length.is_some_and(|length| Some(length) != range.length()) {
        return Err(wrong("is not as long as the Content-Length"));
    }
    Ok((Some(range), length))
}

/// Reads `If-None-Match` of a read. What can't be read names nothing.
pub(super) fn if_none_match(headers: &HeaderMap) -> Option<EntityTags> {
    let mut tags = Vec::new();
    for value in headers.get_all(header::IF_NONE_MATCH) {
        for tag in value.to_str().ok()?.split(',').map(str::trim) {
            if tag == "*" {
                return Some(EntityTags::Any);
            }
            // A weak comparison: RFC 9110, "If-None-Match".
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            tags.push(tag.trim_matches('"').to_owned());
        }
    }
    (!tags.is_empty()).then_some(EntityTags::Each(tags))
}

/// Reads what must hold of a tag before it is changed: `If-Match`, else `If-None-Match`.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Precondition, Refusal> {
    if headers.contains_key(header::IF_MATCH) {
        return Ok(match digests(headers, &header::IF_MATCH, "If-Match")? {
            None => Precondition::Exists,
            Some(digests) => Precondition::OneOf(digests),
        });
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        return Ok(match digests(headers, &header::IF_NONE_MATCH, "If-None-Match")? {
            None => Precondition::Absent,
            Some(digests) => Precondition::NoneOf(digests),
        });
    }
    Ok(Precondition::None)
}

/// Reads entity tags that must be digests; `None` is `*`.
///
/// A well-formed tag that is no digest can match nothing of ours, so it is left out.
fn digests(
    headers: &HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<Vec<Digest>>, Refusal> {
    let mut digests = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_not| Refusal::EntityTags(shown))?;
        for tag in text.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(None);
            }
            let quoted = tag.strip_prefix("W/").unwrap_or(tag);
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let inner = inner.ok_or(Refusal::EntityTags(shown))?;
            // RFC 9110, "If-Match": the comparison is strong, so a weak tag matches nothing.
            if quoted == tag || *name != header::IF_MATCH {
                digests.extend(inner.parse::<Digest>());
            }
        }
    }
    Ok(Some(digests))
}
