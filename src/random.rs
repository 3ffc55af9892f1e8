//! Chance with a seed, for jitter and choice. Not for secrets.
//!
//! Each worker owns one generator, so a run with known seeds can be repeated.

/// A seeded generator; one per worker.
#[derive(Clone, Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// The generator that always gives the same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Uniform in `[0, n)`; 0 if `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        if n == 0 { 0 } else { self.0.u32(..n) }
    }

    /// Uniform in `[0, n)`, for what does not fit 32 bits; 0 if `n` is 0.
    pub fn below_u64(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.0.u64(..n) }
    }

    /// 64 bits, each as likely to be one as zero.
    pub fn bits(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Uniform in `[low, high)`; `low` if that is empty.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        let value = low + (high - low) * self.0.f64();
        // Rounding can reach `high`, and an empty range has nothing above `low`.
        if low <= value && value < high { value } else { low }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut random = Random::seeded(seed);
            [(); 8].map(|()| random.below(1_000_000))
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::seeded(3);
        let mut seen = [false; 5];
        for _ in 0..1_000 {
            seen[random.below(5) as usize] = true;
            assert!(random.below_u64(1 << 40) < 1 << 40);
            let value = random.between(0.8, 1.2);
            assert!((0.8..1.2).contains(&value));
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!((random.below(0), random.below_u64(0)), (0, 0));
        assert_eq!(random.between(2.0, 2.0), 2.0);
        assert_eq!(random.between(2.0, 1.0), 2.0);
    }
}
