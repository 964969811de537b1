//! The words of a sentence: a form with its slots filled.

use super::lexicon::Words;
use super::particle::Particle;
use super::pen::Pen;
use super::tale::Tale;
use super::world::Event;
use super::{Language, People};

/// What a sentence leaves behind for the next one, and where it is.
struct Sentence {
    topic: u8,
    mentioned: u8,
    connective: usize,
    /// Nothing is written yet.
    fresh: bool,
    /// Its form has the slot for a subject that may be left out.
    has_subject: bool,
}

/// Up to three words in use.
fn collect(words: impl Iterator<Item = Option<u16>>) -> [Option<u16>; 3] {
    let mut used = [None; 3];
    for (slot, word) in used.iter_mut().zip(words) {
        *slot = word;
    }
    used
}

/// An index below `n` that is none of `used`, each as likely.
fn draw_other(pen: &mut impl Pen, n: usize, mut used: [Option<u16>; 3]) -> u16 {
    used.sort_unstable();
    let mut i = pen.choose(n - used.iter().flatten().count()) as u16;
    for &u in used.iter().flatten() {
        i += u16::from(i >= u);
    }
    i
}

/// The word a tale settled on, drawn now if there is none yet.
fn settle(word: &mut Option<u16>, pen: &mut impl Pen, n: usize) -> usize {
    usize::from(*word.get_or_insert_with(|| pen.choose(n) as u16))
}

impl Tale {
    /// Writes a form, its slots filled for an event.
    pub(super) fn write_form(&mut self, pen: &mut impl Pen, form: &'static str, event: Event) {
        let start = self.len;
        let mut now = Sentence {
            topic: 0,
            mentioned: 0,
            connective: 0,
            fresh: true,
            has_subject: form.contains("{a"),
        };
        let mut rest = form;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                self.put(pen, before);
            }
            let (slot, after) = after.split_once('}').expect("a slot is closed");
            let (name, particle) = slot.split_at(1);
            now.fresh = self.len == start;
            rest = after;
            let Some(word) = self.word(pen, name, event, &mut now) else {
                // A topic left out takes its space along.
                rest = rest.strip_prefix(' ').unwrap_or(rest);
                continue;
            };
            self.put(pen, word);
            if let Some(particle) = Particle::named(particle) {
                self.put(pen, particle.after(word));
            }
        }
        if !rest.is_empty() {
            self.put(pen, rest);
        }
        (self.topic, self.mentioned, self.connective) = (now.topic, now.mentioned, now.connective);
    }

    /// What a slot says (see [`lexicon`](super::lexicon)); `None` for a subject that is left out.
    fn word(&mut self, pen: &mut impl Pen, slot: &str, event: Event, now: &mut Sentence) -> Option<&'static str> {
        let lexicon = self.lexicon;
        let limits = self.limits;
        Some(match slot {
            "a" => {
                let name = self.name(pen, event.a, now);
                if self.leaves_out(event.a) {
                    return lexicon
                        .pronouns
                        .as_ref()
                        .map(|_| self.pronoun(event.a, usize::from(!now.fresh)));
                }
                now.topic = 1 << event.a;
                name
            }
            "A" => self.name(pen, event.a, now),
            "b" => self.name(pen, event.b, now),
            "2" => {
                let both = 1 << event.a | 1 << event.b;
                if self.topic == both {
                    return Some(lexicon.they[usize::from(!now.fresh)]);
                }
                let first = self.name(pen, event.a, now);
                self.put(pen, first);
                match lexicon.language {
                    Language::English => self.put(pen, " and "),
                    Language::Korean => {
                        self.put(pen, Particle::With.after(first));
                        self.put(pen, " ");
                    }
                }
                now.topic = both;
                self.name(pen, event.b, now)
            }
            "h" => self.pronoun(event.a, 1),
            "m" => self.pronoun(event.b, 2),
            "t" => {
                let other = self.world.things.as_slice().iter().map(|thing| thing.noun);
                let used = collect(other);
                let thing = &mut self.world.things.as_mut_slice()[usize::from(event.t)];
                let n = limits.cut(lexicon.things.len(), 2);
                let noun = *thing.noun.get_or_insert_with(|| draw_other(pen, n, used));
                lexicon.things[usize::from(noun)]
            }
            "k" => {
                let thing = &mut self.world.things.as_mut_slice()[usize::from(event.t)];
                lexicon.colors[settle(&mut thing.color, pen, limits.cut(lexicon.colors.len(), 1))]
            }
            "p" => {
                let used = collect(self.world.places.as_slice().iter().map(|place| place.word));
                let place = &mut self.world.places.as_mut_slice()[usize::from(event.p)];
                let n = limits.cut(lexicon.places.len(), 3);
                let i = *place.word.get_or_insert_with(|| draw_other(pen, n, used));
                let row = lexicon.places[usize::from(i)];
                place.indoors = row.indoors;
                row.word
            }
            "s" => {
                let thing = &mut self.world.things.as_mut_slice()[usize::from(event.t)];
                let place = self.world.places.as_slice()[usize::from(thing.spot_place)];
                let spots = if place.indoors {
                    lexicon.indoor_spots
                } else {
                    lexicon.outdoor_spots
                };
                let n = limits.cut(spots.len(), 2);
                let old = [thing.old_spot, None, None];
                spots[usize::from(*thing.spot.get_or_insert_with(|| draw_other(pen, n, old)))]
            }
            "f" => lexicon.foods[settle(&mut self.world.food, pen, limits.cut(lexicon.foods.len(), 1))],
            "z" => lexicon.animals[settle(&mut self.world.animal, pen, limits.cut(lexicon.animals.len(), 1))],
            "d" => lexicon.games[settle(&mut self.world.game, pen, limits.cut(lexicon.games.len(), 1))],
            "w" => lexicon.weathers[settle(&mut self.world.weather, pen, limits.cut(lexicon.weathers.len(), 1))],
            "c" => lexicon.times[settle(&mut self.world.time, pen, limits.cut(lexicon.times.len(), 1))],
            "+" => {
                let mut weights = [3, 1, 1, 1];
                if self.connective > 0 {
                    weights[self.connective] = 0;
                }
                now.connective = pen.weigh(&weights);
                if now.connective == 0 && now.has_subject && self.leaves_out(event.a) {
                    return Some(lexicon.and);
                }
                lexicon.connectives[now.connective]
            }
            _ => unreachable!("slot {slot:?} has no meaning"),
        })
    }

    /// The names that people can have.
    fn names(&self) -> Words {
        match self.people {
            People::Familiar => self.lexicon.names,
            People::Strangers => self.lexicon.strangers,
        }
    }

    /// A person's name.
    fn name(&mut self, pen: &mut impl Pen, who: u8, now: &mut Sentence) -> &'static str {
        let used = collect(self.world.people.as_slice().iter().map(|person| person.name));
        let n = self.limits.cut(self.names().len(), 3);
        let person = &mut self.world.people.as_mut_slice()[usize::from(who)];
        let name = *person.name.get_or_insert_with(|| draw_other(pen, n, used));
        now.mentioned |= 1 << who;
        self.names()[usize::from(name)]
    }

    /// 0 for girls' names, 1 for boys'.
    fn gender(&self, who: u8) -> usize {
        let name = self.world.people.as_slice()[usize::from(who)]
            .name
            .expect("a person is named first");
        usize::from(usize::from(name) >= self.names().len() / 2)
    }

    /// The pronoun of a person: 0 and 1 as the subject, at the beginning of a sentence and elsewhere, 2 as the object.
    fn pronoun(&self, who: u8, case: usize) -> &'static str {
        let pronouns = self
            .lexicon
            .pronouns
            .as_ref()
            .expect("only forms of a language with pronouns ask for one");
        let of = &pronouns[self.gender(who)];
        [of.subject_first, of.subject, of.object][case]
    }

    /// Whether a pronoun, or nothing, says `who` as well as the name: they were the subject of the sentence before, which
    /// mentioned nobody else whom it fits.
    fn leaves_out(&self, who: u8) -> bool {
        let fits = |other| self.lexicon.pronouns.is_none() || self.gender(other) == self.gender(who);
        let others = (0..self.world.people.as_slice().len() as u8).filter(|&other| other != who);
        self.topic == 1 << who
            && !others
                .into_iter()
                .any(|other| self.mentioned & (1 << other) != 0 && fits(other))
    }
}
