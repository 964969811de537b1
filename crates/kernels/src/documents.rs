//! Documents: which of N tokens see each other, and where positions begin again.

/// N tokens, one document after another.
pub(crate) struct Documents {
    /// Where each begins, then N.
    starts: Vec<usize>,
}

/// Some tokens of N.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document {
    pub(crate) first: usize,
    pub(crate) len: usize,
}

impl Documents {
    /// `n` tokens in documents of these lengths, or, where none are given, of `t` tokens each.
    ///
    /// # Panics
    /// Where one is empty or longer than `t`, or they are not `n` tokens together.
    pub(crate) fn new(n: usize, t: usize, lengths: &[usize]) -> Self {
        if lengths.is_empty() {
            let starts = (0..n).step_by(t.max(1)).chain([n]).collect();
            return Self { starts };
        }
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        let mut end = 0;
        for &len in lengths {
            assert!((1..=t).contains(&len), "a document of {len} tokens, expected 1 to {t}");
            starts.push(end);
            end += len;
        }
        assert_eq!(end, n, "tokens of all documents");
        starts.push(n);
        Self { starts }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Document> + '_ {
        self.starts.windows(2).map(|ends| Document {
            first: ends[0],
            len: ends[1] - ends[0],
        })
    }

    /// Positions of token `first` and of those after it, each inside of its document.
    pub(crate) fn positions(&self, first: usize) -> impl Iterator<Item = usize> + '_ {
        let mut document = self.starts.partition_point(|&start| start <= first) - 1;
        (first..).map(move |n| {
            if n == self.starts[document + 1] {
                document += 1;
            }
            n - self.starts[document]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_begin_again_at_each_document() {
        let listed = Documents::new(7, 4, &[3, 1, 1, 2]);
        let all = [0, 1, 2, 0, 0, 0, 1];
        for first in 0..7 {
            let got: Vec<usize> = listed.positions(first).take(7 - first).collect();
            assert_eq!(got, all[first..], "from {first}");
        }
        let rows = Documents::new(6, 3, &[]);
        assert_eq!(rows.positions(0).take(6).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        assert_eq!(
            rows.iter().map(|d| (d.first, d.len)).collect::<Vec<_>>(),
            [(0, 3), (3, 3)]
        );
        assert_eq!(Documents::new(0, 3, &[]).iter().count(), 0);
    }

    #[test]
    #[should_panic(expected = "a document of 5 tokens, expected 1 to 4")]
    fn one_that_is_too_long() {
        Documents::new(7, 4, &[5, 2]);
    }

    #[test]
    #[should_panic(expected = "tokens of all documents")]
    fn too_few_tokens() {
        Documents::new(7, 4, &[4, 2]);
    }
}
