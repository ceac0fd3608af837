//! Numbers that look random.

/// SplitMix64, of the same seed in each run: a failure can be had again.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number from 0 on, below the limit.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) % u64::from(limit)).expect("it is below a u32")
    }

    /// A text of one of the sorts that are mistaken for something else.
    pub(crate) fn text(&mut self) -> String {
        const TEXTS: [&str; 6] = [
            "Café № 7",
            "say \"hi\"\\",
            "emoji 🎷🎻",
            "two\nlines\tand a tab",
            "'; DROP TABLE track; --",
            "",
        ];
        format!("{} {}", TEXTS[self.below(6) as usize], self.below(1000))
    }
}
