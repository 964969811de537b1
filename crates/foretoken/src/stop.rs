//! Stop strings in a text that comes in parts.

/// Finds stop strings across parts, and holds back what could be the beginning of one.
#[derive(Debug)]
pub(crate) struct StopStrings<'a> {
    stops: &'a [String],
    held: String,
}

impl<'a> StopStrings<'a> {
    /// Empty stop strings stop nothing.
    pub(crate) fn new(stops: &'a [String]) -> Self {
        Self {
            stops,
            held: String::new(),
        }
    }

    /// The text that is sure now, and whether a stop string ended it.
    pub(crate) fn push(&mut self, part: &str) -> (String, bool) {
        self.held.push_str(part);
        let stops = || self.stops.iter().filter(|stop| !stop.is_empty());
        if let Some(at) = stops().filter_map(|stop| self.held.find(stop.as_str())).min() {
            let mut text = std::mem::take(&mut self.held);
            text.truncate(at);
            return (text, true);
        }
        let could_begin = |at: &usize| stops().any(|stop| stop.starts_with(&self.held[*at..]));
        let sure = self
            .held
            .char_indices()
            .map(|(at, _)| at)
            .find(could_begin)
            .unwrap_or(self.held.len());
        let rest = self.held.split_off(sure);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, once no more comes.
    pub(crate) fn finish(self) -> String {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], parts: &[&str]) -> (Vec<String>, bool, String) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut strings = StopStrings::new(&stops);
        let mut out = Vec::new();
        for part in parts {
            let (text, stopped) = strings.push(part);
            out.push(text);
            if stopped {
                return (out, true, strings.finish());
            }
        }
        (out, false, strings.finish())
    }

    #[test]
    fn a_stop_string_is_found_across_parts_and_never_shown() {
        assert_eq!(
            run(&["\n\n"], &["a\n", "\nb"]),
            (vec!["a".into(), String::new()], true, String::new())
        );
        assert_eq!(
            run(&["END"], &["xE", "N", "x"]),
            (vec!["x".into(), String::new(), "ENx".into()], false, String::new())
        );
        assert_eq!(run(&["aab"], &["aaab"]), (vec!["a".into()], true, String::new()));
        assert_eq!(
            run(&["끝"], &["이야기 ", "끝", "!"]),
            (vec!["이야기 ".into(), String::new()], true, String::new())
        );
        assert_eq!(run(&["xyz", "b"], &["ab"]), (vec!["a".into()], true, String::new()));
        assert_eq!(run(&["xyz"], &["ax"]), (vec!["a".into()], false, "x".into()));
        assert_eq!(run(&[""], &["abc"]), (vec!["abc".into()], false, String::new()));
    }
}
