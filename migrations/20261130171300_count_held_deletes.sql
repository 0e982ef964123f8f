-- Held deletes have a count of their own. Until now `parked` included them.
alter table cvsync.sync_window   add column held bigint not null default 0;
alter table cvsync.reconcile_run add column held bigint not null default 0;

-- Each listed id is in one of the counts. The old check has a name that PostgreSQL chose.
do $$
declare
    old name;
begin
    for old in
        select conname
          from pg_constraint
         where conrelid = 'cvsync.sync_window'::regclass
           and contype = 'c'
           and pg_get_constraintdef(oid) like '%superseded%'
    loop
        execute format('alter table cvsync.sync_window drop constraint %I', old);
    end loop;
end
$$;

alter table cvsync.sync_window
    add constraint sync_window_counts check (
        state <> 'settled'
        or listed = upserted + unchanged + deleted + parked + held + skipped + superseded
    ) not valid;
