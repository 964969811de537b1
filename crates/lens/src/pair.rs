//! Two rows of numbers beside each other.

/// Sums over pairs of numbers, in f64.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pair {
    ab: f64,
    /// Of the first's squares.
    pub(crate) aa: f64,
    /// Of the second's squares.
    pub(crate) bb: f64,
    /// Of the differences' squares.
    pub(crate) apart: f64,
}

impl Pair {
    pub(crate) fn of(a: &[f32], b: &[f32]) -> Self {
        let mut pair = Self::default();
        pair.add(a, b);
        pair
    }

    /// Goes on with two more rows.
    pub(crate) fn add(&mut self, a: &[f32], b: &[f32]) {
        for (&a, &b) in a.iter().zip(b) {
            let (a, b) = (f64::from(a), f64::from(b));
            self.ab += a * b;
            self.aa += a * a;
            self.bb += b * b;
            self.apart += (a - b) * (a - b);
        }
    }

    /// Cosine of the angle between them; 0 where one is all zeros.
    pub(crate) fn cosine(&self) -> f64 {
        self.ab / (self.aa * self.bb).sqrt().max(f64::MIN_POSITIVE)
    }
}
