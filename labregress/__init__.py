"""Prove each use case of the MLflow workshop at each version: the command `labregress`.

It merges what the use cases install and names every conflict with its owners; it runs each case at
each version of MLflow in an environment that is thrown away; it compares the report with the last
accepted one, and fails on a new failure.

    labregress merge labregress/cases/sklearn labregress/cases/xgboost
    labregress run            # three versions, two cases
    labregress run --all      # seven versions
    labregress accept         # from now on this report is the one to compare with
"""
