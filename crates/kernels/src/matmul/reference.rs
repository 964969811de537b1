//! Products by plain loops in f64: the oracles.

use super::{Epilogue, Mat};
use crate::gelu::gelu_reference;

/// C = epilogue(A B) by three loops in f64, rounded once: the oracle.
pub fn matmul_reference(c: &mut [f32], a: Mat<'_>, b: Mat<'_>, epilogue: Epilogue<'_>) {
    for i in 0..a.rows {
        for j in 0..b.cols {
            let mut sum = 0.0f64;
            for k in 0..a.cols {
                let (x, y) = (
                    a.data[i * a.row_stride + k * a.col_stride],
                    b.data[k * b.row_stride + j * b.col_stride],
                );
                sum += f64::from(x) * f64::from(y);
            }
            let at = i * b.cols + j;
            c[at] = match epilogue {
                Epilogue::Store => sum,
                Epilogue::Accumulate => f64::from(c[at]) + sum,
                Epilogue::Bias(bias) => sum + f64::from(bias[j]),
                Epilogue::Residual(residual) => f64::from(residual[at]) + sum,
                Epilogue::BiasResidual { bias, residual } => f64::from(residual[at]) + sum + f64::from(bias[j]),
                Epilogue::BiasGelu { bias } => gelu_reference(sum + f64::from(bias[j])),
                Epilogue::Multiply { factor } => sum * f64::from(factor[at]),
            } as f32;
        }
    }
}

/// A layer y (N,out) = x (N,in) W (in,out) + bias in f64: the oracle of [`super::matmul`] as the forward uses it and of
/// [`crate::matvec`].
pub fn linear_reference(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let outs = bias.len();
    let ins = weight.len() / outs;
    let element = |at: usize| {
        let (n, j) = (at / outs, at % outs);
        (0..ins).map(|k| x[n * ins + k] * weight[k * outs + j]).sum::<f64>() + bias[j]
    };
    (0..x.len() / ins * outs).map(element).collect()
}

/// The layer's gradients (dx (N,in), dW (in,out), dbias (out)) from dy (N,out) in f64: the oracle of the products of the
/// backward.
pub fn linear_backward_reference(dy: &[f64], x: &[f64], weight: &[f64], outs: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let ins = weight.len() / outs;
    let (mut dx, mut dweight, mut dbias) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; outs]);
    for (at, dy) in dy.iter().enumerate() {
        let (n, j) = (at / outs, at % outs);
        for k in 0..ins {
            dx[n * ins + k] += dy * weight[k * outs + j];
            dweight[k * outs + j] += dy * x[n * ins + k];
        }
        dbias[j] += dy;
    }
    (dx, dweight, dbias)
}
