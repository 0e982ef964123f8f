//! A source, a database and two instances: what can happen to them in which order, and what must never be.

use super::check::Model;
use super::database::{Answer, Database, Learnt, Reader};
use super::instance::{Instance, Lane, Listing, Run, Task};
use super::rules::{Rule, Rules};
use super::source::{CVS, Content, LAG, Source, Time};

/// The size of a world, and the rules that hold in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub rules: Rules,
    /// Whether windows may be left to the backlog.
    pub lanes: bool,
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
    /// How often a standby that lags may take over.
    pub failovers: u8,
    /// How often a person may suppress a CV, and how often end that.
    pub suppressions: u8,
    /// How often the filter may change.
    pub filters: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    source: Source,
    database: Database,
    instances: [Instance; 2],
    unreadable: u8,
    suppressed: u8,
    lifted: u8,
    filtered: u8,
    /// The state of a standby that receives nothing more.
    standby: Option<Database>,
    /// How many servers there were before this one.
    server: u8,
    reader: Reader,
}

/// A step. Instances are identified by their order in the state, which changes.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "shown in a counterexample")]
pub(crate) enum Step {
    Tick(Time),
    Change(usize, Content),
    BecomesVisible(usize),
    TakesLease(usize),
    Plans(usize, Lane),
    Leaves(usize, Time),
    Lists(usize),
    Asks(usize, usize),
    Answers(usize, usize, Answer),
    Writes(usize, usize, Answer),
    Settles(usize, Time),
    Dies(usize),
    StandbyStopsReceiving,
    StandbyTakesOver,
    Suppresses(usize),
    Lifts(usize),
    ChangesFilter,
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
            suppressed: 0,
            lifted: 0,
            filtered: 0,
            standby: None,
            server: 0,
            reader: Reader::default(),
        }
    }

    fn steps(&self, state: &State, mut to: impl FnMut(Step, State)) {
        self.source_steps(state, &mut to);
        self.failover_steps(state, &mut to);
        self.decision_steps(state, &mut to);
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
            let stored = source.content(cv, held.stored());
            if database.suppressed[cv] && stored != Content::Gone {
                return Some("a suppressed CV is not stored");
            }
            if database.filters && stored == Content::B {
                return Some("a CV that does not match the filter is not stored");
            }
            if let Some(as_of) = held.as_of
                && held.version < source.version_before(cv, as_of.saturating_sub(LAG))
            {
                return Some("what is held is as new as its as_of says");
            }
            // One that changed again lies in a later window, and only there.
            let latest = source.visible(cv);
            let is_settled = |at| database.is_settled(self.rules, at);
            if source.time_of(cv, latest).is_none_or(is_settled)
                && held.version < latest
                && held.parked.is_none()
                && !database.suppressed[cv]
            {
                return Some("what changed last before the watermark is held, or parked");
            }
        }
        let rest = self.at_rest(*state);
        for (cv, held) in rest.database.held.iter().enumerate() {
            let held = rest.source.content(cv, held.stored());
            let wanted = match rest.source.content(cv, rest.source.visible(cv)) {
                _ if rest.database.suppressed[cv] => Content::Gone,
                Content::B if rest.database.filters => Content::Gone,
                visible => visible,
            };
            if held != wanted {
                return Some("once all is at rest, the database equals the source");
            }
            if rest.source.content(cv, rest.reader.has[cv]) != wanted {
                return Some("once all is at rest, a reader of the feed has what the source has");
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
                    if let Some(source) = state.source.change(cv, content, self.filters == 0) {
                        becomes(Step::Change(cv, content), source);
                    }
                }
            }
        }
        for (cv, source) in state.source.reveals() {
            becomes(Step::BecomesVisible(cv), source);
        }
    }

    /// The database loses every commit since the standby has stopped receiving.
    fn failover_steps(&self, state: &State, to: &mut impl FnMut(Step, State)) {
        if state.server == self.failovers {
            return;
        }
        let mut next = *state;
        match state.standby {
            None => {
                next.standby = Some(state.database);
                to(Step::StandbyStopsReceiving, next);
            }
            Some(database) => {
                next.standby = None;
                next.database = database;
                next.server += 1;
                next.reader.deaf = next.reader.ahead;
                next.reader.ahead = 0;
                to(Step::StandbyTakesOver, next);
            }
        }
    }

    /// A person decides which CVs may be stored.
    fn decision_steps(&self, state: &State, to: &mut impl FnMut(Step, State)) {
        for cv in 0..self.cvs {
            let mut next = *state;
            let is_suppressed = state.database.suppressed[cv];
            if !is_suppressed && state.suppressed < self.suppressions {
                next.suppressed += 1;
                next.database.suppress(&state.source, &mut next.reader, cv);
                to(Step::Suppresses(cv), next);
            } else if is_suppressed && state.lifted < self.suppressions {
                next.lifted += 1;
                next.database.lift(self.rules, cv, state.source.now);
                to(Step::Lifts(cv), next);
            }
        }
        if state.filtered < self.filters {
            let mut next = *state;
            next.filtered += 1;
            let (source, reader) = (&state.source, &mut next.reader);
            next.database
                .change_filter(self.rules, source, reader, source.now);
            to(Step::ChangesFilter, next);
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
            } else {
                for lane in [Lane::Live, Lane::Backlog] {
                    let (source, database) = (&state.source, &state.database);
                    let run = Run::plan(lane, self.rules, source, database, state.server);
                    if let Some(run) = run {
                        let mut next = with(Some(run));
                        notice(&mut next);
                        to(Step::Plans(at, lane), next);
                    }
                }
            }
            return;
        };
        to(Step::Dies(at), with(None));
        if self.lanes && run.lane == Lane::Live && run.tot > state.database.edge() {
            let mut next = with(None);
            if self.steps_down(state, instance) {
                notice(&mut next);
            } else {
                next.database.leave(run.tot);
            }
            to(Step::Leaves(at, run.tot), next);
        }
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
                    if self.steps_down(state, instance) {
                        next.instances[at].run = None;
                        notice(&mut next);
                    } else {
                        self.write(&mut next, cv, answer, run.filters);
                    }
                    to(Step::Writes(at, cv, answer), next);
                }
            }
        }
        let Run { van, tot, .. } = run;
        let news = (van..tot).any(|tick| !state.database.is_settled(self.rules, tick));
        if run.is_settled(self.rules) && (news || run.tasks == [Task::Nothing; CVS]) {
            let mut next = *state;
            let steps_down = self.steps_down(state, instance);
            if steps_down || run.tasks == [Task::Nothing; CVS] {
                next.instances[at].run = None;
            }
            if steps_down {
                notice(&mut next);
            } else {
                next.database.settle(self.rules, van, tot);
            }
            to(Step::Settles(at, tot), next);
        }
    }

    /// Whether the database refuses what this instance writes: another one leads, or commits were lost or the filter has changed since
    /// its run began.
    fn steps_down(&self, state: &State, instance: Instance) -> bool {
        let fenced_off = self.rules.fenced && !instance.leads;
        let run = |differs: &dyn Fn(&Run) -> bool| instance.run.as_ref().is_some_and(differs);
        let lost = run(&|run| run.server != state.server);
        let other = run(&|run| run.filters != state.database.filters);
        fenced_off
            || (lost && self.rules.keep(Rule::LostHistoryIsNoticed))
            || (other && self.rules.keep(Rule::FilterIsFenced))
    }

    fn write(&self, state: &mut State, cv: usize, answer: Answer, filters: bool) {
        let State {
            source,
            database,
            reader,
            ..
        } = state;
        let announced = database.write(self.rules, source, reader, cv, answer, filters);
        // Without the rule, the numbers of these come back.
        if announced && state.standby.is_some() && !self.rules.keep(Rule::NumbersNeverComeBack) {
            state.reader.ahead += 1;
        }
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

    /// The faults are over and nothing changes any more: a new leader runs each lane to its end, and then the instances that slept write the
    /// responses that they still hold.
    fn at_rest(&self, mut state: State) -> State {
        state.source = state.source.at_rest();
        let source = state.source;
        notice(&mut state);
        let mut plan = Run::plan(
            Lane::Live,
            self.rules,
            &source,
            &state.database,
            state.server,
        );
        while let Some(mut run) = plan {
            while run.listing != Listing::Done {
                run.list(self.rules, &source, &state.database);
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
                self.write(&mut state, cv, answer, run.filters);
            }
            state.database.settle(self.rules, run.van, run.tot);
            let (rules, server) = (self.rules, state.server);
            plan = Run::plan(Lane::Backlog, rules, &source, &state.database, server);
        }
        for instance in state.instances {
            if self.rules.fenced || self.steps_down(&state, instance) {
                continue;
            }
            let Some(run) = instance.run else {
                continue;
            };
            for (cv, task) in run.tasks.into_iter().enumerate() {
                if let Task::Write(answer) = task {
                    let answer = self.stamped(answer, &source);
                    self.write(&mut state, cv, answer, run.filters);
                }
            }
        }
        state
    }
}

/// Whoever meets a server that the database does not name as its own records a loss.
fn notice(state: &mut State) {
    state.database.notice(state.server, state.source.now);
}
