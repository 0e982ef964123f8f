//! An instance, and the run that it has in memory.

use super::database::{Answer, Database, Learnt};
use super::rules::{Rule, Rules};
use super::source::{CVS, Content, LAG, Source, Time, Version};

/// One of the processes. What it has in memory is gone when it dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instance {
    /// Whether the lease is its own. One that was paused does not know that it lost it.
    pub leads: bool,
    pub run: Option<Run>,
}

/// A run over one window, page size 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Run {
    pub van: Time,
    pub tot: Time,
    pub lane: Lane,
    /// The server that it began with.
    pub server: u8,
    /// Whether its instance has a filter.
    pub filters: bool,
    pub listing: Listing,
    pub tasks: [Task; CVS],
}

/// Of two runs at the same time, one is of the live lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    /// From the live edge on. It may leave its window to the backlog.
    Live,
    /// The newest gap before the live edge.
    Backlog,
}

/// How far the listing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Listing {
    /// Nothing is known yet.
    First,
    /// Next comes `page` of `total`; a later page gave `grown` as the total.
    Page { page: u8, total: u8, grown: u8 },
    /// All pages are read.
    Done,
}

/// The work that is left for a listed CV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Task {
    Nothing,
    Fetch,
    /// Asked for at this time; the source may look at any time from then on.
    Asked(Time),
    /// Waits to be written, for as long as it likes.
    Write(Answer),
}

impl Run {
    /// Plans a window of a lane, and takes up what is parked.
    pub(crate) fn plan(
        lane: Lane,
        rules: Rules,
        source: &Source,
        database: &Database,
        server: u8,
    ) -> Option<Self> {
        let lag = if rules.keep(Rule::EndsBehindNow) {
            LAG
        } else {
            0
        };
        let (van, tot) = match lane {
            Lane::Live => (database.edge(), source.now.checked_sub(lag)?),
            Lane::Backlog => database.gap(rules)?,
        };
        (van < tot).then(|| Self {
            van,
            tot,
            lane,
            server,
            filters: database.filters,
            listing: Listing::First,
            tasks: database.held.map(|held| match held.parked {
                Some(_) => Task::Fetch,
                None => Task::Nothing,
            }),
        })
    }

    /// Reads one page.
    pub(crate) fn list(&mut self, rules: Rules, source: &Source, database: &Database) {
        let total = || count(source.list(self.van, self.tot).count());
        let down = rules.keep(Rule::PagesDown);
        self.listing = match self.listing {
            Listing::First => match total() {
                0 | 1 => {
                    self.page(rules, source, database, 0);
                    Listing::Done
                }
                total if down => Listing::Page {
                    page: total - 1,
                    total,
                    grown: total,
                },
                total => {
                    self.page(rules, source, database, 0);
                    Listing::Page {
                        page: 1,
                        total,
                        grown: total,
                    }
                }
            },
            Listing::Page {
                page,
                total: of,
                grown,
            } => {
                let grown = grown.max(total());
                self.page(rules, source, database, page);
                let next = if down {
                    page.checked_sub(1)
                } else {
                    Some(page + 1).filter(|page| *page < of)
                };
                match next {
                    Some(page) => Listing::Page {
                        page,
                        total: of,
                        grown,
                    },
                    None if grown > of => Listing::Page {
                        page: if down { grown - 1 } else { 0 },
                        total: grown,
                        grown,
                    },
                    None => Listing::Done,
                }
            }
            Listing::Done => Listing::Done,
        };
    }

    fn page(&mut self, rules: Rules, source: &Source, database: &Database, page: u8) {
        let item = source.list(self.van, self.tot).nth(page.into());
        if let Some((cv, version)) = item
            && self.tasks[cv] == Task::Nothing
        {
            self.tasks[cv] = self.sift(rules, source, database, cv, version);
        }
    }

    fn sift(
        &self,
        rules: Rules,
        source: &Source,
        database: &Database,
        cv: usize,
        version: Version,
    ) -> Task {
        if database.suppressed[cv] {
            return Task::Nothing;
        }
        let held = database.held[cv];
        let lag = if rules.keep(Rule::SkipBehindLag) {
            LAG
        } else {
            0
        };
        let confirmed = held.as_of >= Some(self.tot + lag);
        let gone = |version| source.content(cv, version) == Content::Gone;
        match (gone(version), gone(held.version)) {
            (is_gone, was_gone) if confirmed && is_gone == was_gone => Task::Nothing,
            (true, _) => Task::Write(Answer {
                as_of: source.now,
                learnt: Learnt::State(version),
            }),
            (false, _) => Task::Fetch,
        }
    }

    /// Whether its window is settled.
    pub(crate) fn is_settled(&self, rules: Rules) -> bool {
        let durable = self.tasks == [Task::Nothing; CVS];
        self.listing == Listing::Done && (durable || !rules.keep(Rule::DurableFirst))
    }
}

fn count(ids: usize) -> u8 {
    ids.try_into().unwrap_or(u8::MAX)
}
