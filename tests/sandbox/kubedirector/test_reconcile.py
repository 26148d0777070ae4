"""The life of a kdcluster in a simulated world: what is planned, in which order and words."""

from __future__ import annotations

import pytest

from labsandbox.kubedirector.model import GlobalConfig
from labsandbox.kubedirector.reconcile.plan import Job, Report
from labsandbox.kubedirector.script import Answer

from .simulation import World, exited, make_app, make_cluster, make_role, running

pytestmark = pytest.mark.fast

HASH = "kubedirector.hpe.com/hashChangeCounter"


def configured(*roles: dict[str, object], **spec: object) -> World:
    world = World(make_cluster(*roles, **spec))
    world.settle()
    assert world.status["state"] == "configured"
    for log in (world.notes, world.jobs, world.actions, world.states):
        log.clear()
    return world


def test_cluster_goes_from_creating_to_configured() -> None:
    world = World(make_cluster(make_role("LoadBalancer"), make_role("RESTServer", 2)))
    world.settle()
    assert list(dict.fromkeys(world.states)) == ["creating", "configured"]
    assert world.status["readyMembers"] == "3/3"
    assert world.status["problem"] == ""
    assert not any(world.status["memberStateRollup"].values())
    assert world.cluster["metadata"]["annotations"] == {HASH: "1"}
    assert world.cluster["metadata"]["finalizers"] == ["kubedirector.hpe.com/cleanup"]
    said = world.messages()
    pod = world.member()["pod"]
    for message in (
        "new",
        "creating role{LoadBalancer}",
        "changing replicas count for role{RESTServer}: 0 -> 2",
        f"initial config ongoing for member{{{pod}}} in role{{LoadBalancer}}",
        f"initial config done for member{{{pod}}} in role{{LoadBalancer}}",
        "Annotation initialized to 1",
        "Updated context",
        "stable",
    ):
        assert message in said, message
    assert said.index("new") < said.index("creating role{LoadBalancer}") < said.index("stable")
    assert [job.kind for job in world.jobs] == ["setup"] * 3


def test_member_is_pending_before_its_stateful_set_is_scaled() -> None:
    world = World(make_cluster(make_role("LoadBalancer"), make_role("RESTServer")))
    world.step()
    world.has_pods = False
    world.step()
    assert world.member()["state"] == "create pending"
    assert [s["spec"]["replicas"] for s in world.stateful_sets.values()] == [0, 0]
    world.step()
    assert [s["spec"]["replicas"] for s in world.stateful_sets.values()] == [1, 1]
    world.step()
    assert "waiting for replicas count for role{RESTServer}: 0 -> 1" in world.messages()
    assert world.status["memberStateRollup"]["membersWaiting"]
    world.has_pods = True
    world.settle()
    assert world.status["state"] == "configured"


def test_names_follow_the_naming_scheme() -> None:
    world = configured(make_role("LoadBalancer"))
    (name,) = list(world.stateful_sets)
    assert name.startswith("training-loadbalancer-")
    assert world.member()["service"] == f"{name}-0"
    world = configured(
        make_role("LoadBalancer"), namingScheme="UID", roles=[make_role("RESTServer")]
    )
    (name,) = list(world.stateful_sets)
    assert name.startswith("kdss-")
    assert len(name) == len("kdss-xxxxx")
    assert world.member()["service"] == f"s-{name}-0"
    assert world.status["clusterService"].startswith("kdhs-")


def test_objects_carry_labels_annotations_and_owner() -> None:
    settings = GlobalConfig(service_labels={"gateway": "true"}, pod_labels={"everywhere": "1"})
    role = make_role("LoadBalancer", podLabels={"mine": "2"}, serviceAnnotations={"note": "3"})
    world = World(make_cluster(role, make_role("RESTServer")), settings=settings)
    world.settle()
    member = world.member()
    service = world.services[member["service"]]
    prefix = "kubedirector.hpe.com/"
    assert service["metadata"]["labels"] == {
        prefix + "kdcluster": "training",
        prefix + "kdapp": "training-engine",
        prefix + "appCatalog": "local",
        prefix + "role": "LoadBalancer",
        "gateway": "true",
    }
    assert service["metadata"]["annotations"] == {
        prefix + "kdapp-prettyName": "ML Training Toolkit",
        prefix + "kd-auth-token": member["authToken"],
        "note": "3",
    }
    assert service["spec"]["ports"] == [{"name": "http-gunicorn", "port": 10001, "protocol": "TCP"}]
    stateful_set = world.stateful_sets[world.status["roles"][0]["statefulSet"]]
    assert stateful_set["metadata"]["labels"][prefix + "headless"] == "training"
    pod_labels = stateful_set["spec"]["template"]["metadata"]["labels"]
    assert (pod_labels["mine"], pod_labels["everywhere"]) == ("2", "1")
    assert stateful_set["spec"]["podManagementPolicy"] == "Parallel"
    headless = world.services[world.status["clusterService"]]
    assert headless["spec"]["clusterIP"] == "None"
    assert headless["spec"]["ports"][0]["port"] == 8888
    for obj in (service, stateful_set, headless):
        assert obj["metadata"]["ownerReferences"][0]["uid"] == "5f1d"


def test_members_of_a_role_share_one_token() -> None:
    world = configured(make_role("LoadBalancer"), make_role("RESTServer", 2))
    tokens = {member["authToken"] for member in world.status["roles"][1]["members"]}
    assert len(tokens) == 1
    assert len(tokens.pop()) == 32


def test_role_without_ports_has_no_service() -> None:
    app = make_app()
    app["spec"]["config"]["roleServices"] = []
    world = World(make_cluster(make_role("LoadBalancer"), make_role("RESTServer")), app=app)
    world.settle()
    assert world.member()["service"] == "n/a"
    assert len(world.services) == 1


def test_role_without_package_skips_setup() -> None:
    app = make_app()
    app["spec"]["roles"][0]["configPackage"] = None
    world = World(make_cluster(make_role("LoadBalancer"), make_role("RESTServer")), app=app)
    world.settle()
    pod = world.member()["pod"]
    said = f"initial config skipped for member{{{pod}}} in role{{LoadBalancer}}"
    assert said in world.messages()
    assert world.status["state"] == "configured"


def test_failing_start_script_is_shown_everywhere_though_the_state_says_configured() -> None:
    world = World(make_cluster(), answer=exited(3, "", "no such library\n"))
    world.settle()
    assert world.status["state"] == "configured"
    assert world.status["memberStateRollup"]["configErrors"]
    assert world.status["readyMembers"] == "0/2"
    assert "configure failed with exit status {3}" in world.status["problem"]
    detail = world.member()["stateDetail"]
    assert world.member()["state"] == "config error"
    assert detail["configErrorDetail"] == (
        "execution of app config failed: configure failed with exit status {3}"
    )
    assert detail["startScriptStderrMessage"] == "no such library\n"
    assert any("no such library" in message for message in world.messages())


def test_hanging_start_script_is_reported_while_it_hangs() -> None:
    world = World(make_cluster(make_role("LoadBalancer"), make_role("RESTServer")), answer=running)
    world.settle()
    assert world.status["state"] == "creating"
    pod = world.member()["pod"]
    world.reports[pod] = make_overdue(world, pod)
    world.settle()
    assert world.status["state"] == "creating"
    assert world.status["memberStateRollup"]["configErrors"]
    assert "has not finished --configure after 300 s" in world.status["problem"]
    assert any("takes long" in message for message in world.messages())
    world.finish(pod)
    world.finish(world.member(role=1)["pod"])
    world.settle()
    assert world.status["state"] == "configured"
    assert world.status["problem"] == ""


def make_overdue(world: World, pod: str) -> Report:
    job = next(job for job in world.jobs if job.pod == pod)
    return Report("setup", pod, job.container, Answer("running", None, 1, "", ""), 1, (), 300)


def test_expansion_tells_the_others_and_leaves_them_running() -> None:
    world = configured()
    before = dict(world.pods)
    world.change_spec(roles=[make_role("LoadBalancer"), make_role("RESTServer", 3)])
    world.settle()
    assert world.status["state"] == "configured"
    assert list(dict.fromkeys(world.states)) == ["spec modified", "updating", "configured"]
    said = world.messages()
    assert "expanding role{RESTServer}" in said
    assert "changing replicas count for role{RESTServer}: 1 -> 3" in said
    told = {job.pod: job.arguments for job in world.jobs if job.kind == "notify"}
    old = {world.member()["pod"], world.member(role=1)["pod"]}
    assert set(told) == old
    arguments = told[world.member()["pod"]]
    assert arguments[:4] == ("--addnodes", "--nodegroup 1", "--role", "RESTServer")
    assert f"will notify member{{{world.member()['pod']}}}: addnodes" in said
    assert all(world.pods[pod] == before[pod] for pod in before)
    kinds = [(job.kind, job.pod in old) for job in world.jobs]
    assert kinds.index(("update", True)) < kinds.index(("setup", False))


def test_shrinking_tells_the_others_before_pods_go() -> None:
    world = configured(make_role("LoadBalancer"), make_role("RESTServer", 2))
    leaving = world.member(1, role=1)
    world.change_spec(roles=[make_role("LoadBalancer"), make_role("RESTServer", 1)])
    told_at: list[bool] = []
    answer = world.answer

    def watch(job: Job, generation: int) -> Answer:
        if job.kind == "notify":
            told_at.append(leaving["pod"] in world.pods)
        return answer(job, generation)

    world.answer = watch
    world.settle()
    assert told_at == [True, True]
    assert leaving["pod"] not in world.pods
    assert leaving["service"] not in world.services
    assert world.status["state"] == "configured"
    assert [len(role["members"]) for role in world.status["roles"]] == [1, 1]
    assert "shrinking role{RESTServer}" in world.messages()
    (arguments,) = {job.arguments for job in world.jobs if job.kind == "notify"}
    assert arguments[0] == "--delnodes"
    assert arguments[-1].startswith(leaving["pod"] + ".")


def test_removed_role_is_cleaned_up() -> None:
    world = configured()
    world.change_spec(roles=[make_role("LoadBalancer")])
    world.settle()
    assert "finishing cleanup on role{RESTServer}" in world.messages()
    assert [role["id"] for role in world.status["roles"]] == ["LoadBalancer"]
    assert len(world.stateful_sets) == 1
    assert len(world.services) == 2


def test_event_list_filters_notifications() -> None:
    app = make_app()
    app["spec"]["roles"][0]["eventList"] = ["configure"]
    world = World(make_cluster(), app=app)
    world.settle()
    world.change_spec(roles=[make_role("LoadBalancer"), make_role("RESTServer", 2)])
    world.settle()
    told = [job.pod for job in world.jobs if job.kind == "notify"]
    assert told == [world.member(role=1)["pod"]]


def test_failing_notification_is_reported_and_does_not_block() -> None:
    world = configured()
    world.answer = lambda job, generation: Answer(
        "exited", 7 if job.kind == "notify" else 0, generation, "", "unknown option\n"
    )
    world.change_spec(roles=[make_role("LoadBalancer"), make_role("RESTServer", 2)])
    world.settle()
    assert world.status["state"] == "configured"
    assert world.status["memberStateRollup"]["configErrors"]
    assert any("failed to notify member" in message for message in world.messages())


def test_words_of_a_start_script_that_succeeded_are_passed_on() -> None:
    world = World(make_cluster(), answer=exited(0, "left out model x\n"))
    world.settle()
    pod = world.member()["pod"]
    said = f"start script of member{{{pod}}} in role{{LoadBalancer}} said: left out model x"
    assert said in world.messages()
    assert world.status["problem"] == ""


def test_cluster_the_webhook_never_saw_gets_its_defaults() -> None:
    world = World(make_cluster())
    for name in ("appCatalog", "namingScheme", "serviceType"):
        del world.cluster["spec"][name]
    for role in world.cluster["spec"]["roles"]:
        del role["members"]
    world.settle()
    assert world.status["readyMembers"] == "2/2"
    assert world.member()["service"].startswith("s-kdss-")
