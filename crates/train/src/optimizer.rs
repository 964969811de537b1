//! AdamW over a parameter table: moments, decay groups, clipping, and the guard against gradients that are not finite.

use foretoken_kernels::{AdamW, Buffer, Pool, adamw, sum_of_squares};
use foretoken_model::{Error, ParamTable};

/// What stays the same from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay of matrices; biases and norms have none.
    pub weight_decay: f32,
    /// Largest norm of the gradient; 0 clips nothing.
    pub grad_clip: f32,
}

/// The moments of every parameter.
#[derive(Debug)]
pub struct Optimizer {
    /// First moment, an arena of the table.
    pub m: Buffer,
    /// Second moment.
    pub v: Buffer,
    /// Updates made.
    pub updates: u64,
}

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Whether the weights moved: not where the norm is not finite.
    pub applied: bool,
}

impl Optimizer {
    /// Moments of zero.
    ///
    /// # Errors
    /// The allocator refuses.
    pub fn new(table: &ParamTable) -> Result<Self, Error> {
        Ok(Self {
            m: table.zeros("AdamW's moments")?,
            v: table.zeros("AdamW's moments")?,
            updates: 0,
        })
    }

    /// One step of AdamW with learning rate `lr`. A gradient with a NaN or an infinity leaves everything as it was.
    pub fn step(
        &mut self,
        pool: &Pool,
        table: &ParamTable,
        weights: &mut [f32],
        gradient: &[f32],
        lr: f64,
        options: &Hyperparameters,
    ) -> Update {
        let grad_norm = sum_of_squares(pool, gradient).sqrt();
        if !grad_norm.is_finite() {
            return Update {
                grad_norm,
                applied: false,
            };
        }
        self.updates += 1;
        let clip = f64::from(options.grad_clip);
        // PyTorch's clip_grad_norm_.
        let grad_scale = if clip > 0.0 {
            (clip / (grad_norm + 1e-6)).min(1.0) as f32
        } else {
            1.0
        };
        for (range, weight_decay) in [(table.decayed(), options.weight_decay), (table.not_decayed(), 0.0)] {
            let step = AdamW {
                lr: lr as f32,
                beta1: options.beta1,
                beta2: options.beta2,
                eps: options.eps,
                weight_decay,
                step: self.updates,
                grad_scale,
            };
            let (m, v) = (&mut self.m[range.clone()], &mut self.v[range.clone()]);
            adamw(pool, &mut weights[range.clone()], m, v, &gradient[range], &step);
        }
        Update {
            grad_norm,
            applied: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_model::{init, registry};

    const OPTIONS: Hyperparameters = Hyperparameters {
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        grad_clip: 1.0,
    };

    #[test]
    fn a_gradient_that_is_not_finite_moves_nothing() {
        let config = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 7, "n_positions": 4, "n_embd": 6, "n_layer": 1, "n_head": 2,
        });
        let model = registry::from_config(&config).unwrap();
        let table = model.params();
        let pool = Pool::new(1).unwrap();
        let mut weights = init(table, 1).unwrap();
        let mut optimizer = Optimizer::new(table).unwrap();
        let good = vec![0.01; table.floats()];
        assert!(
            optimizer
                .step(&pool, table, &mut weights, &good, 1e-3, &OPTIONS)
                .applied
        );
        let before = (
            weights.to_vec(),
            optimizer.m.to_vec(),
            optimizer.v.to_vec(),
            optimizer.updates,
        );
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            for at in (0..table.floats()).step_by(7) {
                let mut bad = good.clone();
                bad[at] = poison;
                let update = optimizer.step(&pool, table, &mut weights, &bad, 1e-3, &OPTIONS);
                assert!(!update.applied, "{poison} at {at}");
            }
        }
        assert_eq!(
            before,
            (
                weights.to_vec(),
                optimizer.m.to_vec(),
                optimizer.v.to_vec(),
                optimizer.updates
            )
        );
    }

    #[test]
    fn only_matrices_decay() {
        let config = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 7, "n_positions": 4, "n_embd": 6, "n_layer": 1, "n_head": 2,
        });
        let model = registry::from_config(&config).unwrap();
        let table = model.params();
        let pool = Pool::new(1).unwrap();
        let mut weights = init(table, 1).unwrap();
        let before = weights.clone();
        let zeros = vec![0.0; table.floats()];
        Optimizer::new(table)
            .unwrap()
            .step(&pool, table, &mut weights, &zeros, 0.5, &OPTIONS);
        for spec in table.specs() {
            for i in spec.range.clone() {
                let want = if spec.shape.len() == 2 {
                    before[i] * 0.95
                } else {
                    before[i]
                };
                assert!((weights[i] - want).abs() < 1e-7, "{}", spec.name);
            }
        }
    }
}
