-- `\d+` in psql explains each table, view and column. A comment such as 'natuurlijkPersoon.email' is the path in VDAB's document.

comment on table cvsync.migration is 'Migrations that were applied to this database';

comment on table cvsync.cv is 'One row per CV at VDAB, with its document; a CV that is removed at VDAB is deleted here';
comment on column cvsync.cv.cv_id is 'cvId';
comment on column cvsync.cv.status is 'status; null if the document has none';
comment on column cvsync.cv.wijzigings_datum is 'wijzigingsDatum; null if it is missing or not a date';
comment on column cvsync.cv.document is 'The document as received from VDAB, without the parts that CVSYNC_DOCUMENT_EXCLUDE names';
comment on column cvsync.cv.content_hash is 'SHA-256 of the document in canonical form; equal content has an equal hash';
comment on column cvsync.cv.first_seen_at is 'When cvsync inserted this CV';
comment on column cvsync.cv.changed_at is 'When cvsync last wrote new content for this CV';

comment on table cvsync.cv_seen is 'One row per CV: how recent the stored state is. Rows of deleted CVs are tombstones';
comment on column cvsync.cv_seen.cv_id is 'cvId';
comment on column cvsync.cv_seen.as_of is 'The stored document, or its absence, is the state at VDAB at this time by VDAB''s clock';
comment on column cvsync.cv_seen.gone is 'True for a tombstone: VDAB had no such CV at as_of';

comment on table cvsync.cv_change is 'The change feed: one row per insert, update or delete of a CV, in commit order';
comment on column cvsync.cv_change.seq is 'Position of the change; increases in commit order and has gaps';
comment on column cvsync.cv_change.cv_id is 'The CV that changed';
comment on column cvsync.cv_change.kind is 'upsert: the CV was inserted or updated; delete: the CV was deleted';
comment on column cvsync.cv_change.at is 'When the change was written, by the database''s clock; increases with seq';

comment on table cvsync.feed_consumer is 'One row per reader of the change feed. Changes that a consumer has not processed are kept for it';
comment on column cvsync.feed_consumer.name is 'Name of the consumer: 1 to 40 lower-case letters, digits, - and _';
comment on column cvsync.feed_consumer.seq is 'Position of the last change that the consumer has processed';
comment on column cvsync.feed_consumer.updated_at is 'When the row was last written';

comment on table cvsync.feed is 'One row: the start of the change feed';
comment on column cvsync.feed.one is 'Always true: the table has one row';
comment on column cvsync.feed.removed_seq is 'Changes up to this seq were removed. A consumer with a lower position missed changes and must read the table cv again';

comment on table cvsync.watermark is 'One row per stream: the sync position';
comment on column cvsync.watermark.stream is 'kandidaten: the stream of CVs';
comment on column cvsync.watermark.position is 'Every change before this time, by VDAB''s clock, is applied, held or parked';
comment on column cvsync.watermark.updated_at is 'When the position last moved';

comment on table cvsync.watermark_rewind is 'One row per time that cvsync rewind moved a watermark back';
comment on column cvsync.watermark_rewind.at is 'When the watermark was moved back';
comment on column cvsync.watermark_rewind.stream is 'As in watermark';
comment on column cvsync.watermark_rewind.from_position is 'Position before';
comment on column cvsync.watermark_rewind.to_position is 'Position after, always earlier';

comment on table cvsync.sync_window is 'One row per window that was listed: its span by VDAB''s clock, and the counts of its CVs';
comment on column cvsync.sync_window.id is 'Number of the window, in the order of listing';
comment on column cvsync.sync_window.van is 'Start of the window, inclusive';
comment on column cvsync.sync_window.tot is 'End of the window, exclusive';
comment on column cvsync.sync_window.fresh is 'False if the window was listed again behind the watermark, to catch late changes';
comment on column cvsync.sync_window.state is 'open: being listed; settled: each listed CV is in one of the counts; abandoned: not finished, its span is listed again';
comment on column cvsync.sync_window.listed is 'CVs that VDAB listed; 0 until the window is settled, as all counts';
comment on column cvsync.sync_window.upserted is 'CVs that were inserted or updated';
comment on column cvsync.sync_window.unchanged is 'CVs that were fetched with the stored content, or that are gone and were not stored';
comment on column cvsync.sync_window.deleted is 'CVs that were deleted';
comment on column cvsync.sync_window.held is 'CVs whose delete is held, until you decide or VDAB proves it';
comment on column cvsync.sync_window.parked is 'CVs that could not be fetched or stored and are retried later';
comment on column cvsync.sync_window.skipped is 'CVs that needed no call, because their current state was already stored or their id was listed twice';
comment on column cvsync.sync_window.superseded is 'CVs of which a newer response was already stored, or in the same batch';
comment on column cvsync.sync_window.started_at is 'When the listing started';
comment on column cvsync.sync_window.finished_at is 'When the window was settled or abandoned; null while it is open';

comment on table cvsync.parked_cv is 'CVs that could not be fetched or stored. cvsync retries them, at least once a day. Holds no personal data';
comment on column cvsync.parked_cv.cv_id is 'The id as VDAB listed it, at most 64 printable ASCII characters; not always a UUID';
comment on column cvsync.parked_cv.error_class is 'Kind of the latest error';
comment on column cvsync.parked_cv.as_of is 'Time of the failed request by VDAB''s clock. Only a success at this time or later removes the row';
comment on column cvsync.parked_cv.attempts is 'Number of failures until now';
comment on column cvsync.parked_cv.first_failed_at is 'When the CV was parked';
comment on column cvsync.parked_cv.next_attempt_at is 'When it is retried';

comment on table cvsync.held_delete is 'Deletes that wait, for your decision or for proof from VDAB. The CVs are still in the table cv';
comment on column cvsync.held_delete.cv_id is 'The CV';
comment on column cvsync.held_delete.as_of is 'When VDAB said that the CV is gone, by VDAB''s clock';
comment on column cvsync.held_delete.held_at is 'When the delete was first held';
comment on column cvsync.held_delete.approved_at is 'When you approved the delete; cvsync applies it once VDAB confirms it. Null if you have not';
comment on column cvsync.held_delete.next_attempt_at is 'When cvsync asks VDAB again, because the first response was not proof. Null if the delete waits for your decision';

comment on table cvsync.approved_delete is 'Approved deletes of the last days, one row per transaction. The delete brake does not count them';
comment on column cvsync.approved_delete.id is 'Number of the row';
comment on column cvsync.approved_delete.at is 'When the deletes were applied; equals cv_change.at';
comment on column cvsync.approved_delete.deletes is 'Number of deletes';

comment on table cvsync.job_success is 'One row per job: when it last succeeded';
comment on column cvsync.job_success.job is 'Name of the job, such as sync, reconcile or relist';
comment on column cvsync.job_success.at is 'When it last succeeded. For deletes_approved: when you last approved deletes';

comment on table cvsync.lease is 'One row: the instance that leads';
comment on column cvsync.lease.name is 'sync: the only lease';
comment on column cvsync.lease.holder is 'Name of the instance that leads, or led last';
comment on column cvsync.lease.epoch is 'Increases with each change of the leader; fences off the earlier ones';
comment on column cvsync.lease.expires_at is 'Until when the lease holds; the leader renews it. In the past if no instance leads';

comment on table cvsync.instance is 'One row per instance of cvsync that was seen within the last day';
comment on column cvsync.instance.name is 'Name of the instance';
comment on column cvsync.instance.version is 'Version of cvsync that it runs';
comment on column cvsync.instance.started_at is 'When it started';
comment on column cvsync.instance.seen_at is 'When it last wrote this row; renewed several times a minute';
comment on column cvsync.instance.memory is 'Facts that only this process knows, such as the run under way and its errors; cvsync status reads them';

comment on table cvsync.leader_setting is 'Settings of the leader that shape the stored data. Commands beside the daemon use them too. Holds no secrets';
comment on column cvsync.leader_setting.name is 'Name of the environment variable';
comment on column cvsync.leader_setting.value is 'Its value in canonical form; null if it is not set and has no default';
comment on column cvsync.leader_setting.origin is 'environment, default or unset';
comment on column cvsync.leader_setting.recorded_at is 'When the leader recorded it';

comment on table cvsync.pause is 'One row while syncing is paused on all instances, otherwise empty';
comment on column cvsync.pause.only_row is 'Always true: the table has at most one row';
comment on column cvsync.pause.reason is 'Why, as given by the person who paused';
comment on column cvsync.pause.since is 'When the pause started';
comment on column cvsync.pause.until is 'When it ends by itself; null if it lasts until you run cvsync resume';
comment on column cvsync.pause.begun_by is 'How the pause was started, such as: over HTTP; null if unknown';

comment on table cvsync.run_request is 'Runs requested over HTTP. The leader makes them and keeps the rows for 30 days';
comment on column cvsync.run_request.id is 'Number of the request';
comment on column cvsync.run_request.what is 'sync: a sync; resync: fetch the CVs in ids; approve: apply the approved deletes';
comment on column cvsync.run_request.ids is 'The CVs to fetch; empty unless what is resync';
comment on column cvsync.run_request.requested_at is 'When it was requested';
comment on column cvsync.run_request.taken_at is 'When a leader last started it; null if none has';
comment on column cvsync.run_request.done_at is 'When it finished; null before that';
comment on column cvsync.run_request.failed is 'True if it finished with an error';

comment on table cvsync.relisted is 'One row per stream: how far windows were listed a second time';
comment on column cvsync.relisted.stream is 'As in watermark';
comment on column cvsync.relisted.position is 'End of the last second listing by VDAB''s clock; the next one starts here';

comment on table cvsync.reconcile_run is 'One row per comparison of all CVs at VDAB with the table cv';
comment on column cvsync.reconcile_run.id is 'Number of the comparison';
comment on column cvsync.reconcile_run.started_at is 'When it started';
comment on column cvsync.reconcile_run.finished_at is 'When it finished';
comment on column cvsync.reconcile_run.listed is 'CVs that VDAB listed';
comment on column cvsync.reconcile_run.missing is 'CVs at VDAB that should have been in the table cv and were not; parked CVs are not counted';
comment on column cvsync.reconcile_run.extra is 'CVs in the table cv that VDAB no longer has; held ones are not counted';
comment on column cvsync.reconcile_run.stale is 'CVs in the table cv that were older than their latest change at VDAB';
comment on column cvsync.reconcile_run.held is 'CVs that VDAB no longer has and whose delete is held';
comment on column cvsync.reconcile_run.inserted is 'CVs that the comparison inserted';
comment on column cvsync.reconcile_run.deleted is 'CVs that the comparison deleted';

comment on table cvsync.reconcile_listed is 'Working table of comparisons: the CVs that VDAB lists. Unlogged; emptied after each comparison';
comment on column cvsync.reconcile_listed.run is 'The comparison: its start in milliseconds since 1970';
comment on column cvsync.reconcile_listed.cv_id is 'The listed CV';
comment on column cvsync.reconcile_listed.gone is 'True if its status says that it is gone';
comment on column cvsync.reconcile_listed.live is 'True if its status says that it is live; without a known status, gone and live are both false';
comment on column cvsync.reconcile_listed.van is 'Start of the window that listed it: a document older than this is stale. Null if an older version wrote it';
comment on column cvsync.reconcile_listed.settled is 'A state at this time or later includes all changes of the window that listed it; null if an older version wrote it';
comment on column cvsync.reconcile_listed.pending is 'True if it was listed after the watermark: the next sync fetches it, so it is not a difference';

comment on table cvsync.reconcile_under_way is 'Working table of comparisons: those that are running. Unlogged';
comment on column cvsync.reconcile_under_way.run is 'As in reconcile_listed';
comment on column cvsync.reconcile_under_way.seen_at is 'Renewed while the comparison runs; -infinity once it has finished';

comment on table cvsync.clock_doubt is 'At most one row: the span of cv_seen.as_of that was written while clocks disagreed';
comment on column cvsync.clock_doubt.one is 'Always true: the table has at most one row';
comment on column cvsync.clock_doubt.van is 'Earliest as_of in doubt';
comment on column cvsync.clock_doubt.tot is 'Latest as_of in doubt';

comment on table cvsync.quota_loan is 'Calls that commands take out of the quota of the leader. Unlogged; a row lives for seconds';
comment on column cvsync.quota_loan.id is 'Number of the request';
comment on column cvsync.quota_loan.operation is 'Operation of the API; each has its own quota';
comment on column cvsync.quota_loan.calls is 'Number of calls';
comment on column cvsync.quota_loan.asked_at is 'When the command asked';
comment on column cvsync.quota_loan.granted_at is 'When the leader granted the calls; null while the command waits';

comment on table cvsync.history is 'One row per minute in which an instance led, for 8 days: the data of the plots on the status page';
comment on column cvsync.history.at is 'Start of the minute';
comment on column cvsync.history.lag_seconds is 'Longest lag in the minute, in seconds; null before the first window is settled';
comment on column cvsync.history.upserted is 'CVs that were inserted or updated in the minute';
comment on column cvsync.history.deleted is 'CVs that were deleted in the minute';
comment on column cvsync.history.calls is 'Calls that VDAB answered in the minute, of the operation with the most calls';
comment on column cvsync.history.parked is 'Parked CVs at the end of the minute';
comment on column cvsync.history.stored is 'CVs in the table cv at the end of the minute; an estimate for large tables';

comment on table cvsync.mirror_client is 'Clients of the mirror, revoked ones included';
comment on column cvsync.mirror_client.name is 'Name of the client, 1 to 100 characters; never reused';
comment on column cvsync.mirror_client.key_hash is 'SHA-256 of its key; the key itself is not stored';
comment on column cvsync.mirror_client.created_at is 'When its key was created';
comment on column cvsync.mirror_client.last_used_at is 'When it last called, to the minute; null if it never did';
comment on column cvsync.mirror_client.revoked_at is 'When its key was revoked; null while the key works';

comment on table cvsync.reference_code is 'VDAB''s codes and their labels, from the lists of the Referentie API';
comment on column cvsync.reference_code.list is 'Name of the list, such as rijbewijzen, softskills or diplomas';
comment on column cvsync.reference_code.code is 'The code';
comment on column cvsync.reference_code.label is 'Its label in Dutch (omschrijving); null if VDAB has none';
comment on column cvsync.reference_code.synced_at is 'When the code was last fetched';

comment on table cvsync.cv_search is 'One row per searchable CV: its codes and words. Updated from the change feed, usually within seconds';
comment on column cvsync.cv_search.cv_id is 'cvId';
comment on column cvsync.cv_search.codes is 'As kandidaat.codes';
comment on column cvsync.cv_search.tekst is 'As kandidaat.tekst';

comment on table cvsync.cv_unsearchable is 'CVs that searches do not find, because PostgreSQL cannot index their documents. They are indexed again after their next change';
comment on column cvsync.cv_unsearchable.cv_id is 'cvId';
comment on column cvsync.cv_unsearchable.error_code is 'SQLSTATE of the error';
comment on column cvsync.cv_unsearchable.at is 'When the CV was last tried';

-- Views: comments that are already plain stay.
comment on view cvsync.kandidaat is 'One row per CV: codes and words to find candidates by';
comment on column cvsync.kandidaat.cv_id is 'cvId';
comment on column cvsync.kandidaat.status is 'status';
comment on column cvsync.kandidaat.wijzigings_datum is 'wijzigingsDatum; null if it is not a date';
comment on column cvsync.kandidaat.changed_at is 'When cvsync last wrote new content for this CV; not a time of VDAB';
comment on column cvsync.kandidaat.first_seen_at is 'When cvsync inserted this CV; not a time of VDAB';
comment on column cvsync.kandidaat.codes is
    'Codes of the CV as terms, the first 2,000; null until the CV is indexed. studie: opleidingen[].naam. rijbewijs, attest: attesteringen[].code. taal, competentie, softskill: competenties[].code; taal:N:2 means niveau 2 or higher. regio: gewensteJob.regios[]. arbeidsregime: gewensteJob.arbeidsRegimes[]. arbeidsstelsel: gewensteJob.arbeidsStelsels[]. beroep: gewensteJob.functies[].beroepsprofiel.code';
comment on column cvsync.kandidaat.tekst is
    'Words for full-text search in Dutch, from ervaringen[].functieTitel, opleidingen[].info, competenties[].naam and gewensteJob.functies[].titel; null until the CV is indexed';

comment on view cvsync.persoon is 'One row per CV: the person, from natuurlijkPersoon';
comment on column cvsync.persoon.ikl_id is 'iklId; null if it is not an integer';
comment on column cvsync.persoon.ikl_id_tekst is 'iklId as received';
comment on column cvsync.persoon.geboortedatum is 'natuurlijkPersoon.geboortedatum; null if it is not a date, such as 19xx-09-05';
comment on column cvsync.persoon.geboortedatum_tekst is 'natuurlijkPersoon.geboortedatum as received';
comment on column cvsync.persoon.persoonlijke_interesse is 'persoonlijkeInteresse as JSON, because VDAB does not publish its fields';

comment on view cvsync.ervaring is 'One row per element of ervaringen: a job that the candidate had';
comment on column cvsync.ervaring.nr is 'Position in ervaringen, from 1';
comment on column cvsync.ervaring.van is 'ervaringen[].van; null if it is not a date';
comment on column cvsync.ervaring.van_tekst is 'ervaringen[].van as received';
comment on column cvsync.ervaring.tot is 'ervaringen[].tot; null if it is not a date';
comment on column cvsync.ervaring.tot_tekst is 'ervaringen[].tot as received; null for a current job';

comment on view cvsync.opleiding is 'One row per element of opleidingen: a study';
comment on column cvsync.opleiding.nr is 'Position in opleidingen, from 1';
comment on column cvsync.opleiding.naam is 'opleidingen[].naam: a code of the list diplomas, or free text';
comment on column cvsync.opleiding.label is 'Label of the code in naam; null if reference_code has none';
comment on column cvsync.opleiding.behaald_op is 'opleidingen[].behaaldOp; null if it is not a date';
comment on column cvsync.opleiding.behaald_op_tekst is 'opleidingen[].behaaldOp as received';
comment on column cvsync.opleiding.behaald_in is 'opleidingen[].behaaldIn, a year; null if it is not an integer';
comment on column cvsync.opleiding.behaald_in_tekst is 'opleidingen[].behaaldIn as received';
comment on column cvsync.opleiding.diploma is 'opleidingen[].diploma; null if it is neither true nor false';
comment on column cvsync.opleiding.diploma_tekst is 'opleidingen[].diploma as received';

comment on view cvsync.attestering is 'One row per element of attesteringen: a driving licence or a certificate';
comment on column cvsync.attestering.nr is 'Position in attesteringen, from 1';
comment on column cvsync.attestering.type is 'attesteringen[].type: rijbewijs or attest';
comment on column cvsync.attestering.label is 'Label of the code; null if reference_code has none';
comment on column cvsync.attestering.eigen_wagen is 'attesteringen[].eigenWagen; null if it is neither true nor false';
comment on column cvsync.attestering.eigen_wagen_tekst is 'attesteringen[].eigenWagen as received';

comment on view cvsync.competentie is 'One row per element of competenties: a language, a skill with a code, or a skill in the candidate''s own words';
comment on column cvsync.competentie.nr is 'Position in competenties, from 1';
comment on column cvsync.competentie.type is 'competenties[].type: talen, technischeCompetentie, softSkill or vrijeCompetentie';
comment on column cvsync.competentie.label is 'Label of the code of a softSkill; null for other types, and if reference_code has none';
comment on column cvsync.competentie.niveau is 'competenties[].niveau, the level of a language; null if it is not an integer';
comment on column cvsync.competentie.niveau_tekst is 'competenties[].niveau as received';
comment on column cvsync.competentie.score is 'competenties[].score of a technischeCompetentie; null if it is not an integer';
comment on column cvsync.competentie.score_tekst is 'competenties[].score as received';
comment on column cvsync.competentie.naam is 'competenties[].naam of a vrijeCompetentie';
comment on column cvsync.competentie.beschrijving is 'competenties[].beschrijving of a vrijeCompetentie';

comment on view cvsync.gewenste_job is 'One row per CV: the working time that the candidate wants, from gewensteJob';
comment on column cvsync.gewenste_job.arbeids_regimes is 'gewensteJob.arbeidsRegimes[], the first 1,000';
comment on column cvsync.gewenste_job.arbeids_regimes_labels is 'Labels of arbeids_regimes in the same order; an element is null if reference_code has no label';
comment on column cvsync.gewenste_job.arbeids_stelsels is 'gewensteJob.arbeidsStelsels[], the first 1,000';
comment on column cvsync.gewenste_job.arbeids_stelsels_labels is 'Labels of arbeids_stelsels in the same order; an element is null if reference_code has no label';

comment on view cvsync.gewenste_functie is 'One row per element of gewensteJob.functies: a job that the candidate wants';
comment on column cvsync.gewenste_functie.nr is 'Position in gewensteJob.functies, from 1';
comment on column cvsync.gewenste_functie.ervaring is 'gewensteJob.functies[].ervaring; null if it is not an integer';
comment on column cvsync.gewenste_functie.ervaring_tekst is 'gewensteJob.functies[].ervaring as received';

comment on view cvsync.gewenste_regio is 'One row per element of gewensteJob.regios: a region where the candidate wants to work';
comment on column cvsync.gewenste_regio.nr is 'Position in gewensteJob.regios, from 1';

comment on view cvsync.referentie is 'One row per code that has a label, from the lists of the Referentie API';
comment on column cvsync.referentie.lijst is 'Name of the list, such as rijbewijzen, softskills or diplomas';
comment on column cvsync.referentie.code is 'The code';
comment on column cvsync.referentie.label is 'Its label in Dutch (omschrijving)';
