"""Admission: what the API server asks before it stores a kdapp, kdcluster, kdconfig or claim.

The judgements are pure functions of the request and of a World that was gathered for it.
"""
