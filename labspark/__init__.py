"""Spark with Delta and Iceberg, without a system Java: Java, jars, settings, a session. A leaf."""
