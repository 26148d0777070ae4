# %% [markdown]
# # Lab mlflow-10: The MTU black hole
#
# Build a network that loses only large packets, find its MTU with a probe, and fix it in three ways.

# %% [markdown]
# ## What you will build
#
# - Two machines and an **overlay** between them, made of network namespaces: no root, no virtual machine.
# - The **black hole**: a small request is answered, a large upload hangs forever, and nothing is logged.
# - A **probe** that measures the path MTU: the largest packet that passes from end to end.
# - A healthy network for comparison, and three **cures**, each measured.

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | Linux that lets users make namespaces | The two machines are namespaces | `unshare -rn true` |
# | The programs `ip` and `nsenter` | They connect the machines | `ip -V; nsenter -V` |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
ends: int = 1500  # the largest packet that the two machines' devices send (their MTU)
middle: int = 1376  # the largest packet that the overlay between them carries
patience: float = 4.0  # seconds without an answer that count as a hang
finished: bool = False  # True: the clean-up removes what this lab measured

# %% [markdown]
# ## Setup
#
# This lab reproduces a real failure. A training cluster with virtual accelerators was up, its health checks
# passed, and small jobs ran. Each job with a model of more than a few kilobytes hung. The cause was the MTU
# of one switch of the overlay.

# %%
import json
import shutil
import subprocess
import sys

from labhelpers import begin, check, fresh, quiz, show, workspace

begin("mlflow/10")
home = fresh(workspace("mlflow-10"))
home.mkdir(parents=True)
measured = home / "measured.json"
worlds: list["World"] = []
servers: dict[tuple, subprocess.Popen] = {}  # by world and program


def note(**more) -> None:
    known = json.loads(measured.read_text()) if measured.exists() else {}
    measured.write_text(json.dumps(known | more))


# %% [markdown]
# ## 1. Build two machines and an overlay
#
# A **network namespace** has its own devices, addresses and routes. A pair of virtual devices connects two of
# them like a cable. The left and the right machine are each connected to a bridge, and the cable between the
# bridges is the overlay: its **MTU** is smaller. A bridge has no address, so it sends no error message.
#
# **Offloads** make this experiment void: the kernel passes packets of up to 64 kB to a virtual device without
# cutting them, and these pass the small MTU. Switch the offloads off, and check that they are off.

# %%
OFFLOADS = """
import ctypes, fcntl, socket, struct, sys
TSO, GSO, GRO, TX = (0x1E, 0x1F), (0x23, 0x24), (0x2B, 0x2C), (0x16, 0x17)
def ethtool(device, command, value=0):
    data = ctypes.create_string_buffer(struct.pack("II", command, value))
    request = struct.pack("16sP", device.encode(), ctypes.addressof(data))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8946, request)
    return struct.unpack("II", data.raw[:8])[1]
for device in sys.argv[1:]:
    for get, put in (TSO, GSO, GRO, TX):
        ethtool(device, put, 0)
    print(device, *[ethtool(device, get) for get, _ in (TSO, GSO, GRO)])
"""


# %%
def open_namespace(*inside: str) -> subprocess.Popen:
    holder = subprocess.Popen([*inside, "sh", "-c", "echo ready; exec cat", "mlflow-10"], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    line = holder.stdout.readline().strip()
    if line != "ready":
        raise OSError(f"This machine makes no network namespace: {line}")
    return holder


def enter(holder: subprocess.Popen) -> list[str]:
    return ["nsenter", "--preserve-credentials", "-U", "-n", "-t", str(holder.pid)]


# %%
def inside(holder: subprocess.Popen, *words: str) -> str:
    done = subprocess.run([*enter(holder), *words], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise OSError(f"{' '.join(words)[:60]}: {done.stderr.strip()[-200:]}")
    return done.stdout


def devices(world: "World") -> list[str]:
    listed = inside(world.middle, "ip", "-o", "link").splitlines()
    return [line.split(": ")[1].split("@")[0] for line in listed if ": lo:" not in line]


def switch_off(world: "World") -> str:
    places = ((world.left, ["eth0"]), (world.right, ["eth0"]), (world.middle, devices(world)))
    return "".join(inside(side, sys.executable, "-c", OFFLOADS, *names) for side, names in places)


# %% [markdown]
# A process holds each namespace. It ends with this notebook, and the devices are removed with it. A world is
# either **bridged**, as in the overlay that failed, or **routed**, for comparison.

# %%
class World:
    def __init__(self, routed: bool = False) -> None:
        self.middle = open_namespace("unshare", "-rn")
        self.left, self.right = (open_namespace(*enter(self.middle), "unshare", "-n") for _ in range(2))
        worlds.append(self)
        for side, number in ((self.left, 1), (self.right, 2)):
            self.ip(self.middle, f"link add v{number} mtu {ends} type veth peer name eth0 mtu {ends} netns {side.pid}")
            self.ip(self.middle, f"link set v{number} up")
            self.ip(side, f"addr add 10.9.{number if routed else 0}.{number}/24 dev eth0")
            self.ip(side, "link set eth0 up")
            self.do(side, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/tcp_mtu_probing")
        route(self) if routed else bridge(self)
        self.offloads = switch_off(self)

    def do(self, side: subprocess.Popen, *words: str) -> str:
        return inside(side, *words)

    def ip(self, side: subprocess.Popen, words: str) -> str:
        return self.do(side, "ip", *words.split())


# %% tags=["blank"]
def bridge(self: "World") -> None:
    # blank: The cable between the two bridges is the overlay: give m1 and m2 the MTU `middle`.
    # stub: self.ip(self.middle, f"link add m1 mtu {ends} type veth peer name m2 mtu {ends}")
    # solution
    self.ip(self.middle, f"link add m1 mtu {middle} type veth peer name m2 mtu {middle}")
    # end of solution
    for number in (1, 2):
        self.ip(self.middle, f"link add br{number} type bridge")
        for port in (f"v{number}", f"m{number}"):
            self.ip(self.middle, f"link set {port} master br{number}")
        self.ip(self.middle, f"link set br{number} mtu {ends}")
        for device in (f"m{number}", f"br{number}"):
            self.ip(self.middle, f"link set {device} up")


world = World()
print(world.ip(world.middle, "-br link"), world.offloads, sep="\n")

# %%
def mtu(side: subprocess.Popen, device: str) -> int:
    words = world.ip(side, f"-o link show {device}").split()
    return int(words[words.index("mtu") + 1])


check(
    "The ends send larger packets than the middle carries, and no offload is left: the experiment is valid",
    lambda: (mtu(world.left, "eth0"), mtu(world.right, "eth0")) == (ends, ends)
    and mtu(world.middle, "m1") == mtu(world.middle, "m2") == middle < ends
    and {number for line in world.offloads.splitlines() for number in line.split()[1:]} == {"0"},
    saw=lambda: f"ends {ends}, middle {mtu(world.middle, 'm1')}; offloads: {sorted(set(world.offloads.split()[1::4]))}",
    hint=[
        "Look at the devices: eth0 of both ends, m1 and m2 in the middle. A 1 behind a device makes the experiment void.",
        "Usually this system makes no namespaces: `unshare -rn true` in a terminal must succeed.",
        "Run the cells that begin `class World` and `def bridge(` again, then this one.",
    ],
)

# %% [markdown]
# ## 2. Reproduce the hang
#
# Send uploads of three sizes from left to right. When TCP connects, each side announces the largest segment
# that its **own** device can take; the MTU of the middle is not asked for. Connecting takes small packets only,
# so it succeeds. The first full packet is lost, is sent again, and is lost again.

# %%
SERVER = """
import socket, sys
with socket.create_server(("", 7000)) as listener:
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(60)
            wanted = int(connection.recv(8).decode())
            while wanted > 0 and (piece := connection.recv(65536)):
                wanted -= len(piece)
            connection.sendall(b"done")
"""

# %%
CLIENT = """
import socket, sys
address, size, patience = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
with socket.create_connection((address, 7000), timeout=patience) as sock:
    sock.sendall(b"%8d" % size + bytes(size))
    try:
        print(sock.recv(4).decode() or "closed")
    except TimeoutError:
        print("hangs")
"""


# %%
def serve(at: "World", program: str) -> subprocess.Popen:
    if earlier := servers.pop((id(at), program), None):  # the cell ran before: the port is taken
        earlier.kill()
        earlier.wait()
        earlier.stdout.close()
    server = subprocess.Popen([*enter(at.right), sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    server.stdout.readline()
    servers[id(at), program] = server
    return server


def upload(at: "World", size: int, wait: float = patience, address: str = "10.9.0.2") -> str:
    server = serve(at, SERVER)
    try:
        return at.do(at.left, sys.executable, "-c", CLIENT, address, str(size), str(wait)).strip()
    finally:
        server.kill()
        server.communicate()


# %%
def retransmitted(at: "World") -> int:
    names, values = [line.split() for line in at.do(at.left, "cat", "/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
    return int(values[names.index("RetransSegs")])


before = retransmitted(world)
uploads = {size: upload(world, size) for size in (100, 1_200, 20_000)}
note(uploads=uploads, retransmitted=retransmitted(world) - before)
show.table([[size, answer] for size, answer in uploads.items()], columns=["bytes", "upload"])
print(retransmitted(world) - before, "segments were sent again")

# %%
check(
    "Small uploads arrive, the large one hangs, and the counters show why",
    lambda: upload(world, 1_200) == "done" and upload(world, 20_000) == "hangs" and retransmitted(world) > 0,
    saw=lambda: f"1,200 bytes: {uploads[1_200]}; 20,000 bytes: {uploads[20_000]}; {retransmitted(world)} segments sent again",
    hint=[
        "Look at the table: done, done, hangs.",
        "Usually an offload is on, and large packets slip through: `world.offloads` in a cell shows zeros only.",
        "Run the cells that begin `def bridge(` and `def serve(` again, then this one.",
    ],
)

# %% [markdown]
# ## 3. Measure the path MTU
#
# Nothing logs a packet that a bridge drops. So send packets of known size that must not be fragmented: send a
# datagram, wait for its echo, and **bisect**. A datagram carries 28 bytes of headers (20 of IP, 8 of UDP).

# %%
ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
    listener.bind(("", 7001))
    print("ready", flush=True)
    while True:
        data, sender = listener.recvfrom(65536)
        listener.sendto(data[:4], sender)
"""

# %%
PROBE = """
import socket, sys
address, size = sys.argv[1], int(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_MTU_DISCOVER: never fragment, ignore the known path MTU
    sock.settimeout(0.5)
    for _ in range(4):
        sock.sendto(bytes(size), (address, 7001))
        try:
            sock.recv(4)
        except TimeoutError:
            continue
        print("echo")
        break
"""


# %% tags=["blank"]
def passes(at: "World", size: int) -> bool:
    return "echo" in at.do(at.left, sys.executable, "-c", PROBE, "10.9.0.2", str(size - 28))


def largest(at: "World", low: int, high: int) -> int:
    # blank: Bisect: `low` passes, and `high` + 1 does not. Return the largest size that passes.
    # stub: return high
    # solution
    while low < high:
        half = (low + high + 1) // 2
        low, high = (half, high) if passes(at, half) else (low, half - 1)
    return low
    # end of solution


echo = serve(world, ECHO)
found = largest(world, 600, ends)
note(found=found)
print("the largest packet that arrives:", found)

# %%
check(
    "The probe has found the limit to the byte",
    lambda: found == middle and passes(world, found) and not passes(world, found + 1),
    saw=lambda: f"{found} bytes pass, {found + 1} do not; the MTU of the middle is {middle}",
    hint=[
        "Look at the number: it is the parameter `middle`, which the probe does not know.",
        "Usually the echo is gone: `echo.poll()` in a cell must be None.",
        "Run the cell that begins `def passes(` again, then this one.",
    ],
)

# %% [markdown]
# ## 4. Compare with a routed network
#
# Replace the bridges by a **router**, with the same small MTU behind it. A router has an address. It drops the
# large packet as well, but it sends an ICMP message with the MTU of the next link, and the sender caches it.
# This is path MTU discovery, as on the Internet. A firewall that drops *all* ICMP breaks it, and makes a black
# hole out of a healthy network.

# %%
def route(self: "World") -> None:
    self.ip(self.middle, f"link set v2 mtu {middle}")
    self.ip(self.right, f"link set eth0 mtu {ends}")
    for number, side in ((1, self.left), (2, self.right)):
        self.ip(self.middle, f"addr add 10.9.{number}.254/24 dev v{number}")
        self.ip(side, f"route add default via 10.9.{number}.254")
    self.do(self.middle, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")


healthy = World(routed=True)
answer = upload(healthy, 20_000, 60, "10.9.2.2")
learned = healthy.ip(healthy.left, "route get 10.9.2.2").replace("\n", " ")
note(routed=answer)
print(answer, "|", learned)

# %%
check(
    "Over a router the same upload arrives, and the sender has learned the limit",
    lambda: upload(healthy, 20_000, 60, "10.9.2.2") == "done"
    and f"mtu {middle}" in healthy.ip(healthy.left, "route get 10.9.2.2"),
    saw=lambda: f"{answer}; {learned.strip()[-60:]}",
    hint=[
        "Look at the route: it ends in the mtu that the router named.",
        "Usually forwarding is off: `healthy.do(healthy.middle, 'cat', '/proc/sys/net/ipv4/ip_forward')` in a cell.",
        "Run the cell that begins `def route(` again, then this one.",
    ],
)

# %% [markdown]
# ## 5. Cure it, in three ways
#
# **Probe**: TCP itself notices that large segments are lost, and tries smaller ones. This helps one machine and
# TCP only, and costs seconds for each connection. **Lower the ends**: set the machines' MTU to the path MTU, as
# a network plugin does for pods. **Raise the middle**: let the overlay carry what the ends send; the physical
# network must then carry the overlay's header in addition. Try each on a separate world.

# %% tags=["blank"]
def cure(how: str) -> "World":
    sick = World()
    if how == "probe":
        sick.do(sick.left, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/tcp_mtu_probing")
    # blank: "lower the ends": set the MTU of eth0 at left and at right to `middle`.
    # blank: "raise the middle": set the MTU of m1 and m2 in the middle to `ends`.
    # stub: return sick
    # solution
    if how == "lower the ends":
        for side in (sick.left, sick.right):
            sick.ip(side, f"link set eth0 mtu {middle}")
    if how == "raise the middle":
        for cable in ("m1", "m2"):
            sick.ip(sick.middle, f"link set {cable} mtu {ends}")
    # end of solution
    return sick


cures = {how: cure(how) for how in ("nothing", "probe", "lower the ends", "raise the middle")}
results = {how: upload(sick, 20_000, patience if how in ("nothing", "lower the ends", "raise the middle") else 90)
           for how, sick in cures.items()}
note(cures=results)
show.table([[how, answer, retransmitted(cures[how])] for how, answer in results.items()],
           columns=["cure", "20,000 bytes", "segments sent again"])

# %%
check(
    "Without a cure the upload hangs; with each of the three it arrives, and two of them lose nothing",
    lambda: results == {"nothing": "hangs", "probe": "done", "lower the ends": "done", "raise the middle": "done"}
    and upload(cures["lower the ends"], 20_000, 60) == upload(cures["raise the middle"], 20_000, 60) == "done",
    saw=lambda: ", ".join(f"{how}: {answer}" for how, answer in results.items()),
    hint=[
        "Look at the table: hangs, done, done, done. The probe pays with segments that are sent again.",
        "Usually one device was forgotten: `cures['raise the middle'].ip(cures['raise the middle'].middle, '-br link')` in a cell.",
        "Run the cell that begins `def cure(` again, then this one.",
    ],
)

# %% [markdown]
# On a real cluster you choose once: measure the path MTU between two nodes as in step 3, subtract the
# overlay's header, and set the result in the network plugin (lab mlflow-11). Then measure again, from a pod.

# %% [markdown]
# ## If it does not work
#
# - **`unshare: Operation not permitted`**: the system allows users no namespaces, like most containers and
#   some hardened systems. The experiment cannot run here; run it on another machine.
# - **The large upload arrives without a cure**: an offload is on. `world.offloads` names the device.
# - **`nsenter: command not found`**: the package `util-linux` has it, `iproute2` has `ip`.

# %% [markdown]
# ## Exercise
#
# At which MTU of the middle does an upload of exactly 1,200 bytes hang? Store in `smallest` the smallest MTU
# at which it still arrives. A segment carries 52 bytes of
# headers (20 of IP, 20 of TCP, 12 of time stamps), and the upload begins with 8 bytes that name its size.
#
# Hint: compute it; then set `middle` and try a world.

# %% tags=["exercise"]
# stub: smallest = None
# solution
smallest = 1_200 + 8 + 52
# end of solution
print("smallest MTU of the middle:", smallest)

# %% [markdown]
# ## Recap
#
# - You built two machines and an **overlay** without root.
# - A large upload **hung** where small ones passed, and only a counter showed it.
# - A **probe** measured the limit to the byte.
# - A router informed the sender; a bridge could not. Three **cures** worked, each with its own cost.
#
# More: [Packetization layer path MTU discovery](https://www.rfc-editor.org/rfc/rfc4821),
# [TCP problems with path MTU discovery](https://www.rfc-editor.org/rfc/rfc2923),
# [Calico's MTU](https://docs.tigera.io/calico/latest/networking/configuring/mtu).
# Next: the size of a cluster, and the proof that an application is removed.

# %%
quiz(
    "Health checks are green, large uploads hang. What do you measure first?",
    ["The memory of the pods", "The largest packet that passes between two nodes", "The load of the nodes"],
    right=1,
    because="Health checks are small packets; a black hole drops only large ones.",
)
quiz(
    "Why does a bridge not tell the sender?",
    ["It has no address to answer from", "It is too busy", "It does, and is ignored"],
    right=0,
    because="An ICMP message comes from a router's address; a bridge forwards frames and has none.",
)
quiz(
    "Why must offloads be off in this experiment?",
    ["They are slow", "They need root", "Large packets would pass uncut"],
    right=2,
    because="Virtual devices pass packets of 64 kB uncut, so the small MTU has no effect.",
)

# %% [markdown]
# ## Clean up
#
# The namespaces end with this notebook's kernel. To end them now and to remove the measurements, type
# `finished = True` in a cell and run this one; running it twice is safe.

# %%
if finished:
    for one in worlds:
        for holder in (one.left, one.right, one.middle):
            holder.stdin.close()
    echo.kill()
    shutil.rmtree(home, ignore_errors=True)
print("Removed." if finished else f"Kept: {measured}")
