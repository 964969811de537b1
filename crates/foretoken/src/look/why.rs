//! Who raised a logit, with words; and what happens without them.

use super::{Look, Piece, step_name};
use crate::error::Error;
use foretoken_lens::{Change, Keep, Part, Source, Trace, With, attribute, distribution, head_sources};
use foretoken_model::Site;
use schemars::JsonSchema;
use serde::Serialize;

/// Sources that a head's bar names.
const SOURCES: usize = 3;

/// The account of a logit, or of a difference of two.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Why {
    /// `why`.
    #[schemars(extend("const" = "why"))]
    pub view: &'static str,
    /// Which model.
    pub model: String,
    /// Every token.
    pub tokens: Vec<Piece>,
    /// The position whose next token it is about.
    pub position: usize,
    /// Whose logit.
    pub token: (u32, String),
    /// Less whose, if any.
    pub against: Option<(u32, String)>,
    /// The logit, or the difference, as the model computes it.
    pub logit: f64,
    /// What each part added; they sum to the logit.
    pub bars: Vec<Bar>,
    /// The heads that added or took most, the most first.
    pub heads: Vec<HeadBar>,
    /// What is measured without a head, where that was asked: not the same as what it added, for what it does by way of later layers
    /// counts too.
    pub ablated: Vec<Ablated>,
    /// What another text's values bring, where that was asked.
    pub patched: Vec<Patched>,
}

/// A part of the stream.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Bar {
    /// Which.
    #[serde(flatten)]
    pub part: Part,
    /// Its name.
    pub name: String,
    /// What it added.
    pub added: f64,
}

/// A head of a layer's attention.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct HeadBar {
    /// From 0.
    pub layer: usize,
    /// From 0.
    pub head: usize,
    /// What it added.
    pub added: f64,
    /// The tokens it brought that from.
    pub sources: Vec<Source>,
}

/// A forward without a head, at all positions.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Ablated {
    /// From 0.
    pub layer: usize,
    /// From 0.
    pub head: usize,
    /// The logit, or the difference, without it.
    pub logit: f64,
    /// How much less that is.
    pub change: f64,
}

/// A forward with the stream of another text at one place.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Patched {
    /// The step after which, 0 is before the first layer.
    pub step: usize,
    /// Its name.
    pub name: String,
    /// The token.
    pub position: usize,
    /// The logit, or the difference, with it.
    pub logit: f64,
}

impl Look<'_> {
    /// Takes the logit of `token` behind `position` apart (of the likeliest where none is named), or how far it is above that of `against`; the `count` heads that matter most,
    /// and each of those measured by removal where `ablate` is set.
    ///
    /// # Errors
    /// No memory.
    pub fn why(
        &self,
        position: usize,
        token: Option<u32>,
        against: Option<u32>,
        count: usize,
        ablate: bool,
    ) -> Result<Why, Error> {
        let subject = self.gpt.subject();
        let trace = self.trace(
            Keep {
                qkv: true,
                heads: true,
                hidden: false,
            },
            &[],
        )?;
        let likeliest = || distribution(&self.logits(&trace, position), 1).top[0].id;
        let token = token.unwrap_or_else(likeliest);
        let account = attribute(subject, &trace, position, token, against);
        let mut heads: Vec<HeadBar> = Vec::new();
        for (layer, added) in account.heads.iter().enumerate() {
            heads.extend(added.iter().enumerate().map(|(head, &added)| HeadBar {
                layer,
                head,
                added,
                sources: Vec::new(),
            }));
        }
        heads.sort_by(|a, b| b.added.abs().total_cmp(&a.added.abs()));
        heads.truncate(count);
        for bar in &mut heads {
            let mut sources = head_sources(subject, &trace, (bar.layer, bar.head), position, token, against);
            sources.sort_by(|a, b| {
                b.added
                    .abs()
                    .total_cmp(&a.added.abs())
                    .then(a.position.cmp(&b.position))
            });
            sources.truncate(SOURCES);
            bar.sources = sources;
        }
        let mut ablated = Vec::new();
        if ablate {
            for bar in &heads {
                let logit = self.logit_with(&[self.without(bar.layer, bar.head)], position, token, against)?;
                ablated.push(Ablated {
                    layer: bar.layer,
                    head: bar.head,
                    logit,
                    change: logit - account.logit,
                });
            }
        }
        let bar = |(part, added): (Part, f64)| Bar {
            part,
            name: name(part),
            added,
        };
        Ok(Why {
            view: "why",
            model: self.model_name(),
            tokens: self.pieces.clone(),
            position,
            token: (token, self.label(token)),
            against: against.map(|id| (id, self.label(id))),
            logit: account.logit,
            bars: account.parts.into_iter().map(bar).collect(),
            heads,
            ablated,
            patched: Vec::new(),
        })
    }

    /// The change that takes a head out at every position.
    pub fn without(&self, layer: usize, head: usize) -> Change {
        let dh = self.gpt.model().dims().head_dim();
        Change {
            layer,
            site: Site::Heads,
            columns: head * dh..(head + 1) * dh,
            positions: 0..self.ids.len(),
            with: With::Zero,
        }
    }

    /// The logit, or the difference, behind `position` where the stream after each step has, at each position in which the two texts
    /// differ, what `other` has there. What comes back shows where the difference lives: an answer that follows the patch was carried
    /// there.
    ///
    /// # Errors
    /// [`Error::PatchLength`] where the texts have different numbers of tokens; no memory.
    pub fn patched(
        &self,
        other: &Look<'_>,
        position: usize,
        token: u32,
        against: Option<u32>,
    ) -> Result<Vec<Patched>, Error> {
        if other.ids.len() != self.ids.len() {
            return Err(Error::PatchLength {
                tokens: self.ids.len(),
                other: other.ids.len(),
            });
        }
        let theirs = other.trace(Keep::STREAM, &[])?;
        let differs = |&p: &usize| self.ids[p] != other.ids[p];
        let mut places: Vec<usize> = (0..=position).filter(differs).collect();
        places.push(position);
        places.dedup();
        let mut patched = Vec::new();
        for step in 0..=2 * theirs.layers {
            for &place in &places {
                let change = patch(&theirs, step, place);
                let logit = self.logit_with(&[change], position, token, against)?;
                patched.push(Patched {
                    step,
                    name: step_name(step),
                    position: place,
                    logit,
                });
            }
        }
        Ok(patched)
    }

    /// The logit behind a position, or how far it is above another's, where a forward is changed.
    ///
    /// # Errors
    /// No memory.
    pub fn logit_with(
        &self,
        changes: &[Change],
        position: usize,
        token: u32,
        against: Option<u32>,
    ) -> Result<f64, Error> {
        let trace = self.trace(Keep::STREAM, changes)?;
        let logits = self.logits(&trace, position);
        let logit = |id: u32| f64::from(logits[id as usize]);
        Ok(logit(token) - against.map_or(0.0, logit))
    }
}

/// The change that puts another forward's stream in place.
fn patch(theirs: &Trace, step: usize, position: usize) -> Change {
    let (layer, site) = match step {
        0 => (0, Site::Embedded),
        step if step % 2 == 1 => (step / 2, Site::Middle),
        step => (step / 2 - 1, Site::Out),
    };
    Change {
        layer,
        site,
        columns: 0..theirs.d,
        positions: position..position + 1,
        with: With::Rows(theirs.at(step, position).to_vec()),
    }
}

fn name(part: Part) -> String {
    match part {
        Part::Token => "token embedding".into(),
        Part::Position => "position".into(),
        Part::Attention { layer } => step_name(2 * layer + 1),
        Part::Mlp { layer } => step_name(2 * layer + 2),
        Part::Bias => "last norm's bias".into(),
    }
}
