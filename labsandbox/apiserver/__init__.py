"""The Kubernetes-compatible API server.

A request goes `http` (connection, parsing, media types) -> `auth` (who, may they) -> `http.routes`
-> `verbs` (get, list, create, update, patch, delete, scale…), `watch`, `discovery`, `openapi` or
`streams`. A write then goes `schema` (read, default) -> `patch` (merge, own fields) -> `admission`
-> `strategies` (what the server decides) -> `validation` or `crd` -> `services` (addresses) ->
`store` (on disk, then visible) -> `watch.hub` (told to all). `registry` lists the kinds as data.

Parts know each other through `api.Api`; nothing here is imported by another room.
"""
