-- A code is a word or number of VDAB's lists: short and without spaces. Anything else in the place of a code may be about a person.
-- So it is neither in `codes` nor in a column that cvsync_analyst sees.
--
-- Reads cv_search once, for some seconds per million CVs, and writes the rows that hold anything else.

create function cvsync.code(value jsonb) returns text
    language sql immutable parallel safe
    return case
        when jsonb_typeof(value) in ('string', 'number') and value #>> '{}' ~ '^[A-Za-z0-9][A-Za-z0-9._+/-]{0,39}$'
        then value #>> '{}'
    end;

comment on function cvsync.code(jsonb) is
    'The value if it has the form of a code, otherwise null: a number, or text of at most 40 letters, digits and ._+/-';

create function cvsync.plain(value jsonb) returns text
    language sql immutable parallel safe
    return case when jsonb_typeof(value) in ('string', 'number', 'boolean') then value #>> '{}' end;

comment on function cvsync.plain(jsonb) is 'The value as text; null for an object or an array';

-- As before, with codes alone.
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
          from (select 'studie:' || cvsync.code(e -> 'naam')
                  from jsonb_array_elements(opleidingen) as e
                union all
                select case e ->> 'type'
                           when 'rijbewijs' then 'rijbewijs:' || cvsync.code(e -> 'code')
                           when 'attest' then 'attest:' || cvsync.code(e -> 'code')
                       end
                  from jsonb_array_elements(attesteringen) as e
                union all
                select case e ->> 'type'
                           when 'technischeCompetentie' then 'competentie:' || cvsync.code(e -> 'code')
                           when 'softSkill' then 'softskill:' || cvsync.code(e -> 'code')
                           when 'talen' then 'taal:' || cvsync.code(e -> 'code')
                       end
                  from jsonb_array_elements(competenties) as e
                union all
                select 'taal:' || cvsync.code(e -> 'code') || ':' || level
                  from jsonb_array_elements(competenties) as e,
                       generate_series(1, case when e ->> 'niveau' ~ '^[1-9]$' then (e ->> 'niveau')::integer end) as level
                 where e ->> 'type' = 'talen'
                union all
                select 'regio:' || cvsync.code(e)
                  from jsonb_array_elements(cvsync.elements(job -> 'regios')) as e
                union all
                select 'arbeidsregime:' || cvsync.code(e)
                  from jsonb_array_elements(cvsync.elements(job -> 'arbeidsRegimes')) as e
                union all
                select 'arbeidsstelsel:' || cvsync.code(e)
                  from jsonb_array_elements(cvsync.elements(job -> 'arbeidsStelsels')) as e
                union all
                select 'beroep:' || cvsync.code(e -> 'beroepsprofiel' -> 'code')
                  from jsonb_array_elements(cvsync.elements(job -> 'functies')) as e
               ) as terms (term)
         where term is not null
         group by term
         order by term collate "C"
         limit 2000
    );
end
$$;

update cvsync.cv_search
   set codes = array(
           select term
             from unnest(codes) as term
            where term ~ '^[a-z]+:[A-Za-z0-9][A-Za-z0-9._+/-]{0,39}(:[1-9])?$')
 where exists (
           select
             from unnest(codes) as term
            where term !~ '^[a-z]+:[A-Za-z0-9][A-Za-z0-9._+/-]{0,39}(:[1-9])?$');

create or replace view cvsync.ervaring as
select cv_id, nr::integer as nr,
       cvsync.code(e -> 'type')          as type,
       e ->> 'functieTitel'              as functie_titel,
       cvsync.as_date(e ->> 'van')       as van,
       cvsync.plain(e -> 'van')          as van_tekst,
       cvsync.as_date(e ->> 'tot')       as tot,
       cvsync.plain(e -> 'tot')          as tot_tekst,
       e #>> '{werkgever,naam}'          as werkgever_naam
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'ervaringen'))
            with ordinality as element (e, nr)
 where jsonb_typeof(e) = 'object' and e <> '{}';

create or replace view cvsync.opleiding as
select cv_id, nr::integer as nr,
       cvsync.code(e -> 'type')              as type,
       cvsync.code(e -> 'naam')              as naam,
       diploma.label                         as label,
       e ->> 'info'                          as info,
       cvsync.as_date(e ->> 'behaaldOp')     as behaald_op,
       cvsync.plain(e -> 'behaaldOp')        as behaald_op_tekst,
       cvsync.as_int(e ->> 'behaaldIn')      as behaald_in,
       cvsync.plain(e -> 'behaaldIn')        as behaald_in_tekst,
       cvsync.as_boolean(e ->> 'diploma')    as diploma,
       cvsync.plain(e -> 'diploma')          as diploma_tekst
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'opleidingen'))
            with ordinality as element (e, nr)
  left join cvsync.reference_code as diploma on diploma.list = 'diplomas' and diploma.code = e ->> 'naam'
 where jsonb_typeof(e) = 'object' and e <> '{}';

create or replace view cvsync.attestering as
select cv_id, nr::integer as nr,
       cvsync.code(e -> 'type')              as type,
       cvsync.code(e -> 'code')              as code,
       reference.label                       as label,
       cvsync.as_boolean(e ->> 'eigenWagen') as eigen_wagen,
       cvsync.plain(e -> 'eigenWagen')       as eigen_wagen_tekst
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'attesteringen'))
            with ordinality as element (e, nr)
  left join cvsync.reference_code as reference
         on reference.list = case e ->> 'type' when 'rijbewijs' then 'rijbewijzen' when 'attest' then 'attesten' end
        and reference.code = e ->> 'code'
 where jsonb_typeof(e) = 'object' and e <> '{}';

create or replace view cvsync.competentie as
select cv_id, nr::integer as nr,
       cvsync.code(e -> 'type')          as type,
       cvsync.code(e -> 'code')          as code,
       softskill.label                   as label,
       cvsync.as_int(e ->> 'niveau')     as niveau,
       cvsync.plain(e -> 'niveau')       as niveau_tekst,
       cvsync.as_int(e ->> 'score')      as score,
       cvsync.plain(e -> 'score')        as score_tekst,
       e ->> 'naam'                      as naam,
       e ->> 'beschrijving'              as beschrijving
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'competenties'))
            with ordinality as element (e, nr)
  left join cvsync.reference_code as softskill
         on softskill.list = 'softskills' and softskill.code = e ->> 'code' and e ->> 'type' = 'softSkill'
 where jsonb_typeof(e) = 'object' and e <> '{}';

create or replace view cvsync.gewenste_job as
select cv_id,
       regime.codes   as arbeids_regimes,
       regime.labels  as arbeids_regimes_labels,
       stelsel.codes  as arbeids_stelsels,
       stelsel.labels as arbeids_stelsels_labels
  from cvsync.cv
 cross join lateral (select document -> 'gewensteJob' as j offset 0) as part
 cross join lateral (
           select coalesce(array_agg(cvsync.code(e.value) order by nr), '{}')  as codes,
                  coalesce(array_agg(label order by nr), '{}')                 as labels
             from jsonb_array_elements(cvsync.elements(j -> 'arbeidsRegimes')) with ordinality as e (value, nr)
             left join cvsync.reference_code as r on r.list = 'arbeidsregimes' and r.code = cvsync.code(e.value)
            where nr <= 1000
              and cvsync.code(e.value) is not null) as regime
 cross join lateral (
           select coalesce(array_agg(cvsync.code(e.value) order by nr), '{}')  as codes,
                  coalesce(array_agg(label order by nr), '{}')                 as labels
             from jsonb_array_elements(cvsync.elements(j -> 'arbeidsStelsels')) with ordinality as e (value, nr)
             left join cvsync.reference_code as r on r.list = 'arbeidsstelsels' and r.code = cvsync.code(e.value)
            where nr <= 1000
              and cvsync.code(e.value) is not null) as stelsel;

create or replace view cvsync.gewenste_functie as
select cv_id, nr::integer as nr,
       e ->> 'titel'                                    as titel,
       cvsync.as_int(e ->> 'ervaring')                  as ervaring,
       cvsync.plain(e -> 'ervaring')                    as ervaring_tekst,
       cvsync.code(e -> 'beroepsprofiel' -> 'code')     as beroepsprofiel_code
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'gewensteJob' -> 'functies'))
            with ordinality as element (e, nr)
 where jsonb_typeof(e) = 'object' and e <> '{}';

create or replace view cvsync.gewenste_regio as
select cv_id, nr::integer as nr,
       cvsync.code(e) as regio
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'gewensteJob' -> 'regios'))
            with ordinality as element (e, nr)
 where cvsync.code(e) is not null;
