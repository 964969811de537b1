//! Accuracy on multiple-choice questions.

use super::{Mean, Question};
use crate::error::Error;
use crate::gpt::Gpt;
use crate::score::Scorer;
use foretoken_text::Tokenizer;
use std::time::{Duration, Instant};

/// How often a model expects the right answer most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChoiceScore {
    /// Questions.
    pub questions: u64,
    /// Choices of all of them.
    pub choices: u64,
    /// By log-probability of the choice.
    pub accuracy: Mean,
    /// By log-probability a byte of the choice.
    pub accuracy_norm: Mean,
    /// Questions where the right answer shares the first place: of k, it counts 1/k. By the sum, and a byte.
    pub ties: [u64; 2],
    /// Questions of which the beginning did not fit into the context.
    pub cut: u64,
    /// Credit of each question: by the sum, and a byte.
    pub credits: Vec<[f64; 2]>,
    /// Credits less those of the model it is compared with: by the sum, and a byte.
    pub difference: Option<[Mean; 2]>,
    /// Time spent in the model.
    pub time: Duration,
}

/// Answers every question by how probable its choices are after its prompt.
///
/// Prompt, `delimiter` and choice are one text: a tokeniser may join what stands on either side of a seam. As many of the
/// text's tokens as the prompt has alone are the prompt, the others the choice, and white space that ends the prompt
/// belongs to the choice: it is the beginning of the next word's token. So lm-eval has it. The delimiter (a space, there)
/// is left out where white space stands already, and where the prompt is empty; the choice then follows the end-of-text token.
///
/// The first accuracy compares sums of log-probabilities, the second divides by the bytes of the choice, without the
/// delimiter; lm-eval's `acc_norm` divides by its characters, which is the same for ASCII. A prompt too long for the
/// context loses its beginning. The prompt is read once for all choices of a question.
///
/// `against` are the [`ChoiceScore::credits`] of another model.
///
/// # Errors
/// [`Error::Question`] where a choice alone is longer than the context, [`Error::Windows`],
/// [`Error::NotFinite`], [`Error::NoLoss`], no memory.
///
/// # Panics
/// Where `against` are the credits of fewer questions.
pub fn score_choices(
    gpt: &Gpt,
    (origin, questions): (&str, &[Question]),
    delimiter: &str,
    context: Option<usize>,
    against: Option<&[[f64; 2]]>,
    listen: &mut dyn FnMut(&ChoiceScore),
) -> Result<ChoiceScore, Error> {
    gpt.check_weights()?;
    let mut scorer = gpt.scorer(context.unwrap_or(gpt.model().dims().n_positions))?;
    let mut score = ChoiceScore {
        difference: against.map(|_| [Mean::default(); 2]),
        ..Default::default()
    };
    for question in questions {
        let (texts, cut) =
            texts(gpt.tokenizer(), question, delimiter, scorer.context()).map_err(|message| Error::Question {
                origin: origin.to_owned(),
                line: question.line,
                message,
            })?;
        let begun = Instant::now();
        let sums = log_probabilities(&mut scorer, &texts)?;
        score.time += begun.elapsed();
        let a_byte = sums.iter().zip(&question.choices);
        let a_byte: Vec<f64> = a_byte.map(|(sum, choice)| sum / choice.len() as f64).collect();
        let mut credits = [0.0; 2];
        for (by, values) in [sums, a_byte].iter().enumerate() {
            let (credit, shared) = credit(values, question.answer);
            credits[by] = credit;
            score.ties[by] += u64::from(shared);
        }
        score.accuracy.push(credits[0]);
        score.accuracy_norm.push(credits[1]);
        if let (Some(difference), Some(against)) = (&mut score.difference, against) {
            let other = against[score.credits.len()];
            (0..2).for_each(|by| difference[by].push(credits[by] - other[by]));
        }
        score.credits.push(credits);
        score.questions += 1;
        score.choices += question.choices.len() as u64;
        score.cut += u64::from(cut);
        listen(&score);
    }
    Ok(score)
}

/// What the right answer gets: all where it alone is the best, its share where it is one of the best. And whether it shares.
fn credit(values: &[f64], answer: usize) -> (f64, bool) {
    let best = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values[answer] < best {
        return (0.0, false);
    }
    let share = values.iter().filter(|&&value| value == best).count();
    (1.0 / share as f64, share > 1)
}

/// A prompt with a choice: its tokens, and how many of them are the prompt's.
#[derive(Debug, PartialEq)]
struct Whole {
    ids: Vec<u32>,
    prompt: usize,
}

/// The texts of a question, cut at their beginning to what the context holds, and whether one was cut.
fn texts(
    tokenizer: &Tokenizer,
    question: &Question,
    delimiter: &str,
    context: usize,
) -> Result<(Vec<Whole>, bool), String> {
    let (mut texts, mut cut) = (Vec::with_capacity(question.choices.len()), false);
    for (place, choice) in question.choices.iter().enumerate() {
        let mut whole = join(tokenizer, &question.prompt, delimiter, choice);
        // The last token is never read.
        let over = (whole.ids.len() - 1).saturating_sub(context);
        if over >= whole.prompt {
            return Err(format!(
                "choice {place} (counted from 0) has {} tokens, more than the context of {context} holds",
                whole.ids.len() - whole.prompt
            ));
        }
        whole.ids.drain(..over);
        whole.prompt -= over;
        cut |= over > 0;
        texts.push(whole);
    }
    Ok((texts, cut))
}

fn join(tokenizer: &Tokenizer, prompt: &str, delimiter: &str, choice: &str) -> Whole {
    let seam = prompt.is_empty() || prompt.ends_with(char::is_whitespace) || choice.starts_with(char::is_whitespace);
    let text = [prompt, if seam { "" } else { delimiter }, choice].concat();
    let alone = prompt.trim_end();
    if alone.is_empty() {
        let mut ids = vec![tokenizer.eos_id()];
        ids.extend(tokenizer.encode(&text));
        return Whole { ids, prompt: 1 };
    }
    let ids = tokenizer.encode(&text);
    // Where the seam's token swallows the choice whole, it is the choice.
    let prompt = tokenizer.encode(alone).len().min(ids.len() - 1);
    match prompt {
        0 => Whole {
            ids: std::iter::once(tokenizer.eos_id()).chain(ids).collect(),
            prompt: 1,
        },
        _ => Whole { ids, prompt },
    }
}

/// The log-probability of each choice: of all its tokens, each after those before it.
fn log_probabilities(scorer: &mut Scorer<'_>, texts: &[Whole]) -> Result<Vec<f64>, Error> {
    let common = common(texts);
    let mut sums = Vec::with_capacity(texts.len());
    for (place, Whole { ids, prompt }) in texts.iter().enumerate() {
        // Texts that were cut begin at places of their own.
        let begun = if common > 0 { common } else { *prompt };
        if place == 0 || common == 0 {
            scorer.begin(&ids[..begun])?;
        }
        let mut losses = vec![0.0; ids.len() - prompt];
        scorer.continuation_losses(&ids[begun..], &mut losses)?;
        sums.push(-losses.into_iter().map(f64::from).sum::<f64>());
    }
    Ok(sums)
}

/// How many tokens all prompts begin with. They differ where a choice changes its prompt's last tokens.
fn common(texts: &[Whole]) -> usize {
    let first = &texts[0].ids[..texts[0].prompt];
    let same = |whole: &Whole| {
        let pairs = first.iter().zip(&whole.ids[..whole.prompt]);
        pairs.take_while(|(a, b)| a == b).count()
    };
    texts.iter().map(same).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_text::{Kind, Trainer};

    #[test]
    fn ties_share() {
        assert_eq!(credit(&[-3.0, -1.0, -2.0], 1), (1.0, false));
        assert_eq!(credit(&[-3.0, -1.0, -2.0], 0), (0.0, false));
        assert_eq!(credit(&[-1.0, -1.0, -2.0, -1.0], 3), (1.0 / 3.0, true));
        // A tie of others is none of its business.
        assert_eq!(credit(&[-1.0, -1.0, -2.0], 2), (0.0, false));
    }

    #[test]
    fn the_seam_between_prompt_and_choice() {
        let mut trainer = Trainer::new(Kind::Bpe, 300).unwrap();
        trainer.feed(&"the cat the cat\nabc\nab\n".repeat(9));
        let tokenizer = trainer.finish();
        let eos = tokenizer.eos_id();
        let ids = |text: &str| tokenizer.encode(text);
        let parts = |prompt: &str, choice: &str| {
            let whole = join(&tokenizer, prompt, " ", choice);
            let (prompt, choice) = whole.ids.split_at(whole.prompt);
            (prompt.to_vec(), choice.to_vec())
        };
        assert_eq!(parts("the", "cat"), (ids("the"), ids(" cat")));
        assert_eq!(
            parts("the ", "cat"),
            (ids("the"), ids(" cat")),
            "the space is the choice's"
        );
        assert_eq!(parts("the", " cat"), (ids("the"), ids(" cat")));
        assert_eq!(parts("the\n", "cat"), (ids("the"), ids("\ncat")));
        assert_eq!(parts("", "cat"), (vec![eos], ids("cat")));
        assert_eq!(parts(" ", "cat"), (vec![eos], ids(" cat")));
        // Without a delimiter a token may reach over the seam: lm-eval's count decides.
        let whole = join(&tokenizer, "a", "", "bc");
        assert_eq!(ids("abc").len(), 1);
        assert_eq!(
            whole,
            Whole {
                ids: vec![eos, ids("abc")[0]],
                prompt: 1
            }
        );
        let whole = join(&tokenizer, "the a", "", "b");
        assert_eq!(
            (whole.ids, whole.prompt),
            (ids("the ab"), ids("the a").len().min(ids("the ab").len() - 1))
        );
    }

    #[test]
    fn a_prompt_too_long_loses_its_beginning_and_a_choice_too_long_is_refused() {
        let tokenizer = Tokenizer::byte();
        let question = |prompt: &str, choices: [&str; 2]| Question {
            prompt: prompt.into(),
            choices: choices.map(str::to_owned).into(),
            answer: 0,
            line: 7,
        };
        let of = |prompt, choices, context| texts(&tokenizer, &question(prompt, choices), "", context);
        let (whole, cut) = of("abcdef", ["xy", "z"], 7).unwrap();
        assert!(!cut && common(&whole) == 6);
        let (whole, cut) = of("abcdef", ["xy", "z"], 6).unwrap();
        assert!(cut && common(&whole) == 0);
        assert_eq!(
            (whole[0].ids.as_slice(), whole[0].prompt),
            (&b"bcdefxy".map(u32::from)[..], 5)
        );
        assert_eq!(
            (whole[1].ids.as_slice(), whole[1].prompt),
            (&b"abcdefz".map(u32::from)[..], 6)
        );
        assert_eq!(of("abcdef", ["xyz", "z"], 3).unwrap().0[0].prompt, 1);
        let error = of("abcdef", ["z", "wxyz"], 3).unwrap_err();
        assert!(error.contains("choice 1 (counted from 0) has 4 tokens"), "{error}");
    }
}
