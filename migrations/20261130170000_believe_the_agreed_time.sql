-- A slow database clock must not make stored times look as if they lay in the future: an older response that arrives late would
-- then replace a newer one. The writer passes the time on which the clocks agree as `cvsync.latest`.
create or replace function cvsync.is_newer(stored timestamptz, answered timestamptz) returns boolean
language sql volatile parallel safe
return stored > answered
   and stored <= greatest(
           clock_timestamp(),
           answered,
           nullif(current_setting('cvsync.latest', true), '')::timestamptz) + interval '5 seconds';

-- As before, but locks `cv` before `cv_search` when it sets a CV aside, as every other writer does.
create or replace function cvsync.make_searchable(ids uuid[]) returns void
    language plpgsql
    as $$
declare
    id uuid;
begin
    begin
        -- Locks the CVs against removal only, which every sync but that one ignores.
        insert into cvsync.cv_search (cv_id, codes, tekst)
        select cv_id, cvsync.codes(document), cvsync.tekst(document)
          from (select cv_id, document
                  from cvsync.cv
                 where cv_id = any(ids)
                 order by cv_id
                   for key share) as live
        on conflict (cv_id) do update
           set codes = excluded.codes,
               tekst = excluded.tekst;
        delete from cvsync.cv_unsearchable where cv_id = any(ids);
        return;
    exception
        when others then
            -- Data, constraint, program limit, internal error (a damaged document among them), raised by a trigger.
            if left(sqlstate, 2) not in ('22', '23', '54', 'XX', 'P0') then
                raise;
            end if;
            if cardinality(ids) = 1 then
                -- The exception gave up the lock.
                perform from cvsync.cv where cv_id = ids[1] for key share;
                delete from cvsync.cv_search where cv_id = ids[1];
                insert into cvsync.cv_unsearchable (cv_id, error_code)
                select cv_id, sqlstate
                  from cvsync.cv
                 where cv_id = ids[1]
                on conflict (cv_id) do update
                   set error_code = excluded.error_code,
                       at         = excluded.at;
                return;
            end if;
    end;
    foreach id in array ids loop
        perform cvsync.make_searchable(array[id]);
    end loop;
end
$$;
