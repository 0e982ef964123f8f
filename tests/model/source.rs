//! The source: a log of changes for each CV, each of which becomes visible late.

/// How many CVs there are.
pub(crate) const CVS: usize = 2;

/// How late a change may become visible, in ticks; what cvsync calls the settle lag.
pub(crate) const LAG: Time = 1;

/// The most changes of one CV.
const CHANGES: usize = 3;

/// A tick of the source's clock.
pub(crate) type Time = u8;

/// How many changes of its CV a state reflects; 0 is that it never was there.
pub(crate) type Version = u8;

/// The content of a CV after a change. There are two documents, so that a CV can be changed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    Gone,
    A,
    B,
}

impl Content {
    /// All there is.
    pub(crate) const ALL: [Self; 3] = [Self::Gone, Self::A, Self::B];
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Change {
    at: Time,
    content: Content,
    visible: bool,
}

/// Everything that ever changed, and the time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Source {
    /// As in its `Date` header.
    pub now: Time,
    log: [[Option<Change>; CHANGES]; CVS],
}

impl Source {
    /// Changes a CV; the change is not visible yet. `None` if the CV is so already, or enough has changed. If the documents are
    /// `alike`, the first one is called A: it does not matter what it is called.
    pub(crate) fn change(mut self, cv: usize, content: Content, alike: bool) -> Option<Self> {
        let version = self.log[cv].iter().flatten().count();
        let unused = alike
            && content == Content::B
            && self.log[cv]
                .iter()
                .flatten()
                .all(|c| c.content != Content::A);
        if unused || self.content(cv, version.try_into().ok()?) == content {
            return None;
        }
        *self.log[cv].get_mut(version)? = Some(Change {
            at: self.now,
            content,
            visible: false,
        });
        Some(self)
    }

    /// How often anything changed.
    pub(crate) fn changes(&self) -> usize {
        self.log.iter().flatten().flatten().count()
    }

    /// Each way in which one more change becomes visible.
    pub(crate) fn reveals(&self) -> impl Iterator<Item = (usize, Self)> {
        (0..CVS * CHANGES).filter_map(|at| {
            let (cv, change) = (at / CHANGES, at % CHANGES);
            let mut revealed = *self;
            let change = revealed.log[cv][change].as_mut().filter(|c| !c.visible)?;
            change.visible = true;
            Some((cv, revealed))
        })
    }

    /// One tick later; `None` while a change is hidden that must be visible by the end of this tick.
    pub(crate) fn tick(mut self) -> Option<Self> {
        let overdue = |change: &Change| !change.visible && change.at + LAG <= self.now;
        if self.log.iter().flatten().flatten().any(overdue) {
            return None;
        }
        self.now += 1;
        Some(self)
    }

    /// When everything is visible, and was for long.
    pub(crate) fn at_rest(mut self) -> Self {
        for change in self.log.iter_mut().flatten().flatten() {
            change.visible = true;
        }
        self.now += 2 * LAG + 1;
        self
    }

    /// The version that a detail response shows.
    pub(crate) fn visible(&self, cv: usize) -> Version {
        self.last(cv, |change| change.visible)
    }

    /// The content of a bulk response: the CVs whose latest visible change lies in the window, by time of change.
    pub(crate) fn list(&self, van: Time, tot: Time) -> impl Iterator<Item = (usize, Version)> {
        let mut listed = [None; CVS];
        for (cv, slot) in listed.iter_mut().enumerate() {
            let version = self.visible(cv);
            *slot = self
                .time_of(cv, version)
                .filter(|at| (van..tot).contains(at))
                .map(|at| (at, cv, version));
        }
        listed.sort_unstable();
        listed
            .into_iter()
            .flatten()
            .map(|(_, cv, version)| (cv, version))
    }

    pub(crate) fn content(&self, cv: usize, version: Version) -> Content {
        self.of(cv, version)
            .map_or(Content::Gone, |change| change.content)
    }

    /// The version that reflects every change before `time`, seen or not.
    pub(crate) fn version_before(&self, cv: usize, time: Time) -> Version {
        self.last(cv, |change| change.at < time)
    }

    /// When this version came to be; `None` for 0.
    pub(crate) fn time_of(&self, cv: usize, version: Version) -> Option<Time> {
        self.of(cv, version).map(|change| change.at)
    }

    fn of(&self, cv: usize, version: Version) -> Option<Change> {
        self.log[cv][usize::from(version.checked_sub(1)?)]
    }

    fn last(&self, cv: usize, like: impl Fn(Change) -> bool) -> Version {
        self.log[cv]
            .iter()
            .rposition(|change| change.is_some_and(&like))
            .map_or(0, |at| Version::try_from(at + 1).unwrap_or(Version::MAX))
    }
}
