"""How the checkpoints of the logistics labs come to fail."""

from __future__ import annotations

__all__ = ["LOGISTICS"]

LOGISTICS: dict[str, dict[str, str]] = {
    "logistics/00": {
        "The workbench answers a request with a key, and refuses others with code 16": (
            'http.headers["Authorization"] = "Bearer no"'
        ),
        "The project holds the script as you wrote it": (
            'ask("DELETE", f"{base}/files/generate.py")'
        ),
        "The wrong path failed, the right one succeeded and left a file": (
            'ask("DELETE", f"{base}/files/batch-0.parquet")'
        ),
        "Loading twice changed nothing: each id is in the table once": (
            'spark.sql(f"INSERT INTO {table} SELECT * FROM arrived")'
        ),
        "The first day is whole, no row counts twice, and the tag names this version": (
            'spark.sql(f"ALTER TABLE {table} DROP TAG `train-v1`")'
        ),
    },
    "logistics/01": {
        "The day is whole: 1,440 rows of each device, and none twice": 'source = home / "nothing"',
        "The page holds all states and no address of a server": "fresh(home).mkdir()",
        "The map shows each event once, and needs no network": '(home / "events.html").unlink()',
        "One layer holds the same points in less than half of the bytes": (
            '(home / "single.html").unlink()'
        ),
        "The track never jumps: a lorry drives less than 8 km from row to row": (
            '(home / "track.html").unlink()'
        ),
    },
    "logistics/02": {
        "Two manufacturers are found, the third is nowhere, and nothing complained": (
            'POINT = "ST_SetSRID(ST_Point(latitude, longitude), 4326)"'
        ),
        "Every row of the view is in a state, except those without a position": (
            'sd.sql("SELECT * FROM events").to_view("repaired", overwrite=True)'
        ),
        "All shapes are valid, and each row is in the state where the lorry really was": (
            '(home / "located.parquet").unlink()'
        ),
        "The distances are metres: within half a per cent of those on a sphere": (
            'METRES = f"ST_Distance({POINT}, {DEPOT})"'
        ),
        "Both libraries count the same points in each state, and all points were joined": (
            'sd.create_data_frame(points[:10]).to_view("few", overwrite=True)'
        ),
    },
    "logistics/03": {
        "Row 0 is the first minute of the day, and each row the next minute": (
            'day.sort_values("iot_signal_1").to_parquet(home / "day.parquet")'
        ),
        "The motif is the refuel stop, at both its minutes": "note(motif=[1, 2])",
        "The discord overlaps the half hour in which a sensor came loose": "note(discord=5000)",
        "One refuel stop as an example finds the other one of the day": (
            'day.sort_values("iot_signal_1").to_parquet(home / "day.parquet")'
        ),
        "The pair nearer than 2 is the one that shared a road": 'note(pairs=[["0x1", "0x2"]])',
        "The motif lives in signals 1 and 3": "note(dimensions=[2])",
        "The table has one row for each device, and the patterns of nearly all of them are right": (
            'spark.sql("DELETE FROM ice.fleet.profiles")'
        ),
    },
    "logistics/04": {
        "Your key reads PRD and may not write there; a wrong key opens nothing": (
            'ask("PUT", f"{prd}/collaborators/{place.user}", {"permission": "write"})'
        ),
        "The function in DEV equals stumpy to eight digits, and refuses a constant pattern": (
            'ask("DELETE", f"{dev}/files/predict.py")'
        ),
        "One build failed, the newest is built, and PRD has the file of DEV": (
            'ask("DELETE", f"{prd}/files/predict.py")'
        ),
        "The model answers as stumpy does, refuses bad input with 422, and a wrong key with 401": (
            'nearest = model("without-a-deployment")'
        ),
        "The second model returns JSON, and its motif of two signals is the refuel stop": (
            'finder = model("without-a-build")'
        ),
    },
    "logistics/05": {
        "The row of a call names its replica and the milliseconds that it computed": (
            'COMPUTE = ""\nask("PUT", f"{prd}/files/watched.py", data=WATCHED.encode())\n'
            'deployment = deploy("watched.py", "watched")'
        ),
        "Every call of the crowds was answered, and noted under its own uuid": "sent.clear()",
        "All bad input was refused with 422, and each refusal has a row": (
            'refused["constant"] = (200, "")'
        ),
        "The motif of two signals is the refuel stop, for nearly all of the ten lorries": (
            'events = events.sort_values("iot_signal_1")\nmotifs = {}'
        ),
        "More than a thousand calls are recorded, each once, and none of yours is missing": (
            'rows_of = lambda crn: page(crn, page_size=500)["metrics"]'
        ),
    },
    "logistics/06": {
        "The stored p95 is the one of the rows, in milliseconds": (
            "keep(calls, p95=1e9, calls=len(calls))"
        ),
        "Queue and computing together are the latency of each call": (
            'calls.assign(queue=0.0).to_parquet(home / "calls.parquet")'
        ),
        "Each replica reported its memory, and stays below nine tenths of its limit": (
            'calls["memory_mb"] = used["used MB"] = 500_000.0'
        ),
        "Your PSI equals a second computation, near 0 without drift and above the limit with "
        "drift": '(home / "psi.json").write_text("[0.5, 0.5]")',
        "The record is silent for all quiet windows, and fires in the second and third of the "
        "drift": "keep(calls, psi=9.0, alert=1.0)",
    },
    "logistics/07": {
        "Customers call, and no call failed": (
            "customers.stop()\ncustomers = Crowd(customer, callers)"
        ),
        "The new build answers all calls, the old pods have stopped, and no call failed": (
            'deploy(next(one["build_id"] for one in deployments() if one["crn"] == answers[0][1]))'
        ),
        "The deployment with the wrong setting failed, and the one before it keeps serving": (
            'deploy(newer, environment={"SCALE": "1.5"})'
        ),
        "The old build serves again, in one pod, and no call failed": "deploy(newer)",
        "No call failed in any of the deployments, and each answer has its row": "answers.clear()",
    },
    "logistics/08": {
        "MLflow answers you, and the workbench shows its registry": (
            'http.headers["Authorization"] = "Bearer no"'
        ),
        "The tag names the newest snapshot, and every row of the test set is later than the "
        "training set": "learn, judge = rows.iloc[::2], rows.iloc[1::2]",
        "One model did not learn, one cheated, one is honest, and each run names its snapshot": (
            '[client.delete_run(run.info.run_id) for run in runs("metrics.auc DESC")[:1]]'
        ),
        "The chosen run is the honest one": "best = runs()[-1]",
        "The endpoint answers the two rows as the registered model does": (
            'version = {"number": 99, "model_version_id": "x:99"}'
        ),
        "Deployment, build, version, run and snapshot are joined, in both directions": (
            'client.delete_model_version_tag(model_name, str(version["number"]), "build")'
        ),
    },
    "logistics/09": {
        "Four jobs follow each other: take, judge, retrain, deploy": (
            'job_of("deploy", parent_id=first)'
        ),
        "The day is taken, judge failed, nothing followed, and the champion answers": (
            'failed = {"status": "none"}'
        ),
        "A drift was found, the challenger is better on the new hours, and the endpoint serves "
        "it": ('ask("PUT", f"{prd}/files/reference.json", data=b\'{}\')\nfollow("judge")'),
        "The incremental read still has the deleted lorry; the changelog has its 1,440 rows as "
        "DELETE": (
            'new.selectExpr("\'INSERT\' AS _change_type").createOrReplaceTempView("changes")'
        ),
        "The truths that arrived are joined with their calls, and the metric includes their "
        "number": (
            'post("track-aggregate-metrics", modelDeploymentCrn=crn, metrics={"truths": 0})'
        ),
    },
}
