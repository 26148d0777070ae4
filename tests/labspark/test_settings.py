"""What a session asks of Spark, and what it says when Java or the jar is not right; no Spark."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pyspark
import pytest

from labspark import jars, java, place
from labspark import session as spark
from labspark.errors import JarUnusable, JavaUnusable, SparkUnavailable

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECT_REPO", str(tmp_path / "repository"))
    monkeypatch.setenv("LABS_CACHE", str(tmp_path / "cache"))
    for name in ("SPARK_MASTER", "SPARK_DELTA_COORDINATES", "LABS_JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)


def fake_java(folder: Path, version: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").touch()
    (folder / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="java.base"\n')
    return folder


def test_settings_name_delta_and_iceberg() -> None:
    wanted = spark.settings()
    assert wanted["spark.sql.catalog.spark_catalog"].endswith("DeltaCatalog")
    assert wanted["spark.sql.catalog.ice"].endswith("SparkCatalog")
    assert wanted["spark.master"] == "local[*]"
    assert wanted["spark.ui.enabled"] == "false"


def test_settings_keep_tables_in_the_project_repository(tmp_path: Path) -> None:
    wanted = spark.settings()
    for name in ("spark.sql.warehouse.dir", "spark.sql.catalog.ice.warehouse"):
        assert wanted[name].startswith(str((tmp_path / "repository").resolve()))


def test_settings_leave_half_the_memory_alone() -> None:
    total = psutil.virtual_memory().total
    assert spark.heap() <= max(total // 2, spark.SMALLEST)


def test_pod_that_is_too_small_for_spark_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_MEMORY_LIMIT", str(768 * 2**20))
    with pytest.raises(SparkUnavailable, match=r'may use 768 MiB.*memory = "3Gi"'):
        spark.settings()
    monkeypatch.setenv("SPARK_CONF_spark_driver_memory", "300m")
    assert spark.settings()["spark.driver.memory"] == "300m", "who says the size has the last word"
    monkeypatch.delenv("SPARK_CONF_spark_driver_memory")
    monkeypatch.setenv("POD_MEMORY_LIMIT", str(3 * 2**30))
    assert spark.settings()["spark.driver.memory"].endswith("m")


def test_settings_obey_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_CONF_spark_sql_shuffle_partitions", "64")
    monkeypatch.setenv("SPARK_CONF_SPARK_UI_ENABLED", "true")
    monkeypatch.setenv("SPARK_CONF_executorEnv_MY__NAME", "x")
    monkeypatch.setenv("SPARK_CONF_DIR", "/etc/spark")
    wanted = spark.settings(conf={"spark.sql.shuffle.partitions": "3"})
    assert wanted["spark.sql.shuffle.partitions"] == "64"
    assert wanted["spark.ui.enabled"] == "true"
    assert wanted["spark.executorEnv.MY_NAME"] == "x"
    assert "spark.DIR" not in wanted
    assert "spark.dir" not in wanted


def test_settings_send_the_jar_to_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_MASTER", "spark://master:7077")
    monkeypatch.setattr(jars, "lakehouse_jar", lambda: Path("/somewhere/lakehouse.jar"))
    wanted = spark.settings()
    assert wanted["spark.master"] == "spark://master:7077"
    assert wanted["spark.jars"] == "/somewhere/lakehouse.jar"
    assert "spark.driver.host" not in wanted


def test_settings_tell_executors_on_kubernetes_the_address_of_the_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPARK_MASTER", "k8s://https://127.0.0.1:6443")
    monkeypatch.setattr(jars, "lakehouse_jar", lambda: Path("/somewhere/lakehouse.jar"))
    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
    wanted = spark.settings()
    assert wanted["spark.driver.host"] == "127.0.0.1"
    assert wanted["spark.driver.bindAddress"] == "0.0.0.0"
    assert wanted["spark.jars"] == "/somewhere/lakehouse.jar"
    assert "PYSPARK_PYTHON" not in os.environ, "the executors' image has a Python of its own"
    monkeypatch.setenv("SPARK_CONF_spark_driver_host", "10.1.2.3")
    assert spark.settings()["spark.driver.host"] == "10.1.2.3"


def test_settings_refuse_a_master_that_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_MASTER", "k8s://https://no-such-host.invalid")
    monkeypatch.setattr(jars, "lakehouse_jar", lambda: Path("/somewhere/lakehouse.jar"))
    with pytest.raises(SparkUnavailable, match=r"SPARK_MASTER, .* found 'k8s://https://no-such"):
        spark.settings()


def test_settings_take_maven_coordinates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_DELTA_COORDINATES", "io.delta:delta-spark_2.13:4.0.0")
    monkeypatch.setenv("SPARK_MASTER", "spark://master:7077")
    wanted = spark.settings()
    assert wanted["spark.jars.packages"] == "io.delta:delta-spark_2.13:4.0.0"
    assert "spark.jars" not in wanted


def test_java_comes_from_the_wheel() -> None:
    assert java.java_version(java.find_java()) == 21


def test_java_of_the_wrong_version_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, number in (("1.8.0_402", 8), ("25.0.1", 25)):
        monkeypatch.setenv("LABS_JAVA_HOME", str(fake_java(tmp_path / version, version)))
        with pytest.raises(JavaUnusable, match=rf"17 to 23 .* found Java {number} .*make setup"):
            java.find_java()


def test_java_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABS_JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaUnusable, match="found nothing there; type `make setup`"):
        java.find_java()
    monkeypatch.delenv("LABS_JAVA_HOME")
    monkeypatch.setattr(java, "_candidates", list)
    with pytest.raises(JavaUnusable, match=r"found none .*; type `make setup`"):
        java.find_java()


def test_java_home_serves_the_scripts_of_spark() -> None:
    home = java.java_home()
    command = [home / "bin" / "java", "--add-modules=jdk.incubator.vector", "-version"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    bare = java.find_java() / "bin" / "java"
    refused = subprocess.run([bare, *command[1:]], capture_output=True, check=False)
    assert refused.returncode != 0, "the wrapper is not needed any more"


def small_wheel(folder: Path) -> Path:
    source = folder / "big.jar"
    with zipfile.ZipFile(source, "w") as jar:
        for name in ("io/delta/A.class", "org/other/B.class", "error/delta-error-classes.json"):
            jar.writestr(name, name)
    return source


def test_jar_is_cut_to_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "wheel_jar", lambda: small_wheel(tmp_path))
    with zipfile.ZipFile(jars.lakehouse_jar()) as jar:
        assert set(jar.namelist()) == {
            "io/delta/A.class",
            "error/delta-error-classes.json",
            jars.SERVICES,
        }
        assert "DeltaDataSource" in jar.read(jars.SERVICES).decode()


def test_jar_that_is_cut_needs_the_wheels_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image holds the small jar alone."""
    source = small_wheel(tmp_path)
    monkeypatch.setattr(jars, "wheel_jar", lambda: source)
    made = jars.lakehouse_jar()
    monkeypatch.setattr(jars, "wheel_jar", lambda: pytest.fail("the wheel's jar was asked for"))
    assert jars.lakehouse_jar() == made


def test_jar_survives_two_learners_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = small_wheel(tmp_path)
    monkeypatch.setattr(jars, "wheel_jar", lambda: source)
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(lambda _: jars.lakehouse_jar(), range(8)))
    assert len(made) == 1
    (jar,) = made
    assert [file.name for file in jar.parent.iterdir()] == ["lakehouse.jar"]


def test_jar_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyspark, "__version__", "4.0.3")
    with pytest.raises(JarUnusable, match=r"pyspark 4\.0\.0, .* found 4\.0\.3; type `make setup`"):
        jars.lakehouse_jar()


def test_jar_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(jars, "wheel_jar", lambda: small_wheel(tmp_path))
    monkeypatch.setattr(jars, "cut", fill)
    with pytest.raises(JarUnusable, match=r"Expected 50 MB free .* found \d+ MB; .* LABS_CACHE"):
        jars.lakehouse_jar()
    assert not list((tmp_path / "cache").rglob("*.jar"))


def test_jar_in_a_cache_that_is_read_only_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "wheel_jar", lambda: small_wheel(tmp_path))
    monkeypatch.setenv("LABS_CACHE", str(small_wheel(tmp_path)))  # a file, where nothing fits in
    with pytest.raises(JarUnusable, match="set LABS_CACHE to a folder that you may write to"):
        jars.lakehouse_jar()


def test_jar_that_is_damaged_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.jar"
    broken.write_bytes(b"no zip")
    monkeypatch.setattr(jars, "wheel_jar", lambda: broken)
    with pytest.raises(JarUnusable, match="found a damaged file; type `make setup`"):
        jars.lakehouse_jar()


def test_preparing_without_room_leaves_the_archive_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(jars, "wheel_jar", lambda: small_wheel(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    jars.prepare()
    assert "Expected 400 MB free" in capsys.readouterr().out
    assert jars.archive() is None


def test_repository_is_in_the_home_without_a_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROJECT_REPO")
    monkeypatch.setenv("LABS_HOME", str(tmp_path / "home"))
    assert place.project_repo() == (tmp_path / "home" / "project_repo").resolve()
    monkeypatch.setenv("EZMERAL_USER", "Ann O'Nymous/../x")
    assert place.user() == "Ann-O-Nymous-x"
