-- A CV without any words has an empty text, not a null one.
--
-- This file has an older version than files that are already released. The next migration fills cv_search, and it failed on
-- a table that holds such a CV, so a database can still wait in front of it. Released files must not change, because the
-- migrator compares their checksums. Databases that are past this version apply this file as well: it only replaces a function.
--
-- PostgreSQL's parser takes seconds for some texts, such as a line of 40,000 underscores. Its time grows with the square of
-- what stands between two spaces, and with the square of the number of comments in HTML.
create or replace function cvsync.tekst(document jsonb) returns tsvector
    language plpgsql immutable parallel safe cost 5000
    as $$
declare
    tekst text;
begin
    select string_agg(words, E'\n')
      into tekst
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
           ) as texts (words);
    tekst := replace(left(coalesce(tekst, ''), 40000), '<!', ' ');
    return to_tsvector('pg_catalog.dutch'::regconfig, regexp_replace(tekst, '(\S{100})', '\1 ', 'g'));
end
$$;
