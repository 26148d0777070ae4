"""The data of the labs: generators, loaders, and where the committed samples are. A leaf.

`labdata.taxi` makes and reads New York taxi trips; `labdata.tables` makes and reads the tables of
the MLflow labs (wine, houses, income). A data set of another workshop is a module beside them.
`labdata.payload` turns scoring requests of MLflow 1.x into those of later releases.
"""
