//! Korean particles, which change their form with the last sound of the word they follow.

/// A particle, named by its form after a consonant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Particle {
    /// 은 / 는: the topic.
    Topic,
    /// 이 / 가: the subject.
    Subject,
    /// 을 / 를: the object.
    Object,
    /// 과 / 와: and, with.
    With,
    /// 으로 / 로: towards, by means of. A final ㄹ counts as a vowel here.
    Toward,
    /// 이었 / 였: the past of "to be", before its ending.
    Was,
}

/// The last sound of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Vowel,
    Rieul,
    Consonant,
}

/// The last sound of `word`; `None` unless it ends in a composed Hangul syllable.
///
/// Unicode orders the 11,172 syllables by first consonant, vowel and final: 28 finals, of which 0 is none and 8 is ㄹ.
fn ending(word: &str) -> Option<Ending> {
    let last = u32::from(word.chars().next_back()?);
    if !(0xAC00..=0xD7A3).contains(&last) {
        return None;
    }
    Some(match (last - 0xAC00) % 28 {
        0 => Ending::Vowel,
        8 => Ending::Rieul,
        _ => Ending::Consonant,
    })
}

impl Particle {
    /// The particle a form names by its consonant shape, as the sentence forms write it: `{t을}`.
    pub(super) fn named(form: &str) -> Option<Self> {
        Some(match form {
            "은" => Self::Topic,
            "이" => Self::Subject,
            "을" => Self::Object,
            "과" => Self::With,
            "으로" => Self::Toward,
            "이었" => Self::Was,
            _ => return None,
        })
    }

    /// The shape that follows `word`.
    ///
    /// # Panics
    /// If `word` does not end in a Hangul syllable: how a digit or a Latin letter is read aloud is not in its spelling, so
    /// the tables hold none (a test reads them all).
    pub(super) fn after(self, word: &str) -> &'static str {
        let Some(ending) = ending(word) else {
            panic!("{word:?} does not end in a Hangul syllable, so its particle is unknown");
        };
        match (self, ending) {
            (Self::Topic, Ending::Vowel) => "는",
            (Self::Topic, _) => "은",
            (Self::Subject, Ending::Vowel) => "가",
            (Self::Subject, _) => "이",
            (Self::Object, Ending::Vowel) => "를",
            (Self::Object, _) => "을",
            (Self::With, Ending::Vowel) => "와",
            (Self::With, _) => "과",
            (Self::Toward, Ending::Consonant) => "으로",
            (Self::Toward, _) => "로",
            (Self::Was, Ending::Vowel) => "였",
            (Self::Was, _) => "이었",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn particles_by_hand() {
        let shapes = ["은", "이", "을", "과", "으로", "이었"].map(|form| Particle::named(form).unwrap());
        for (word, expected) in [
            ("나무", ["는", "가", "를", "와", "로", "였"]),
            ("학교", ["는", "가", "를", "와", "로", "였"]),
            ("시계", ["는", "가", "를", "와", "로", "였"]),
            ("공원", ["은", "이", "을", "과", "으로", "이었"]),
            ("시장", ["은", "이", "을", "과", "으로", "이었"]),
            ("숲", ["은", "이", "을", "과", "으로", "이었"]),
            ("부엌", ["은", "이", "을", "과", "으로", "이었"]),
            ("꽃", ["은", "이", "을", "과", "으로", "이었"]),
            // A final ㄹ is a consonant for all but 로.
            ("교실", ["은", "이", "을", "과", "로", "이었"]),
            ("개울", ["은", "이", "을", "과", "로", "이었"]),
            ("연필", ["은", "이", "을", "과", "로", "이었"]),
            // A cluster that begins with ㄹ is no final ㄹ.
            ("닭", ["은", "이", "을", "과", "으로", "이었"]),
            ("삶", ["은", "이", "을", "과", "으로", "이었"]),
        ] {
            assert_eq!(shapes.map(|p| p.after(word)), expected, "{word}");
        }
    }

    #[test]
    fn the_first_and_last_syllables_of_unicode() {
        assert_eq!(ending("가"), Some(Ending::Vowel));
        assert_eq!(ending("갈"), Some(Ending::Rieul));
        assert_eq!(ending("힣"), Some(Ending::Consonant));
    }

    #[test]
    fn other_endings_have_no_known_sound() {
        for word in ["", "7", "kite", "ㄱ", "ㅏ", "연 ", "연."] {
            assert_eq!(ending(word), None, "{word:?}");
        }
        assert_eq!(Particle::named("는"), None);
    }
}
