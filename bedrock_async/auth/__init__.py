"""Credentials, regions, and the authorisation of requests: SigV4 signatures and API keys.

A client calls `resolve_authenticator` and `resolve_region` once, and for every attempt the `Authenticator`: ``await
prepare`` unless it is ``ready``, then ``authorize``.
"""

from __future__ import annotations

from ._protocol import Authenticator
from .bearer import API_KEY_LIFETIME, BearerAuthenticator
from .chain import authenticator_of_api_key, authenticator_of_credentials, resolve_authenticator
from .credentials import ApiKey, ApiKeyProvider, Credentials, CredentialsProvider
from .eventstream_signing import STREAMING_EVENTS, EventSigner, event_signer
from .profiles import ConfigReader, Profiles, ProfileSettings, read_config_file, read_profiles
from .refresh import ADVISORY_WINDOW, MANDATORY_WINDOW, RETRY_INTERVAL
from .region import DEFAULT_REGION, RegionChoice, resolve_region
from .session import AwsSession, session_profile
from .sharing import HoldsCredentials, shared_credentials
from .signing import CredentialsSource, RefreshingAuthenticator, StaticAuthenticator
from .sigv4 import UNSIGNED_HEADERS, SigV4Signer

__all__ = [
    "ADVISORY_WINDOW",
    "API_KEY_LIFETIME",
    "DEFAULT_REGION",
    "MANDATORY_WINDOW",
    "RETRY_INTERVAL",
    "STREAMING_EVENTS",
    "UNSIGNED_HEADERS",
    "ApiKey",
    "ApiKeyProvider",
    "Authenticator",
    "AwsSession",
    "BearerAuthenticator",
    "ConfigReader",
    "Credentials",
    "CredentialsProvider",
    "CredentialsSource",
    "EventSigner",
    "HoldsCredentials",
    "ProfileSettings",
    "Profiles",
    "RefreshingAuthenticator",
    "RegionChoice",
    "SigV4Signer",
    "StaticAuthenticator",
    "authenticator_of_api_key",
    "authenticator_of_credentials",
    "event_signer",
    "read_config_file",
    "read_profiles",
    "resolve_authenticator",
    "resolve_region",
    "session_profile",
    "shared_credentials",
]
