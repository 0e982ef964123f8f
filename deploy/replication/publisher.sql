-- Run this at cvsync's database, as a superuser or as the owner of the schema with CREATEROLE and REPLICATION. It creates the role
-- that may replicate, and the publications. You can run it again. The password comes from CVSYNC_REPLICATION_PASSWORD.
\set ON_ERROR_STOP on
\set password `printf %s "$CVSYNC_REPLICATION_PASSWORD"`

do $$
begin
    if current_setting('wal_level') <> 'logical' then
        raise exception 'wal_level must be logical, got %: run alter system set wal_level = logical, then restart PostgreSQL',
            current_setting('wal_level');
    end if;
    if to_regclass('cvsync.cv_search') is null then
        raise exception 'the schema cvsync is missing or too old: run cvsync migrate first';
    end if;
end
$$;

select 'create role cvsync_replication login replication'
 where not exists (select from pg_roles where rolname = 'cvsync_replication')
\gexec

set password_encryption = 'scram-sha-256';
alter role cvsync_replication password :'password';

-- The right to read is needed only for the first copy.
grant usage on schema cvsync to cvsync_replication;
grant select on cvsync.cv, cvsync.cv_change, cvsync.cv_search to cvsync_replication;

select 'grant select on cvsync.reference_code to cvsync_replication'
 where to_regclass('cvsync.reference_code') is not null
\gexec

-- In case cvsync's own role was not allowed to create them when it migrated.
select 'create publication cvsync_cv for table ' || string_agg(name, ', ')
  from unnest(array['cvsync.cv', 'cvsync.reference_code', 'cvsync.cv_search']) as published (name)
 where to_regclass(name) is not null
   and not exists (select from pg_publication where pubname = 'cvsync_cv')
having count(*) > 0
\gexec

select 'create publication cvsync_feed for table cvsync.cv_change with (publish = ''insert'')'
 where not exists (select from pg_publication where pubname = 'cvsync_feed')
\gexec
