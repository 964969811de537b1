//! What an optimiser keeps and costs, by the parameter table: allocation and the size report read the same plan.

use crate::params::ParamTable;
use foretoken_kernels::MuonShape;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Which optimiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW for every tensor.
    #[default]
    AdamW,
    /// Muon for the hidden matrices ([`ParamTable::hidden`]), AdamW for the rest.
    Muon,
}

impl OptimizerKind {
    /// Its name, as flags and files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdamW => "adamw",
            Self::Muon => "muon",
        }
    }
}

/// How an optimiser's moments are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateDtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// bf16, rounded stochastically: half the memory.
    Bf16,
}

impl StateDtype {
    /// Its name, as flags and files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes a number.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// What an optimiser keeps beside the weights, and what a step of it costs beside a pass over memory.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerPlan {
    /// How the moments are kept.
    pub dtype: StateDtype,
    /// The part of an arena that Muon updates.
    pub muon: Range<usize>,
    /// The part that has a first moment, or a momentum: all of it.
    pub m: Range<usize>,
    /// The part that has a second moment: what AdamW updates.
    pub v: Range<usize>,
    /// Floats of scratch memory that the orthogonalisation takes.
    pub scratch: usize,
    /// Floats that its products pack at most on each thread.
    pub thread_scratch: usize,
    /// Multiplications and additions of the orthogonalisation.
    pub flops: f64,
}

impl OptimizerPlan {
    /// The plan of an optimiser over a table.
    pub fn new(table: &ParamTable, kind: OptimizerKind, dtype: StateDtype) -> Self {
        let muon = match kind {
            OptimizerKind::AdamW => 0..0,
            OptimizerKind::Muon => table.hidden(),
        };
        let shapes: Vec<MuonShape> = table
            .specs()
            .iter()
            .filter(|spec| muon.contains(&spec.range.start))
            .filter_map(|spec| spec.muon_shape())
            .collect();
        let most = |of: fn(&MuonShape) -> usize| shapes.iter().map(of).max().unwrap_or(0);
        Self {
            dtype,
            m: 0..table.floats(),
            v: muon.end..table.floats(),
            muon,
            scratch: most(MuonShape::scratch),
            thread_scratch: most(MuonShape::thread_scratch),
            flops: shapes.iter().map(MuonShape::flops).sum(),
        }
    }

    /// Bytes of the moments.
    pub fn moment_bytes(&self) -> u64 {
        self.dtype.bytes() * (self.m.len() + self.v.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Preset;
    use crate::{Model, gpt2::Gpt2};

    #[test]
    fn muon_has_no_second_moment_of_hidden_matrices_and_bf16_takes_half() {
        let model = Gpt2::new(Preset::find("gpt2").unwrap().config()).unwrap();
        let table = model.params();
        let plan = |kind, dtype| OptimizerPlan::new(table, kind, dtype);
        let adamw = plan(OptimizerKind::AdamW, StateDtype::F32);
        assert_eq!(
            (adamw.moment_bytes(), adamw.scratch, adamw.flops),
            (8 * 124_439_808, 0, 0.0)
        );
        // 12 d² numbers a layer.
        let hidden = 12 * 12 * 768 * 768;
        let muon = plan(OptimizerKind::Muon, StateDtype::F32);
        assert_eq!(muon.moment_bytes(), adamw.moment_bytes() - 4 * hidden);
        assert_eq!(muon.muon, 0..hidden as usize);
        // A matrix of (d,4d), its successor, and two products of (d,d).
        assert_eq!(muon.scratch, 10 * 768 * 768);
        assert!((muon.flops / 1.63e12 - 1.0).abs() < 0.01, "{}", muon.flops);
        for kind in [OptimizerKind::AdamW, OptimizerKind::Muon] {
            let [f32, bf16] = [StateDtype::F32, StateDtype::Bf16].map(|dtype| plan(kind, dtype).moment_bytes());
            assert_eq!(f32, 2 * bf16);
        }
    }
}
