//! The English words and forms.

use super::Language;
use super::lexicon::{Ask, Kind, Lexicon, Pronouns, Words, every, indoors, outdoors};

pub(super) static ENGLISH: Lexicon = Lexicon {
    language: Language::English,
    names: &[
        "Mina", "Anna", "Lucy", "Emma", "Clara", "Nora", "Ruby", "Alice", "Sofia", "Ella", "Maya", "Rosa", //
        "Ivy", "Molly", "Hana", "Zoe", "Eva", "Lena", "Iris", "Julia", "Nina", "Tara", "Wendy", "Jane", //
        "Tom", "Ben", "Leo", "Max", "Sam", "Oscar", "Hugo", "Felix", "Noah", "Jack", "Peter", "Omar", //
        "Ravi", "Theo", "Adam", "Luke", "Finn", "Carl", "David", "Henry", "Ivan", "Jonas", "Paul", "Simon",
    ],
    strangers: every!(
        [
            "Ba" "Be" "Bi" "Co" "Da" "De" "Di" "Fo" "Fe" "Ga" "Go" "Ha" "Hi" "Jo" "Ka" "Ke" "Ki" "La" "Le" "Lo"
            "Mo" "Me" "Mi" "Mu" "Na" "Ne" "Ni" "No" "Po" "Pe" "Pi" "Ra" "Ru" "Ri" "Ro" "Sa" "Se" "Ta" "Ti" "Vo"
        ]
        [
            "bel" "bin" "dra" "del" "fin" "gan" "gel" "ko" "la" "lan" "lin" "lo" "lu" "len" "mel" "mi" "mun" "mu" "na" "nek"
            "nik" "no" "pel" "pim" "po" "ra" "ric" "ro" "sa" "sil" "ta" "tin" "tu" "va" "vin" "zo" "rin" "wen" "mor" "dan"
        ]
    ),
    pronouns: Some([
        Pronouns {
            subject_first: "She",
            subject: "she",
            object: "her",
        },
        Pronouns {
            subject_first: "He",
            subject: "he",
            object: "him",
        },
    ]),
    they: ["They", "they"],
    // "At the" fits all of them.
    places: &[
        outdoors("park"),
        outdoors("market"),
        indoors("library"),
        indoors("school"),
        outdoors("beach"),
        outdoors("river"),
        outdoors("farm"),
        indoors("windmill"),
        indoors("station"),
        indoors("bakery"),
        indoors("museum"),
        outdoors("playground"),
        outdoors("lake"),
        indoors("castle"),
        outdoors("harbor"),
        outdoors("zoo"),
        outdoors("pond"),
        indoors("theater"),
        outdoors("old bridge"),
        indoors("lighthouse"),
        indoors("bookshop"),
        outdoors("campsite"),
        outdoors("fairground"),
        indoors("toy shop"),
    ],
    outdoor_spots: &[
        "under the bench",
        "behind the tree",
        "in the tall grass",
        "next to the fence",
        "behind the big rock",
        "under the wagon",
        "beside the lamp post",
        "in the bushes",
    ],
    indoor_spots: &[
        "on the table",
        "in the wooden box",
        "behind the door",
        "by the window",
        "in the drawer",
        "under the chair",
        "on the shelf",
        "in the basket",
    ],
    // Small enough to carry, and of any colour.
    things: &[
        "kite",
        "ball",
        "hat",
        "scarf",
        "cup",
        "drum",
        "book",
        "bell",
        "button",
        "ribbon",
        "key",
        "pencil", //
        "lantern",
        "flag",
        "umbrella",
        "balloon",
        "whistle",
        "marble",
        "mask",
        "pinwheel",
        "flute",
        "bag",
        "glove",
        "spoon", //
        "toy boat",
        "yo-yo",
        "top",
        "doll",
        "bowl",
        "purse",
        "paper fan",
        "toy train",
    ],
    colors: &["red", "blue", "yellow", "green", "white", "black", "purple", "brown"],
    foods: &[
        "a plum",
        "a pear",
        "an apple",
        "a bun",
        "a cookie",
        "a sandwich",
        "a pancake",
        "a peach", //
        "a banana",
        "a carrot",
        "a boiled egg",
        "a rice ball",
        "some soup",
        "some bread",
        "some cheese",
        "some grapes",
    ],
    animals: &[
        "a cat",
        "a dog",
        "a squirrel",
        "a rabbit",
        "a sparrow",
        "a crow",
        "a fox",
        "a duck", //
        "a goose",
        "a hedgehog",
        "an owl",
        "a pigeon",
        "a mouse",
        "a pony",
        "a goat",
        "a hen",
    ],
    games: &[
        "sang a song",
        "drew pictures",
        "played hide-and-seek",
        "told old stories",
        "guessed riddles",
        "danced",
        "folded paper birds",
        "played a word game",
        "played house",
        "blew soap bubbles",
        "counted to a hundred",
        "learned a poem",
        "read a story",
        "whistled a tune",
        "hunted for treasure",
        "played tag",
    ],
    weathers: &["sunny", "rainy", "snowy", "windy", "cloudy", "foggy", "warm", "cold"],
    times: &["morning", "afternoon", "evening"],
    connectives: ["", "Then ", "After that, ", "A little later, "],
    // A pronoun stands well enough alone.
    and: "",
    air: &[
        &["The sky was clear.", "There was not a cloud in the sky."],
        &["Rain was falling softly.", "There were puddles everywhere."],
        &["Everything was white.", "Snow was falling softly."],
        &["The leaves were dancing in the wind.", "The wind was strong."],
        &["The sky was gray.", "Gray clouds covered the sky."],
        &["It was hard to see the road.", "The fog was as thick as milk."],
        &["A soft breeze was blowing.", "The air smelled of flowers."],
        &["The air was icy.", "There was frost on the ground."],
    ],
    end_weather: &[
        "The sky was still clear.",
        "At last the rain stopped.",
        "Outside, snow was still falling.",
        "At last the wind grew quiet.",
        "At last the clouds went away.",
        "At last the fog lifted.",
        "It was still warm outside.",
        "It was still cold outside.",
    ],
    end_time: &[
        "Before long, it was time for lunch.",
        "Before long, it was time for dinner.",
        "Before long, it was time for bed.",
    ],
    forms,
    question,
    labels: ("Question: ", "Answer:"),
};

fn forms(kind: Kind) -> Words {
    match kind {
        Kind::Open => &[
            "One {w} {c}, {a} went to the {p}.",
            "On a {w} {c}, {a} walked to the {p}.",
            "It was a {w} {c} when {a} came to the {p}.",
        ],
        Kind::Find => &[
            "{a} found a {k} {t} {s}.",
            "{a} looked around and found a {k} {t} {s}.",
            "By chance, {a} found a {k} {t} {s}.",
        ],
        Kind::Bring => &["{a} had a {k} {t} with {m}.", "{a} was carrying a {k} {t}."],
        Kind::Arrive => &["{a} met {b} there.", "{b} was there, too.", "Soon {b} came along."],
        Kind::ArriveWith => &["Soon {a} came along with a {k} {t}.", "{a} was there with a {k} {t}."],
        Kind::Join => &["{+}{a} came to the {p}, too.", "Just then, {a} came to the {p}."],
        Kind::Give => &[
            "{+}{a} gave the {t} to {b}.",
            "{+}{a} handed the {t} to {b}.",
            "{b} liked the {t}, so {A} gave it to {m}.",
        ],
        Kind::Put => &["{+}{a} put the {t} {s}.", "{+}{a} left the {t} {s}."],
        Kind::Take => &["{+}{a} picked up the {t}.", "{+}{a} came over and took the {t}."],
        Kind::Lose => &["But then {a} lost the {t}.", "But somehow {a} lost the {t}."],
        Kind::Recover => &[
            "Luckily, {a} found the {t} {s}.",
            "{a} looked everywhere and found the {t} {s}.",
        ],
        Kind::Return => &[
            "Luckily, {a} found the {t} {s} and gave it back to {b}.",
            "{a} found the {t} {s} and brought it back to {b}.",
        ],
        Kind::Go => &["{+}{a} went to the {p}.", "{+}{a} walked on to the {p}."],
        Kind::GoTogether => &[
            "{+}{2} went to the {p} together.",
            "{+}{2} walked to the {p} side by side.",
        ],
        Kind::GoAll => &[
            "Then the three friends went to the {p} together.",
            "The three friends walked to the {p}.",
        ],
        Kind::GoBack => &["{+}{a} went back to the {p}.", "{+}{a} returned to the {p}."],
        Kind::Follow => &["{+}{a} followed {b} to the {p}.", "{+}{a} came to the {p}, too."],
        Kind::Play => &["{+}{2} {d} together."],
        Kind::Eat => &["{+}{a} ate {f}.", "{a} was hungry and ate {f}."],
        Kind::See => &[
            "{+}{a} saw {z}.",
            "{a} looked up and saw {z}.",
            "{a} saw {z} and waved at it.",
        ],
        Kind::Glad => &["{a} was very glad.", "{a} was so glad that {h} jumped for joy."],
        Kind::Sad => &["{a} was very sad.", "{a} was so sad that {h} almost cried."],
        Kind::EndPlain => &["It was a day to remember.", "What a day it was!"],
        Kind::EndLost => &[
            "Nobody ever saw the {t} again.",
            "They would look for the {t} again tomorrow.",
        ],
    }
}

fn question(ask: Ask) -> (&'static str, &'static str) {
    match ask {
        Ask::Holder => ("Who had the {t} at the end?", "{A}"),
        Ask::ThingPlace => ("Where was the {t} at the end?", "{s}"),
        Ask::Giver => ("Who gave the {t} to {b}?", "{A}"),
        Ask::Receiver => ("Who did {A} give the {t} to?", "{b}"),
        Ask::WhoLost => ("Who lost the {t}?", "{A}"),
        Ask::WhoFound => ("Who found the {t}?", "{A}"),
        Ask::WhoAte => ("Who ate {f}?", "{A}"),
        Ask::WhoSaw => ("Who saw {z}?", "{A}"),
        Ask::WhatFound => ("What did {A} find?", "a {k} {t}"),
        Ask::WhatAte => ("What did {A} eat?", "{f}"),
        Ask::WhatSaw => ("What did {A} see?", "{z}"),
        Ask::Together => ("What did {A} and {b} do together?", "they {d}"),
        Ask::PersonPlace => ("Where was {A} at the end?", "at the {p}"),
        Ask::FirstPlace => ("Where did {A} go first?", "to the {p}"),
        Ask::Color => ("What color was the {t}?", "{k}"),
        Ask::Weather => ("What was the weather like?", "{w}"),
        Ask::GladOfGift => ("Why was {A} glad?", "because {h} got the {t}"),
        Ask::GladOfFinding => ("Why was {A} glad?", "because {h} found the {t}"),
        Ask::GladOfReturn => ("Why was {A} glad?", "because {h} got the {t} back"),
        Ask::SadOfLoss => ("Why was {A} sad?", "because {h} lost the {t}"),
        Ask::WhoGlad => ("Who was glad?", "{A}"),
        Ask::WhoSad => ("Who was sad?", "{A}"),
    }
}
