//! Model checking: every order in which workers, stores and people can meet, within small bounds, over the real kernel.
//!
//! What an action does is done by `engine::commit`, `kernel` and the in-memory journal themselves; only the world around
//! them is made up here. Start at [`Config`], then `step.rs` (what can happen) and `promises.rs` (what must hold).

mod promises;
mod script;
mod state;
mod step;

pub use state::State;
pub use step::Action;

use stateright::{Checker, Model};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bugs put into the world around the kernel, to see whether the promises notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// The store takes whatever fence it is given.
    NoFencing,
    /// A worker's memory keeps a yes that was used.
    ReusedApproval,
    /// A worker starts anew what a cancel has just stopped.
    Respawn,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoFencing, Self::ReusedApproval, Self::Respawn];
}

/// The bounds of one search.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it is called.
    pub name: &'static str,
    /// Processes.
    pub workers: usize,
    /// Trees of sessions; each has a store of its own.
    pub trees: usize,
    /// Children that each root delegates to.
    pub children: usize,
    /// How often each session's lease can be taken.
    pub leases: u64,
    /// A person may cancel.
    pub cancel: bool,
    /// How often a person may answer one approval.
    pub answers: u8,
    /// Outcomes may be delivered a second time, later.
    pub duplicates: bool,
    /// Processes may die between a commit and its answer.
    pub lost_replies: bool,
    /// Time may pass the deadlines and the life of approvals, once.
    pub later: bool,
    /// Longest run looked at; `None` = every run.
    pub depth: Option<usize>,
    /// The bug.
    pub plant: Option<Plant>,
    /// What single trees are met in, kept or compared.
    pub parts: Parts,
}

/// The states of trees by themselves. Trees share nothing but that a worker dies in all of them at once, which it may
/// do in each at any moment: what several of them can be together is, tree by tree, what one can be alone.
#[derive(Debug, Clone, Copy, Default)]
pub enum Parts {
    /// Nobody asks.
    #[default]
    Ignored,
    /// They are collected.
    Kept(&'static Met),
    /// Each must be one of these.
    Within(&'static Met),
}

/// Trees that were met, by their keys.
pub type Met = Mutex<HashSet<u64>>;

impl Parts {
    fn note(self, trees: &[Arc<state::Tree>]) {
        if let Self::Kept(met) = self {
            let keys: Vec<u64> = trees.iter().map(|tree| tree.alone()).collect();
            met.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
        }
    }

    /// Is each tree of this state one that was met?
    fn hold(self, state: &State) -> bool {
        let Self::Within(met) = self else { return true };
        let keys: Vec<u64> = state.trees.iter().map(|tree| tree.alone()).collect();
        let met = met.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().all(|key| met.contains(key))
    }
}

/// How a search went.
#[derive(Debug)]
pub struct Found {
    /// Distinct states.
    pub unique: usize,
    /// States generated.
    pub generated: usize,
    /// Longest run.
    pub depth: usize,
    /// False when the time was up before the bounds were reached.
    pub whole: bool,
    /// How long it took.
    pub took: Duration,
    /// A broken promise and the shortest run that breaks it.
    pub broken: Option<(String, Vec<Action>)>,
    /// What should be possible and never happened.
    pub never: Vec<&'static str>,
}

impl Config {
    /// One session, three workers, two leases, an approval, a cancel: every run.
    pub const ONE: Self = Self {
        name: "one session",
        workers: 3,
        trees: 1,
        children: 0,
        leases: 2,
        cancel: true,
        answers: 2,
        duplicates: true,
        lost_replies: true,
        later: false,
        depth: None,
        plant: None,
        parts: Parts::Ignored,
    };

    /// The same with time passing deadlines and approvals, by two workers.
    pub const LATER: Self = Self {
        name: "one session, later",
        workers: 2,
        answers: 1,
        duplicates: false,
        later: true,
        ..Self::ONE
    };

    /// A parent with a child in one tree: they share a budget and end each other.
    pub const FAMILY: Self =
        Self { name: "parent and child", workers: 2, children: 1, leases: 1, duplicates: false, ..Self::ONE };

    /// The same, taken over by another process.
    pub const FAMILY_AGAIN: Self = Self { name: "parent and child, taken over", leases: 2, ..Self::FAMILY };

    /// Three workers, three sessions, two leases: each session's part of it is searched whole in [`Config::ONE`]; that
    /// they are no more than these parts is looked at to a bounded depth.
    pub const THREE: Self =
        Self { name: "three sessions", trees: 3, answers: 1, depth: Some(10), ..Self::ONE };

    /// What is searched every day.
    pub const ALL: [Self; 5] = [Self::ONE, Self::LATER, Self::FAMILY, Self::FAMILY_AGAIN, Self::THREE];

    /// Searches breadth first: a counterexample is a shortest one. `most`: when to give up.
    pub fn check(&self, threads: usize, most: Duration) -> Found {
        let began = Instant::now();
        let mut builder = self.clone().checker().threads(threads).timeout(most);
        if let Some(depth) = self.depth {
            builder = builder.target_max_depth(depth);
        }
        let checker = builder.spawn_bfs().join();
        let mut found = Found {
            unique: checker.unique_state_count(),
            generated: checker.state_count(),
            depth: checker.max_depth(),
            whole: began.elapsed() < most,
            took: began.elapsed(),
            broken: None,
            never: Vec::new(),
        };
        let discoveries = checker.discoveries();
        for property in self.properties() {
            let path = discoveries.get(property.name);
            match (&property.expectation, path) {
                (stateright::Expectation::Sometimes, None) => found.never.push(property.name),
                (stateright::Expectation::Sometimes, Some(_)) | (_, None) => {}
                (_, Some(path)) => {
                    let last = path.last_state();
                    let why = last.broken.clone().unwrap_or_else(|| format!("{last:?}"));
                    let what = format!("{}: {why}", property.name);
                    let actions = path.clone().into_actions();
                    // Of several that were found, the shortest tells most.
                    if found.broken.as_ref().is_none_or(|(_, other)| actions.len() < other.len()) {
                        found.broken = Some((what, actions));
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(300);

    #[test]
    fn every_planted_bug_is_found() {
        for plant in Plant::ALL {
            let found = Config { plant: Some(plant), ..Config::ONE }.check(2, MOST);
            let (why, actions) = found.broken.unwrap_or_else(|| panic!("{plant:?} was not found"));
            println!("{plant:?}: {} actions, {} unique states: {why}", actions.len(), found.unique);
            let words = match plant {
                Plant::NoFencing => "a commit under lease",
                // The journal itself does not take it: what a yes was used for twice does not fold.
                Plant::ReusedApproval => "folds to something else",
                Plant::Respawn => "after a cancel",
            };
            assert!(why.contains(words), "{plant:?}: {why}: {actions:#?}");
        }
    }

    #[test]
    fn a_family_keeps_every_promise() {
        let found = Config::FAMILY.check(2, MOST);
        assert!(found.whole && found.broken.is_none() && found.never.is_empty(), "{found:#?}");
    }
}
