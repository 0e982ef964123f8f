-- What CVs are found by. Computing it takes PostgreSQL several times as long as storing a document, so no sync waits for it: cvsync
-- reads its own change feed and follows, as the consumer `search` (feed_consumer).

-- Nothing changes between what is taken up here and where the consumer begins.
select pg_advisory_xact_lock(hashtext('cvsync.cv_change'));

create table cvsync.cv_search (
    -- A CV that goes takes this with it, in the same transaction.
    cv_id uuid     primary key references cvsync.cv on delete cascade,
    codes text[]   not null,
    tekst tsvector not null
);

comment on table cvsync.cv_search is 'What CVs are found by: codes and text of the documents, taken up from the change feed';

-- Locks the CVs against removal only, which every sync but that one ignores.
create function cvsync.make_searchable(ids uuid[]) returns void
    language sql
    as $$
    insert into cvsync.cv_search (cv_id, codes, tekst)
    select cv_id, cvsync.codes(document), cvsync.tekst(document)
      from (select cv_id, document
              from cvsync.cv
             where cv_id = any(ids)
             order by cv_id
               for key share) as live
    on conflict (cv_id) do update
       set codes = excluded.codes,
           tekst = excluded.tekst
$$;

select cvsync.make_searchable(array(select cv_id from cvsync.cv));

create index cv_search_codes on cvsync.cv_search using gin (codes);
create index cv_search_tekst on cvsync.cv_search using gin (tekst);

insert into cvsync.feed_consumer (name, seq)
select 'search', greatest((select max(seq) from cvsync.cv_change), (select removed_seq from cvsync.feed));

-- A subscriber of cvsync_cv gets it with the CVs: where changes are applied, no foreign key deletes anything.
do $$
begin
    alter publication cvsync_cv add table cvsync.cv_search;
exception
    when insufficient_privilege or undefined_object or duplicate_object then
        raise notice 'cv_search was not added to the publication cvsync_cv: %', sqlerrm;
end
$$;

-- The same columns; a CV that is not taken up yet has no codes.
create or replace view cvsync.kandidaat as
select cv_id, status, wijzigings_datum, changed_at, first_seen_at, codes, tekst
  from cvsync.cv
  left join cvsync.cv_search using (cv_id);
