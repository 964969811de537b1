//! What is learnt, by part and by tensor.

use crate::contract::Model;
use crate::walk::{Part, Step};
use serde::Serialize;
use std::collections::HashMap;

/// Everything that is learnt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameters {
    /// Learnt numbers.
    pub count: u64,
    /// Bytes in f32, padding included.
    pub bytes: u64,
    /// By part; the parts sum to the count.
    pub parts: Vec<PartRow>,
    /// By tensor, those of the same name in every layer as one row.
    pub tensors: Vec<TensorRow>,
}

/// The parameters of a part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartRow {
    /// Which.
    pub part: Part,
    /// Learnt numbers.
    pub count: u64,
    /// Of all, 0 to 1.
    pub share: f64,
    /// The tensor of another part that it uses instead of one of its own.
    pub tied: Option<&'static str>,
}

/// A tensor, or one a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorRow {
    /// Its name in the file, such as `h.{0..11}.ln_1.weight`.
    pub name: String,
    /// Where it belongs.
    pub part: Part,
    /// Its shape in letters.
    pub letters: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How many there are.
    pub copies: usize,
    /// Learnt numbers of one.
    pub each: u64,
    /// Learnt numbers of all.
    pub count: u64,
    /// Whether weight decay pulls at it.
    pub decay: bool,
}

/// The parameters, and how many each step reads in one layer.
///
/// # Panics
/// Where the walk and the table do not name the same tensors: a mistake of the variant.
pub(super) fn parameters(model: &dyn Model, steps: &[Step]) -> (Parameters, Vec<u64>) {
    let table = model.params();
    let specs: HashMap<&str, _> = table.specs().iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let mut tensors = Vec::new();
    let mut counts = Vec::new();
    for step in steps {
        let from = tensors.len();
        for param in &step.params {
            let name = |i: usize| param.name.replace("{i}", &i.to_string());
            let find = |i| {
                specs
                    .get(name(i).as_str())
                    .unwrap_or_else(|| panic!("the table has no tensor {}", name(i)))
            };
            let (copies, spec) = (step.runs(), find(0));
            let same = (1..copies).all(|i| find(i).shape == spec.shape);
            assert!(same, "{} has the same shape in every layer", param.name);
            tensors.push(TensorRow {
                name: match step.layers {
                    Some(layers) if layers > 1 => param.name.replace("{i}", &format!("{{0..{}}}", layers - 1)),
                    _ => name(0),
                },
                part: step.part,
                letters: param.letters,
                shape: spec.shape.clone(),
                copies,
                each: spec.len() as u64,
                count: (spec.len() * copies) as u64,
                decay: spec.decay,
            });
        }
        counts.push(tensors[from..].iter().map(|tensor: &TensorRow| tensor.each).sum());
    }
    let count = table.count();
    let parts: Vec<PartRow> = Part::ALL
        .into_iter()
        .map(|part| {
            let own = tensors.iter().filter(|tensor| tensor.part == part);
            let own: u64 = own.map(|tensor| tensor.count).sum();
            let tied = steps.iter().filter(|step| step.part == part).find_map(|step| step.tied);
            PartRow {
                part,
                count: own,
                share: own as f64 / count as f64,
                tied,
            }
        })
        .collect();
    assert_eq!(
        parts.iter().map(|part| part.count).sum::<u64>(),
        count,
        "every tensor belongs to one step of the walk"
    );
    (
        Parameters {
            count,
            bytes: 4 * table.floats() as u64,
            parts,
            tensors,
        },
        counts,
    )
}
