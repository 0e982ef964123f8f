-- Run this at the other PostgreSQL, as a superuser. From PostgreSQL 16 on, a member of pg_create_subscription is enough. It creates
-- the tables, and the subscription that fills them and keeps them in step. PUBLISHER_CONNINFO is the address of cvsync's database,
-- as seen from this server.
--
-- To get the views too, first run `cvsync migrate` here, before there are any CVs, in the version that the daemon has. It creates
-- these tables completely, and the statements below do not change them.
\set ON_ERROR_STOP on
\set conninfo `printf %s "$PUBLISHER_CONNINFO"`
\set password `printf %s "$CVSYNC_REPLICATION_PASSWORD"`

create schema if not exists cvsync;

create table if not exists cvsync.cv (
    cv_id            uuid        primary key,
    status           text,
    wijzigings_datum date,
    document         jsonb       not null,
    content_hash     bytea       not null,
    first_seen_at    timestamptz not null,
    changed_at       timestamptz not null
);

create table if not exists cvsync.reference_code (
    list      text        not null,
    code      text        not null,
    label     text,
    synced_at timestamptz not null,
    primary key (list, code)
);

-- The codes and words for search. Replication does not fire foreign keys: deletes arrive here like the deletes of cv.
create table if not exists cvsync.cv_search (
    cv_id uuid     primary key,
    codes text[]   not null,
    tekst tsvector not null
);

-- Rows that cvsync removes at its own database after a while stay here. Remove them yourself once you have read them.
create table if not exists cvsync.cv_change (
    seq   bigint      primary key,
    cv_id uuid        not null,
    kind  text        not null,
    at    timestamptz not null
);

-- One subscription to both publications, so that a change and its row in the feed arrive in one transaction.
select format(
           'create subscription cvsync connection %L publication cvsync_cv, cvsync_feed',
           :'conninfo' || ' user=cvsync_replication password='''
               || replace(replace(:'password', '\', '\\'), '''', '\''') || '''')
 where not exists (
           select from pg_subscription
            where subname = 'cvsync'
              and subdbid = (select oid from pg_database where datname = current_database()))
\gexec
