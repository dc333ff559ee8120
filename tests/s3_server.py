"""An S3 that is code of others: moto's, on loopback, in a thread of this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from threading import Thread
from typing import Any, Final

from botocore.config import Config
from botocore.session import get_session

from bedrock_async import Credentials

__all__ = ["CREDENTIALS", "SESSIONS", "S3Server", "s3_server"]

CREDENTIALS: Final = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
_NUMBERS: Final = count(1)

_FACTORIES: Final[Mapping[str, Callable[[], Any]]] = {
    "aiobotocore": lambda: import_module("aiobotocore.session").get_session(),
    "aioboto3": lambda: import_module("aioboto3").Session(),
    "boto3": lambda: import_module("boto3").Session(),
    "botocore": get_session,
}
SESSIONS: Final = {name: make for name, make in _FACTORIES.items() if find_spec(name)}
"""What makes a session of each library that is installed; every environment has botocore."""


class S3Server:
    """A running S3, and what a test prepares in it and looks up there; every bucket has a name of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, service: str = "s3") -> Any:  # noqa: ANN401 - botocore makes its classes at run time
        """Return a botocore client of the server."""
        config = Config(retries={"max_attempts": 0})
        return get_session().create_client(
            service,
            region_name="us-east-1",
            endpoint_url=self.url,
            config=config,
            aws_access_key_id=CREDENTIALS.access_key_id,
            aws_secret_access_key=CREDENTIALS.secret_access_key,
        )

    def bucket(self, objects: Mapping[str, bytes] | None = None, *, name: str | None = None) -> str:
        """Make a bucket that holds these objects; return its name."""
        name = name or f"bucket-{next(_NUMBERS)}"
        client = self.client()
        client.create_bucket(Bucket=name)
        for key, data in (objects or {}).items():
            client.put_object(Bucket=name, Key=key, Body=data)
        client.close()
        return name

    def deny(self, bucket: str, *actions: str) -> None:
        """Let the policy of the bucket deny these actions on its objects."""
        statement = {"Effect": "Deny", "Principal": "*", "Action": actions, "Resource": f"arn:aws:s3:::{bucket}/*"}
        client = self.client()
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        client.close()

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Return the objects of a bucket by their keys."""
        client = self.client()
        listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        found = {item["Key"]: client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed}
        client.close()
        return found

    def remove(self, bucket: str, key: str) -> None:
        """Remove an object."""
        client = self.client()
        client.delete_object(Bucket=bucket, Key=key)
        client.close()

    def user(self, actions: Sequence[str]) -> Credentials:
        """Make a user of IAM who may do these things only; return the user's key."""
        name = f"user-{next(_NUMBERS)}"
        client = self.client("iam")
        client.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        client.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=document)
        key = client.create_access_key(UserName=name)["AccessKey"]
        client.close()
        return Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    @contextmanager
    def asking_iam(self) -> Generator[None]:
        """Check keys, signatures and policies of users while this is open; by itself the server lets everybody in."""
        authorization: Any = import_module("moto.core.authorization")
        with authorization.enable_iam_authentication():
            yield


@contextmanager
def s3_server() -> Generator[S3Server]:
    """Run the server; what it holds goes with the process."""
    application: Any = import_module("moto.server")
    serving: Any = import_module("werkzeug.serving")
    app = application.DomainDispatcherApplication(application.create_backend_app)
    server: Any = serving.make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield S3Server(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
