# %% [markdown]
# # Lab core-01: Authenticate
#
# Sign in to the platform over its REST API and get the file every Kubernetes client needs.

# %% [markdown]
# ## What you will build
#
# - A **session**: the platform checks your password once and gives you a key that expires.
# - A **kubeconfig**: the file that tells `kubectl` and Python where the cluster is and who you are.
# - A list of what you may do, and a refusal from a tenant that you do not belong to.
#
# ![A password becomes a session, a session becomes a kubeconfig, and the kubeconfig opens your
# own namespace but no other.](../../Pictures/core-01-authenticate.svg)

# %% [markdown]
# ## Before you start
#
# | Need | Why | Check |
# |---|---|---|
# | A running platform | This lab talks to it | `labsandbox status`, or your administrator |
# | Your user name and tenant | The platform asks who you are | `echo $EZMERAL_USER $EZMERAL_TENANT` |
# | The platform's certificate | It proves which server receives your password | `ls $EZMERAL_CA` |

# %% [markdown]
# ## Parameters
#
# Names that differ from site to site. A **tenant** is a team with a space of its own on the shared
# cluster; that space is its **namespace**. Your own name, tenant and password come from the
# environment: a notebook is shared, a password is not.

# %% tags=["parameters"]
other_tenant: str = "K8sAuditTenant"  # a tenant you are not a member of
other_namespace: str = "k8saudittenant"  # the namespace behind it
colleague: str = ""  # somebody in the directory of `labsandbox up --directory`, such as anna

# %% [markdown]
# ## Setup

# %%
import getpass
import os
import ssl
import time

import ldap3
import requests
import yaml
from kubernetes import client, config
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from labhelpers import begin, check, password, quiz, save_kubeconfig, settings, show

begin("core/01")
place = settings()
http = requests.Session()
http.verify = str(place.ca)  # the platform's own certificate: never switch verification off
http.trust_env = False  # ... and other certificates of this machine do not count
print(f"{place.user} signs in to {place.tenant} at {place.url}")

# %% [markdown]
# ## 1. Sign in
#
# A **session** records that you have proved who you are. One `POST` opens it. The header `Location` of
# the answer holds the session's address, and you send that address with every later call. When the
# platform refuses, the body of the answer says why.
#
# You type the password into a box that hides it, or it is read from a file that only you can read.
# Never type it into a cell: cells are saved.

# %% tags=["blank"]
credentials = {
    "name": place.user,
    "password": password(place.user),
    "tenant_name": place.tenant,
}
# blank: POST the credentials as JSON to /api/v2/session, and keep the answer in `signed_in`.
# stub: signed_in = requests.Response()
# solution
signed_in = http.post(f"{place.url}/api/v2/session", json=credentials, timeout=30)
# end of solution
session = {"X-BDS-SESSION": signed_in.headers.get("Location", "")}
print(signed_in.status_code, signed_in.reason, signed_in.text)  # the text says why, if you are refused

# %% [markdown]
# The same in a shell, with `EZMERAL_PASSWORD_FILE` naming a file that holds the password:
#
# ```bash
# curl --silent --cacert "$EZMERAL_CA" --dump-header - --json "{\"name\": \"$EZMERAL_USER\",
#   \"password\": \"$(cat "$EZMERAL_PASSWORD_FILE")\", \"tenant_name\": \"$EZMERAL_TENANT\"}" \
#   "$EZMERAL_URL/api/v2/session"
# ```
#
# `--cacert` names the certificate to trust. With `-k`, which some guides use, curl sends the password
# to any server that answers.

# %%
check(
    "The platform knows your session",
    lambda: http.get(f"{place.url}/api/v2/session", headers=session, timeout=30).ok,
    saw=lambda: http.get(f"{place.url}/api/v2/session", headers=session, timeout=30).status_code,
    hint=[
        "Look at the number that the sign-in printed: 201 means success, any other number a refusal.",
        f"Usually the password is mistyped, {place.user} is no member of {place.tenant}, or the "
        "session was signed out: `print(signed_in.text)` in a cell shows the platform's reason.",
        "Run the cell that begins `credentials = {` once more, and type the password slowly.",
    ],
)

# %% [markdown]
# ## 2. Inspect the session
#
# A session expires, so a stolen key is of no use for long. Ask the platform what it knows about your
# session, and when it expires.

# %% tags=["blank"]
def what_is_known() -> dict:
    return http.get(f"{place.url}/api/v2/session", headers=session, timeout=30).json()


def hours_left() -> float:
    # blank: Return the hours from now to `expiry_time`, which counts seconds as time.time() does.
    # solution
    return (what_is_known().get("expiry_time", 0) - time.time()) / 3600
    # end of solution
    # stub: return 0.0


known = what_is_known()
show.table(
    [[key, known.get(key)] for key in ("user_name", "tenant_name", "role_name", "expiry")],
    columns=["field", "value"],
)
print(f"{hours_left():.1f} hours are left.")

# %% [markdown]
# Look at `role_name`: a **Member** works in a tenant, an **Admin** runs it.

# %%
check(
    "The session is yours and it ends",
    lambda: what_is_known().get("user_name") == place.user and 0 < hours_left() <= 24,
    saw=lambda: what_is_known().get("message") or f"{place.user}, {hours_left():.1f} h left",
    hint=[
        "Look at `user_name` and `expiry` in the table above: are they yours, and in the future?",
        "Usually the session is over, or was signed out: `print(what_is_known())` shows the reason.",
        "Run the cell that begins `credentials = {` for a new session, then this one.",
    ],
)

# %% [markdown]
# ## 3. Get refused on purpose
#
# Refusals are part of an API. Send a wrong password, then ask for a tenant that is not yours, and
# read the answers. Both say what to do next, and neither tells an outsider anything about the platform.


# %% tags=["blank"]
# stub: mistakes = [{}, {}]
# blank: List two dicts; each replaces one of the credentials: a wrong password, then `other_tenant`.
# solution
mistakes = [{"password": "not-the-password"}, {"tenant_name": other_tenant}]
# end of solution


def try_to_sign_in(mistake: dict) -> list[object]:
    answer = http.post(f"{place.url}/api/v2/session", json=credentials | mistake, timeout=30)
    said = answer.json() if not answer.ok else {}
    return [answer.status_code, said.get("message", ""), said.get("hint", "")]


show.table([try_to_sign_in(one) for one in mistakes], columns=["status", "message", "what to do"])

# %% [markdown]
# `401` means that the platform does not know who you are; `403`, that it knows and does not allow it.
# A tenant that exists and one that does not get the same answer, so nobody can find out from outside
# which tenants there are.

# %%
check(
    "Both wrong sign-ins are refused",
    lambda: [try_to_sign_in(one)[0] for one in mistakes] == [401, 403],
    saw=lambda: [try_to_sign_in(one)[0] for one in mistakes],
    expected="401 for the password, 403 for the tenant",
    hint=[
        "Look at the two numbers: which of the two mistakes was not refused as it should be?",
        "A 201 for the tenant means that you do belong to `other_tenant`; a 429, that too many wrong "
        "passwords came before: `print(try_to_sign_in(mistakes[0]))` names the seconds to wait.",
        "Name a tenant that is not yours in `other_tenant`, then run the cell that begins "
        "`mistakes = [` again.",
    ],
)

# %% [markdown]
# ## 4. Fetch the kubeconfig
#
# You sign in with the REST API; everything you build is made with the **Kubernetes API**. A
# **kubeconfig** connects the two: it names the cluster, the certificate to trust, your namespace, and
# a small program that gets a short-lived token for your session whenever a client needs one.

# %%
answer = http.get(f"{place.url}/api/v2/k8skubeconfig", headers=session, timeout=30)
answer.raise_for_status()
save_kubeconfig(answer.text, place.kubeconfig)
document = yaml.safe_load(answer.text)
show.table(
    [[entry["name"], entry["context"].get("namespace", "")] for entry in document["contexts"]],
    columns=["context", "namespace"],
)

# %% [markdown]
# A **context** is a cluster, a user and a namespace under one name; the one without a namespace
# looks at the cluster as a whole. The current context is what every command uses when you name none:
#
# ```bash
# kubectl config current-context
# ```

# %%
def current() -> dict:
    return config.list_kube_config_contexts(str(place.kubeconfig))[1]


print(current()["name"])

# %%
check(
    "The kubeconfig points into your namespace, and only you can read it",
    lambda: current()["context"].get("namespace") and place.kubeconfig.stat().st_mode & 0o77 == 0,
    saw=lambda: f"namespace {current()['context'].get('namespace')}, "
    f"mode {place.kubeconfig.stat().st_mode & 0o777:o}",
    hint=[
        f"Look at the file {place.kubeconfig.name}: is it there, and can only you read it?",
        "Usually it was not saved, because the session was over, or its mode lets others read it: "
        f"`ls -l {place.kubeconfig}` must show `-rw-------`.",
        "Run the cell that begins `answer = http.get(` again: it fetches and saves the file.",
    ],
)

# %% [markdown]
# ## 5. Ask what you may do
#
# Kubernetes can say what you may do before you try it. The request is called a
# **SelfSubjectAccessReview**; `kubectl auth can-i` sends it.

# %% tags=["blank"]
api = config.new_client_from_config(str(place.kubeconfig))
namespace = current()["context"]["namespace"]
authorization = client.AuthorizationV1Api(api)


def may_i(verb: str, resource: str, where: str, group: str = "") -> bool:
    attributes = client.V1ResourceAttributes(
        verb=verb, resource=resource, namespace=where, group=group
    )
    # blank: Create a V1SelfSubjectAccessReview of these attributes; return `status.allowed`.
    # solution
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
    )
    return authorization.create_self_subject_access_review(review).status.allowed
    # end of solution
    # stub: return False


# %%
questions = [
    ("create", "configmaps", namespace, ""),
    ("create", "kubedirectorclusters", namespace, "kubedirector.hpe.com"),
    ("create", "rolebindings", namespace, "rbac.authorization.k8s.io"),
    ("list", "secrets", other_namespace, ""),
    ("delete", "nodes", "", ""),
]
rights = {question: may_i(*question) for question in questions}
show.table(
    [[verb, what, where or "whole cluster", "yes" if ok else "no"]
     for (verb, what, where, _), ok in rights.items()],
    columns=["verb", "resource", "where", "may I?"],
)

# %% [markdown]
# ```bash
# kubectl auth can-i create configmaps
# kubectl auth can-i --list
# ```
#
# As a *Member* you may create objects in your own namespace, and you may not give rights to others.

# %%
check(
    "You may work here and only here",
    lambda: [may_i(*question) for question in questions] == [True, True, False, False, False],
    saw=lambda: ", ".join("yes" if may_i(*question) else "no" for question in questions),
    expected="yes, yes, no, no, no",
    hint=[
        "Look at the last column of the table: two answers of yes are a Member's, five an Admin's.",
        "Usually the session is over, or you are signed in as somebody else: `kubectl auth whoami` "
        "and `kubectl config current-context` in a terminal say who you are.",
        "Sign in again: run the cells that begin `credentials = {`, `answer = http.get(` and "
        "`api = config.`, then this one.",
    ],
)

# %% [markdown]
# ## 6. Try to read another tenant's Secrets
#
# A rule counts once somebody has tested it. Ask for another tenant's Secrets and read the refusal.

# %%
def knock() -> str:
    try:
        found = client.CoreV1Api(api).list_namespaced_secret(other_namespace).items
    except client.ApiException as error:
        return yaml.safe_load(error.body)["message"]
    return f"{len(found)} secrets of another tenant are open to you"


print(knock())

# %% [markdown]
# ```bash
# kubectl get secrets --namespace k8saudittenant || echo "refused, as it should be"
# ```

# %%
check(
    "The neighbours' secrets stay theirs",
    lambda: "forbidden" in knock() and not may_i("get", "pods", other_namespace),
    saw=knock,
    hint=[
        "Look at the sentence above: it must say `forbidden`, and name you.",
        "`Unauthorized` means that the session is over. A number of secrets means that you are more "
        "than a Member: `kubectl auth can-i --list` in a terminal shows what you may do.",
        "Run the cells that begin `credentials = {`, `answer = http.get(` and `api = config.`, then "
        "this one. If the Secrets are still readable, tell your administrator at once.",
    ],
)

# %% [markdown]
# ### When a company has a directory
#
# Few companies keep a list of passwords in each of their systems. They ask a **directory** (Active
# Directory, OpenLDAP) over **LDAP**: the platform *binds* with your name and password, and when the
# directory accepts it, asks for your **groups**. A site administrator has mapped groups to roles of
# tenants; a person who leaves a group loses the role at the next sign-in. The platform never stores a
# password: of its own accounts it keeps a salted hash, from which nobody can compute the password.
#
# `labsandbox up --directory` starts an LDAP server with three people. `anna` is in a group of Members,
# `ines` in one of Admins, `otto` in none, so he is refused. Their passwords are in the files that the
# command names. With hers, anna signs in here and opens the notebook that she deploys in lab core-02.
# The next cell asks the directory as the platform does.

# %%
def groups_of(name: str, word: str) -> list[str]:
    tls = ldap3.Tls(ca_certs_file=str(place.ca), validate=ssl.CERT_REQUIRED)
    server = ldap3.Server(os.environ["EZMERAL_DIRECTORY"], tls=tls, get_info=ldap3.NONE)
    person = f"uid={escape_rdn(name)},ou=people,dc=lake,dc=example"
    with ldap3.Connection(server, person, word, raise_exceptions=True) as directory:
        directory.search("dc=lake,dc=example", f"(member={escape_filter_chars(person)})")
        return [entry.entry_dn for entry in directory.entries]


if colleague and "EZMERAL_DIRECTORY" in os.environ:
    print(*groups_of(colleague, getpass.getpass(f"Password of {colleague}: ")), sep="\n")
else:
    print("Nobody was asked: no `colleague` is named, or this platform has no directory.")

# %% [markdown]
# ## If it does not work
#
# - **`certificate verify failed`**: `EZMERAL_CA` names the certificate of another platform, or of
#   an older one. `labsandbox env` prints the right path; restart Jupyter with it.
# - **`There is no valid session in X-BDS-SESSION`**: the session is over or was signed out. Run
#   step 1 again; nothing else is lost.
# - **`429 Too Many Requests`** when you sign in: too many wrong passwords in a row. Wait; the answer
#   names the seconds, and they double with every further mistake.

# %% [markdown]
# ## Exercise
#
# Open a second session, sign it out with `DELETE` on its own address, and show that the platform
# no longer knows it while your first session goes on. Store the status of the last `GET` of the
# second session in `after`.
#
# Hint: the header `Location` holds the address, and the same text is the value to send.

# %% tags=["exercise"]
# stub: after = None
# solution
second = http.post(f"{place.url}/api/v2/session", json=credentials, timeout=30)
key = {"X-BDS-SESSION": second.headers["Location"]}
http.delete(place.url + key["X-BDS-SESSION"], headers=key, timeout=30)
after = http.get(f"{place.url}/api/v2/session", headers=key, timeout=30).status_code
# end of solution
print(after)

# %% [markdown]
# ## Recap
#
# - You opened a **session** with your password, and saw when it expires.
# - You were refused twice and know what `401` and `403` mean.
# - You hold a **kubeconfig** and a list of what it lets you do.
#
# More: [Kubernetes' ways to authenticate](https://kubernetes.io/docs/reference/access-authn-authz/authentication/),
# [kubeconfig files](https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/),
# [roles and their bindings](https://kubernetes.io/docs/reference/access-authn-authz/rbac/).
#
# Next: deploy a notebook of your own on the cluster.

# %%
quiz(
    "Why does the kubeconfig hold no password?",
    ["It holds a way to get short-lived tokens instead", "To be shorter", "Kubernetes knows it"],
    right=0,
    because="A copied file is useless once the session is over.",
)
quiz(
    "A call answers 403. What helps?",
    ["Sign in again", "Try until it works", "Ask for the right, or use a place that is yours"],
    right=2,
    because="403 means you are known. 401 is the answer that a new sign-in cures.",
)
quiz(
    "Why is certificate verification never switched off here?",
    ["It is faster with it", "Without it another server may receive your password", "Habit"],
    right=1,
    because="Encryption alone does not prove which server is at the other end.",
)

# %% [markdown]
# ## Clean up
#
# Nothing to remove: the session ends by itself, and the kubeconfig is what the next labs need.
# Sessions opened by the exercise are already signed out.

# %%
print(f"Kept: {place.kubeconfig.name}, and your session until it ends.")
