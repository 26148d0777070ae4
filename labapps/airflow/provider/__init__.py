"""For DAGs: run jobs of the workbench as tasks.

    from labapps.airflow.provider.operator import RunJobOperator

`client` and `follow` know nothing of Airflow; `hook`, `trigger` and `operator` are its side.
"""
