-- How many deletes a person approved, one row per transaction that applied them: the delete brake does not count them.
create table cvsync.approved_delete (
    id      bigint      generated always as identity primary key,
    at      timestamptz not null,
    deletes bigint      not null
);

-- True where VDAB called the CV gone at a time when it answered for no CV that is known to be live. Such a delete is asked
-- for again by itself, and makes no other delete wait.
alter table cvsync.held_delete add column unproven boolean not null default false;
