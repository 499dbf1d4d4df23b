//! Random choices as Python makes them, for the reference's pool.

use std::collections::HashSet;

use rand_mt::Mt;

/// The indices that `random.seed(seed); random.sample(range(n), k)` of CPython gives
/// (`Lib/random.py`, 3.9 to 3.14), in its order; `k` is at most `n`.
///
/// ```
/// assert_eq!(gf_perturb::stats::python_sample(100, 4, 42), [81, 14, 3, 94]);
/// ```
pub fn python_sample(n: u32, k: usize, seed: u32) -> Vec<u32> {
    let mut random = Mt::new_with_key([seed]);
    if u64::from(n) <= set_size(k) {
        return shuffled_start(n, k, &mut random);
    }
    let mut chosen = HashSet::with_capacity(k);
    let mut sample = Vec::with_capacity(k);
    while sample.len() < k {
        let j = below(n, &mut random);
        if chosen.insert(j) {
            sample.push(j);
        }
    }
    sample
}

/// Populations up to this size CPython copies to a list, larger ones it does not.
fn set_size(k: usize) -> u64 {
    let mut size = 21;
    if k > 5 {
        size += 4u64.pow((3.0 * k as f64).log(4.0).ceil() as u32);
    }
    size
}

fn shuffled_start(n: u32, k: usize, random: &mut Mt) -> Vec<u32> {
    let mut pool: Vec<u32> = (0..n).collect();
    let mut take = |last: u32| {
        let j = below(last + 1, random) as usize;
        let taken = pool[j];
        pool[j] = pool[last as usize];
        taken
    };
    (0..k as u32).map(|i| take(n - 1 - i)).collect()
}

/// A number below `n`, which is not 0 (`_randbelow_with_getrandbits`).
fn below(n: u32, random: &mut Mt) -> u32 {
    loop {
        let r = random.next_u32() >> n.leading_zeros();
        if r < n {
            return r;
        }
    }
}
