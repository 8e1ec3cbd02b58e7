"""An S3 server of this machine, for tests: moto's, on the loopback."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

KEYS = {"AWS_ACCESS_KEY_ID": "limbeck", "AWS_SECRET_ACCESS_KEY": "limbeck"}


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """The environment in which `s3://` is that server."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield {
            **KEYS,
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


class Bucket:
    """A bucket and its objects, seen by another client than the one that is tested."""

    def __init__(self, environment: Mapping[str, str], name: str) -> None:
        import boto3

        self.name = name
        self._client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="limbeck",
            aws_secret_access_key="limbeck",
        )
        self._client.create_bucket(Bucket=name)

    def names(self) -> list[str]:
        """What lies in it, in the order of the alphabet."""
        listed = self._client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [os.path.basename(each["Key"]) for each in listed]

    def read(self, key: str) -> bytes:
        """The bytes of one object."""
        return bytes(self._client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def write(self, key: str, raw: bytes) -> None:
        """Put an object."""
        self._client.put_object(Bucket=self.name, Key=key, Body=raw)

    def remove(self, key: str) -> None:
        """Delete an object."""
        self._client.delete_object(Bucket=self.name, Key=key)
