//! The walk: what becomes of a batch on its way through a model, one step after another.

use crate::contract::Recompute;
use schemars::JsonSchema;
use serde::Serialize;

/// Why an output is working memory where recomputation is selective.
pub(crate) const AGAIN: &str = "the backward makes it again";

/// What a step, and with it its parameters, belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// From ids to vectors.
    TokenEmbedding,
    /// Where a token stands.
    PositionEmbedding,
    /// Layer normalisation, wherever it stands.
    Norm,
    /// Between tokens.
    Attention,
    /// Within a token.
    Mlp,
    /// From vectors to logits and the loss.
    Head,
}

impl Part {
    /// Every part, in the order of the data flow.
    pub const ALL: [Part; 6] = [
        Part::TokenEmbedding,
        Part::PositionEmbedding,
        Part::Attention,
        Part::Mlp,
        Part::Norm,
        Part::Head,
    ];
}

/// What becomes of a step's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// In training it stays until the backward has read it, once a layer.
    Kept,
    /// It lies in memory that the next layer uses again.
    Working,
    /// It is another step's memory, read in another order.
    View,
    /// It never lies in memory as a whole.
    Never,
}

/// Where a step stands to a shortcut around attention or MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortcut {
    /// The stream goes past the branch that begins with this step.
    Leaves,
    /// This step adds the branch to the stream.
    Returns,
}

/// A parameter tensor of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct StepParam {
    /// Its name in the table, with `{i}` for the layer.
    pub name: &'static str,
    /// Its shape in letters, such as `d 3d`.
    pub letters: &'static str,
}

/// One step over B sequences of T tokens.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Step {
    /// What it belongs to.
    pub part: Part,
    /// Short name, the field's or the parameter's.
    pub name: &'static str,
    /// What it does, a clause.
    pub what: &'static str,
    /// The output: letter and number.
    pub shape: Vec<(&'static str, usize)>,
    /// Layers that repeat it, where it is part of a block. Flops and bytes are those of one layer.
    pub layers: Option<usize>,
    /// Parameters it reads that no step before it read.
    pub params: Vec<StepParam>,
    /// The tensor of another step that it reads once more.
    pub tied: Option<&'static str>,
    /// Multiplications and additions of the products in the forward; what is done element by element is not counted.
    pub forward_flops: f64,
    /// The same of the backward, products that are made again included.
    pub backward_flops: f64,
    /// What becomes of the output.
    pub stored: Stored,
    /// How it is stored, or why it is not.
    pub note: &'static str,
    /// Slots of the training plan that it fills.
    pub slots: Vec<&'static str>,
    /// Where a shortcut leaves or returns.
    pub shortcut: Option<Shortcut>,
}

impl Step {
    /// A step that computes without products, keeps nothing and has no parameters.
    pub(crate) fn new(part: Part, name: &'static str, what: &'static str, shape: &[(&'static str, usize)]) -> Self {
        Self {
            part,
            name,
            what,
            shape: shape.to_vec(),
            layers: None,
            params: Vec::new(),
            tied: None,
            forward_flops: 0.0,
            backward_flops: 0.0,
            stored: Stored::Never,
            note: "",
            slots: Vec::new(),
            shortcut: None,
        }
    }

    /// A step of a block, listed as selective recomputation has it, under another one.
    pub(crate) fn under(mut self, recompute: Recompute) -> Self {
        match (recompute, self.stored) {
            (Recompute::None, Stored::Working) if self.note == AGAIN => (self.stored, self.note) = (Stored::Kept, ""),
            (Recompute::Block, Stored::Kept) if self.slots != ["out"] => {
                (self.stored, self.note) = (Stored::Working, "the backward makes the block again");
            }
            _ => {}
        }
        self
    }

    pub(crate) fn params(mut self, params: &[(&'static str, &'static str)]) -> Self {
        self.params = params
            .iter()
            .map(|&(name, letters)| StepParam { name, letters })
            .collect();
        self
    }

    pub(crate) fn stored(mut self, stored: Stored, note: &'static str, slots: &[&'static str]) -> Self {
        (self.stored, self.note, self.slots) = (stored, note, slots.to_vec());
        self
    }

    /// `forward` flops, and `backward` times as many in the backward.
    pub(crate) fn flops(mut self, forward: f64, backward: f64) -> Self {
        (self.forward_flops, self.backward_flops) = (forward, backward * forward);
        self
    }

    pub(crate) fn shortcut(mut self, shortcut: Shortcut) -> Self {
        self.shortcut = Some(shortcut);
        self
    }

    /// Numbers of the output in one layer.
    pub fn elements(&self) -> u64 {
        self.shape
            .iter()
            .fold(1, |product: u64, &(_, n)| product.saturating_mul(n as u64))
    }

    /// Bytes of the output in one layer, at four bytes a number: what it takes, or would take where it is never stored.
    pub fn bytes(&self) -> u64 {
        self.elements().saturating_mul(4)
    }

    /// How many times the step runs.
    pub fn runs(&self) -> usize {
        self.layers.unwrap_or(1)
    }
}
