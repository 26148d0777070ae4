"""Reconciling a kdcluster: what is observed, and what is to be done about it.

Everything here is pure: `cluster.reconcile(observed) -> Plan`. Doing it is `act`'s work.
"""
