-- What a person asked for over HTTP, of whichever instance; the one that leads takes it up.
create table cvsync.run_request (
    id           bigint      generated always as identity primary key,
    -- `approve` asks again for the held deletes that are approved, and deletes those that are gone.
    what         text        not null check (what in ('sync', 'resync', 'approve')),
    -- For `resync`.
    ids          uuid[]      not null default '{}',
    requested_at timestamptz not null default now(),
    -- When it was last taken up: a leader that dies leaves it to the next one.
    taken_at     timestamptz,
    done_at      timestamptz,
    failed       boolean     not null default false
);

create index run_request_waiting on cvsync.run_request (id) where done_at is null;

-- Since when a person wants this delete: the brake lets it pass once VDAB confirms it.
alter table cvsync.held_delete add column approved_at timestamptz;
