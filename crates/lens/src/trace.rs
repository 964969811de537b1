//! One forward, written down.

use crate::change::{Change, apply};
use foretoken_kernels::{AttentionDims, CacheType, Pool};
use foretoken_model::{At, Error, Model, Probe, Site, Weights, decode_probed};

/// A model with what it needs to run.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The model.
    pub model: &'a dyn Model,
    /// The threads it runs on.
    pub pool: &'a Pool,
    /// Its weights.
    pub weights: Weights<'a>,
}

/// What a trace keeps beside the stream: floats a token and layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Queries, keys and values: 3 d, or fewer where heads share keys. For attention.
    pub qkv: bool,
    /// What heads found: d. For attribution.
    pub heads: bool,
    /// The MLP's hidden layer: f. For neurons.
    pub hidden: bool,
}

impl Keep {
    /// The stream alone.
    pub const STREAM: Keep = Keep {
        qkv: false,
        heads: false,
        hidden: false,
    };
    /// What heads look at needs no more.
    pub const ATTENTION: Keep = Keep {
        qkv: true,
        ..Keep::STREAM
    };
    /// Everything.
    pub const ALL: Keep = Keep {
        qkv: true,
        heads: true,
        hidden: true,
    };
}

/// A forward over T tokens.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The tokens (T).
    pub ids: Vec<u32>,
    /// d.
    pub d: usize,
    /// L.
    pub layers: usize,
    /// Heads, with B = T = 1.
    pub attention: AttentionDims,
    /// f.
    pub inner: usize,
    /// The stream before the first layer, and after each layer's attention and MLP: (2 L + 1,T,d).
    pub stream: Vec<f32>,
    /// Queries, keys and values (L,T,(h + 2 h_kv) dh); empty where they are not kept.
    pub qkv: Vec<f32>,
    /// What heads found (L,T,d); empty where it is not kept.
    pub heads: Vec<f32>,
    /// The MLP's hidden layer (L,T,f); empty where it is not kept.
    pub hidden: Vec<f32>,
}

impl Trace {
    /// Runs the tokens through the model and writes down what it does. Keys and values stay in f32, so that nothing is rounded that a
    /// forward without a cache does not round.
    ///
    /// # Errors
    /// No memory for the keys and values.
    ///
    /// # Panics
    /// Where there is no token, or more than the model has positions.
    pub fn record(subject: Subject<'_>, ids: &[u32], keep: Keep, changes: &[Change]) -> Result<Trace, Error> {
        let (dims, attention) = (*subject.model.dims(), subject.model.anatomy().attention);
        let (t, d, layers) = (ids.len(), dims.n_embd, dims.n_layer);
        let zeros = |wanted: bool, width: usize| vec![0.0; if wanted { layers * t * width } else { 0 }];
        let mut trace = Trace {
            ids: ids.to_vec(),
            d,
            layers,
            attention,
            inner: dims.n_inner,
            stream: vec![0.0; (2 * layers + 1) * t * d],
            qkv: zeros(keep.qkv, attention.row()),
            heads: zeros(keep.heads, d),
            hidden: zeros(keep.hidden, dims.n_inner),
        };
        let mut state = subject.model.decode_state(t, CacheType::F32)?;
        let mut recorder = Recorder {
            trace: &mut trace,
            changes,
        };
        decode_probed(
            subject.model,
            subject.pool,
            subject.weights,
            &mut state,
            ids,
            &mut recorder,
        );
        Ok(trace)
    }

    /// T.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token; no trace is of none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The stream (d) at `position`, after `step` of 2 L steps; 0 is before the first.
    pub fn at(&self, step: usize, position: usize) -> &[f32] {
        row(&self.stream, step * self.len() + position, self.d)
    }

    /// Queries, keys and values of a layer (T,(h + 2 h_kv) dh).
    ///
    /// # Panics
    /// Where they were not kept.
    pub fn qkv(&self, layer: usize) -> &[f32] {
        assert!(!self.qkv.is_empty(), "a trace that keeps queries, keys and values");
        row(&self.qkv, layer, self.len() * self.attention.row())
    }

    /// What the heads of a layer found at `position` (d).
    ///
    /// # Panics
    /// Where it was not kept.
    pub fn heads(&self, layer: usize, position: usize) -> &[f32] {
        assert!(!self.heads.is_empty(), "a trace that keeps what heads find");
        row(&self.heads, layer * self.len() + position, self.d)
    }

    /// The hidden layer of an MLP at `position` (f).
    ///
    /// # Panics
    /// Where it was not kept.
    pub fn hidden(&self, layer: usize, position: usize) -> &[f32] {
        assert!(!self.hidden.is_empty(), "a trace that keeps hidden layers");
        row(&self.hidden, layer * self.len() + position, self.inner)
    }

    /// The columns of a layer's [`Trace::qkv`] that hold the queries of a head, its keys and its values: where each begins.
    pub(crate) fn columns(&self, head: usize) -> [usize; 3] {
        let AttentionDims { h, h_kv, dh, .. } = self.attention;
        let shared = head / (h / h_kv);
        [head * dh, (h + shared) * dh, (h + h_kv + shared) * dh]
    }
}

fn row(all: &[f32], i: usize, width: usize) -> &[f32] {
    &all[i * width..(i + 1) * width]
}

struct Recorder<'a> {
    trace: &'a mut Trace,
    changes: &'a [Change],
}

impl Probe for Recorder<'_> {
    fn visit(&mut self, at: At, values: &mut [f32]) {
        let trace = &mut *self.trace;
        let (t, d) = (trace.len(), trace.d);
        let step = match at.site {
            Site::Embedded => 0,
            Site::Middle => 2 * at.layer + 1,
            _ => 2 * at.layer + 2,
        };
        let (all, layer, width) = match at.site {
            Site::Embedded | Site::Middle | Site::Out => (&mut trace.stream, step, d),
            Site::Qkv => (&mut trace.qkv, at.layer, trace.attention.row()),
            Site::Heads => (&mut trace.heads, at.layer, d),
            Site::Hidden => (&mut trace.hidden, at.layer, trace.inner),
        };
        apply(self.changes, at, width, values);
        if !all.is_empty() {
            let start = (layer * t + at.first) * width;
            all[start..start + values.len()].copy_from_slice(values);
        }
    }
}
