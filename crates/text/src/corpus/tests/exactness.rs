use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::pen::{Reader, Writer};
use super::super::random::Random;
use super::super::tale::{Limits, Tale};
use super::super::{Corpus, People};

/// Every way to tell one step: its text, its probability, the tale after it, and whether the tale goes on.
fn ways(tale: &Tale) -> Vec<(String, f64, Tale, bool)> {
    let mut reader = Reader::of_everything();
    let mut all = Vec::new();
    loop {
        reader.start(1.0);
        let mut next = tale.clone();
        let more = next.step(&mut reader);
        if reader.matched().is_some() {
            all.push((reader.taken.clone(), reader.probability, next, more));
        }
        if !reader.next() {
            return all;
        }
    }
}

/// A text is read back step by step from the left. If no way of a step begins with another way of the same step, only one
/// way fits at each step, so two different series of choices never make the same text. The end counts as a way too.
#[test]
fn each_step_of_the_whole_world_can_be_read_in_one_way() {
    let mut total = 0;
    let check = |tale: &Tale, told: &str| {
        let all = ways(tale);
        let sum: f64 = all.iter().map(|way| way.1).sum();
        assert!((sum - 1.0).abs() < 1e-9, "after {told:?}: {sum}");
        let end = |(text, _, _, more): (String, f64, Tale, bool)| if more { text } else { text + "\0" };
        let mut texts: Vec<String> = all.into_iter().map(end).collect();
        texts.sort_unstable();
        for pair in texts.windows(2) {
            assert!(!pair[1].starts_with(&pair[0]), "after {told:?}: {pair:?}");
        }
        texts.len()
    };
    total += check(&Tale::new(People::Familiar, Limits::WHOLE), "");
    for index in 0..40 {
        let mut tale = Tale::new(People::Familiar, Limits::WHOLE);
        let mut pen = Writer::new(Random::new(11, index), 0);
        while tale.step(&mut pen) {
            total += check(&tale, &pen.text);
        }
    }
    assert!(total > 200_000, "{total} ways");
}

/// Adds up all tales that go on from here.
fn enumerate(tale: &Tale, text: &str, probability: f64, seen: &mut HashSet<u64>) -> f64 {
    let mut sum = 0.0;
    for (more_text, p, next, more) in ways(tale) {
        let (text, p) = (format!("{text}{more_text}"), probability * p);
        if more {
            sum += enumerate(&next, &text, p, seen);
        } else {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            assert!(seen.insert(hasher.finish()), "told twice: {text}");
            sum += p;
        }
    }
    sum
}

#[test]
fn the_tales_of_a_small_world_are_distinct_and_sum_to_one() {
    let limits = Limits {
        words: 1,
        middle: (0, 0),
    };
    let openings = ways(&Tale::new(People::Familiar, limits));
    // 2 languages of 3 forms, 3 names and 3 places; all else has one word.
    assert_eq!(openings.len(), 2 * 3 * 3 * 3);
    for way in [0, openings.len() - 1] {
        let (text, _, tale, _) = &openings[way];
        let mut seen = HashSet::new();
        let sum = enumerate(tale, text, 1.0, &mut seen);
        assert!((sum - 1.0).abs() < 1e-9, "{text}: {sum}");
        assert!(seen.len() > 20_000, "{text}: {}", seen.len());
    }
}

#[test]
fn reading_a_story_gives_its_bits() {
    for (people, stories) in [(People::Familiar, 3000), (People::Strangers, 200)] {
        let corpus = Corpus::about(people, 5);
        for index in 0..stories {
            let story = corpus.story(index);
            assert_eq!(corpus.bits_of(&story.text), Some(story.bits), "{}", story.text);
        }
    }
}

#[test]
fn a_text_that_is_no_story_has_no_bits() {
    for text in ["", " ", "One day, a king went to war.", "어느 날", "\0", "🦊"] {
        assert_eq!(Corpus::new(6).bits_of(text), None, "{text:?}");
    }
    let corpus = Corpus::new(6);
    for index in 0..100 {
        let story = corpus.story(index);
        assert_eq!(corpus.bits_of(&format!("{} ", story.text)), None);
        let second = story.text.ceil_char_boundary(1);
        assert_eq!(corpus.bits_of(&story.text[second..]), None);
        if let Some(question) = &story.question {
            // The answers to other stories' questions have no probability here, so the right one costs nothing; and the
            // story without its question is another story.
            for other in (index + 1..index + 60).map(|i| corpus.story(i)) {
                let Some(answer) = other.answer() else { continue };
                if Some(answer) != story.answer() {
                    let mut wrong = story.text.clone();
                    wrong.replace_range(question.answer_range.clone(), answer);
                    assert_eq!(corpus.bits_of(&wrong), None, "{wrong}");
                }
            }
            let told = corpus
                .bits_of(&story.text[..question.prompt_range.start - 1])
                .expect("a story too");
            assert!(told < story.bits + 1.0);
        }
    }
}

/// The floor is an average of -log2 p over stories drawn with p. Where p is known by hand, so is the average.
#[test]
fn the_opening_costs_what_its_choices_cost() {
    let openings = ways(&Tale::new(People::Familiar, Limits::WHOLE));
    let entropy: f64 = openings.iter().map(|way| -way.1 * way.1.log2()).sum();
    // Language, form, weather, time of day, name, place.
    let by_hand = (2.0 * 3.0 * 8.0 * 3.0 * 48.0 * 24.0f64).log2();
    assert!((entropy - by_hand).abs() < 1e-6, "{entropy} {by_hand}");
}
