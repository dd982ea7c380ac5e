//! What is placed, and what that means for the rest.

use super::super::Work;
use super::super::problem::Problem;

/// Items that share no section with other items that wait, by the lowest offset that each can have.
pub struct Part {
    items: Vec<u32>,
    /// Offset and rank of what was placed last: the next one follows it.
    level: (u64, u32),
}

/// A part of which one item after the other is tried as the next one.
pub struct Choice {
    part: Part,
    /// How many were tried.
    tried: usize,
    /// Above this offset nothing can come next.
    top: u64,
    /// Number of items that were placed before.
    placed: usize,
    /// Whether no other item can do better than the last one.
    settled: bool,
}

/// A partial placement that can be taken back.
pub struct State<'a> {
    problem: &'a Problem,
    neighbors: &'a [Vec<u32>],
    limit: u64,
    ranks: Vec<u32>,
    /// The offset of what is placed, and for what waits the end of all that is placed beneath it.
    pub lowest: Vec<u64>,
    waits: Vec<bool>,
    /// Bytes that wait, by section.
    waiting: Vec<u64>,
    /// How many of those that wait live in a section and in the one before.
    crossing: Vec<u32>,
    /// Items in the order of placement, each with the length of `raised` before it.
    placed: Vec<(u32, usize)>,
    /// What was raised, and where it was.
    raised: Vec<(u32, u64)>,
    /// For `rest`: all false but while it runs.
    moved: Vec<bool>,
    /// For each section the first one from it on that a sweep has not seen.
    unseen: Vec<u32>,
}

impl<'a> State<'a> {
    pub fn new(problem: &'a Problem, neighbors: &'a [Vec<u32>], order: &[u32], limit: u64) -> State<'a> {
        let n = order.len();
        let mut ranks = vec![0; n];
        for (rank, &idx) in order.iter().enumerate() {
            ranks[idx as usize] = rank as u32;
        }
        let mut crossing = vec![0; problem.live.len()];
        for item in &problem.items {
            crossing[item.first as usize + 1..item.end as usize].iter_mut().for_each(|it| *it += 1);
        }
        State {
            problem,
            neighbors,
            limit,
            ranks,
            lowest: vec![0; n],
            waits: vec![true; n],
            waiting: problem.live.clone(),
            crossing,
            placed: vec![],
            raised: vec![],
            moved: vec![false; n],
            unseen: vec![0; problem.live.len() + 1],
        }
    }

    /// Parts of items that wait, the smallest last.
    pub fn parts(&self, items: Vec<u32>, level: u64, rank: u32) -> Vec<Part> {
        let level = (level, rank);
        let (first, end) = self.span(&items);
        let mut parts: Vec<Part> = vec![];
        let numbers: Vec<u32> = self.crossing[first..end]
            .iter()
            .scan(0, |number, &crossing| {
                *number += u32::from(crossing == 0);
                Some(*number)
            })
            .collect();
        let start = numbers.first().copied().unwrap_or(0);
        for idx in items {
            let number = (numbers[self.problem.items[idx as usize].first as usize - first] - start) as usize;
            while parts.len() <= number {
                parts.push(Part { items: vec![], level });
            }
            parts[number].items.push(idx);
        }
        parts.retain(|it| !it.items.is_empty());
        parts.sort_by_key(|it| std::cmp::Reverse(it.items.len()));
        parts
    }

    /// The sections in which any of the items lives.
    fn span(&self, items: &[u32]) -> (usize, usize) {
        let items = items.iter().map(|&it| self.problem.items[it as usize]);
        items.fold((usize::MAX, 0), |(first, end), it| (first.min(it.first as usize), end.max(it.end as usize)))
    }

    /// Begins with a part; none if it cannot be placed within the limit, or if the work is done.
    pub fn open(&mut self, part: Part, work: &mut Work) -> Option<Choice> {
        let (first, end) = self.span(&part.items);
        if !work.take((4 * part.items.len() + end - first) as u64) {
            return None;
        }
        for section in first..=end {
            self.unseen[section] = section as u32;
        }
        let mut top = u64::MAX;
        for &idx in &part.items {
            let item = self.problem.items[idx as usize];
            let lowest = self.lowest[idx as usize].max(part.level.0);
            // Whatever lies wholly beneath the next offset could have come first.
            top = top.min(self.lowest[idx as usize] + item.bytes - 1);
            // Items come by their lowest offset, so in a section all that waits lies above the first one that is seen.
            let mut section = self.first_unseen(item.first);
            while section < item.end {
                let waiting = self.waiting[section as usize];
                if self.limit < lowest + waiting {
                    return None;
                }
                top = top.min(self.limit - waiting);
                self.unseen[section as usize] = section + 1;
                section = self.first_unseen(section + 1);
            }
        }
        Some(Choice { part, tried: 0, top, placed: self.placed.len(), settled: false })
    }

    fn first_unseen(&mut self, mut section: u32) -> u32 {
        while self.unseen[section as usize] != section {
            let next = self.unseen[section as usize];
            self.unseen[section as usize] = self.unseen[next as usize];
            section = self.unseen[section as usize];
        }
        section
    }

    /// Takes back what was tried and places the next item; gives what remains to be placed, or none if all were tried.
    pub fn next(&mut self, choice: &mut Choice, work: &mut Work) -> Option<Vec<Part>> {
        self.take_back(choice.placed);
        while !choice.settled && choice.tried < choice.part.items.len() {
            let at = choice.tried;
            let idx = choice.part.items[at];
            let lowest = self.lowest[idx as usize];
            let rank = self.ranks[idx as usize];
            if choice.top < lowest {
                return None;
            }
            choice.tried += 1;
            if (lowest, rank) < choice.part.level || self.has_twin_before(&choice.part.items[..at], idx) {
                continue;
            }
            work.left = work.left.saturating_sub(self.neighbors[idx as usize].len() as u64);
            let raised = self.raised.len();
            let Some(apart) = self.place(idx) else {
                self.take_back(choice.placed);
                continue;
            };
            // Nothing that waits lives while it does: if the rest cannot be placed, no other item helps.
            choice.settled = self.neighbors[idx as usize].iter().all(|&it| !self.waits[it as usize]);
            let rest = self.rest(&choice.part.items, raised);
            return Some(match (rest.is_empty(), apart) {
                (true, _) => vec![],
                (false, true) => self.parts(rest, lowest, rank),
                (false, false) => vec![Part { items: rest, level: (lowest, rank) }],
            });
        }
        None
    }

    /// Whether one of `before`, sorted as parts are, differs from the item by name only.
    fn has_twin_before(&self, before: &[u32], idx: u32) -> bool {
        let lowest = self.lowest[idx as usize];
        let mut equal = before.iter().rev().take_while(|&&it| self.lowest[it as usize] == lowest);
        equal.any(|&it| self.problem.items[it as usize] == self.problem.items[idx as usize])
    }

    /// Places an item at its lowest offset and says whether those that wait may have come apart; none if one of them does
    /// not fit any more, whereupon the item has to be taken back.
    fn place(&mut self, idx: u32) -> Option<bool> {
        let item = self.problem.items[idx as usize];
        let top = self.lowest[idx as usize] + item.bytes;
        self.placed.push((idx, self.raised.len()));
        self.waits[idx as usize] = false;
        self.waiting[item.first as usize..item.end as usize].iter_mut().for_each(|it| *it -= item.bytes);
        let mut apart = false;
        for crossing in &mut self.crossing[item.first as usize + 1..item.end as usize] {
            *crossing -= 1;
            apart |= *crossing == 0;
        }
        for &it in &self.neighbors[idx as usize] {
            let lowest = &mut self.lowest[it as usize];
            if self.waits[it as usize] && *lowest < top {
                if self.limit < top + self.problem.items[it as usize].bytes {
                    return None;
                }
                self.raised.push((it, *lowest));
                *lowest = top;
            }
        }
        Some(apart)
    }

    /// What waits of a part, by lowest offset and rank, after those from `raised` on have moved to one and the same offset.
    fn rest(&mut self, items: &[u32], raised: usize) -> Vec<u32> {
        let mut moved: Vec<u32> = self.raised[raised..].iter().map(|it| it.0).collect();
        moved.sort_unstable_by_key(|&it| self.ranks[it as usize]);
        moved.iter().for_each(|&it| self.moved[it as usize] = true);
        let mut rest = Vec::with_capacity(items.len() - 1);
        let mut comes = moved.iter().copied().peekable();
        for &idx in items.iter().filter(|&&it| self.waits[it as usize] && !self.moved[it as usize]) {
            let key = |it: u32| (self.lowest[it as usize], self.ranks[it as usize]);
            while let Some(it) = comes.next_if(|&it| key(it) < key(idx)) {
                rest.push(it);
            }
            rest.push(idx);
        }
        rest.extend(comes);
        moved.iter().for_each(|&it| self.moved[it as usize] = false);
        rest
    }

    /// Takes all but the first so many items back.
    fn take_back(&mut self, placed: usize) {
        while placed < self.placed.len() {
            let Some((idx, raised)) = self.placed.pop() else { break };
            let item = self.problem.items[idx as usize];
            for (it, lowest) in self.raised.drain(raised..) {
                self.lowest[it as usize] = lowest;
            }
            self.waiting[item.first as usize..item.end as usize].iter_mut().for_each(|it| *it += item.bytes);
            self.crossing[item.first as usize + 1..item.end as usize].iter_mut().for_each(|it| *it += 1);
            self.waits[idx as usize] = true;
        }
    }
}
