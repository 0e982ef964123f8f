//! A checker: every state that can be reached, breadth first, so that a counterexample is a shortest one.
//!
//! Instead of the crate `stateright`: this needs 80 lines, a shortest path and states that are equal by symmetry; that
//! one brings an HTTP server and sixteen more packages into the lock file.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::rc::Rc;

/// A protocol: its steps, and the states that must never be reached.
pub(crate) trait Model {
    /// Everything that the future depends on.
    type State: Eq + Hash;
    /// One step.
    type Step: Copy + Debug;

    fn start(&self) -> Self::State;

    /// Calls `to` for each step that can be made from `state`, with where it leads.
    fn steps(&self, state: &Self::State, to: impl FnMut(Self::Step, Self::State));

    /// The promise that is broken in `state`.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;
}

#[derive(Debug)]
pub(crate) enum Found<Step> {
    /// All promises hold in all reachable states; their number.
    Holds { states: usize },
    /// A promise that does not hold, and the shortest way there.
    Broken {
        promise: &'static str,
        steps: Vec<Step>,
    },
}

/// A state, and the place of the one before it: the queue keeps what it has handed out.
struct Visit<State, Step> {
    state: Rc<State>,
    from: Option<(usize, Step)>,
}

/// Visits all states.
pub(crate) fn check<M: Model>(model: &M) -> Found<M::Step> {
    let start = Rc::new(model.start());
    let mut seen = HashSet::from([Rc::clone(&start)]);
    let mut visited = vec![Visit {
        state: start,
        from: None,
    }];
    let mut at = 0;
    while at < visited.len() {
        let state = Rc::clone(&visited[at].state);
        if let Some(promise) = model.broken(&state) {
            let mut steps = Vec::new();
            while let Some((before, step)) = visited[at].from {
                steps.push(step);
                at = before;
            }
            steps.reverse();
            return Found::Broken { promise, steps };
        }
        model.steps(&state, |step, next| {
            let next = Rc::new(next);
            if seen.insert(Rc::clone(&next)) {
                visited.push(Visit {
                    state: next,
                    from: Some((at, step)),
                });
            }
        });
        at += 1;
    }
    Found::Holds {
        states: visited.len(),
    }
}
