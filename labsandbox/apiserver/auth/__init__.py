"""Who a request comes from (authentication) and what they may do (RBAC)."""
