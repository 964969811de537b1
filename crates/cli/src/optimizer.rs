//! The optimizers as flags name them: `train` and `size` have the same.

use clap::ValueEnum;
use foretoken::model::{OptimizerKind, StateDtype};
use serde::Serialize;

/// As [`OptimizerKind`], for the command line.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Optimizer {
    /// Good for any batch
    Adamw,
    /// Muon for the hidden matrices, AdamW for the rest: fewer steps to the same loss, for large batches
    Muon,
}

impl From<Optimizer> for OptimizerKind {
    fn from(optimizer: Optimizer) -> Self {
        match optimizer {
            Optimizer::Adamw => Self::AdamW,
            Optimizer::Muon => Self::Muon,
        }
    }
}

/// As [`StateDtype`], for the command line.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OptimizerState {
    /// 8 bytes a parameter with AdamW
    F32,
    /// Half of it; rounded stochastically, so that the moments stay right on average
    Bf16,
}

impl From<OptimizerState> for StateDtype {
    fn from(state: OptimizerState) -> Self {
        match state {
            OptimizerState::F32 => Self::F32,
            OptimizerState::Bf16 => Self::Bf16,
        }
    }
}
