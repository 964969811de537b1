//! Taking something out of a forward, or putting something else in: the causal check of what a view says.

use foretoken_model::{At, Site};
use std::ops::Range;

/// What takes the place of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum With {
    /// Zeros.
    Zero,
    /// A row for each of the positions, one behind the other: what another text had there.
    Rows(Vec<f32>),
}

/// Some columns of one value, at some positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The layer.
    pub layer: usize,
    /// The value.
    pub site: Site,
    /// The columns: all d of the stream, or dh of a head.
    pub columns: Range<usize>,
    /// The tokens.
    pub positions: Range<usize>,
    /// What is put there.
    pub with: With,
}

/// Makes the changes that belong here, in their order.
///
/// # Panics
/// Where columns are not there, or rows are not as many as said.
pub(crate) fn apply(changes: &[Change], at: At, width: usize, values: &mut [f32]) {
    for change in changes
        .iter()
        .filter(|change| (change.layer, change.site) == (at.layer, at.site))
    {
        let Change {
            columns,
            positions,
            with,
            ..
        } = change;
        for (i, row) in values.chunks_exact_mut(width).enumerate() {
            let position = at.first + i;
            if !positions.contains(&position) {
                continue;
            }
            let out = &mut row[columns.clone()];
            match with {
                With::Zero => out.fill(0.0),
                With::Rows(rows) => {
                    let start = (position - positions.start) * out.len();
                    out.copy_from_slice(&rows[start..start + out.len()]);
                }
            }
        }
    }
}
