//! Who holds the pen: the writer, who draws each choice, or the reader, who finds the choices a text was made by.
//!
//! A tale asks its pen to choose and to write; it never knows which of the two it talks to. So the text, its probability
//! and the proof that the text gives its choices away all come from the same grammar, written once.

use super::random::Random;

/// Makes a tale's choices and takes down its words.
pub(super) trait Pen {
    /// An index below `weights.len()`, with probability proportional to its weight. Not all weights are 0.
    fn weigh(&mut self, weights: &[u32]) -> usize;

    /// An index below `n`, each as likely. `n` is at least 1.
    fn choose(&mut self, n: usize) -> usize;

    /// Adds words to the text.
    fn write(&mut self, words: &str);
}

/// The index of `point` in a row of intervals as long as the weights.
fn interval(weights: &[u32], mut point: u64) -> usize {
    for (i, &weight) in weights.iter().enumerate() {
        match point.checked_sub(u64::from(weight)) {
            Some(rest) => point = rest,
            None => return i,
        }
    }
    unreachable!("a point beyond the sum of {weights:?}");
}

fn total(weights: &[u32]) -> u64 {
    weights.iter().map(|&w| u64::from(w)).sum()
}

/// Draws every choice and multiplies their probabilities.
pub(super) struct Writer {
    random: Random,
    pub(super) text: String,
    /// The probability of what is written. A tale makes fewer than 64 choices of at most 64 kinds, so this stays far above
    /// the smallest f64 (2^-1022).
    pub(super) probability: f64,
}

impl Writer {
    pub(super) fn new(random: Random, capacity: usize) -> Self {
        Self {
            random,
            text: String::with_capacity(capacity),
            probability: 1.0,
        }
    }
}

impl Pen for Writer {
    fn weigh(&mut self, weights: &[u32]) -> usize {
        let total = total(weights);
        let i = interval(weights, self.random.below(total));
        self.probability *= f64::from(weights[i]) / total as f64;
        i
    }

    fn choose(&mut self, n: usize) -> usize {
        self.probability *= 1.0 / n as f64;
        self.random.below(n as u64) as usize
    }

    fn write(&mut self, words: &str) {
        self.text.push_str(words);
    }
}

/// Goes through all the ways to write something, in order, leaving a way as soon as it departs from a given text.
///
/// It follows a script of choices; where the script ends it takes the first option and notes how many there are.
/// [`next`](Self::next) then turns the script to the next way, like an odometer.
pub(super) struct Reader<'t> {
    /// What must be written, or `None` to accept everything and take it down.
    target: Option<&'t str>,
    pub(super) taken: String,
    written: usize,
    dead: bool,
    script: Vec<(usize, usize)>,
    at: usize,
    /// The probability of all choices so far, times what [`start`](Self::start) was given.
    pub(super) probability: f64,
}

impl<'t> Reader<'t> {
    pub(super) fn of(target: &'t str) -> Self {
        Self {
            target: Some(target),
            ..Self::of_everything()
        }
    }

    pub(super) fn of_everything() -> Self {
        Self {
            target: None,
            taken: String::new(),
            written: 0,
            dead: false,
            script: Vec::new(),
            at: 0,
            probability: 1.0,
        }
    }

    /// Begins another way, after choices of the given probability.
    pub(super) fn start(&mut self, probability: f64) {
        self.taken.clear();
        self.written = 0;
        self.dead = false;
        self.at = 0;
        self.probability = probability;
    }

    /// How many bytes this way wrote, or `None` if it departed from the text.
    pub(super) fn matched(&self) -> Option<usize> {
        (!self.dead).then_some(self.written)
    }

    /// Turns to the next way; `false` when there is none.
    pub(super) fn next(&mut self) -> bool {
        while let Some((choice, n)) = self.script.pop() {
            if choice + 1 < n {
                self.script.push((choice + 1, n));
                return true;
            }
        }
        false
    }

    /// The script's choice among `n`. A dead way still runs to its end, always taking the first option, unnoted.
    fn follow(&mut self, n: usize) -> usize {
        if self.dead {
            return 0;
        }
        if self.at == self.script.len() {
            self.script.push((0, n));
        }
        self.at += 1;
        self.script[self.at - 1].0
    }
}

impl Pen for Reader<'_> {
    fn weigh(&mut self, weights: &[u32]) -> usize {
        let i = self.follow(weights.len());
        if weights[i] == 0 {
            self.dead = true;
        }
        self.probability *= f64::from(weights[i]) / total(weights) as f64;
        if self.dead {
            // What follows must be possible even on a dead way: the tale checks its own steps.
            return weights.iter().position(|&w| w > 0).expect("a positive weight");
        }
        i
    }

    fn choose(&mut self, n: usize) -> usize {
        self.probability *= 1.0 / n as f64;
        self.follow(n)
    }

    fn write(&mut self, words: &str) {
        if self.dead {
            return;
        }
        match self.target {
            None => self.taken.push_str(words),
            Some(target) if target.as_bytes()[self.written..].starts_with(words.as_bytes()) => {}
            Some(_) => {
                self.dead = true;
                return;
            }
        }
        self.written += words.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syllables(pen: &mut impl Pen) {
        for _ in 0..2 {
            let i = pen.weigh(&[1, 0, 3]);
            pen.write(["a", "?", "bb"][i]);
        }
    }

    #[test]
    fn a_reader_goes_through_every_way_once() {
        let mut reader = Reader::of_everything();
        let mut seen = Vec::new();
        loop {
            reader.start(1.0);
            syllables(&mut reader);
            if reader.matched().is_some() {
                seen.push((reader.taken.clone(), reader.probability));
            }
            if !reader.next() {
                break;
            }
        }
        let expected = [
            ("aa", 1.0 / 16.0),
            ("abb", 3.0 / 16.0),
            ("bba", 3.0 / 16.0),
            ("bbbb", 9.0 / 16.0),
        ];
        assert_eq!(seen, expected.map(|(text, p)| (text.to_string(), p)));
    }

    #[test]
    fn a_reader_of_a_text_matches_only_its_way() {
        let mut reader = Reader::of("abb");
        let mut matches = Vec::new();
        loop {
            reader.start(0.5);
            syllables(&mut reader);
            matches.extend(reader.matched().map(|n| (n, reader.probability)));
            if !reader.next() {
                break;
            }
        }
        assert_eq!(matches, [(3, 3.0 / 32.0)]);
    }

    #[test]
    fn a_writer_draws_in_proportion() {
        let mut writer = Writer::new(Random::new(0, 0), 0);
        let mut counts = [0; 3];
        for _ in 0..40_000 {
            counts[writer.weigh(&[1, 0, 3])] += 1;
            writer.probability = 1.0;
        }
        assert_eq!(counts[1], 0);
        // Standard deviation of the first count: sqrt(40,000 * 1/4 * 3/4) = 87.
        assert!((counts[0] - 10_000i32).abs() < 350, "{counts:?}");
    }
}
