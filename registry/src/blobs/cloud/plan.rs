//! How large the parts of a multipart upload are.

/// The largest object that S3 takes.
#[cfg(test)]
const MOST_BYTES: u64 = 5 << 40;

/// How many parts S3 takes.
#[cfg(test)]
const MOST_PARTS: usize = 10_000;

/// The size of the first parts. S3 takes none under 5 MiB, but the last.
const FIRST_BYTES: u64 = 8 << 20;

/// How many parts have the first size, before they begin to grow: uploads of up to 8,000 MiB.
const EQUAL_PARTS: u64 = 1000;

/// How much each later part is larger than the one before: enough for 5 TiB in 10,000 parts.
const GROWTH_BYTES: u64 = 132 << 10;

/// Returns how many bytes part `index` (from 0) holds, if it is not the last. Never less than the part before.
///
/// The size of the whole upload is not known when its parts are written, so they grow as it does.
pub(super) fn part_bytes(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    FIRST_BYTES.saturating_add(index.saturating_sub(EQUAL_PARTS).saturating_mul(GROWTH_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cuts an upload of `size` bytes into parts.
    fn cut(size: u64) -> Vec<u64> {
        let mut parts = Vec::new();
        let mut left = size;
        while left > 0 {
            let part = part_bytes(parts.len()).min(left);
            parts.push(part);
            left -= part;
        }
        parts
    }

    proptest! {
        #[test]
        fn any_object_is_cut_into_parts_that_the_store_takes(size in 0..=MOST_BYTES) {
            let parts = cut(size);
            prop_assert!(parts.len() <= MOST_PARTS, "{} parts", parts.len());
            prop_assert_eq!(parts.iter().sum::<u64>(), size);
            if let Some((last, others)) = parts.split_last() {
                prop_assert!(others.iter().all(|part| (5 << 20..=5 << 30).contains(part)));
                prop_assert!(*last <= 5 << 30);
            }
        }
    }

    #[test]
    fn the_largest_object_fits_and_a_usual_image_has_equal_parts() {
        assert!(cut(MOST_BYTES).len() <= MOST_PARTS);
        let image = cut(3 << 30);
        assert!(image[..image.len() - 1].iter().all(|part| *part == FIRST_BYTES));
    }
}
