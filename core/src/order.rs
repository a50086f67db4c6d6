//! Sorting by index: one sort for whatever is compared, so that its code stands in a small binary once.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// The numbers below `len` in the order of `compare`; equal ones in their own order. `None` if there is no memory.
pub fn sorted(len: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Option<Vec<u32>> {
    let mut order = Vec::new();
    order.try_reserve_exact(len).ok()?;
    order.extend(0..u32::try_from(len).ok()?);
    order.sort_unstable_by(|&a, &b| compare(a as usize, b as usize).then(a.cmp(&b)));
    Some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_keep_their_order() {
        let values = [3, 1, 2, 1, 3];
        let order = sorted(values.len(), &mut |a, b| values[a].cmp(&values[b]));
        assert_eq!(order.as_deref(), Some(&[1, 3, 2, 0, 4][..]));
    }
}
