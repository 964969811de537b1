//! The built-in corpus.
mod english;
mod korean;
mod lexicon;
mod particle;
mod pen;
mod questions;
mod random;
mod tale;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;
use std::ops::Range;

use lexicon::Ask;
use pen::{Reader, Writer};
use random::Random;
use tale::{Limits, Tale};

/// The language of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    English,
    /// Korean.
    Korean,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::English => "English",
            Self::Korean => "Korean",
        })
    }
}

/// What a question asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuestionKind {
    /// Who has a thing at the end.
    Holder,
    /// Where a thing is at the end.
    ThingPlace,
    /// Where someone is at the end.
    PersonPlace,
    /// Where the first person of the story went first.
    FirstPlace,
    /// Who gave a thing to someone.
    Giver,
    /// Who got a thing from someone.
    Receiver,
    /// Who found, lost, ate or saw something.
    Who,
    /// What someone found, ate or saw.
    What,
    /// What two people did together.
    Together,
    /// The colour of a thing.
    Color,
    /// The weather.
    Weather,
    /// Why someone was glad or sad.
    Why,
    /// Who was glad or sad.
    Mood,
}

impl QuestionKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::Holder,
        Self::ThingPlace,
        Self::PersonPlace,
        Self::FirstPlace,
        Self::Giver,
        Self::Receiver,
        Self::Who,
        Self::What,
        Self::Together,
        Self::Color,
        Self::Weather,
        Self::Why,
        Self::Mood,
    ];

    /// How often a kind is asked where the story allows it: what every story allows is asked less.
    const WEIGHTS: [u32; 13] = [4, 6, 2, 4, 5, 5, 4, 4, 6, 1, 1, 6, 5];

    fn of(ask: Ask) -> Self {
        match ask {
            Ask::Holder => Self::Holder,
            Ask::ThingPlace => Self::ThingPlace,
            Ask::PersonPlace => Self::PersonPlace,
            Ask::FirstPlace => Self::FirstPlace,
            Ask::Giver => Self::Giver,
            Ask::Receiver => Self::Receiver,
            Ask::WhoLost | Ask::WhoFound | Ask::WhoAte | Ask::WhoSaw => Self::Who,
            Ask::WhatFound | Ask::WhatAte | Ask::WhatSaw => Self::What,
            Ask::Together => Self::Together,
            Ask::Color => Self::Color,
            Ask::Weather => Self::Weather,
            Ask::GladOfGift | Ask::GladOfFinding | Ask::GladOfReturn | Ask::SadOfLoss => Self::Why,
            Ask::WhoGlad | Ask::WhoSad => Self::Mood,
        }
    }

    /// A short name for tables: lower case, `-` between words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holder => "holder",
            Self::ThingPlace => "thing-place",
            Self::PersonPlace => "person-place",
            Self::FirstPlace => "first-place",
            Self::Giver => "giver",
            Self::Receiver => "receiver",
            Self::Who => "who",
            Self::What => "what",
            Self::Together => "together",
            Self::Color => "color",
            Self::Weather => "weather",
            Self::Why => "why",
            Self::Mood => "mood",
        }
    }
}

impl fmt::Display for QuestionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The question a story ends in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What it asks for.
    pub kind: QuestionKind,
    /// The bytes from the question's label through the answer's, without the space that follows: `Question: … \nAnswer:`.
    pub prompt_range: Range<usize>,
    /// The bytes of the answer, without the space before and the full stop after it.
    pub answer_range: Range<usize>,
}

/// A story.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// One line of sentences; with a question, two more lines. No newline at the end, and no end token: whoever packs stories adds it.
    pub text: String,
    /// Its language.
    pub language: Language,
    /// -log2 of the probability that the corpus tells exactly this text and then ends.
    pub bits: f64,
    /// The question, if the story ends in one.
    pub question: Option<Question>,
}

impl Story {
    /// The text up to and including the answer's label: what a model is given. `None` without a question.
    pub fn prompt(&self) -> Option<&str> {
        self.question.as_ref().map(|q| &self.text[..q.prompt_range.end])
    }

    /// The answer, which a model should continue the prompt with, after a space and before a full stop.
    pub fn answer(&self) -> Option<&str> {
        self.question.as_ref().map(|q| &self.text[q.answer_range.clone()])
    }
}

/// An endless collection of short stories in English and Korean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corpus {
    seed: u64,
}

/// Longer than nearly all stories, in bytes.
const USUAL_LENGTH: usize = 640;

impl Corpus {
    /// The corpus of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Story `index`: a function of the seed and the index alone.
    pub fn story(&self, index: u64) -> Story {
        let mut pen = Writer::new(Random::new(self.seed, index), USUAL_LENGTH);
        let mut tale = Tale::new(Limits::WHOLE);
        while tale.step(&mut pen) {}
        Story {
            language: tale.language(),
            bits: -pen.probability.log2(),
            question: tale.into_question().map(|asked| Question {
                kind: asked.kind,
                prompt_range: asked.prompt,
                answer_range: asked.answer,
            }),
            text: pen.text,
        }
    }

    /// The exact -log2 probability of a text under the corpus, its end included; `None` if no story has this text.
    pub fn bits_of(text: &str) -> Option<f64> {
        let probability = probability_of(&Tale::new(Limits::WHOLE), text, 1.0);
        (probability > 0.0).then(|| -probability.log2())
    }

    /// The exact information in the stories of a range, and their size.
    pub fn entropy_estimate(&self, indices: Range<u64>) -> Entropy {
        let mut entropy = Entropy {
            stories: 0,
            bits: 0.0,
            bytes: 0,
        };
        for index in indices {
            let story = self.story(index);
            entropy.stories += 1;
            entropy.bits += story.bits;
            entropy.bytes += story.text.len() as u64;
        }
        entropy
    }
}

/// The probability that a tale goes on with exactly this text and then ends, times `before`.
fn probability_of(tale: &Tale, text: &str, before: f64) -> f64 {
    let mut reader = Reader::of(text);
    let mut sum = 0.0;
    loop {
        reader.start(before);
        let mut next = tale.clone();
        let more = next.step(&mut reader);
        match reader.matched() {
            Some(n) if more => sum += probability_of(&next, &text[n..], reader.probability),
            Some(n) if n == text.len() => sum += reader.probability,
            _ => {}
        }
        if !reader.next() {
            return sum;
        }
    }
}

/// How much information some stories hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entropy {
    /// Number of stories.
    pub stories: u64,
    /// Sum of their [`bits`](Story::bits): what the source's choices cost, each story's end included.
    pub bits: f64,
    /// Sum of the lengths of their texts, UTF-8; the end token has no bytes.
    pub bytes: u64,
}

impl Entropy {
    /// Bits per byte: 0 for no stories.
    pub fn bits_per_byte(&self) -> f64 {
        if self.bytes == 0 {
            0.0
        } else {
            self.bits / self.bytes as f64
        }
    }
}
