"""The Spark image as an executor on Kubernetes: what Spark says in the environment becomes argv."""

from __future__ import annotations

from pathlib import Path

import pytest

from labapps.spark import executor

pytestmark = pytest.mark.fast

TOLD = {
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@10.1.2.3:7078",
    "SPARK_EXECUTOR_ID": "7",
    "SPARK_EXECUTOR_CORES": "1",
    "SPARK_EXECUTOR_MEMORY": "1024m",
    "SPARK_APPLICATION_ID": "spark-1",
    "SPARK_EXECUTOR_POD_IP": "10.244.0.9",
    "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_EXECUTOR_POD_NAME": "taxi-exec-7",
}


def command(env: dict[str, str], listen: str = "0.0.0.0") -> list[str]:
    places = Path("/java"), Path("/spark")
    return executor.command(env, *places, listen, Path("/log4j2.properties"))


def value(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_executor_is_told_all_that_spark_says() -> None:
    words = command(TOLD)
    assert words[0] == "/java/bin/java"
    assert {"-Xms1024m", "-Xmx1024m"} <= set(words)
    assert value(words, "--driver-url") == TOLD["SPARK_DRIVER_URL"]
    assert value(words, "--hostname") == "10.244.0.9"
    assert value(words, "--podName") == "taxi-exec-7"
    assert value(words, "--resourceProfileId") == "0"


def test_options_keep_the_order_of_their_numbers() -> None:
    env = TOLD | {"SPARK_JAVA_OPT_10": "-Dten", "SPARK_JAVA_OPT_2": "-Dtwo"}
    words = [word for word in command(env) if word.startswith("-Dt")]
    assert words == ["-Dtwo", "-Dten"]


def test_classpath_has_the_settings_first_and_more_last() -> None:
    env = TOLD | {"SPARK_CONF_DIR": "/opt/spark/conf", "SPARK_CLASSPATH": "/more.jar"}
    assert value(command(env), "-cp") == "/opt/spark/conf:/spark/jars/*:/more.jar"
    assert value(command(TOLD), "-cp") == "/spark/jars/*"


def test_laptop_pod_names_the_address_it_listens_on() -> None:
    assert value(command(TOLD, "127.244.0.9"), "--hostname") == "127.244.0.9"


def test_missing_word_of_spark_is_named() -> None:
    with pytest.raises(KeyError, match="SPARK_DRIVER_URL"):
        command({name: told for name, told in TOLD.items() if name != "SPARK_DRIVER_URL"})
