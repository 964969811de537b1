//! Guesses from the text itself: what followed the last words the last time (prompt lookup; Saxena 2023).

/// The longest ending that is looked for, in tokens.
const LONGEST: usize = 3;

/// `draft` becomes up to `n` tokens that followed the previous occurrence of the text's end: of its last three tokens, else
/// two, else one; none where the last token is new.
///
/// Where that occurrence is so near that its continuation reaches the end, it goes on with itself: `a b a b` is continued
/// `a b a b …`. Reads the text once for each length.
pub(crate) fn propose(ids: &[u32], n: usize, draft: &mut Vec<u32>) {
    draft.clear();
    for length in (1..=LONGEST.min(ids.len().saturating_sub(1))).rev() {
        let end = &ids[ids.len() - length..];
        // Occurrences before the end itself, the newest first.
        let Some(at) = ids[..ids.len() - 1].windows(length).rposition(|window| window == end) else {
            continue;
        };
        let next = at + length;
        for i in 0..n {
            let id = ids.get(next + i).copied();
            draft.push(id.unwrap_or_else(|| draft[next + i - ids.len()]));
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_occurrence_of_the_longest_end_is_continued() {
        let proposed = |ids: &[u32], n| {
            let mut draft = vec![99];
            propose(ids, n, &mut draft);
            draft
        };
        assert_eq!(proposed(&[1, 2, 3, 4, 5, 1, 2, 3], 3), [4, 5, 1]);
        // Two tokens with another before them; then one.
        assert_eq!(proposed(&[9, 2, 3, 4, 5, 1, 2, 3], 2), [4, 5]);
        assert_eq!(proposed(&[9, 8, 3, 4, 5, 1, 2, 3], 2), [4, 5]);
        // The newest of several.
        assert_eq!(proposed(&[3, 4, 3, 5, 3], 1), [5]);
        assert_eq!(proposed(&[1, 2, 1, 2], 5), [1, 2, 1, 2, 1]);
        assert_eq!(proposed(&[7, 7], 3), [7, 7, 7]);
        for ids in [&[][..], &[1], &[1, 2, 3]] {
            assert!(proposed(ids, 3).is_empty(), "{ids:?}");
        }
        assert!(proposed(&[7, 7], 0).is_empty());
    }
}
