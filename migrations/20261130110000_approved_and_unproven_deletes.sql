-- How many deletes a person approved, one row per transaction that applied them: the delete brake does not count them.
create table cvsync.approved_delete (
    id      bigint      generated always as identity primary key,
    at      timestamptz not null,
    deletes bigint      not null
);

-- When cvsync asks again by itself. Only for deletes without proof: VDAB called the CV gone, but answered for no CV that is
-- known to be live. Null where a person decides.
alter table cvsync.held_delete add column next_attempt_at timestamptz;
