-- Facts that only the process knows: closed gates, the run under way, errors. `cvsync status` and the
-- other instances judge by them.
alter table cvsync.instance add column memory jsonb not null default '{}';

-- How the pause was begun, for people.
alter table cvsync.pause add column begun_by text;
