//! Chance from the seed: SplitMix64, whose every seed is a good one.

#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        // Seeds that follow each other must not give runs that look alike.
        let mut rng = Rng(seed ^ 0x9e37_79b9_7f4a_7c15);
        rng.next();
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `low..high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        debug_assert!(low < high);
        low + self.next() % (high - low)
    }

    pub(crate) fn below(&mut self, high: usize) -> usize {
        self.range(0, high as u64) as usize
    }

    /// True in so many of a thousand.
    pub(crate) fn in_thousand(&mut self, many: u64) -> bool {
        self.next() % 1000 < many
    }
}
