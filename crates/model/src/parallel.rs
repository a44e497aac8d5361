//! Work on the rows of a few buffers, shared out among the threads of a pool.

use nano_reasoning_kernels::Pool;
use std::sync::Mutex;

/// Parts that rows are cut into at most. They lie on the stack.
const MAX_PARTS: usize = 64;

/// Parts for each thread: with more, they mostly wait for the next part's number.
const PARTS_PER_THREAD: usize = 4;

/// Elements below which a region, whose start takes about 1 µs, saves too little to matter.
const MIN_ELEMENTS: usize = 1 << 14;

/// Runs `work(row, [row of each buffer])` for each of `n_rows` rows, `[n_rows, len / n_rows]` each.
pub fn for_each_row<const N: usize>(
    pool: &Pool,
    n_rows: usize,
    buffers: [&mut [f32]; N],
    work: impl Fn(usize, [&mut [f32]; N]) + Sync,
) {
    let n_elements: usize = buffers.iter().map(|buffer| buffer.len()).sum();
    if n_rows == 0 || n_elements == 0 {
        return;
    }
    let widths = buffers.each_ref().map(|buffer| buffer.len() / n_rows);
    let run = |first: usize, n_rows: usize, mut rest: [&mut [f32]; N]| {
        for row in first..first + n_rows {
            work(row, split_front(&mut rest, widths));
        }
    };
    if n_elements < MIN_ELEMENTS || n_rows == 1 || pool.n_threads() == 1 {
        return run(0, n_rows, buffers);
    }
    let part_rows = n_rows.div_ceil(MAX_PARTS.min(PARTS_PER_THREAD * pool.n_threads()));
    let parts: [Mutex<Option<[&mut [f32]; N]>>; MAX_PARTS] = {
        let mut rest = buffers;
        let mut left = n_rows;
        std::array::from_fn(|_| {
            let n = part_rows.min(left);
            left -= n;
            Mutex::new((n > 0).then(|| split_front(&mut rest, widths.map(|width| n * width))))
        })
    };
    pool.run(n_rows.div_ceil(part_rows), |part| {
        let taken = parts[part].lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let rows = taken.expect("the pool runs each part once");
        run(part * part_rows, part_rows.min(n_rows - part * part_rows), rows);
    });
}

/// Cuts `lens` elements off the front of each buffer.
fn split_front<'a, const N: usize>(rest: &mut [&'a mut [f32]; N], lens: [usize; N]) -> [&'a mut [f32]; N] {
    let mut i = 0;
    rest.each_mut().map(|buffer| {
        i += 1;
        buffer.split_off_mut(..lens[i - 1]).expect("buffers hold whole rows")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_each_row_once() {
        for n_threads in [1, 3] {
            let pool = Pool::new(n_threads);
            for (n_rows, width) in [(0, 4), (1, 7), (5, 3), (64, 300), (65, 300), (300, 100)] {
                let (mut a, mut b) = (vec![0.0; n_rows * width], vec![0.0; n_rows]);
                for_each_row(&pool, n_rows, [&mut a, &mut b], |row, [a, b]| {
                    assert_eq!((a.len(), b.len()), (width, 1));
                    a.iter_mut().for_each(|x| *x += row as f32);
                    b[0] += 1.0;
                });
                assert!(a.chunks(width).zip(0..).all(|(a, row)| a.iter().all(|&x| x == row as f32)));
                assert!(b.iter().all(|&n| n == 1.0));
            }
        }
    }
}
