-- Each statement reads a bounded number of rows, however few of them match.

-- The housekeeping forgets these after a week.
create index sync_window_repeats on cvsync.sync_window (finished_at) where not fresh or state = 'abandoned';

-- A sync retries only ids that are UUIDs, so it reads no others.
create index parked_cv_due_ids on cvsync.parked_cv (next_attempt_at)
    where cv_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
drop index cvsync.parked_cv_due;

-- Comparisons that are under way. Unlogged like the listing: a crash of the server empties both, and the comparison sees that it
-- has lost its listing.
create unlogged table cvsync.reconcile_under_way (
    -- As in reconcile_listed.
    run     bigint      primary key,
    -- Renewed while its process lives; -infinity once the comparison has ended and its listing can go.
    seen_at timestamptz not null default now()
);

-- When the window that lists a CV had settled: a tombstone as of then or later proves that the CV is gone, unless its status says
-- that it is there.
alter table cvsync.reconcile_listed add column settled timestamptz;
alter table cvsync.reconcile_listed add column live boolean not null default false;

-- Up to where the source was listed a second time. The next second listing starts there.
create table cvsync.relisted (
    stream   text        primary key,
    position timestamptz not null
);

-- Earlier versions kept no mark. Each of their second listings reached to an overlap before the watermark.
insert into cvsync.relisted (stream, position)
select stream, least(position, relist.at) - interval '1 day'
  from cvsync.watermark
  join cvsync.job_success as relist on relist.job = 'relist';
