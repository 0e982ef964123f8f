-- A version of cvsync that is older than the schema may run if its newest migration is `oldest` or later; see migrations/README.md.
create table cvsync.compatibility (
    one    boolean primary key default true check (one),
    oldest bigint  not null
);

insert into cvsync.compatibility (oldest) values (20261130210100);

comment on table cvsync.compatibility is 'One row: which versions of cvsync may use this schema';
comment on column cvsync.compatibility.oldest is
    'Newest migration of the oldest version that may use this schema. Older versions refuse to start';
comment on column cvsync.compatibility.one is 'Always true: the table has one row';
