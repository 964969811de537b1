//! The built-in corpus: short stories in English and Korean, as many as you like, whose information is known exactly.
//!
//! A [`Corpus`] is a seed. Its stories are numbered: story `i` is a function of the seed and `i` alone, so any thread makes
//! any story, and validation is a range of indices that training does not touch.
//!
//! ```
//! use foretoken_text::corpus::{Corpus, Language, QuestionKind};
//! let corpus = Corpus::new(0);
//!
//! let story = corpus.story(37);
//! assert_eq!(story.language, Language::English);
//! assert_eq!(
//!     story.text,
//!     "One cloudy evening, Eva went to the fairground. The sky was gray. Eva was carrying a purple kite. She met Molly \
//!      there. Then Eva handed the kite to Molly. Molly was so glad that she jumped for joy. At last the clouds went away.\n\
//!      Question: Who was glad?\n\
//!      Answer: Molly."
//! );
//!
//! let story = corpus.story(41);
//! assert_eq!(story.language, Language::Korean);
//! assert_eq!(
//!     story.text,
//!     "어느 비 오는 날 오후, 예나는 강가에 놀러 갔어요. 풀숲 속에 놓여 있던 노란색 열쇠를 발견했어요. 그곳에는 까만색 종을 든 \
//!      지아도 있었어요. 예나가 종을 갖고 싶어 해서 지아가 선물로 주었어요. 예나는 무척 기뻐했어요. 드디어 비가 그쳤어요.\n\
//!      질문: 예나는 왜 기뻐했나요?\n\
//!      대답: 종을 받아서."
//! );
//! assert_eq!(story.question.as_ref().unwrap().kind, QuestionKind::Why);
//! assert_eq!(story.answer(), Some("종을 받아서"));
//! // Read back, the text gives the probability of the choices that made it.
//! assert_eq!(corpus.bits_of(&story.text), Some(story.bits));
//! ```
//!
//! # The world
//! Up to three people, two things and three places. Someone goes to a place, on a day with its weather and at an hour; they
//! find something or have it with them; a friend is there or comes along, perhaps with a thing too. Then two to four
//! sentences of what can happen next in the world as it is: a thing is given by who holds it to who is near, put somewhere
//! and picked up by another, lost, found again by who lost it or found and brought back by a friend; someone goes on, is
//! followed, goes back, or all go together; a third friend arrives; two do something together; someone eats, or sees an
//! animal. Who was given something, or lost it, is often said to be glad or sad. Last words may follow from the hour, the
//! weather, or a loss. Each language has 48 names (of [strangers](People::Strangers) 1,600), 24 places, 32 things in 8 colours, 16 spots, foods, animals and games.
//!
//! Two stories of three end in a question of one of 13 [kinds](QuestionKind). The story alone decides the answer, and
//! nearly every answer is made of words that came up in it.
//!
//! Half of the stories are Korean, in the plain past 해요 style of a story told to children, with particles by the final
//! sound (연을, 모자를; 공원으로, 교실로). Names that end in a consonant carry the suffix 이 everywhere (민준이는, 민준이가),
//! in answers too.
//!
//! # The floor
//! Every choice the generator makes has a known probability, and each can be read back from the text: what follows from
//! the world (a particle, a pronoun, the answer) is no choice and costs nothing. So the probability of a text is the product
//! of its choices', exactly, and [`Story::bits`] is its -log2, the story's end included. [`Corpus::entropy_estimate`] adds
//! them up for a range: about 73 bits a story in either language, 0.236 bits per byte of English (308 bytes a story), 0.164
//! of Korean (444 bytes), 0.193 of both, where a Hangul syllable counts 3 bytes and the end token none. The bits of single
//! stories spread by 10, so the mean over n stories is known to within 10 / √n bits.
//!
//! *What it means*: no model, of any size, has a lower expected loss over whole stories of this source, each read from its
//! beginning and scored on all of its tokens and its end token. Over many stories, loss minus floor is what is left to learn
//! (the Kullback-Leibler divergence). On a small set a model can be below the floor by luck, or because it has memorised it:
//! compare on validation stories, and with the floor of those very stories.
//!
//! *What it is not*: a bound on each token, or on a window that starts in the middle of a story. Such a window has not seen who
//! holds what, so its own floor is higher; mean loss over packed windows stays above the floor by that much, even for a
//! perfect model. The shorter the window, the larger the gap. Nor is it a bound for a tokeniser that can write a text in
//! several ways, if all of them are counted.
//!
//! # Strangers
//! The same stories are told of [`People::Strangers`] too, with 1,600 names a language, each of two parts. Who such a person is costs 10.6 bits
//! where a familiar one costs 5.6, and nothing again where the name comes again, to a reader who looks back: a model
//! has to copy the second part from where it stood before. The floor is 0.220 bits per byte of both languages.
//!
//! # How many stories
//! With some 73 bits a story there are of the order of 2^73 (10^22) stories in common use, and the likeliest of 100,000 has a
//! probability of 2^-48: a run of millions of stories hardly sees one twice.
//!
//! # How it is made
//! The sentence forms of a language are a table of strings with slots (`lexicon`, `english`, `korean`); the world and
//! what can happen in it know no language (`world`, `questions`). The telling (`tale`, `words`) asks a pen to choose and to
//! write. One pen draws; the other follows a text and finds the choices that made it (`pen`). The grammar exists once, so
//! generator and reader cannot disagree.

mod english;
mod korean;
mod lexicon;
mod particle;
mod pen;
mod questions;
mod random;
mod story;
mod tale;
#[cfg(test)]
mod tests;
mod words;
mod world;

use std::ops::Range;

use crate::{Conversation, Message, Role};
use pen::{Reader, Writer};
use random::Random;
pub use story::{Language, Question, QuestionKind, Story};
use tale::{Limits, Tale};

/// An endless collection of stories: a seed, and who the stories are about.
///
/// Two corpora of one seed and the same people tell the same stories; those of different seeds have nothing in common but the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corpus {
    seed: u64,
    people: People,
}

/// Whose stories are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum People {
    /// People with one of 48 names a language: a model soon knows them by heart.
    #[default]
    Familiar,
    /// People with one of 1,600 names a language, each made up of one of 40 beginnings and one of 40 ends (Tifin, Mobel; 두란이,
    /// 호미): where a beginning comes again, only the story tells the end. A model has to copy it.
    Strangers,
}

/// Longer than nearly all stories, in bytes: one allocation a story.
const USUAL_LENGTH: usize = 640;
/// What a [talk](Corpus::talk) asks at most.
const QUESTIONS: usize = 6;

impl Corpus {
    /// The corpus of a seed, about people with familiar names.
    pub fn new(seed: u64) -> Self {
        Self::about(People::Familiar, seed)
    }

    /// The corpus of a seed about such people.
    ///
    /// ```
    /// # use foretoken_text::corpus::{Corpus, People};
    /// let story = Corpus::about(People::Strangers, 0).story(37);
    /// assert!(story.text.starts_with("One cloudy evening, "));
    /// ```
    pub fn about(people: People, seed: u64) -> Self {
        Self { seed, people }
    }

    /// Story `index`: a function of the seed and the index alone, its text the same on every machine.
    ///
    /// About 2 µs: 120 to 210 MB/s of text a thread, measured on a shared machine of two cores.
    pub fn story(&self, index: u64) -> Story {
        let mut pen = Writer::new(Random::new(self.seed, index), USUAL_LENGTH);
        let mut tale = Tale::new(self.people, Limits::WHOLE);
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

    /// The tale of story `index`, and up to six different questions about it: a story teaches the more, the more is asked.
    ///
    /// The first message holds the story and the first question, as [`Story::conversation`] has them.
    ///
    /// ```
    /// # use foretoken_text::corpus::Corpus;
    /// let talk = Corpus::new(0).talk(37);
    /// assert!(talk.messages[0].content.starts_with("One cloudy evening, Eva went to the fairground."));
    /// assert_eq!(talk.messages[2].content, "Question: Who gave the kite to Molly?");
    /// assert_eq!(talk.messages[3].content, "Eva.");
    /// ```
    pub fn talk(&self, index: u64) -> Conversation {
        let mut pen = Writer::new(Random::new(self.seed, index), 2 * USUAL_LENGTH);
        let (end, asked) = Tale::new(self.people, Limits::WHOLE).talk(&mut pen, QUESTIONS);
        let text = |range: Range<usize>| &pen.text[range];
        let mut messages = Vec::with_capacity(2 * asked.len());
        for (i, question) in asked.iter().enumerate() {
            // Without the line of the answer's label.
            let (asks, _) = text(question.prompt.clone()).split_once('\n').expect("two labels");
            messages.push(Message::new(
                Role::User,
                match i {
                    0 => format!("{}\n{asks}", text(0..end)),
                    _ => asks.to_owned(),
                },
            ));
            // With its full stop.
            messages.push(Message::new(
                Role::Assistant,
                text(question.answer.start..question.answer.end + 1),
            ));
        }
        Conversation { messages }
    }

    /// The exact -log2 probability of a text as a story of any seed about these people, its end included; `None` if no story has this text.
    ///
    /// It goes through the choices that could have made the text, about 0.2 ms for a story. Any text is welcome: it leaves
    /// off where the text stops being a story.
    ///
    /// ```
    /// # use foretoken_text::corpus::Corpus;
    /// assert_eq!(Corpus::new(0).bits_of("One rainy morning, Ivy went to the moon."), None);
    /// ```
    pub fn bits_of(&self, text: &str) -> Option<f64> {
        let probability = probability_of(&Tale::new(self.people, Limits::WHOLE), text, 1.0);
        (probability > 0.0).then(|| -probability.log2())
    }

    /// The exact information in the stories of a range, and their size: the floor for a model that is scored on them.
    ///
    /// As a figure for the whole source it is an estimate, exact only in the limit (see [the floor](self#the-floor)).
    ///
    /// ```
    /// # use foretoken_text::corpus::Corpus;
    /// let floor = Corpus::new(0).entropy_estimate(0..1000).bits_per_byte();
    /// assert!((floor - 0.193).abs() < 0.005);
    /// ```
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
