"""How each checkpoint of the labs comes to fail in a learner's hands: what is broken, as a cell.

The world is broken, not the checkpoint: a session is signed out, an object deleted, a file lost, a
name mistyped. Its third hint must mend it (`test_hints`)."""

from __future__ import annotations

from tests.labs.broken_kubernetes import KUBERNETES
from tests.labs.broken_logistics import LOGISTICS
from tests.labs.broken_mlflow import MLFLOW
from tests.labs.broken_mlops import MLOPS

__all__ = ["BROKEN", "HURRY", "LAB_AGAIN", "PATIENCE"]

SIGN_OUT = """
from labhelpers.deadline import wait as _wait
http.delete(place.url + session["X-BDS-SESSION"], headers=session, timeout=30)
def _over():
    try:
        may_i("get", "pods", namespace)
    except client.ApiException:
        return True
"""
FORGOTTEN = SIGN_OUT + '_wait("the session to be forgotten", _over)'
DELETE_NOTEBOOK = """
_kind = {"plural": "kubedirectorclusters", **where}
k8s.custom.delete_namespaced_custom_object(name=name, **_kind)
def _left():
    listed = k8s.custom.list_namespaced_custom_object(**_kind)["items"]
    pods = k8s.core.list_namespaced_pod(k8s.namespace, label_selector=f"kubedirector.hpe.com/kdcluster={name}")
    return [one["metadata"]["name"] for one in listed if one["metadata"]["name"] == name] + pods.items
wait("the notebook to be gone", _left, until=lambda left: not left)
"""  # noqa: E501
UNLABEL = '{"metadata": {"labels": {"kubedirector.hpe.com/%s": None}}}'
SHIFT_THE_MODEL = """
_file = models / card["file"]
_model = skops.io.load(_file, trusted=trusted)
_model._baseline_prediction += 60
skops.io.dump(_model, _file)
"""
SHUFFLE = """
_mixed = frame["duration"].sample(frac=1, random_state=1).to_numpy()
frame.assign(duration=_mixed).to_parquet(feature_file)
"""
SPOIL_PREDICTIONS = """
_file = models / f"{model_name}-{model_version}-test.parquet"
pd.read_parquet(_file).assign(predicted=0.0).to_parquet(_file)
"""
NOT_SLOWER = """
slower = 1.0
_old = spark.read.load(path, "delta", versionAsOf=card["table_version"]).where("month = 2")
_later = "tpep_pickup_datetime + INTERVAL 29 DAYS AS tpep_pickup_datetime"
_old = _old.selectExpr("* EXCEPT (tpep_pickup_datetime)", _later).where(of(new_month))
_old.write.save(path, "delta", "overwrite", replaceWhere=of(new_month))
"""
DISCONNECT = """
connect_models("1")
wait("the others to be dropped", lambda: served(http, address), until=lambda seen: len(seen) == 1)
"""

MORE = KUBERNETES | LOGISTICS | MLFLOW | MLOPS

BROKEN: dict[str, dict[str, str]] = {
    "core/01": {
        "The platform knows your session": (
            'http.delete(place.url + session["X-BDS-SESSION"], headers=session, timeout=30)'
        ),
        "The session is yours and it ends": (
            'http.delete(place.url + session["X-BDS-SESSION"], headers=session, timeout=30)'
        ),
        "Both wrong sign-ins are refused": 'mistakes[1] = {"tenant_name": place.tenant}',
        "The kubeconfig points into your namespace, and only you can read it": (
            "place.kubeconfig.chmod(0o644)"
        ),
        "You may work here and only here": FORGOTTEN,
        "The neighbours' secrets stay theirs": FORGOTTEN,
    },
    "core/02": {
        "The catalogue has your app, and the shared training cluster is well": (
            'app = "jupyter-notbook"'
        ),
        "The Secret is there and labelled for KubeDirector": (
            "k8s.core.patch_namespaced_secret("
            f"secret_name, k8s.namespace, {UNLABEL % 'secretType'})"
        ),
        "The wrong role is refused, and the refusal names the right one": (
            'wrong["spec"]["roles"][0]["id"] = "controller"'
        ),
        "Your notebook is configured and no member is in trouble": DELETE_NOTEBOOK,
        "The pod runs": DELETE_NOTEBOOK,
        "Your own Jupyter lets you in through the gateway, and has the project repository": (
            DELETE_NOTEBOOK
        ),
        "The git server has the commit that your notebook pushed": (
            'git("commit", "--allow-empty", "--message", "no note"); '
            'git("push", "--force", "origin", "main")'
        ),
    },
    "core/03": {
        "The folder took a file twice and said nothing": "twice.unlink()",
        "The log lists exactly the files of the table": 'copy(first, rides / "stray.parquet")',
        "CONVERT TO DELTA moved nothing and lost nothing": 'fresh(copied / "_delta_log")',
        "Every hour of the day has rides, and nearly every ride a zone": (
            'spark.catalog.dropTempView("zones")'
        ),
        "Every trip arrived exactly once": "next(parcels)",
        "Atomicity: the killed writer left files, and no change": (
            "[file.unlink() for file in orphans()]"
        ),
        "Consistency: only rides that move forward, and the new column": (
            'spark.sql("RESTORE TABLE rides TO VERSION AS OF 0")'
        ),
        "Isolation: one lost and tried again, both effects are there, nobody saw half of one": (
            'spark.sql(f"UPDATE {tally} SET n = n + 1")'
        ),
        "Durability: a new process reads every ride back": (
            'spark.sql("DELETE FROM rides WHERE PULocationID = 1")'
        ),
        "RESTORE brought the rides back, ZORDER reads less, VACUUM removed the orphans": (
            'copy(next(iter(show.listing(rides))), rides / "orphan.parquet")'
        ),
        "A clean table is handed on, with its version": '(home / "trips.json").unlink()',
    },
    "core/04": {
        "The pinned version is readable and is what lab core-03 handed on": (
            'reader = spark.read.format("delta").option("versionAsOf", 99)'
        ),
        "Features are numbers, without gaps, and hold nothing from after the ride": (
            "feature_file.unlink()"
        ),
        "The baseline knows that longer rides take longer": SHUFFLE,
        "The job has left a model and a card on the project repository": "card_file.unlink()",
        "The model is clearly better than the baseline, and not too good to be true": (
            SPOIL_PREDICTIONS
        ),
        "The saved model predicts what the training job predicted": SHIFT_THE_MODEL,
    },
    "core/05": {
        "The model beats its baseline, says its card, and its file is there": (
            '(models / card["file"]).rename(models / "moved.skops")'
        ),
        "The scoring script is in the project repository": "script_file.unlink()",
        "The registry names the model, its data and its code": (
            "k8s.core.delete_namespaced_config_map(config_name, k8s.namespace)"
        ),
        "Nobody can change the record of this version": (
            "k8s.core.delete_namespaced_config_map(record, k8s.namespace)"
        ),
        "The engine serves your model": (
            "k8s.core.patch_namespaced_config_map("
            f"config_name, k8s.namespace, {UNLABEL % 'cmType'})\n"
            'wait("the model to be dropped", lambda: not served(http, address))'
        ),
        "The old model answers while the new registration is broken": (
            "apply_config_map(k8s, config_name, model, marks)\n"
            'wait("the engine to report no error", complaint, until=lambda text: not text)'
        ),
        "The engine loads no file but the registered one": (
            "apply_config_map(k8s, config_name, model, marks)\n"
            'wait("the engine to report no error", complaint, until=lambda text: not text)'
        ),
    },
    "core/06": {
        "The service is healthy and knows your model": 'http.headers["X-Auth-Token"] = "0" * 32',
        "One ride has a sensible prediction": 'url = url.replace(model_name, "boat")',
        "Longer routes take longer, and every zone has a prediction": "asked = asked[:10]",
        "Every mistake was the caller's, and the next request is served": (
            'mistakes["no token"] = ({}, url, good)'
        ),
        "The load was answered without a failure, says the engine": "counted = counters()",
        "Two workers serve, and no request failed on the way": (
            'scale_to(1)\nwait("one worker", workers, until=lambda seen: seen == 1)'
        ),
    },
    "core/07": {
        "The table has March, and the version behind your model is untouched": (
            'spark.sql(f"DELETE FROM delta.`{path}` WHERE {of(new_month)}")'
        ),
        "The speed has drifted and the distances have not": NOT_SLOWER,
        "Version 2 is trained on the new table version": "second_file.unlink()",
        "All versions answer, and not one request failed meanwhile": DISCONNECT,
        "The engine was told to reconnect, and no pod was restarted": (
            'restarts_before = {"another-pod": 0}'
        ),
        "Version 2 is better on the new month, and production is version 2": (
            'point_production_at("1", held)'
        ),
        "The monitor raises the alarm in the first days of the next month, and not before": (
            "alarm = 1.0"
        ),
        "The month column is what version 2 has learned": "april = held",
        "Version 3 will learn the recent pace, no month, and nothing of the next month": (
            "rides.to_parquet(third_rides)"
        ),
        "Version 3 holds in the month that it has not seen, is production, and no request failed": (
            'point_production_at("2", some)'
        ),
        "The table keeps its versions for more than a year": (
            'spark.sql(f"ALTER TABLE delta.`{path}` UNSET TBLPROPERTIES '
            "('delta.logRetentionDuration')\")"
        ),
        "Each model names a version of the table that can still be read": (
            "_data = entry(second)\n"
            'register("2", {key: _data[key] for key in _data if key != "table-version"})'
        ),
    },
} | MORE

# A hint that sends the learner back to another lab: which one.
LAB_AGAIN = {
    "The model beats its baseline, says its card, and its file is there": "core/04",
    "The table has grown by the month, once": "mlops/01",
}

# A checkpoint that waits for what will not come is not worth a minute of a test.
HURRY = """
import functools as _functools, labhelpers.cluster as _cluster, labhelpers.deadline as _waits
_patient = _waits.wait
def _hurried(*words, **more):
    return _patient(*words, **more | {"deadline": 2})
_waits.wait = _cluster.wait = wait = _hurried
"""
PATIENCE = "_waits.wait = _cluster.wait = wait = _patient"
