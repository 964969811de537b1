//! What a language must say: its words, and the sentence forms for everything that can happen and be asked.
//!
//! A form is a sentence with slots in braces. A slot is one character, and in Korean a particle named by its consonant
//! shape may follow it: `{t을}` is the thing with 을 or 를. A word that the tale has not used yet is drawn where its slot
//! first comes up; from then on the slot repeats it.
//!
//! | slot | it says |
//! |---|---|
//! | `a` | the one who acts, as the subject: a pronoun (English) or nothing (Korean) where the sentence before had the same subject by name |
//! | `A` | the same, always by name |
//! | `b` | the other one, by name |
//! | `2` | both as the subject: by name, or "they" where the sentence before had the same two by name |
//! | `h` `m` | he or she for `A`; him or her for `b` (English) |
//! | `t` `k` | the thing; its colour |
//! | `p` | the place |
//! | `s` | the spot where the thing lies |
//! | `f` `z` `d` | what was eaten; the animal that was seen; what two did together |
//! | `w` `c` | the weather; the time of day |
//! | `+` | a connective such as "then", or none; never the same twice in a row |

use super::Language;

/// What a sentence tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// `a` comes to the first place, on a day and at an hour.
    #[default]
    Open,
    /// `a` finds a new thing at a spot.
    Find,
    /// `a` has a new thing.
    Bring,
    /// `b`, who is new, is where `a` is.
    Arrive,
    /// The same, with a new thing in hand. `a` is the one who is new: they act.
    ArriveWith,
    /// `a`, who is new, comes to `p` when the tale is under way.
    Join,
    /// `a` gives the thing to `b`.
    Give,
    /// `a` puts the thing at a spot.
    Put,
    /// `a` takes the thing that someone else put there.
    Take,
    /// `a` loses the thing.
    Lose,
    /// `a` finds the thing they lost.
    Recover,
    /// `a` finds the thing `b` lost and gives it back.
    Return,
    /// `a` goes to `p`.
    Go,
    /// `a` and `b` go to `p`.
    GoTogether,
    /// All three go to `p`.
    GoAll,
    /// `a` goes to `p` for the first time, where `b` went before.
    Follow,
    /// `a` goes to `p`, where they have been.
    GoBack,
    /// `a` and `b` do something together.
    Play,
    /// `a` eats something.
    Eat,
    /// `a` sees an animal.
    See,
    /// `a` is glad.
    Glad,
    /// `a` is sad.
    Sad,
    /// Some last words.
    EndPlain,
    /// The thing stays lost.
    EndLost,
}

/// What a question asks, and what its answer says. Letters are the slots of the forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ask {
    /// Who had `t` at the end? `A`.
    Holder,
    /// Where was `t` at the end? `s`.
    ThingPlace,
    /// Who gave `t` to `b`? `A`.
    Giver,
    /// Who did `A` give `t` to? `b`.
    Receiver,
    /// Who lost `t`? `A`.
    WhoLost,
    /// Who found `t`? `A`.
    WhoFound,
    /// Who ate `f`? `A`.
    WhoAte,
    /// Who saw `z`? `A`.
    WhoSaw,
    /// What did `A` find? `k`, `t`.
    WhatFound,
    /// What did `A` eat? `f`.
    WhatAte,
    /// What did `A` see? `z`.
    WhatSaw,
    /// What did `A` and `b` do? `d`.
    Together,
    /// Where was `A` at the end? `p`.
    PersonPlace,
    /// Where did `A` go first? `p`.
    FirstPlace,
    /// What colour was `t`? `k`.
    Color,
    /// What was the weather? `w`.
    #[default]
    Weather,
    /// Why was `A` glad? They were given `t`.
    GladOfGift,
    /// Why was `A` glad? They found `t` again.
    GladOfFinding,
    /// Why was `A` glad? They got `t` back.
    GladOfReturn,
    /// Why was `A` sad? They lost `t`.
    SadOfLoss,
    /// Who was glad? `A`.
    WhoGlad,
    /// Who was sad? `A`.
    WhoSad,
}

/// A place and its spots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) word: &'static str,
    /// Decides which spots it has, and whether animals are about.
    pub(super) indoors: bool,
}

/// A place under the open sky.
pub(super) const fn outdoors(word: &'static str) -> Place {
    Place { word, indoors: false }
}

/// A place under a roof.
pub(super) const fn indoors(word: &'static str) -> Place {
    Place { word, indoors: true }
}

/// A row of words or forms.
pub(super) type Words = &'static [&'static str];

/// Every beginning with every end.
macro_rules! every {
    ([$($begin:literal)*] $ends:tt) => {
        [$($crate::corpus::lexicon::every!(@ $begin $ends)),*].as_flattened()
    };
    (@ $begin:literal [$($end:literal)*]) => { [$(concat!($begin, $end)),*] };
}
pub(super) use every;

/// The words and forms of a language.
pub(super) struct Lexicon {
    pub(super) language: Language,
    /// Names. In English the first half are girls', the second half boys'.
    pub(super) names: Words,
    /// Names made up of two parts, in the same order.
    pub(super) strangers: Words,
    /// He and she, him and her for the two halves, where the language has them; else a subject that repeats is left out.
    pub(super) pronouns: Option<[Pronouns; 2]>,
    /// "They", for two: at the beginning of a sentence and elsewhere.
    pub(super) they: [&'static str; 2],
    pub(super) places: &'static [Place],
    pub(super) outdoor_spots: Words,
    pub(super) indoor_spots: Words,
    pub(super) things: Words,
    pub(super) colors: Words,
    pub(super) foods: Words,
    pub(super) animals: Words,
    pub(super) games: Words,
    pub(super) weathers: Words,
    pub(super) times: Words,
    /// The first is none.
    pub(super) connectives: [&'static str; 4],
    /// What stands in for no connective where the subject is left out.
    pub(super) and: &'static str,
    /// For each weather, what a sentence about it says after the opening.
    pub(super) air: &'static [Words],
    /// For each weather, what came of it.
    pub(super) end_weather: Words,
    /// For each time of day, what followed.
    pub(super) end_time: Words,
    /// The forms of every other kind of sentence.
    pub(super) forms: fn(Kind) -> Words,
    /// The forms of a question and of its answer.
    pub(super) question: fn(Ask) -> (&'static str, &'static str),
    /// What stands before the question, and before the answer (without the space that follows).
    pub(super) labels: (&'static str, &'static str),
}

/// The pronouns of one gender.
pub(super) struct Pronouns {
    /// At the beginning of a sentence.
    pub(super) subject_first: &'static str,
    /// Anywhere else.
    pub(super) subject: &'static str,
    pub(super) object: &'static str,
}
