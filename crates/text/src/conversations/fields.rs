//! Which fields of a row hold question and answer.

use super::ConversationOptions;

/// Names that go together, in lower case; the first pair that a row has is taken.
const PAIRS: [(&str, &str); 8] = [
    ("question", "answer"),
    ("q", "a"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("질문", "답변"),
    ("질문", "답"),
];

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    question: Option<String>,
    answer: Option<String>,
}

/// The places of a row's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) question: usize,
    /// Alpaca's `input`, which belongs to an `instruction`.
    pub(super) input: Option<usize>,
    pub(super) answer: usize,
}

impl Fields {
    pub(super) fn new(options: &ConversationOptions) -> Fields {
        Fields {
            question: options.question_field.clone(),
            answer: options.answer_field.clone(),
        }
    }

    /// Whether a field was named.
    pub(super) fn are_named(&self) -> bool {
        self.question.is_some() || self.answer.is_some()
    }

    /// The places of question and answer among `names`; else what is wrong. One field that was named alone is joined by the
    /// one that goes with it, or by the only one that can be guessed.
    pub(super) fn find(&self, names: &[&str]) -> Result<Places, String> {
        let guess = |question: Option<usize>, answer: Option<usize>| {
            PAIRS.iter().find_map(|(q, a)| {
                let question = question.or_else(|| place(names, q))?;
                let answer = answer.or_else(|| place(names, a))?;
                (question != answer).then_some((question, answer))
            })
        };
        let named = |field: &Option<String>, flag: &str| match field {
            None => Ok(None),
            Some(name) => match place(names, name) {
                Some(place) => Ok(Some(place)),
                None => Err(format!(
                    "no field `{name}`; there is {}: name one with {flag}",
                    list(names)
                )),
            },
        };
        let question = named(&self.question, "--question-field")?;
        let answer = named(&self.answer, "--answer-field")?;
        let (question, answer) = match (question, answer) {
            (Some(question), Some(answer)) => (question, answer),
            (question, answer) => guess(question, answer).ok_or_else(|| {
                format!(
                    "no fields of question and answer; there is {}: name them with --question-field and --answer-field",
                    list(names)
                )
            })?,
        };
        let is_instruction = names[question].eq_ignore_ascii_case("instruction");
        let input = is_instruction.then(|| place(names, "input")).flatten();
        Ok(Places {
            question,
            input: input.filter(|&input| input != answer),
            answer,
        })
    }
}

/// The place of the field of this name, or else of one that differs in case alone.
fn place(names: &[&str], name: &str) -> Option<usize> {
    let same = names.iter().position(|found| *found == name);
    same.or_else(|| {
        names
            .iter()
            .position(|found| found.trim().to_lowercase() == name.to_lowercase())
    })
}

pub(super) fn list(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(names: &[&str], question: Option<&str>, answer: Option<&str>) -> Result<(usize, usize), String> {
        let fields = Fields {
            question: question.map(str::to_owned),
            answer: answer.map(str::to_owned),
        };
        fields.find(names).map(|places| (places.question, places.answer))
    }

    #[test]
    fn fields_are_guessed_or_named() {
        assert_eq!(find(&["Q", "A", "label"], None, None), Ok((0, 1)));
        assert_eq!(find(&["id", "Answer", "Question"], None, None), Ok((2, 1)));
        assert_eq!(find(&["prompt", "response"], None, None), Ok((0, 1)));
        assert_eq!(find(&["답변", "질문"], None, None), Ok((1, 0)));
        assert_eq!(find(&["x", "y", "q", "a"], Some("x"), Some("y")), Ok((0, 1)));
        assert_eq!(find(&["x", "answer"], Some("x"), None), Ok((0, 1)));
        assert_eq!(find(&["a", "A", "q"], None, Some("A")), Ok((2, 1)));
        let error = find(&["x", "y"], None, None).unwrap_err();
        assert!(
            error.contains("there is `x`, `y`") && error.contains("--question-field"),
            "{error}"
        );
        assert!(find(&["q", "a"], Some("z"), None).unwrap_err().contains("no field `z`"));
        // A field is not question and answer at once.
        assert!(find(&["answer"], Some("answer"), None).is_err());
    }
}
