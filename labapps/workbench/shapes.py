"""What the objects of the API look like in answers, for its description.

A test holds each of them against what the service really answers.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ANSWERS", "LISTS", "SHAPES"]

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
MOMENT: Schema = {"type": "string", "description": "RFC 3339, or empty"}
LONG: Schema = {"type": "string", "format": "int64"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
TABLE: Schema = {"type": "object"}
TAGS: Schema = {"type": "array", "items": {"type": "object"}}


def one(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def many(name: str) -> Schema:
    return {"type": "array", "items": one(name)}


def texts(*names: str) -> dict[str, Schema]:
    return dict.fromkeys(names, TEXT)


SHAPES: dict[str, dict[str, Schema]] = {
    "User": texts("username", "name", "email"),
    "ProjectPermissions": dict.fromkeys(
        ("read", "operator", "write", "admin", "business_user"), FLAG
    ),
    "Project": texts(
        "id", "name", "slug", "description", "visibility", "creation_status", "creation_error"
    )
    | {
        "environment": TEXT | {"description": "JSON"},
        "owner": one("User"),
        "creator": one("User"),
        "permissions": one("ProjectPermissions"),
        "created_at": MOMENT,
        "updated_at": MOMENT,
    },
    "Collaborator": texts("username", "permission"),
    "File": texts("path") | {"is_dir": FLAG, "file_size": LONG},
    "Runtime": texts(
        "image_identifier", "kernel", "edition", "editor", "full_version", "status"
    ),
    "RuntimeAddon": texts("identifier", "component", "status"),
    "Job": texts(
        "id", "project_id", "name", "type", "script", "arguments", "kernel", "runtime_identifier",
        "schedule", "timezone", "english_schedule", "parent_id", "parent_job_id", "build_id",
    )
    | {
        "cpu": NUMBER,
        "memory": NUMBER,
        "nvidia_gpu": COUNT,
        "environment": TEXT | {"description": "JSON"},
        "timeout": LONG,
        "kill_on_timeout": FLAG,
        "paused": FLAG,
        "retry_enabled": FLAG,
        "max_retry": COUNT,
        "retry_delay": COUNT | {"description": "seconds"},
        "creator": one("User"),
        "created_at": MOMENT,
    },
    "JobRun": texts(
        "id", "job_id", "project_id", "parent_run_id", "script", "arguments", "status", "reason",
        "runtime_identifier", "build_id", "build_digest",
    )
    | {
        "cpu": NUMBER,
        "memory": NUMBER,
        "timeout": LONG,
        "environment": TEXT | {"description": "JSON"},
        "attempts": COUNT,
        "facts": TABLE,
        "creator": one("User"),
        "children": many("JobRun"),
    }
    | dict.fromkeys(
        ("created_at", "scheduling_at", "starting_at", "running_at", "finished_at"), MOMENT
    ),
    "JobRunLog": {"logs": TEXT, "offset": LONG, "end": FLAG},
    "ModelResources": {"cpu_millicores": COUNT, "memory": NUMBER},
    "ReplicationPolicy": {"type": TEXT}
    | dict.fromkeys(
        ("num_replicas", "min_replicas", "max_replicas", "target_cpu_percent",
         "scale_down_seconds"),
        COUNT,
    ),
    "Model": texts(
        "id", "crn", "name", "description", "visibility", "access_key", "active_deployment_id",
        "registered_model_id",
    )
    | {
        "auth_enabled": FLAG,
        "default_resources": one("ModelResources"),
        "default_replication_policy": one("ReplicationPolicy"),
        "project": TABLE,
        "creator": one("User"),
        "created_at": MOMENT,
        "updated_at": MOMENT,
    },
    "ModelBuild": texts(
        "id", "crn", "model_id", "file_path", "function_name", "build_digest", "engine_image",
        "image", "registered_model_version_id", "build_script_path", "comment", "status", "reason",
        "log",
    )
    | {"creator": one("User"), "created_at": MOMENT, "built_at": MOMENT},
    "ModelDeployment": texts("id", "crn", "model_id", "build_id", "status", "reason")
    | {
        "cpu": NUMBER,
        "memory": NUMBER,
        "nvidia_gpu": COUNT,
        "replicas": COUNT,
        "ready_replicas": COUNT,
        "replication_policy": one("ReplicationPolicy"),
        "environment": TEXT | {"description": "JSON"},
        "deployer": one("User"),
    }
    | dict.fromkeys(("created_at", "updated_at", "stopped_at"), MOMENT),
    "RegisteredModelVersion": texts("model_version_id", "status", "run_id", "notes")
    | {"number": COUNT, "tags": TAGS, "created_at": MOMENT},
    "RegisteredModel": texts("model_id", "name", "notes", "visibility")
    | {
        "tags": TAGS,
        "model_versions": many("RegisteredModelVersion"),
        "created_at": MOMENT,
        "updated_at": MOMENT,
    },
    "V2Key": texts("key_id", "expiry_date", "comments", "api_key") | {"created_at": MOMENT},
    "ValidateKeyResponse": texts("username") | {"valid": FLAG},
    "Empty": {},
}  # fmt: skip

ANSWERS = {
    "project": "Project",
    "job": "Job",
    "job_run": "JobRun",
    "job_run_log": "JobRunLog",
    "model": "Model",
    "model_build": "ModelBuild",
    "model_deployment": "ModelDeployment",
    "registered_model": "RegisteredModel",
    "registered_model_version": "RegisteredModelVersion",
    "v2_key": "V2Key",
    "project_file": "File",
}
"""The shape of what a method creates, returns, changes or stops, by its name without the verb."""

LISTS = {
    "list_projects": ("projects", "Project"),
    "list_project_collaborators": ("collaborators", "Collaborator"),
    "list_project_files": ("files", "File"),
    "list_runtimes": ("runtimes", "Runtime"),
    "list_runtime_addons": ("runtime_addons", "RuntimeAddon"),
    "list_jobs": ("jobs", "Job"),
    "list_all_jobs": ("jobs", "Job"),
    "list_job_runs": ("job_runs", "JobRun"),
    "list_models": ("models", "Model"),
    "list_all_models": ("models", "Model"),
    "list_model_builds": ("model_builds", "ModelBuild"),
    "list_model_deployments": ("model_deployments", "ModelDeployment"),
    "list_registered_models": ("models", "RegisteredModel"),
    "list_v2_keys": ("keys", "V2Key"),
    "list_applications": ("applications", "Empty"),
}
