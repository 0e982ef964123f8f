-- What the whole source lists, while it is compared with what we hold. Unlogged: a crash costs nothing but a new start.
create unlogged table cvsync.reconcile_listed (
    -- The comparison, by when it began in milliseconds since 1970: one by hand may run beside the daemon's.
    run   bigint  not null,
    cv_id uuid    not null,
    gone  boolean not null,
    primary key (run, cv_id)
);

-- What each comparison found; 0 differences is the goal.
create table cvsync.reconcile_run (
    id          bigint      generated always as identity primary key,
    started_at  timestamptz not null,
    finished_at timestamptz not null default clock_timestamp(),
    listed      bigint      not null,
    missing     bigint      not null,
    extra       bigint      not null,
    inserted    bigint      not null,
    deleted     bigint      not null
);
