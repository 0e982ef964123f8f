//! The status page as a person sees it, in a real Chromium: what it says of each state, and what its buttons do.

use std::time::Duration;

use cvsync::simulator::{Fault, Operation, Options};
use serde_json::json;

use crate::browser::Browser;
use crate::process::Process;
use crate::proxy::Trouble;
use crate::world::World;

const OFTEN: (&str, &str) = ("CVSYNC_SCHEDULE", "* * * * * *");
const NEVER: (&str, &str) = ("CVSYNC_SCHEDULE", "0 0 0 29 2 *");
const AT_ONCE: (&str, &str) = ("CVSYNC_SETTLE_LAG", "1s");
const TOKEN: (&str, &str) = ("CVSYNC_ADMIN_TOKEN", "canary-open-sesame");

async fn open(daemon: &Process) -> Browser {
    daemon.until("/livez", |status, _| status == 200).await;
    Browser::open(&format!("http://{}/", daemon.address())).await
}

/// A source that takes 1,200 deletes back, which is more than the brake lets pass.
async fn with_held_deletes(world: &World) {
    world.sync().await;
    let ids: Vec<_> = world.documents().await.into_keys().take(1_200).collect();
    world
        .source
        .world(|w| assert!(ids.iter().all(|id| w.remove(*id))));
    world.settle();
    world.sync().await;
    assert!(world.rows("held_delete").await > 0);
}

/// A day as the plots show it: a quiet one, with an outage in the morning.
async fn with_history(world: &World) {
    sqlx::query(
        "insert into cvsync.history (at, lag_seconds, upserted, deleted, calls, parked, stored)
         select date_trunc('minute', now()) - make_interval(mins => ago),
                case when ago between 500 and 560 then 60 * (561 - ago) else 65 + ago * 7 % 280 end,
                case when ago % 5 = 0 and ago not between 500 and 560 then 40 + ago * 31 % 700 else 0 end,
                ago % 3,
                case when ago between 480 and 500 then 1990 else 12 + ago * 17 % 600 end,
                3,
                20000
           from generate_series(1, 1430) as ago",
    )
    .execute(&world.database)
    .await
    .unwrap();
}

#[tokio::test]
async fn page_updates_itself_and_keeps_input_focus_and_scroll_position() {
    let world = World::new(200).await;
    let daemon = Process::run(&world, &[OFTEN, AT_ONCE, TOKEN]);
    let browser = open(&daemon).await;
    browser.until("h1", "In step with VDAB as of").await;
    let stored = ".figures > div:nth-child(3) dd";
    let live = world.live();
    browser.until(stored, &live.to_string()).await;
    browser.click("#variables summary").await;
    browser.click("#resync-id").await;
    browser.type_into("#resync-id", "half").await;
    browser
        .tab
        .execute("window.scrollTo(0, 123); window.same = true", vec![])
        .await
        .unwrap();
    world.source.world(|w| {
        w.add();
    });
    browser.until(stored, &(live + 1).to_string()).await;
    let kept = "const field = document.activeElement;
        return [document.querySelector('#variables').open, field.id, field.value, scrollY, window.same]";
    assert_eq!(
        browser.tab.execute(kept, vec![]).await.unwrap(),
        json!([true, "resync-id", "half", 123, true])
    );
    assert!(
        browser
            .tab
            .title()
            .await
            .unwrap()
            .starts_with("In step with VDAB")
    );
    let variables = browser.text("#variables").await;
    assert!(
        variables.contains("CVSYNC_API_RATE_PER_MINUTE"),
        "{variables}"
    );
    for secret in ["canary", "test-key"] {
        assert!(!browser.tab.source().await.unwrap().contains(secret));
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    daemon.kill().await;
    browser.until("#lost", "has not responded since").await;
}

#[tokio::test]
async fn hidden_page_makes_no_requests() {
    let world = World::new(10).await;
    let daemon = Process::run(&world, &[]);
    let browser = open(&daemon).await;
    browser.until("h1", "In step").await;
    let hide = "window.asked = 0;
        Object.defineProperty(document, 'hidden', { value: arguments[0], configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));";
    // Counts requests, and the timers that would make the next one.
    let watch = "window.asked = window.open = 0;
        window.timers = new Set();
        const { fetch, setTimeout, clearTimeout } = window;
        window.fetch = (...all) => {
            window.asked += 1;
            window.open += 1;
            return fetch(...all).finally(() => { window.open -= 1; });
        };
        window.setTimeout = (run, after) => {
            const timer = setTimeout(() => { window.timers.delete(timer); run(); }, after);
            window.timers.add(timer);
            return timer;
        };
        window.clearTimeout = (timer) => { window.timers.delete(timer); clearTimeout(timer); };";
    browser.tab.execute(watch, vec![]).await.unwrap();
    browser
        .until_true("return window.asked > 1 && window.open === 0 && window.timers.size === 1")
        .await;
    browser.tab.execute(hide, vec![json!(true)]).await.unwrap();
    browser
        .until_true("return window.open === 0 && window.timers.size === 0")
        .await;
    browser.tab.execute(hide, vec![json!(false)]).await.unwrap();
    browser.until_true("return window.asked > 0").await;
}

#[tokio::test]
async fn page_shows_the_current_run_and_each_obstacle() {
    let mut world = World::new(1_000).await;
    let proxy = world.through_proxy("CVSYNC_DATABASE_URL").await;
    let slow = |millis| Fault::Slow(Duration::from_millis(millis));
    // So that it is still at it when the browser has started.
    world.source.rule(Operation::Detail, slow(1_000));
    let daemon = Process::run(&world, &[OFTEN]);
    let mut browser = open(&daemon).await;
    world.source.clear_faults();
    world.source.rule(Operation::Detail, slow(500));
    // "First sync", or "Catching up" if the browser starts after the first window is settled.
    browser.until("h1", " CVs, ").await;
    browser.until("#run", " per second, ").await;
    look(&mut browser, "syncing").await;
    proxy.set(Trouble::Down);
    browser.until("h1", "The database").await;
    proxy.set(Trouble::None);
    world.source.clear_faults();
    let retry_after = None;
    world.source.rule(
        Operation::Bulk,
        Fault::Http503 {
            retry_after: retry_after.clone(),
        },
    );
    world
        .source
        .rule(Operation::Detail, Fault::Http503 { retry_after });
    browser.until("h1", "VDAB is unavailable").await;
    world.source.clear_faults();
    let retry_after = Some("60".to_owned());
    browser.until("h1", "In step").await;
    world
        .source
        .rule(Operation::Bulk, Fault::RateLimit { retry_after });
    browser.until("h1", "Waiting for VDAB's rate limit").await;
}

#[tokio::test]
async fn page_shows_that_the_key_is_refused() {
    let world = World::new(20).await;
    let daemon = Process::run(&world, &[("CVSYNC_API_KEY", "wrong-canary"), OFTEN]);
    let mut browser = open(&daemon).await;
    browser.until("h1", "VDAB refuses the key").await;
    assert!(
        browser
            .text("#actions")
            .await
            .contains("CVSYNC_ADMIN_TOKEN")
    );
    look(&mut browser, "key").await;
}

#[tokio::test]
async fn parked_cvs_are_retried_with_the_token_and_not_without() {
    let world = World::new(100).await;
    let id = world.any_live_id();
    world.source.rule(id, Fault::Http500);
    let daemon = Process::run(&world, &[NEVER, TOKEN]);
    let mut browser = open(&daemon).await;
    browser.until("#parked", "server_error").await;
    assert!(
        !browser
            .tab
            .source()
            .await
            .unwrap()
            .contains(&id.to_string())
    );
    world.source.clear_faults();
    browser.click("#parked [data-post]").await;
    browser.until("#said", "Type the admin token first").await;
    browser.give_token("wrong").await;
    browser.until("#said", "The token is wrong").await;
    assert_eq!(world.rows("parked_cv").await, 1);
    browser.give_token(TOKEN.1).await;
    browser.click("#parked [data-list]").await;
    browser.until("#parked-list", &id.to_string()).await;
    look(&mut browser, "parked").await;
    browser.click("#parked-list [data-post]").await;
    browser
        .until("#said", "retry of 1 parked CVs requested")
        .await;
    let focused = "return document.activeElement.tagName === 'BUTTON'";
    browser.until_true(focused).await;
    browser.until("#parked", "None: every listed CV").await;
    assert_eq!(world.rows("parked_cv").await, 0);
    world.assert_database_equals_source().await;
    assert!(!daemon.log().contains(TOKEN.1));
    assert!(daemon.log().contains("parked retry"), "{}", daemon.log());
}

#[tokio::test]
async fn held_deletes_are_approved_after_a_question() {
    let world = World::with(Options {
        candidates: 2_000,
        ..Options::default()
    })
    .await;
    with_held_deletes(&world).await;
    with_history(&world).await;
    let daemon = Process::run(&world, &[TOKEN, ("CVSYNC_API_RATE_PER_MINUTE", "2000")]);
    let mut browser = open(&daemon).await;
    browser.until("#held", "more than usual").await;
    browser.until("#instances", "(this one)").await;
    browser.until("h1", "wait for your decision").await;
    look(&mut browser, "held").await;
    browser.give_token(TOKEN.1).await;
    browser.click("#held [data-post$=approve]").await;
    browser.until("#ask", "permanently deletes").await;
    browser.click("#ask-no").await;
    assert!(world.rows("held_delete").await > 0);
    browser.click("#held [data-post$=approve]").await;
    browser.until("#ask", "permanently deletes").await;
    browser.click("#ask-yes").await;
    browser.until("#said", "deletes approved").await;
    browser.until("#held", "None: no delete needs").await;
    let world = &world;
    crate::running::until("they are gone", async || {
        world.rows("held_delete").await == 0
    })
    .await;
    world.assert_database_equals_source().await;
}

#[tokio::test]
async fn page_pauses_and_resumes() {
    let world = World::new(20).await;
    let daemon = Process::run(&world, &[OFTEN, AT_ONCE, TOKEN]);
    let mut browser = open(&daemon).await;
    browser.until("h1", "In step").await;
    look(&mut browser, "in-step").await;
    browser.give_token(TOKEN.1).await;
    browser.click("#actions [data-post$=pause]").await;
    browser.click("#ask-yes").await;
    browser
        .until("h1", "Paused until somebody resumes: from the status page.")
        .await;
    look(&mut browser, "paused").await;
    browser.click("#actions [data-post$=sync]").await;
    browser
        .until("#said", "nothing was done: syncing is paused")
        .await;
    browser.click("#actions [data-post$=resume]").await;
    browser.until("h1", "In step").await;
}

#[tokio::test]
async fn without_a_script_it_is_all_there_and_loads_itself_again() {
    let world = World::new(20).await;
    let daemon = Process::run(&world, &[TOKEN]);
    daemon.until_synced().await;
    let browser = open(&daemon).await;
    browser
        .devtools(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": true }),
        )
        .await;
    browser.tab.refresh().await.unwrap();
    let page = browser.tab.source().await.unwrap();
    for part in [
        "In step with VDAB",
        "http-equiv=\"refresh\"",
        "id=\"windows\"",
        "cvsync parked retry",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[tokio::test]
async fn page_is_small() {
    let world = World::new(3_000).await;
    with_history(&world).await;
    world
        .source
        .rule(Operation::Detail, Fault::Slow(Duration::from_millis(20)));
    let daemon = Process::run(&world, &[TOKEN]);
    daemon
        .until("/api/status", |_, body| body.contains("\"per_second\""))
        .await;
    let mut weight = 0;
    for path in [
        "/",
        "/assets/style.css",
        "/assets/page.js",
        "/assets/icon.svg",
    ] {
        weight += daemon.get(path).await.unwrap().1.len();
    }
    assert!(weight < 150_000, "{weight}");
}

/// At three widths and in both themes: nothing for axe to find, nothing that sticks out, and a screenshot to look at.
async fn look(browser: &mut Browser, name: &str) {
    for theme in ["light", "dark"] {
        for width in [360, 768, 1_440] {
            browser.look_as(width, theme).await;
            let wide = browser
                .tab
                .execute("return document.documentElement.scrollWidth", vec![])
                .await
                .unwrap();
            browser.screenshot(&format!("{name}-{theme}-{width}")).await;
            assert_eq!(wide, json!(width), "{name} is wider than its screen");
        }
        let violations = browser.violations().await;
        assert!(violations.is_empty(), "{theme}: {}", violations.join("\n"));
    }
}
