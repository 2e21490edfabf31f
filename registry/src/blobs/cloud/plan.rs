//! How large the parts of a multipart upload are.

/// How many parts S3 takes (S3 User Guide, "Multipart upload limits"), and Google. Azure takes more.
pub(super) const MOST_PARTS: usize = 10_000;

/// The sizes of parts, by their number alone: the size of the whole upload is not known when its parts are written.
///
/// The first parts are equal, so that a usual layer is cut into few; later ones grow, so that the most parts there can
/// be hold the largest object there can be; then they are equal again, because a part lies in memory whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The size of the first parts. S3 takes none under 5 MiB, but the last.
    pub first_bytes: u64,
    /// How many parts have that size.
    pub equal_parts: usize,
    /// How much each later part is larger than the one before.
    pub growth_bytes: u64,
    /// The size that no part exceeds. S3 takes none over 5 GiB.
    pub most_bytes: u64,
}

/// For objects of up to 5 TiB: 8 MiB a part up to 8,000 MiB, then growing by 400 KiB to 640 MiB, from about 0.5 TiB on.
impl Default for Plan {
    fn default() -> Self {
        Self {
            first_bytes: 8 << 20,
            equal_parts: 1000,
            growth_bytes: 400 << 10,
            most_bytes: 640 << 20,
        }
    }
}

impl Plan {
    /// Returns how many bytes part `index` (from 0) holds, if it is not the last. Never less than the part before.
    pub(super) fn part_bytes(&self, index: usize) -> u64 {
        let grown = u64::try_from(index.saturating_sub(self.equal_parts)).unwrap_or(u64::MAX);
        self.first_bytes
            .saturating_add(grown.saturating_mul(self.growth_bytes))
            .min(self.most_bytes.max(1))
    }

    /// Returns how many bytes all the parts there can be hold.
    pub(super) fn object_bytes(&self) -> u64 {
        (0..MOST_PARTS).map(|index| self.part_bytes(index)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The largest object that S3 takes.
    const MOST_BYTES: u64 = 5 << 40;

    /// Cuts an upload of `size` bytes into parts.
    fn cut(size: u64) -> Vec<u64> {
        let mut parts = Vec::new();
        let mut left = size;
        while left > 0 {
            let part = Plan::default().part_bytes(parts.len()).min(left);
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
                prop_assert!(others.is_sorted());
                prop_assert!(*last <= 5 << 30);
            }
        }

        #[test]
        fn no_part_is_more_than_memory_holds(index in any::<usize>()) {
            prop_assert!(Plan::default().part_bytes(index) <= super::super::MEMORY_BYTES);
        }
    }

    #[test]
    fn the_largest_object_fits_and_a_usual_image_has_equal_parts() {
        assert!(cut(MOST_BYTES).len() <= MOST_PARTS);
        assert!(Plan::default().object_bytes() >= MOST_BYTES);
        let image = cut(3 << 30);
        assert!(image[..image.len() - 1].iter().all(|part| *part == 8 << 20));
    }
}
