-- PostgreSQL lets everybody execute a new function. Only roles that may use a table or view of this schema keep that right: whoever
-- reads a view must be allowed to execute the functions in it. No role but the owner needs grant_readers().
--
-- Default privileges cannot do that for one schema: they would also apply to functions of extensions and of other schemas.
do $$
declare
    one     regprocedure;
    grantee name;
begin
    for one in
        select oid::regprocedure
          from pg_proc
         where pronamespace = 'cvsync'::regnamespace
           and prokind = 'f'
           and pg_has_role(proowner, 'usage')
           and has_function_privilege('public', oid, 'execute')
    loop
        execute format('revoke execute on function %s from public', one);
        continue when one = 'cvsync.grant_readers()'::regprocedure;
        for grantee in
            select distinct rolname
              from pg_class
             cross join lateral (
                       select relacl as acl
                       union all
                       select attacl from pg_attribute where attrelid = pg_class.oid) as acls
             cross join lateral aclexplode(acl) as granted
              join pg_roles on pg_roles.oid = granted.grantee
             where relnamespace = 'cvsync'::regnamespace
               and granted.grantee <> relowner
        loop
            execute format('grant execute on function %s to %I', one, grantee);
        end loop;
    end loop;
end
$$;

-- As before, and the functions of the views for both.
create or replace function cvsync.grant_readers() returns void
    language plpgsql
    as $$
declare
    name text;
begin
    -- Two at once would meet in the catalog.
    lock table cvsync.migration in share row exclusive mode;
    foreach name in array array['cvsync_reader', 'cvsync_analyst'] loop
        if to_regrole(name) is null then
            begin
                execute format('create role %I nologin', name);
            exception
                -- Another database of this server got there first.
                when duplicate_object or unique_violation then
                    null;
                when insufficient_privilege then
                    raise notice 'role % is not there and % may not create it; as an administrator: create role % nologin; select cvsync.grant_readers();', name, current_user, name;
                    continue;
            end;
        end if;
        execute format('grant usage on schema cvsync to %I', name);
        execute format('revoke all on all tables in schema cvsync from %I', name);
        execute format('grant select on cvsync.attestering, cvsync.gewenste_job, cvsync.gewenste_regio, cvsync.referentie to %I', name);
        execute format('grant execute on function cvsync.as_int(text), cvsync.as_bigint(text), cvsync.as_boolean(text), cvsync.as_date(text), cvsync.elements(jsonb), cvsync.code(jsonb), cvsync.plain(jsonb) to %I', name);
    end loop;
    if to_regrole('cvsync_reader') is not null then
        grant select on cvsync.kandidaat, cvsync.persoon, cvsync.ervaring, cvsync.opleiding, cvsync.competentie, cvsync.gewenste_functie
           to cvsync_reader;
    end if;
    if to_regrole('cvsync_analyst') is not null then
        grant select (cv_id, status, wijzigings_datum, changed_at, first_seen_at, codes)
           on cvsync.kandidaat to cvsync_analyst;
        grant select (cv_id, nr, type, van, van_tekst, tot, tot_tekst)
           on cvsync.ervaring to cvsync_analyst;
        grant select (cv_id, nr, type, naam, label, behaald_op, behaald_op_tekst, behaald_in, behaald_in_tekst, diploma, diploma_tekst)
           on cvsync.opleiding to cvsync_analyst;
        grant select (cv_id, nr, type, code, label, niveau, niveau_tekst, score, score_tekst)
           on cvsync.competentie to cvsync_analyst;
        grant select (cv_id, nr, ervaring, ervaring_tekst, beroepsprofiel_code)
           on cvsync.gewenste_functie to cvsync_analyst;
    end if;
end
$$;

select cvsync.grant_readers();
