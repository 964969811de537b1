//! Output held to a JSON schema, a regular expression or a grammar.
//!
//! The llguidance crate follows the grammar; here its tokens are the tokeniser's, and its limits are ours.

use crate::error::Error;
use foretoken_generate::{Constraint, TokenSet};
use foretoken_text::Tokenizer;
use llguidance::api::{StopReason, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use std::sync::Arc;

/// What a text must match, from its first token to its last.
#[derive(Clone, Debug, PartialEq)]
pub enum Grammar {
    /// A JSON value that this JSON schema admits. Between its parts may stand a space, or a line break with up to 20 spaces,
    /// so that a model cannot lose itself in white space; `"x-guidance"` in the schema says otherwise, as llguidance has it.
    /// `$ref` reaches within the schema only: nothing is fetched.
    JsonSchema(serde_json::Value),
    /// A regular expression in the syntax of Rust's `regex`, without anchors. It matches the whole text.
    Regex(String),
    /// A context-free grammar in llguidance's form of Lark; its first rule is `start`.
    Lark(String),
}

/// Between the parts of a JSON text.
const JSON_SPACE: &str = r" |\n {0,20}";
/// Longer tokens do not fit the trie of llguidance; no text needs them.
const LONGEST_TOKEN: usize = 512;
/// Characters of a message that are shown; it may quote the whole grammar.
const LONGEST_MESSAGE: usize = 400;
/// Begins the name of a special token in the trie. No UTF-8 holds this byte, so no grammar does.
const MARKER: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

impl Grammar {
    /// What it is called in messages.
    fn name(&self) -> &'static str {
        match self {
            Grammar::JsonSchema(_) => "JSON schema",
            Grammar::Regex(_) => "regular expression",
            Grammar::Lark(_) => "grammar",
        }
    }

    fn compile(&self) -> TopLevelGrammar {
        match self {
            Grammar::JsonSchema(schema) => {
                let mut schema = schema.clone();
                if let Some(object) = schema.as_object_mut() {
                    let space = || serde_json::json!({ "whitespace_pattern": JSON_SPACE });
                    object.entry("x-guidance").or_insert_with(space);
                }
                TopLevelGrammar::from_json_schema(schema)
            }
            Grammar::Regex(pattern) => TopLevelGrammar::from_regex(pattern),
            Grammar::Lark(grammar) => TopLevelGrammar::from_lark(grammar.clone()),
        }
    }
}

/// Turns grammars into constraints on one tokeniser's tokens.
///
/// ```
/// use foretoken::{Grammar, Grammars, generate::{Constraint, TokenSet}, text::Tokenizer};
/// let grammars = Grammars::new(&Tokenizer::byte())?;
/// let mut constraint = grammars.constraint(&Grammar::Regex("yes|no".into()))?;
/// let mut allowed = TokenSet::default();
/// constraint.allowed(&mut allowed)?;
/// assert!(allowed.contains(b'y'.into()) && allowed.contains(b'n'.into()) && !allowed.contains(b'a'.into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Grammars {
    factory: ParserFactory,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grammars")
    }
}

impl Grammars {
    /// Makes the trie of the tokens: some 140 ms for 50,000 of them (Zen 4, one thread).
    ///
    /// # Errors
    /// A vocabulary that no trie can be made of.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, Error> {
        let ids = 0..tokenizer.vocab_size() as u32;
        let tokens: Vec<Vec<u8>> = ids
            .clone()
            .map(|id| {
                let bytes = tokenizer.id_to_bytes(id).unwrap_or_default();
                match tokenizer.is_special(id) {
                    true => [&[MARKER], bytes].concat(),
                    // An empty token is never allowed.
                    false if bytes.first() == Some(&MARKER) || bytes.len() > LONGEST_TOKEN => Vec::new(),
                    false => bytes.to_vec(),
                }
            })
            .collect();
        let info = TokRxInfo::new(ids.end, tokenizer.eos_id());
        let env = Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &tokens)));
        let mut factory = ParserFactory::new_simple(&(env as _)).map_err(|error| Error::Grammar {
            what: "tokenizer",
            message: error.to_string(),
        })?;
        factory.quiet();
        // Else a message holds the whole grammar and the text so far.
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory })
    }

    /// A constraint for one text, at its beginning.
    ///
    /// # Errors
    /// [`Error::Grammar`] where no text can be held to it.
    pub fn constraint(&self, grammar: &Grammar) -> Result<GrammarConstraint, Error> {
        let mut matcher = Matcher::new(self.factory.create_parser(grammar.compile()));
        let what = grammar.name();
        let failed = |message: String| Error::Grammar { what, message };
        if let Some(message) = matcher.get_error() {
            return Err(failed(one_line(&message)));
        }
        // What cannot begin is known before the model is asked.
        matcher
            .compute_mask_or_eos()
            .map_err(|error| failed(one_line(&error.to_string())))?;
        Ok(GrammarConstraint { matcher, what })
    }
}

/// A grammar's state within one text.
pub struct GrammarConstraint {
    matcher: Matcher,
    what: &'static str,
}

impl std::fmt::Debug for GrammarConstraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GrammarConstraint({})", self.what)
    }
}

impl Clone for GrammarConstraint {
    /// Another text's, as far as this one has come: what follows of one says nothing to the other. It takes far less than compiling
    /// the grammar again.
    fn clone(&self) -> Self {
        Self {
            matcher: self.matcher.deep_clone(),
            what: self.what,
        }
    }
}

impl GrammarConstraint {
    fn failed(&self, message: &str) -> foretoken_generate::Error {
        let message = one_line(message);
        foretoken_generate::Error::Constraint(format!("the {} cannot go on: {message}", self.what))
    }
}

impl Constraint for GrammarConstraint {
    fn allowed(&mut self, allowed: &mut TokenSet) -> Result<(), foretoken_generate::Error> {
        match self.matcher.compute_mask() {
            Ok(mask) => {
                allowed.copy_from_words(mask.as_slice());
                Ok(())
            }
            Err(error) => Err(self.failed(&error.to_string())),
        }
    }

    fn accept(&mut self, id: u32) -> Result<(), foretoken_generate::Error> {
        let accepted = self.matcher.consume_token(id);
        accepted.map_err(|error| self.failed(&error.to_string()))
    }

    fn is_complete(&mut self) -> bool {
        use StopReason::{EndOfSentence, NoExtension, NoExtensionBias};
        matches!(
            self.matcher.stop_reason(),
            EndOfSentence | NoExtension | NoExtensionBias
        )
    }
}

/// A message on one line, without the marks that point into another, and without a trace of calls.
fn one_line(message: &str) -> String {
    let lines = message.lines().take_while(|line| !line.contains("<backtrace>"));
    let words = lines.map(str::trim).filter(|line| line.chars().any(|c| c != '^'));
    words
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(LONGEST_MESSAGE)
        .collect()
}
