"""How the checkpoints of the broken pipeline come to fail in a learner's hands (`broken.py`)."""

from __future__ import annotations

__all__ = ["MLOPS"]

PLACE_BY_HAND = """
air("PATCH", f"dags/%(dag)s/dagRuns/{%(newest)s()['dag_run_id']}/taskInstances/%(task)s",
    json={"new_state": "failed"})
wait("the state", lambda: states()["%(task)s"], until=lambda seen: seen == "failed")
"""
FAIL_TO_TRAIN = """
ask("PUT", f"{files}/train.py", data=b"raise SystemExit('broken')\\n")
ask("POST", f"{jobs}/{first}/runs", {})
wait("the run", states, until=lambda seen: bool(set(seen) - OPEN - {GOOD}), deadline=120)
"""
FINE_CHILD = """
ask("PUT", f"{files}/late.py", data=b"pass\\n")
ask("POST", f"{jobs}/{fine}/runs", {})
wait("both", pair, until=lambda seen: seen == [GOOD, GOOD], deadline=120)
"""
QUEUED = """
ask("PATCH", f"dags/{dag_name}", {"is_paused": True})
ask("POST", f"dags/{dag_name}/dagRuns", {"logical_date": None, "conf": {}})
"""
BAD_IMPORT = """
(dags / f"{dag_name}.py").write_text("from airflow.sdk import dag\\nimport nowhere_to_be_found\\n")
wait("the error", lambda: ask("GET", "importErrors")["total_entries"], deadline=120)
"""
ONE_MORE_SCORE = """
_file = place.project_repo / "workbench" / "projects" / project / "scored.csv"
_file.write_text(_file.read_text() + _file.read_text().splitlines()[-1] + "\\n")
"""
SHORTCUT = """
(folder / "loans.py").write_text((head + tail).replace(order, "start >> load >> end"))
wait("the shortcut", seen_order, until=lambda text: "report" not in text, deadline=120)
"""
BY_HAND = """
air("POST", "dags/retrain_on_change/dagRuns", json={"logical_date": None, "conf": {}})
wait("it", lambda: newest("retrain_on_change")["run_type"], until=lambda kind: kind == "manual")
"""
ODD_BRANCH = """
spark.sql(f"ALTER TABLE {table} CREATE BRANCH odd")
spark.sql(f"INSERT INTO {table}.branch_odd SELECT * FROM {table} LIMIT 1")
spark.sql(f"ALTER TABLE {table} DROP BRANCH odd")
"""

MLOPS: dict[str, dict[str, str]] = {
    "mlops/01": {
        "The table has each loan once": (
            'spark.sql(f"INSERT INTO {table} SELECT * FROM {table} LIMIT 5")'
        ),
        "The share of bad loans depends on the purpose, and your picture agrees with the table": (
            "by_purpose = by_purpose.head(1)"
        ),
        "The saved model is better than guessing, and not better than possible": (
            '(home / "baseline").rename(home / "moved")'
        ),
        "The four outcomes add up to the held-out loans, as Spark counts them": (
            "shown = shown + 1"
        ),
        "The tag and the record have the same snapshot, with all its rows": (
            'spark.sql(f"ALTER TABLE {table} DROP TAG trained_v1")'
        ),
        "The policy `skip` loses exactly the loans without an income": "faulty = faulty.dropna()",
    },
    "mlops/02": {
        "The workbench accepts your key, and refuses a request without a key": (
            'http.headers["Authorization"] = "Bearer no"'
        ),
        "The project has the five programs, the batch and handed.json": (
            'ask("DELETE", f"{files}/push.py")'
        ),
        "The four jobs are a chain": 'job_of("infer", parent_job_id=first)',
        "All four runs succeeded, the AUC is the baseline's, and no loan is missing": (
            FAIL_TO_TRAIN
        ),
        "The endpoint agrees with Spark to 1e-9, and refuses a wrong key": (
            'sample[0]["spark"] += 0.5'
        ),
        "The parent succeeded, the child failed, and only the tree shows both": FINE_CHILD,
    },
    "mlops/03": {
        "The Secret holds one connection": (
            "k8s.core.delete_namespaced_secret(secret_name, k8s.namespace)"
        ),
        "Airflow is healthy, accepts your token, and refuses a wrong password": (
            'web.headers["Authorization"] = "Bearer no"'
        ),
        "Airflow has parsed your DAG, and no file has an import error": BAD_IMPORT,
        "Both tasks of the newest run succeeded": QUEUED,
        "The number of loans in the log is the number in the file": ONE_MORE_SCORE,
        "The import error names the file and the missing module": (
            'wrong.unlink()\nwait("the error to go", broken, until=lambda errors: not errors)'
        ),
    },
    "mlops/04": {
        "The project has the six jobs of the pipeline": (
            'bench("DELETE", f"{jobs}/" + next(one["id"] for one in '
            'bench("GET", f"{jobs}?page_size=100")["jobs"] if one["name"] == "report"))'
        ),
        "Airflow has the five tasks in their order, and no import error": SHORTCUT,
        "All five tasks succeeded, and the log of the chain shows four runs": (
            PLACE_BY_HAND % {"dag": "loans", "newest": "newest", "task": "report"}
        ),
        "The table has grown by the month, "
        "once": '(metadata / "version-hint.text").write_text("1")',
        "The report is of the snapshot that the load made, and of all its loans": (
            'bench("PUT", f"{files}/report.json", '
            'data=json.dumps(reported() | {"rows": 1}).encode())'
        ),
        "The asset event triggered the second DAG with the snapshot of the load": BY_HAND,
    },
    "mlops/05": {
        "The workbench counts the calls, and none has failed": "customers.stop()",
        "The load succeeded, the training failed, and the report did not start": (
            PLACE_BY_HAND % {"dag": "loans", "newest": "of_month", "task": "load"}
        ),
        "You found the three columns that Spark does not support": ('unsupported = {"term"}'),
        "The month is in the table, and version 1 is still deployed": "half = 0",
        "`try_cast` with `skip` succeeds and has lost every loan": "soft = few",
        "No call has failed, and version 1 is deployed": ("counted = lambda what: 0"),
    },
    "mlops/06": {
        "The half-loaded month is not in the table, and the month before it is": (
            "_last = ids[0].snapshot_id\n"
            "spark.sql(f\"CALL ice.system.set_current_snapshot('mlops.loans', {_last})\")"
        ),
        "The refit on the tagged rows has the weights of the baseline, bit by bit": (
            "again = Pipeline(stages=stages).fit(train.limit(500))"
        ),
        "`skip` loses the loans with an unseen value, `keep` scores all loans": ("kept = skipped"),
        "The job's program indexes texts and keeps unseen values": (
            'bench("PUT", f"{files}/train.py", data=program.encode())'
        ),
        "The same DAG succeeded, the month is in the table once, and no loan is missing": (
            'conf = {"batch": "another.csv"}'
        ),
        "Version 2 is deployed, no call failed, and version 1 never answered after version 2": (
            'bench("PUT", f"{files}/deployed.json", '
            'data=json.dumps(serving() | {"version": 1, "digest": ""}).encode())'
        ),
    },
    "mlops/07": {
        "The contract accepts a good month, and finds a duplicate loan": (
            'contract.append(("term", "never", "true"))'
        ),
        "The month is on the branch, and main has not changed": (
            'spark.sql(f"ALTER TABLE {table} DROP BRANCH audit")'
        ),
        "No bad month is in main, and each has a finding": '(home / "audit.json").unlink()',
        "The good month is published, and a run was triggered with its snapshot": (
            "spark.sql(f\"CALL ice.system.rollback_to_snapshot('mlops.loans', {published})\")"
        ),
    },
    "mlops/08": {
        "Each version has one run that trained it and one that pushed it, both succeeded": (
            "builds.pop(2)"
        ),
        "The page agrees with the systems, from the tagged rows to the replicas": (
            '(home / "lineage.json").write_text("[]")'
        ),
        "The record alone reproduces version 1 with equal weights": (
            'bench("PUT", f"/projects/{proof}/files/model.json", data=b"{}")'
        ),
        "The untagged snapshot is gone, the tagged one has all its rows": ODD_BRANCH,
        "The page agrees with a second engine on its snapshot, and needs a key": (
            'bench("PUT", f"{files}/board.html", data=b"<p>nothing</p>")'
        ),
        "The mark lost the late row silently, and the overlap copied it once": (
            'spark.sql("DELETE FROM ice.mlops.desk WHERE loan_id = 1001")'
        ),
    },
}
