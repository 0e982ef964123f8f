-- Where the window began that a CV was listed in: what we hold is older than its latest change if we asked before that.
alter table cvsync.reconcile_listed add column van timestamptz;

-- Listed behind the watermark: the next sync brings it, so that it is not here yet is no difference.
alter table cvsync.reconcile_listed add column pending boolean not null default false;

alter table cvsync.reconcile_run add column stale bigint not null default 0;
