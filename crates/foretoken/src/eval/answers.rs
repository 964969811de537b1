//! Answers: how well a model expects those that are known, and what it answers itself.

use super::Mean;
use crate::error::Error;
use crate::gpt::Gpt;
use foretoken_generate::{Generator, Options, Sampling};
use foretoken_text::{ChatTemplate, Conversation, Message, Role, corpus};
use foretoken_train::{BuiltIn, validation_stories};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Stories of the built-in corpus whose questions are asked unless told otherwise.
const STORIES: u64 = 1000;

/// Something asked, and the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What comes before the answer; the last message is the question.
    pub messages: Vec<Message>,
    /// The answer that is known.
    pub answer: String,
    /// The same as a text, for models that learned from texts: what stands before the answer, and the answer with what
    /// stands before it.
    pub as_text: Option<(String, String)>,
    /// Which groups it counts in, beside all.
    pub groups: Vec<String>,
}

impl Asked {
    /// The last answer of a conversation, and what comes before it; none where nothing was asked.
    pub fn last_of(conversation: Conversation) -> Option<Self> {
        let mut messages = conversation.messages;
        let at = messages.iter().rposition(|message| message.role == Role::Assistant)?;
        messages.truncate(at + 1);
        let answer = messages.pop()?.content;
        messages.last().is_some().then_some(Self {
            messages,
            answer,
            as_text: None,
            groups: Vec::new(),
        })
    }

    /// The questions of `corpus[:STORIES]`'s or `strangers[:STORIES]`'s validation stories, which no training has seen, grouped by language and kind;
    /// none where `data` are something else.
    ///
    /// # Errors
    /// A number of stories that is none.
    pub fn of_corpus(data: &[String]) -> Result<Option<Vec<Self>>, Error> {
        let Some(BuiltIn { corpus, stories, .. }) = BuiltIn::of(data)? else {
            return Ok(None);
        };
        let range = validation_stories(stories.unwrap_or(STORIES));
        let asked = |story: corpus::Story| {
            let mut asked = Self::last_of(story.conversation()?)?;
            let kind = story.question.as_ref()?.kind;
            let prompt = story.prompt()?;
            asked.as_text = Some((prompt.to_owned(), story.text[prompt.len()..].to_owned()));
            asked.groups = vec![story.language.to_string(), format!("{} {kind}", story.language)];
            Some(asked)
        };
        Ok(Some(range.filter_map(|index| asked(corpus.story(index))).collect()))
    }

    fn question(&self) -> &str {
        self.messages.last().map_or("", |message| &message.content)
    }
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The question.
    pub question: String,
    /// The answer that is known.
    pub expected: String,
    /// The model's likeliest, token by token.
    pub answer: String,
    /// Mean loss of the known answer and the token that ends it, in nats a token.
    pub loss: f64,
    /// Whether both are the same but for white space around them.
    pub exact: bool,
    /// [`character_f1`] of both.
    pub f1: f64,
}

/// Exact answers and characters shared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Share of answers that are exactly the known one.
    pub exact: Mean,
    /// Mean of [`character_f1`].
    pub f1: Mean,
}

/// How a model answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerScore {
    /// Loss in nats of every token of known answers, end tokens included.
    pub loss: Mean,
    /// All questions.
    pub all: Agreement,
    /// Those of each group.
    pub groups: BTreeMap<String, Agreement>,
    /// Each question in order.
    pub each: Vec<Answered>,
    /// Questions of which the beginning did not fit into the context.
    pub cut: u64,
    /// Tokens that were generated.
    pub generated: u64,
    /// Time spent in the model.
    pub time: Duration,
}

impl Agreement {
    fn push(&mut self, answered: &Answered) {
        self.exact.push(f64::from(u8::from(answered.exact)));
        self.f1.push(answered.f1);
    }
}

impl AnswerScore {
    /// The questions whose answers agree least, of those the ones whose known answer the model expects least.
    pub fn worst(&self, count: usize) -> Vec<&Answered> {
        let mut each: Vec<&Answered> = self.each.iter().filter(|answered| !answered.exact).collect();
        each.sort_by(|a, b| a.f1.total_cmp(&b.f1).then(b.loss.total_cmp(&a.loss)));
        each.truncate(count);
        each
    }
}

/// F1 over characters other than white space, as multisets: `2 |a ∩ b| / (|a| + |b|)`, 1 where both are empty. Characters and
/// not words: Korean words carry endings, and a particle more would make a right word wrong.
///
/// ```
/// use foretoken::eval::character_f1;
/// assert_eq!(character_f1("학교에", "학교"), 2.0 * 2.0 / 5.0);
/// assert_eq!((character_f1("a b", "ba"), character_f1("a", ""), character_f1("", " ")), (1.0, 0.0, 1.0));
/// ```
pub fn character_f1(a: &str, b: &str) -> f64 {
    let mut counts: HashMap<char, [u32; 2]> = HashMap::new();
    for (i, text) in [a, b].iter().enumerate() {
        for c in text.chars().filter(|c| !c.is_whitespace()) {
            counts.entry(c).or_default()[i] += 1;
        }
    }
    let (common, all) = counts
        .values()
        .fold((0, 0), |(common, all), [a, b]| (common + a.min(b), all + a + b));
    if all == 0 {
        1.0
    } else {
        2.0 * f64::from(common) / f64::from(all)
    }
}

/// Asks a model: the loss of the known answers, and its own by taking the likeliest token until an end token or
/// `max_tokens`. Conversations are written with the model's template; where it has none and the question is known as a text
/// ([`Asked::as_text`]), that is what it goes on with.
///
/// A question too long for the context loses its beginning.
///
/// # Errors
/// [`Error::NotFinite`], a template that refuses a conversation, [`Error::NoLoss`], no memory.
pub fn score_answers(
    gpt: &Gpt,
    asked: &[Asked],
    max_tokens: usize,
    listen: &mut dyn FnMut(&AnswerScore),
) -> Result<AnswerScore, Error> {
    gpt.check_weights()?;
    let (own, n_positions) = (gpt.own_chat_template()?, gpt.model().dims().n_positions);
    let plain = ChatTemplate::plain(gpt.tokenizer());
    let mut scorer = gpt.scorer(n_positions)?;
    let mut generator = Generator::new(gpt.model(), gpt.pool(), gpt.weights())?;
    let options = Options {
        sampling: Sampling::greedy(),
        seed: 0,
        max_tokens,
        end: gpt.end_ids(),
        vocab_size: gpt.tokenizer().vocab_size(),
        speculate: 0,
    };
    let mut score = AnswerScore::default();
    for one in asked {
        let Tokens { mut prompt, answer } = tokens(gpt, own.as_ref(), &plain, one)?;
        // Room for the answer, but no more than half of the context.
        let room = n_positions - answer.len().min(n_positions / 2);
        let over = prompt.len().saturating_sub(room);
        prompt.drain(..over);
        score.cut += u64::from(over > 0);
        let begun = Instant::now();
        let mut losses = vec![0.0; answer.len().min(n_positions - prompt.len() + 1)];
        scorer.begin(&prompt)?;
        scorer.continuation_losses(&answer[..losses.len()], &mut losses)?;
        generator.prompt(&prompt, None)?;
        let mut ids = Vec::new();
        for token in generator.sample(&options, 0)? {
            ids.push(token?.id);
        }
        score.time += begun.elapsed();
        score.generated += ids.len() as u64;
        let written = String::from_utf8_lossy(&gpt.tokenizer().decode_bytes(&ids)?)
            .trim()
            .to_owned();
        let nats: f64 = losses.iter().map(|&loss| f64::from(loss)).sum();
        losses.iter().for_each(|&loss| score.loss.push(loss.into()));
        let answered = Answered {
            question: one.question().to_owned(),
            expected: one.answer.clone(),
            exact: written == one.answer.trim(),
            f1: character_f1(&written, &one.answer),
            answer: written,
            loss: nats / losses.len() as f64,
        };
        let AnswerScore { all, groups, .. } = &mut score;
        all.push(&answered);
        for group in &one.groups {
            groups.entry(group.clone()).or_default().push(&answered);
        }
        score.each.push(answered);
        listen(&score);
    }
    Ok(score)
}

/// A question and its answer as a model reads them.
struct Tokens {
    prompt: Vec<u32>,
    /// The end token included.
    answer: Vec<u32>,
}

fn tokens(gpt: &Gpt, own: Option<&ChatTemplate>, plain: &ChatTemplate, asked: &Asked) -> Result<Tokens, Error> {
    let tokenizer = gpt.tokenizer();
    if let (None, Some((before, answer))) = (own, &asked.as_text) {
        let mut answer = tokenizer.encode(answer);
        answer.push(tokenizer.eos_id());
        let prompt = tokenizer.encode(before);
        return Ok(Tokens { prompt, answer });
    }
    let template = own.unwrap_or(plain);
    let prompt = template.encode_prompt(tokenizer, &asked.messages)?;
    let mut messages = asked.messages.clone();
    messages.push(Message::new(Role::Assistant, asked.answer.as_str()));
    let whole = template.encode(tokenizer, &Conversation { messages })?;
    // The whole begins with the prompt; behind the answer a template may write a line feed that nobody learns.
    let learned = whole
        .learn
        .iter()
        .rposition(|learn| *learn)
        .map_or(whole.ids.len(), |last| last + 1);
    let answer = whole.ids[prompt.len().min(learned)..learned].to_vec();
    Ok(Tokens { prompt, answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_own_words_are_exact_and_its_loss_is_the_scorers() {
        let dir = tempfile::tempdir().unwrap();
        let gpt = crate::open(crate::doc_model(dir.path()).unwrap()).unwrap();
        let ask = |question: &str, answer: &str| Asked::last_of(Conversation::pair(question, answer)).unwrap();
        let mut greedy = crate::GenerateOptions {
            max_tokens: 6,
            ..Default::default()
        };
        greedy.sampling = Sampling::greedy();
        let said = gpt.chat().unwrap().say("Mina", &greedy, |_| true).unwrap();
        let words = gpt.tokenizer().decode(&said.text.ids).unwrap_or_default();
        let mut asked = vec![ask("Mina", words.trim()), ask("Mina", "네 그래요")];
        asked[0].groups = vec!["own".into()];
        let score = score_answers(&gpt, &asked, 6, &mut |_| {}).unwrap();
        assert_eq!(score.each[0].answer, words.trim());
        assert!(score.each[0].exact && !score.each[1].exact);
        assert_eq!((score.all.exact.mean(), score.groups["own"].exact.mean()), (0.5, 1.0));
        assert_eq!(score.worst(5), [&score.each[1]]);
        // The loss of the second: its bytes and the end token after the prompt.
        let ids = [gpt.tokenizer().encode("Mina\n"), gpt.tokenizer().encode(" 네 그래요")];
        let mut scorer = gpt.scorer(32).unwrap();
        scorer.begin(&ids[0]).unwrap();
        let mut losses = vec![0.0; ids[1].len() + 1];
        let answer = [&ids[1][..], &[gpt.tokenizer().eos_id()]].concat();
        scorer.continuation_losses(&answer, &mut losses).unwrap();
        let mean = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64;
        assert!((score.each[1].loss - mean).abs() < 1e-6);
    }

    #[test]
    fn the_corpus_asks_in_both_languages_and_of_every_kind() {
        let asked = Asked::of_corpus(&["corpus:600".into()]).unwrap().unwrap();
        for language in ["English", "Korean"] {
            let of = |asked: &&Asked| asked.groups[0] == language;
            assert!(asked.iter().filter(of).count() > 100);
            for kind in corpus::QuestionKind::ALL {
                let name = format!("{language} {kind}");
                assert!(asked.iter().any(|asked| asked.groups[1] == name), "{name}");
            }
        }
        let (before, answer) = asked[0].as_text.as_ref().unwrap();
        assert!(answer.starts_with(' ') && before.ends_with(':') && answer.trim() == asked[0].answer);
        assert_eq!(Asked::of_corpus(&["book.txt".into()]).unwrap(), None);
    }
}
