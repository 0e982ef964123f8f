//! The promise of the protocol, in every order of events of a small world; and that each rule of it is needed.
//!
//! Not the code, but the design on which it rests: two instances, crashes, answers held back for any time, changes that
//! become visible late, pages that shift. Time is the source's.

mod check;
mod database;
mod instance;
mod rules;
mod source;
mod world;

use std::time::Instant;

use check::{Found, check};
use rules::{Rule, Rules};
use world::World;

/// Nothing checks the lease: what is safe here is safe by construction, not by locking.
const DESIGN: Rules = Rules {
    broken: None,
    fenced: false,
};

/// Two instances, and one CV that changes to and fro.
const ONE_CV: World = World {
    rules: DESIGN,
    lanes: false,
    changes: 3,
    cvs: 1,
    end: 3,
    unreadable: 0,
    instances: 2,
    failovers: 0,
    suppressions: 0,
    filters: 0,
};

/// The same with a backlog, which one instance settles while the other lists what is new.
const LANES: World = World {
    changes: 2,
    lanes: true,
    ..ONE_CV
};

/// Two instances, and an answer that cannot be read.
const UNREADABLE: World = World {
    changes: 2,
    unreadable: 1,
    ..ONE_CV
};

/// One instance, and two CVs that push each other from page to page.
const TWO_CVS: World = World {
    cvs: 2,
    instances: 1,
    end: 4,
    ..ONE_CV
};

/// Two of each, and less that happens.
const TWO_BY_TWO: World = World {
    changes: 2,
    cvs: 2,
    ..ONE_CV
};

/// One instance, and a standby that lags and takes over.
const FAILOVER: World = World {
    changes: 2,
    instances: 1,
    end: 4,
    failovers: 1,
    ..ONE_CV
};

/// The same with a second CV, and with a second instance.
const FAILOVER_WITH_TWO_CVS: World = World {
    cvs: 2,
    end: 3,
    ..FAILOVER
};
const FAILOVER_WITH_TWO_INSTANCES: World = World {
    instances: 2,
    end: 3,
    ..FAILOVER
};

/// The same with a backlog.
const FAILOVER_WITH_LANES: World = World {
    lanes: true,
    ..FAILOVER
};

/// Two failovers.
const FAILOVERS: World = World {
    failovers: 2,
    ..FAILOVER
};

/// Two instances, and a person who suppresses a CV and ends that.
const SUPPRESSION: World = World {
    changes: 2,
    suppressions: 1,
    ..ONE_CV
};

/// Two instances, and a filter that is set and dropped.
const FILTER: World = World {
    changes: 2,
    filters: 2,
    ..ONE_CV
};

/// Everything at once, for those who have minutes.
const LARGE: World = World {
    unreadable: 1,
    end: 4,
    ..ONE_CV
};

const HELD: &str = "what changed last before the watermark is held, or parked";
const AT_REST: &str = "once all is at rest, the database equals the source";
const FILTERED: &str = "a CV that does not match the filter is not stored";
const READER: &str = "once all is at rest, a reader of the feed has what the source has";

fn holds(world: World) {
    let begun = Instant::now();
    match check(&world) {
        Found::Holds { states } => {
            println!("{states} states in {:.1?}: {world:?}", begun.elapsed());
        }
        Found::Broken { promise, steps } => panic!("not so: {promise}, after {steps:#?}"),
    }
}

/// The promise that does not hold once the rule is broken.
fn without(rule: Rule, world: World) -> &'static str {
    let rules = Rules {
        broken: Some(rule),
        ..world.rules
    };
    match check(&World { rules, ..world }) {
        Found::Holds { states } => panic!("{rule:?} is not needed in any of {states} states"),
        Found::Broken { promise, steps } => {
            println!("without {rule:?}, not so: {promise}, after {steps:?}");
            promise
        }
    }
}

/// Dropping the check of the epoch, and nothing else, breaks no promise.
#[test]
fn late_and_concurrent_writes_are_harmless_without_a_lease() {
    holds(ONE_CV);
}

#[test]
fn windows_settle_in_any_order() {
    holds(LANES);
    holds(World {
        instances: 1,
        ..LANES
    });
}

#[test]
fn so_are_answers_that_cannot_be_read() {
    holds(UNREADABLE);
}

#[test]
fn shifting_pages_hide_nothing() {
    holds(TWO_CVS);
}

#[test]
fn two_instances_on_two_cvs() {
    holds(TWO_BY_TWO);
}

#[test]
fn the_lease_takes_nothing_away() {
    let fenced = |world| World {
        rules: Rules {
            fenced: true,
            ..DESIGN
        },
        ..world
    };
    holds(fenced(UNREADABLE));
    holds(fenced(World { end: 3, ..TWO_CVS }));
}

#[test]
fn lost_commits_are_made_good() {
    holds(FAILOVER);
    holds(FAILOVER_WITH_TWO_CVS);
    holds(FAILOVER_WITH_TWO_INSTANCES);
    holds(FAILOVER_WITH_LANES);
    holds(FAILOVERS);
}

#[test]
fn a_suppressed_cv_comes_back_only_once_its_suppression_has_ended() {
    holds(SUPPRESSION);
    holds(World {
        lanes: true,
        suppressions: 2,
        instances: 1,
        ..SUPPRESSION
    });
}

#[test]
fn a_cv_that_does_not_match_the_filter_comes_back_only_once_the_filter_changes() {
    holds(FILTER);
    holds(World {
        suppressions: 1,
        instances: 1,
        ..FILTER
    });
}

#[test]
#[ignore = "takes minutes and gigabytes"]
fn the_design_holds_in_a_large_world() {
    holds(LARGE);
    holds(World {
        lanes: true,
        ..TWO_CVS
    });
    holds(World {
        changes: 3,
        failovers: 2,
        ..FAILOVER
    });
}

#[test]
fn without_the_guard_an_old_answer_overwrites_a_newer_one() {
    assert_eq!(without(Rule::GuardByAsOf, ONE_CV), AT_REST);
}

#[test]
fn an_answer_stamped_when_it_came_claims_too_much() {
    assert_eq!(without(Rule::AsOfIsWhenWeAsked, ONE_CV), AT_REST);
}

#[test]
fn unchanged_has_to_move_as_of() {
    assert_eq!(without(Rule::UnchangedMovesAsOf, ONE_CV), AT_REST);
}

#[test]
fn an_old_answer_must_not_unpark_what_failed_later() {
    assert_eq!(without(Rule::ParkedIsOrderedToo, UNREADABLE), HELD);
}

#[test]
fn paging_upwards_skips_a_row() {
    assert_eq!(without(Rule::PagesDown, TWO_CVS), HELD);
}

#[test]
fn a_window_that_ends_now_loses_what_is_late() {
    assert_eq!(without(Rule::EndsBehindNow, TWO_CVS), AT_REST);
}

#[test]
fn a_detail_call_is_needed_while_the_source_is_unsettled() {
    assert_eq!(without(Rule::SkipBehindLag, TWO_CVS), HELD);
}

#[test]
fn the_watermark_must_not_run_ahead_of_the_writes() {
    assert_eq!(without(Rule::DurableFirst, TWO_CVS), HELD);
}

#[test]
fn the_watermark_must_not_jump_over_a_gap() {
    assert_eq!(without(Rule::WatermarkIsThePrefix, LANES), AT_REST);
}

#[test]
fn a_run_must_not_go_on_after_the_database_lost_commits() {
    assert_eq!(without(Rule::LostHistoryIsNoticed, FAILOVER), HELD);
}

#[test]
fn a_reader_that_saw_lost_changes_hears_of_what_is_confirmed() {
    assert_eq!(without(Rule::AnnouncedAfterALoss, FAILOVER), READER);
}

#[test]
fn a_cv_that_changes_meanwhile_is_confirmed_after_the_watermark_has_passed_the_loss() {
    assert_eq!(without(Rule::AnnouncedHoweverLate, FAILOVER), READER);
}

#[test]
fn a_number_that_comes_back_is_not_read() {
    assert_eq!(without(Rule::NumbersNeverComeBack, FAILOVER), READER);
}

#[test]
fn a_response_under_way_brings_a_suppressed_cv_back_unless_the_writer_checks() {
    let rule = Rule::SuppressionIsCheckedByTheWriter;
    assert_eq!(without(rule, SUPPRESSION), AT_REST);
}

#[test]
fn a_cv_whose_suppression_has_ended_is_in_no_window_any_more() {
    assert_eq!(without(Rule::LiftedIsFetched, SUPPRESSION), HELD);
}

#[test]
fn a_run_with_an_earlier_filter_stores_what_does_not_match_unless_it_is_fenced() {
    assert_eq!(without(Rule::FilterIsFenced, FILTER), FILTERED);
}

#[test]
fn a_cv_that_was_left_out_is_in_no_window_any_more() {
    assert_eq!(without(Rule::FilteredIsFetched, FILTER), AT_REST);
}
