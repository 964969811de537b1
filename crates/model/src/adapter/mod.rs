//! Adapters of low rank in PEFT's form: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! What would give other numbers and is not computed here is refused by name, as in a GGUF file. Which modules have a pair is
//! what the tensors say; the config says how each is scaled. Source: `peft/tuners/lora/` of PEFT 0.21.

mod config;

pub use config::AdapterConfig;

use crate::contract::Model;
use crate::error::Error;
use crate::params::{ParamSpec, Product};
use crate::trainable::{Rank, Trainable};
use foretoken_formats::safetensors::{Safetensors, Tensor, TensorView};
use foretoken_kernels::Buffer;
use std::collections::{BTreeSet, HashMap};

/// The file of an adapter's settings.
pub const CONFIG: &str = "adapter_config.json";
/// The file of its tensors.
pub const WEIGHTS: &str = "adapter_model.safetensors";

/// What PEFT puts before every name.
const PREFIX: &str = "base_model.model.";

/// The hidden matrices of a model that `targets` name, each the last parts of a module's name (`q_proj`,
/// `self_attn.q_proj`) as PEFT has it, or `all-linear`, which is all of them; without names PEFT's choice for the model.
///
/// # Errors
/// [`Error::Config`] for a name that is none of a hidden matrix.
pub fn targets<'a>(model: &'a dyn Model, names: &[String]) -> Result<Vec<&'a ParamSpec>, Error> {
    let specs = || model.params().specs().iter().filter(|spec| spec.hidden.is_some());
    if names.iter().any(|name| name == ALL_LINEAR) {
        return Ok(specs().collect());
    }
    let defaults: Vec<String> = model.lora_targets().iter().map(|&name| name.to_owned()).collect();
    let names = if names.is_empty() { &defaults } else { names };
    let matches = |spec: &ParamSpec, name: &str| {
        let (module, full) = (module(spec), full_module(model, spec));
        module == name || full == name || full.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
    };
    if let Some(unknown) = names.iter().find(|name| !specs().any(|spec| matches(spec, name))) {
        let last = |spec| module(spec).rsplit('.').next().unwrap_or_default().to_owned();
        let known: BTreeSet<String> = specs().map(last).collect();
        let known: Vec<String> = known.into_iter().collect();
        return Err(Error::Config {
            field: "lora_targets",
            found: unknown.clone(),
            expected: format!("{ALL_LINEAR}, or some of {}", known.join(", ")),
        });
    }
    Ok(specs()
        .filter(|spec| names.iter().any(|name| matches(spec, name)))
        .collect())
}

/// PEFT's word for every hidden matrix.
pub const ALL_LINEAR: &str = "all-linear";

/// The name of the module of a matrix, without the last part, `weight`.
fn module(spec: &ParamSpec) -> &str {
    spec.name.strip_suffix(".weight").unwrap_or(&spec.name)
}

/// [`module`] as the model with its head has it.
fn full_module(model: &dyn Model, spec: &ParamSpec) -> String {
    format!("{}{}", model.hf_prefix(), module(spec))
}

/// Names of the modules that have a pair, for `target_modules`: the last parts where they mean just these, else whole names.
pub fn target_modules(model: &dyn Model, trainable: &Trainable) -> Vec<String> {
    let chosen: BTreeSet<&str> = trainable
        .targets(model.params())
        .map(|(spec, _)| module(spec))
        .collect();
    let last: BTreeSet<&str> = chosen.iter().filter_map(|module| module.rsplit('.').next()).collect();
    let last: Vec<String> = last.into_iter().map(str::to_owned).collect();
    let means = targets(model, &last).map_or(0, |specs| specs.len());
    if means == chosen.len() {
        return last;
    }
    let prefix = model.hf_prefix();
    chosen.into_iter().map(|module| format!("{prefix}{module}")).collect()
}

/// The names in PEFT's file of what learns, in the order of its table.
pub fn names(model: &dyn Model, trainable: &Trainable) -> Vec<String> {
    let specs = trainable.table().specs().iter();
    specs
        .map(|spec| format!("{PREFIX}{}{}", model.hf_prefix(), spec.name))
        .collect()
}

/// The tensors of an arena of pairs under these names, ready to be written.
pub fn tensors<'a>(trainable: &'a Trainable, names: &'a [String], pairs: &'a [f32]) -> Vec<Tensor<'a>> {
    let parts = trainable.table().specs().iter().zip(names);
    parts
        .map(|(spec, name)| Tensor::f32(name, &spec.shape, &pairs[spec.range.clone()]))
        .collect()
}

/// A and B of one module in a file.
#[derive(Default)]
struct Found<'a> {
    a: Option<TensorView<'a>>,
    b: Option<TensorView<'a>>,
}

/// The pairs of an adapter for a model, and the arena of their numbers.
///
/// # Errors
/// A tensor of a module that the model does not have or that is no hidden matrix, of another shape or rank than model and
/// config say, without its partner, or of a kind that is not computed here; the allocator refuses.
pub fn read(model: &dyn Model, config: &AdapterConfig, file: &Safetensors) -> Result<(Trainable, Buffer), Error> {
    let mut found: HashMap<&str, Found<'_>> = HashMap::new();
    for name in file.names() {
        let tensor = file.tensor(name).expect("a name of the file");
        let (spec, is_a) = place(model, file, name)?;
        let pair = found.entry(&spec.name).or_default();
        let slot = if is_a { &mut pair.a } else { &mut pair.b };
        if slot.replace(tensor).is_some() {
            return Err(wrong(file, name, "is there twice for one matrix", "one pair a matrix"));
        }
    }
    let mut ranks: HashMap<&str, Rank> = HashMap::new();
    for spec in model.params().specs() {
        if let Some(pair) = found.get(&*spec.name) {
            ranks.insert(&spec.name, checked(model, config, file, spec, pair)?);
        }
    }
    if ranks.is_empty() {
        let expected = format!("{PREFIX}….lora_A.weight and lora_B.weight");
        return Err(wrong(file, "lora_A.weight", "is missing for every matrix", expected));
    }
    let trainable = Trainable::low_rank(model.params(), |spec| ranks.get(&*spec.name).copied());
    let mut pairs = trainable.table().zeros("pairs of low rank")?;
    let targets: Vec<&ParamSpec> = trainable.targets(model.params()).map(|(spec, _)| spec).collect();
    for (target, specs) in targets.into_iter().zip(trainable.table().specs().chunks(2)) {
        let pair = &found[&*target.name];
        for (spec, tensor) in specs.iter().zip([&pair.a, &pair.b]) {
            let tensor = tensor.as_ref().expect("both were found");
            tensor.read_f32(&mut pairs[spec.range.clone()])?;
        }
    }
    Ok((trainable, pairs))
}

/// The matrix that a tensor of an adapter belongs to, and whether it is A.
fn place<'m>(model: &'m dyn Model, file: &Safetensors, name: &str) -> Result<(&'m ParamSpec, bool), Error> {
    let stem = name.strip_prefix(PREFIX).unwrap_or(name);
    let cut = |suffix: &str| stem.strip_suffix(suffix);
    let found = (cut(".lora_A.weight").map(|module| (module, true)))
        .or_else(|| cut(".lora_B.weight").map(|module| (module, false)));
    let Some((path, is_a)) = found else {
        let problem = "is of a kind that is not computed here (DoRA, biases, embeddings, saved modules)";
        return Err(wrong(file, name, problem, "lora_A.weight and lora_B.weight alone"));
    };
    // An adapter of a model without its head has names without the prefix.
    let names = |spec: &ParamSpec| {
        let short = module(spec);
        path == short || path == full_module(model, spec) || Some(path) == short.strip_prefix("model.")
    };
    let Some(spec) = model.params().specs().iter().find(|spec| names(spec)) else {
        let problem = format!("is of `{path}`, which a {} of this size has not", model.model_type());
        let example = model.params().specs().iter().find(|spec| spec.hidden.is_some());
        let expected = example.map_or(String::new(), |spec| {
            format!(
                "a module such as {}; is it the adapter of another base?",
                full_module(model, spec)
            )
        });
        return Err(wrong(file, name, problem, expected));
    };
    if spec.hidden.is_none() {
        let problem = "is beside an embedding, a head or a norm";
        return Err(wrong(file, name, problem, "pairs beside matrices of the blocks"));
    }
    Ok((spec, is_a))
}

/// The rank and the scale of a pair whose shapes fit.
fn checked(
    model: &dyn Model,
    config: &AdapterConfig,
    file: &Safetensors,
    spec: &ParamSpec,
    pair: &Found<'_>,
) -> Result<Rank, Error> {
    let full = full_module(model, spec);
    let (a, b) = match (&pair.a, &pair.b) {
        (Some(a), Some(b)) => (a, b),
        (a, b) => {
            let there = a.as_ref().or(b.as_ref()).expect("one of them");
            let missing = if a.is_none() { "lora_A" } else { "lora_B" };
            let problem = format!("has no partner: {full}.{missing}.weight is missing");
            return Err(wrong(file, there.name, problem, "A and B of every matrix"));
        }
    };
    let (rank, alpha) = config.of(&full)?;
    let (outputs, inputs) = match spec.product {
        Some(Product::InOut) => (spec.shape[1], spec.shape[0]),
        _ => (spec.shape[0], spec.shape[1]),
    };
    for (tensor, shape, letters) in [(a, [rank, inputs], "(r,in)"), (b, [outputs, rank], "(out,r)")] {
        if *tensor.shape != shape {
            let problem = format!("has shape {:?}", tensor.shape);
            let expected = format!("{shape:?} {letters}: the rank is {rank} in {CONFIG}");
            return Err(wrong(file, tensor.name, problem, expected));
        }
    }
    let root = if config.use_rslora {
        (rank as f64).sqrt()
    } else {
        rank as f64
    };
    let scale = (alpha / root) as f32;
    Ok(Rank { rank, scale })
}

fn wrong(file: &Safetensors, name: &str, problem: impl Into<String>, expected: impl Into<String>) -> Error {
    Error::AdapterTensor {
        path: file.path().display().to_string(),
        name: name.chars().take(200).collect(),
        problem: problem.into(),
        expected: expected.into(),
    }
}
