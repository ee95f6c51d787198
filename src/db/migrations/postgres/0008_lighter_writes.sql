-- What every job writes, with less beside it.

-- Each row is written once more, soon after its start: the new version finds room beside it, so that no index is touched.
alter table inbox set (fillfactor = 50);

-- A job's project is its image's, and a segmentation's project and image are its job's: those references are looked up once.
alter table queue_jobs drop constraint queue_jobs_project_id_fkey;
alter table segmentations
    drop constraint segmentations_project_id_fkey,
    drop constraint segmentations_image_id_fkey;
