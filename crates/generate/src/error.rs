//! What can be wrong with a request, or with the model it meets.

/// Why no token could be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A sampling parameter has a value that means nothing.
    #[error("sampling: `{field}` is {found}: expected {expected}")]
    Sampling {
        /// The field of [`Sampling`](crate::Sampling).
        field: &'static str,
        /// What it holds.
        found: f32,
        /// What it may hold.
        expected: &'static str,
    },
    /// An id that the model has no row for.
    #[error(
        "token {id} at position {position} is not in the model's vocabulary of {vocab_size}: \
         the tokeniser belongs to another model"
    )]
    Token {
        /// The id.
        id: u32,
        /// Where it stands among the ids that were given.
        position: usize,
        /// V.
        vocab_size: usize,
    },
    /// A logit bias names an id that the model has no row for.
    #[error("logit bias: token {id} is not in the vocabulary of {vocab_size}")]
    Bias {
        /// The id.
        id: u32,
        /// V.
        vocab_size: usize,
    },
    /// Nothing to predict from: the prompt has no token, and no token to begin with was named.
    #[error("the prompt is empty: give at least one token, or name the token a text begins with")]
    EmptyPrompt,
    /// More tokens than the model can see at once.
    #[error("a prompt of {prompt} tokens and {max_tokens} more do not fit the context of {context} tokens")]
    Context {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens that may follow.
        max_tokens: usize,
        /// C.
        context: usize,
    },
    /// The model answered with a number that no distribution can be made of.
    #[error(
        "the model's logit for token {id} is {found}: its weights hold damaged or diverged numbers; \
         take an earlier checkpoint"
    )]
    NotFinite {
        /// The first token whose logit is NaN or +inf.
        id: u32,
        /// The logit.
        found: f32,
    },
    /// Every logit is -inf: the model, the logit bias and the constraint together forbid all tokens.
    #[error(
        "no token is left to choose from: all {vocab_size} logits are -inf, by the model, the logit bias or the constraint"
    )]
    NoCandidate {
        /// V.
        vocab_size: usize,
    },
    /// A constraint cannot say how a text goes on.
    #[error("{0}")]
    Constraint(String),
    /// The model could not get its memory.
    #[error(transparent)]
    Model(#[from] foretoken_model::Error),
}
