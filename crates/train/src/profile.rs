//! Where the time of training steps went, and how far each op is from the machine's limit.

use foretoken_kernels::{Limits, OpTime, Pool};
use serde::Serialize;
use std::time::Instant;

/// What steps took, op by op. A step is whatever [`StepProfile::time`] is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepProfile {
    /// Steps timed.
    pub steps: u64,
    /// Seconds of all of them.
    pub seconds: f64,
    /// Threads of the pool.
    pub threads: usize,
    /// Sums over all steps, one of every op and shape.
    pub ops: Vec<OpTime>,
}

/// One op's part of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileRow {
    /// The kernel's name.
    pub op: &'static str,
    /// [M, K, N] of a matmul; other ops are added up over their shapes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<usize>>,
    /// Calls a step.
    pub calls: f64,
    /// Seconds a step: thread-seconds over the threads of the pool.
    pub seconds: f64,
    /// Part of the step.
    pub share: f64,
    /// Flops a second.
    pub flops_per_s: f64,
    /// Bytes a second, each operand counted once.
    pub bytes_per_s: f64,
    /// The least seconds that the machine's limits allow, over the seconds taken. Above 1 where operands lie in a cache.
    pub share_of_limit: f64,
    /// Which limit that is: `flops` or `bytes`.
    pub bound: &'static str,
}

impl StepProfile {
    /// Runs a step on a pool and adds what it took. It must not profile the pool itself.
    pub fn time<T>(&mut self, pool: &Pool, step: impl FnOnce() -> T) -> T {
        pool.start_profile();
        let begun = Instant::now();
        let value = step();
        self.seconds += begun.elapsed().as_secs_f64();
        self.steps += 1;
        self.threads = pool.threads();
        for time in pool.take_profile() {
            match self
                .ops
                .iter_mut()
                .find(|sum| (sum.op, &sum.shape) == (time.op, &time.shape))
            {
                Some(sum) => add(sum, &time),
                None => self.ops.push(time),
            }
        }
        value
    }

    /// Every op that ran, what took longest first.
    pub fn rows(&self, limits: &Limits) -> Vec<ProfileRow> {
        let mut sums: Vec<OpTime> = Vec::new();
        for time in &self.ops {
            let alike = |sum: &&mut OpTime| sum.op == time.op && !is_matmul(time.op);
            match sums.iter_mut().find(alike) {
                Some(sum) => add(sum, time),
                None => sums.push(time.clone()),
            }
        }
        sums.sort_by(|a, b| b.thread_seconds.total_cmp(&a.thread_seconds));
        sums.into_iter().map(|sum| self.row(sum, limits)).collect()
    }

    /// Part of the step that no kernel took: data, hand-overs between kernels, waiting of one half of the threads for
    /// the other.
    pub fn rest(&self) -> f64 {
        let kernels: f64 = self.ops.iter().map(|op| op.thread_seconds).sum();
        (1.0 - kernels / (self.seconds * self.threads as f64).max(f64::MIN_POSITIVE)).max(0.0)
    }

    /// Seconds of a step at the machine's limits: the sum of every op's least.
    pub fn limit_seconds(&self, limits: &Limits) -> f64 {
        let least = self.ops.iter().map(|op| limits.seconds(op.flops, op.bytes));
        least.sum::<f64>() / self.steps.max(1) as f64
    }

    fn row(&self, sum: OpTime, limits: &Limits) -> ProfileRow {
        let steps = self.steps.max(1) as f64;
        // A clock too coarse to see the op would otherwise give infinity.
        let seconds = (sum.thread_seconds / self.threads.max(1) as f64).max(1e-12);
        let bound = match limits.binds_flops(sum.flops, sum.bytes) {
            true => "flops",
            false => "bytes",
        };
        ProfileRow {
            op: sum.op,
            shape: is_matmul(sum.op).then_some(sum.shape),
            calls: sum.calls as f64 / steps,
            seconds: seconds / steps,
            share: seconds / self.seconds.max(1e-12),
            flops_per_s: sum.flops as f64 / seconds,
            bytes_per_s: sum.bytes as f64 / seconds,
            share_of_limit: limits.seconds(sum.flops, sum.bytes) / seconds,
            bound,
        }
    }
}

/// Products are told apart by shape: how fast they are depends on it.
fn is_matmul(op: &str) -> bool {
    op.starts_with("matmul_")
}

fn add(sum: &mut OpTime, time: &OpTime) {
    sum.calls += time.calls;
    sum.thread_seconds += time.thread_seconds;
    sum.flops += time.flops;
    sum.bytes += time.bytes;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GradientTree, Hyperparameters, Optimizer};
    use foretoken_model::{Batch, Lanes, OptimizerKind, Pass, Recompute, StateDtype, init, registry};

    const LIMITS: Limits = Limits {
        flops_per_s: 100.0,
        bytes_per_s: 10.0,
    };

    fn op(op: &'static str, shape: &[usize], thread_seconds: f64, flops: u64, bytes: u64) -> OpTime {
        OpTime {
            op,
            shape: shape.to_vec(),
            calls: 4,
            thread_seconds,
            flops,
            bytes,
        }
    }

    #[test]
    fn shares_rates_and_limits_of_a_step_worked_out_by_hand() {
        let profile = StepProfile {
            steps: 2,
            seconds: 10.0,
            threads: 2,
            ops: vec![
                op("gelu_forward", &[8], 2.0, 10, 8),
                op("matmul_nn", &[2, 3, 4], 8.0, 300, 20),
                op("gelu_forward", &[16], 2.0, 20, 12),
                op("matmul_nn", &[2, 3, 5], 6.0, 100, 10),
            ],
        };
        let rows = profile.rows(&LIMITS);
        let names: Vec<_> = rows.iter().map(|row| (row.op, row.shape.clone())).collect();
        let shape = |n| Some(vec![2, 3, n]);
        assert_eq!(
            names,
            [("matmul_nn", shape(4)), ("matmul_nn", shape(5)), ("gelu_forward", None)]
        );
        // 8 thread-seconds on 2 threads are 4 of 10 seconds; 300 flops take at least 3, 20 bytes 2.
        let ProfileRow {
            calls,
            seconds,
            share,
            flops_per_s,
            bytes_per_s,
            share_of_limit,
            bound,
            ..
        } = rows[0];
        assert_eq!((calls, seconds, share, bound), (2.0, 2.0, 0.4, "flops"));
        assert_eq!((flops_per_s, bytes_per_s, share_of_limit), (75.0, 5.0, 0.75));
        // 20 bytes take at least 2 seconds of the 2 they took; 30 flops 0.3.
        let gelu = &rows[2];
        assert_eq!((gelu.calls, gelu.share_of_limit, gelu.bound), (4.0, 1.0, "bytes"));
        assert!((profile.rest() - 0.1).abs() < 1e-12);
        // 3 + 1 + 0.8 + 1.2 seconds of two steps.
        assert!((profile.limit_seconds(&LIMITS) - 3.0).abs() < 1e-12);
    }

    /// A training step in one lane and in two: what the kernels count is what the model says it takes, no op is missing,
    /// and no bit depends on who counts.
    #[test]
    fn kernels_of_a_step_count_the_flops_that_the_model_states() {
        let config = serde_json::json!({
            "model_type": "gpt2", "vocab_size": 37, "n_positions": 9, "n_embd": 24, "n_layer": 3, "n_head": 2,
        });
        let model = registry::from_config(&config).unwrap();
        let (table, t) = (model.params(), 9);
        let options = Hyperparameters {
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.1,
            grad_clip: 1.0,
            seed: 1,
        };
        for (b, threads) in [(1, 1), (1, 2), (4, 2), (4, 3)] {
            let pool = Pool::new(threads).unwrap();
            let ids: Vec<u32> = (0..b * t).map(|i| (i * 7 % 37) as u32).collect();
            let targets: Vec<i32> = ids.iter().map(|&id| (id as i32 + 1) % 37).collect();
            let run = |mut profile: Option<&mut StepProfile>| {
                let mut weights = init(table, 1).unwrap();
                let mut optimizer = Optimizer::new(table, OptimizerKind::AdamW, StateDtype::F32).unwrap();
                let mut lanes = Lanes::new(&*model, b, t, Pass::Train(Recompute::Selective)).unwrap();
                let mut tree = GradientTree::new(table, lanes.count()).unwrap();
                let mut losses = vec![0.0; b * t];
                for _ in 0..2 {
                    let batch = Batch {
                        b,
                        t,
                        ids: &ids,
                        targets: &targets,
                        documents: &[],
                    };
                    let mut step = || {
                        tree.add(&pool, lanes.count(), |gradients| {
                            let gradients = gradients.iter_mut().map(|gradients| &mut gradients[..]);
                            lanes.losses_and_gradients(
                                &pool,
                                &*model,
                                &weights,
                                gradients,
                                &batch,
                                1.0,
                                None,
                                &mut losses,
                            );
                        });
                        tree.finish(&pool, |gradient| {
                            optimizer.step(&pool, table, &mut weights, gradient, 1e-3, &options);
                        });
                    };
                    match &mut profile {
                        Some(profile) => profile.time(&pool, step),
                        None => step(),
                    }
                }
                weights.iter().map(|w| w.to_bits()).collect::<Vec<u32>>()
            };
            let mut profile = StepProfile::default();
            assert!(run(Some(&mut profile)) == run(None), "the bits of a profiled step");
            assert_eq!((profile.steps, profile.threads), (2, threads));
            let products = profile
                .ops
                .iter()
                .filter(|op| is_matmul(op.op) || op.op.starts_with("attention"));
            let flops: u64 = products.map(|op| op.flops).sum();
            assert_eq!(
                flops as f64,
                2.0 * model.training_flops(b, t),
                "B={b}, {threads} threads"
            );
            let calls = |name: &str| -> f64 {
                let rows = profile.rows(&LIMITS);
                rows.iter().filter(|row| row.op == name).map(|row| row.calls).sum()
            };
            let lanes = if b == 1 { 1.0 } else { 2.0 };
            for (op, a_layer, once) in [
                ("matmul_nn", 4.0, 1.0),
                ("matmul_nt", 4.0, 1.0),
                ("matmul_tn", 4.0, 1.0),
                ("attention_forward", 1.0, 0.0),
                ("attention_backward", 1.0, 0.0),
                ("layernorm_backward", 2.0, 1.0),
                ("bias_backward", 4.0, 0.0),
                ("cross_entropy", 0.0, 1.0),
                ("embedding_forward", 0.0, 1.0),
                ("embedding_backward", 0.0, 1.0),
            ] {
                assert_eq!(calls(op), lanes * (3.0 * a_layer + once), "{op}, B={b}");
            }
            assert_eq!((calls("adamw"), calls("sum_of_squares")), (2.0, 1.0));
            assert_eq!(calls("add_in_place"), lanes - 1.0);
            let shares: f64 = profile.rows(&LIMITS).iter().map(|row| row.share).sum();
            assert!(
                (shares + profile.rest() - 1.0).abs() < 1e-9,
                "{shares} and {}",
                profile.rest()
            );
        }
    }
}
