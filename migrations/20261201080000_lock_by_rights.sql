-- grant_readers() took an advisory lock, which any login can hold for as long as it likes. Only roles that may write the table
-- cvsync.migration can hold its lock. Otherwise as before.
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
