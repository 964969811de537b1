//! A story and its question.

use std::fmt;
use std::ops::Range;

use super::lexicon::Ask;
use crate::Conversation;

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
    pub(super) const WEIGHTS: [u32; 13] = [4, 6, 2, 4, 5, 5, 4, 4, 6, 1, 1, 6, 5];

    pub(super) fn of(ask: Ask) -> Self {
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

/// A story: its text, and what the corpus knows about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// One line of sentences; with a question, two more lines. No newline at the end, and no end token: whoever packs
    /// stories adds it.
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

    /// The story and its question, and the answer with its full stop. `None` without a question.
    ///
    /// ```
    /// # use foretoken_text::corpus::Corpus;
    /// let talk = Corpus::new(0).story(37).conversation().unwrap();
    /// assert!(talk.messages[0].content.ends_with("At last the clouds went away.\nQuestion: Who was glad?"));
    /// assert_eq!(talk.messages[1].content, "Molly.");
    /// ```
    pub fn conversation(&self) -> Option<Conversation> {
        let question = self.question.as_ref()?;
        let (before, _) = self.text[..question.prompt_range.end].rsplit_once('\n')?;
        Some(Conversation::pair(before, &self.text[question.answer_range.start..]))
    }

    /// The answer, which a model should continue the prompt with, after a space and before a full stop.
    pub fn answer(&self) -> Option<&str> {
        self.question.as_ref().map(|q| &self.text[q.answer_range.clone()])
    }
}
