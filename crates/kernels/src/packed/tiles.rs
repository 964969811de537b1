//! How rows are cut into tiles, and how a tile asks memory for what comes next.

use crate::simd::Simd;

/// Rows in tiles that are as even as can be, each of at most as many rows as the list's last: evaluates `$tile` for each, where
/// `$first` is its first row, `$share` which of how many tiles it is, and `$R` a constant, its number of rows.
macro_rules! each_tile {
    ($rows:expr, [$($count:literal)*], |$first:ident, $share:ident, $R:ident| $tile:expr) => {
        const MOST: usize = [$($count),*].len();
        let (mut $first, end) = ($rows.start, $rows.end);
        let tiles = (end - $first).div_ceil(MOST);
        for tile in 0..tiles {
            let $share = (tile, tiles);
            let rows = (end - $first).div_ceil(tiles - tile);
            match rows {
                $($count => {
                    const $R: usize = $count;
                    $tile
                })*
                _ => unreachable!("a tile of {rows} rows"),
            }
            $first += rows;
        }
    };
}
pub(super) use each_tile;

/// What a tile of several rows asks of memory while it computes: its share of what lies behind, a little at every step. Asked for
/// by the last tile alone, eight rows of Q8_0 took the time of memory and that of arithmetic, one after the other; asked into the
/// first-level cache, whose misses in flight are few, they took 1.36 times as long, and eight rows of F32 on AVX2 1.7 times.
/// Few rows of quick arithmetic ask for nothing: they read as the machine expects.
pub(super) struct Ahead {
    at: *const u8,
    /// Bytes of the share.
    share: usize,
    steps: usize,
    /// In bytes times `steps`: what is due.
    due: usize,
}

impl Ahead {
    /// Share `share` of `shares`, in `steps` steps, of what begins `distance` bytes behind the beginning of `bytes` and is as long.
    #[inline(always)]
    pub(super) fn new((bytes, distance): (&[u8], usize), (share, shares): (usize, usize), steps: usize) -> Self {
        let length = bytes.len() / shares;
        // Only ever an address to ask for.
        let at = bytes.as_ptr().wrapping_add(distance + share * length);
        Self {
            at,
            share: length,
            steps,
            due: 0,
        }
    }

    #[inline(always)]
    pub(super) fn step<S: Simd>(&mut self) {
        const LINE: usize = 64;
        self.due += self.share;
        while self.due >= LINE * self.steps {
            S::prefetch_far(self.at);
            self.at = self.at.wrapping_add(LINE);
            self.due -= LINE * self.steps;
        }
    }
}
