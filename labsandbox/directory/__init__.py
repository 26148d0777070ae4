"""The directory of `labsandbox up --directory`: people and groups of a company, over LDAPS.

It is an LDAP server that stands where a site has its Active Directory or OpenLDAP. The platform
knows nobody in it: who signs in is asked for there, and groups decide tenant and role.
"""

from labsandbox.directory.service import FIRST_PORT, DirectorySettings, DirectoryUnavailable, run

__all__ = ["FIRST_PORT", "DirectorySettings", "DirectoryUnavailable", "run"]
