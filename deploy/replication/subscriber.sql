-- At the other PostgreSQL, as a superuser (from 16 on, a member of pg_create_subscription will do): the tables, and the
-- subscription that fills them and keeps them in step. PUBLISHER_CONNINFO says where this server reaches cvsync's database.
--
-- For the views over the document as well, run `cvsync migrate` here first, while there are no CVs yet, and of the version that
-- runs there: it makes these tables with all that belongs to them, and what stands below then leaves them as they are.
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

-- What CVs are found by. Where changes are applied no foreign key deletes anything: its deletes come with those of cv.
create table if not exists cvsync.cv_search (
    cv_id uuid     primary key,
    codes text[]   not null,
    tekst tsvector not null
);

-- What cvsync removes here in the course of time stays there: remove it yourself when you have read it.
create table if not exists cvsync.cv_change (
    seq   bigint      primary key,
    cv_id uuid        not null,
    kind  text        not null,
    at    timestamptz not null
);

-- One subscription to both, so that a change and its row in the feed come in one transaction.
select format(
           'create subscription cvsync connection %L publication cvsync_cv, cvsync_feed',
           :'conninfo' || ' user=cvsync_replication password='''
               || replace(replace(:'password', '\', '\\'), '''', '\''') || '''')
 where not exists (
           select from pg_subscription
            where subname = 'cvsync'
              and subdbid = (select oid from pg_database where datname = current_database()))
\gexec
