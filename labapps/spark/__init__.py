"""A Spark standalone cluster from the pyspark of the environment: master, workers, history."""
