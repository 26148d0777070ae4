"""How each checkpoint of the MLflow labs comes to fail in a learner's hands; see `broken`."""

from __future__ import annotations

__all__ = ["MLFLOW"]

MLFLOW: dict[str, dict[str, str]] = {
    "mlflow/01": {
        "Your server has the client's release, and answers nobody without the token": (
            'http.headers["X-Auth-Token"] = "0" * 32'
        ),
        "Both versions can be read, and MLflow's own note loses the first one": "fresh(table)",
        "The server has your runs with settings, curve, file and the version of the data": (
            '[ask("runs/delete", {"run_id": run["info"]["run_id"]}) for run in logged()]'
        ),
        "The best run beats predicting the mean grade for every wine": (
            "alphas = [50.0]\nlearn(50.0)"
        ),
        "The lost run lies in a file of its own, and the next one arrived on the server": (
            "fresh(elsewhere)"
        ),
        "The old run is in the database, and its model predicts what it did before": (
            "fresh(tree.parent)"
        ),
    },
    "mlflow/02": {
        "The project ran, and the server knows both parameters, also the one not given": (
            'mlflow.MlflowClient().set_terminated(local, "FAILED")'
        ),
        "The commit has the first run's metric; the changed folder names a commit it did not run": (
            "pinned = dirty"
        ),
        "Every package of the lock has version and hashes, and uv installs it without a network": (
            '(project / "project.lock").write_text("pandas\\n")'
        ),
        "Built from hashes, the project has the first run's number; the proof holds or is void": (
            'client.log_metric(carried.info.run_id, "rmse", 0.0)'
        ),
        "Each of the four failed before anything ran, with its reason": 'refusals["hash"] = ""',
    },
    "mlflow/03": {
        "The server has the model with two flavours, eleven columns, and no pickle": (
            'mlflow.MlflowClient().delete_logged_model(logged["linear"])'
        ),
        "The signature refuses three requests, the model refuses one, and five are answered": (
            'cases["column missing"] = row'
        ),
        "Four models are on the server, none of them a pickle": (
            'mlflow.MlflowClient().delete_logged_model(logged["boosted"])'
        ),
        "Three tools load the files, and agree with pyfunc to a millionth": (
            'tools["ONNX runtime"] = ("linear", lambda rows: np.zeros(len(rows)))'
        ),
        "The parameter changes the answer, and its default holds without it": (
            'mlflow.MlflowClient().delete_logged_model(logged["good"])'
        ),
        "The hostile model is on the server and was refused: no canary": "canary.touch()",
    },
    "mlflow/04": {
        "Three versions are ready, each with the digest of its files": (
            'client.delete_model_version(model_name, version["mean"])'
        ),
        "The gate lets the linear and the boosted model pass, and refuses the mean grade": (
            "limit = 5.0"
        ),
        "The engine serves the version that the alias names, with the model's own predictions": (
            'http.headers["X-Auth-Token"] = "0" * 32'
        ),
        "The alias moved under load, no request failed, and the new version answers": (
            'promote("linear")\nwait("it", serving, until=lambda one: one == version["linear"])'
        ),
        "The first champion serves again": (
            'promote("boosted")\nwait("it", serving, until=lambda one: one == version["boosted"])'
        ),
        "The history has the way up and the way back, with your name": (
            'promote("mean")\npromote("linear")'
        ),
    },
    "mlflow/05": {
        "One engine serves both models, and what did not run is skipped": (
            "k8s.core.patch_namespaced_config_map(config, k8s.namespace, {'metadata': {'labels': "
            "{'kubedirector.hpe.com/cmType': None}}})\n"
            "wait('the model to be dropped', lambda: served(http, address),"
            " until=lambda seen: 'income/champion' not in seen)"
        ),
        "The old request is refused by the scorer and answered by the engine": (
            'rows["wine"] = rows["wine"].drop(columns="alcohol")'
        ),
        "Converted, both answer with the same numbers": "convert = lambda old: old",
        "The portable request has the same answer everywhere": (
            'portable = lambda name: {"inputs": []}'
        ),
        "The biased world's model treats women worse, the fair world's does not": (
            'gaps["biased"] = 0.0\nwith mlflow.start_run(run_name="gap biased"):\n'
            '    mlflow.log_metric("gap", 0.0)'
        ),
    },
    "mlflow/06": {
        "The search has one parent and one child for each candidate, although ten were logged": (
            'client.create_run(experiment_id, tags={"mlflow.parentRunId": parent})'
        ),
        "After the crash each trial has exactly one child, and the best one is on the server": (
            'client.delete_run(children(bayes)[0]["info"]["run_id"])'
        ),
        "Spark lost a task, and still has the same models as one process; one child for each": (
            'client.delete_run(children(bagging)[0]["info"]["run_id"])'
        ),
        "The two intervals overlap, and that of the gain lies above zero": (
            "with mlflow.start_run(run_id=bagging):\n"
            '    mlflow.log_dict(intervals | {"gain": [-1.0, 1.0]}, "intervals.json")'
        ),
        "The leaky stack claims the impossible and is worse on new wines": (
            'child(stacking, {"stack": "leaky"}, {"claimed": 0.7, "rmse": 0.6})'
        ),
        "One model from two workers loads without Spark, and parallelism changes no number": (
            "validated[2] = [0.0] * len(validated[1])"
        ),
    },
    "mlflow/08": {
        "Two servers of your client's release run, each with a token of its own": (
            'http.headers["X-Auth-Token"] = "0" * 32'
        ),
        "Each server answers its own team, and nobody else in any of ten ways": (
            'keys["first"] = keys["nobody"] = keys["second"]'
        ),
        "A job logged from inside the cluster; under a foreign name the server answers nobody": (
            "[client.delete_run(one.info.run_id) for one in client.search_runs("
            '[client.get_experiment_by_name("from a job").experiment_id])]'
        ),
        "Eleven attacks were refused, and the server holds nothing of them": (
            'refusals["run a job in the server"] = (200, "")'
        ),
        "No run failed during the backup, and the restore brought back what was removed": (
            "client.delete_run(precious)\nprint(command('gc'))"
        ),
        "The server of today answers with the runs of 2025, and kept a backup from before the migration": (  # noqa: E501
            "[client.delete_run(one['info']['run_id']) for one in old_runs()]"
        ),
    },
}
