use std::collections::BTreeMap;

use super::*;
use crate::model::{Coverage, Job, Window};

fn now() -> DateTime<Utc> {
    "2026-11-26T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> DateTime<Utc> {
    now() - TimeDelta::seconds(seconds)
}

fn beginning() -> DateTime<Utc> {
    "2015-01-01T00:00:00Z".parse().unwrap()
}

fn up_to(watermark: DateTime<Utc>) -> Coverage {
    Coverage::new(Some(watermark), [], None, watermark)
}

/// A leader that is this far behind, and has nothing in its way.
fn behind_by(seconds: i64) -> Facts {
    Facts {
        now: now(),
        latest: now(),
        role: Role::Leading,
        limits: Limits {
            lag: limits::lag(TimeDelta::minutes(5), TimeDelta::minutes(1)),
            reconcile_every: Some(TimeDelta::days(1)),
            relists: true,
            overlap: TimeDelta::hours(1),
            from: beginning(),
        },
        database: None,
        stored: Some(Stored {
            coverage: up_to(ago(seconds)),
            leader: Some(("one".to_owned(), Some(ago(600)))),
            last_success: BTreeMap::from([(Job::Sync, ago(seconds))]),
            ..Stored::default()
        }),
        pause: None,
        leader: Memory::default(),
    }
}

fn never_synced() -> Facts {
    with(behind_by(0), |facts| {
        let stored = facts.stored.as_mut().unwrap();
        stored.coverage = Coverage::default();
        stored.last_success.clear();
    })
}

fn with(mut facts: Facts, change: impl FnOnce(&mut Facts)) -> Facts {
    change(&mut facts);
    facts
}

fn stored(change: impl FnOnce(&mut Stored)) -> Facts {
    with(behind_by(62), |facts| {
        change(facts.stored.as_mut().unwrap());
    })
}

fn leader(change: impl FnOnce(&mut Memory)) -> Facts {
    with(behind_by(62), |facts| change(&mut facts.leader))
}

fn gate(message: &str, since: i64) -> Gate {
    Gate {
        message: message.to_owned(),
        class: "a_class".to_owned(),
        since: ago(since),
        again_at: now() + TimeDelta::seconds(40),
    }
}

fn running(done: u64, expected: u64, eta_seconds: Option<u64>) -> UnderWay {
    UnderWay {
        done,
        expected,
        eta_seconds,
    }
}

fn paused(since: i64) -> Facts {
    with(behind_by(62), |facts| {
        facts.pause = Some(Pause {
            reason: "moving house.".to_owned(),
            begun_by: Some("over HTTP".to_owned()),
            since: ago(since),
            until: None,
        });
    })
}

const GREEN: Light = Light::Green;
const AMBER: Light = Light::Amber;
const RED: Light = Light::Red;

/// Light, reason, readiness, whether it is in step, and the headline.
type Expected = (Light, &'static str, bool, bool, &'static str);

#[track_caller]
fn assert_judged(cases: Vec<(Facts, Expected)>) {
    for (facts, expected) in cases {
        let health = Health::judge(&facts);
        let Health {
            light,
            ready,
            in_step,
            first,
            ..
        } = &health;
        let got = (*light, first.reason, *ready, *in_step, &*first.headline);
        assert_eq!(got, expected);
        let must_act = first.light == RED && facts.leader.run.is_none();
        assert!(!must_act || first.action.is_some(), "{first:?}");
        assert!(
            matches!(
                first.reason,
                "in_step" | "standby" | "starting" | "stopping"
            ) || first.next.is_some()
                || first.action.is_some(),
            "{first:?}"
        );
    }
}

#[test]
fn copy_in_step_is_green() {
    let text = "In step with VDAB as of 62 s ago.";
    let standby = with(behind_by(62), |it| it.role = Role::Standby);
    assert_judged(vec![
        (behind_by(62), (GREEN, "in_step", true, true, text)),
        (
            leader(|it| it.run = Some(running(3, 5, None))),
            (GREEN, "in_step", true, true, text),
        ),
        (
            standby,
            (
                GREEN,
                "standby",
                true,
                true,
                "In step with VDAB as of 62 s ago; one leads, this instance is a standby.",
            ),
        ),
    ]);
    assert_eq!(
        Health::judge(&behind_by(62)).reasons(),
        Vec::<String>::new()
    );
}

#[test]
fn copy_that_is_late_is_red_and_ready() {
    let limit = behind_by(0).limits.lag.num_seconds();
    assert_eq!(limit, 17 * 60);
    let two_years = behind_by(2 * 31_536_000);
    let failed = with(behind_by(1_500), |it| {
        it.leader.failure = Some("listing failed.".to_owned());
    });
    let catching_up = with(behind_by(90_000), |it| {
        it.leader.run = Some(running(1_234, 5_000, None));
    });
    let next = with(behind_by(1_500), |it| {
        it.leader.next_run_at = Some(now() + TimeDelta::minutes(3));
    });
    assert_judged(vec![
        (
            behind_by(limit),
            (
                GREEN,
                "in_step",
                true,
                true,
                "In step with VDAB as of 17 min ago.",
            ),
        ),
        (
            two_years,
            (
                RED,
                "behind",
                true,
                false,
                "Behind VDAB by 2 years: a sync is about to start.",
            ),
        ),
        (
            next,
            (
                RED,
                "behind",
                true,
                false,
                "Behind VDAB by 25 min: the next sync starts in 3 min.",
            ),
        ),
        (
            failed,
            (
                RED,
                "behind",
                true,
                false,
                "Behind VDAB by 25 min: the last sync failed: listing failed.",
            ),
        ),
        (
            catching_up,
            (
                RED,
                "behind",
                true,
                false,
                "Behind VDAB by 1 day 1 h. Catching up: 1,234 of about 5,000 CVs, remaining time not known yet.",
            ),
        ),
    ]);
}

#[test]
fn first_sync_is_amber_until_it_fails_or_gets_nowhere() {
    let run = |run: UnderWay| with(never_synced(), |it| it.leader.run = Some(run));
    let failed = with(never_synced(), |it| {
        it.leader.failure = Some("listing failed".to_owned());
    });
    let idle = |facts, seconds| with(facts, |it| it.leader.idle_seconds = Some(seconds));
    let live = |facts| {
        with(facts, |it| {
            let span = Window::new(ago(3_600), ago(60));
            it.stored.as_mut().unwrap().coverage = Coverage::new(None, span, None, now());
        })
    };
    let alone = with(never_synced(), |it| {
        it.stored.as_mut().unwrap().leader = None;
    });
    let progress = "First sync: 1,234 of about 5,000 CVs, 2 min to go.";
    let listing = "First sync: listing the CVs at VDAB.";
    assert_judged(vec![
        (
            run(running(1_234, 5_000, Some(130))),
            (AMBER, "first_sync", true, false, progress),
        ),
        (
            live(run(running(1_234, 5_000, Some(130)))),
            (
                AMBER,
                "first_sync",
                true,
                false,
                "First sync: live since 2026-11-26T11:00:00Z; backlog 24 % (1,234 of about 5,000 CVs), 2 min to go, oldest missing change 2015-01.",
            ),
        ),
        (
            live(never_synced()),
            (
                AMBER,
                "first_sync",
                true,
                false,
                "First sync: live since 2026-11-26T11:00:00Z; backlog: a sync is about to start, oldest missing change 2015-01.",
            ),
        ),
        (
            run(running(0, 0, None)),
            (AMBER, "first_sync", true, false, listing),
        ),
        (
            idle(run(running(0, 0, None)), 21 * 60),
            (RED, "first_sync", true, false, listing),
        ),
        (
            failed,
            (
                RED,
                "first_sync",
                true,
                false,
                "Nothing is synced yet: the last sync failed: listing failed.",
            ),
        ),
        (
            alone,
            (
                AMBER,
                "first_sync",
                true,
                false,
                "Nothing is synced yet: no instance leads.",
            ),
        ),
    ]);
}

#[test]
fn a_backlog_is_amber_while_the_live_lane_is_in_step_and_red_once_nothing_moves() {
    let backlog = |oldest: i64| {
        with(behind_by(62), |it| {
            let span = Window::new(ago(600), ago(62));
            let stored = it.stored.as_mut().unwrap();
            stored.coverage = Coverage::new(Some(ago(oldest)), span, None, now());
            it.leader.run = Some(running(610, 1_000, Some(7_800)));
        })
    };
    let idle = with(backlog(90_000), |it| it.leader.idle_seconds = Some(21 * 60));
    let failed = with(backlog(90_000), |it| {
        it.leader.run = None;
        it.leader.failure = Some("fetching CVs: 500".to_owned());
    });
    let text = "Live since 2026-11-26T11:50:00Z; backlog 61 % (610 of about 1,000 CVs), 2 h 10 min to go, oldest missing change 2026-11.";
    assert_judged(vec![
        (backlog(90_000), (AMBER, "backlog", true, false, text)),
        (idle, (RED, "backlog", true, false, text)),
        (
            failed,
            (
                RED,
                "backlog",
                true,
                false,
                "Live since 2026-11-26T11:50:00Z; backlog: the last sync failed: fetching CVs: 500, oldest missing change 2026-11.",
            ),
        ),
        (
            // No more than a sync of a few minutes leaves behind.
            backlog(700),
            (
                GREEN,
                "in_step",
                true,
                true,
                "In step with VDAB as of 11 min ago.",
            ),
        ),
    ]);
}

#[test]
fn only_what_keeps_this_instance_from_working_makes_it_unready() {
    let trouble = |one_statement| Trouble {
        message: "the database cannot be used now: connection refused".to_owned(),
        one_statement,
        class: "a_class".to_owned(),
        since: Some(ago(60)),
    };
    let refused = "VDAB refuses the key (401: no such key); check CVSYNC_API_KEY";
    let key = || leader(|it| it.key_refused = Some(gate(refused, 60)));
    let role = |role| with(behind_by(62), |it| it.role = role);
    let here = with(behind_by(62), |it| it.database = Some(trouble(false)));
    let text = "The database cannot be used now: connection refused.";
    assert_judged(vec![
        (here, (RED, "database", false, false, text)),
        (
            leader(|it| it.database = Some(trouble(false))),
            (
                RED,
                "database",
                true,
                false,
                "The leader cannot work: the database cannot be used now: connection refused.",
            ),
        ),
        (
            with(behind_by(62), |it| it.database = Some(trouble(true))),
            (
                AMBER,
                "statement",
                true,
                true,
                "In step with VDAB as of 62 s ago, but the database cannot be used now: connection refused",
            ),
        ),
        (key(), (RED, "key", false, false, refused)),
        (
            with(key(), |it| it.role = Role::Standby),
            (RED, "key", true, false, refused),
        ),
        (
            with(key(), |it| it.role = Role::Command),
            (RED, "key", true, false, refused),
        ),
        (
            role(Role::Starting),
            (
                AMBER,
                "starting",
                false,
                true,
                "Starting: preparing the database.",
            ),
        ),
        (
            with(key(), |it| it.role = Role::Stopping),
            (
                RED,
                "stopping",
                false,
                false,
                "Stopping: finishing the current work.",
            ),
        ),
        (
            with(behind_by(62), |it| it.stored = None),
            (
                AMBER,
                "starting",
                true,
                false,
                "Starting: reading the database.",
            ),
        ),
    ]);
}

#[test]
fn outage_and_quota_are_amber_and_red_once_the_copy_is_late() {
    let down = |facts| {
        with(facts, |it| {
            it.leader.source_down = Some(gate("VDAB failed (503)", 5));
        })
    };
    let waiting = "VDAB is unavailable (VDAB failed (503)).";
    let quota = |since| leader(|it| it.quota_closed = Some(gate("429", since)));
    assert_judged(vec![
        (down(behind_by(62)), (AMBER, "source", true, true, waiting)),
        (
            down(behind_by(1_500)),
            (RED, "source", true, false, waiting),
        ),
        (
            down(never_synced()),
            (AMBER, "source", true, false, waiting),
        ),
        (
            quota(5),
            (AMBER, "quota", true, true, "Waiting for VDAB's rate limit."),
        ),
    ]);
    let health = Health::judge(&down(behind_by(62)));
    assert_eq!(
        health.first.next.unwrap(),
        "Retrying in 40 s. cvsync then catches up by itself. The copy is complete up to 2026-11-26T11:58:58Z"
    );
    assert_eq!(Health::judge(&quota(5)).first.action, None);
    let long = Health::judge(&quota(31 * 60)).first.action.unwrap();
    assert!(long.contains("CVSYNC_API_RATE_PER_MINUTE"), "{long}");
}

#[test]
fn pause_shows_its_reason_and_origin_and_hides_the_lag() {
    let text = "Paused until somebody resumes: moving house.";
    let late = with(paused(60), |it| {
        it.stored.as_mut().unwrap().coverage = up_to(ago(90_000));
    });
    let ends = with(paused(60), |it| {
        let pause = it.pause.as_mut().unwrap();
        pause.until = Some(now() + TimeDelta::hours(20));
    });
    assert_judged(vec![
        (paused(60), (AMBER, "paused", true, false, text)),
        (late, (AMBER, "paused", true, false, text)),
        (
            ends,
            (
                AMBER,
                "paused",
                true,
                false,
                "Paused until 2026-11-27T08:00:00Z: moving house.",
            ),
        ),
    ]);
    let action = |since| Health::judge(&paused(since)).first.action.unwrap();
    assert_eq!(
        action(60),
        "It was started over HTTP. End it with `cvsync resume`"
    );
    assert!(action(5 * 3_600).contains("forgotten"));
}

#[test]
fn missing_leader_is_red_once_a_standby_should_have_taken_over() {
    let none = |since: Option<i64>| {
        stored(|it| {
            it.leader = None;
            it.leaderless_since = since.map(ago);
        })
    };
    let odd = "In step with VDAB as of 62 s ago, but no instance leads";
    assert_judged(vec![
        (none(None), (AMBER, "no_leader", true, true, odd)),
        (none(Some(20)), (AMBER, "no_leader", true, true, odd)),
        (
            none(Some(121)),
            (
                RED,
                "no_leader",
                true,
                false,
                "No instance leads, so nothing is synced.",
            ),
        ),
    ]);
}

#[test]
fn instance_with_older_settings_is_named_and_is_the_remedy_if_none_leads() {
    let outdated = |since: Option<i64>| {
        stored(|it| {
            if since.is_some() {
                it.leader = None;
            }
            it.leaderless_since = since.map(ago);
            it.outdated = vec![(
                "db-1-77".to_owned(),
                vec!["CVSYNC_DOCUMENT_EXCLUDE".to_owned()],
            )];
        })
    };
    let health = Health::judge(&outdated(None));
    assert_eq!(
        (health.light, health.first.reason, health.in_step),
        (AMBER, "outdated_settings", true)
    );
    assert_eq!(
        health.first.headline,
        "In step with VDAB as of 62 s ago, but db-1-77 has older settings than the latest leader and cannot take over"
    );
    let health = Health::judge(&outdated(Some(121)));
    assert_eq!((health.light, health.first.reason), (RED, "no_leader"));
    assert_eq!(
        health.first.action.as_deref(),
        Some(
            "The latest leader had other settings (CVSYNC_DOCUMENT_EXCLUDE) and started later than db-1-77. Restart db-1-77: it then leads with its settings"
        )
    );
}

#[test]
fn oddity_is_amber_and_the_copy_stays_in_step() {
    let consumer = |name: &str, minutes| {
        let is_own = matches!(name, "search" | "webhook");
        let name = name.to_owned();
        stored(|it| {
            it.consumers.push(Consumer {
                name,
                is_own,
                behind: 7,
                waiting: TimeDelta::minutes(minutes),
            });
        })
    };
    let succeeded = |job: Job, hours: i64| {
        stored(|it| {
            it.last_success.insert(job, ago(hours * 3_600));
        })
    };
    let relisted = |hours| succeeded(Job::Relist, hours);
    let text = |text: &str| Some(text.to_owned());
    for (facts, reason) in vec![
        (stored(|it| it.held_deletes = 1), Some("held_deletes")),
        (stored(|it| it.rival = text("two")), Some("two_leaders")),
        (
            stored(|it| {
                it.parked = 3;
                it.parked_for = TimeDelta::hours(25);
            }),
            Some("parked"),
        ),
        (
            stored(|it| {
                it.parked = 3;
                it.parked_for = TimeDelta::hours(24);
            }),
            None,
        ),
        (consumer("search", 15), Some("consumer_late")),
        (consumer("webhook", 14), None),
        (consumer("nightly", 24 * 60), None),
        (consumer("nightly", 25 * 60), Some("consumer_late")),
        (succeeded(Job::Reconcile, 71), None),
        (succeeded(Job::Reconcile, 73), Some("reconcile_overdue")),
        (relisted(71), None),
        (relisted(73), Some("relist_overdue")),
        (
            stored(|it| it.leader.as_mut().unwrap().1 = Some(ago(7_201))),
            Some("relist_overdue"),
        ),
        (
            stored(|it| it.changes = Some((3, Some(500)))),
            Some("quiet"),
        ),
        (stored(|it| it.changes = Some((300, Some(500)))), None),
        (stored(|it| it.unsearchable = 1), Some("unsearchable")),
        (stored(|it| it.clock_doubt = true), Some("clock_doubt")),
        (
            stored(|it| it.history_lost_at = Some(DateTime::UNIX_EPOCH)),
            Some("history_lost"),
        ),
        (behind_by(-31), Some("watermark_ahead")),
        (
            leader(|it| it.odd_clock = text("VDAB's clock")),
            Some("clock"),
        ),
        (
            leader(|it| it.side_errors.push("search waits".to_owned())),
            Some("side_error"),
        ),
        (leader(|it| it.webhook = text("413")), Some("webhook")),
        (
            leader(|it| it.narrow_windows = Some(899)),
            Some("narrow_windows"),
        ),
        (
            leader(|it| it.log_lines_dropped = Some(5)),
            Some("log_lines_dropped"),
        ),
    ] {
        let health = Health::judge(&facts);
        let expected = (
            if reason.is_some() { AMBER } else { GREEN },
            reason.unwrap_or("in_step"),
        );
        assert_eq!((health.light, health.first.reason), expected);
        assert!(health.in_step && health.ready, "{health:?}");
        assert!(
            health
                .first
                .headline
                .starts_with("In step with VDAB as of ")
        );
    }
}

#[test]
fn new_field_at_vdab_is_reported_and_stays_green() {
    let health = Health::judge(&leader(|it| it.drift = 2));
    assert_eq!((health.light, health.first.reason), (GREEN, "in_step"));
    let told = health.reasons().join("\n");
    assert!(
        told.contains("have 2 names that the contract does not have"),
        "{told}"
    );
}

#[test]
fn cause_comes_before_its_effects_and_nothing_is_left_out() {
    let facts = with(behind_by(90_000), |it| {
        it.leader.key_refused = Some(gate("VDAB refuses the key", 60));
        it.stored.as_mut().unwrap().held_deletes = 1_200;
    });
    let health = Health::judge(&facts);
    let reasons: Vec<_> = health.others.iter().map(|it| it.reason).collect();
    assert_eq!(
        (health.first.reason, reasons),
        ("key", vec!["behind", "held_deletes"])
    );
    let lines = health.reasons();
    assert_eq!(lines.len(), 3);
    let wanted = "VDAB refuses the key. Since 2026-11-26T11:59:00Z. Retrying in 40 s. Meanwhile";
    assert!(lines[0].starts_with(wanted), "{}", lines[0]);
}

#[test]
fn unknown_fields_in_the_memory_of_another_version_are_ignored() {
    let json = r#"{"webhook": "413", "of_a_later_version": {"x": 1}}"#;
    let memory: Memory = serde_json::from_str(json).unwrap();
    assert_eq!(memory.webhook.as_deref(), Some("413"));
}

#[test]
fn only_a_consumer_of_others_may_be_forgotten() {
    for (name, is_own) in [("webhook", true), ("search", true), ("warehouse", false)] {
        let facts = stored(|it| {
            it.consumers.push(Consumer {
                name: name.to_owned(),
                is_own,
                behind: 3,
                waiting: TimeDelta::days(2),
            });
        });
        let health = Health::judge(&facts);
        let all = [&health.first].into_iter().chain(&health.others);
        let mut late = all.filter(|finding| finding.reason == "consumer_late");
        let action = late.next().unwrap().action.clone().unwrap_or_default();
        assert_eq!(action.contains("feed forget"), !is_own, "{name}: {action}");
    }
}

#[test]
fn refused_client_of_oauth_is_no_reason_to_ask_for_a_key() {
    for (message, of_key) in [
        ("VDAB refuses the key (401)", true),
        (
            "the OAuth token server refuses the client; check CVSYNC_OAUTH_CLIENT_ID",
            false,
        ),
    ] {
        let facts = leader(|it| it.key_refused = Some(gate(message, 60)));
        let action = Health::judge(&facts).first.action.unwrap_or_default();
        assert_eq!(action.contains("new key"), of_key, "{action}");
    }
}

#[test]
fn paused_first_sync_is_amber_for_as_long_as_it_lasts() {
    let facts = with(never_synced(), |facts| {
        facts.pause = paused(86_400).pause;
        facts.leader.idle_seconds = Some(86_400);
        facts.leader.failure = Some("listing failed".to_owned());
    });
    let health = Health::judge(&facts);
    assert_eq!(health.light, Light::Amber);
    assert_eq!(health.first.reason, "paused");
}

#[test]
fn public_verdict_has_classes_and_no_texts_of_errors_or_names_of_instances() {
    let canary = || "canary: canary (canary)".to_owned();
    let trouble = |one_statement| {
        Some(Trouble {
            message: canary(),
            class: "a_class".to_owned(),
            one_statement,
            since: None,
        })
    };
    let everything = with(behind_by(90_000), |facts| {
        let stored = facts.stored.as_mut().unwrap();
        stored.leader = Some((canary(), None));
        stored.rival = Some(canary());
        stored.outdated = vec![(canary(), vec!["CVSYNC_KEEP".to_owned()])];
        facts.database = trouble(false);
        facts.leader = Memory {
            database: trouble(true),
            key_refused: Some(gate("canary", 40)),
            source_down: Some(gate("canary", 40)),
            quota_closed: Some(gate("canary", 40)),
            failure: Some(canary()),
            failure_class: Some("a_class".to_owned()),
            side_errors: vec!["search: canary".to_owned()],
            webhook: Some(canary()),
            replica: Some(canary()),
            ..Memory::default()
        };
    });
    for role in [Role::Leading, Role::Standby] {
        let facts = with(everything.clone(), |facts| facts.role = role);
        let whole = Health::judge(&facts);
        let public = Health::judge(&facts.public());
        assert!(serde_json::to_string(&whole).unwrap().contains("canary"));
        let text = serde_json::to_string(&public).unwrap();
        assert!(!text.contains("canary"), "{text}");
        for class in [
            "The database cannot be used (error class a_class).",
            "VDAB refuses the key (error class a_class); check CVSYNC_API_KEY",
            "VDAB is unavailable (error class a_class).",
            "the last sync failed: error class a_class",
            "search: see the log",
        ] {
            assert!(text.contains(class), "{class}: {text}");
        }
        let reasons = |health: &Health| -> Vec<_> {
            let all = [&health.first].into_iter().chain(&health.others);
            all.map(|finding| finding.reason).collect()
        };
        assert_eq!(reasons(&public), reasons(&whole));
        assert_eq!((public.light, public.ready), (whole.light, whole.ready));
    }
}
