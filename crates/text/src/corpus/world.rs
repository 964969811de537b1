//! The world of a tale: who is where, who has what, what has happened, and what can happen next.
//!
//! It knows no language. Words are indices, and `None` until the tale first says them.

use super::lexicon::Kind;

/// A row with room for `N`, on the stack: a reader copies the world for every way it tries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T: Copy + Default, const N: usize> Row<T, N> {
    pub(super) fn new() -> Self {
        Self {
            items: [T::default(); N],
            len: 0,
        }
    }

    /// Adds an item; a world too small for its tale is our bug and panics.
    pub(super) fn push(&mut self, item: T) {
        self.items[self.len] = item;
        self.len += 1;
    }

    pub(super) fn as_slice(&self) -> &[T] {
        &self.items[..self.len]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.items[..self.len]
    }
}

/// Someone. Places, people and things are named by their index in the world.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Person {
    pub(super) name: Option<u16>,
    pub(super) place: u8,
    /// Where they have been, one bit a place.
    pub(super) visited: u8,
}

/// Where a thing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// In nobody's hands yet.
    #[default]
    Nowhere,
    /// With a person.
    Held(u8),
    /// At its spot in a place, where a person put it.
    Put { by: u8, place: u8 },
    /// Somewhere in a place, where a person lost it.
    Lost { by: u8, place: u8 },
}

/// Something that can be carried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Thing {
    pub(super) noun: Option<u16>,
    pub(super) color: Option<u16>,
    /// The last spot it was found at or put, a row of its place's spots.
    pub(super) spot: Option<u16>,
    pub(super) spot_place: u8,
    /// The spot in the same place where it was before: nobody puts it straight back or loses it there.
    pub(super) old_spot: Option<u16>,
    pub(super) at: Whereabouts,
    /// Who gave it to the one who holds it: it is not given straight back.
    pub(super) from: Option<u8>,
}

/// Somewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) word: Option<u16>,
    pub(super) indoors: bool,
}

/// A sentence to be told: its kind and the ones it is about. What a kind does not need is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: Kind,
    pub(super) a: u8,
    pub(super) b: u8,
    pub(super) t: u8,
    pub(super) p: u8,
}

impl Event {
    /// Whether it takes `who` from one place to another.
    pub(super) fn takes(&self, who: u8) -> bool {
        match self.kind {
            Kind::Go | Kind::Follow | Kind::GoBack | Kind::Join => self.a == who,
            Kind::GoTogether => self.a == who || self.b == who,
            Kind::GoAll => true,
            _ => false,
        }
    }
}

/// At most this many people, things and places take part.
const PEOPLE: usize = 3;
const THINGS: usize = 2;
const PLACES: usize = 3;

/// At most this many events are possible at once.
pub(super) const EVENTS: usize = 48;

/// Everything the tale has settled so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) people: Row<Person, PEOPLE>,
    pub(super) things: Row<Thing, THINGS>,
    pub(super) places: Row<Place, PLACES>,
    pub(super) weather: Option<u16>,
    pub(super) time: Option<u16>,
    pub(super) food: Option<u16>,
    pub(super) animal: Option<u16>,
    pub(super) game: Option<u16>,
    /// What happened, in order.
    pub(super) past: Row<Event, 10>,
    /// A mood that the last event gave someone, not told yet.
    pub(super) mood: Option<Event>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            people: Row::new(),
            things: Row::new(),
            places: Row::new(),
            weather: None,
            time: None,
            food: None,
            animal: None,
            game: None,
            past: Row::new(),
            mood: None,
        }
    }

    pub(super) fn person(&self, who: u8) -> &Person {
        &self.people.as_slice()[usize::from(who)]
    }

    pub(super) fn everyone(&self) -> impl Iterator<Item = u8> + Clone + use<> {
        0..self.people.len as u8
    }

    pub(super) fn things(&self) -> impl Iterator<Item = (u8, &Thing)> {
        (0..).zip(self.things.as_slice())
    }

    /// Whether the last event took `who` somewhere: nobody moves twice without something in between.
    fn just_moved(&self, who: u8) -> bool {
        self.past.as_slice().last().is_some_and(|last| last.takes(who))
    }

    /// Someone who went to a place and is still there.
    fn pioneer(&self, place: u8) -> Option<u8> {
        self.everyone().find(|&who| {
            self.person(who).place == place && self.past.as_slice().iter().any(|e| e.takes(who) && e.p == place)
        })
    }

    fn near(&self, a: u8, b: u8) -> bool {
        self.person(a).place == self.person(b).place
    }

    fn happened(&self, kind: Kind) -> bool {
        self.past.as_slice().iter().any(|e| e.kind == kind)
    }

    /// Whether something is lost and not found again.
    pub(super) fn lost(&self) -> Option<u8> {
        self.things()
            .find(|(_, thing)| matches!(thing.at, Whereabouts::Lost { .. }))
            .map(|(t, _)| t)
    }

    /// Makes room for what an event brings in (a person, a thing, a place), so that its sentence can name it.
    pub(super) fn prepare(&mut self, event: Event) {
        match event.kind {
            Kind::Open => {
                self.people.push(Person::default());
                self.places.push(Place::default());
            }
            Kind::Find | Kind::Bring => self.things.push(Thing::default()),
            Kind::Arrive | Kind::Join => self.people.push(Person {
                place: event.p,
                ..Person::default()
            }),
            Kind::ArriveWith => {
                self.people.push(Person {
                    place: event.p,
                    ..Person::default()
                });
                self.things.push(Thing::default());
            }
            Kind::Go | Kind::GoTogether | Kind::GoAll => self.places.push(Place::default()),
            _ => {}
        }
        if matches!(event.kind, Kind::Find | Kind::Put | Kind::Recover | Kind::Return) {
            let place = self.person(event.a).place;
            let thing = &mut self.things.as_mut_slice()[usize::from(event.t)];
            thing.old_spot = if thing.spot_place == place { thing.spot } else { None };
            (thing.spot, thing.spot_place) = (None, place);
        }
    }

    /// The world after an event that was told.
    pub(super) fn apply(&mut self, event: Event) {
        let Event { kind, a, b, t, p } = event;
        let place = self.person(a).place;
        self.mood = None;
        let mood = |who, kind| {
            Some(Event {
                kind,
                a: who,
                t,
                ..Event::default()
            })
        };
        match kind {
            Kind::Find | Kind::Bring | Kind::ArriveWith | Kind::Take => self.hold(t, a, None),
            Kind::Give => {
                self.hold(t, b, Some(a));
                self.mood = mood(b, Kind::Glad);
            }
            Kind::Put => self.things.as_mut_slice()[usize::from(t)].at = Whereabouts::Put { by: a, place },
            Kind::Lose => {
                self.things.as_mut_slice()[usize::from(t)].at = Whereabouts::Lost { by: a, place };
                self.mood = mood(a, Kind::Sad);
            }
            Kind::Recover => {
                self.hold(t, a, None);
                self.mood = mood(a, Kind::Glad);
            }
            Kind::Return => {
                self.hold(t, b, Some(a));
                self.mood = mood(b, Kind::Glad);
            }
            _ => {}
        }
        for (who, person) in (0..).zip(self.people.as_mut_slice()) {
            if event.takes(who) {
                person.place = p;
            }
            person.visited |= 1 << person.place;
        }
        self.past.push(event);
    }

    fn hold(&mut self, thing: u8, who: u8, from: Option<u8>) {
        let thing = &mut self.things.as_mut_slice()[usize::from(thing)];
        (thing.at, thing.from) = (Whereabouts::Held(who), from);
    }

    /// Every event that can come next in the middle of a tale, with its weight.
    pub(super) fn possible(&self) -> Row<(Event, u32), EVENTS> {
        let mut all = Row::new();
        self.possible_with_things(&mut all);
        self.possible_moves(&mut all);
        let mut add = |kind, a, b, weight| {
            all.push((
                Event {
                    kind,
                    a,
                    b,
                    ..Event::default()
                },
                weight,
            ));
        };
        for a in self.everyone() {
            let place = self.places.as_slice()[usize::from(self.person(a).place)];
            if self.food.is_none() {
                add(Kind::Eat, a, 0, 2);
            }
            if self.animal.is_none() && !place.indoors {
                add(Kind::See, a, 0, 2);
            }
            if self.game.is_none() {
                for b in self.everyone().filter(|&b| b > a && self.near(a, b)) {
                    add(Kind::Play, a, b, 4);
                }
            }
        }
        all
    }

    /// What can be done with things: they are given, put, taken, lost and found by those who are there.
    fn possible_with_things(&self, all: &mut Row<(Event, u32), EVENTS>) {
        for (t, thing) in self.things() {
            let mut add = |kind, a, b, weight| all.push((Event { kind, a, b, t, p: 0 }, weight));
            match thing.at {
                Whereabouts::Nowhere => {}
                Whereabouts::Held(a) => {
                    add(Kind::Put, a, 0, 3);
                    if !self.happened(Kind::Lose) {
                        add(Kind::Lose, a, 0, 4);
                    }
                    for b in self.everyone() {
                        if b != a && self.near(a, b) && thing.from != Some(b) {
                            add(Kind::Give, a, b, 8);
                        }
                    }
                }
                Whereabouts::Put { by, place } => {
                    for a in self.everyone() {
                        if a != by && self.person(a).place == place {
                            add(Kind::Take, a, 0, 4);
                        }
                    }
                }
                Whereabouts::Lost { by, place } => {
                    for a in self.everyone() {
                        if a == by && self.person(a).place == place {
                            add(Kind::Recover, a, 0, 12);
                        } else if self.person(a).place == place && self.person(by).place == place {
                            add(Kind::Return, a, by, 18);
                        }
                    }
                }
            }
        }
    }

    /// Who can go where, and who can come.
    fn possible_moves(&self, all: &mut Row<(Event, u32), EVENTS>) {
        let new_place = self.places.len as u8;
        let mut add = |kind, a, b, p, weight| all.push((Event { kind, a, b, t: 0, p }, weight));
        for a in self.everyone().filter(|&a| !self.just_moved(a)) {
            if self.places.len < PLACES {
                add(Kind::Go, a, 0, new_place, 2);
                let mut near = self.everyone().filter(|&b| b != a && self.near(a, b));
                if let (Some(b), None) = (near.next(), near.next())
                    && a < b
                    && !self.just_moved(b)
                {
                    add(Kind::GoTogether, a, b, new_place, 4);
                }
            }
            // One event for each place, not for each person there: a sentence that names none of them must not be two events.
            for p in (0..new_place).filter(|&p| p != self.person(a).place) {
                if self.person(a).visited & (1 << p) != 0 {
                    add(Kind::GoBack, a, 0, p, 1);
                } else if let Some(b) = self.pioneer(p) {
                    add(Kind::Follow, a, b, p, 4);
                }
            }
        }
        if self.people.len == PEOPLE {
            if self.places.len < PLACES && self.everyone().all(|a| self.near(a, 0) && !self.just_moved(a)) {
                add(Kind::GoAll, 0, 0, new_place, 4);
            }
        } else {
            add(Kind::Join, self.people.len as u8, 0, self.person(0).place, 4);
        }
    }
}
