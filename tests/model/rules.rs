//! The rules that the design is made of, each of which can be broken on purpose.

/// A rule of the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// An answer is written only where nothing newer is known.
    GuardByAsOf,
    /// `as_of` is when the request started, not when its answer came.
    AsOfIsWhenWeAsked,
    /// A document that is the same as the stored one moves `as_of`.
    UnchangedMovesAsOf,
    /// Only what was asked for later takes a CV off the parked.
    ParkedIsOrderedToo,
    /// Pages are read from the last one down.
    PagesDown,
    /// A window ends the settle lag before now.
    EndsBehindNow,
    /// A stored state saves the detail call only if it is at least the settle lag later than the end of the window.
    SkipBehindLag,
    /// The watermark moves when what lies before it is durable.
    DurableFirst,
    /// The watermark is the end of what is settled without a gap.
    WatermarkIsThePrefix,
    /// A run ends if the database has lost commits since it began.
    LostHistoryIsNoticed,
    /// A CV that was last confirmed before a loss is announced when it is confirmed next, changed or not.
    AnnouncedAfterALoss,
    /// However late that is: not only until the watermark has passed the moment at which the loss was noticed.
    AnnouncedHoweverLate,
    /// Changes after a loss have higher numbers than the lost ones.
    NumbersNeverComeBack,
    /// The transaction that writes a CV checks that it is not suppressed, not only the listing.
    SuppressionIsCheckedByTheWriter,
    /// A CV whose suppression has ended is fetched, whether or not it is listed.
    LiftedIsFetched,
    /// A transaction writes nothing if its run began with another filter.
    FilterIsFenced,
    /// CVs that did not match the filter are fetched once it is dropped.
    FilteredIsFetched,
}

/// The design, less one rule at most; with the lease or without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub broken: Option<Rule>,
    /// Whether each transaction checks that its instance leads.
    pub fenced: bool,
}

impl Rules {
    /// Whether this rule is kept.
    pub(crate) fn keep(self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }
}
