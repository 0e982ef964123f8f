-- A row a minute, by the instance that leads, for a few days: what the status page plots. Counts are of that minute.
create table cvsync.history (
    at          timestamptz primary key,
    -- The longest within the minute.
    lag_seconds bigint,
    upserted    bigint      not null,
    deleted     bigint      not null,
    calls       bigint      not null,
    parked      bigint      not null,
    stored      bigint      not null
);

-- Who runs, as each instance says of itself a few times a minute.
create table cvsync.instance (
    name       text        primary key,
    version    text        not null,
    started_at timestamptz not null default now(),
    seen_at    timestamptz not null default now()
);
