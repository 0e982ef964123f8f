//! A source, a database and two instances: what can happen to them in which order, and what must never be.

use super::check::Model;
use super::database::{Answer, Database, Learnt};
use super::instance::{Instance, Listing, Run, Task};
use super::rules::{Rule, Rules};
use super::source::{CVS, Content, LAG, Source, Time};

/// The size of a world, and the rules that hold in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub rules: Rules,
    /// Changes of the source.
    pub changes: usize,
    /// CVs that change.
    pub cvs: usize,
    /// The last tick.
    pub end: Time,
    /// Detail answers that cannot be read.
    pub unreadable: u8,
    /// Instances that take part.
    pub instances: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    source: Source,
    database: Database,
    instances: [Instance; 2],
    unreadable: u8,
}

/// Something happens. The instances are told apart by their order in the state, and that changes.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "shown in a counterexample")]
pub(crate) enum Step {
    Tick(Time),
    Change(usize, Content),
    BecomesVisible(usize),
    TakesLease(usize),
    Plans(usize),
    Lists(usize),
    Asks(usize, usize),
    Answers(usize, usize, Answer),
    Writes(usize, usize, Answer),
    Settles(usize, Time),
    Dies(usize),
}

impl Model for World {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            source: Source::default(),
            database: Database::default(),
            instances: Default::default(),
            unreadable: 0,
        }
    }

    fn steps(&self, state: &State, mut to: impl FnMut(Step, State)) {
        self.source_steps(state, &mut to);
        for at in 0..self.instances {
            self.instance_steps(state, at, &mut |step, mut next| {
                // They are the same program: it does not matter which of them is in which state.
                next.instances[..self.instances].sort_unstable();
                to(step, next);
            });
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let State {
            source, database, ..
        } = state;
        if database.went_back {
            return Some("as_of never goes back");
        }
        for (cv, held) in database.held.iter().enumerate() {
            if let Some(as_of) = held.as_of
                && held.version < source.version_before(cv, as_of.saturating_sub(LAG))
            {
                return Some("what is held is as new as its as_of says");
            }
            // One that changed again lies in a later window, and only there.
            let latest = source.visible(cv);
            if source.time_of(cv, latest) < Some(database.watermark)
                && held.version < latest
                && held.parked.is_none()
            {
                return Some("what changed last before the watermark is held, or parked");
            }
        }
        let rest = self.at_rest(*state);
        for (cv, held) in rest.database.held.iter().enumerate() {
            let held = rest.source.content(cv, held.version);
            if held != rest.source.content(cv, rest.source.visible(cv)) {
                return Some("once all is at rest, the database equals the source");
            }
        }
        None
    }
}

impl World {
    fn source_steps(&self, state: &State, to: &mut impl FnMut(Step, State)) {
        let mut becomes = |step, source| to(step, State { source, ..*state });
        if state.source.now < self.end
            && let Some(source) = state.source.tick()
        {
            becomes(Step::Tick(source.now), source);
        }
        if state.source.changes() < self.changes {
            for cv in 0..self.cvs {
                for content in Content::ALL {
                    if let Some(source) = state.source.change(cv, content) {
                        becomes(Step::Change(cv, content), source);
                    }
                }
            }
        }
        for (cv, source) in state.source.reveals() {
            becomes(Step::BecomesVisible(cv), source);
        }
    }

    fn instance_steps(&self, state: &State, at: usize, to: &mut impl FnMut(Step, State)) {
        let instance = state.instances[at];
        let with = |run| {
            let mut next = *state;
            next.instances[at].run = run;
            next
        };
        let Some(run) = instance.run else {
            if self.rules.fenced && !instance.leads {
                // Whoever held it was silent for too long, whatever it is doing now.
                let mut next = *state;
                next.instances = next.instances.map(|other| Instance {
                    leads: false,
                    ..other
                });
                next.instances[at].leads = true;
                to(Step::TakesLease(at), next);
            } else if let Some(run) = Run::plan(self.rules, &state.source, &state.database) {
                to(Step::Plans(at), with(Some(run)));
            }
            return;
        };
        to(Step::Dies(at), with(None));
        if run.listing != Listing::Done {
            let mut run = run;
            run.list(self.rules, &state.source, &state.database);
            to(Step::Lists(at), with(Some(run)));
        }
        for (cv, task) in run.tasks.into_iter().enumerate() {
            let does = |task| {
                let mut run = run;
                run.tasks[cv] = task;
                with(Some(run))
            };
            match task {
                Task::Nothing => {}
                Task::Fetch => to(Step::Asks(at, cv), does(Task::Asked(state.source.now))),
                Task::Asked(asked) => {
                    for learnt in [Learnt::State(state.source.visible(cv)), Learnt::Unreadable] {
                        let answer = Answer {
                            as_of: asked,
                            learnt,
                        };
                        let mut next = does(Task::Write(answer));
                        if learnt == Learnt::Unreadable {
                            next.unreadable += 1;
                        }
                        if next.unreadable <= self.unreadable {
                            to(Step::Answers(at, cv, answer), next);
                        }
                    }
                }
                Task::Write(answer) => {
                    let mut next = does(Task::Nothing);
                    let answer = self.stamped(answer, &state.source);
                    if self.fenced_off(instance) {
                        next.instances[at].run = None;
                    } else {
                        next.database.write(self.rules, &state.source, cv, answer);
                    }
                    to(Step::Writes(at, cv, answer), next);
                }
            }
        }
        if let Some(tot) = run.settled(self.rules)
            && (state.database.watermark < tot || run.tasks == [Task::Nothing; CVS])
        {
            let mut next = *state;
            if self.fenced_off(instance) || run.tasks == [Task::Nothing; CVS] {
                next.instances[at].run = None;
            }
            if !self.fenced_off(instance) {
                next.database.settle(tot);
            }
            to(Step::Settles(at, tot), next);
        }
    }

    fn fenced_off(&self, instance: Instance) -> bool {
        self.rules.fenced && !instance.leads
    }

    fn stamped(&self, answer: Answer, source: &Source) -> Answer {
        if self.rules.keep(Rule::AsOfIsWhenWeAsked) {
            answer
        } else {
            Answer {
                as_of: source.now,
                ..answer
            }
        }
    }

    /// The faults are over and nothing changes any more: a new leader runs once, and then the instances that slept write the
    /// responses that they still hold.
    fn at_rest(&self, mut state: State) -> State {
        state.source = state.source.at_rest();
        let (source, database) = (&state.source, &mut state.database);
        if let Some(mut run) = Run::plan(self.rules, source, database) {
            while run.listing != Listing::Done {
                run.list(self.rules, source, database);
            }
            for (cv, task) in run.tasks.into_iter().enumerate() {
                let answer = match task {
                    Task::Nothing => continue,
                    Task::Write(answer) => answer,
                    Task::Fetch | Task::Asked(_) => Answer {
                        as_of: source.now,
                        learnt: Learnt::State(source.visible(cv)),
                    },
                };
                database.write(self.rules, source, cv, answer);
            }
            database.settle(source.now - LAG);
        }
        for instance in state.instances {
            for (cv, task) in instance
                .run
                .iter()
                .flat_map(|run| run.tasks.into_iter().enumerate())
            {
                if let Task::Write(answer) = task
                    && !self.rules.fenced
                {
                    let answer = self.stamped(answer, source);
                    database.write(self.rules, source, cv, answer);
                }
            }
        }
        state
    }
}
