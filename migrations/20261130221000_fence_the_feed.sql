-- The mirror may read from a standby. A fence in the feed says how far any snapshot of this database is complete, on the primary and
-- on a standby. Locks the one row of `feed` for a moment.
alter table cvsync.feed
    add column complete_until timestamptz,
    add column complete_in    text;

comment on column cvsync.feed.complete_until is
    'Fence: a snapshot that holds this value holds every change before this time, and later changes get later times. Null before the first fence';
comment on column cvsync.feed.complete_in is
    'Server history in which the fence was set, as in lease.home. Null before the first fence';

-- The server history that a reader of this server relies on. On a primary it is its own. On a standby it is that of the latest fence
-- that was replayed, or 'other' if the standby copies another server than the one that set it.
create function cvsync.home_of_readers() returns text
    language plpgsql stable
    set search_path = pg_catalog
    as $$
declare
    fenced text;
    own    text;
begin
    if not pg_is_in_recovery() then
        return cvsync.home();
    end if;
    select complete_in into fenced from cvsync.feed;
    begin
        select system_identifier::text into own from pg_control_system();
    exception
        when insufficient_privilege or undefined_function or feature_not_supported then
            return fenced;
    end;
    if fenced <> 'unknown' and split_part(fenced, '/', 1) <> own then
        return 'other';
    end if;
    return fenced;
end
$$;
