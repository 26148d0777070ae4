# %% [markdown]
# # Lab core-07: Change it while it runs
#
# A new month arrives, the city has changed, and your service follows without stopping.

# %% [markdown]
# ## What you will build
#
# - A **drift report**: how the new month differs from the data your model knows.
# - A **second version** of the model, served beside the first by the same engine, without a restart.
# - A **promotion** and a way back, and a query that says which data made which model.
#
# ![A new month becomes a new table version, a new model and a new ConfigMap; the engine reconnects
# while requests go on, and the pointer moves to version 2 and back.](../../Pictures/core-07-dynamic-pipeline.svg)

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-06 | The engine serves version 1 | `kubectl get kdcluster` |
# | Lab core-04's training program | It trains version 2 | `train_rides.py` in your code folder |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
model_name: str = "ride-duration"  # the model that changes
new_month: str = "2024-03"  # what arrives in the lake
new_rows: int = 60_000  # how many trips the new month brings
slower: float = 0.72  # midtown traffic in the new month, as a share of the old speed
seed: int = 11  # the same month at every run

# %% [markdown]
# ## Setup

# %%
import hashlib
import json
import os
import threading
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import requests

from labhelpers import spark as spark_helper
from labhelpers.check import begin, check
from labhelpers.cleanup import labels, remove
from labhelpers.cluster import KUBEDIRECTOR, connect, endpoints, token, wait_configured
from labhelpers.data import Drift, make_trips
from labhelpers.quiz import quiz
from labhelpers.settings import settings
from labhelpers.show import table
from labhelpers.wait import wait

# %%
# %load_ext labhelpers.magics
begin("core/07")
place, k8s = settings(), connect()
spark = spark_helper.session("core-07")
engine = f"inference-server-{place.user}"
