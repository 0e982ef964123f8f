-- Labels for technical skills (list competenties) and occupational profiles (list sjablonen).
create or replace view cvsync.competentie as
select cv_id, nr::integer as nr,
       cvsync.code(e -> 'type')          as type,
       cvsync.code(e -> 'code')          as code,
       reference.label                   as label,
       cvsync.as_int(e ->> 'niveau')     as niveau,
       cvsync.plain(e -> 'niveau')       as niveau_tekst,
       cvsync.as_int(e ->> 'score')      as score,
       cvsync.plain(e -> 'score')        as score_tekst,
       e ->> 'naam'                      as naam,
       e ->> 'beschrijving'              as beschrijving
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'competenties'))
            with ordinality as element (e, nr)
  left join cvsync.reference_code as reference
         on reference.list = case e ->> 'type' when 'softSkill' then 'softskills' when 'technischeCompetentie' then 'competenties' end
        and reference.code = e ->> 'code'
 where jsonb_typeof(e) = 'object' and e <> '{}';

create or replace view cvsync.gewenste_functie as
select cv_id, nr::integer as nr,
       e ->> 'titel'                     as titel,
       cvsync.as_int(e ->> 'ervaring')   as ervaring,
       cvsync.plain(e -> 'ervaring')     as ervaring_tekst,
       cvsync.code(e -> 'beroepsprofiel' -> 'code') as beroepsprofiel_code,
       profile.label                     as label
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'gewensteJob' -> 'functies'))
            with ordinality as element (e, nr)
  left join cvsync.reference_code as profile
         on profile.list = 'sjablonen' and profile.code = e #>> '{beroepsprofiel,code}'
 where jsonb_typeof(e) = 'object' and e <> '{}';

comment on column cvsync.competentie.label is
    'Label of the code of a softSkill or technischeCompetentie; null for other types, and if reference_code has none';
comment on column cvsync.gewenste_functie.label is 'Label of beroepsprofiel_code; null if reference_code has none';

-- The label of a code is not free text, so analysts see it. The function stays as it is but for this column.
do $$
begin
    execute replace(pg_get_functiondef('cvsync.grant_readers()'::regprocedure),
                    'ervaring_tekst, beroepsprofiel_code)', 'ervaring_tekst, beroepsprofiel_code, label)');
end
$$;

select cvsync.grant_readers();
