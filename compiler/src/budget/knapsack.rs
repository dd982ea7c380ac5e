//! A knapsack with several choices for each item, and with a limit at every step: numbers alone, no graphs.

use std::ops::Range;

/// One way to save a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// In the arena.
    pub bytes: u64,
    /// Added to the squared error of the whole gradient, as a share of its squared length.
    pub error: f64,
}

/// A saved tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// From most to least bytes.
    pub levels: Vec<Level>,
    /// Index of the one that is chosen.
    pub level: usize,
    /// Steps at which the choice decides how many bytes are live.
    pub span: Range<usize>,
}

impl Item {
    fn now(&self) -> Level {
        self.levels[self.level]
    }
}

/// Takes bytes away until no step has more than `limit`; false where no choice is left at a step that has.
///
/// It is greedy: of all changes of items that live at the fullest step, the one whose error is smallest for a byte that is
/// too much goes first. As every level of an item competes, not only its next one, the choices are those on the convex
/// hull of bytes and errors, within one item of the bound of the linear program (Sinha and Zoltners, 1979); the fullest
/// step is the one whose multiplier is not zero.
pub fn fill(live: &mut [i64], items: &mut [Item], limit: i64) -> bool {
    loop {
        let Some((step, &most)) = live.iter().enumerate().max_by_key(|it| (*it.1, usize::MAX - it.0)) else {
            return true;
        };
        if most <= limit {
            return true;
        }
        let mut best: Option<(f64, usize, usize)> = None;
        for (idx, item) in items.iter().enumerate().filter(|it| it.1.span.contains(&step)) {
            let now = item.now();
            for (at, level) in item.levels.iter().enumerate().filter(|it| it.1.bytes < now.bytes) {
                let useful = ((now.bytes - level.bytes) as f64).min((most - limit) as f64);
                let price = (level.error - now.error) / useful;
                if best.is_none_or(|it| price < it.0) {
                    best = Some((price, idx, at));
                }
            }
        }
        let Some((_, idx, level)) = best else { return false };
        choose(live, &mut items[idx], level);
    }
}

/// Gives bytes back where no step gets more than `limit` by that, most error for a byte first; returns whether any were.
pub fn give_back(live: &mut [i64], items: &mut [Item], limit: i64) -> bool {
    let mut any = false;
    loop {
        let mut best: Option<(f64, usize, usize)> = None;
        for (idx, item) in items.iter().enumerate() {
            let now = item.now();
            let most = live.get(item.span.clone()).unwrap_or_default().iter().copied().max().unwrap_or(i64::MIN);
            for (at, level) in item.levels.iter().enumerate().filter(|it| it.1.error < now.error) {
                let more = level.bytes as i64 - now.bytes as i64;
                let worth = (now.error - level.error) / more.max(1) as f64;
                if most.saturating_add(more) <= limit && best.is_none_or(|it| it.0 < worth) {
                    best = Some((worth, idx, at));
                }
            }
        }
        let Some((_, idx, level)) = best else { return any };
        choose(live, &mut items[idx], level);
        any = true;
    }
}

/// Sum of the errors of all choices.
pub fn error(items: &[Item]) -> f64 {
    items.iter().map(|it| it.now().error).sum()
}

fn choose(live: &mut [i64], item: &mut Item, level: usize) {
    let change = item.levels[level].bytes as i64 - item.now().bytes as i64;
    item.level = level;
    live.get_mut(item.span.clone()).unwrap_or_default().iter_mut().for_each(|it| *it += change);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(levels: &[(u64, f64)], span: Range<usize>) -> Item {
        let levels = levels.iter().map(|&(bytes, error)| Level { bytes, error }).collect();
        Item { levels, level: 0, span }
    }

    fn live(items: &[Item], steps: usize, always: i64) -> Vec<i64> {
        let at = |step| items.iter().filter(|it| it.span.contains(&step)).map(|it| it.now().bytes as i64).sum::<i64>();
        (0..steps).map(|it| always + at(it)).collect()
    }

    /// Smallest error of all choices that fit, by trying them all.
    fn best(items: &mut Vec<Item>, at: usize, steps: usize, limit: i64) -> Option<f64> {
        if at == items.len() {
            return live(items, steps, 0).into_iter().all(|it| it <= limit).then(|| error(items));
        }
        let mut least: Option<f64> = None;
        for level in 0..items[at].levels.len() {
            items[at].level = level;
            let found = best(items, at + 1, steps, limit);
            least = [least, found].into_iter().flatten().reduce(f64::min);
        }
        items[at].level = 0;
        least
    }

    #[test]
    fn what_costs_least_for_a_byte_goes_first() {
        let mut items =
            vec![item(&[(100, 0.0), (50, 1.0), (10, 9.0)], 0..2), item(&[(100, 0.0), (50, 0.1), (10, 0.2)], 0..2)];
        let mut live = live(&items, 2, 0);
        assert!(fill(&mut live, &mut items, 110));
        assert_eq!((items[0].level, items[1].level), (0, 2));
        assert_eq!(live, [110, 110]);
    }

    #[test]
    fn only_items_of_the_fullest_step_are_changed() {
        let mut items = vec![item(&[(100, 0.0), (10, 0.0)], 0..1), item(&[(200, 0.0), (10, 5.0)], 1..2)];
        let mut live = live(&items, 2, 0);
        assert!(fill(&mut live, &mut items, 150));
        assert_eq!((items[0].level, items[1].level), (0, 1));
    }

    #[test]
    fn what_cannot_be_taken_away_is_told() {
        let mut items = vec![item(&[(100, 0.0), (40, 1.0)], 0..1)];
        let mut live = live(&items, 1, 30);
        assert!(!fill(&mut live, &mut items, 60));
        assert_eq!(live, [70]);
    }

    #[test]
    fn bytes_are_given_back_up_to_the_limit() {
        let mut items = vec![item(&[(100, 0.0), (40, 1.0)], 0..2), item(&[(100, 0.0), (40, 3.0)], 1..2)];
        items.iter_mut().for_each(|it| it.level = 1);
        let mut live = live(&items, 2, 0);
        assert!(give_back(&mut live, &mut items, 140));
        assert_eq!((items[0].level, items[1].level), (1, 0));
        assert!(!give_back(&mut live, &mut items, 140));
        assert_eq!(live, [40, 140]);
    }

    /// Greedy, then giving back, is within one item of the best there is.
    #[test]
    fn errors_are_near_the_best() {
        let mut state = 7u64;
        let mut draw = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        for _ in 0..200 {
            let mut items: Vec<Item> = (0..5)
                .map(|it| {
                    let whole = 64 + draw(200);
                    let share = draw(100) as f64 / 100.0;
                    let levels = [(whole, 0.0), (whole / 2, 0.3 * share), (whole / 4, 0.5 * share), (whole / 8, share)];
                    item(&levels, it..10 - it)
                })
                .collect();
            let all = live(&items, 10, 0).into_iter().max().unwrap();
            let limit = all / 8 + 1 + draw(all as u64) as i64;
            let mut live = live(&items, 10, 0);
            let largest = items.iter().map(|it| it.levels[3].error).fold(0.0, f64::max);
            let expected = best(&mut items.clone(), 0, 10, limit);
            let fits = fill(&mut live, &mut items, limit);
            assert_eq!(fits, expected.is_some());
            give_back(&mut live, &mut items, limit);
            if let Some(expected) = expected {
                assert!(live.iter().all(|it| *it <= limit));
                assert!(error(&items) <= expected + largest, "{} against {expected}", error(&items));
            }
        }
    }
}
