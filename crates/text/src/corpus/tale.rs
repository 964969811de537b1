//! The telling: which sentence comes next, and its words.
//!
//! A tale is told in steps of one sentence. What a step writes never begins with what another way of the same step writes
//! (a test goes through all ways of many steps), so a text can be read back in one way only, from left to right, and its
//! probability is the product of the choices that made it.

use std::ops::Range;

use super::english::ENGLISH;
use super::korean::KOREAN;
use super::lexicon::{Ask, Kind, Lexicon};
use super::pen::Pen;
use super::world::{EVENTS, Event, World};
use super::{Language, People, QuestionKind};

/// The middle of a tale has at least and at most so many sentences.
const MIDDLE: (u8, u8) = (2, 4);

/// What the next step tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    /// The weather again, perhaps.
    Air,
    /// The hero's thing and a friend, in either order.
    Introductions {
        thing: bool,
        friend: bool,
    },
    Middle {
        told: u8,
    },
    /// Last words, perhaps.
    Closing,
    /// A question, perhaps.
    Question,
    Done,
}

/// A question as it was asked: where its prompt and its answer lie in the text.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) kind: QuestionKind,
    pub(super) prompt: Range<usize>,
    pub(super) answer: Range<usize>,
}

/// A tale being told. It is small and cloned freely: a reader goes on from the same point in many ways.
#[derive(Clone)]
pub(super) struct Tale {
    phase: Phase,
    pub(super) world: World,
    pub(super) lexicon: &'static Lexicon,
    pub(super) people: People,
    /// The subject of the sentence before, one bit a person; 0 if it was nobody, or not said by name.
    pub(super) topic: u8,
    /// Who was mentioned in the sentence before, one bit a person.
    pub(super) mentioned: u8,
    /// The connective the sentence before began with; 0 is none.
    pub(super) connective: usize,
    /// Bytes written so far.
    pub(super) len: usize,
    asked: Option<Asked>,
    /// Tables count as no longer than this, and the middle as no longer than that.
    pub(super) limits: Limits,
}

/// How large the world is. The corpus tells of the whole of it; a test goes through every tale of a small one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Words taken from a table (never fewer than must differ in a tale).
    pub(super) words: usize,
    /// Least and most sentences in the middle.
    pub(super) middle: (u8, u8),
}

impl Limits {
    /// The whole world.
    pub(super) const WHOLE: Self = Self {
        words: usize::MAX,
        middle: MIDDLE,
    };

    /// How many words of a table of `n` there are, when `least` of them must differ.
    pub(super) fn cut(self, n: usize, least: usize) -> usize {
        n.min(self.words.max(least))
    }
}

impl Tale {
    pub(super) fn new(people: People, limits: Limits) -> Self {
        Self {
            phase: Phase::Opening,
            world: World::new(),
            lexicon: &ENGLISH,
            people,
            topic: 0,
            mentioned: 0,
            connective: 0,
            len: 0,
            asked: None,
            limits,
        }
    }

    pub(super) fn language(&self) -> Language {
        self.lexicon.language
    }

    /// The question, once the tale is over.
    pub(super) fn into_question(self) -> Option<Asked> {
        self.asked
    }

    /// Tells one more sentence (or, last, the question with its answer); `false` when the tale was over and nothing is told.
    ///
    /// Where a tale leaves something out, the same step goes on to what follows: each step but the last writes something.
    pub(super) fn step(&mut self, pen: &mut impl Pen) -> bool {
        if self.tell_on(pen) {
            return true;
        }
        let asks = self.phase == Phase::Question && pen.weigh(&[1, 2]) == 1;
        self.phase = Phase::Done;
        if asks {
            self.ask(pen);
        }
        asks
    }

    /// Tells one more sentence of the story; `false` when it was over.
    fn tell_on(&mut self, pen: &mut impl Pen) -> bool {
        loop {
            match self.phase {
                Phase::Opening => {
                    self.lexicon = [&ENGLISH, &KOREAN][pen.choose(2)];
                    self.happen(pen, Kind::Open, Event::default());
                    self.phase = Phase::Air;
                    return true;
                }
                Phase::Air => {
                    self.phase = Phase::Introductions {
                        thing: false,
                        friend: false,
                    };
                    if pen.choose(2) == 1 {
                        let weather = usize::from(self.world.weather.expect("said in the opening"));
                        self.tell_one(pen, self.lexicon.air[weather], Event::default());
                        return true;
                    }
                }
                Phase::Introductions {
                    thing: true,
                    friend: true,
                } => self.phase = Phase::Middle { told: 0 },
                Phase::Introductions { thing, friend } => {
                    let friend_now = if thing == friend { pen.choose(2) == 1 } else { thing };
                    self.introduce(pen, friend_now);
                    self.phase = Phase::Introductions {
                        thing: thing || !friend_now,
                        friend: friend || friend_now,
                    };
                    return true;
                }
                Phase::Middle { told } => {
                    let (least, most) = self.limits.middle;
                    if told >= least && (told >= most || pen.weigh(&[1, 2]) == 0) {
                        self.phase = Phase::Closing;
                        continue;
                    }
                    self.phase = Phase::Middle { told: told + 1 };
                    self.go_on(pen);
                    return true;
                }
                Phase::Closing => {
                    self.phase = Phase::Question;
                    if self.close(pen) {
                        return true;
                    }
                }
                Phase::Question | Phase::Done => return false,
            }
        }
    }

    /// Brings in the hero's thing, or the friend, who may have a thing too.
    fn introduce(&mut self, pen: &mut impl Pen, friend: bool) {
        let t = self.world.things.as_slice().len() as u8;
        let b = self.world.people.as_slice().len() as u8;
        let event = Event { t, ..Event::default() };
        let (kind, event) = match (friend, pen.choose(2)) {
            (false, 0) => (Kind::Find, event),
            (false, _) => (Kind::Bring, event),
            (true, 0) => (Kind::Arrive, Event { b, ..event }),
            (true, _) => (Kind::ArriveWith, Event { a: b, ..event }),
        };
        self.happen(pen, kind, event);
    }

    /// The middle: a mood that is due, or one of all things that can happen.
    fn go_on(&mut self, pen: &mut impl Pen) {
        if let Some(mood) = self.world.mood
            && pen.weigh(&[1, 2]) == 1
        {
            self.happen(pen, mood.kind, mood);
            return;
        }
        let possible = self.world.possible();
        let mut weights = [0; EVENTS];
        let n = possible.as_slice().len();
        for (weight, &(_, w)) in weights.iter_mut().zip(possible.as_slice()) {
            *weight = w;
        }
        let (event, _) = possible.as_slice()[pen.weigh(&weights[..n])];
        self.happen(pen, event.kind, event);
    }

    /// The last words, if there are any.
    fn close(&mut self, pen: &mut impl Pen) -> bool {
        let lost = self.world.lost();
        let event = Event {
            t: lost.unwrap_or(0),
            ..Event::default()
        };
        let word = |word: Option<u16>| usize::from(word.expect("said in the opening"));
        // Nothing; the time; the weather; a judgement of the day, or of the loss.
        match pen.weigh(if lost.is_some() { &[1, 0, 1, 3] } else { &[1, 1, 1, 1] }) {
            0 => return false,
            1 => self.tell(pen, self.lexicon.end_time[word(self.world.time)], event),
            2 => self.tell(pen, self.lexicon.end_weather[word(self.world.weather)], event),
            _ if lost.is_some() => self.tell_one(pen, (self.lexicon.forms)(Kind::EndLost), event),
            _ => self.tell_one(pen, (self.lexicon.forms)(Kind::EndPlain), event),
        }
        true
    }

    /// One of the questions that this tale answers and that were not asked before; `None` where there is no other.
    fn another_question(&self, pen: &mut impl Pen, before: &[(Ask, Event)]) -> Option<(Ask, Event)> {
        let questions = self.world.questions();
        let open = || {
            questions
                .as_slice()
                .iter()
                .filter(|question| !before.contains(question))
        };
        // First the kind, so that a kind with many candidates is not asked more often; then one of its kind.
        let mut weights = QuestionKind::WEIGHTS;
        for kind in QuestionKind::ALL {
            if !open().any(|(ask, _)| QuestionKind::of(*ask) == kind) {
                weights[kind as usize] = 0;
            }
        }
        if weights.iter().all(|&weight| weight == 0) {
            return None;
        }
        let kind = QuestionKind::ALL[pen.weigh(&weights)];
        let of_kind = || open().filter(|(ask, _)| QuestionKind::of(*ask) == kind);
        of_kind().nth(pen.choose(of_kind().count())).copied()
    }

    /// A question and its answer, where the tale ends in one.
    fn ask(&mut self, pen: &mut impl Pen) {
        let question = self
            .another_question(pen, &[])
            .expect("every tale can be asked for the weather");
        self.put(pen, "\n");
        self.asked = Some(self.put_question(pen, question));
    }

    /// Tells the tale and then asks, up to `most` different questions: where the tale ends, and the questions.
    pub(super) fn talk(&mut self, pen: &mut impl Pen, most: usize) -> (usize, Vec<Asked>) {
        while self.tell_on(pen) {}
        self.phase = Phase::Done;
        let end = self.len;
        let (mut before, mut asked) = (Vec::new(), Vec::new());
        while before.len() < most
            && let Some(question) = self.another_question(pen, &before)
        {
            before.push(question);
            asked.push(self.put_question(pen, question));
        }
        (end, asked)
    }

    /// Writes a question and its answer.
    fn put_question(&mut self, pen: &mut impl Pen, (ask, event): (Ask, Event)) -> Asked {
        let (question, answer) = (self.lexicon.question)(ask);
        let (question_label, answer_label) = self.lexicon.labels;
        let prompt = self.len;
        self.put(pen, question_label);
        self.write_form(pen, question, event);
        self.put(pen, "\n");
        self.put(pen, answer_label);
        let prompt = prompt..self.len;
        self.put(pen, " ");
        let answer_start = self.len;
        self.write_form(pen, answer, event);
        let answer = answer_start..self.len;
        self.put(pen, ".");
        Asked {
            kind: QuestionKind::of(ask),
            prompt,
            answer,
        }
    }

    /// Tells an event in one of its forms, and lets it happen.
    fn happen(&mut self, pen: &mut impl Pen, kind: Kind, event: Event) {
        let event = Event { kind, ..event };
        self.world.prepare(event);
        self.tell_one(pen, (self.lexicon.forms)(kind), event);
        self.world.apply(event);
    }

    /// Tells one of the forms.
    fn tell_one(&mut self, pen: &mut impl Pen, forms: &'static [&'static str], event: Event) {
        let form = forms[pen.choose(forms.len())];
        self.tell(pen, form, event);
    }

    /// Tells a form as the next sentence.
    fn tell(&mut self, pen: &mut impl Pen, form: &'static str, event: Event) {
        if self.len > 0 {
            self.put(pen, " ");
        }
        self.write_form(pen, form, event);
    }

    pub(super) fn put(&mut self, pen: &mut impl Pen, words: &str) {
        self.len += words.len();
        pen.write(words);
    }
}
