-- The leader's settings that shape the stored data. Commands beside it use them too.
create table cvsync.leader_setting (
    -- The environment variable.
    name        text        primary key,
    -- In its canonical form; null where nothing holds.
    value       text,
    -- `environment`, `default` or `unset`.
    origin      text        not null,
    recorded_at timestamptz not null default now()
);
