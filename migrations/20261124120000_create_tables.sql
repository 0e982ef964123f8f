-- The schema itself is made before the migrations run, since their own record lives in it.

-- A CV as VDAB gave it, less what CVSYNC_DOCUMENT_EXCLUDE names.
create table cvsync.cv (
    cv_id            uuid        primary key,
    status           text,
    wijzigings_datum date,
    document         jsonb       not null,
    -- SHA-256 of the document's canonical form: equal content, equal hash.
    content_hash     bytea       not null,
    first_seen_at    timestamptz not null default now(),
    changed_at       timestamptz not null default now()
);

-- lz4 costs PostgreSQL half the CPU of pglz for each document, and 5 % more room (examples/storage.rs). A server that was
-- built without it keeps pglz.
do $$
begin
    alter table cvsync.cv alter column document set compression lz4;
exception
    when feature_not_supported then
        raise notice 'this server has no lz4: documents are compressed with pglz';
end
$$;

-- What we hold for a CV, its document or its absence, is the source's state at as_of. Narrow, so that confirming a CV
-- rewrites no document, and with room on each page, so that it touches no index.
create table cvsync.cv_seen (
    cv_id uuid        primary key,
    as_of timestamptz not null,
    gone  boolean     not null
) with (fillfactor = 80);

comment on column cvsync.cv_seen.gone is 'true: a tombstone; VDAB had no such CV at as_of';

-- Every change before position is applied or parked.
create table cvsync.watermark (
    stream     text        primary key,
    position   timestamptz not null,
    updated_at timestamptz not null default now()
);

-- One row a window of the source's time that was listed: van <= t < tot.
create table cvsync.sync_window (
    id          bigint      generated always as identity primary key,
    van         timestamptz not null,
    tot         timestamptz not null check (van < tot),
    -- false: listed again behind the watermark, to catch what became visible late.
    fresh       boolean     not null,
    state       text        not null check (state in ('open', 'settled', 'abandoned')),
    listed      bigint      not null default 0,
    upserted    bigint      not null default 0,
    unchanged   bigint      not null default 0,
    deleted     bigint      not null default 0,
    parked      bigint      not null default 0,
    skipped     bigint      not null default 0,
    superseded  bigint      not null default 0,
    started_at  timestamptz not null default now(),
    finished_at timestamptz,
    check (state <> 'settled'
           or listed = upserted + unchanged + deleted + parked + skipped + superseded)
);

create index sync_window_tot on cvsync.sync_window (tot);
create index sync_window_open on cvsync.sync_window (id) where state = 'open';

-- CVs that could not be applied, and why. No personal data: an id, a class, times.
create table cvsync.parked_cv (
    cv_id           text        primary key,
    error_class     text        not null,
    -- The source's time when it was asked for: an answer to an earlier question does not take it off.
    as_of           timestamptz not null,
    attempts        integer     not null default 1,
    first_failed_at timestamptz not null default now(),
    next_attempt_at timestamptz not null
);

create index parked_cv_due on cvsync.parked_cv (next_attempt_at);

-- The feed for downstream; NOTIFY cvsync_change follows each commit that adds to it.
create table cvsync.cv_change (
    seq   bigint      generated always as identity primary key,
    cv_id uuid        not null,
    kind  text        not null check (kind in ('upsert', 'delete')),
    at    timestamptz not null default now()
);

-- When a job last came to its end.
create table cvsync.job_success (
    job text        primary key,
    at  timestamptz not null
);
