-- The consumer `search` sets a CV aside that it cannot process, and goes on.

-- CVs that searches do not find. A removed CV takes its row with it.
create table cvsync.cv_unsearchable (
    cv_id      uuid        primary key references cvsync.cv on delete cascade,
    -- SQLSTATE
    error_code text        not null,
    at         timestamptz not null default now()
);

comment on table cvsync.cv_unsearchable is 'CVs whose document cannot be indexed for search, and the SQLSTATE of the error';

-- Indexes all of `ids` at once. If PostgreSQL refuses one of them, each is indexed alone, and the refused ones are set aside.
-- Errors that are not about a document (no memory, a full disk, a deadlock, a missing permission) are raised.
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
                delete from cvsync.cv_search where cv_id = ids[1];
                insert into cvsync.cv_unsearchable (cv_id, error_code)
                select cv_id, sqlstate
                  from cvsync.cv
                 where cv_id = ids[1]
                   for key share
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

-- As before, with each term once and at most 2,000 of them: what is stored for search stays in proportion to the document.
create or replace function cvsync.codes(document jsonb) returns text[]
    language plpgsql immutable parallel safe cost 5000
    as $$
declare
    opleidingen   jsonb := cvsync.elements(document -> 'opleidingen');
    attesteringen jsonb := cvsync.elements(document -> 'attesteringen');
    competenties  jsonb := cvsync.elements(document -> 'competenties');
    job           jsonb := document -> 'gewensteJob';
begin
    return array(
        select term
          from (select 'studie:' || (e ->> 'naam')
                  from jsonb_array_elements(opleidingen) as e
                union all
                select case e ->> 'type'
                           when 'rijbewijs' then 'rijbewijs:' || (e ->> 'code')
                           when 'attest' then 'attest:' || (e ->> 'code')
                       end
                  from jsonb_array_elements(attesteringen) as e
                union all
                select case e ->> 'type'
                           when 'technischeCompetentie' then 'competentie:' || (e ->> 'code')
                           when 'softSkill' then 'softskill:' || (e ->> 'code')
                           when 'talen' then 'taal:' || (e ->> 'code')
                       end
                  from jsonb_array_elements(competenties) as e
                union all
                select 'taal:' || (e ->> 'code') || ':' || level
                  from jsonb_array_elements(competenties) as e,
                       generate_series(1, case when e ->> 'niveau' ~ '^[1-9]$' then (e ->> 'niveau')::integer end) as level
                 where e ->> 'type' = 'talen'
                union all
                select 'regio:' || e
                  from jsonb_array_elements_text(cvsync.elements(job -> 'regios')) as e
                union all
                select 'arbeidsregime:' || e
                  from jsonb_array_elements_text(cvsync.elements(job -> 'arbeidsRegimes')) as e
                union all
                select 'arbeidsstelsel:' || e
                  from jsonb_array_elements_text(cvsync.elements(job -> 'arbeidsStelsels')) as e
                union all
                select 'beroep:' || (e -> 'beroepsprofiel' ->> 'code')
                  from jsonb_array_elements(cvsync.elements(job -> 'functies')) as e
               ) as terms (term)
         where octet_length(term) <= 200
         group by term
         order by term collate "C"
         limit 2000
    );
end
$$;

-- As before, with the first 1,000 codes of each list: labels are longer than codes, and an array has a largest size.
create or replace view cvsync.gewenste_job as
select cv_id,
       regime.codes   as arbeids_regimes,
       regime.labels  as arbeids_regimes_labels,
       stelsel.codes  as arbeids_stelsels,
       stelsel.labels as arbeids_stelsels_labels
  from cvsync.cv
 cross join lateral (select document -> 'gewensteJob' as j offset 0) as part
 cross join lateral (
           select coalesce(array_agg(e.code order by nr), '{}')  as codes,
                  coalesce(array_agg(label order by nr), '{}')   as labels
             from jsonb_array_elements_text(cvsync.elements(j -> 'arbeidsRegimes')) with ordinality as e (code, nr)
             left join cvsync.reference_code as r on r.list = 'arbeidsregimes' and r.code = e.code
            where nr <= 1000) as regime
 cross join lateral (
           select coalesce(array_agg(e.code order by nr), '{}')  as codes,
                  coalesce(array_agg(label order by nr), '{}')   as labels
             from jsonb_array_elements_text(cvsync.elements(j -> 'arbeidsStelsels')) with ordinality as e (code, nr)
             left join cvsync.reference_code as r on r.list = 'arbeidsstelsels' and r.code = e.code
            where nr <= 1000) as stelsel;
