use std::collections::{HashMap, HashSet};

use super::super::english::ENGLISH;
use super::super::korean::KOREAN;
use super::super::lexicon::Lexicon;
use super::super::particle::Particle;
use super::super::{Corpus, Language, QuestionKind};

#[test]
fn a_story_depends_on_seed_and_index_alone() {
    let corpus = Corpus::new(3);
    let forwards: Vec<_> = (0..50).map(|i| corpus.story(i)).collect();
    for i in (0..50).rev() {
        assert_eq!(Corpus::new(3).story(i), forwards[i as usize]);
        assert_ne!(Corpus::new(4).story(i).text, forwards[i as usize].text);
    }
    corpus.story(u64::MAX);
}

#[test]
fn stories_are_as_many_and_as_mixed_as_promised() {
    let corpus = Corpus::new(0);
    let n = 20_000;
    let mut texts = HashSet::new();
    let mut kinds: HashMap<(Language, QuestionKind), u32> = HashMap::new();
    let (mut korean, mut asked) = (0, 0);
    for index in 0..n {
        let story = corpus.story(index);
        let sentences = story.text.lines().next().unwrap().matches(['.', '!']).count();
        assert!((5..=10).contains(&sentences), "{}", story.text);
        assert!((100..900).contains(&story.text.len()), "{}", story.text);
        assert!(
            story.bits > 35.0 && story.bits < 140.0,
            "{}: {}",
            story.bits,
            story.text
        );
        korean += i32::from(story.language == Language::Korean);
        if let Some(question) = &story.question {
            asked += 1;
            *kinds.entry((story.language, question.kind)).or_default() += 1;
            let (open, close) = ENGLISH_OR_KOREAN[usize::from(story.language == Language::Korean)];
            assert!(story.prompt().unwrap().ends_with(close));
            assert!(story.text[question.prompt_range.clone()].starts_with(open));
            assert_eq!(
                story.text,
                format!("{} {}.", story.prompt().unwrap(), story.answer().unwrap())
            );
        } else {
            assert_eq!((story.prompt(), story.answer()), (None, None));
            assert!(!story.text.contains('\n'));
        }
        texts.insert(story.text);
    }
    assert_eq!(texts.len() as u64, n);
    // Three standard deviations of 20,000 draws: 212 at one half, 200 at two thirds.
    assert!((korean - 10_000_i32).abs() < 212, "{korean}");
    assert!((asked - 13_333_i32).abs() < 200, "{asked}");
    for kind in QuestionKind::ALL {
        for language in [Language::English, Language::Korean] {
            let count = kinds.get(&(language, kind)).copied().unwrap_or(0);
            assert!(count > 250, "{language} {kind}: {count}");
        }
    }
    let entropy = corpus.entropy_estimate(0..n);
    assert_eq!(entropy.stories, n);
    assert!(entropy.bits / n as f64 > 60.0, "{entropy:?}");
}

const ENGLISH_OR_KOREAN: [(&str, &str); 2] = [("Question: ", "\nAnswer:"), ("질문: ", "\n대답:")];

#[test]
fn an_estimate_is_the_sum_of_its_stories() {
    let corpus = Corpus::new(9);
    let whole = corpus.entropy_estimate(100..140);
    let (first, second) = (corpus.entropy_estimate(100..117), corpus.entropy_estimate(117..140));
    assert_eq!(whole.bytes, first.bytes + second.bytes);
    assert!((whole.bits - first.bits - second.bits).abs() < 1e-9);
    assert!((whole.bits_per_byte() - whole.bits / whole.bytes as f64).abs() < 1e-12);
    assert_eq!(corpus.entropy_estimate(5..5).bits_per_byte(), 0.0);
}

fn tables(lexicon: &Lexicon) -> Vec<Vec<&'static str>> {
    let mut tables: Vec<Vec<&str>> = [
        lexicon.names,
        lexicon.strangers,
        lexicon.things,
        lexicon.colors,
        lexicon.foods,
        lexicon.animals,
        lexicon.games,
        lexicon.weathers,
        lexicon.times,
        lexicon.outdoor_spots,
        lexicon.indoor_spots,
    ]
    .map(<[_]>::to_vec)
    .to_vec();
    tables.push(lexicon.places.iter().map(|place| place.word).collect());
    tables
}

#[test]
fn tables_hold_no_word_twice_and_match_each_other() {
    for lexicon in [&ENGLISH, &KOREAN] {
        for table in tables(lexicon) {
            assert_eq!(table.iter().collect::<HashSet<_>>().len(), table.len(), "{table:?}");
        }
        assert_eq!(lexicon.air.len(), lexicon.weathers.len());
        assert_eq!(lexicon.end_weather.len(), lexicon.weathers.len());
        assert_eq!(lexicon.end_time.len(), lexicon.times.len());
        assert_eq!(lexicon.strangers.len(), 1600);
        assert!(lexicon.names.len() >= 40 && lexicon.places.len() >= 20 && lexicon.things.len() >= 30);
    }
}

#[test]
fn every_korean_word_has_a_sound_for_its_particle() {
    for word in tables(&KOREAN).into_iter().flatten() {
        Particle::Topic.after(word);
    }
    for name in KOREAN.names.iter().chain(KOREAN.strangers) {
        assert_eq!(Particle::Topic.after(name), "는", "{name} needs the suffix 이");
    }
}

/// Hand-picked phrases that must and must not come up.
#[test]
fn particles_in_stories_are_right() {
    let corpus = Corpus::new(2);
    let text: String = (0..20_000).map(|i| corpus.story(i).text + "\n").collect();
    for right in [
        "연을 ",
        "모자를 ",
        "구슬을 ",
        "연필을 ",
        "팽이를 ",
        "공원으로 ",
        "학교로 ",
        "교실로 ",
        "개울로 ",
        "바닷가로 ",
        "민수는 ",
        "민준이는 ",
        "민준이가 ",
        "민수가 ",
        "귤을 ",
        "암탉을 ",
        "아침이었어요",
        "오후였어요",
        "종은 ",
        "피리는 ",
    ] {
        assert!(text.contains(right), "{right:?} never comes up");
    }
    for wrong in [
        "연를 ",
        "모자을 ",
        "구슬를 ",
        "공원로 ",
        "학교으로 ",
        "교실으로 ",
        "개울으로 ",
        "민수은 ",
        "민준은 ",
        "민준이이 ",
        "민수이 ",
        "아침였어요",
        "오후이었어요",
        "종는 ",
        "피리은 ",
        "{",
        "}",
        "  ",
    ] {
        assert!(!text.contains(wrong), "{wrong:?} comes up");
    }
}

#[test]
fn a_talk_tells_the_tale_of_its_story_and_asks_different_questions() {
    let corpus = Corpus::new(7);
    for index in 0..2000 {
        let (story, talk) = (corpus.story(index), corpus.talk(index));
        let tale = story.text.lines().next().unwrap();
        let messages = &talk.messages;
        assert!(
            messages[0].content.starts_with(&format!("{tale}\n")),
            "{index}: {messages:?}"
        );
        assert!(
            (4..=12).contains(&messages.len()) && messages.len() % 2 == 0,
            "{index}: {messages:?}"
        );
        let mut questions: Vec<&str> = (messages.iter().step_by(2))
            .map(|message| message.content.lines().last().unwrap())
            .collect();
        let asked = questions.len();
        questions.sort_unstable();
        questions.dedup();
        assert_eq!(questions.len(), asked, "{index}: {messages:?}");
        if let Some(answers) = story.conversation() {
            // The same question has the same answer, whoever asks it.
            let asks = answers.messages[0].content.lines().last().unwrap();
            let again = messages.chunks(2).find(|pair| pair[0].content.ends_with(asks));
            assert!(
                again.is_none_or(|pair| pair[1] == answers.messages[1]),
                "{index}: {messages:?}"
            );
        }
    }
}
