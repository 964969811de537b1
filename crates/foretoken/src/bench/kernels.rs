//! Each kernel of a training step at a model's shapes.

use super::{Event, fits, median};
use crate::error::Error;
use foretoken_kernels::{
    AdamW, AttentionDims, Buffer, Epilogue, Limits, Mat, OpTime, Pool, adamw, attention_backward, attention_forward,
    bias_backward, embedding_backward, embedding_forward, gelu_backward, gelu_forward, head_loss_backward,
    head_loss_scratch, layernorm_backward, layernorm_forward, matmul, matmul_bias_gelu, matmul_gelu_backward,
    matmul_gradient,
};
use foretoken_model::{Dims, Model, sizes};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Rows at which the products are measured beside those of the batch: a small batch, where packing shows.
const FEW: usize = 256;
/// Short kernels run more often than they were asked to: as long as this, or this often.
const ENOUGH: (Duration, usize) = (Duration::from_millis(50), 100);
/// Parameters that AdamW is measured on at most: four arrays of 64 MiB lie in memory, not in a cache.
const MOST_PARAMETERS: usize = 16 << 20;

/// A kernel at one shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelTime {
    /// What it is in the model: `c_attn forward`, `head dW`.
    pub name: String,
    /// The kernel, as [`OpTime::op`].
    pub op: &'static str,
    /// Its sizes, as [`OpTime::shape`].
    pub shape: Vec<usize>,
    /// Runs of which the median is taken.
    pub runs: usize,
    /// Median seconds.
    pub seconds: f64,
    /// Flops a second.
    pub flops_per_s: f64,
    /// Bytes a second, each operand counted once.
    pub bytes_per_s: f64,
    /// The least seconds that the machine's limits allow, over the seconds taken. Above 1 where operands lie in a cache.
    pub share_of_limit: f64,
    /// Which limit that is: `flops` or `bytes`.
    pub bound: &'static str,
}

/// Measures the kernels of a training step over `(b, t)`: the products of a block forward and for both gradients, the
/// head with its loss, at N = B T and at 256 rows; attention, layernorm, GELU, biases, embedding, AdamW. Each is told as
/// [`Event::Kernel`], a median of at least `repeat` runs.
///
/// # Errors
/// [`Error::BenchMemory`]; sizes the model cannot have.
pub fn kernels(
    pool: &Pool,
    limits: &Limits,
    model: &dyn Model,
    (b, t): (usize, usize),
    repeat: usize,
    listen: &mut dyn FnMut(Event<'_>),
) -> Result<(), Error> {
    sizes::report(model, b, t, &sizes::Options::default())?;
    let mut bench = Bench {
        pool,
        limits,
        repeat: repeat.max(1),
        listen,
    };
    let dims = *model.dims();
    let n = b * t;
    bench.products(&dims, n)?;
    if n != FEW {
        bench.products(&dims, FEW)?;
    }
    bench.attention(&dims, (b, t))?;
    bench.rows(&dims, n)?;
    bench.embedding(&dims, (b, t))?;
    bench.update(model.params().floats())
}

struct Bench<'a> {
    pool: &'a Pool,
    limits: &'a Limits,
    repeat: usize,
    listen: &'a mut dyn FnMut(Event<'_>),
}

impl Bench<'_> {
    /// Tells of the ops that one run consists of: (name, op) of each. Flops and bytes are what the kernels state.
    fn time(&mut self, names: &[(&str, &str)], mut run: impl FnMut(&Pool)) {
        (self.listen)(Event::Phase(names[0].0));
        run(self.pool);
        let mut runs: Vec<Vec<OpTime>> = Vec::new();
        let begun = Instant::now();
        while runs.len() < self.repeat || (runs.len() < ENOUGH.1 && begun.elapsed() < ENOUGH.0) {
            self.pool.start_profile();
            run(self.pool);
            runs.push(self.pool.take_profile());
        }
        for (name, op) in names {
            let of = |run: &Vec<OpTime>| run.iter().find(|time| time.op == *op).cloned();
            let times: Vec<OpTime> = runs.iter().filter_map(of).collect();
            let first = times.first().unwrap_or_else(|| panic!("{name} runs {op}"));
            let calls = first.calls;
            let a_call = |time: &OpTime| time.thread_seconds / (self.pool.threads() as u64 * calls) as f64;
            let seconds = median(&times.iter().map(a_call).collect::<Vec<_>>()).max(1e-12);
            let (flops, bytes) = (first.flops / calls, first.bytes / calls);
            (self.listen)(Event::Kernel(KernelTime {
                name: (*name).to_owned(),
                op: first.op,
                shape: first.shape.clone(),
                runs: times.len(),
                seconds,
                flops_per_s: flops as f64 / seconds,
                bytes_per_s: bytes as f64 / seconds,
                share_of_limit: self.limits.seconds(flops, bytes) / seconds,
                bound: match self.limits.binds_flops(flops, bytes) {
                    true => "flops",
                    false => "bytes",
                },
            }));
        }
    }

    /// The four products of a block and the head's, as forward and backward run them over `n` rows.
    fn products(&mut self, dims: &Dims, n: usize) -> Result<(), Error> {
        let (d, f, v) = (dims.n_embd, dims.n_inner, dims.vocab_size);
        self.linear("c_attn", (n, d, 3 * d), false, |pool, layer| {
            matmul(pool, layer.y, layer.x, layer.weight, Epilogue::Bias(layer.bias));
        })?;
        let residual = |pool: &Pool, layer: Layer<'_>| {
            let epilogue = Epilogue::BiasResidual {
                bias: layer.bias,
                residual: layer.beside,
            };
            matmul(pool, layer.y, layer.x, layer.weight, epilogue);
        };
        self.linear("attn.c_proj", (n, d, d), false, residual)?;
        self.linear("c_fc", (n, d, f), false, |pool, layer| {
            matmul_bias_gelu(pool, layer.y, layer.beside, layer.x, layer.weight, layer.bias);
        })?;
        self.linear("mlp.c_proj", (n, f, d), true, residual)?;
        self.head((n, d, v))
    }

    /// The products of y (N,out) = x (N,in) W (in,out): forward as `forward` runs it, then for both gradients; that of x goes
    /// on through the GELU where x came from one.
    fn linear(
        &mut self,
        name: &str,
        (n, ins, outs): (usize, usize, usize),
        after_gelu: bool,
        forward: impl Fn(&Pool, Layer<'_>),
    ) -> Result<(), Error> {
        let name = |what| format!("{name} {what}");
        let sizes = [n * ins, ins * outs, n * outs, n * outs, outs];
        let [mut x, mut weight, mut y, mut beside, bias] = self.floats(&name("products"), sizes)?;
        self.time(&[(&name("forward"), "matmul_nn")], |pool| {
            forward(
                pool,
                Layer {
                    y: &mut y,
                    beside: &mut beside,
                    x: Mat::new(&x, n, ins),
                    weight: Mat::new(&weight, ins, outs),
                    bias: &bias,
                },
            );
        });
        // x takes the gradient of x, the weight that of the weight: a benchmark needs no second copy.
        let dy = y;
        let [mut pre] = self.floats(&name("dX"), [if after_gelu { n * ins } else { 0 }])?;
        self.time(&[(&name("dX"), "matmul_nt")], |pool| {
            let (dy, weight) = (Mat::new(&dy, n, outs), Mat::new(&weight, ins, outs));
            match after_gelu {
                true => matmul_gelu_backward(pool, &mut x, &mut pre, dy, weight.t()),
                false => matmul_gradient(pool, &mut x, dy, weight.t(), Epilogue::Store),
            }
        });
        self.time(&[(&name("dW"), "matmul_tn")], |pool| {
            let (x, dy) = (Mat::new(&x, n, ins), Mat::new(&dy, n, outs));
            matmul_gradient(pool, &mut weight, x.t(), dy, Epilogue::Store);
        });
        Ok(())
    }

    /// The head's three products and the loss between them, over as many rows as a chunk of `n` has.
    fn head(&mut self, (n, d, v): (usize, usize, usize)) -> Result<(), Error> {
        let n = head_loss_scratch(n, v) / v;
        let sizes = [n, n * d, v * d, v * d, n * v];
        let [mut losses, mut x, mut dweight, weight, mut scratch] = self.floats("head", sizes)?;
        let targets: Vec<i32> = (0..n).map(|i| (i * 7919 % v) as i32).collect();
        let names = [
            ("head forward", "matmul_nt"),
            ("head dX", "matmul_nn"),
            ("head dW", "matmul_tn"),
            ("loss", "cross_entropy"),
        ];
        self.time(&names, |pool| {
            head_loss_backward(
                pool,
                &mut losses,
                &mut x,
                Some(&mut dweight),
                &weight,
                &targets,
                1e-3,
                &mut scratch,
            );
        });
        Ok(())
    }

    fn attention(&mut self, dims: &Dims, (b, t): (usize, usize)) -> Result<(), Error> {
        let dims = AttentionDims {
            b,
            t,
            h: dims.n_head,
            h_kv: dims.n_head,
            dh: dims.head_dim(),
        };
        let (n, d) = (b * t, dims.d());
        let sizes = [3 * n * d, n * d, b * dims.h * t, 3 * n * d, n * d];
        let [qkv, mut out, mut lse, mut dqkv, dout] = self.floats("attention", sizes)?;
        self.time(&[("attention forward", "attention_forward")], |pool| {
            attention_forward(pool, &mut out, &mut lse, &qkv, dims, &[], None);
        });
        self.time(&[("attention backward", "attention_backward")], |pool| {
            attention_backward(pool, &mut dqkv, &dout, &qkv, &out, &lse, dims, &[], None);
        });
        Ok(())
    }

    /// What is done to every row or every number of (N,d) and (N,f).
    fn rows(&mut self, dims: &Dims, n: usize) -> Result<(), Error> {
        let (d, f) = (dims.n_embd, dims.n_inner);
        let sizes = [n * d, n * d, n * d, n, n, d, d, d, d];
        let [mut y, x, dy, mut mean, mut rstd, weight, bias, mut dweight, mut dbias] =
            self.floats("layernorm", sizes)?;
        self.time(&[("layernorm forward", "layernorm_forward")], |pool| {
            layernorm_forward(pool, &mut y, &mut mean, &mut rstd, &x, &weight, &bias, 1e-5);
        });
        self.time(&[("layernorm backward", "layernorm_backward")], |pool| {
            layernorm_backward(pool, &mut y, &mut dweight, &mut dbias, &dy, &x, &weight, &mean, &rstd);
        });
        let [mut y, x, dy, mut dbias] = self.floats("gelu", [n * f, n * f, n * f, f])?;
        self.time(&[("gelu forward", "gelu_forward")], |pool| {
            gelu_forward(pool, &mut y, &x)
        });
        self.time(&[("gelu backward", "gelu_backward")], |pool| {
            gelu_backward(pool, &mut y, &dy, &x);
        });
        self.time(&[("bias backward", "bias_backward")], |pool| {
            bias_backward(pool, &mut dbias, &dy);
        });
        Ok(())
    }

    fn embedding(&mut self, dims: &Dims, (b, t): (usize, usize)) -> Result<(), Error> {
        let (n, d, v) = (b * t, dims.n_embd, dims.vocab_size);
        let [mut x, mut wte, mut wpe] = self.floats("embedding", [n * d, v * d, dims.n_positions * d])?;
        let ids: Vec<u32> = (0..n).map(|i| (i * 7919 % v) as u32).collect();
        self.time(&[("embedding forward", "embedding_forward")], |pool| {
            embedding_forward(pool, &mut x, &ids, &wte, Some(&wpe), (t, &[]), 0);
        });
        self.time(&[("embedding backward", "embedding_backward")], |pool| {
            embedding_backward(pool, Some(&mut wte), Some(&mut wpe), &x, &ids, (t, &[]));
        });
        Ok(())
    }

    fn update(&mut self, parameters: usize) -> Result<(), Error> {
        let n = parameters.min(MOST_PARAMETERS);
        let [mut weights, mut m, mut v, gradient] = self.floats("adamw", [n; 4])?;
        v.fill(1e-3);
        let options = AdamW {
            lr: 1e-4,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            step: 100,
            grad_scale: 1.0,
        };
        self.time(&[("adamw", "adamw")], |pool| {
            adamw(pool, &mut weights, &mut m, &mut v, &gradient, &options);
        });
        Ok(())
    }

    /// Buffers of such lengths, filled with numbers between -1 and 1; refused before they are taken where there is no
    /// memory for them.
    fn floats<const N: usize>(&mut self, what: &str, lengths: [usize; N]) -> Result<[Buffer; N], Error> {
        (self.listen)(Event::Phase(what));
        fits(
            &format!("the kernel benchmark ({what})"),
            lengths.iter().map(|&length| 4 * length as u64).sum(),
        )?;
        Ok(lengths.map(|length| {
            let mut buffer = Buffer::zeroed(length);
            for (i, x) in buffer.iter_mut().enumerate() {
                // The upper bits of a multiplicative hash: no two rows alike, and as fast as memory.
                *x = (i as u32).wrapping_mul(2_654_435_761) as i32 as f32 / (1u32 << 31) as f32;
            }
            buffer
        }))
    }
}

/// What a layer's forward reads and writes.
struct Layer<'a> {
    y: &'a mut [f32],
    /// The residual, or where the GELU's argument goes.
    beside: &'a mut [f32],
    x: Mat<'a>,
    weight: Mat<'a>,
    bias: &'a [f32],
}
