-- What the whole source lists, while it is compared with what we hold. Unlogged: a crash costs nothing but a new start.
create unlogged table cvsync.reconcile_listed (
    cv_id uuid    primary key,
    gone  boolean not null
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
