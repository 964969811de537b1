//! AdamW and Muon over a parameter table: moments, decay groups, clipping, and the guard against gradients that are not
//! finite.

use crate::moments::{Moments, Numbers, part};
use foretoken_kernels::{
    AdamW, Buffer, Pool, Stream, adamw, adamw_bf16, muon, muon_momentum, muon_momentum_bf16, sum_of_squares,
};
use foretoken_model::{Error, OptimizerKind, OptimizerPlan, ParamTable, StateDtype, Trainable};
use std::ops::Range;

/// Where the bits that round moments begin, apart from every other use of a seed.
const ROUNDING: u32 = 0x2000_0000;

/// What stays the same from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Decay of AdamW's first moment.
    pub beta1: f32,
    /// Decay of AdamW's second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay of matrices; biases and norms have none.
    pub weight_decay: f32,
    /// Largest norm of the gradient; 0 clips nothing.
    pub grad_clip: f32,
    /// Seed of the bits that round moments in bf16.
    pub seed: u64,
}

/// The moments of every parameter.
#[derive(Debug)]
pub struct Optimizer {
    /// First moments, and Muon's momentum.
    pub m: Moments,
    /// Second moments of what AdamW updates.
    pub v: Moments,
    /// Updates made.
    pub updates: u64,
    plan: OptimizerPlan,
    /// Where the weights of each part of the table lie in the arena that is updated.
    runs: Vec<(Range<usize>, usize)>,
    /// Of Muon.
    scratch: Buffer,
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
    /// Moments of zero, kept as `dtype`.
    ///
    /// # Errors
    /// The allocator refuses.
    pub fn new(table: &ParamTable, kind: OptimizerKind, dtype: StateDtype) -> Result<Self, Error> {
        Self::with_runs(table, vec![(0..table.floats(), 0)], kind, dtype)
    }

    /// [`Optimizer::new`] over what learns of a model; [`Optimizer::step`] then takes the table of that, and the arena that is
    /// updated: the model's, or that of the pairs.
    ///
    /// # Errors
    /// The allocator refuses.
    pub fn of(trainable: &Trainable, kind: OptimizerKind, dtype: StateDtype) -> Result<Self, Error> {
        Self::with_runs(trainable.table(), trainable.runs().to_vec(), kind, dtype)
    }

    fn with_runs(
        table: &ParamTable,
        runs: Vec<(Range<usize>, usize)>,
        kind: OptimizerKind,
        dtype: StateDtype,
    ) -> Result<Self, Error> {
        let plan = OptimizerPlan::new(table, kind, dtype);
        Ok(Self {
            m: Moments::zeros(plan.m.clone(), dtype)?,
            v: Moments::zeros(plan.v.clone(), dtype)?,
            updates: 0,
            scratch: Buffer::try_zeroed(plan.scratch).ok_or(Error::NoMemory {
                what: "Muon's scratch",
                bytes: 4 * plan.scratch as u64,
            })?,
            plan,
            runs,
        })
    }

    /// Where the weights of a place in the table lie.
    fn weights_at(&self, place: usize) -> usize {
        let run = self.runs.iter().find(|(run, _)| run.contains(&place));
        let (run, at) = run.expect("every tensor has weights");
        at + place - run.start
    }

    /// What it keeps and costs.
    pub fn plan(&self) -> &OptimizerPlan {
        &self.plan
    }

    /// One step with learning rate `lr`. A gradient with a NaN or an infinity leaves everything as it was; of any other,
    /// Muon leaves its own update in its place.
    pub fn step(
        &mut self,
        pool: &Pool,
        table: &ParamTable,
        weights: &mut [f32],
        gradient: &mut [f32],
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
        let rounding = |part: u32| Stream {
            seed: options.seed,
            step: self.updates,
            purpose: ROUNDING + part,
        };
        let bits = [0, 1, 2].map(rounding);
        if !self.plan.muon.is_empty() {
            let rates = (lr, f64::from(options.weight_decay));
            self.muon(pool, table, weights, gradient, rates, grad_scale, bits[0]);
        }
        let decayed = self.plan.v.start..table.decayed().end;
        for (range, weight_decay, bits) in [
            (decayed, options.weight_decay, bits[1]),
            (table.not_decayed(), 0.0, bits[2]),
        ] {
            let step = AdamW {
                lr: lr as f32,
                beta1: options.beta1,
                beta2: options.beta2,
                eps: options.eps,
                weight_decay,
                step: self.updates,
                grad_scale,
            };
            // Neighbours are updated together; where all learn that is everything at once.
            for (i, run) in self.runs.clone().into_iter().enumerate() {
                let (run, weights_at) = run;
                let part = run.start.max(range.start)..run.end.min(range.end);
                if part.is_empty() {
                    continue;
                }
                let weights_at = weights_at + part.start - run.start;
                let bits = Stream {
                    purpose: bits.purpose + 4 * i as u32,
                    ..bits
                };
                let weights = &mut weights[weights_at..weights_at + part.len()];
                self.adamw(pool, part, weights, gradient, &step, bits);
            }
        }
        Update {
            grad_norm,
            applied: true,
        }
    }

    fn adamw(
        &mut self,
        pool: &Pool,
        range: Range<usize>,
        weights: &mut [f32],
        gradient: &[f32],
        step: &AdamW,
        bits: Stream,
    ) {
        let gradient = &gradient[range.clone()];
        let (m_start, v_start) = (self.plan.m.start, self.plan.v.start);
        match (&mut self.m.numbers, &mut self.v.numbers) {
            (Numbers::F32(m), Numbers::F32(v)) => {
                let (m, v) = (part(m, m_start, &range), part(v, v_start, &range));
                adamw(pool, weights, m, v, gradient, step);
            }
            (Numbers::Bf16(m), Numbers::Bf16(v)) => {
                let (m, v) = (part(m, m_start, &range), part(v, v_start, &range));
                adamw_bf16(pool, weights, m, v, gradient, step, bits);
            }
            _ => unreachable!("both moments are kept alike"),
        }
    }

    /// Momentum of all hidden matrices at once, then matrix after matrix.
    fn muon(
        &mut self,
        pool: &Pool,
        table: &ParamTable,
        weights: &mut [f32],
        gradient: &mut [f32],
        rates: (f64, f64),
        grad_scale: f32,
        bits: Stream,
    ) {
        let range = self.plan.muon.clone();
        let update = &mut gradient[range.clone()];
        match &mut self.m.numbers {
            Numbers::F32(m) => muon_momentum(pool, part(m, self.plan.m.start, &range), update, grad_scale),
            Numbers::Bf16(m) => {
                muon_momentum_bf16(pool, part(m, self.plan.m.start, &range), update, grad_scale, bits);
            }
        }
        for spec in table.specs() {
            if let Some(shape) = spec.muon_shape() {
                let at = self.weights_at(spec.range.start);
                let (weight, update) = (&mut weights[at..at + spec.len()], &gradient[spec.range.clone()]);
                muon(pool, weight, update, shape, rates, &mut self.scratch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_kernels::muon_reference;
    use foretoken_model::{init, registry};

    type Step<'a> = &'a dyn Fn(&mut Optimizer, &mut [f32], &[f32], f64) -> Update;

    const OPTIONS: Hyperparameters = Hyperparameters {
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        grad_clip: 1.0,
        seed: 5,
    };

    /// Every optimizer on a small model, its weights, and a step of it.
    fn every_optimizer(mut check: impl FnMut(&ParamTable, &mut Buffer, &mut Optimizer, Step<'_>)) {
        let config = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 7, "n_positions": 4, "n_embd": 6, "n_layer": 1, "n_head": 2,
        });
        let model = registry::from_config(&config).unwrap();
        let table = model.params();
        let pool = Pool::new(1).unwrap();
        let step = |optimizer: &mut Optimizer, weights: &mut [f32], gradient: &[f32], lr| {
            optimizer.step(&pool, table, weights, &mut gradient.to_vec(), lr, &OPTIONS)
        };
        for kind in [OptimizerKind::AdamW, OptimizerKind::Muon] {
            for dtype in [StateDtype::F32, StateDtype::Bf16] {
                let mut optimizer = Optimizer::new(table, kind, dtype).unwrap();
                check(table, &mut init(table, 1).unwrap(), &mut optimizer, &step);
            }
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_moves_nothing() {
        every_optimizer(|table, weights, optimizer, step| {
            let good = vec![0.01; table.floats()];
            assert!(step(optimizer, weights, &good, 1e-3).applied);
            let state = |weights: &Buffer, optimizer: &Optimizer| {
                let of = |moments: &Moments, range: &Range<usize>| moments.values(range).collect::<Vec<_>>();
                let (m, v) = (of(&optimizer.m, &optimizer.plan.m), of(&optimizer.v, &optimizer.plan.v));
                assert!(!m.is_empty() && !v.is_empty());
                (weights.to_vec(), m, v, optimizer.updates)
            };
            let before = state(weights, optimizer);
            for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
                for at in (0..table.floats()).step_by(7) {
                    let mut bad = good.clone();
                    bad[at] = poison;
                    assert!(!step(optimizer, weights, &bad, 1e-3).applied, "{poison} at {at}");
                }
            }
            assert_eq!(before, state(weights, optimizer));
        });
    }

    #[test]
    fn only_matrices_decay() {
        every_optimizer(|table, weights, optimizer, step| {
            let before = weights.clone();
            step(optimizer, weights, &vec![0.0; table.floats()], 0.5);
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
        });
    }

    /// Muon and AdamW move what is theirs, and every tensor moves: hidden matrices as the kernel alone moves them.
    #[test]
    fn muon_moves_hidden_matrices_and_adamw_the_rest() {
        let mut after: Vec<Vec<f32>> = Vec::new();
        every_optimizer(|table, weights, optimizer, step| {
            let gradient: Vec<f32> = (0..table.floats()).map(|i| (i as f32).sin() * 1e-3).collect();
            let before = weights.clone();
            step(optimizer, weights, &gradient, 1e-2);
            for spec in table.specs() {
                assert!(spec.range.clone().all(|i| weights[i] != before[i]), "{}", spec.name);
            }
            after.push(weights.to_vec());
            if after.len() < 4 {
                return;
            }
            let [adamw, adamw_bf16, muon, muon_bf16] = [0, 1, 2, 3].map(|i| &after[i]);
            // The first step does not yet read what was rounded.
            assert_eq!((adamw, muon), (adamw_bf16, muon_bf16));
            assert_eq!(adamw[table.hidden().end..], muon[table.hidden().end..]);
            for spec in table.specs() {
                let Some(shape) = spec.muon_shape() else { continue };
                let wide = |x: &[f32]| x[spec.range.clone()].iter().map(|&x| x.into()).collect::<Vec<f64>>();
                // At the first step the momentum is a multiple of the gradient, and the norm takes the factor out.
                let want = muon_reference(
                    &wide(&before),
                    &wide(&gradient),
                    shape,
                    (1e-2, OPTIONS.weight_decay.into()),
                );
                for (got, want) in wide(muon).iter().zip(want) {
                    assert!((got - want).abs() < 1e-6, "{}: {got}, want {want}", spec.name);
                }
            }
        });
        assert_eq!(after.len(), 4);
    }
}
