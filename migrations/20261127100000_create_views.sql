-- The documents as relations: views for people and their tools, codes and text to find CVs by, roles that see no more than that.
--
-- Two rules hold in all of it. Nothing here raises an error, whatever a document holds: nobody who reads has to fear one CV. And a column of another type than text stands beside one named `…_tekst` that has the value as
-- VDAB gave it: where that is a masked date ("19xx-09-05") or a number out of range, the typed column is null.

-- VDAB's codes in words.
create table cvsync.reference_code (
    list      text        not null,
    code      text        not null,
    -- Null: it was looked up, and VDAB has no words for it.
    label     text,
    synced_at timestamptz not null default now(),
    primary key (list, code)
);

-- The next five are one expression each, so that PostgreSQL puts them in place where they are used.

create function cvsync.as_int(value text) returns integer
    language sql immutable parallel safe
    return case when value ~ '^-?[0-9]{1,9}$' then value::integer end;

create function cvsync.as_bigint(value text) returns bigint
    language sql immutable parallel safe
    return case when value ~ '^-?[0-9]{1,18}$' then value::bigint end;

create function cvsync.as_boolean(value text) returns boolean
    language sql immutable parallel safe
    return case value when 'true' then true when 'false' then false end;

-- A date, or the date of an instant: 2020-11-01, 2020-11-01T00:00:00Z. Months have no more days than they have.
create function cvsync.as_date(value text) returns date
    language sql immutable parallel safe
    return case
        when value ~ '^(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])($|T)'
         and not value ~ '^....-(02-3|(02|04|06|09|11)-31)'
        then case
            when value !~ '^....-02-29'
              or value ~ '^..(0[48]|[2468][048]|[13579][26])'
              or value ~ '^([02468][048]|[13579][26])00'
            then make_date(substr(value, 1, 4)::integer, substr(value, 6, 2)::integer, substr(value, 9, 2)::integer)
        end
    end;

-- What stands where the API has an array, as an array: VDAB may give one element without its brackets.
create function cvsync.elements(value jsonb) returns jsonb
    language sql immutable parallel safe
    return case jsonb_typeof(value)
        when 'array' then value
        when 'null' then null
        else jsonb_path_query_array(value, '$')
    end;

-- What can be asked of a CV by code, as terms such as `regio:BE231A`; `taal:N:2` says level 2 or better. No personal data.
-- GIN holds no term of more than 2 kB, and no code of VDAB's is nearly as long. In plpgsql for what it keeps: the plan from
-- one statement to the next, and the parts of a document that is unpacked for each look at it. The cost, in the planner's
-- units, is what it takes: no plan should compute it for more rows than it must.
create function cvsync.codes(document jsonb) returns text[]
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
    );
end
$$;

-- What can be asked of a CV in words: titles of jobs, had and wanted, skills and notes on studies; no name, no address.
-- A tsvector holds a megabyte, which so many characters never fill.
create function cvsync.tekst(document jsonb) returns tsvector
    language plpgsql immutable parallel safe cost 5000
    as $$
begin
    return to_tsvector('pg_catalog.dutch'::regconfig, left((
        select string_agg(words, E'\n')
          from (select e ->> 'functieTitel'
                  from jsonb_array_elements(cvsync.elements(document -> 'ervaringen')) as e
                union all
                select e ->> 'info'
                  from jsonb_array_elements(cvsync.elements(document -> 'opleidingen')) as e
                union all
                select e ->> 'naam'
                  from jsonb_array_elements(cvsync.elements(document -> 'competenties')) as e
                union all
                select e ->> 'titel'
                  from jsonb_array_elements(cvsync.elements(document -> 'gewensteJob' -> 'functies')) as e
               ) as texts (words)
    ), 40000));
end
$$;

create index cv_changed on cvsync.cv (changed_at, cv_id);

-- Nobody asks for CVs by these, and ANALYZE would unpack each document that it looks at.
alter table cvsync.cv
    alter column document set statistics 0,
    alter column content_hash set statistics 0;

-- `offset 0` keeps PostgreSQL from unpacking the document anew for each column.

create view cvsync.kandidaat as
select cv_id, status, wijzigings_datum, changed_at, first_seen_at,
       cvsync.codes(document) as codes,
       cvsync.tekst(document) as tekst
  from cvsync.cv;

create view cvsync.persoon as
select cv_id,
       cvsync.as_bigint(ikl_id)                as ikl_id,
       ikl_id                                  as ikl_id_tekst,
       p ->> 'voornaam'                        as voornaam,
       p ->> 'achternaam'                      as achternaam,
       p ->> 'roepnaam'                        as roepnaam,
       p ->> 'geslacht'                        as geslacht,
       p ->> 'nationaliteit'                   as nationaliteit,
       cvsync.as_date(p ->> 'geboortedatum')   as geboortedatum,
       p ->> 'geboortedatum'                   as geboortedatum_tekst,
       p ->> 'email'                           as email,
       p ->> 'gsm'                             as gsm,
       p ->> 'website'                         as website,
       p #>> '{officieelAdres,straat}'         as officieel_adres_straat,
       p #>> '{officieelAdres,huisnummer}'     as officieel_adres_huisnummer,
       p #>> '{officieelAdres,busnummer}'      as officieel_adres_busnummer,
       p #>> '{officieelAdres,postcode}'       as officieel_adres_postcode,
       p #>> '{officieelAdres,gemeente}'       as officieel_adres_gemeente,
       p #>> '{officieelAdres,land}'           as officieel_adres_land,
       p #>> '{contactAdres,straat}'           as contact_adres_straat,
       p #>> '{contactAdres,huisnummer}'       as contact_adres_huisnummer,
       p #>> '{contactAdres,busnummer}'        as contact_adres_busnummer,
       p #>> '{contactAdres,postcode}'         as contact_adres_postcode,
       p #>> '{contactAdres,gemeente}'         as contact_adres_gemeente,
       p #>> '{contactAdres,land}'             as contact_adres_land,
       persoonlijke_interesse
  from cvsync.cv
 cross join lateral (select document -> 'natuurlijkPersoon'      as p,
                            document ->> 'iklId'                 as ikl_id,
                            document -> 'persoonlijkeInteresse'  as persoonlijke_interesse
                     offset 0) as part;

create view cvsync.ervaring as
select cv_id, nr::integer as nr,
       e ->> 'type'                      as type,
       e ->> 'functieTitel'              as functie_titel,
       cvsync.as_date(e ->> 'van')       as van,
       e ->> 'van'                       as van_tekst,
       cvsync.as_date(e ->> 'tot')       as tot,
       e ->> 'tot'                       as tot_tekst,
       e #>> '{werkgever,naam}'          as werkgever_naam
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'ervaringen'))
            with ordinality as element (e, nr)
 where jsonb_typeof(e) = 'object' and e <> '{}';

create view cvsync.opleiding as
select cv_id, nr::integer as nr,
       e ->> 'type'                          as type,
       e ->> 'naam'                          as naam,
       diploma.label                         as label,
       e ->> 'info'                          as info,
       cvsync.as_date(e ->> 'behaaldOp')     as behaald_op,
       e ->> 'behaaldOp'                     as behaald_op_tekst,
       cvsync.as_int(e ->> 'behaaldIn')      as behaald_in,
       e ->> 'behaaldIn'                     as behaald_in_tekst,
       cvsync.as_boolean(e ->> 'diploma')    as diploma,
       e ->> 'diploma'                       as diploma_tekst
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'opleidingen'))
            with ordinality as element (e, nr)
  left join cvsync.reference_code as diploma on diploma.list = 'diplomas' and diploma.code = e ->> 'naam'
 where jsonb_typeof(e) = 'object' and e <> '{}';

create view cvsync.attestering as
select cv_id, nr::integer as nr,
       e ->> 'type'                          as type,
       e ->> 'code'                          as code,
       reference.label                       as label,
       cvsync.as_boolean(e ->> 'eigenWagen') as eigen_wagen,
       e ->> 'eigenWagen'                    as eigen_wagen_tekst
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'attesteringen'))
            with ordinality as element (e, nr)
  left join cvsync.reference_code as reference
         on reference.list = case e ->> 'type' when 'rijbewijs' then 'rijbewijzen' when 'attest' then 'attesten' end
        and reference.code = e ->> 'code'
 where jsonb_typeof(e) = 'object' and e <> '{}';

create view cvsync.competentie as
select cv_id, nr::integer as nr,
       e ->> 'type'                      as type,
       e ->> 'code'                      as code,
       softskill.label                   as label,
       cvsync.as_int(e ->> 'niveau')     as niveau,
       e ->> 'niveau'                    as niveau_tekst,
       cvsync.as_int(e ->> 'score')      as score,
       e ->> 'score'                     as score_tekst,
       e ->> 'naam'                      as naam,
       e ->> 'beschrijving'              as beschrijving
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'competenties'))
            with ordinality as element (e, nr)
  left join cvsync.reference_code as softskill
         on softskill.list = 'softskills' and softskill.code = e ->> 'code' and e ->> 'type' = 'softSkill'
 where jsonb_typeof(e) = 'object' and e <> '{}';

create view cvsync.gewenste_job as
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
             left join cvsync.reference_code as r on r.list = 'arbeidsregimes' and r.code = e.code) as regime
 cross join lateral (
           select coalesce(array_agg(e.code order by nr), '{}')  as codes,
                  coalesce(array_agg(label order by nr), '{}')   as labels
             from jsonb_array_elements_text(cvsync.elements(j -> 'arbeidsStelsels')) with ordinality as e (code, nr)
             left join cvsync.reference_code as r on r.list = 'arbeidsstelsels' and r.code = e.code) as stelsel;

create view cvsync.gewenste_functie as
select cv_id, nr::integer as nr,
       e ->> 'titel'                     as titel,
       cvsync.as_int(e ->> 'ervaring')   as ervaring,
       e ->> 'ervaring'                  as ervaring_tekst,
       e #>> '{beroepsprofiel,code}'     as beroepsprofiel_code
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'gewensteJob' -> 'functies'))
            with ordinality as element (e, nr)
 where jsonb_typeof(e) = 'object' and e <> '{}';

create view cvsync.gewenste_regio as
select cv_id, nr::integer as nr,
       e #>> '{}' as regio
  from cvsync.cv
 cross join lateral jsonb_array_elements(cvsync.elements(document -> 'gewensteJob' -> 'regios'))
            with ordinality as element (e, nr)
 where jsonb_typeof(e) in ('string', 'number', 'boolean');

comment on table cvsync.reference_code is 'VDAB''s codes in words, from the lists of the Referentie API';

comment on view cvsync.kandidaat is 'One row a CV: what to find it by';
comment on column cvsync.kandidaat.cv_id is 'cvId';
comment on column cvsync.kandidaat.status is 'status';
comment on column cvsync.kandidaat.wijzigings_datum is 'wijzigingsDatum; null where it is no date';
comment on column cvsync.kandidaat.changed_at is 'None of VDAB''s: when cvsync last stored other content for this CV';
comment on column cvsync.kandidaat.first_seen_at is 'None of VDAB''s: when cvsync first stored this CV';
comment on column cvsync.kandidaat.codes is
    'All codes of the CV as terms: studie (opleidingen[].naam), rijbewijs, attest (attesteringen[].code), taal, competentie, softskill (competenties[].code; taal:N:2 means competenties[].niveau 2 or more), regio (gewensteJob.regios[]), arbeidsregime (gewensteJob.arbeidsRegimes[]), arbeidsstelsel (gewensteJob.arbeidsStelsels[]), beroep (gewensteJob.functies[].beroepsprofiel.code)';
comment on column cvsync.kandidaat.tekst is
    'Words for full-text search in Dutch: ervaringen[].functieTitel, opleidingen[].info, competenties[].naam, gewensteJob.functies[].titel';

comment on view cvsync.persoon is 'One row a CV: natuurlijkPersoon, who it is about';
comment on column cvsync.persoon.cv_id is 'cvId';
comment on column cvsync.persoon.ikl_id is 'iklId; null where it is no whole number';
comment on column cvsync.persoon.ikl_id_tekst is 'iklId, as given';
comment on column cvsync.persoon.voornaam is 'natuurlijkPersoon.voornaam';
comment on column cvsync.persoon.achternaam is 'natuurlijkPersoon.achternaam';
comment on column cvsync.persoon.roepnaam is 'natuurlijkPersoon.roepnaam';
comment on column cvsync.persoon.geslacht is 'natuurlijkPersoon.geslacht';
comment on column cvsync.persoon.nationaliteit is 'natuurlijkPersoon.nationaliteit';
comment on column cvsync.persoon.geboortedatum is 'natuurlijkPersoon.geboortedatum; null where it is no date, such as 19xx-09-05';
comment on column cvsync.persoon.geboortedatum_tekst is 'natuurlijkPersoon.geboortedatum, as given';
comment on column cvsync.persoon.email is 'natuurlijkPersoon.email';
comment on column cvsync.persoon.gsm is 'natuurlijkPersoon.gsm';
comment on column cvsync.persoon.website is 'natuurlijkPersoon.website';
comment on column cvsync.persoon.officieel_adres_straat is 'natuurlijkPersoon.officieelAdres.straat';
comment on column cvsync.persoon.officieel_adres_huisnummer is 'natuurlijkPersoon.officieelAdres.huisnummer';
comment on column cvsync.persoon.officieel_adres_busnummer is 'natuurlijkPersoon.officieelAdres.busnummer';
comment on column cvsync.persoon.officieel_adres_postcode is 'natuurlijkPersoon.officieelAdres.postcode';
comment on column cvsync.persoon.officieel_adres_gemeente is 'natuurlijkPersoon.officieelAdres.gemeente';
comment on column cvsync.persoon.officieel_adres_land is 'natuurlijkPersoon.officieelAdres.land';
comment on column cvsync.persoon.contact_adres_straat is 'natuurlijkPersoon.contactAdres.straat';
comment on column cvsync.persoon.contact_adres_huisnummer is 'natuurlijkPersoon.contactAdres.huisnummer';
comment on column cvsync.persoon.contact_adres_busnummer is 'natuurlijkPersoon.contactAdres.busnummer';
comment on column cvsync.persoon.contact_adres_postcode is 'natuurlijkPersoon.contactAdres.postcode';
comment on column cvsync.persoon.contact_adres_gemeente is 'natuurlijkPersoon.contactAdres.gemeente';
comment on column cvsync.persoon.contact_adres_land is 'natuurlijkPersoon.contactAdres.land';
comment on column cvsync.persoon.persoonlijke_interesse is 'persoonlijkeInteresse, as JSON: its fields are not published';

comment on view cvsync.ervaring is 'One row an element of ervaringen: a job that the candidate had';
comment on column cvsync.ervaring.cv_id is 'cvId';
comment on column cvsync.ervaring.nr is 'Its place in ervaringen, from 1';
comment on column cvsync.ervaring.type is 'ervaringen[].type';
comment on column cvsync.ervaring.functie_titel is 'ervaringen[].functieTitel';
comment on column cvsync.ervaring.van is 'ervaringen[].van; null where it is no date';
comment on column cvsync.ervaring.van_tekst is 'ervaringen[].van, as given';
comment on column cvsync.ervaring.tot is 'ervaringen[].tot; null where it is no date';
comment on column cvsync.ervaring.tot_tekst is 'ervaringen[].tot, as given; null while it lasts';
comment on column cvsync.ervaring.werkgever_naam is 'ervaringen[].werkgever.naam';

comment on view cvsync.opleiding is 'One row an element of opleidingen: a study';
comment on column cvsync.opleiding.cv_id is 'cvId';
comment on column cvsync.opleiding.nr is 'Its place in opleidingen, from 1';
comment on column cvsync.opleiding.type is 'opleidingen[].type';
comment on column cvsync.opleiding.naam is 'opleidingen[].naam, a code of Diploma''s';
comment on column cvsync.opleiding.label is 'opleidingen[].naam in words, where reference_code has it';
comment on column cvsync.opleiding.info is 'opleidingen[].info';
comment on column cvsync.opleiding.behaald_op is 'opleidingen[].behaaldOp; null where it is no date';
comment on column cvsync.opleiding.behaald_op_tekst is 'opleidingen[].behaaldOp, as given';
comment on column cvsync.opleiding.behaald_in is 'opleidingen[].behaaldIn, a year; null where it is no whole number';
comment on column cvsync.opleiding.behaald_in_tekst is 'opleidingen[].behaaldIn, as given';
comment on column cvsync.opleiding.diploma is 'opleidingen[].diploma; null where it is neither true nor false';
comment on column cvsync.opleiding.diploma_tekst is 'opleidingen[].diploma, as given';

comment on view cvsync.attestering is 'One row an element of attesteringen: a driving licence or a certificate';
comment on column cvsync.attestering.cv_id is 'cvId';
comment on column cvsync.attestering.nr is 'Its place in attesteringen, from 1';
comment on column cvsync.attestering.type is 'attesteringen[].type: rijbewijs, attest';
comment on column cvsync.attestering.code is 'attesteringen[].code';
comment on column cvsync.attestering.label is 'attesteringen[].code in words, where reference_code has it';
comment on column cvsync.attestering.eigen_wagen is 'attesteringen[].eigenWagen; null where it is neither true nor false';
comment on column cvsync.attestering.eigen_wagen_tekst is 'attesteringen[].eigenWagen, as given';

comment on view cvsync.competentie is 'One row an element of competenties: a language, a skill by code or a skill in the candidate''s own words';
comment on column cvsync.competentie.cv_id is 'cvId';
comment on column cvsync.competentie.nr is 'Its place in competenties, from 1';
comment on column cvsync.competentie.type is 'competenties[].type: talen, technischeCompetentie, softSkill, vrijeCompetentie';
comment on column cvsync.competentie.code is 'competenties[].code';
comment on column cvsync.competentie.label is 'competenties[].code of a softSkill in words, where reference_code has it';
comment on column cvsync.competentie.niveau is 'competenties[].niveau, of talen; null where it is no whole number';
comment on column cvsync.competentie.niveau_tekst is 'competenties[].niveau, as given';
comment on column cvsync.competentie.score is 'competenties[].score, of technischeCompetentie; null where it is no whole number';
comment on column cvsync.competentie.score_tekst is 'competenties[].score, as given';
comment on column cvsync.competentie.naam is 'competenties[].naam, of vrijeCompetentie';
comment on column cvsync.competentie.beschrijving is 'competenties[].beschrijving, of vrijeCompetentie';

comment on view cvsync.gewenste_job is 'One row a CV: how the candidate wants to work, from gewensteJob';
comment on column cvsync.gewenste_job.cv_id is 'cvId';
comment on column cvsync.gewenste_job.arbeids_regimes is 'gewensteJob.arbeidsRegimes[]';
comment on column cvsync.gewenste_job.arbeids_regimes_labels is 'gewensteJob.arbeidsRegimes[] in words; null where reference_code has none';
comment on column cvsync.gewenste_job.arbeids_stelsels is 'gewensteJob.arbeidsStelsels[]';
comment on column cvsync.gewenste_job.arbeids_stelsels_labels is 'gewensteJob.arbeidsStelsels[] in words; null where reference_code has none';

comment on view cvsync.gewenste_functie is 'One row an element of gewensteJob.functies: a job that the candidate wants';
comment on column cvsync.gewenste_functie.cv_id is 'cvId';
comment on column cvsync.gewenste_functie.nr is 'Its place in gewensteJob.functies, from 1';
comment on column cvsync.gewenste_functie.titel is 'gewensteJob.functies[].titel';
comment on column cvsync.gewenste_functie.ervaring is 'gewensteJob.functies[].ervaring; null where it is no whole number';
comment on column cvsync.gewenste_functie.ervaring_tekst is 'gewensteJob.functies[].ervaring, as given';
comment on column cvsync.gewenste_functie.beroepsprofiel_code is 'gewensteJob.functies[].beroepsprofiel.code';

comment on view cvsync.gewenste_regio is 'One row an element of gewensteJob.regios: where the candidate wants to work';
comment on column cvsync.gewenste_regio.cv_id is 'cvId';
comment on column cvsync.gewenste_regio.nr is 'Its place in gewensteJob.regios, from 1';
comment on column cvsync.gewenste_regio.regio is 'gewensteJob.regios[]';

-- Gives the two roles of readers what they may see, and no more. Roles belong to the whole server: where the migration may
-- not create them, an administrator creates them and calls this. It may be called at any time, and again.
--
-- cvsync_reader sees the views. cvsync_analyst sees neither `persoon` nor any column that candidates fill in their own words.
create function cvsync.grant_readers() returns void
    language plpgsql
    as $$
declare
    name text;
begin
    -- Two at once would meet in the catalog.
    perform pg_advisory_xact_lock(hashtext('cvsync.migrate'));
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
        execute format('grant select on cvsync.attestering, cvsync.gewenste_job, cvsync.gewenste_functie, cvsync.gewenste_regio to %I', name);
    end loop;
    if to_regrole('cvsync_reader') is not null then
        grant select on cvsync.kandidaat, cvsync.persoon, cvsync.ervaring, cvsync.opleiding, cvsync.competentie
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
    end if;
end
$$;

select cvsync.grant_readers();
