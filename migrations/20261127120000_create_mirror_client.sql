-- Who may ask the mirror, beside the admin token.
create table cvsync.mirror_client (
    name         text        primary key check (length(name) between 1 and 100),
    -- SHA-256 of the key. The key is 256 random bits, which nobody can try out: no salt and no slow hash are needed.
    key_hash     bytea       not null unique check (length(key_hash) = 32),
    created_at   timestamptz not null default now(),
    -- To the minute.
    last_used_at timestamptz,
    revoked_at   timestamptz
);

-- What somebody types, as the index can answer it without a look at a document: words within quotation marks have to be
-- there, and how near they stand is a matter of rank. Nothing where no word has to be there: the index would be read whole.
create function cvsync.words(zoekterm text) returns tsquery
    language sql immutable parallel safe
    return case
        when querytree(websearch_to_tsquery('pg_catalog.dutch'::regconfig, zoekterm)) in ('', 'T') then ''::tsquery
        else regexp_replace(websearch_to_tsquery('pg_catalog.dutch'::regconfig, zoekterm)::text, '<(-|[0-9]+)>', '&', 'g')::tsquery
    end;
