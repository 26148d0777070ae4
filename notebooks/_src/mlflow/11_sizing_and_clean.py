# %% [markdown]
# # Lab mlflow-11: Sizing and deep clean
#
# Compute how large a cluster for this workshop must be, and prove that what you deleted is removed completely.

# %% [markdown]
# ## What you will build
#
# - A **size**: how many worker nodes a class needs, also when one of them fails.
# - An **inventory** for kubespray, written by a program and **validated** by another.
# - A list of **traces** that an application leaves: objects, finalizers, processes, ports, files.
# - The proof that all of them are **gone**, and two pages on what comes next:
#   [kubespray](kubespray.md) and [Kubeflow](kubeflow.md).

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Lab core-01 | Your session and your namespace | `kubectl auth whoami` |
# | Room for two pods and a volume claim | The last steps order them | `kubectl describe quota` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
learners: int = 12  # the size of the class
node_cores: int = 8  # cores of one worker node
node_memory: int = 32  # GiB of memory of one worker node
headroom: float = 0.2  # the share of each node that stays free for the system and for peaks
overlay: int = 50  # bytes that the network between nodes adds to a packet: VXLAN 50, IP in IP 20
image: str = "python:3.11"  # the programs need Python alone
finished: bool = False  # True: the clean-up removes what this lab has ordered

# %% [markdown]
# ## Setup

# %%
import copy
import ipaddress
import math

import yaml
from kubernetes import client
from kubernetes.stream import stream

from labhelpers import begin, check, fresh, quiz, settings, show, wait, workspace
from labhelpers.cluster import apply_config_map, connect, labels, remove

begin("mlflow/11")
place, k8s, home = settings(), connect(), fresh(workspace("mlflow-11"))
home.mkdir(parents=True)
inventory_file = home / "inventory.yaml"

# %% [markdown]
# ## 1. Size the cluster
#
# The scheduler places pods by their **requests**, so the sum of requests decides how many nodes you need. The
# first table lists the requests of one learner: a tracking server, an engine of two members, a notebook. Keep
# a part of each node free. Then add one node, so that the cluster still has room when a node fails. This is
# called **N+1**.

# %%
per_learner = {"tracking server": (0.15, 0.5), "deployment engine": (0.30, 1.25), "notebook": (0.25, 0.75)}
shared = {"training engine": (2.0, 4.0), "ingress, DNS, monitoring": (2.5, 6.0)}
cores = learners * sum(one[0] for one in per_learner.values()) + sum(one[0] for one in shared.values())
memory = learners * sum(one[1] for one in per_learner.values()) + sum(one[1] for one in shared.values())
show.table([[name, *size] for name, size in (per_learner | shared).items()],
           columns=["what", "cores", "GiB"], caption="requests")
print(f"{cores:.1f} cores and {memory:.1f} GiB for {learners} learners")


# %% tags=["blank"]
def workers(cores: float, memory: float) -> int:
    usable = 1 - headroom
    by_cores = math.ceil(cores / (node_cores * usable))
    by_memory = math.ceil(memory / (node_memory * usable))
    # blank: Return the larger of both, and one node more: the one that may fail.
    # stub: return min(by_cores, by_memory)
    # solution
    return max(by_cores, by_memory) + 1
    # end of solution


size_file = home / "size.txt"
print(size_file.write_text(str(workers(cores, memory))) and f"{workers(cores, memory)} worker nodes")

# %%
def fits(nodes: int, cores: float, memory: float) -> bool:
    free = 1 - headroom
    return cores <= nodes * node_cores * free and memory <= nodes * node_memory * free


sizes = [(cores * n, memory * m) for n in (0.5, 1, 3) for m in (0.5, 1, 3)]
check(
    "Each size survives the loss of a node, and none is a node too large",
    lambda: int(size_file.read_text()) == workers(cores, memory)
    and all(fits(workers(*size) - 1, *size) and not fits(workers(*size) - 2, *size) for size in sizes),
    saw=lambda: f"{workers(cores, memory)} nodes for {learners} learners; {len(sizes)} sizes tried",
    hint=[
        "Look at both numbers of nodes, by cores and by memory: the larger one decides.",
        "Usually the spare node is missing: `fits(workers(cores, memory) - 1, cores, memory)` in a cell must be true.",
        "Run the cell that begins `def workers(` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Write the inventory
#
# [kubespray](kubespray.md) builds a cluster from an **inventory**: which machine has which role. Generate it,
# to avoid typing errors. Two rules matter most. **etcd** needs an odd number of members: a fourth member does
# not let it survive one more failure. And the three address ranges (nodes, pods, services) must not overlap.

# %%
def write(nodes: int) -> dict:
    machines = [f"node{number}" for number in range(1, nodes + 4)]
    hosts = {name: {"ansible_host": f"192.168.10.{10 + number}", "ip": f"192.168.10.{10 + number}"}
             for number, name in enumerate(machines)}
    measured = {name: {"mtu": 1500, "swap_mb": 0} for name in machines}  # what the machines say
    settings = {"kube_service_addresses": "10.233.0.0/18", "kube_pods_subnet": "10.233.64.0/18",
                "kube_network_node_prefix": 24, "node_network": "192.168.10.0/24",
                "calico_veth_mtu": 1500 - overlay, "kubelet_fail_swap_on": True}
    groups = {"kube_control_plane": machines[:3], "etcd": machines[:3], "kube_node": machines[3:]}
    children = {name: {"hosts": dict.fromkeys(members)} for name, members in groups.items()}
    return {"all": {"hosts": {name: hosts[name] | measured[name] for name in machines},
                    "vars": settings, "children": children}}


inventory_file.write_text(yaml.safe_dump(write(workers(cores, memory)), sort_keys=False))
print(inventory_file.read_text()[:420], "…")

# %%
def written() -> dict:
    return yaml.safe_load(inventory_file.read_text())["all"]


check(
    "The inventory has three machines for etcd and the workers that you computed",
    lambda: len(written()["children"]["etcd"]["hosts"]) == 3
    and len(written()["children"]["kube_node"]["hosts"]) == workers(cores, memory)
    and len({one["ip"] for one in written()["hosts"].values()}) == len(written()["hosts"]),
    saw=lambda: ", ".join(f"{name}: {len(group['hosts'])}" for name, group in written()["children"].items()),
    hint=[
        "Look at the file: each group lists its machines.",
        "Usually the file was written before the size was right: `workers(cores, memory)` in a cell.",
        "Run the cells that begin `def workers(` and `def write(` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Validate it
#
# A mistake in an inventory shows late, in the middle of an installation, as some other error. A validator
# finds it before. Each of its messages names the place, the value found and what was expected.

# %% tags=["blank"]
def overlapping(values: dict) -> list[str]:
    names = ["node_network", "kube_pods_subnet", "kube_service_addresses"]
    nets = [(name, ipaddress.ip_network(values[name])) for name in names]
    pairs = [(one, other) for at, one in enumerate(nets) for other in nets[at + 1:]]
    # blank: Return a message with both names for each of the `pairs` whose networks overlap.
    # stub: return []
    # solution
    return [f"{a[0]} {a[1]} overlaps {b[0]} {b[1]}" for a, b in pairs if a[1].overlaps(b[1])]
    # end of solution


# %%
def problems(inventory: dict) -> list[str]:
    hosts, values = inventory["all"]["hosts"], inventory["all"]["vars"]
    groups = {name: list(group["hosts"]) for name, group in inventory["all"]["children"].items()}
    found, etcd = overlapping(values), len(groups["etcd"])
    if etcd % 2 == 0 or etcd < 3:
        found.append(f"etcd has {etcd} members; an odd number, 3 or more, survives a failure")
    found += [f"{name} has {host['swap_mb']} MB of swap; the kubelet does not start" for name, host in hosts.items()
              if host["swap_mb"] and values["kubelet_fail_swap_on"]]
    least = min(host["mtu"] for host in hosts.values())
    if values["calico_veth_mtu"] > least - overlay:
        found.append(f"calico_veth_mtu is {values['calico_veth_mtu']}; the nodes leave {least - overlay}")
    room = 2 ** (values["kube_network_node_prefix"] - ipaddress.ip_network(values["kube_pods_subnet"]).prefixlen)
    if len(hosts) > room:
        found.append(f"{len(hosts)} nodes; the pods' range has room for {room}")
    found += [f"{group} names {name}, which is no host" for group, names in groups.items() for name in names
              if name not in hosts]
    return found


# %%
def broken(change) -> list[str]:
    inventory = copy.deepcopy({"all": written()})
    change(inventory["all"])
    return problems(inventory)


def two_etcd(all_: dict) -> None:
    all_["children"]["etcd"]["hosts"].popitem()


mistakes = {"even etcd": two_etcd,
            "swap": lambda all_: all_["hosts"]["node4"].update(swap_mb=2048),
            "overlap": lambda all_: all_["vars"].update(kube_pods_subnet="10.233.0.0/17"),
            "MTU": lambda all_: all_["hosts"]["node2"].update(mtu=1450),
            "range too small": lambda all_: all_["vars"].update(kube_pods_subnet="10.233.64.0/23"),
            "unknown host": lambda all_: all_["children"]["kube_node"]["hosts"].update(node99=None)}
show.table([[name, "; ".join(broken(change))] for name, change in mistakes.items()], columns=["mistake", "found"])

# %%
check(
    "The written inventory has no problem, and each of six mistakes is found, once",
    lambda: problems({"all": written()}) == [] and all(len(broken(change)) == 1 for change in mistakes.values())
    and "overlaps" in broken(mistakes["overlap"])[0],
    saw=lambda: f"{len(problems({'all': written()}))} problems; mistakes: {[len(broken(c)) for c in mistakes.values()]}",
    hint=[
        "Look at the table: each mistake has one message.",
        "Usually one mistake finds nothing: `broken(mistakes['overlap'])` in a cell shows its list.",
        "Run the cells that begin `def write(`, `def overlapping(` and `def broken(` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Create an application that leaves traces
#
# The application is a pod that listens on a port, sends heartbeats, and keeps a file on a volume. A
# **finalizer** is a name in an object's metadata: the API server keeps the object until its owner has removed
# that name. A second pod, the witness, counts the heartbeats and tries the port, also after the application
# was deleted.

# %%
marks, WHERE = labels("mlflow/11"), {"namespace": k8s.namespace}
name, witness = f"traces-{place.user}", f"witness-{place.user}"
PROGRAMS = {"app.py": """
import http.server, os, pathlib, threading, time, urllib.request as ask
file = pathlib.Path(os.environ.get("POD_ROOT", "") + "/data/beats")
print("found", len(file.read_text().split()) if file.exists() else 0, "old beats", flush=True)
host, opener = os.environ.get("POD_LISTEN_IP", "0.0.0.0"), ask.build_opener(ask.ProxyHandler({}))
server = http.server.ThreadingHTTPServer((host, 8080), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
while True:
    with file.open("a") as log:
        print("beat", file=log)
    try:
        opener.open(os.environ["WITNESS"], timeout=2).close()
    except OSError as error:
        print("no witness:", error, flush=True)
    time.sleep(0.3)
"""}

# %%
PROGRAMS["witness.py"] = """
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    beats = 0
    def do_GET(self):
        Page.beats += self.path == "/beat"
        self.send_response(200); self.end_headers(); self.wfile.write(str(Page.beats).encode())
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer((os.environ.get("POD_LISTEN_IP", "0.0.0.0"), 8080), Page).serve_forever()
"""


def template(app: str, program: str, mounts: list = (), **env: str) -> dict:
    container = {"name": "main", "image": image, "command": ["sh", "-c", f'exec python3 "${{POD_ROOT:-}}/programs/{program}"'],
                 "env": [{"name": key, "value": value} for key, value in env.items()],
                 "resources": {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"cpu": "250m", "memory": "96Mi"}},
                 "volumeMounts": [{"name": "programs", "mountPath": "/programs"}, *mounts]}
    volumes = [{"name": "programs", "configMap": {"name": f"{witness}-programs"}}]
    return {"metadata": {"labels": marks | {"app": app}},
            "spec": {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 2}}


# %%
def order() -> None:
    data = [{"name": "data", "mountPath": "/data"}]
    claim = {"metadata": {"name": "data", "labels": marks}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}}
    address = f"http://{witness}.{k8s.namespace}.svc.cluster.local:8080/beat"
    spec = {"replicas": 1, "serviceName": name, "selector": {"matchLabels": {"app": name}},
            "volumeClaimTemplates": [claim], "template": template(name, "app.py", data, WITNESS=address)}
    k8s.apps.create_namespaced_stateful_set(body={"metadata": {"name": name, "labels": marks}, "spec": spec}, **WHERE)
    meta = {"name": name, "labels": marks, "finalizers": ["labs.house-on-the-lake/billing"]}
    k8s.core.create_namespaced_config_map(body={"metadata": meta, "data": {"plan": "small"}}, **WHERE)
    ports = {"selector": {"app": name}, "ports": [{"port": 8080}], "clusterIP": "None"}
    k8s.core.create_namespaced_service(body={"metadata": {"name": name, "labels": marks}, "spec": ports}, **WHERE)


# %%
KINDS = {"StatefulSet": (k8s.apps, "stateful_set"), "Pod": (k8s.core, "pod"), "ConfigMap": (k8s.core, "config_map"),
         "Service": (k8s.core, "service"),
         "PersistentVolumeClaim": (k8s.core, "persistent_volume_claim")}


def objects() -> list:
    found = []
    for kind, (api, noun) in KINDS.items():
        listed = getattr(api, f"list_namespaced_{noun}")(**WHERE).items
        found += [(kind, one.metadata) for one in listed if name in one.metadata.name]
    return found


# %%
def wipe() -> None:
    for kind, meta in objects():
        api, noun = KINDS[kind]
        if meta.finalizers and kind == "ConfigMap":
            getattr(api, f"patch_namespaced_{noun}")(meta.name, body={"metadata": {"finalizers": None}}, **WHERE)
        try:
            getattr(api, f"delete_namespaced_{noun}")(meta.name, **WHERE)
        except client.ApiException as gone:
            print(kind, meta.name, gone.reason)
    wait("the traces of an earlier run to go", objects, until=lambda left: not left, deadline=120)


def on_witness(code: str) -> str:
    command = ["python3", "-c", f"import os, socket, urllib.request as ask\nme = os.environ.get('POD_LISTEN_IP', '127.0.0.1')\n{code}"]
    pod = k8s.core.list_namespaced_pod(**WHERE, label_selector=f"app={witness}").items[0].metadata.name
    return stream(k8s.core.connect_get_namespaced_pod_exec, pod, **WHERE, command=command, stdout=True, stderr=True).strip()


def beats() -> int:
    return int(on_witness("print(ask.build_opener(ask.ProxyHandler({})).open(f'http://{me}:8080/count').read().decode())"))


# %%
apply_config_map(k8s, f"{witness}-programs", PROGRAMS, marks)
if not k8s.core.list_namespaced_service(**WHERE, field_selector=f"metadata.name={witness}").items:
    ports = {"selector": {"app": witness}, "ports": [{"port": 8080}], "clusterIP": "None"}
    k8s.core.create_namespaced_service(body={"metadata": {"name": witness, "labels": marks}, "spec": ports}, **WHERE)
    spec = {"selector": {"matchLabels": {"app": witness}}, "template": template(witness, "witness.py")}
    k8s.apps.create_namespaced_deployment(body={"metadata": {"name": witness, "labels": marks}, "spec": spec}, **WHERE)
wipe()
before = len(objects())
order()
first = wait("the first beats", beats, until=lambda seen: seen > 2, deadline=120, ignoring=(OSError, ValueError, LookupError, client.ApiException))
address = on_witness(f"print(socket.getaddrinfo('{name}.{k8s.namespace}.svc.cluster.local', 8080)[0][4][0])")
print(first, "beats from", address)

# %% [markdown]
# Now measure all five traces in one function. A stuck object has a deletion timestamp and a finalizer; a
# running process still sends heartbeats; a port is open when the witness can connect to it.

# %%
def is_open() -> bool:
    code = (f"try:\n  socket.create_connection(('{address}', 8080), 2).close(); "
            "print('open')\nexcept OSError as error:\n  print(error)")
    return on_witness(code) == "open"


def is_beating() -> bool:
    seen = beats()
    try:
        return wait("another beat", beats, until=lambda now: now > seen, deadline=4) > seen
    except TimeoutError:
        return False


# %%
def traces() -> dict[str, int]:
    found = objects()
    return {"objects": len(found), "stuck by a finalizer": sum(bool(one.deletion_timestamp and one.finalizers) for _, one in found),
            "processes": int(is_beating()), "ports": int(is_open()),
            "files": sum(kind == "PersistentVolumeClaim" for kind, _ in found)}


running = traces()
show.table([[trace, number] for trace, number in running.items()], columns=["trace", "while it runs"])

# %%
check(
    "The application runs and leaves traces of four kinds",
    lambda: {"processes": 1, "ports": 1, "files": 1, "objects": 5}.items() <= traces().items(),
    saw=lambda: ", ".join(f"{trace}: {number}" for trace, number in traces().items()),
    hint=[
        "Look at the table: five objects, a process, a port, a file.",
        f"Usually the claim waits for a volume: `kubectl describe pvc data-{name}-0` in a terminal.",
        "Run the cell that begins `apply_config_map(` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Delete it, and measure again
#
# Delete what you created: the StatefulSet, the Service and the ConfigMap. All calls succeed. Then measure
# again. The claim of a StatefulSet is **kept** on purpose, so that deleting a program does not delete its
# database. An object with a finalizer gets a deletion timestamp, and stays.

# %%
k8s.apps.delete_namespaced_stateful_set(name, **WHERE)
k8s.core.delete_namespaced_service(name, **WHERE)
deleted = k8s.core.delete_namespaced_config_map(name, **WHERE)
wait("the pod to be gone", lambda: [kind for kind, _ in objects()], until=lambda kinds: "Pod" not in kinds, deadline=120)
after = traces()
show.table([[trace, running[trace], after[trace]] for trace in running], columns=["trace", "while it ran", "after the deletion"])


# %% tags=["blank"]
def stuck() -> list:
    # blank: Return the [kind, name, finalizers] of each of `objects()` that has a `deletion_timestamp`
    # blank: and still `finalizers`.
    # stub: return []
    # solution
    return [[kind, meta.name, meta.finalizers] for kind, meta in objects()
            if meta.deletion_timestamp and meta.finalizers]
    # end of solution


print(stuck())

# %%
check(
    "Process and port are gone; a claim and a stuck object are left",
    lambda: traces() == {"objects": 2, "stuck by a finalizer": 1, "processes": 0, "ports": 0, "files": 1}
    and stuck() == [["ConfigMap", name, ["labs.house-on-the-lake/billing"]]],
    saw=lambda: ", ".join(f"{trace}: {number}" for trace, number in traces().items()),
    hint=[
        "Look at the second column: what is not zero?",
        f"Usually the pod is still terminating: `kubectl get pods -l app={name}` in a terminal.",
        "Run the cells that begin `apply_config_map(`, `k8s.apps.delete_namespaced` and `def stuck(` again, then this one.",
    ],
)

# %% [markdown]
# ## 6. Prove that it is gone
#
# The controller that added a finalizer removes it when its work is done; here you play that controller. If you
# remove a finalizer of another controller, its work is never done, so ask its owner first. Delete the claim by
# name; its volume is deleted with it. Whether the **file** is gone cannot be seen from outside: create the
# application once more, and read how many old heartbeats it found.

# %%
def prove() -> str:
    wipe()
    order()
    found = wait("the new application's first line", lambda: k8s.core.read_namespaced_pod_log(f"{name}-0", **WHERE),
                 until=lambda text: "old beats" in (text or ""), deadline=120, ignoring=(OSError, client.ApiException))
    wipe()
    return found.splitlines()[0]


found = prove()
last = traces()
print(found)
show.table([[trace, running[trace], after[trace], last[trace]] for trace in running],
           columns=["trace", "while it ran", "after the deletion", "after the clean"])

# %%
check(
    "Nothing is left: no object, no finalizer, no process, no port, no file",
    lambda: not any(traces().values()) and "found 0 old beats" in found and beats() > 0,
    saw=lambda: f"{traces()}; the new application {found}",
    hint=[
        "Look at the last column: all zero.",
        "Usually an object came back, because the StatefulSet that makes it still exists: `objects()` in a cell.",
        "Run the cell that begins `def prove(` again, then this one.",
    ],
)

# %% [markdown]
# The same five measurements prove that a whole cluster is removed: `reset.yml` of kubespray removes objects
# and processes, and leaves firewall rules, network devices and folders such as `/var/lib/etcd`, on which the
# next installation may fail. [The page on kubespray](kubespray.md) lists them.

# %% [markdown]
# ## If it does not work
#
# - **A namespace stays `Terminating`**: an object in it has a finalizer whose controller is gone. List the
#   objects with a time of deletion, as in step 5.
# - **A claim stays `Pending`**: no storage class is the default one. `kubectl get pvc` shows the reason.
# - **The validator finds nothing in a wrong inventory**: measure the machines' `mtu` and `swap_mb`, do not
#   guess them. `ip link` and `free -m` show them.

# %% [markdown]
# ## Exercise
#
# How many learners fit on four worker nodes with N+1? Store the largest number in `most`.
#
# Hint: raise the number until `workers` returns 5.

# %% tags=["exercise"]
# stub: most = None
# solution
each = [sum(one[at] for one in per_learner.values()) for at in (0, 1)]
fixed = [sum(one[at] for one in shared.values()) for at in (0, 1)]
most = max(n for n in range(1, 200) if workers(fixed[0] + n * each[0], fixed[1] + n * each[1]) <= 4)
# end of solution
print(most, "learners")

# %% [markdown]
# ## Recap
#
# - You computed a **size** that survives the loss of a node.
# - A program wrote the **inventory**, and a validator found six mistakes.
# - You measured five **traces**, and saw what remains after a deletion that succeeded.
# - You **proved** that all of them are removed.
#
# More: [Finalizers](https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/),
# [Resource management](https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/),
# [kubespray](kubespray.md), [Kubeflow](kubeflow.md).

# %%
quiz(
    "An etcd of four members loses two. What happens?",
    ["It goes on", "It stops accepting writes", "It elects two leaders"],
    right=1,
    because="A majority of four is three; a cluster of three also survives one failure only.",
)
quiz(
    "Which number places a pod on a node?",
    ["Its limits", "What it uses", "Its requests"],
    right=2,
    because="The scheduler adds up requests; limits and use do not count.",
)
quiz(
    "Deleting an object succeeded, and it is still there. Why?",
    ["It has a finalizer", "The API is slow", "It was changed meanwhile"],
    right=0,
    because="It has a deletion timestamp and stays until its controller removes the finalizer.",
)

# %% [markdown]
# ## Clean up
#
# To remove the witness, type `finished = True` in a cell and run this one; running it twice is safe. The
# inventory stays.

# %%
if finished:
    wipe()
    k8s.apps.delete_collection_namespaced_deployment(**WHERE, label_selector=",".join(f"{k}={v}" for k, v in marks.items()))
    k8s.core.delete_collection_namespaced_service(**WHERE, label_selector=",".join(f"{k}={v}" for k, v in marks.items()))
print(remove(k8s, "mlflow/11") if finished else "Kept: the witness and the inventory.")
