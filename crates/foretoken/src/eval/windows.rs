//! Where a long document is cut.

/// Cuts a document's tokens, as they come, into windows that overlap, so that each token is scored exactly once.
///
/// A window is up to C + 1 tokens: C that the model reads, and what follows each. The next begins S tokens later. The first
/// counts all that follows its first token; each other only the tokens that no window before it counted, its last S. So a
/// token is scored after at least C - S others of its document, but for those near its beginning, and a smaller stride
/// costs more time: C / S passes over the text.
///
/// It is the recipe of `transformers` ("Perplexity of fixed-length models") with `max_length` C + 1: there a window's last
/// token is read for nothing.
#[derive(Clone, Debug)]
pub struct Windows {
    context: usize,
    stride: usize,
    /// Tokens from the current window's first on.
    ids: Vec<u32>,
    /// How many of them were counted, or stand where nothing is counted: the document's first.
    counted: usize,
}

impl Windows {
    /// Windows of `context` tokens, each `stride` after the one before.
    ///
    /// # Panics
    /// Where `stride` is not from 1 to `context`: tokens would be left out.
    pub fn new(context: usize, stride: usize) -> Self {
        assert!(
            (1..=context).contains(&stride),
            "a stride of {stride} in a context of {context}"
        );
        Self {
            context,
            stride,
            ids: Vec::new(),
            counted: 0,
        }
    }

    /// Begins a document: the token before its first, which is read and not scored.
    pub fn begin(&mut self, first: u32) {
        self.ids.clear();
        self.ids.push(first);
        self.counted = 1;
    }

    /// Takes the next tokens of the document and gives every window that is full: its tokens, and how many of the last of
    /// them count.
    ///
    /// # Errors
    /// The first of `read`.
    pub fn push<E>(&mut self, ids: &[u32], mut read: impl FnMut(&[u32], usize) -> Result<(), E>) -> Result<(), E> {
        self.ids.extend_from_slice(ids);
        let full = self.context + 1;
        let mut start = 0;
        while self.ids.len() - start >= full {
            read(&self.ids[start..start + full], full - self.counted)?;
            self.counted = full - self.stride;
            start += self.stride;
        }
        // Once a push, not once a window: a piece of text holds thousands.
        self.ids.drain(..start);
        Ok(())
    }

    /// Ends the document: gives what is left of it, if something is.
    ///
    /// # Errors
    /// That of `read`.
    pub fn finish<E>(&mut self, mut read: impl FnMut(&[u32], usize) -> Result<(), E>) -> Result<(), E> {
        let count = self.ids.len() - self.counted;
        let rest = std::mem::take(&mut self.ids);
        self.counted = 0;
        if count == 0 {
            return Ok(());
        }
        read(&rest, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows of a document of n tokens that comes in pieces: the ids are its places.
    fn cut(n: usize, context: usize, stride: usize, piece: usize) -> Vec<(Vec<u32>, usize)> {
        let mut windows = Windows::new(context, stride);
        let mut found = Vec::new();
        let mut read = |ids: &[u32], count: usize| -> Result<(), ()> {
            found.push((ids.to_vec(), count));
            Ok(())
        };
        windows.begin(0);
        let ids: Vec<u32> = (1..=n as u32).collect();
        for piece in ids.chunks(piece) {
            windows.push(piece, &mut read).unwrap();
        }
        windows.finish(&mut read).unwrap();
        found
    }

    #[test]
    fn each_token_counts_once_after_enough_others() {
        for context in 1..=9 {
            for stride in 1..=context {
                for n in 0..=4 * context + 3 {
                    let whole = cut(n, context, stride, n.max(1));
                    let mut next = 1;
                    for (index, (ids, count)) in whole.iter().enumerate() {
                        let what =
                            format!("n {n}, context {context}, stride {stride}, window {index}: {ids:?} {count}");
                        assert_eq!(ids[0] as usize, index * stride, "{what}");
                        assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{what}");
                        assert!(*count >= 1 && *count < ids.len() && ids.len() <= context + 1, "{what}");
                        assert!(index == 0 || *count <= stride, "{what}");
                        for &id in &ids[ids.len() - count..] {
                            assert_eq!(id, next, "{what}");
                            let before = (id - ids[0]) as usize;
                            assert!(before >= (context - stride + 1).min(id as usize), "{what}");
                            next += 1;
                        }
                    }
                    assert_eq!(next as usize, n + 1, "n {n}, context {context}, stride {stride}");
                    for piece in [1, 2, context, 3 * context + 1] {
                        assert_eq!(cut(n, context, stride, piece), whole);
                    }
                }
            }
        }
    }

    /// The loop of the recipe, word by word: begins, ends, and how many labels are not masked.
    #[test]
    fn windows_are_those_of_the_recipe() {
        for (n, context, stride) in [(37, 8, 3), (8, 8, 8), (9, 8, 4), (100, 15, 7), (5, 12, 6)] {
            let (length, max_length) = (n + 1, context + 1);
            let mut want = Vec::new();
            let mut previous = 0;
            for begin in (0..length).step_by(stride) {
                let end = (begin + max_length).min(length);
                // The label of a window's first token is shifted away.
                let labels = (end - previous).min(end - begin - 1);
                if labels > 0 {
                    want.push(((begin as u32..end as u32).collect::<Vec<_>>(), labels));
                }
                previous = end;
                if end == length {
                    break;
                }
            }
            assert_eq!(cut(n, context, stride, 4), want, "{n} {context} {stride}");
        }
    }

    #[test]
    fn documents_do_not_see_each_other() {
        let mut windows = Windows::new(4, 2);
        let mut found = Vec::new();
        let mut read = |ids: &[u32], count: usize| -> Result<(), ()> {
            found.push((ids.to_vec(), count));
            Ok(())
        };
        for document in [&[1, 2][..], &[], &[3, 4, 5, 6, 7]] {
            windows.begin(0);
            windows.push(document, &mut read).unwrap();
            windows.finish(&mut read).unwrap();
        }
        let want = [(vec![0, 1, 2], 2), (vec![0, 3, 4, 5, 6], 4), (vec![4, 5, 6, 7], 1)];
        assert_eq!(found, want);
    }
}
