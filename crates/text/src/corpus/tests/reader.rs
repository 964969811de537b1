//! An independent reader: it knows sentences, not the generator. It replays what a story tells, objects to what cannot
//! be, and answers the question from what it understood.

use std::collections::{HashMap, HashSet};

use super::super::{Corpus, Language};
use super::pattern::{Found, find};
use super::sentences::{Act, ENGLISH, KOREAN, LEADS, PREPOSITIONS};

fn girl(name: &str) -> bool {
    super::super::english::ENGLISH.names[..24].contains(&name)
}

/// What has been understood.
#[derive(Default)]
struct Story {
    korean: bool,
    hero: String,
    weather: String,
    first_place: String,
    place: HashMap<String, String>,
    been: HashSet<(String, String)>,
    holder: HashMap<String, String>,
    spot: HashMap<String, (String, String)>,
    lost: HashMap<String, (String, String)>,
    /// Where a thing was found last, place and spot.
    found: HashMap<String, (String, String)>,
    color: HashMap<String, String>,
    /// Act, who, to or with whom, what.
    past: Vec<(Act, String, String, String)>,
    /// The persons the sentence before was about.
    subject: Vec<String>,
    /// The sentence before.
    before: String,
}

impl Story {
    fn near(&self, a: &str, b: &str) {
        assert_eq!(self.place[a], self.place[b], "{a} and {b} are apart");
    }

    fn drop_from(&mut self, who: &str, thing: &str) {
        assert_eq!(
            self.holder.remove(thing).as_deref(),
            Some(who),
            "{who} does not have the {thing}"
        );
    }

    fn new_thing(&mut self, found: &Found) {
        let (thing, color) = (found[&'t'].to_string(), found[&'k'].to_string());
        assert!(self.color.insert(thing.clone(), color).is_none(), "{thing} is not new");
        self.holder.insert(thing, found[&'a'].to_string());
    }

    fn new_person(&mut self, who: &str, place: String) {
        assert!(self.place.insert(who.to_string(), place).is_none(), "{who} is not new");
    }

    /// Whether these captures can be meant: the people are known, unless the act brings them in.
    fn plausible(&self, act: Act, found: &Found) -> bool {
        let known = |letter| found.get(&letter).is_none_or(|&who| self.place.contains_key(who));
        match act {
            Act::Open => true,
            Act::Go if self.hero.is_empty() => true,
            Act::Come | Act::ComeWith | Act::Join => true,
            Act::Meet => known('a'),
            _ => known('a') && known('b'),
        }
    }

    fn understand(&mut self, act: Act, found: &Found) {
        let get = |letter| found.get(&letter).copied().unwrap_or_default();
        let (a, b, t, p) = (get('a'), get('b'), get('t'), get('p'));
        let here = self.place.get(a).cloned().unwrap_or_default();
        let what = match act {
            Act::Eat => get('f'),
            Act::See => get('z'),
            Act::Play => get('d'),
            _ => t,
        };
        match act {
            Act::Day => self.weather = get('w').to_string(),
            Act::Open => {
                self.weather = get('w').to_string();
                self.hero = a.to_string();
                self.first_place = p.to_string();
                self.new_person(a, p.to_string());
            }
            Act::Go if self.hero.is_empty() => {
                self.hero = a.to_string();
                self.first_place = p.to_string();
                self.new_person(a, p.to_string());
            }
            Act::Find | Act::Bring => {
                self.new_thing(found);
                self.found.insert(t.to_string(), (here, get('s').to_string()));
            }
            Act::Come => self.new_person(a, self.first_place.clone()),
            Act::ComeWith => {
                self.new_person(a, self.first_place.clone());
                self.new_thing(found);
            }
            Act::Meet => self.new_person(b, here),
            Act::Join => {
                assert!(self.place.values().any(|place| place == p), "nobody is at {p}");
                self.place.insert(a.to_string(), p.to_string());
            }
            Act::Give => {
                self.near(a, b);
                self.drop_from(a, t);
                self.holder.insert(t.to_string(), b.to_string());
            }
            Act::Put => {
                self.drop_from(a, t);
                let found = self.found.get(t);
                assert!(
                    found.is_none_or(|(place, spot)| *place != here || spot != get('s')),
                    "{t} is put straight back"
                );
                self.spot.insert(t.to_string(), (here, get('s').to_string()));
            }
            Act::Take => {
                assert_eq!(self.spot.remove(t).expect("it was put somewhere").0, here);
                self.holder.insert(t.to_string(), a.to_string());
            }
            Act::Lose => {
                self.drop_from(a, t);
                self.lost.insert(t.to_string(), (a.to_string(), here));
            }
            Act::FindAgain => {
                assert_eq!(self.lost.remove(t), Some((a.to_string(), here.clone())));
                self.holder.insert(t.to_string(), a.to_string());
                self.found.insert(t.to_string(), (here, get('s').to_string()));
            }
            Act::GiveBack => {
                self.near(a, b);
                assert_eq!(self.lost.remove(t), Some((b.to_string(), here.clone())));
                self.holder.insert(t.to_string(), b.to_string());
                self.found.insert(t.to_string(), (here, get('s').to_string()));
            }
            Act::Go | Act::GoBack | Act::Follow => {
                let been = self.been.contains(&(a.to_string(), p.to_string()));
                assert_eq!(been, act == Act::GoBack, "{a} has been at {p}: {been}");
                assert_ne!(here, p, "{a} is there already");
                assert!(act != Act::Follow || self.place[b] == p, "{b} is elsewhere");
                self.place.insert(a.to_string(), p.to_string());
            }
            Act::GoBoth => {
                self.near(a, b);
                assert_ne!(here, p);
                self.place.insert(a.to_string(), p.to_string());
                self.place.insert(b.to_string(), p.to_string());
            }
            Act::GoAll => {
                assert!(self.place.len() == 3 && self.place.values().all(|place| *place == self.place[&self.hero]));
                self.place.values_mut().for_each(|place| *place = p.to_string());
            }
            Act::Play => self.near(a, b),
            Act::LastWords => assert!(self.lost.contains_key(t), "{t} is not lost"),
            Act::Glad => assert!(matches!(
                self.past.last().unwrap().0,
                Act::Give | Act::FindAgain | Act::GiveBack
            )),
            Act::Sad => assert_eq!(self.past.last().unwrap().0, Act::Lose),
            Act::Eat | Act::See => {}
        }
        if matches!(act, Act::Glad | Act::Sad) {
            let last = self.past.last().unwrap();
            let feels = if matches!(last.0, Act::Give | Act::GiveBack) {
                &last.2
            } else {
                &last.1
            };
            assert_eq!(feels, a, "no reason for a mood");
        }
        self.been
            .extend(self.place.iter().map(|(who, place)| (who.clone(), place.clone())));
        self.past.push((act, a.to_string(), b.to_string(), what.to_string()));
        self.subject = match act {
            Act::GoBoth | Act::Play => vec![a.to_string(), b.to_string()],
            Act::Day | Act::GoAll | Act::LastWords => vec![],
            _ => vec![a.to_string()],
        };
    }

    fn find<'t>(&self, pattern: &str, sentence: &'t str) -> Option<Found<'t>> {
        if self.korean || !pattern.contains("%s") {
            return find(pattern, sentence);
        }
        PREPOSITIONS.iter().find_map(|preposition| {
            let mut found = find(&pattern.replace("%s", &format!("{preposition}%s")), sentence)?;
            let noun = found[&'s'];
            let at = noun.as_ptr() as usize - sentence.as_ptr() as usize;
            found.insert('s', &sentence[at - preposition.len()..at + noun.len()]);
            Some(found)
        })
    }

    /// A pronoun, or a subject left out, means who the sentence before was about, and it mentioned nobody else it fits.
    fn check_reference(&self) {
        let [who] = self.subject.as_slice() else {
            panic!("nobody is meant")
        };
        let fits = |other: &&String| self.korean || girl(other) == girl(who);
        let others = self.place.keys().filter(|other| *other != who).filter(fits);
        for other in others {
            assert!(!self.before.contains(other.as_str()), "{who} or {other}?");
        }
    }

    /// Understands a sentence, or returns `false`.
    fn read(&mut self, sentence: &str) -> bool {
        let mut sentence = sentence.to_string();
        if let Some(rest) = LEADS.iter().find_map(|lead| sentence.strip_prefix(lead)) {
            sentence = rest.to_string();
        }
        let (first, rest) = sentence.split_once(' ').unwrap_or((&sentence, ""));
        let first = first.to_string();
        sentence = match (first.as_str(), self.subject.as_slice()) {
            ("She" | "she" | "He" | "he", [who]) => format!("{who} {rest}"),
            ("They" | "they", [a, b]) => format!("{a} and {b} {rest}"),
            ("둘은", [a, b]) => format!("{a}와 {b}는 {rest}"),
            _ => sentence,
        };
        let pronoun = ["She", "she", "He", "he"].contains(&first.as_str());
        let mut tries = vec![sentence.clone()];
        if let (true, [who]) = (self.korean, self.subject.as_slice()) {
            tries.push(format!("{who}는 {sentence}"));
        }
        for (i, sentence) in tries.iter().enumerate() {
            for &(pattern, act) in if self.korean { KOREAN } else { ENGLISH } {
                if let Some(found) = self.find(pattern, sentence)
                    && self.plausible(act, &found)
                {
                    if i == 1 || pronoun {
                        self.check_reference();
                    }
                    self.understand(act, &found);
                    return true;
                }
            }
        }
        false
    }

    /// The one event that fits.
    fn event(
        &self,
        act: Act,
        who: Option<&str>,
        other: Option<&str>,
        what: Option<&str>,
    ) -> &(Act, String, String, String) {
        let fits = |e: &&(Act, String, String, String)| {
            e.0 == act
                && who.is_none_or(|x| x == e.1)
                && other.is_none_or(|x| x == e.2)
                && what.is_none_or(|x| x == e.3)
        };
        let mut all = self.past.iter().filter(fits);
        let event = all.next().expect("something to ask about");
        assert!(all.next().is_none(), "the question has two answers");
        event
    }

    fn never_found_again(&self, who: Option<&str>, what: Option<&str>) {
        let again = |e: &(Act, String, String, String)| matches!(e.0, Act::FindAgain | Act::GiveBack);
        let about = |e: &(Act, String, String, String)| who.is_none_or(|x| x == e.1) && what.is_none_or(|x| x == e.3);
        assert!(!self.past.iter().any(|e| again(e) && about(e)), "found twice");
    }

    fn why(&self, who: &str, mood: Act) -> String {
        let at = self
            .past
            .iter()
            .position(|e| e.0 == mood && e.1 == who)
            .expect("a mood");
        let cause = &self.past[at - 1];
        let t = &cause.3;
        let she = |name: &str| if girl(name) { "she" } else { "he" };
        let object = |t: &str| {
            let last = u32::from(t.chars().last().unwrap()) - 0xAC00;
            format!("{t}{}", if last.is_multiple_of(28) { "를" } else { "을" })
        };
        match (cause.0, self.korean) {
            (Act::Give, false) => format!("because {} got the {t}", she(who)),
            (Act::FindAgain, false) => format!("because {} found the {t}", she(who)),
            (Act::GiveBack, false) => format!("because {} got the {t} back", she(who)),
            (_, false) => format!("because {} lost the {t}", she(who)),
            (Act::Give, true) => format!("{} 받아서", object(t)),
            (Act::FindAgain, true) => format!("{} 찾아서", object(t)),
            (Act::GiveBack, true) => format!("{} 돌려받아서", object(t)),
            (_, true) => format!("{} 잃어버려서", object(t)),
        }
    }

    fn answer(&self, question: &str) -> String {
        /// Patterns of the same question in both languages.
        type Row = (&'static str, &'static str, fn(&Story, &Found) -> String);
        const ROWS: &[Row] = &[
            (
                "Who had the %t at the end",
                "마지막에 %t{은} 누가 가지고 있었나요",
                |s, f| s.holder[f[&'t']].clone(),
            ),
            (
                "Where was the %t at the end",
                "마지막에 %t{은} 어디에 있었나요",
                |s, f| match s.spot.get(f[&'t']) {
                    Some((_, spot)) => spot.clone(),
                    // In Korean the same words ask for a person.
                    None => s.place[f[&'t']].clone(),
                },
            ),
            ("Where was %a at the end", "-", |s, f| {
                format!("at the {}", s.place[f[&'a']])
            }),
            (
                "Who gave the %t to %b",
                "누가 %b에게 %t{을} 주었나요",
                |s, f| s.event(Act::Give, None, Some(f[&'b']), Some(f[&'t'])).1.clone(),
            ),
            (
                "Who did %a give the %t to",
                "%a{은} 누구에게 %t{을} 주었나요",
                |s, f| s.event(Act::Give, Some(f[&'a']), None, Some(f[&'t'])).2.clone(),
            ),
            ("Who lost the %t", "누가 %t{을} 잃어버렸나요", |s, f| {
                s.event(Act::Lose, None, None, Some(f[&'t'])).1.clone()
            }),
            ("Who found the %t", "누가 %t{을} 발견했나요", |s, f| {
                s.never_found_again(None, Some(f[&'t']));
                s.event(Act::Find, None, None, Some(f[&'t'])).1.clone()
            }),
            ("Who ate %f", "누가 %f{을} 먹었나요", |s, f| {
                s.event(Act::Eat, None, None, Some(f[&'f'])).1.clone()
            }),
            ("Who saw %z", "누가 %z{을} 보았나요", |s, f| {
                s.event(Act::See, None, None, Some(f[&'z'])).1.clone()
            }),
            ("What did %a find", "%a{은} 무엇을 발견했나요", |s, f| {
                s.never_found_again(Some(f[&'a']), None);
                let thing = &s.event(Act::Find, Some(f[&'a']), None, None).3;
                format!("{}{} {thing}", if s.korean { "" } else { "a " }, s.color[thing])
            }),
            ("What did %a eat", "%a{은} 무엇을 먹었나요", |s, f| {
                s.event(Act::Eat, Some(f[&'a']), None, None).3.clone()
            }),
            ("What did %a see", "%a{은} 무엇을 보았나요", |s, f| {
                s.event(Act::See, Some(f[&'a']), None, None).3.clone()
            }),
            (
                "What did %a and %b do together",
                "%a{과} %b{은} 함께 무엇을 했나요",
                |s, f| {
                    let game = &s.event(Act::Play, Some(f[&'a']), Some(f[&'b']), None).3;
                    format!("{}{game}", if s.korean { "" } else { "they " })
                },
            ),
            (
                "Where did %a go first",
                "%a{은} 처음에 어디로 갔나요",
                |s, f| {
                    assert_eq!(f[&'a'], s.hero);
                    format!("{}{}", if s.korean { "" } else { "to the " }, s.first_place)
                },
            ),
            ("What color was the %t", "%t{은} 무슨 색이었나요", |s, f| {
                s.color[f[&'t']].clone()
            }),
            ("What was the weather like", "어떤 날이었나요", |s, _| {
                format!("{}{}", s.weather, if s.korean { " 날" } else { "" })
            }),
            ("Why was %a glad", "%a{은} 왜 기뻐했나요", |s, f| {
                s.event(Act::Glad, Some(f[&'a']), None, None);
                s.why(f[&'a'], Act::Glad)
            }),
            ("Why was %a sad", "%a{은} 왜 슬퍼했나요", |s, f| {
                s.event(Act::Sad, Some(f[&'a']), None, None);
                s.why(f[&'a'], Act::Sad)
            }),
            ("Who was glad", "기뻐한 사람은 누구인가요", |s, _| {
                s.event(Act::Glad, None, None, None).1.clone()
            }),
            ("Who was sad", "슬퍼한 사람은 누구인가요", |s, _| {
                s.event(Act::Sad, None, None, None).1.clone()
            }),
        ];
        let question = question.strip_suffix('?').expect("a question mark");
        let (found, row) = ROWS
            .iter()
            .find_map(|row| Some((find(if self.korean { row.1 } else { row.0 }, question)?, row)))
            .unwrap_or_else(|| panic!("an unknown question: {question}"));
        row.2(self, &found)
    }
}

#[test]
fn an_independent_reader_finds_the_stories_sound_and_the_answers_right() {
    let corpus = Corpus::new(21);
    let mut answered = 0;
    for index in 0..6000 {
        let told = corpus.story(index);
        // Shown when an assertion of the replay fails.
        println!("{}", told.text);
        let mut story = Story {
            korean: told.language == Language::Korean,
            ..Story::default()
        };
        let mut lines = told.text.lines();
        let sentences: Vec<&str> = lines
            .next()
            .unwrap()
            .split_inclusive(['.', '!'])
            .map(|s| s.trim_matches([' ', '.', '!']))
            .collect();
        let mut silent = Vec::new();
        for (i, sentence) in sentences.iter().enumerate() {
            if !story.read(sentence) {
                silent.push(i);
                story.subject.clear();
            }
            story.before = (*sentence).to_string();
        }
        // Only the sky after the opening, and the last words, tell nothing that a question could ask. A Korean opening can
        // be two sentences, of which the first is the day.
        let opening = usize::from(find("%w 날 %c{이었}어요", sentences[0]).is_some());
        assert!(
            silent.iter().all(|&i| i == 1 + opening || i == sentences.len() - 1),
            "not understood: {silent:?} in {}",
            told.text
        );
        if let Some(line) = lines.next() {
            let (_, question) = line.split_once(": ").unwrap();
            assert_eq!(story.answer(question), told.answer().unwrap(), "{}", told.text);
            answered += 1;
        }
    }
    assert!(answered > 3500, "{answered}");
}
