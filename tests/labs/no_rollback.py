"""Lab mlops/06 without its rollback: the first cheat of `test_cheats`, on a table and nothing else.

It has a process of its own, because it starts Spark: history, tag, a good month and a bad one go
into a table; the lab's own checkpoint must fail there, and pass when the table was rolled back.
"""

from __future__ import annotations

import sys

import pandas as pd

from labdata import loans
from labhelpers import spark_session
from labhelpers.checkpoint import CheckFailed
from labrunner.curriculum import load
from tests.labs.checkpoints import checkpoints, foundations
from tests.repo.tree import ROOT

LAB, NAME, TABLE = "mlops/06", "The half-loaded month is not in the table", "ice.mlops.loans"


def main() -> None:
    """Make the table, look, roll back, look again."""
    spark = spark_session("mlops")
    spark.sql("CREATE NAMESPACE IF NOT EXISTS ice.mlops")
    spark.createDataFrame(loans.make(1_000, 7)[0]).writeTo(TABLE).using("iceberg").create()
    spark.sql(f"ALTER TABLE {TABLE} CREATE TAG trained_v1")
    schema = spark.table(TABLE).schema
    for kind, month in (("good", "2024-02"), ("texts", "2024-03")):
        batch = loans.batch(kind, month, 100, 7)[0].reindex(columns=schema.names).astype(object)
        rows = [[None if pd.isna(one) else one for one in row] for row in batch.to_numpy()]
        spark.createDataFrame(rows, schema).writeTo(TABLE).append()
    source = (ROOT / "notebooks" / "_src" / f"{load(ROOT).get(LAB).file}.py").read_text("utf-8")
    names = foundations(source)
    names.update(spark=spark, table=TABLE)  # its functions look into this very dictionary
    (seen,) = [one for one in checkpoints(LAB, source) if one.name.startswith(NAME)]
    try:
        seen.run(names)
    except CheckFailed as failed:
        print("caught:", failed)
    else:
        sys.exit("The checkpoint passed although the month is in the table.")
    question = f"SELECT parent_id FROM {TABLE}.snapshots ORDER BY committed_at DESC"
    before = spark.sql(question).collect()[0][0]
    spark.sql(f"CALL ice.system.rollback_to_snapshot('mlops.loans', {before})")
    seen.run(names)
    spark.stop()


if __name__ == "__main__":
    main()
