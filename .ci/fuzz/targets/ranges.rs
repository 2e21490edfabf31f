//! Ranges, and what they mean of content of any size: never a byte that is not there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_protocol::range::{ByteRange, ContentRange, Selection};

fuzz_target!(|input: (u64, &str)| {
    let (size, text) = input;
    if let Ok(range) = text.parse::<ContentRange>() {
        let again: ContentRange = range.to_string().parse().expect("what is written can be read");
        assert_eq!(again, range);
    }
    let Some(ranges) = ByteRange::parse_header(text) else {
        return;
    };
    match Selection::of(&ranges, size) {
        Selection::Part(part) => assert!(part.start < part.end && part.end <= size),
        Selection::Parts(parts) => {
            assert!(parts.len() >= 2 && parts.len() <= ranges.len());
            assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
            assert!(parts.iter().map(|part| u128::from(part.len())).sum::<u128>() <= u128::from(size));
        }
        Selection::Nothing => assert!(ranges.iter().all(|range| range.resolve(size).is_none())),
        Selection::Whole => {}
    }
});
