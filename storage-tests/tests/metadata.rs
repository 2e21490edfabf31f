//! The metadata's contract, over SQLite and PostgreSQL.

mod accounts {
    storage_tests::stamp!((metadata/accounts): sqlite, postgres; [
        a_user_is_added_once,
        the_first_user_is_made_once,
        replicas_that_start_together_make_one_first_user,
        no_first_user_is_made_beside_others,
        a_users_version_is_never_the_same,
        rules_are_set_and_removed,
        every_change_of_rights_moves_the_epoch_everywhere,
    ]);
}

mod blob_rows {
    storage_tests::stamp!((metadata/blob_rows): sqlite, postgres; [
        a_committed_blob_is_held_by_its_repository_alone,
        the_second_push_of_the_same_bytes_is_redundant,
        a_repeated_commit_keeps_its_object,
        a_commit_ends_its_session_or_does_nothing,
        a_mount_takes_what_its_source_holds,
        a_mount_from_anywhere_finds_the_callers_own_among_many_holders,
        a_mount_into_a_holder_finds_the_blob,
        a_blob_in_use_is_not_unlinked,
        a_lease_keeps_a_blob_that_nothing_names,
        claims_in_a_row_each_keep_their_promise,
    ]);
}

mod collection {
    storage_tests::stamp!((metadata/collection): sqlite, postgres; [
        what_is_held_named_or_leased_is_not_condemned,
        what_was_never_used_is_unlinked_after_a_time,
        a_deleted_manifest_names_its_blobs_until_forgotten,
        a_condemned_blob_does_not_exist,
        a_push_of_a_condemned_blob_is_a_new_object,
        condemned_blobs_are_listed_until_forgotten,
        condemning_goes_in_batches,
        dead_objects_are_listed_until_forgotten,
    ]);
}

mod jobs {
    storage_tests::stamp!((metadata/jobs): sqlite, postgres; [
        a_job_is_done_by_one_at_a_time,
        a_job_put_off_comes_again,
        workers_at_once_get_different_jobs,
    ]);
}

mod manifests {
    storage_tests::stamp!((metadata/manifests): sqlite, postgres; [
        a_manifest_reads_back_exactly,
        a_tag_keeps_the_algorithm,
        a_manifest_of_eight_mebibytes_is_kept,
        missing_references_are_reported_all_at_once,
        a_manifest_may_name_thousands,
        an_index_needs_its_children_unless_sparse,
        a_sparse_image_names_a_blob_from_when_it_comes,
        a_sparse_image_that_comes_back_does_not_name_blobs_that_left,
        what_is_attached_by_tag_goes_with_its_manifest,
        a_manifest_pushed_again_keeps_its_media_type,
        a_deleted_manifest_is_gone_with_its_tags_until_pushed_again,
        a_push_happens_only_if_its_precondition_holds,
        a_precondition_is_for_every_tag_or_for_the_manifest,
        a_deletion_happens_only_if_its_precondition_holds,
        a_failed_precondition_comes_before_missing_references,
    ]);
}

mod programs {
    storage_tests::stamp!((metadata/programs): sqlite, postgres; [
        a_robot_is_added_and_given_another_secret,
        a_removed_robot_takes_its_rules,
        a_key_reads_back_and_goes_with_its_user,
        every_change_of_programs_moves_the_epoch_everywhere,
    ]);
}

mod referrers {
    storage_tests::stamp!((metadata/referrers): sqlite, postgres; [
        referrers_are_those_of_the_repository,
        a_referrer_is_shown_as_it_was_pushed,
        referrers_are_filtered_by_artifact_type,
        referrers_come_in_pages,
    ]);
}

mod repositories {
    storage_tests::stamp!((metadata/repositories): sqlite, postgres; [
        the_catalog_is_in_byte_order_in_pages,
        the_catalog_holds_what_the_caller_may_see,
        a_caller_who_may_see_few_of_many_gets_them_all,
        a_repository_without_manifests_is_not_listed,
        a_search_finds_by_name_and_description,
        a_search_counts_and_pages_what_is_visible,
        stars_count_once_a_user,
        a_description_yields_to_one_from_further_up,
    ]);
}

mod tags {
    storage_tests::stamp!((metadata/tags): sqlite, postgres; [
        tags_are_listed_in_byte_order_in_pages,
        an_unknown_repository_is_told_from_one_without_tags,
        a_tag_is_deleted_alone,
        every_move_of_a_tag_is_kept,
    ]);
}

mod tokens {
    storage_tests::stamp!((metadata/tokens): sqlite, postgres; [
        a_signing_key_is_added_when_none_is_new_enough,
        replicas_that_start_together_have_one_key,
        a_refresh_token_slides,
        a_refresh_token_dies_with_user_and_password,
        a_token_is_bound_to_the_password_that_was_checked,
    ]);
}

mod uploads {
    storage_tests::stamp!((metadata/uploads): sqlite, postgres; [
        a_session_begins_empty_and_is_known_to_its_repository_alone,
        a_session_goes_on_where_it_stood,
        one_writer_holds_a_session,
        progress_is_from_where_the_session_stands,
        an_expired_session_is_unknown_and_listed,
        an_ended_session_is_listed_until_it_is_forgotten,
        a_session_can_be_held_from_its_begin_on,
        open_sessions_are_limited_by_owner,
        a_lone_server_lets_go_of_all_claims,
    ]);
}

mod whole {
    storage_tests::stamp!((metadata/whole): sqlite, postgres; [
        what_was_answered_survives_a_restart,
        a_closed_store_refuses,
        a_write_runs_to_its_end_without_its_caller,
        replicas_see_each_others_writes,
        a_command_beside_the_server_is_seen,
    ]);
}

mod races {
    storage_tests::stamp!(races: sqlite, postgres, delayed; [
        two_writers_of_one_tag,
        writers_of_one_tag_without_a_precondition,
        two_pushes_of_one_blob,
        push_against_delete,
        mount_against_delete,
        push_against_condemn,
        index_against_delete_of_its_child,
        tag_against_delete_of_its_manifest,
        two_writers_of_one_session,
        sessions_begun_at_once_keep_the_limit,
        first_pushes_into_one_repository,
    ]);
}

mod issues {
    storage_tests::stamp!(issues: sqlite, postgres; [
        pages_do_not_skip_tags_by_collation,
        pages_do_not_skip_repositories_by_collation,
        existence_is_not_told_by_a_stale_cache,
        a_blob_of_no_bytes_is_committed,
        deleting_a_tag_leaves_its_siblings,
        a_blob_is_not_read_through_a_repository_that_does_not_hold_it,
        collection_between_head_and_manifest_takes_nothing,
        tags_that_differ_by_case_are_different,
        what_a_search_asks_for_is_no_pattern,
        an_upload_goes_on_past_four_gibibytes,
        what_was_absent_is_not_remembered,
        an_empty_page_is_an_answer,
    ]);
}
