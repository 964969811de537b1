//! The gradient of a global batch: a fixed binary tree over the lanes of its micro-batches, so that one machine and, later,
//! 2, 4 or 8 give the same bits.

use foretoken_kernels::{Buffer, Pool, add_in_place};
use foretoken_model::{Error, ParamTable};

/// Folds gradients: neighbours first, then pairs of pairs; what has no partner waits for the end.
#[derive(Debug)]
pub struct GradientTree {
    /// Sums that wait for their partner, and over how many gradients: falling powers of two.
    waiting: Vec<(usize, Buffer)>,
    spare: Vec<Buffer>,
}

impl GradientTree {
    /// Memory for `gradients` a step: those of every lane of every micro-batch.
    ///
    /// # Errors
    /// The allocator refuses.
    pub fn new(table: &ParamTable, gradients: usize) -> Result<Self, Error> {
        let spare = (0..Self::buffers(gradients))
            .map(|_| table.zeros("gradients"))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            waiting: Vec::new(),
            spare,
        })
    }

    /// Buffers that `gradients` need: 1 + floor(log2 n).
    pub fn buffers(gradients: usize) -> usize {
        1 + gradients.max(1).ilog2() as usize
    }

    /// Runs `micro_batch` on the gradients of its `lanes`, which it overwrites, and folds what it leaves.
    ///
    /// # Panics
    /// After more gradients than memory was made for, and with more than two lanes.
    pub fn add(&mut self, pool: &Pool, lanes: usize, micro_batch: impl FnOnce(&mut [Buffer])) {
        assert!(lanes <= 2, "a pair is what a binary counter takes at once");
        let rest = self.spare.len().checked_sub(lanes).expect("memory for every gradient");
        let mut sums = self.spare.split_off(rest);
        micro_batch(&mut sums);
        for mut sum in sums {
            let mut count = 1;
            while self.waiting.last().is_some_and(|(waiting, _)| *waiting == count) {
                let (_, mut left) = self.waiting.pop().expect("it was just there");
                add_in_place(pool, &mut left, &sum);
                self.spare.push(std::mem::replace(&mut sum, left));
                count *= 2;
            }
            self.waiting.push((count, sum));
        }
    }

    /// The gradient of all that was added; the tree is empty again at the next [`GradientTree::add`].
    ///
    /// # Panics
    /// Where nothing was added.
    pub fn finish(&mut self, pool: &Pool, use_gradient: impl FnOnce(&mut [f32])) {
        let (_, mut right) = self.waiting.pop().expect("at least one micro-batch");
        while let Some((_, mut left)) = self.waiting.pop() {
            add_in_place(pool, &mut left, &right);
            self.spare.push(std::mem::replace(&mut right, left));
        }
        use_gradient(&mut right);
        self.spare.push(right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_model::registry;

    /// The bracketing is the tree's: checked on numbers whose sum depends on it.
    #[test]
    fn folds_as_a_binary_tree() {
        let config = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 3, "n_positions": 2, "n_embd": 4, "n_layer": 1, "n_head": 1,
        });
        let model = registry::from_config(&config).unwrap();
        let pool = Pool::new(2).unwrap();
        let value = |i: usize| 1.0 + 0.1 * i as f32 + if i % 3 == 0 { 1e7 } else { 0.0 };
        let fold_lanes = |n: usize, lanes: usize| {
            let mut tree = GradientTree::new(model.params(), n).unwrap();
            let mut result = 0.0;
            for _ in 0..2 {
                for first in (0..n).step_by(lanes) {
                    tree.add(&pool, lanes, |lanes| {
                        lanes
                            .iter_mut()
                            .enumerate()
                            .for_each(|(lane, g)| g.fill(value(first + lane)));
                    });
                }
                tree.finish(&pool, |g| result = g[5]);
            }
            result
        };
        let fold = |n| fold_lanes(n, 1);
        let v = value;
        for n in (2..=16).step_by(2) {
            assert_eq!(fold_lanes(n, 2), fold(n), "{n} gradients in pairs");
        }
        assert_eq!(fold(1), v(0));
        assert_eq!(fold(2), v(0) + v(1));
        assert_eq!(fold(3), (v(0) + v(1)) + v(2));
        assert_eq!(fold(4), (v(0) + v(1)) + (v(2) + v(3)));
        assert_eq!(fold(7), ((v(0) + v(1)) + (v(2) + v(3))) + ((v(4) + v(5)) + v(6)));
        assert_eq!(
            (
                GradientTree::buffers(1),
                GradientTree::buffers(7),
                GradientTree::buffers(8)
            ),
            (1, 3, 4)
        );
    }
}
