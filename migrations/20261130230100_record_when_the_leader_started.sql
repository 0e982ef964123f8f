-- An instance that started earlier than the latest leader does not lead with other settings.
alter table cvsync.leader_setting
    add column started_at timestamptz,
    add column shapes     boolean not null default false;

comment on column cvsync.leader_setting.started_at is 'When the process of the leader started, by the database''s clock; null if an older version recorded the setting';
comment on column cvsync.leader_setting.shapes is 'True if writers with different values would store different data';
