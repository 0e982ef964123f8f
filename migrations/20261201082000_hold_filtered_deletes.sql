-- A delete that is held because its CV does not match CVSYNC_KEEP is released when CVSYNC_KEEP changes.
alter table cvsync.held_delete add column filtered boolean not null default false;

comment on column cvsync.held_delete.filtered is
    'Whether VDAB has the CV, and it is to be deleted because it does not match CVSYNC_KEEP; otherwise it is gone at VDAB';
