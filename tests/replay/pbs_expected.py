"""What is to be made of each recording of OpenPBS, written by hand."""

from __future__ import annotations

from intercede.answers import JobState, Reason

Short = tuple[JobState, Reason | None, int | None, int | None]
HELD: Short = (JobState.HELD, None, None, None)
QUEUED: Short = (JobState.QUEUED, None, None, None)
RUNNING: Short = (JobState.RUNNING, None, None, None)
DONE: Short = (JobState.SUCCEEDED, None, 0, None)
CANCELLED: Short = (JobState.CANCELLED, None, None, None)
OVERTIME: Short = (JobState.FAILED, Reason.WALLTIME, None, None)
REJECTED: Short = (JobState.FAILED, Reason.REJECTED, None, None)


def failed(code: int) -> Short:
    return (JobState.FAILED, None, code, None)


ARRAY_2 = {"2[0]": DONE, "2[1]": failed(1), "2[2]": DONE, "2[3]": failed(1), "2[4]": DONE}
WAITING = (
    "8",
    "9",
    "10",
    "11",
    "12",
    "13",
    "14",
    "15",
    "16",
    "17",
    "18[1]",
    "18[2]",
    "18[3]",
    "19",
    "20",
    "21",
    "22",
    "23",
)
# of `qstat -f` in its three forms: what is to be said of each job, without `.pbshost`
JOBS: dict[str, dict[str, Short]] = {
    "qstat_f_json": {"4": HELD, **dict.fromkeys(
        ("8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "19", "20", "21", "22", "23"), QUEUED)},
    "qstat_ft_json": {
        **{f"2[{i}]": RUNNING for i in range(5)}, **{f"3[{i}]": RUNNING for i in (1, 5, 9)}, "4": HELD,
        **dict.fromkeys(WAITING, QUEUED),
    },
    "qstat_xft_json": {
        **ARRAY_2, "0": failed(3), "1": DONE, "3[1]": failed(1), "3[5]": failed(1), "3[9]": failed(1), "4": HELD,
        "8": QUEUED, "9": RUNNING, "10": RUNNING, "11": DONE, "12": OVERTIME, "13": failed(3), "14": failed(3),
        "15": DONE, "16": failed(3), "17": failed(3), "18[1]": failed(3), "18[2]": failed(3), "18[3]": failed(3),
        "19": failed(3), "20": RUNNING, "21": failed(3), "22": failed(3), "23": failed(137), "24": REJECTED,
    },
    "qstat_x_array_json": ARRAY_2,
    "qstat_json_array_t": ARRAY_2,
    "qstat_x_array_parent_json": {},
    "qstat_x_subjob_json": {"2[3]": failed(1)},
    "qstat_x_finished_json": {"0": failed(3)},
    "qstat_x_deleted_json": {"8": CANCELLED},
    "qdel_running": {"25": RUNNING},
    "qstat_args_json": {"15": DONE},
    "qstat_hold_json": {"4": HELD},
    "qstat_unsat_json": {"8": QUEUED},
    "qstat_wt_json": {"12": OVERTIME},
    "qstat_sig_json": {"23": failed(137)},
    "qstat_outmiss_json": {"20": RUNNING},
    "qstat_f_nl_json": {"1054": HELD},
    "qstat_f_nl_V_json": {"1055": HELD},
    "qstat_vnl_json": {"14": failed(3)},
    "qstat_vq2_json": {"13": failed(3)},
    "qstat_multi_ids_json_BUG_first_only": {"1043": HELD},
    "qstat_multi_ids_json_mixed_unknown": {"1043": HELD},
    "qstat_mixed_unknown_json": {"0": failed(3)},
    "qstat_unknown_json": {},
    "qstat_unknown": {},
    "qstat_finished_without_x": {},
    "qstat_f_text": {"11": DONE},
    "qstat_f_w_multi": dict.fromkeys(("1052", "1053", "1054"), HELD),
    "qstat_multi_ids_text": dict.fromkeys(("1043", "1044", "1045"), HELD),
}  # fmt: skip
NATIVES = {
    "submit": "0", "submit_stdin": "1", "submit_array": "2[0]", "submit_array_step": "3[0]", "submit_hold": "4",
    "submit_unsatisfiable": "8", "submit_name_digits": "9", "submit_long_name": "10", "submit_resources": "11",
    "submit_walltime_exceed": "12", "submit_v_comma_escaped": "13", "submit_V_newline": "14", "submit_args": "15",
    "submit_out": "16", "submit_out_files": "17", "submit_out_array": "18[0]", "submit_out_space": "19",
    "submit_out_missing": "20", "submit_koed": "21", "submit_kdoe": "22", "submit_signal": "23", "submit_dep_bad": "24",
}  # fmt: skip
REFUSED = {
    "submit_unknown_queue": "qsub (resources.queue)",
    "submit_bad_resource": "qsub (resources.cores, nodes, memory or gpus)",
    "submit_bad_select": "qsub (resources.cores, nodes, memory or gpus)",
    "submit_bad_walltime": "qsub (resources.walltime)",
    "submit_array_single": "qsub",
    "submit_bad_name": "qsub",
    "submit_bad_option": "qsub",
    "submit_missing_script": "qsub",
    "submit_v_quoting": "qsub",
}
# what qdel and qrls complained of, and what is left of it that concerns jobs that have not ended
ORDERS = {
    "qdel_pending": "", "qdel_unknown": "", "qdel_finished": "", "qdel_finished_x": "", "qdel_mixed": "",
    "qsub_err_perm": "", "qrls": "",
    "qdel_none": "usage:\n\tqdel [-W force|suppress_email=X] [-x] job_identifier...\n\tqdel --version\n",
}  # fmt: skip
TABLES = {
    "qstat": {("workq", True, True): 16},
    "qstat_t": {("workq", False, True): 8, ("workq", True, True): 19},
    "qstat_x": {("workq", False, True): 3, ("workq", True, True): 2},
}
ELSEWHERE = {"qstat_B_json", "qstat_Q_json", "qstat_server_down", "qsub_noserver", "out_env", "qdel_subjob"}
DSV = {"qstat_dsv", "qstat_dsv_multi"}
