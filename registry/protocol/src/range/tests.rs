use super::*;
use proptest::prelude::*;

fn one(value: &str, size: u64) -> Option<(u64, u64)> {
    let ranges = ByteRange::parse_header(value).unwrap();
    assert_eq!(ranges.len(), 1);
    ranges.first().unwrap().resolve(size).map(|r| (r.start, r.end))
}

#[test]
fn the_three_forms_resolve() {
    assert_eq!(one("bytes=0-0", 10), Some((0, 1)));
    assert_eq!(one("bytes=2-5", 10), Some((2, 6)));
    assert_eq!(one("bytes=2-", 10), Some((2, 10)));
    assert_eq!(one("bytes=-3", 10), Some((7, 10)));
    assert_eq!(one("bytes=-30", 10), Some((0, 10)));
    assert_eq!(one("bytes=5-99999999999999999999999", 10), Some((5, 10)));
}

#[test]
fn ranges_that_cannot_be_met_resolve_to_nothing() {
    assert_eq!(one("bytes=10-", 10), None);
    assert_eq!(one("bytes=500-0", 1000), None);
    assert_eq!(one("bytes=-0", 10), None);
    assert_eq!(one("bytes=0-", 0), None);
    assert_eq!(one("bytes=-5", 0), None);
}

#[test]
fn what_is_no_range_is_ignored() {
    for value in [
        "",
        "bytes",
        "bytes=",
        "bytes=a-b",
        "bytes=1",
        "bytes=+1-2",
        "lines=1-2",
        "bytes=--1",
        "bytes=,",
    ] {
        assert_eq!(ByteRange::parse_header(value), None, "{value:?}");
    }
    assert_eq!(
        ByteRange::parse_header("bytes=0-1, 4-5,").map(|r| r.len()),
        Some(2)
    );
    assert_eq!(
        ByteRange::parse_header(&format!("bytes={}", "0-1,".repeat(MAX_RANGES + 1))),
        None
    );
    assert_eq!(
        ByteRange::parse_header(&format!("bytes={}", "0-1,".repeat(MAX_RANGES))).map(|r| r.len()),
        Some(MAX_RANGES)
    );
}

fn select(value: &str, size: u64) -> Selection {
    Selection::of(&ByteRange::parse_header(value).unwrap(), size)
}

#[test]
fn several_ranges_keep_their_order_and_lose_those_that_cannot_be_met() {
    let part = |start, end| ResolvedRange { start, end };
    assert_eq!(
        select("bytes=6-7,0-1,90-,-1", 10),
        Selection::Parts(vec![part(6, 8), part(0, 2), part(9, 10)])
    );
    assert_eq!(select("bytes=90-,3-4", 10), Selection::Part(part(3, 5)));
    assert_eq!(select("bytes=90-,10-", 10), Selection::Nothing);
}

#[test]
fn more_than_the_whole_and_many_overlaps_select_the_whole() {
    assert_eq!(select("bytes=0-,0-", 10), Selection::Whole);
    assert_eq!(select("bytes=0-3,2-5,4-7,6-8", 1000), Selection::Whole);
    assert!(matches!(select("bytes=0-3,2-5,4-7", 1000), Selection::Parts(parts) if parts.len() == 3));
    assert!(matches!(select("bytes=0-3,4-7,8-9", 10), Selection::Parts(parts) if parts.len() == 3));
}

#[test]
fn a_chunks_range_has_both_ends_in_order() {
    assert_eq!("0-4".parse(), Ok(ContentRange { first: 0, last: 4 }));
    assert_eq!("bytes 5-9/10".parse(), Ok(ContentRange { first: 5, last: 9 }));
    for text in ["", "5", "5-", "-5", "5-4", "a-b", "0-99999999999999999999"] {
        assert_eq!(text.parse::<ContentRange>(), Err(ContentRangeError), "{text:?}");
    }
}

proptest! {
    #[test]
    fn a_resolved_range_lies_within(value in "bytes=[0-9]{0,20}-[0-9]{0,20}", size: u64) {
        for range in ByteRange::parse_header(&value).unwrap_or_default() {
            if let Some(r) = range.resolve(size) {
                prop_assert!(r.start < r.end && r.end <= size && !r.is_empty());
            }
        }
    }

    #[test]
    fn a_selection_is_never_more_than_the_whole(value in "bytes=[0-9,-]{0,60}", size in 0u64..200) {
        let Some(ranges) = ByteRange::parse_header(&value) else { return Ok(()) };
        if let Selection::Parts(parts) = Selection::of(&ranges, size) {
            prop_assert!(parts.len() >= 2);
            prop_assert!(parts.iter().map(|part| part.len()).sum::<u64>() <= size);
        }
    }
}
