//! What a tale can be asked.

use super::lexicon::{Ask, Kind};
use super::world::{Event, Row, Whereabouts, World};

/// Questions and the events they are about.
pub(super) type Questions = Row<(Ask, Event), 40>;

impl World {
    /// Every question that the tale answers, and answers in one way only.
    pub(super) fn questions(&self) -> Questions {
        let mut all = Questions::new();
        self.ask_about_the_end(&mut all);
        self.ask_about_events(&mut all);
        all
    }

    fn ask_about_the_end(&self, all: &mut Questions) {
        for (t, thing) in self.things() {
            let about = Event { t, ..Event::default() };
            all.push((Ask::Color, about));
            match thing.at {
                Whereabouts::Held(a) => all.push((Ask::Holder, Event { a, ..about })),
                Whereabouts::Put { .. } => all.push((Ask::ThingPlace, about)),
                Whereabouts::Nowhere | Whereabouts::Lost { .. } => {}
            }
        }
        for a in self.everyone() {
            let event = Event {
                a,
                p: self.person(a).place,
                ..Event::default()
            };
            all.push((Ask::PersonPlace, event));
        }
        all.push((Ask::Weather, Event::default()));
        // The opening's person and place are the first of the world.
        if self.past.as_slice().iter().any(|event| event.takes(0)) {
            all.push((Ask::FirstPlace, Event::default()));
        }
    }

    fn ask_about_events(&self, all: &mut Questions) {
        let past = self.past.as_slice();
        let once = |test: &dyn Fn(&Event) -> bool| past.iter().filter(|e| test(e)).count() == 1;
        let found = |e: &Event| matches!(e.kind, Kind::Find | Kind::Recover | Kind::Return);
        let given = |e: &Event| matches!(e.kind, Kind::Give | Kind::Return);
        for (i, &event) in past.iter().enumerate() {
            let mut ask = |ask, allowed| {
                if allowed {
                    all.push((ask, event));
                }
            };
            match event.kind {
                Kind::Give => {
                    ask(Ask::Giver, once(&|e| given(e) && e.t == event.t && e.b == event.b));
                    ask(Ask::Receiver, once(&|e| given(e) && e.t == event.t && e.a == event.a));
                }
                Kind::Lose => ask(Ask::WhoLost, true),
                Kind::Find => {
                    ask(Ask::WhoFound, once(&|e| found(e) && e.t == event.t));
                    ask(Ask::WhatFound, once(&|e| found(e) && e.a == event.a));
                }
                Kind::Eat => {
                    ask(Ask::WhoAte, true);
                    ask(Ask::WhatAte, true);
                }
                Kind::See => {
                    ask(Ask::WhoSaw, true);
                    ask(Ask::WhatSaw, true);
                }
                Kind::Play => ask(Ask::Together, true),
                Kind::Glad | Kind::Sad => {
                    // A mood is told straight after its cause.
                    let why = match past[i - 1].kind {
                        Kind::Give => Ask::GladOfGift,
                        Kind::Recover => Ask::GladOfFinding,
                        Kind::Return => Ask::GladOfReturn,
                        _ => Ask::SadOfLoss,
                    };
                    ask(why, once(&|e| e.kind == event.kind && e.a == event.a));
                    let who = if event.kind == Kind::Glad {
                        Ask::WhoGlad
                    } else {
                        Ask::WhoSad
                    };
                    ask(who, once(&|e| e.kind == event.kind));
                }
                _ => {}
            }
        }
    }
}
