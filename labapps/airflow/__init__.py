"""Apache Airflow, four components in one pod; runs in the environment `airflow` only."""
