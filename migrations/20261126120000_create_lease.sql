-- Who leads: one row. A write transaction of a leader holds its epoch in share mode, so that a takeover waits for it.
create table cvsync.lease (
    name       text        primary key,
    holder     text        not null,
    -- The fencing epoch: grows with each takeover.
    epoch      bigint      not null,
    expires_at timestamptz not null
);
