//! A mean and how well it is known.

/// The mean of numbers that come one by one, and their spread about it, by Welford's recurrence: no sum of squares that
/// cancels.
///
/// ```
/// use foretoken::eval::Mean;
/// let mut mean = Mean::default();
/// [1.0, 2.0, 3.0, 6.0].into_iter().for_each(|x| mean.push(x));
/// assert_eq!((mean.count(), mean.mean()), (4, 3.0));
/// assert!((mean.standard_error().unwrap() - (14.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    count: u64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

impl Mean {
    /// One number more.
    pub fn push(&mut self, x: f64) {
        self.count += 1;
        let before = x - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (x - self.mean);
    }

    /// How many numbers came.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; 0 for none.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Standard deviation of the mean, `sqrt(sum (x - mean)² / (n - 1) / n)`, as if the numbers were drawn independently. None
    /// below two numbers: one tells nothing of its spread.
    pub fn standard_error(&self) -> Option<f64> {
        let n = self.count as f64;
        (self.count > 1).then(|| (self.squares / (n - 1.0) / n).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_spread_about_a_large_mean_is_kept() {
        let mut mean = Mean::default();
        assert_eq!((mean.mean(), mean.standard_error()), (0.0, None));
        mean.push(1e9);
        assert_eq!((mean.mean(), mean.standard_error()), (1e9, None));
        for x in [1e9 + 1.0, 1e9 + 2.0] {
            mean.push(x);
        }
        // Squares of 1e9 have no room for ones in f64.
        assert_eq!((mean.count(), mean.mean()), (3, 1e9 + 1.0));
        assert!((mean.standard_error().unwrap() - (1.0f64 / 3.0).sqrt()).abs() < 1e-9);
    }
}
