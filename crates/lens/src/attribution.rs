//! Who raised a logit: every part of the stream writes into it, and the head reads the sum.
//!
//! The last norm divides by one number a token. With that number held at what it was, a logit is linear in the stream, so it is the sum of
//! what each writer adds: an exact account of the direct effects. What a part does by way of later parts is counted with those; taking the
//! part out ([`crate::Change`]) measures both.

use crate::trace::{Subject, Trace};
use foretoken_model::NormAnatomy;
use schemars::JsonSchema;
use serde::Serialize;

/// Who wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Part {
    /// The token's own embedding.
    Token,
    /// Where it stands.
    Position,
    /// A layer's attention, biases included.
    Attention {
        /// From 0.
        layer: usize,
    },
    /// A layer's MLP.
    Mlp {
        /// From 0.
        layer: usize,
    },
    /// The last norm's bias, which no token changes.
    Bias,
}

/// The account of a logit, or of the difference of two, at one token.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Attribution {
    /// Whose logit.
    pub token: u32,
    /// Less whose, if any.
    pub against: Option<u32>,
    /// The logit, or the difference, as the model computes it.
    pub logit: f64,
    /// What each part added, in the order of the data flow.
    pub parts: Vec<(Part, f64)>,
    /// What each head of each layer added of its layer's attention, (L,h).
    pub heads: Vec<Vec<f64>>,
}

impl Attribution {
    /// The sum of all parts: the logit within rounding.
    pub fn sum(&self) -> f64 {
        self.parts.iter().map(|(_, added)| added).sum()
    }
}

/// What a token gave to a head's part.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Source {
    /// The token's position.
    pub position: usize,
    /// The head's weight on it.
    pub weight: f32,
    /// What it added to the logit by way of this head.
    pub added: f64,
}

/// Takes the logit of `token` at `position` apart, or how far it is above that of `against`.
///
/// L d² multiplications beside the rows of the head.
///
/// # Panics
/// Where the trace does not keep what heads found, or there is no such position or token.
pub fn attribute(
    subject: Subject<'_>,
    trace: &Trace,
    position: usize,
    token: u32,
    against: Option<u32>,
) -> Attribution {
    let reader = Reader::new(subject, trace, position, token, against);
    let anatomy = subject.model.anatomy();
    let mut parts = Vec::with_capacity(3 + 2 * trace.layers);
    let mut row = vec![0.0; trace.d];
    subject
        .weights
        .row(subject.model, anatomy.embedding, trace.ids[position] as usize, &mut row);
    let embedded = reader.of(trace.at(0, position));
    let from_token = reader.of(&row);
    parts.push((Part::Token, from_token));
    if anatomy.positions.is_some() {
        parts.push((Part::Position, embedded - from_token));
    }
    let mut heads = Vec::with_capacity(trace.layers);
    for layer in 0..trace.layers {
        let added = |step: usize| reader.of(trace.at(step, position)) - reader.of(trace.at(step - 1, position));
        parts.push((Part::Attention { layer }, added(2 * layer + 1)));
        parts.push((Part::Mlp { layer }, added(2 * layer + 2)));
        let through = reader.through(subject, anatomy.heads_out[layer], trace.d);
        let found = trace.heads(layer, position);
        let dh = trace.attention.dh;
        let of_head = |(found, through): (&[f32], &[f64])| dot(found, through);
        heads.push(
            found
                .chunks_exact(dh)
                .zip(through.chunks_exact(dh))
                .map(of_head)
                .collect(),
        );
    }
    if let Some(bias) = reader.bias {
        parts.push((Part::Bias, bias));
    }
    let last = trace.at(2 * trace.layers, position);
    let mut logits = vec![0.0; subject.model.dims().vocab_size];
    subject.model.unembed(subject.pool, subject.weights, last, &mut logits);
    let logit = |id: u32| f64::from(logits[id as usize]);
    Attribution {
        token,
        against,
        logit: logit(token) - against.map_or(0.0, logit),
        parts,
        heads,
    }
}

/// What each token gave to a head's part of an [`Attribution`]: weight times value, read as the logit reads it. They sum to the head's part.
///
/// # Panics
/// As [`attribute`]; the trace keeps queries, keys and values.
pub fn head_sources(
    subject: Subject<'_>,
    trace: &Trace,
    (layer, head): (usize, usize),
    position: usize,
    token: u32,
    against: Option<u32>,
) -> Vec<Source> {
    let reader = Reader::new(subject, trace, position, token, against);
    let (dh, row) = (trace.attention.dh, trace.attention.row());
    let through = reader.through(subject, subject.model.anatomy().heads_out[layer], trace.d);
    let through = &through[head * dh..(head + 1) * dh];
    let [q, k, v] = trace.columns(head);
    let qkv = trace.qkv(layer);
    let part = |token: usize, column: usize| &qkv[token * row + column..][..dh];
    let query: Vec<f64> = part(position, q).iter().map(|&x| f64::from(x)).collect();
    let scale = 1.0 / (dh as f64).sqrt();
    let scores: Vec<f64> = (0..=position).map(|j| dot(part(j, k), &query) * scale).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - max).exp()).sum();
    let source = |(position, score): (usize, &f64)| {
        let weight = (score - max).exp() / sum;
        Source {
            position,
            weight: weight as f32,
            added: weight * dot(part(position, v), through),
        }
    };
    scores.iter().enumerate().map(source).collect()
}

/// The logit as a linear function of the stream, with the last norm's divisor held.
pub(crate) struct Reader {
    /// (d)
    direction: Vec<f64>,
    bias: Option<f64>,
}

impl Reader {
    pub(crate) fn new(subject: Subject<'_>, trace: &Trace, position: usize, token: u32, against: Option<u32>) -> Self {
        let (anatomy, d) = (subject.model.anatomy(), trace.d);
        let mut row = vec![0.0; d];
        let mut unembedding = vec![0.0; d];
        for (id, sign) in [(Some(token), 1.0), (against, -1.0)] {
            let Some(id) = id else { continue };
            subject.weights.row(subject.model, anatomy.head, id as usize, &mut row);
            unembedding
                .iter_mut()
                .zip(&row)
                .for_each(|(out, &w)| *out += sign * f64::from(w));
        }
        let NormAnatomy {
            weight,
            bias,
            epsilon,
            centred,
        } = anatomy.norm;
        let bias = bias.map(|bias| dot(&subject.weights.vector(subject.model, bias), &unembedding));
        let gain = subject.weights.vector(subject.model, weight);
        let mut direction: Vec<f64> = unembedding.iter().zip(&gain).map(|(u, &g)| u * f64::from(g)).collect();
        let x = trace.at(2 * trace.layers, position);
        let mean = |all: &mut dyn Iterator<Item = f64>| all.sum::<f64>() / d as f64;
        let middle = if centred {
            mean(&mut x.iter().map(|&x| f64::from(x)))
        } else {
            0.0
        };
        if centred {
            let level = mean(&mut direction.iter().copied());
            direction.iter_mut().for_each(|u| *u -= level);
        }
        let square = mean(&mut x.iter().map(|&x| (f64::from(x) - middle).powi(2)));
        let divisor = (square + f64::from(epsilon)).sqrt();
        direction.iter_mut().for_each(|u| *u /= divisor);
        Self { direction, bias }
    }

    /// What a vector in the stream adds to the logit.
    pub(crate) fn of(&self, x: &[f32]) -> f64 {
        dot(x, &self.direction)
    }

    /// The direction as the inputs of a matrix that writes into the stream see it: W ᵀ u, one for each of `inputs`.
    pub(crate) fn through(&self, subject: Subject<'_>, matrix: usize, inputs: usize) -> Vec<f64> {
        let matrix = subject.weights.matrix(subject.pool, subject.model, matrix);
        let mut out = vec![0.0; inputs];
        for (row, &u) in matrix.chunks_exact(inputs).zip(&self.direction) {
            out.iter_mut().zip(row).for_each(|(out, &w)| *out += u * f64::from(w));
        }
        out
    }
}

fn dot(a: &[f32], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(&a, b)| f64::from(a) * b).sum()
}
